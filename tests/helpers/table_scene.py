"""A made-up scene as a depth camera sees it: a box and a can on a table, with labels, and their truths."""

import numpy as np
import trimesh

from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.raycast import Caster

ROWS, COLUMNS = 240, 320
CAMERA = Intrinsics(262.5, 262.5, 159.5, 119.5)
TABLE, BOX, CAN, OTHER = 1, 20, 30, 40
BOX_SIZE, BOX_MIDDLE, BOX_TURN = (0.16, 0.09, 0.12), (-0.1, 0.02), 0.5
BOX_AXIS = np.array([np.cos(BOX_TURN), np.sin(BOX_TURN), 0])
CAN_SIZE, CAN_MIDDLE = (0.08, 0.08, 0.15), (0.1, -0.05)


STAND = (0.05, -0.55, 0.5)
"""Where the camera stands."""


def table_pose(stand: tuple[float, float, float] = STAND) -> np.ndarray:
    """``[4, 4]`` from the table, whose z points up, to the camera, which looks down on it."""
    place = np.array(stand)
    forward = -place / np.linalg.norm(place)
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ place
    return pose


def centre(middle: tuple[float, float], size: tuple[float, float, float]) -> np.ndarray:
    """Where the camera sees the centre of a body that stands on the table."""
    return (table_pose() @ (*middle, size[2] / 2, 1))[:3]


def block(
    size: tuple[float, float, float], middle: tuple[float, float], base: float, turn: float
) -> trimesh.Trimesh:
    """A box with its base above the table."""
    place = trimesh.transformations.rotation_matrix(turn, (0, 0, 1))
    place[:3, 3] = *middle, base + size[2] / 2
    return trimesh.creation.box(size, place)


def see_scene(
    *others: trimesh.Trimesh, noise: float = 0.001, stand: tuple[float, float, float] = STAND
) -> tuple[np.ndarray, np.ndarray]:
    """The depth, NaN beyond the table, and the labels ``[H, W]``; all others have the label ``OTHER``."""
    can = trimesh.creation.cylinder(CAN_SIZE[0] / 2, CAN_SIZE[2], sections=96)
    can.apply_translation((*CAN_MIDDLE, CAN_SIZE[2] / 2))
    parts = [
        (TABLE, block((0.9, 0.7, 0.02), (0, 0), -0.02, 0)),
        (BOX, block(BOX_SIZE, BOX_MIDDLE, 0, BOX_TURN)),
        (CAN, can),
        *((OTHER, other) for other in others),
    ]
    label_of = np.repeat([label for label, _ in parts] + [0], [len(part.faces) for _, part in parts] + [1])
    scene = trimesh.util.concatenate([part for _, part in parts]).apply_transform(table_pose(stand))
    row, column = np.mgrid[:ROWS, :COLUMNS]
    fx, fy, cx, cy = CAMERA
    rays = np.stack([(column - cx) / fx, (row - cy) / fy, np.ones(row.shape)], axis=2).reshape(-1, 3)
    length = np.linalg.norm(rays, axis=1)
    away, face = Caster(scene.vertices, scene.faces).first_hits(np.zeros(rays.shape), rays / length[:, None])
    depth = np.where(face >= 0, away / length, np.nan)
    depth += noise * np.random.default_rng(0).normal(size=depth.shape)
    return depth.reshape(row.shape), label_of[face].reshape(row.shape)
