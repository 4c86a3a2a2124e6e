"""Bodies of a few point masses, whose mass properties are sums."""

import numpy as np

from plumbline.payload.record import Payload


def masses_of(seed: int, number: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Positions ``[N, 3]`` and masses ``[N]``."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(number, 3)) * [0.1, 0.2, 0.3] + rng.normal(size=3), rng.uniform(0.1, 1, number)


def payload_of(points: np.ndarray, masses: np.ndarray, **changed: object) -> Payload:
    """The payload of some point masses, by its definition."""
    com = masses @ points / masses.sum()
    away = points - com
    inertia = sum(m * ((a @ a) * np.eye(3) - np.outer(a, a)) for m, a in zip(masses, away, strict=True))
    return Payload(float(masses.sum()), com, np.asarray((inertia + inertia.T) / 2), **changed)
