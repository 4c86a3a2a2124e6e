"""Test whether a model keeps the symmetry that it declares, from raw points to the prediction.

The raw points of scans of built-in solids are moved; everything that a model reads (features, vectors, graph)
is recomputed from the moved points.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rotations import random_directions, random_rotation
from plumbline.geometry.scans import scan_solid
from plumbline.geometry.solids import make_solid
from plumbline.geometry.tables import lowest_plane, move_plane
from plumbline.predictors.checkpoint import Trained
from plumbline.predictors.find_checkpoint import checkpoint_name
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.predictor import Predictor
from plumbline.records import Float, Int, Range, Sample, Scan, ScanSettings

SCANS, VIEWS, POINTS, NOISE = 32, (1, 3), 256, 0.01
_SEED = 1_000_003
_SETTINGS = ScanSettings(points=Range(POINTS), noise=Range(NOISE))
LIMITS = {"float32": 1e-5, "float64": 1e-9}
"""Largest deviation that counts as rounding, as a fraction of the object's bounding radius."""

MOVES = ("rotation", "mirror", "translation", "size", "order of points", "together")
"""How the points are moved; "together" is all moves at once except the mirror."""
_SPECIAL = frozenset(MOVES) - {"mirror"}
KEPT = {
    "none": frozenset[str](),
    "translation": frozenset({"translation"}),
    "SE(3)": _SPECIAL,
    "E(3)": _SPECIAL | {"mirror"},
}
"""Moves that the prediction of a model must follow, by the symmetry that the model declares."""


class Deviation(NamedTuple):
    """``|f(R x) - R f(x)|`` over all scans, as a fraction of the object's bounding radius."""

    mean: float
    largest: float


class _Move(NamedTuple):
    """The move ``x -> factor * turn @ x + shift`` and the new ``order [N]`` of the points."""

    turn: Float
    shift: Float
    factor: float
    order: Int

    def place(self, points: Float) -> Float:
        return self.factor * points @ self.turn.T + self.shift

    def scan(self, scan: Scan) -> Scan:
        points, sensor = (self.place(values)[self.order] for values in (scan.points, scan.sensor))
        table = move_plane(scan.table, self.turn, self.shift, self.factor)
        return Scan(points, sensor, scan.view[self.order], None, None, table)


def measure(trained: Trained) -> dict[str, dict[str, Deviation]]:
    """Measure how far predictions deviate, by move and precision.

    ``float32`` is the precision of normal predictions; in ``float64`` everything is computed in float64. The
    model is not changed.

    Raises:
        InputError: the graphs that the model takes cannot be made from a scan, or its predictions are not
            finite.
    """
    single = Predictor.trained(trained)
    double = Predictor.trained(replace(trained, model=copy.deepcopy(trained.model).double()))
    scans, moves, form = standard_scans(), _draw_moves(), single.form
    fine = [_samples(form, scans), *(_samples(form, _moved(scans, moves[kind])) for kind in MOVES)]
    coarse = [[_rounded(sample) for sample in some] for some in fine]
    found: dict[str, dict[str, Deviation]] = {kind: {} for kind in MOVES}
    for precision, predictor, graphs in (("float32", single, coarse), ("float64", double, fine)):
        here, *there = (predictor.locate(some).com for some in graphs)
        if not all(np.isfinite(com).all() for com in (here, *there)):
            raise InputError(
                f"{trained.path}: the predictions of the model are not finite; its training diverged"
            )
        for kind, com in zip(MOVES, there, strict=True):
            found[kind][precision] = _deviation(scans, moves[kind], here, com)
    return found


def describe(trained: Trained, found: dict[str, dict[str, Deviation]]) -> dict[str, Any]:
    """Describe a model and the result of :func:`measure` as plain values for JSON."""
    model: Any = trained.model
    symmetry = str(model.symmetry)
    return {
        "checkpoint": checkpoint_name(trained.path),
        "model": trained.model_name,
        "declares": symmetry,
        "ok": keeps(symmetry, found),
        "scans": SCANS,
        "limits": LIMITS,
        "moves": {
            kind: {
                "declared": kind in KEPT[symmetry],
                **{name: item._asdict() for name, item in some.items()},
            }
            for kind, some in found.items()
        },
    }


def keeps(symmetry: str, found: dict[str, dict[str, Deviation]]) -> bool:
    """Whether the deviation stays within ``LIMITS`` for every move of the declared symmetry."""
    return all(
        found[kind][precision].largest <= limit
        for kind in KEPT[symmetry]
        for precision, limit in LIMITS.items()
    )


def standard_scans() -> list[Scan]:
    """Make the scans that are moved, always the same ones, each on a table; ``VIEWS`` are used in turn."""
    scans = []
    for number in range(SCANS):
        solid = make_solid(_SEED, number)
        rng = np.random.default_rng([_SEED, number])
        scan = scan_solid(
            solid,
            Caster(solid.vertices, solid.faces),
            replace(_SETTINGS, views=Range(VIEWS[number % len(VIEWS)])),
            rng=rng,
        )
        scans.append(replace(scan, table=lowest_plane(scan, random_directions(rng, 1)[0])))
    return scans


def _draw_moves() -> dict[str, list[_Move]]:
    """Draw one random move per kind and scan; lengths in units of the scan's bounding radius."""
    rng = np.random.default_rng(_SEED)
    moves: dict[str, list[_Move]] = {kind: [] for kind in MOVES}
    for _ in range(SCANS):
        turns = {kind: random_rotation(rng) for kind in ("rotation", "mirror", "together")}
        turns["mirror"] = turns["mirror"] @ np.diag([1.0, 1.0, -1.0])
        shifts = {kind: 3 * rng.standard_normal(3) for kind in ("translation", "together")}
        factors = {kind: float(np.exp(rng.uniform(-4, 4))) for kind in ("size", "together")}
        orders = {kind: rng.permutation(POINTS) for kind in ("order of points", "together")}
        for kind in MOVES:
            moves[kind].append(
                _Move(
                    turns.get(kind, np.eye(3)),
                    shifts.get(kind, np.zeros(3)),
                    factors.get(kind, 1.0),
                    orders.get(kind, np.arange(POINTS)),
                )
            )
    return moves


def _moved(scans: Sequence[Scan], moves: Sequence[_Move]) -> list[Scan]:
    return [_in_radii(move, scan).scan(scan) for scan, move in zip(scans, moves, strict=True)]


def _in_radii(move: _Move, scan: Scan) -> _Move:
    """Adapt a move to a scan: the shift in the scan's unit, the order limited to the scan's points."""
    assert scan.bounding_radius is not None
    order = move.order[move.order < len(scan.points)]
    return move._replace(shift=move.shift * scan.bounding_radius * move.factor, order=order)


def _samples(form: GraphForm, scans: Sequence[Scan]) -> list[Sample]:
    return [form.sample(scan, f"scan {number}", np.float64) for number, scan in enumerate(scans)]


def _rounded(sample: Sample) -> Sample:
    """The sample as it would have been built in float32, where features are rounded last."""
    assert sample.vectors is not None
    features, vectors = sample.node_features.astype(np.float32), sample.vectors.astype(np.float32)
    return replace(sample, node_features=features, vectors=vectors)


def _deviation(scans: Sequence[Scan], moves: Sequence[_Move], here: Float, there: Float) -> Deviation:
    gaps = []
    for scan, move, before, after in zip(scans, moves, here, there, strict=True):
        gap = float(np.linalg.norm(after - _in_radii(move, scan).place(before)))
        assert scan.bounding_radius is not None
        gaps.append(gap / (move.factor * scan.bounding_radius))
    return Deviation(float(np.mean(gaps)), max(gaps))
