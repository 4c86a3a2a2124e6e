"""What one or more lifts tell of a payload: static readings of a force/torque sensor, in a Kalman update.

A body of mass m with its centre of mass at c weighs on the sensor, in gravity g, with the force m g and the
torque c x m g. Each reading fixes two directions of c, all but that of gravity; the scan knows the third.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from plumbline.arrays import to_numbers
from plumbline.errors import InputError
from plumbline.payload.record import Payload
from plumbline.records import Float

_STEPS = 20
"""Gauss-Newton steps at most; three are enough where the mass is known to some per cent."""
_SETTLED = 1e-14
"""A step that changes mass and centre by a smaller share ends them."""


def update(payload: Payload, wrench: ArrayLike, gravity: ArrayLike, covariance: ArrayLike) -> Payload:
    """Refine mass and centre of mass by static readings.

    The prior is the payload's: its covariance, and its ``mass_error``; with 0 the mass stays as it is. The
    posterior is the iterated extended Kalman filter's, all readings at once; for a known mass that is the
    exact Bayesian answer, since the torque is linear in the centre.

    Args:
        payload: with a covariance.
        wrench: ``[6]`` or ``[P, 6]`` force (newtons) and torque about the origin of the payload's frame
            (newton metres) that gravity exerts on the payload, in the axes of that frame; the weight of the
            gripper and the offset of the sensor are taken off.
        gravity: ``[3]`` or ``[P, 3]`` acceleration of gravity in the same axes at each reading, such as
            ``R^T @ (0, 0, -9.81)``.
        covariance: ``[6, 6]`` covariance of the errors of one reading.

    Returns:
        The payload with a new mass, centre, covariance and error of the mass. The inertia keeps its shape:
        it grows with the mass, and is about the new centre.

    Raises:
        InputError: shapes or numbers cannot be used, the payload has no covariance, or the forces point away
            from gravity.

    Source: Bell and Cathey, The iterated Kalman filter update as a Gauss-Newton method, 1993.
    """
    readings, down, error = _check(wrench, gravity, covariance)
    if payload.covariance is None:
        raise InputError("the payload has no covariance to start from: its model does not predict one")
    if np.linalg.eigvalsh(payload.covariance)[0] <= 0:
        raise InputError("the covariance of the payload leaves no doubt in some direction; nothing to refine")
    known = payload.mass_error == 0
    prior = np.append(payload.com, payload.mass)
    information = np.zeros((4, 4))
    information[:3, :3] = np.linalg.inv(payload.covariance)
    information[3, 3] = 0.0 if known or not np.isfinite(payload.mass_error) else payload.mass_error**-2
    weight = np.linalg.inv(error)
    free = np.arange(3 if known else 4)
    state = prior.copy()
    for _ in range(_STEPS):
        normal, right = information.copy(), information @ (prior - state)
        for reading, g in zip(readings, down, strict=True):
            slope, expected = _model(state, g)
            normal += slope.T @ weight @ slope
            right += slope.T @ weight @ (reading - expected)
        step = np.zeros(4)
        step[free] = np.linalg.solve(normal[np.ix_(free, free)], right[free])
        state += step
        if np.abs(step).max() <= _SETTLED * np.abs(state).max():
            break
    _check_mass(state[3])
    posterior = np.linalg.inv(normal[np.ix_(free, free)])
    return replace(
        payload,
        mass=float(state[3]),
        com=state[:3],
        inertia=None if payload.inertia is None else payload.inertia * (state[3] / payload.mass),
        covariance=(posterior[:3, :3] + posterior[:3, :3].T) / 2,
        mass_error=0.0 if known else float(np.sqrt(posterior[3, 3])),
    )


def weigh(wrench: ArrayLike, gravity: ArrayLike) -> float:
    """Estimate the mass that static readings weigh, by least squares of their forces, as a first guess.

    Raises:
        InputError: shapes or numbers cannot be used, or the forces point away from gravity.
    """
    readings, down, _ = _check(wrench, gravity, np.eye(6))
    mass = float((readings[:, :3] * down).sum() / (down**2).sum())
    _check_mass(mass)
    return mass


def _check_mass(mass: float) -> None:
    if not mass > 0:
        raise InputError(
            f"the readings weigh {mass:.3g} kg: give the wrench that gravity exerts on the payload, and "
            "gravity in the same axes, both pointing down"
        )


def _model(state: Float, gravity: Float) -> tuple[Float, Float]:
    """The wrench ``[6]`` that is expected, and its derivative ``[6, 4]`` by centre and mass."""
    com, mass = state[:3], state[3]
    turned = np.cross(np.eye(3), gravity)  # rows e_i x g
    slope = np.zeros((6, 4))
    slope[:3, 3] = gravity
    slope[3:, :3] = mass * turned.T
    slope[3:, 3] = np.cross(com, gravity)
    return slope, np.concatenate([mass * gravity, mass * np.cross(com, gravity)])


def _check(wrench: ArrayLike, gravity: ArrayLike, covariance: ArrayLike) -> tuple[Float, Float, Float]:
    readings = np.atleast_2d(to_numbers(wrench, "wrench"))
    down = np.atleast_2d(to_numbers(gravity, "gravity"))
    error = to_numbers(covariance, "covariance")
    if readings.ndim != 2 or readings.shape[1] != 6 or down.shape != (len(readings), 3):
        raise InputError(
            f"wrench is [6] or [P, 6] and gravity [3] or [P, 3], one for each reading, not "
            f"{list(np.shape(wrench))} and {list(np.shape(gravity))}"
        )
    if error.shape != (6, 6):
        raise InputError(f"the covariance of a reading is [6, 6], not {list(error.shape)}")
    if not all(np.isfinite(array).all() for array in (readings, down, error)):
        raise InputError("a wrench, gravity or covariance is not finite")
    if not (np.linalg.norm(down, axis=1) > 0).all():
        raise InputError(
            "gravity is 0: give the acceleration of gravity, 9.81 long, in the axes of the sensor"
        )
    if np.abs(error - error.T).max() > 1e-9 * np.abs(error).max() or np.linalg.eigvalsh(error).min() <= 0:
        raise InputError("the covariance of a reading must be symmetric and positive definite")
    return readings, down, error
