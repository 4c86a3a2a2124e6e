"""Patches: spread over the graph, nearest first, the same from points and from edges."""

import numpy as np
import pytest
import torch

from plumbline.data.batches.collate import make_batch
from plumbline.data.batches.patches import NEIGHBOURS, TOKENS, centre_and_size, patches
from plumbline.data.store.in_memory import MemoryStore
from plumbline.geometry.graphs import LEADERS, build_sample
from plumbline.geometry.sampling import farthest_points
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Scan


def cloud(num, seed=0):
    return np.random.default_rng(seed).standard_normal((num, 3))


def graphs_of(sizes, *, k=16, leaders=LEADERS):
    """A store of graphs of so many random points."""
    samples = []
    for seed, size in enumerate(sizes):
        scan = Scan(cloud(size, seed), np.full((size, 3), 9.0), np.zeros(size, np.int64), np.zeros(3), 1.0)
        samples.append(
            build_sample(scan, k=k, edge_attr="none", sh_degree=0, normalise="unit", object_name="a")
        )
    return MemoryStore(samples, feature_names=FEATURE_NAMES, vector_names=VECTOR_NAMES, leaders=leaders, k=k)


def both_ways(sizes, k=16):
    flat = graphs_of(sizes, k=k).gather(np.arange(len(sizes)))
    return patches(flat, leaders=LEADERS, k=k), patches(flat, leaders=0, k=k), flat


def test_edges_and_points_give_the_same_patches():
    from_edges, from_points, _ = both_ways([65, 300, 64, 17, 20, 128])
    assert from_edges.shape == (6, TOKENS, 1 + NEIGHBOURS)
    assert from_edges.dtype == from_points.dtype == np.int32
    np.testing.assert_array_equal(from_edges, from_points)


@pytest.mark.parametrize("way", [0, 1])
def test_tokens_are_farthest_points_followed_by_their_nearest(way):
    *found, flat = both_ways([100, 80])
    for graph in range(2):
        pos = flat.pos[flat.node_ptr[graph] : flat.node_ptr[graph + 1]].astype(np.float64)
        token, others = found[way][graph, :, 0], found[way][graph, :, 1:]
        np.testing.assert_array_equal(token, farthest_points(pos, TOKENS))
        away = np.linalg.norm(pos[token, None] - pos, axis=2)
        expected = np.argsort(away, axis=1)[:, 1 : NEIGHBOURS + 1]
        np.testing.assert_array_equal(others, expected)


@pytest.mark.parametrize("size", [2, 5, 16, 17, 40])
def test_small_graphs_repeat_their_nodes_by_either_way(size):
    from_edges, from_points, _ = both_ways([size, 90])
    np.testing.assert_array_equal(from_edges, from_points)
    rows, width = min(size, TOKENS), min(size - 1, NEIGHBOURS)
    np.testing.assert_array_equal(from_edges[0], from_edges[0][np.arange(TOKENS) % rows])
    assert sorted(from_edges[0, :rows, 0].tolist()) == list(range(rows))
    others = from_edges[0, :, 1:]
    np.testing.assert_array_equal(others, others[:, np.arange(NEIGHBOURS) % width])
    assert all(len(set(row.tolist())) == width + 1 for row in from_edges[0])


def test_a_graph_of_one_node_is_its_own_neighbour():
    store = graphs_of([9, 70])
    lonely = store.gather(np.array([0]))._replace(
        pos=np.ones((1, 3), np.float32), in_degree=np.zeros(1, np.int32), edge_source=np.zeros(0, np.int32),
        node_ptr=np.array([0, 1]), edge_ptr=np.array([0, 0]),
    )  # fmt: skip
    np.testing.assert_array_equal(patches(lonely, leaders=0, k=None), np.zeros((1, TOKENS, 1 + NEIGHBOURS)))


def test_other_graphs_are_not_taken_for_nearest_neighbours():
    """Without the promise that edges are the nearest and nodes are in order, points decide."""
    flat = graphs_of([70]).gather(np.arange(1))
    wrong = flat._replace(edge_source=flat.edge_source[::-1].copy())
    right = patches(flat, leaders=0, k=None)
    np.testing.assert_array_equal(patches(wrong, leaders=LEADERS, k=None), right)
    np.testing.assert_array_equal(patches(wrong, leaders=TOKENS - 1, k=16), right)
    assert (patches(wrong, leaders=LEADERS, k=16) != right).any()


def test_fewer_neighbours_make_narrower_patches():
    from_edges, from_points, _ = both_ways([70, 90], k=6)
    np.testing.assert_array_equal(from_edges, from_points[:, :, :7])


def test_coinciding_points_never_put_a_node_before_itself():
    points = np.concatenate([np.zeros((5, 3)), cloud(3)]).astype(np.float32)
    flat = graphs_of([8]).gather(np.arange(1))._replace(pos=points)
    found = patches(flat, leaders=0, k=None)[0]
    assert sorted(set(found[:, 0].tolist())) == list(range(8))
    assert all((row[1:] != row[0]).all() for row in found)


def test_a_batch_counts_nodes_over_all_its_graphs():
    store = graphs_of([70, 12, 90])
    order = np.array([2, 0, 1])
    batch = make_batch(store, order, frozenset({"patches"}))
    local = patches(store.gather(order), leaders=LEADERS, k=16)
    assert batch.patches is not None
    assert batch.patches.dtype == torch.int64
    np.testing.assert_array_equal(batch.patches.numpy(), local + np.array([0, 90, 160])[:, None, None])


def test_centre_and_size():
    pos = np.concatenate([[[1.0, 0, 0], [3, 0, 0], [2, 0, 0]], [[5, 5, 5]], np.full((4, 3), 2.0)]).astype(
        "f4"
    )
    centre, size = centre_and_size(pos, np.array([0, 3, 4, 8]))
    np.testing.assert_allclose(centre, [[2, 0, 0], [5, 5, 5], [2, 2, 2]])
    np.testing.assert_allclose(size, [np.sqrt(2 / 3), 1, 1], rtol=1e-6)
    assert centre.dtype == size.dtype == np.float32
    step = np.spacing(np.float32(4096))
    far = np.array([[4096, 0, 0], [4096 + step, 0, 0]] * 50000, np.float32)
    assert centre_and_size(far, np.array([0, len(far)]))[1][0] == pytest.approx(step / 2, rel=1e-6)


def test_points_that_coincide_in_float32_have_size_one():
    """A size that float32 rounds to zero would make every position infinite or NaN."""
    for gap in (0.0, 1e-45, 1e-39):
        pos = np.array([[0, 0, 0], [gap, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32)
        _, size = centre_and_size(pos, np.array([0, 2, 4]))
        assert size.tolist() == [1.0, 0.5]
