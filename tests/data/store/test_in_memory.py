"""Samples in memory make the same batches as the same samples in a packed store."""

import numpy as np
import pytest
import torch

from plumbline.data.batches.collate import make_batch
from plumbline.data.store.in_memory import MemoryStore
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.geometry.graphs import LEADERS, build_sample
from plumbline.geometry.solids import make_solid
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Scan
from tests.helpers.scans import scan_of

NEEDS = frozenset({"gcn", "edge_index", "patches"})
NAMES = {"feature_names": FEATURE_NAMES, "vector_names": VECTOR_NAMES, "leaders": LEADERS, "k": 8}


def samples_of(num=5, dtype=np.float32, known=True):
    samples = []
    for i in range(num):
        solid = make_solid(2, i)
        scan = scan_of(solid, i, views=1 + i % 2, points=40 + 30 * i, rays=900)
        if not known:
            scan = Scan(scan.points, scan.sensor, scan.view, scan.com, None)
        samples.append(
            build_sample(
                scan, k=8, edge_attr="sh", sh_degree=2, normalise="unit", object_name=f"o/{i}", dtype=dtype
            )
        )
    return samples


@pytest.mark.parametrize("known", [True, False])
def test_the_batch_is_that_of_a_packed_store(tmp_path, known):
    samples = samples_of(known=known)
    write_store(tmp_path / "a", samples, edge_attr="sh", sh_degree=2, **NAMES)
    packed, memory = PackedStore.open(tmp_path / "a"), MemoryStore(samples, **NAMES)
    assert len(packed) == len(memory) == 5
    np.testing.assert_array_equal(packed.node_ptr, memory.node_ptr)
    np.testing.assert_array_equal(packed.edge_ptr, memory.edge_ptr)
    indices = np.array([3, 0, 4, 3])
    one, other = (make_batch(store, indices, NEEDS) for store in (packed, memory))
    assert one.num_nodes == other.num_nodes == 2 * 130 + 40 + 160
    for name in vars(one):
        left, right = getattr(one, name), getattr(other, name)
        if name == "gcn":
            for a, b in zip(
                (*left.propagate, left.aggregated), (*right.propagate, right.aggregated), strict=True
            ):
                assert torch.equal(a, b)
        elif left is None:
            assert right is None, name
        elif name == "max_in_degree":
            assert left == right
        else:
            assert left.dtype == right.dtype, name
            assert torch.equal(left, right), name


def test_double_precision_is_kept():
    samples = samples_of(3, dtype=np.float64)
    batch = make_batch(MemoryStore(samples, **NAMES), np.array([2, 1]), frozenset({"patches"}))
    for name in (
        "node_features",
        "pos",
        "target",
        "bounding_radius",
        "centre",
        "size",
        "vectors",
    ):
        assert getattr(batch, name).dtype == torch.float64, name
    np.testing.assert_array_equal(
        batch.pos.numpy(), np.concatenate([samples[2].node_features[:, :3], samples[1].node_features[:, :3]])
    )
    np.testing.assert_array_equal(batch.vectors.numpy(), np.stack([samples[2].vectors, samples[1].vectors]))
    np.testing.assert_array_equal(batch.target[0].numpy(), samples[2].target)


def test_samples_without_vectors_or_truth():
    scan = Scan(np.eye(3), np.full((3, 3), 5.0), np.zeros(3, np.int64), None, None)
    sample = build_sample(scan, k=2, edge_attr="none", sh_degree=0, normalise="none", object_name="a")
    bare = type(sample)(
        sample.node_features, sample.in_degree, sample.edge_source, sample.target, sample.object_name
    )
    batch = make_batch(MemoryStore([bare], feature_names=FEATURE_NAMES), np.array([0]), frozenset())
    assert batch.vectors.shape == (1, 0, 3)
    assert torch.isnan(batch.target).all()
    assert batch.bounding_radius.item() == pytest.approx(np.sqrt(2 / 3), rel=1e-6)
