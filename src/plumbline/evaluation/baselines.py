"""Guesses that need no training: every result is shown beside them.

All three take the points of one scan and answer in the frame of the points. The point mean and the
convex hull move with the points under every rotation, reflection, translation and change of size; the
bounding box is aligned with the axes and does not follow a rotation.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from plumbline.geometry import carving
from plumbline.records import Float, Int

if TYPE_CHECKING:
    from plumbline.data.packed import PackedStore

CHUNK = 2048
"""Graphs gathered at once, so that a large data set is never held in memory as a whole."""


def point_mean(pos: Float) -> Float:
    """Mean of the points ``[N, 3]``, as ``[3]``. Symmetry: E(3)."""
    return np.asarray(pos, dtype=np.float64).mean(axis=0)


def bounding_box(pos: Float) -> Float:
    """Centre of the axis-aligned bounding box of ``[N, 3]``, as ``[3]``. Symmetry: translation."""
    points = np.asarray(pos, dtype=np.float64)
    return (points.min(axis=0) + points.max(axis=0)) / 2


def convex_hull(pos: Float) -> Float:
    """Centre of mass of the convex hull's volume, ``[N, 3]`` to ``[3]``. Symmetry: E(3).

    Points that span no volume (fewer than four, or all in one plane) have no such centre: their mean is
    returned instead.
    """
    hull = carving.convex_hull(pos)
    return point_mean(pos) if hull is None else hull.centre


BASELINES: dict[str, Callable[[Float], Float]] = {
    "point mean": point_mean,
    "bounding box": bounding_box,
    "convex hull": convex_hull,
}
"""Name to function of one scan's points ``[N, 3]``, answering ``[3]`` in the same frame."""


class BaselineAnswers(NamedTuple):
    """What the baselines answer for G graphs.

    Attributes:
        predictions: name to ``[G, 3]`` float64, stored frame.
        flat: graphs whose points span no volume, where the convex hull answered with the point mean.
    """

    predictions: dict[str, Float]
    flat: int


def baseline_predictions(
    store: "PackedStore", indices: Int, names: Sequence[str] = tuple(BASELINES)
) -> BaselineAnswers:
    """Answers of the named baselines for the graphs ``indices`` of a store, in their stored frames.

    Mean and box are segment reductions over many graphs at once; hulls are computed one by one.
    """
    indices = np.asarray(indices, dtype=np.int64)
    parts: list[BaselineAnswers] = []
    for start in range(0, len(indices), CHUNK):
        gathered = store.gather(indices[start : start + CHUNK])
        parts.append(segment_baselines(gathered.pos, gathered.node_ptr, names))
    merged = {
        name: np.concatenate([part.predictions[name] for part in parts]) if parts else np.empty((0, 3))
        for name in names
    }
    return BaselineAnswers(merged, sum(part.flat for part in parts))


def segment_baselines(pos: Float, node_ptr: Int, names: Sequence[str] = tuple(BASELINES)) -> BaselineAnswers:
    """The same for concatenated points ``[N, 3]`` with offsets ``[G+1]``; no graph may be empty."""
    points = np.asarray(pos, dtype=np.float64)
    starts, counts = node_ptr[:-1], np.diff(node_ptr)[:, None]
    mean = np.add.reduceat(points, starts, axis=0) / counts
    answers: dict[str, Float] = {}
    flat = 0
    for name in names:
        if name == "point mean":
            answers[name] = mean
        elif name == "bounding box":
            low, high = (reduce.reduceat(points, starts, axis=0) for reduce in (np.minimum, np.maximum))
            answers[name] = (low + high) / 2
        elif name == "convex hull":
            answers[name] = mean.copy()
            for graph, (start, stop) in enumerate(zip(starts, node_ptr[1:], strict=True)):
                hull = carving.convex_hull(points[start:stop])
                if hull is None:
                    flat += 1
                else:
                    answers[name][graph] = hull.centre
        else:
            raise KeyError(name)
    return BaselineAnswers(answers, flat)
