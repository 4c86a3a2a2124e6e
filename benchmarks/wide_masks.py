"""Measure what a mask that is too wide costs the shipped model, given as a depth image and as a cloud.

    python -m benchmarks.wide_masks [--solids 60] [--distance 0.6]

Built-in solids of 20 cm in random poses before a wall, seen by a depth camera of 640 x 480 pixels with a
focal length of 600: depths in millimetres, 0.5 mm of noise, two in a hundred pixels lost. The mask is the
outline, widened by some pixels. The cloud has the same points, but not their places in the image.
"""

import argparse

import numpy as np
from scipy.ndimage import binary_dilation

from benchmarks.latency import CAMERA, SIZE
from plumbline import load_predictor
from plumbline.geometry.depth_images import depth_to_cloud
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.solids import make_solid

RADIUS = 0.1
GAPS = (0.1, 0.4)
"""Metres from the object's centre to the wall behind it."""
WIDTHS = (0, 1, 2, 3, 5, 7)
SMALLEST = 500
"""Pixels; of fewer a solid is left out."""


def main() -> None:
    """Measure and print a table; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--solids", type=int, default=60)
    parser.add_argument("--distance", type=float, default=0.6, help="metres from the camera to the solid")
    args = parser.parse_args()
    predictor = load_predictor(accelerator="cpu")
    com = np.array([0.0, 0, args.distance])
    misses: dict[tuple[float, int, str], list[float]] = {}
    for number in range(args.solids):
        rng = np.random.default_rng(number)
        outline, depth = look(number, com, rng)
        if outline.sum() < SMALLEST:
            continue
        for gap in GAPS:
            image = taken(np.where(outline, depth, args.distance + gap), rng)
            for width in WIDTHS:
                mask = binary_dilation(outline, iterations=width) if width else outline
                cloud = depth_to_cloud(image, CAMERA, mask)
                for form, given in {"image": cloud, "cloud": cloud.points}.items():
                    away = np.linalg.norm(predictor.predict(given).com - com)
                    misses.setdefault((gap, width, form), []).append(float(100 * away / RADIUS))
    print("miss, % of the radius: mean / median\n")
    print("wall behind" + "".join(f"{f'{width} pixels':>15}" for width in WIDTHS))
    for gap in GAPS:
        for form in ("image", "cloud"):
            cells = [misses[gap, width, form] for width in WIDTHS]
            text = "".join(f"{np.mean(cell):8.1f} / {np.median(cell):4.1f}" for cell in cells)
            print(f"{gap} m, {form}{text}")


def look(number: int, com: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where a solid in a random pose is seen ``[H, W]``, and at which depth."""
    row, column = np.indices(SIZE)
    rays = np.stack(
        [(column - CAMERA.cx) / CAMERA.fx, (row - CAMERA.cy) / CAMERA.fy, np.ones(SIZE)], axis=-1
    ).reshape(-1, 3)
    length = np.linalg.norm(rays, axis=1)
    solid = make_solid(7, number)
    vertices = (solid.vertices - solid.com) @ random_rotation(rng).T * (RADIUS / solid.bounding_radius)
    hits, _ = Caster(vertices + com, solid.faces).first_hits(np.zeros_like(rays), rays / length[:, None])
    depth = (hits / length).reshape(SIZE)
    return np.isfinite(depth), depth


def taken(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera measures: whole millimetres, with noise and lost pixels."""
    noisy = depth + rng.normal(0, 5e-4, SIZE)
    noisy[rng.random(SIZE) < 0.02] = 0
    image: np.ndarray = np.round(1000 * noisy).astype(np.uint16)
    return image


if __name__ == "__main__":
    main()
