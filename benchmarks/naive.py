"""Naive data preparation, as a baseline: trimesh's rays, loops over points and edges, one file per view.

Its output has the content of a documented ``.pt`` sample: positions, k nearest neighbours, spherical
harmonics of the edges up to degree two, the centre of mass. There are no normals, no hull and no carving.
"""

import math
from pathlib import Path

import numpy as np
import torch
import trimesh

NUM_RAYS, K = 1600, 16


def prepare(
    path: Path, folder: Path, number: int, samples: int, points: int, rng: np.random.Generator
) -> None:
    """Scan one mesh and write its samples."""
    mesh = trimesh.load(path, force="mesh")
    centre = mesh.bounding_sphere.primitive.center
    radius = mesh.bounding_sphere.primitive.radius
    for sample in range(samples):
        cloud = scan(mesh, centre, radius, points, rng)
        torch.save(graph(cloud, mesh.center_mass), folder / f"object{number}_sample{sample}.pt")


def scan(
    mesh: trimesh.Trimesh, centre: np.ndarray, radius: float, points: int, rng: np.random.Generator
) -> np.ndarray:
    """Compute the first hits of a pinhole grid from a random direction, and keep farthest points."""
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    station = centre + 2.5 * radius * direction
    frame = trimesh.geometry.align_vectors([0, 0, 1], -direction)[:3, :3]
    side = int(math.sqrt(NUM_RAYS))
    u, v = np.meshgrid(np.linspace(-0.43, 0.43, side), np.linspace(-0.43, 0.43, side))
    rays = np.stack([u.ravel(), v.ravel(), np.ones(side * side)], axis=1) @ frame.T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    origins = np.tile(station, (len(rays), 1))
    hits, _, _ = mesh.ray.intersects_location(origins, rays, multiple_hits=False)
    chosen = [0]
    nearest = np.full(len(hits), np.inf)
    while len(chosen) < min(points, len(hits)):
        nearest = np.minimum(nearest, np.linalg.norm(hits - hits[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return hits[chosen] + 0.01 * radius * rng.standard_normal((len(chosen), 3))


def graph(cloud: np.ndarray, com: np.ndarray) -> dict[str, torch.Tensor]:
    """Make the edges in a loop over the points, and their attributes in a loop over the edges."""
    sources, targets, attributes = [], [], []
    for i, point in enumerate(cloud):
        distance = np.linalg.norm(cloud - point, axis=1)
        for j in np.argsort(distance)[1 : K + 1]:
            x, y, z = (cloud[j] - point) / max(distance[j], 1e-12)
            sources.append(int(j))
            targets.append(i)
            attributes.append([1.0, x, y, z, x * y, y * z, (3 * z * z - 1) / 2, x * z, (x * x - y * y) / 2])
    return {
        "node_features": torch.tensor(cloud, dtype=torch.float32),
        "edge_index": torch.tensor([sources, targets]),
        "edge_attr": torch.tensor(attributes, dtype=torch.float32),
        "target": torch.tensor(com, dtype=torch.float32),
    }
