"""Untrained guesses, the baselines with which every result is compared.

Each takes scans and returns centres of mass in their own frame, ``load_baseline(name)(scans)``. Most read
only the points. Some also read the vectors that ``plumbline prepare`` computes for a whole scan, which other
data sets may lack. Each declares its symmetry.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.spatial import Delaunay, QhullError, cKDTree

from plumbline.errors import InputError
from plumbline.geometry.carving import convex_hull
from plumbline.models import SYMMETRIES
from plumbline.own_parts import load, names_a_file, reason, register
from plumbline.records import VECTOR_NAMES, Float, Int

if TYPE_CHECKING:
    from plumbline.data.store.in_memory import MemoryStore
    from plumbline.data.store.reader import PackedStore

CHUNK = 2048
"""Graphs gathered at a time, so that a large data set is never in memory as a whole."""

# The constants below were fitted on 5,052 scans of 842 real objects of 7 sources (256 points, 1 % noise, half
# of them one view, half three) and tested on 6 other sources; see "Untrained baselines" in docs/log.md.
MEAN_PUSH, HULL_PUSH, CARVE_PUSH = (0.333, 1.58), (0.235, 3.5), (0.238, 6.9)
"""Pushed guesses: (distance, power). The distance, in sizes of the scan, is for sensors that all stand in one
direction, where the mean direction has length 1. It is multiplied by that power of the length, which is
smaller the more sides were seen."""
ALPHA_NEIGHBOUR, ALPHA = 4, 3.0
"""Alpha shape: tetrahedra are kept up to this circumradius, in units of the largest distance of a point to
its 4th nearest neighbour. Smaller values leave holes in sparse regions; larger ones approach the hull."""


class Scans(NamedTuple):
    """Input of a baseline: G scans, whose arrays cannot be written to.

    Attributes:
        pos: ``[N, 3]`` float64 points, scan after scan.
        node_ptr: ``[G + 1]`` where each scan's points begin; no scan is empty.
        mean: ``[G, 3]`` mean of each scan's points.
        size: ``[G]`` root mean square distance of the points from their mean.
        vectors: name (``VECTOR_NAMES``) to ``[G, 3]``; empty if they are not known. ``"hull"`` and
            ``"carve"``: the centre of mass of the hull, and of the carved hull, minus the mean; ``"view"``:
            the mean of the unit directions to the sensors.
    """

    pos: Float
    node_ptr: Int
    mean: Float
    size: Float
    vectors: Mapping[str, Float]

    @classmethod
    def of(cls, pos: Float, node_ptr: Int | None = None, **vectors: Float) -> "Scans":
        """Build from points ``[N, 3]`` (of one scan if there is no ``node_ptr``) and vectors ``[G, 3]``.

        The vectors of one scan may also be ``[3]``.
        """
        points = np.asarray(pos, dtype=np.float64)
        ptr = np.array([0, len(points)]) if node_ptr is None else np.asarray(node_ptr)
        counts = np.diff(ptr)
        mean = np.add.reduceat(points, ptr[:-1], axis=0) / counts[:, None]
        square = ((points - np.repeat(mean, counts, axis=0)) ** 2).sum(axis=1)
        size = np.sqrt(np.add.reduceat(square, ptr[:-1]) / counts)
        known = {name: _read_only(np.atleast_2d(np.asarray(v, np.float64))) for name, v in vectors.items()}
        return cls(_read_only(points), _read_only(ptr), _read_only(mean), _read_only(size), known)

    def each(self, answer: Callable[[Float], Float | None], otherwise: Float) -> Float:
        """Call ``answer`` for the points of each scan; ``[G, 3]``, from ``otherwise`` where it gives None."""
        answers = otherwise.copy()
        for graph, (start, stop) in enumerate(zip(self.node_ptr[:-1], self.node_ptr[1:], strict=True)):
            found = answer(self.pos[start:stop])
            if found is not None:
                answers[graph] = found
        return answers


def _read_only(array: Any) -> Any:
    """A view that refuses to be written to: a baseline must not change what the next one gets."""
    view = array.view()
    view.flags.writeable = False
    return view


# ---------------------------------------------------------------------------------------- from the points


def point_mean(scans: Scans) -> Float:
    """Mean of the points. Symmetry: E(3)."""
    return scans.mean


def bounding_box(scans: Scans) -> Float:
    """Centre of the box along the axes. Symmetry: translation."""
    low, high = (part.reduceat(scans.pos, scans.node_ptr[:-1], axis=0) for part in (np.minimum, np.maximum))
    return (low + high) / 2


def oriented_box(scans: Scans) -> Float:
    """Centre of the box along the principal axes of the points.

    Symmetry: E(3), if no two principal moments are equal.
    """

    return scans.each(lambda points: principal_box(points).centre, scans.mean)


class Box(NamedTuple):
    """A box: ``centre [3]``, unit vectors along its edges as columns of ``axes [3, 3]``, ``sides [3]``."""

    centre: Float
    axes: Float
    sides: Float


def principal_box(points: Float) -> Box:
    """Compute the box along the principal axes of points ``[N, 3]``.

    Symmetry: E(3), if no two principal moments are equal.
    """
    mean = points.mean(axis=0)
    axes = np.linalg.eigh(np.cov(points - mean, rowvar=False, bias=True))[1]
    along = (points - mean) @ axes
    low, high = along.min(axis=0), along.max(axis=0)
    return Box(mean + axes @ (low + high) / 2, axes, high - low)


def hull(scans: Scans) -> Float:
    """Centre of mass of the convex hull; the mean if the points span no volume. Symmetry: E(3)."""
    if "hull" in scans.vectors:
        return scans.mean + scans.vectors["hull"]

    def centre(points: Float) -> Float | None:
        found = convex_hull(points)
        return None if found is None else found.centre

    return scans.each(centre, scans.mean)


def alpha_shape(scans: Scans) -> Float:
    """Centre of mass of the tetrahedra between neighbouring points; that of the hull if none remain.

    Keeps the Delaunay tetrahedra whose circumsphere is small compared with the distance between points.

    Symmetry: E(3). Source: Edelsbrunner & Mücke, Three-Dimensional Alpha Shapes, 1994.
    """
    return scans.each(_alpha_centre, hull(scans))


def _alpha_centre(points: Float) -> Float | None:
    if len(points) <= ALPHA_NEIGHBOUR:
        return None
    mean = points.mean(axis=0)
    points = points - mean
    try:
        corners = points[Delaunay(points).simplices]
    except QhullError:
        return None
    a, b, c = (corners[:, i] - corners[:, 0] for i in (1, 2, 3))
    bc, ca, ab = np.cross(b, c), np.cross(c, a), np.cross(a, b)
    volume = np.abs((a * bc).sum(axis=1))
    a2, b2, c2 = ((edge**2).sum(axis=1)[:, None] for edge in (a, b, c))
    spacing = cKDTree(points).query(points, k=[ALPHA_NEIGHBOUR + 1])[0].max()
    # The circumradius is this norm divided by twice the volume, which may be zero.
    kept = np.linalg.norm(a2 * bc + b2 * ca + c2 * ab, axis=1) < 2 * volume * ALPHA * spacing
    if not kept.any():
        return None
    centre: Float = mean + volume[kept] @ corners[kept].mean(axis=1) / volume[kept].sum()
    return centre


# ------------------------------------------------------------------------- from the positions of the sensors


def carve(scans: Scans) -> Float:
    """Centre of the part of the hull that no sensor saw to be empty (:mod:`plumbline.geometry.carving`).

    Symmetry: E(3).
    """
    return scans.mean + scans.vectors["carve"]


def mean_pushed(scans: Scans) -> Float:
    """The mean of the points, pushed away from the sensors. Symmetry: E(3)."""
    return scans.mean - _push(scans, *MEAN_PUSH)


def hull_pushed(scans: Scans) -> Float:
    """The hull's centre, pushed away from the sensors. Symmetry: E(3)."""
    return hull(scans) - _push(scans, *HULL_PUSH)


def carve_pushed(scans: Scans) -> Float:
    """The carved hull's centre, pushed away from the sensors. Symmetry: E(3)."""
    return carve(scans) - _push(scans, *CARVE_PUSH)


def _push(scans: Scans, most: float, power: float) -> Float:
    view = scans.vectors["view"]
    length = np.linalg.norm(view, axis=1)
    way: Float = (most * scans.size * length ** (power - 1))[:, None] * view
    return way


# ----------------------------------------------------------------------------------------- all baselines


class Baseline(NamedTuple):
    """A guess; calling it with scans returns ``[G, 3]`` in the frame of the scans.

    Attributes:
        answer: the function that is called.
        symmetry: how the guess moves with the scan: "none", "translation", "SE(3)" or "E(3)".
        needs: vectors of the scans that it requires, of ``VECTOR_NAMES``.
    """

    answer: Callable[[Scans], Float]
    symmetry: str = "E(3)"
    needs: tuple[str, ...] = ()

    def __call__(self, scans: Scans) -> Float:
        """Call ``answer``."""
        return self.answer(scans)


BASELINES = {
    "point mean": Baseline(point_mean),
    "bounding box": Baseline(bounding_box, "translation"),
    "oriented box": Baseline(oriented_box),
    "convex hull": Baseline(hull),
    "alpha shape": Baseline(alpha_shape),
    "mean pushed": Baseline(mean_pushed, needs=("view",)),
    "hull pushed": Baseline(hull_pushed, needs=("view",)),
    "carve": Baseline(carve, needs=("carve",)),
    "carve pushed": Baseline(carve_pushed, needs=("carve", "view")),
}
USUAL = ("point mean", "bounding box", "convex hull", "carve", "carve pushed")
"""Baselines with which every result is compared; the others are only for the benchmark."""


def load_baseline(name: str) -> Baseline:
    """Load a baseline by its name in ``BASELINES``, or from a file of the user, which is executed.

    Raises:
        KeyError: there is no baseline of this name.
        InputError: ``path/to/file.py:function`` cannot be imported, or is not a baseline.
    """
    if not names_a_file(name):
        return BASELINES[name]
    found = load(name)
    made = found if isinstance(found, Baseline) else Baseline(found, "none")
    if isinstance(made.answer, type) or not callable(made.answer):
        raise InputError(f"{name} is not a function of scans, nor a plumbline.Baseline of one")
    if made.symmetry not in SYMMETRIES or not set(made.needs) <= set(VECTOR_NAMES):
        raise InputError(
            f"the baseline {name} has symmetry {made.symmetry!r} and needs {made.needs!r}: choose one of "
            f"{', '.join(SYMMETRIES)}, and some of {', '.join(VECTOR_NAMES)}"
        )
    return made


def names_of(baselines: Iterable[str | Callable[[Scans], Float]]) -> tuple[str, ...]:
    """The names of baselines of the user, given by name or as functions; their files are executed.

    Raises:
        InputError: one cannot be loaded, see :func:`load_baseline`, or is not in a file of the user.
    """
    names = [given if isinstance(given, str) else register(given) for given in baselines]
    for name in names:
        if not names_a_file(name):
            raise InputError(f"baselines {name!r}: give path/to/file.py:function, or a function")
        load_baseline(name)
    return tuple(dict.fromkeys(names))


class BaselineAnswers(NamedTuple):
    """Predictions of the baselines for G graphs.

    Attributes:
        predictions: name to ``[G, 3]`` float64, stored frame.
        flat: number of graphs whose points span no volume, where hull and carve fall back to the point mean.
        left_out: names of the baselines that need vectors which the data set lacks.
    """

    predictions: dict[str, Float]
    flat: int
    left_out: tuple[str, ...]


def baseline_predictions(
    store: "PackedStore | MemoryStore", indices: Int, names: Sequence[str] = USUAL
) -> BaselineAnswers:
    """Predictions of the named baselines for the graphs ``indices`` of a store, in the stored frame.

    Raises:
        InputError: a baseline of the user fails, or does not return ``[G, 3]`` numbers.
    """
    indices = np.asarray(indices, dtype=np.int64)
    known = set(store.vector_names)
    chosen = {name: load_baseline(name) for name in names}
    left_out = tuple(name for name, baseline in chosen.items() if not known.issuperset(baseline.needs))
    chosen = {name: baseline for name, baseline in chosen.items() if name not in left_out}
    pieces: dict[str, list[Float]] = {name: [np.empty((0, 3))] for name in chosen}
    flat = 0
    for start in range(0, len(indices), CHUNK):
        some = store.gather(indices[start : start + CHUNK])
        vectors = {name: some.vectors[:, place] for place, name in enumerate(store.vector_names)}
        scans = Scans.of(some.pos, some.node_ptr, **vectors)
        centre = hull(scans)
        flat += int((centre == scans.mean).all(axis=1).sum())
        scans = scans._replace(vectors={**scans.vectors, "hull": _read_only(centre - scans.mean)})
        for name, baseline in chosen.items():
            pieces[name].append(_own(baseline, name, scans) if names_a_file(name) else baseline(scans))
    answers = {name: np.concatenate(some) for name, some in pieces.items()}
    return BaselineAnswers(answers, flat, left_out)


def _own(baseline: Baseline, name: str, scans: Scans) -> Float:
    """Call a baseline of the user. Raises InputError if it fails or does not return what it must."""
    expected = (len(scans.mean), 3)
    try:
        found = np.array(baseline(scans), dtype=np.float64)
    except Exception as error:  # it may raise anything
        raise InputError(f"the baseline {name} fails ({reason(error)})") from error
    if found.shape != expected:
        raise InputError(
            f"the baseline {name} returns the shape {list(found.shape)} for {expected[0]} scans instead of "
            f"{list(expected)}"
        )
    return found
