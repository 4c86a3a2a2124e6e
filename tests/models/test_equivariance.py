"""Symmetry of the networks from raw points to the answer: features and graphs recomputed on moved points.

Letters: G scans. All in float64, where nothing but rounding may break a symmetry.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch

from plumbline.data.batches.collate import make_batch
from plumbline.data.store.in_memory import MemoryStore
from plumbline.geometry.graphs import LEADERS, build_sample
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.solids import make_solid
from plumbline.models import MODELS, load_model_class
from plumbline.models.egnn import EGNNLayer
from plumbline.models.inputs import FEATURES
from plumbline.models.painn import PaiNN
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Float, Scan
from tests.helpers.architectures import model_of as build
from tests.helpers.scans import scan_of

K = 16
DATA = {"input_dim": 12, "feature_names": FEATURE_NAMES, "vector_names": VECTOR_NAMES}
CONDITIONS = [(views, noise) for views in (1, 3) for noise in (0.0, 0.01)]
EQUIVARIANT = [name for name in MODELS if load_model_class(name).symmetry == "E(3)"]
CLOSE, FAR = 1e-10, 1e-3
"""Fractions of the object's radius: rounding, and a symmetry that is not there."""


class Move(NamedTuple):
    """``x -> scale * turn @ x + shift``, points in another order."""

    turn: Float
    scale: float
    shift: Float


def moves():
    rng = np.random.default_rng(11)
    turn = random_rotation(rng)
    return {
        "rotation": Move(turn, 1.7, np.array([3.0, -2.0, 1.0])),
        "mirror": Move(turn @ np.diag([1.0, 1.0, -1.0]), 0.6, np.array([-1.0, 4.0, 2.0])),
        "translation": Move(np.eye(3), 2.3, np.array([5.0, 1.0, -3.0])),
    }


MOVES = moves()


@cache
def scans():
    """One of each condition, of different built-in solids."""
    found = []
    for index, (views, noise) in enumerate(CONDITIONS * 2):
        solid = make_solid(5, index)
        found.append(scan_of(solid, index, views=views, points=128, noise=noise))
    return found


def moved_scan(scan, move):
    order = np.random.default_rng(1).permutation(len(scan.points))

    def place(points):
        return move.scale * points @ move.turn.T + move.shift

    return Scan(place(scan.points)[order], place(scan.sensor)[order], scan.view[order], place(scan.com),
                move.scale * scan.bounding_radius)  # fmt: skip


def store_of(some, normalise="unit", dtype=np.float64):
    samples = [
        build_sample(
            scan, k=K, edge_attr="none", sh_degree=0, normalise=normalise, object_name="thing", dtype=dtype
        )
        for scan in some
    ]  # fmt: skip
    return MemoryStore(samples, feature_names=FEATURE_NAMES, vector_names=VECTOR_NAMES, leaders=LEADERS, k=K)


@cache
def stores(kind, normalise):
    """The scans as they are, or moved."""
    if kind == "still":
        return store_of(scans(), normalise)
    return store_of([moved_scan(scan, MOVES[kind]) for scan in scans()], normalise)


def answers(model, store, rows=None):
    """``[G, 3]`` in the frame and unit of the raw points."""
    rows = np.arange(len(store)) if rows is None else np.asarray(rows)
    with torch.no_grad():
        found = model.eval()(make_batch(store, rows, model.needs)).numpy()
    chosen = [store._samples[row] for row in rows]
    return np.stack([s.scale * a + s.origin for s, a in zip(chosen, found, strict=True)])


def error(model, kind, normalise="unit"):
    """Largest distance from the moved answer to the answer on moved points, in radii of the object."""
    move = MOVES[kind]
    expected = move.scale * answers(model, stores("still", normalise)) @ move.turn.T + move.shift
    found = answers(model, stores(kind, normalise))
    radius = move.scale * np.array([scan.bounding_radius for scan in scans()])
    return (np.linalg.norm(found - expected, axis=1) / radius).max()


def model_of(name, **changes):
    """Weights of order one, whose answers lie well away from the mean of the points."""
    model = build(name, DATA, **changes)
    still = stores("still", "unit")
    batch = make_batch(still, np.arange(len(still)), model.needs)
    away = (model.eval()(batch) - batch.centre).norm(dim=1)
    assert away.min() > 0.01
    return model


@pytest.mark.parametrize("normalise", ["unit", "none"])
@pytest.mark.parametrize("name", [name for name in MODELS if load_model_class(name).symmetry != "none"])
def test_answers_move_with_the_raw_points(name, normalise):
    model = model_of(name)
    assert error(model, "translation", normalise) < CLOSE
    for kind in ("rotation", "mirror"):
        found = error(model, kind, normalise)
        assert found < CLOSE if model.symmetry == "E(3)" else found > FAR


def test_the_documented_network_does_not_turn_with_the_points():
    model = model_of("gcn")
    assert load_model_class("gcn").symmetry == "none"
    assert error(model, "rotation") > FAR
    assert error(model, "mirror") > FAR


class WithConstant(PaiNN):
    """Adds the same vector in whatever frame."""

    def forward(self, batch):
        return super().forward(batch) + 0.01 * batch.size[:, None] * torch.tensor([1.0, 0.0, 0.0])


class WithCrossProduct(PaiNN):
    """Adds a cross product, which turns, but not with mirrors."""

    def forward(self, batch):
        hull, carve, view = batch.vectors.unbind(1)
        return super().forward(batch) + torch.cross(hull - carve, view, dim=1)


@pytest.mark.parametrize(
    ("broken", "seen_by"), [(WithConstant, {"rotation", "mirror"}), (WithCrossProduct, {"mirror"})]
)
def test_the_test_sees_a_broken_model(broken, seen_by):
    model = model_of("painn")
    model.__class__ = broken
    for kind in MOVES:
        assert error(model, kind) > FAR if kind in seen_by else error(model, kind) < CLOSE


@pytest.mark.parametrize("off", FEATURES)
@pytest.mark.parametrize("name", EQUIVARIANT)
def test_every_feature_can_be_switched_off(name, off):
    model = model_of(name, features=[feature for feature in FEATURES if feature != off])
    whole = model_of(name)
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in whole.parameters())
    assert error(model, "mirror") < CLOSE


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_positions_are_enough(name):
    model = model_of(name, features=[])
    assert error(model, "rotation") < CLOSE
    assert error(model, "mirror") < CLOSE


@pytest.mark.parametrize("name", MODELS)
def test_neither_order_nor_company_in_a_batch_matters(name):
    model, store = model_of(name), stores("still", "unit")
    together = answers(model, store)
    order = np.random.default_rng(2).permutation(len(store))
    np.testing.assert_allclose(answers(model, store, order), together[order], rtol=0, atol=1e-11)
    np.testing.assert_allclose(answers(model, store, [3, 3, 0]), together[[3, 3, 0]], rtol=0, atol=1e-11)


def distorted(scan, how):
    """Points stretched a thousandfold along one direction, or one point a thousand radii away."""
    if how == "stretched":
        matrix = np.diag([1000.0, 1.0, 1.0])
        return Scan(scan.points @ matrix, scan.sensor @ matrix, scan.view, scan.com, scan.bounding_radius)
    points = scan.points.copy()
    points[0] += [1000 * scan.bounding_radius, 0, 0]
    return Scan(points, scan.sensor, scan.view, scan.com, scan.bounding_radius)


@pytest.mark.parametrize("how", ["stretched", "outlier"])
def test_egnn_stays_near_absurd_points(how):
    store = store_of([distorted(scan, how) for scan in scans()], dtype=np.float32)
    model = model_of("egnn").float()
    batch = make_batch(store, np.arange(len(store)), model.needs)
    usual = make_batch(store_of(scans(), dtype=np.float32), np.arange(len(store)), model.needs)

    def away(batch):
        return ((model(batch) - batch.centre).norm(dim=1) / batch.size).max()

    assert away(batch) < 3 * away(usual)


def test_no_weight_makes_a_step_of_egnn_larger_than_the_object():
    torch.manual_seed(0)
    layer = EGNNLayer(8, 5, 0.0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=1000.0)
    x, edges = 1000 * torch.randn(20, 3), torch.randint(0, 20, (2, 100))
    r = x[edges[0]] - x[edges[1]]
    way = r / (r.norm(dim=1, keepdim=True) + 1)
    moved = layer(torch.randn(20, 8), x, *edges, 1000 * torch.randn(100, 5), way)[1]
    assert 0.1 < (moved - x).norm(dim=1).max() <= 1 + 1e-3
