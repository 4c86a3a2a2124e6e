"""Symmetry of the networks from raw points to the answer: features and graphs recomputed on moved points.

Letters: G scans. All in float64, where nothing but rounding may break a symmetry.
"""

import numpy as np
import pytest
import torch

from plumbline.data.batches.collate import make_batch
from plumbline.models import MODELS, load_model_class
from plumbline.models.egnn import EGNNLayer
from plumbline.models.inputs import FEATURES
from plumbline.models.painn import PaiNN
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Scan
from plumbline.testing import deviation, moves, scans, store_of
from tests.helpers.architectures import model_of as build

DATA = {"input_dim": 12, "feature_names": FEATURE_NAMES, "vector_names": VECTOR_NAMES}
EQUIVARIANT = [name for name in MODELS if load_model_class(name).symmetry == "E(3)"]
CLOSE, FAR = 1e-10, 1e-3
"""Fractions of the object's radius: rounding, and a symmetry that is not there."""


def model_of(name, **changes):
    """Weights of order one, whose answers lie well away from the mean of the points."""
    model = build(name, DATA, **changes)
    batch = make_batch(store_of(scans()), np.arange(len(scans())), model.needs)
    away = (model.eval()(batch) - batch.centre).norm(dim=1)
    assert away.min() > 0.01
    return model


@pytest.mark.parametrize("normalise", ["unit", "none"])
@pytest.mark.parametrize("name", [name for name in MODELS if load_model_class(name).symmetry != "none"])
def test_answers_move_with_the_raw_points(name, normalise):
    model = model_of(name)
    assert deviation(model, "translation", normalise) < CLOSE
    for kind in ("rotation", "mirror"):
        found = deviation(model, kind, normalise)
        assert found < CLOSE if model.symmetry == "E(3)" else found > FAR


def test_the_documented_network_does_not_turn_with_the_points():
    model = model_of("gcn")
    assert load_model_class("gcn").symmetry == "none"
    assert deviation(model, "rotation") > FAR
    assert deviation(model, "mirror") > FAR


class WithConstant(PaiNN):
    """Adds the same vector in whatever frame."""

    def forward(self, batch):
        return super().forward(batch) + 0.01 * batch.size[:, None] * torch.tensor([1.0, 0.0, 0.0])


class WithCrossProduct(PaiNN):
    """Adds a cross product, which turns, but not with mirrors."""

    def forward(self, batch):
        hull, carve, view, _ = batch.vectors.unbind(1)
        return super().forward(batch) + torch.cross(hull - carve, view, dim=1)


@pytest.mark.parametrize(
    ("broken", "seen_by"), [(WithConstant, {"rotation", "mirror"}), (WithCrossProduct, {"mirror"})]
)
def test_the_test_sees_a_broken_model(broken, seen_by):
    model = model_of("painn")
    model.__class__ = broken
    for kind in moves():
        assert deviation(model, kind) > FAR if kind in seen_by else deviation(model, kind) < CLOSE


@pytest.mark.parametrize("off", FEATURES)
@pytest.mark.parametrize("name", EQUIVARIANT)
def test_every_feature_can_be_switched_off(name, off):
    model = model_of(name, features=[feature for feature in FEATURES if feature != off])
    whole = model_of(name)
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in whole.parameters())
    assert deviation(model, "mirror") < CLOSE


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_positions_are_enough(name):
    model = model_of(name, features=[])
    assert deviation(model, "rotation") < CLOSE
    assert deviation(model, "mirror") < CLOSE


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
