"""Make random data sets of the three documented sizes, as a packed store and as a folder of ``.pt`` files.

Every graph is a noisy scan of the side of a random ellipsoid that faces a distant sensor, in the layout
that ``plumbline prepare`` writes: nine node features, each point connected to its k nearest points. The
target is the ellipsoid's centre, which is near the mean of the points and can be learned.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from plumbline.data.store.writer import write_store
from plumbline.geometry.neighbours import nearest_neighbours
from plumbline.records import FEATURE_NAMES, Sample

SIZES: dict[str, tuple[int, int]] = {"small": (40, 100), "medium": (150, 500), "large": (600, 1500)}
"""Smallest and largest number of points of a graph."""

GRAPHS_PER_OBJECT = 10


def make_samples(
    size: str, *, num_graphs: int = 1000, num_features: int = 9, k: int = 16, seed: int = 0
) -> Iterator[Sample]:
    """Yield the samples of one size; sample ``i`` does not depend on ``num_graphs``."""
    for index in range(num_graphs):
        rng = np.random.default_rng([seed, list(SIZES).index(size), index])
        yield make_sample(
            rng,
            num_points=int(rng.integers(SIZES[size][0], SIZES[size][1] + 1)),
            num_features=num_features,
            k=k,
            object_name=f"ellipsoid/{index // GRAPHS_PER_OBJECT:06d}",
        )


def make_sample(
    rng: np.random.Generator, *, num_points: int, object_name: str, num_features: int = 9, k: int = 16
) -> Sample:
    """Make one scan of a random ellipsoid with half-axes 0.5 to 1.5, stored in units of the scan's size."""
    half_axes = rng.uniform(0.5, 1.5, 3)
    on_sphere = rng.standard_normal((2 * num_points + 64, 3))
    on_sphere /= np.linalg.norm(on_sphere, axis=1, keepdims=True)
    towards = rng.standard_normal(3)
    towards /= np.linalg.norm(towards)
    normals = on_sphere / half_axes
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    seen = np.argsort(-(normals @ towards), kind="stable")[:num_points]
    normals = normals[seen]
    points = on_sphere[seen] * half_axes + rng.normal(0.0, 0.01, (num_points, 3))
    sensor = towards * 4.0 - points
    sensor /= np.linalg.norm(sensor, axis=1, keepdims=True)

    origin = points.mean(axis=0)
    scale = float(np.sqrt(((points - origin) ** 2).sum(axis=1).mean()))
    stored = (points - origin) / scale
    features = np.concatenate([stored, sensor, normals], axis=1)[:, :num_features].astype(np.float32)
    return Sample(
        node_features=features,
        in_degree=np.full(num_points, min(k, num_points - 1), dtype=np.int32),
        edge_source=nearest_neighbours(stored, k).reshape(-1).astype(np.int32),
        target=-origin / scale,
        object_name=object_name,
        bounding_radius=float(half_axes.max()) / scale,
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        scale=scale,
        num_views=1,
    )


def write_packed(folder: Path, samples: Iterator[Sample], *, num_features: int = 9) -> None:
    """Write the packed store that the training program opens."""
    write_store(folder, samples, feature_names=FEATURE_NAMES[:num_features])


def write_pt(folder: Path, samples: Iterator[Sample]) -> None:
    """Write the documented folder: a ``.pt`` dict per graph and ``dataset_metadata.json``."""
    folder.mkdir(parents=True)
    files = []
    for index, sample in enumerate(samples):
        name = f"graph{index:06d}.pt"
        torch.save(
            {
                "node_features": torch.from_numpy(sample.node_features),
                "edge_index": torch.from_numpy(sample.edge_index),
                "target": torch.from_numpy(sample.target).float(),
                "metadata": {"object_name": sample.object_name},
            },
            folder / name,
        )
        files.append({"filename": name, "object_name": sample.object_name})
    (folder / "dataset_metadata.json").write_text(json.dumps({"files": files}), encoding="utf-8")
