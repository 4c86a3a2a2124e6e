"""Measure how long the shipped model takes from a depth image to the answer, and from a cloud of points.

    python -m benchmarks.latency [--solids 20] [--rounds 10]

Images of built-in solids, 640 x 480 with about 20,000 pixels in the mask: rounded to millimetres, with noise,
lost pixels, a wall behind and a mask that is two pixels too wide. Everything is included: conversion,
cleaning, features, network, warnings. One thread; all programs take turns. If Open3D is installed, the time
that its statistical outlier removal, normals and convex hull take for the same points is measured as well.
"""

import argparse
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
from scipy.ndimage import binary_dilation  # noqa: E402

from plumbline import load_predictor  # noqa: E402
from plumbline.geometry.depth_images import depth_to_cloud  # noqa: E402
from plumbline.geometry.intrinsics import Intrinsics  # noqa: E402
from plumbline.geometry.raycast import Caster  # noqa: E402
from plumbline.geometry.solids import make_solid  # noqa: E402
from plumbline.records import Float, Solid  # noqa: E402

SIZE = (480, 640)
CAMERA = Intrinsics(600.0, 600.0, 319.5, 239.5)
PIXELS = 20_000
FEW = 4_000
WALL = 0.4
"""Metres between the object and what is behind it."""


def main() -> None:
    """Measure and print a table; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--solids", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    images = [picture(make_solid(99, number), number) for number in range(args.solids)]
    clouds = [depth_to_cloud(depth, CAMERA, mask).points for depth, mask in images]
    thin = [points[np.random.default_rng(0).permutation(len(points))[:FEW]] for points in clouds]
    predictor = load_predictor(accelerator="cpu")
    programs: dict[str, tuple[list[Any], Callable[[Any], object]]] = {
        "depth and mask": (images, lambda one: predictor.predict(depth_to_cloud(one[0], CAMERA, one[1]))),
        "cloud": (clouds, predictor.predict),
        f"cloud of {FEW:,}": (thin, predictor.predict),
    }
    if find_spec("open3d"):
        programs |= {
            "Open3D, cloud": (clouds, open3d_work),
            f"Open3D, cloud of {FEW:,}": (thin, open3d_work),
        }
    spent = measure(programs, args.rounds)
    print(f"{np.mean([len(points) for points in clouds]):,.0f} points on average\n")
    print(f"{'':24}{'median':>10}{'99 %':>10}{'CPU':>10}   ms")
    for name, times in spent.items():
        wall, cpu = 1000 * np.array(times).T
        print(f"{name:24}{np.median(wall):10.1f}{np.quantile(wall, 0.99):10.1f}{np.median(cpu):10.1f}")


def picture(solid: Solid, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Depths ``[H, W]`` of a solid in millimetres, as uint16, and its mask."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = np.stack(
        [(column - CAMERA.cx) / CAMERA.fx, (row - CAMERA.cy) / CAMERA.fy, np.ones(SIZE)], axis=-1
    ).reshape(-1, 3)
    length = np.linalg.norm(rays, axis=1)
    vertices = (solid.vertices - solid.com) * (0.1 / solid.bounding_radius)
    away = 0.6
    for _ in range(4):  # the area falls with the square of the distance, nearly
        caster = Caster(vertices + [0, 0, away], solid.faces)
        found = caster.first_hits(np.zeros_like(rays), rays / length[:, None])[0] / length
        seen = int(np.isfinite(found).sum())
        away *= np.sqrt(seen / PIXELS) if seen else 0.5
    depth = np.where(np.isfinite(found), found, away + WALL).reshape(SIZE)
    depth = depth + rng.normal(0, 5e-4, SIZE)
    depth[rng.random(SIZE) < 0.02] = 0
    mask = binary_dilation(np.isfinite(found).reshape(SIZE), iterations=2)
    return np.round(1000 * depth).astype(np.uint16), mask


def measure(
    programs: dict[str, tuple[list[Any], Callable[[Any], object]]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of every input in every round but the first, by program."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for turn in range(rounds + 1):
        for name, (inputs, work) in programs.items():
            for one in inputs:
                started, cpu = time.perf_counter(), time.thread_time()
                work(one)
                if turn:
                    spent[name].append((time.perf_counter() - started, time.thread_time() - cpu))
    return spent


def open3d_work(points: Float) -> Float:
    """Clean a cloud, estimate its normals and return the centre of its convex hull, with Open3D."""
    import open3d

    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cloud, _ = cloud.remove_statistical_outlier(20, 2.0)
    cloud.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(16))
    cloud.orient_normals_towards_camera_location(np.zeros(3))
    hull, _ = cloud.compute_convex_hull()
    centre: Float = hull.get_center()
    return centre


if __name__ == "__main__":
    main()
