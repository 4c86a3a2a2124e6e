"""What equivariant models start from: centred, scaled, by name, and back."""

import numpy as np
import pytest
import torch

from plumbline.data.batches.collate import make_batch
from plumbline.data.store.in_memory import MemoryStore
from plumbline.errors import InputError
from plumbline.geometry.graphs import build_sample
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.tables import move_plane
from plumbline.models.inputs import FEATURES, GRAPH_VECTORS, NODE_SCALARS, NODE_VECTORS, Inputs
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Scan


def scans(num=4, seed=0):
    rng = np.random.default_rng(seed)
    result = []
    for i in range(num):
        points = rng.standard_normal((30 + 10 * i, 3)) * [1, 0.7, 0.4] + rng.standard_normal(3)
        sensor = np.tile(5 * rng.standard_normal(3) + [9, 0, 0], (len(points), 1))
        view, com = np.zeros(len(points), np.int64), rng.standard_normal(3)
        result.append(Scan(points, sensor, view, com, 2.0, np.array([0, 0, 1.0, points[:, 2].min()])))
    return result


def batch_of(given, normalise="none"):
    samples = [
        build_sample(
            scan, k=16, edge_attr="none", sh_degree=0, normalise=normalise, object_name="a", dtype=np.float64
        )
        for scan in given
    ]
    store = MemoryStore(samples, feature_names=FEATURE_NAMES, vector_names=VECTOR_NAMES)
    return make_batch(store, np.arange(len(samples)), frozenset())


def test_positions_are_about_their_mean_in_units_of_their_size():
    batch = batch_of(scans())
    given = Inputs(FEATURE_NAMES, VECTOR_NAMES)(batch)
    for graph in range(4):
        pos = given.pos[batch.graph_idx == graph]
        torch.testing.assert_close(pos.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
        assert pos.square().sum(1).mean().sqrt().item() == pytest.approx(1, rel=1e-12)
    torch.testing.assert_close(Inputs.place(batch, given.pos.new_zeros(4, 3)), batch.centre)
    corner = torch.stack([given.pos[batch.graph_idx == graph][0] for graph in range(4)])
    torch.testing.assert_close(
        Inputs.place(batch, corner), batch.pos[batch.node_ptr[:-1]], atol=1e-12, rtol=0
    )


def test_every_feature_stands_where_its_name_says():
    batch = batch_of(scans())
    inputs = Inputs(FEATURE_NAMES, VECTOR_NAMES)
    assert inputs.names == FEATURES
    assert (inputs.num_vectors, inputs.num_scalars, inputs.num_graph_vectors) == (2, 3, 4)
    given = inputs(batch)
    features, size = batch.node_features, batch.size[batch.graph_idx]
    torch.testing.assert_close(given.vectors[:, 0], features[:, 3:6])
    torch.testing.assert_close(given.vectors[:, 1], features[:, 6:9])
    torch.testing.assert_close(given.scalars[:, 0], 10 * features[:, 9])
    torch.testing.assert_close(given.scalars[:, 1], 5 * features[:, 10] / size)
    torch.testing.assert_close(given.scalars[:, 2], features[:, 11] / size)
    lengths = [0, 1, 3]
    torch.testing.assert_close(
        given.graph_vectors[:, lengths], batch.vectors[:, lengths] / batch.size[:, None, None]
    )
    torch.testing.assert_close(given.graph_vectors[:, 2], batch.vectors[:, 2])


@pytest.mark.parametrize("off", FEATURES)
def test_each_feature_can_be_switched_off(off):
    batch = batch_of(scans())
    whole = Inputs(FEATURE_NAMES, VECTOR_NAMES)(batch)
    kept = [name for name in FEATURES if name != off]
    inputs = Inputs(FEATURE_NAMES, VECTOR_NAMES, kept[::-1])
    assert list(inputs.names) == kept
    some = inputs(batch)
    assert torch.equal(some.pos, whole.pos)
    for names, field in (
        (NODE_VECTORS, "vectors"),
        (NODE_SCALARS, "scalars"),
        (GRAPH_VECTORS, "graph_vectors"),
    ):
        left = [place for place, name in enumerate(names) if name != off]
        assert torch.equal(getattr(some, field), getattr(whole, field)[:, left])


@pytest.mark.parametrize(
    ("features", "names", "vectors"), [([], FEATURE_NAMES, VECTOR_NAMES), (None, FEATURE_NAMES[:3], ())]
)
def test_positions_alone_are_enough(features, names, vectors):
    """Features switched off, or a data set that has none."""
    batch = batch_of(scans())
    inputs = Inputs(names, vectors, features)
    assert inputs.names == ()
    given = inputs(batch)
    assert given.vectors.shape == (batch.num_nodes, 0, 3)
    assert given.scalars.shape == (batch.num_nodes, 0)
    assert given.graph_vectors.shape == (4, 0, 3)
    assert {tensor.dtype for tensor in given} == {torch.float64}


def test_columns_are_found_by_name_wherever_they_stand():
    batch = batch_of(scans())
    inputs = Inputs(("a", *FEATURE_NAMES), ("b", *VECTOR_NAMES[::-1]))
    batch.node_features = torch.cat([torch.ones(batch.num_nodes, 1), batch.node_features], 1)
    batch.vectors = torch.cat([torch.ones(4, 1, 3), batch.vectors.flip(1)], 1)
    given, expected = inputs(batch), Inputs(FEATURE_NAMES, VECTOR_NAMES)(batch_of(scans()))
    for one, other in zip(given, expected, strict=True):
        assert torch.equal(one, other)


def test_a_feature_that_the_data_set_lacks_is_refused():
    with pytest.raises(InputError, match=r"--features carve depth: .* it has sensor, normal"):
        Inputs(FEATURE_NAMES[:9], (), ["normal", "depth", "carve"])
    with pytest.raises(InputError, match="it has positions only"):
        Inputs(("x", "y", "z"), (), ["normal"])
    with pytest.raises(InputError, match="--features colour"):
        Inputs(FEATURE_NAMES, VECTOR_NAMES, ["colour"])


@pytest.mark.parametrize("mirror", [1, -1])
@pytest.mark.parametrize("normalise", ["none", "unit"])
def test_inputs_turn_with_the_scan_and_know_neither_place_nor_size(mirror, normalise):
    rng = np.random.default_rng(3)
    turn, shift, size = mirror * random_rotation(rng), np.array([3.0, -1, 2]), 4.0
    still, moved = scans(), []
    for scan in still:
        there, station = size * scan.points @ turn.T + shift, size * scan.sensor @ turn.T + shift
        com, table = size * turn @ scan.com + shift, move_plane(scan.table, turn, shift, size)
        moved.append(Scan(there, station, scan.view, com, size * 2.0, table))
    inputs = Inputs(FEATURE_NAMES, VECTOR_NAMES)
    before, after = batch_of(still, normalise), batch_of(moved, normalise)
    one, other = inputs(before), inputs(after)
    matrix = torch.from_numpy(turn)
    for name in ("pos", "vectors", "graph_vectors"):
        expected = getattr(one, name) @ matrix.T
        torch.testing.assert_close(getattr(other, name), expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(other.scalars, one.scalars, atol=1e-10, rtol=0)
    answer = torch.from_numpy(rng.standard_normal((4, 3)))
    if normalise == "none":
        placed = size * Inputs.place(before, answer) @ matrix.T + torch.from_numpy(shift)
        torch.testing.assert_close(Inputs.place(after, answer @ matrix.T), placed, atol=1e-10, rtol=0)
