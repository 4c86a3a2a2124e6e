"""Untrained answers for volume and inertia, with which those of a network are compared.

Each is a body of uniform density that a scan suggests: the box along the principal axes of its points, their
convex hull, and what is left of the hull when the space that the sensors saw empty is carved away. Their
centres of mass are baselines of :mod:`plumbline.predictors.untrained` with the same names and symmetry.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plumbline.geometry.carving import Hull, carve, convex_hull
from plumbline.geometry.stations import find_stations
from plumbline.predictors.untrained import CHUNK, principal_box
from plumbline.records import Float, Int

if TYPE_CHECKING:
    from plumbline.data.store.in_memory import MemoryStore
    from plumbline.data.store.reader import PackedStore

NAMES = ("oriented box", "convex hull", "carve")
"""The answers by name."""
_TOWARDS = ("sensor_x", "sensor_y", "sensor_z")
"""Features from which the positions of the sensors are found."""


class Payload(NamedTuple):
    """Volume and inertia of G objects, stored frame and units.

    Attributes:
        volume: ``[G]``.
        inertia: ``[G, 3, 3]`` inertia tensor about the centre of mass, per unit mass.
    """

    volume: Float
    inertia: Float

    @classmethod
    def unknown(cls, num: int) -> "Payload":
        """NaN for ``num`` objects."""
        return cls(np.full(num, np.nan), np.full((num, 3, 3), np.nan))

    def take(self, chosen: Int | NDArray[np.bool_]) -> "Payload":
        """Those of some objects (indices or mask)."""
        return Payload(self.volume[chosen], self.inertia[chosen])


class PayloadAnswers(NamedTuple):
    """Untrained answers for G scans.

    Attributes:
        answers: name to the answers; NaN for a scan that is ``flat``.
        flat: ``[G]`` whether the points of the scan span no volume.
        left_out: names of the answers that need the directions to the sensors, which the data set lacks.
    """

    answers: dict[str, Payload]
    flat: NDArray[np.bool_]
    left_out: tuple[str, ...]


def untrained_payloads(store: "PackedStore | MemoryStore", indices: Int) -> PayloadAnswers:
    """Compute the untrained answers for the graphs ``indices [G]`` of a store, in the stored frame.

    Symmetry: E(3), the oriented box only if no two principal moments of the points are equal.
    """
    indices = np.asarray(indices, dtype=np.int64)
    carved = set(store.feature_names).issuperset(_TOWARDS)
    columns = [store.feature_names.index(name) for name in _TOWARDS] if carved else []
    left_out = () if carved else ("carve",)
    answers = {name: Payload.unknown(len(indices)) for name in NAMES if name not in left_out}
    flat = np.zeros(len(indices), bool)
    for start in range(0, len(indices), CHUNK):
        some = store.gather(indices[start : start + CHUNK])
        towards = some.node_features[:, columns]
        for row, (first, last) in enumerate(zip(some.node_ptr[:-1], some.node_ptr[1:], strict=True), start):
            points = some.pos[first:last].astype(np.float64)
            found = _bodies(points, towards[first:last] if carved else None)
            flat[row] = not found
            for name, (volume, inertia) in found.items():
                answers[name].volume[row], answers[name].inertia[row] = volume, inertia
    return PayloadAnswers(answers, flat, left_out)


def _bodies(points: Float, towards: Float | None) -> dict[str, tuple[float, Float]]:
    """Compute volume and inertia by name for one scan; nothing if its points span no volume."""
    hull = convex_hull(points)
    if hull is None:
        return {}
    found = {"oriented box": _box(points), "convex hull": (hull.volume, hull.inertia)}
    if towards is not None:
        found["carve"] = _carved(points, towards, hull)
    return found


def _box(points: Float) -> tuple[float, Float]:
    _, axes, sides = principal_box(points)
    second = axes * sides**2 @ axes.T / 12
    return float(sides.prod()), np.trace(second) * np.eye(3) - second


def _carved(points: Float, towards: Float, hull: Hull) -> tuple[float, Float]:
    """Carve with the points whose sensors are found; without any, nothing is known to be empty."""
    sensor, view = find_stations(points, towards)
    seen = view >= 0
    if not seen.any():
        return hull.volume, hull.inertia
    rest = carve(points[seen], sensor[seen], view[seen], hull)
    return rest.volume, rest.inertia
