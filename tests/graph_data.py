"""Small random data sets for tests."""

from pathlib import Path

import numpy as np

from plumbline.data.packed import PackedStore, write_store
from plumbline.records import FEATURE_NAMES, Sample


def random_sample(rng: np.random.Generator, num_nodes: int, num_edges: int, name: str) -> Sample:
    """A graph with arbitrary edges: self loops, parallel edges and isolated nodes included."""
    source = rng.integers(num_nodes, size=num_edges)
    target = np.sort(rng.integers(num_nodes, size=num_edges))
    return Sample(
        node_features=rng.normal(size=(num_nodes, len(FEATURE_NAMES))).astype(np.float32),
        in_degree=np.bincount(target, minlength=num_nodes).astype(np.int32),
        edge_source=source.astype(np.int32),
        target=rng.normal(size=3),
        object_name=name,
        bounding_radius=float(rng.uniform(1, 2)),
    )


def random_store(
    folder: Path,
    *,
    num_graphs: int = 41,
    seed: int = 0,
    shard_bytes: int = 1 << 14,
    edge_attr: str = "displacement",
) -> PackedStore:
    """A store of several shards; the first graphs have one node and no edges."""
    rng = np.random.default_rng(seed)
    sizes = [1, 2, *rng.integers(3, 60, num_graphs - 2)]
    samples = [
        random_sample(
            rng, int(n), 0 if n == 1 else int(rng.integers(0, 8 * n)), f"group{i % 3}/object{i // 2}"
        )
        for i, n in enumerate(sizes)
    ]
    write_store(
        folder, samples, feature_names=FEATURE_NAMES, edge_attr=edge_attr, normalise="unit", k=None,
        shard_bytes=shard_bytes,
    )  # fmt: skip
    return PackedStore.open(folder)
