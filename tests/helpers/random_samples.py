"""Random samples, and small stores of them."""

from pathlib import Path
from typing import Any

import numpy as np

from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.records import Sample

FEATURES = tuple("abcdefghi")


def random_sample(rng: np.random.Generator, **given: Any) -> Sample:
    """A sample with random sizes, degrees and edges; ``num_nodes``, ``edge_dim``, fields can be given."""
    num_nodes = given.pop("num_nodes", None) or int(rng.integers(1, 30))
    edge_dim = given.pop("edge_dim", None)
    in_degree = rng.integers(0, 5, num_nodes).astype(np.int32)
    num_edges = int(in_degree.sum())
    values: dict[str, Any] = {
        "node_features": rng.normal(size=(num_nodes, len(FEATURES))).astype(np.float32),
        "in_degree": in_degree,
        "edge_source": rng.integers(0, num_nodes, num_edges).astype(np.int32),
        "target": rng.normal(size=3),
        "object_name": f"group{rng.integers(3)}/object{rng.integers(50):03d}",
        "bounding_radius": float(rng.uniform(1, 2)),
        "origin": tuple(rng.normal(size=3).tolist()),
        "scale": float(rng.uniform(0.1, 2)),
        "num_views": int(rng.integers(0, 4)),
    }
    if edge_dim is not None:
        values["edge_attr"] = rng.normal(size=(num_edges, edge_dim)).astype(np.float32)
    return Sample(**{**values, **given})


def random_samples(seed: int, num: int, **given: Any) -> list[Sample]:
    """Several of them."""
    rng = np.random.default_rng(seed)
    return [random_sample(rng, **given) for _ in range(num)]


def assert_same(a: Sample, b: Sample) -> None:
    """Every field equal to the bit."""
    for name in Sample.__slots__:
        left, right = getattr(a, name), getattr(b, name)
        if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
            assert left.dtype == right.dtype, name
            assert np.array_equal(left, right), name
        else:
            assert left == right or (left != left and right != right), name


def random_store(
    folder: Path, *, num_graphs: int = 41, seed: int = 0, edge_attr: str = "displacement"
) -> PackedStore:
    """A store of several shards whose first graph has one node; self and parallel edges, isolated nodes."""
    rng = np.random.default_rng(seed)
    sizes = [1, 2, *rng.integers(3, 60, num_graphs - 2).tolist()]
    samples = [
        random_sample(rng, num_nodes=size, object_name=f"group{i % 3}/object{i // 2}")
        for i, size in enumerate(sizes)
    ]
    write_store(folder, samples, feature_names=FEATURES, edge_attr=edge_attr, shard_bytes=1 << 14)
    return PackedStore.open(folder)
