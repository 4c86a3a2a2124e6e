"""Draws the picture of docs/sensor-model.md: ``python -m docs.sensor_model REAL_DIR``.

Real scans, cleaned as ``predict`` does, next to simulated ones of the same objects from the same places.
REAL_DIR is a folder as for ``plumbline benchmark --real``; the scans shown are from images under the MIT
licence.
"""

import sys
from pathlib import Path

import numpy as np

from plumbline.geometry.cleaning import clean_scan
from plumbline.geometry.clouds import load_cloud, scan_of
from plumbline.geometry.depth_camera import DepthCamera
from plumbline.geometry.meshes import load_mesh, make_solid_record
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rest_poses import rest_poses
from plumbline.records import Float

DOCS = Path(__file__).parent
SCANS = (
    "ycbv1__006_mustard_bottle",
    "ycbv5__035_power_drill",
    "ycbv3__010_potted_meat_can",
    "ycbv4__019_pitcher_base",
)
POINTS = 2500
COLUMNS = ("real, cleaned", "depth camera", "depth camera, another", "no sensor model")


def columns_of(folder: Path, name: str) -> list[Float]:
    """Points ``[n, 3]`` of one object in the camera's frame, for each of ``COLUMNS``; the camera is at 0."""
    path = folder / "scans" / f"{name}.npz"
    rng = np.random.default_rng(0)
    with np.load(path) as arrays:
        pose, mesh = arrays["pose"], folder / str(arrays["mesh"])
    solid = load_mesh(mesh, name=name)
    placed = make_solid_record(name, solid.vertices @ pose[:3, :3].T + pose[:3, 3], solid.faces)
    caster, rest = Caster(placed.vertices, placed.faces), rest_poses(placed)
    found = [clean_scan(scan_of(load_cloud(path), None)).points]
    for seed in (1, 2):
        camera = DepthCamera(np.random.default_rng(seed), rest, placed.bounding_radius)
        found.append(camera.take(placed, caster, np.zeros(3), POINTS))
    flat = placed.vertices[:, :2] / placed.vertices[:, 2:]
    grid = np.stack(np.meshgrid(*np.linspace(flat.min(0), flat.max(0), 120).T), axis=-1).reshape(-1, 2)
    grid = np.column_stack([grid, np.ones(len(grid))])
    grid /= np.linalg.norm(grid, axis=1, keepdims=True)
    away, face = caster.first_hits(np.zeros_like(grid), grid)
    found.append(grid[face >= 0] * away[face >= 0, None])
    return [each[rng.permutation(len(each))[:POINTS]] for each in found]


def main() -> None:
    """Draw all objects and write docs/figures/sensor-model.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder = Path(sys.argv[1])
    figure, axes = plt.subplots(
        len(SCANS), len(COLUMNS), figsize=(10, 2.6 * len(SCANS)), layout="constrained"
    )
    for row, name in zip(axes, SCANS, strict=True):
        shown = columns_of(folder, name)
        whole = shown[-1]
        centre, size = (whole[:, :2].min(0) + whole[:, :2].max(0)) / 2, np.ptp(whole[:, :2], axis=0).max()
        near, far = whole[:, 2].min(), whole[:, 2].max()
        for axis, points in zip(row, shown, strict=True):
            axis.scatter(*points[:, :2].T, c=points[:, 2], s=1.2, cmap="viridis", vmin=near, vmax=far)
            axis.set_xlim(centre[0] - 0.6 * size, centre[0] + 0.6 * size)
            axis.set_ylim(centre[1] + 0.6 * size, centre[1] - 0.6 * size)
            axis.set_aspect("equal")
            axis.axis("off")
    for axis, title in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(title, fontsize=10)
    figure.savefig(DOCS / "figures" / "sensor-model.png", dpi=110)


if __name__ == "__main__":
    main()
