"""Makes the sample in examples/sample: ``python examples/make_sample.py``.

A depth image of an object on a table, as plumbline's virtual depth camera sees it, with the mask of the
object, the intrinsics of the camera and its pose in the frame of a flange. The object is a built-in solid, so
its centre of mass is known; the shipped model was not trained on it.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from plumbline.geometry.depth_camera import DepthCamera
from plumbline.geometry.meshes import make_solid_record
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rest_poses import rest_poses
from plumbline.geometry.solids import make_solid
from plumbline.records import Float, Int, Solid

SEED, INDEX = 99, 63
"""A teapot; the shipped model was trained on solids of the seeds 1 and 2."""
RADIUS, PLACE, ELEVATION, TURN = 0.09, (0.0, 0.0, 0.6), np.deg2rad(35), np.deg2rad(160)
"""The object's radius and its place before the camera in metres; elevation of the camera, turn."""
FX, FY, CX, CY, COLUMNS, ROWS = 400.0, 400.0, 159.5, 119.5, 320, 240
TABLE, NOISE, MILLIMETRE = 0.25, 0.0005, 0.001
"""Metres: half the side of the table, the noise of its depths."""
HEIGHT = 0.15
"""Metres from the centre of the object up to the flange, whose z points down at it."""
FOLDER = Path(__file__).parent / "sample"


class Sample(NamedTuple):
    """What is written, and the true centre of mass ``[3]`` in the frame of the camera."""

    depth: Int
    mask: Int
    camera: dict[str, float]
    flange: list[list[float]]
    com: Float


def make() -> Sample:
    """Render the sample; the same on every machine up to rounding."""
    solid, up = _on_table()
    caster, rng = Caster(solid.vertices, solid.faces), np.random.default_rng(3)
    seen = DepthCamera(rng, rest_poses(solid), solid.bounding_radius).take(solid, caster, np.zeros(3), 10**6)

    row, column = np.mgrid[:ROWS, :COLUMNS]
    rays = np.stack([(column - CX) / FX, (row - CY) / FY, np.ones(row.shape)], axis=2)
    unit = rays.reshape(-1, 3) / np.linalg.norm(rays, axis=2).reshape(-1, 1)
    mask = (caster.first_hits(np.zeros(unit.shape), unit)[1] >= 0).reshape(row.shape)
    depth = (solid.vertices @ up).min() / (rays @ up)
    away = np.linalg.norm(rays * depth[..., None] - solid.bounding_centre, axis=2)
    depth[(depth < 0) | (away > TABLE)] = 0
    depth += np.where(depth > 0, NOISE * rng.normal(size=depth.shape), 0)

    depth[mask] = np.inf  # until a point of the object lies there
    x, y = np.rint(seen[:, :2] / seen[:, 2:] * (FX, FY) + (CX, CY)).astype(int).T
    np.minimum.at(depth, (y, x), seen[:, 2])
    depth[np.isinf(depth)] = 0
    camera = {"fx": FX, "fy": FY, "cx": CX, "cy": CY, "width": COLUMNS, "height": ROWS}
    return Sample(
        (depth / MILLIMETRE).round().astype(np.uint16), 255 * mask.astype(np.uint8), camera,
        _flange(solid, up), solid.com,
    )  # fmt: skip


def _on_table() -> tuple[Solid, Float]:
    """The object on the table and what is up, in the frame of the camera (x right, y down, z forward)."""
    solid = make_solid(SEED, INDEX)
    rest = rest_poses(solid)
    back = np.array([0, -np.sin(ELEVATION), np.cos(ELEVATION)])
    up = np.array([0, -np.cos(ELEVATION), -np.sin(ELEVATION)])
    here = _axes(rest.up[rest.chance.argmax()], np.array([0.3, 0.5, 0.8]))
    there = _axes(up, np.cos(TURN) * back + np.sin(TURN) * np.cross(up, back))
    moved = (solid.vertices - solid.bounding_centre) @ here @ there.T
    moved = moved * RADIUS / solid.bounding_radius + PLACE
    return make_solid_record(solid.name, moved, solid.faces), up


def _flange(solid: Solid, up: Float) -> list[list[float]]:
    """The pose of the camera in the frame of the flange, which grips from above."""
    turn = _axes(-up, np.array([1.0, 0, 0]))[:, [1, 2, 0]].T
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, -turn @ (solid.bounding_centre + HEIGHT * up)
    return pose.round(6).tolist()


def _axes(first: Float, second: Float) -> Float:
    """Right-handed axes as columns: along ``first``, near ``second``, and across both."""
    near = second - (second @ first) * first
    near /= np.linalg.norm(near)
    return np.stack([first, near, np.cross(first, near)], axis=1)


def main() -> None:
    """Write the files, and print the true centre of mass."""
    sample = make()
    Image.fromarray(sample.depth).save(FOLDER / "depth.png", optimize=True)
    Image.fromarray(sample.mask).save(FOLDER / "mask.png", optimize=True)
    (FOLDER / "camera.json").write_text(json.dumps(sample.camera) + "\n", encoding="utf-8")
    (FOLDER / "flange.json").write_text(json.dumps(sample.flange) + "\n", encoding="utf-8")
    print("true centre of mass", sample.com.round(4))


if __name__ == "__main__":
    main()
