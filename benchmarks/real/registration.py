"""Registration of a reference mesh to a depth image: point-to-plane ICP from a rough start pose.

At each step the mesh is rendered where it stands. The pixels in its silhouette (and in the object's mask, if
there is one) that measured a depth near the rendered one are matched with the nearest surface that faces the
camera; what stands in front of the object, and the table behind its outline, take no part.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.raycast import Caster
from plumbline.records import Float, Solid

SAMPLES = 100_000
"""Samples of the surface; with normals they stand for it to a few hundredths of a millimetre."""
REACH = (0.02, 0.015, 0.01, 0.008, 0.006, 0.006, 0.006, 0.006)
"""Largest distance of a match in metres, step by step."""
ROUNDS = 5
"""Times that points are matched and the pose is moved, at each step."""
STARTS = 4
"""Further registrations, each from a moved start and with half of the points, whose spread is reported."""


class Found(NamedTuple):
    """A registered mesh.

    Attributes:
        pose: ``[4, 4]`` from the mesh to the camera.
        residual: rms distance of the matched points from the surface, metres.
        spread: rms distance of the centres of mass of further registrations, metres.
    """

    pose: Float
    residual: float
    spread: float


@dataclass
class View:
    """A depth image ``[H, W]`` in metres (0: nothing was measured), its camera, and the object's mask."""

    depth: Float
    camera: Intrinsics
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        row, column = np.mgrid[: self.depth.shape[0], : self.depth.shape[1]]
        fx, fy, cx, cy = self.camera
        self.rays = np.stack([(column - cx) / fx, (row - cy) / fy, np.ones(self.depth.shape)], axis=2)
        self.known = np.isfinite(self.depth) & (self.depth > 0)

    @property
    def points(self) -> Float:
        """``[H, W, 3]``, where a depth is known."""
        return self.rays * self.depth[..., None]


def start_pose(solid: Solid, turn: Float, centre: Float) -> Float:
    """The pose with a rotation vector ``[3]`` in radians that brings the centre of the bounding sphere
    to a position ``[3]``."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    pose[:3, 3] = centre - pose[:3, :3] @ solid.bounding_centre
    return pose


def register(solid: Solid, view: View, start: Float) -> Found:
    """Register a mesh to a view, from a start within about 15 mm and 10 degrees."""
    surface = Surface(solid)
    pose, residual = surface.align(view, start, np.random.default_rng(0), share=1.0)
    rng = np.random.default_rng(1)
    others = []
    for _ in range(STARTS):
        moved = pose.copy()
        turn = Rotation.from_rotvec(np.radians(2) * rng.normal(size=3) / np.sqrt(3)).as_matrix()
        centre = pose[:3, :3] @ solid.com + pose[:3, 3]
        moved[:3, :3] = turn @ pose[:3, :3]
        moved[:3, 3] = centre + 0.003 * rng.normal(size=3) / np.sqrt(3) - moved[:3, :3] @ solid.com
        others.append(surface.align(view, moved, rng, share=0.5)[0] @ np.append(solid.com, 1))
    com = pose @ np.append(solid.com, 1)
    spread = float(np.sqrt(np.square(np.array(others) - com).sum(axis=1).mean()))
    return Found(pose, residual, spread)


class Surface:
    """Samples of a mesh with their normals."""

    def __init__(self, solid: Solid) -> None:
        mesh = trimesh.Trimesh(solid.vertices, solid.faces, process=False)
        self.points, face = trimesh.sample.sample_surface(mesh, SAMPLES, seed=0)
        self.normals = np.asarray(mesh.face_normals[face])
        self.vertices, self.caster = solid.vertices, Caster(solid.vertices, solid.faces)

    def render(self, view: View, pose: Float) -> Float:
        """Depths ``[H, W]`` of the mesh in a view; 0 where it is not."""
        turn, move = pose[:3, :3], pose[:3, 3]
        x, y, z = turn @ self.vertices.T + move[:, None]
        fx, fy, cx, cy = view.camera
        height, width = view.depth.shape
        left, right = np.clip([(x / z * fx + cx).min(), (x / z * fx + cx).max() + 2], 0, width).astype(int)
        top, bottom = np.clip([(y / z * fy + cy).min(), (y / z * fy + cy).max() + 2], 0, height).astype(int)
        rays = view.rays[top:bottom, left:right].reshape(-1, 3)
        length = np.linalg.norm(rays, axis=1)
        origin = np.broadcast_to(-move @ turn, rays.shape)
        away, face = self.caster.first_hits(origin, rays / length[:, None] @ turn)
        depth = np.zeros(view.depth.shape)
        found = np.where(face >= 0, away / length, 0)
        depth[top:bottom, left:right] = found.reshape(bottom - top, right - left)
        return depth

    def align(
        self, view: View, pose: Float, rng: np.random.Generator, *, share: float
    ) -> tuple[Float, float]:
        """Move the mesh to a share of the pixels; returns the pose and the rms distance of the matches."""
        pose, residual = pose.copy(), float("nan")
        for reach in REACH:
            depth = self.render(view, pose)
            chosen = (depth > 0) & view.known & (np.abs(depth - view.depth) < 2 * reach)
            if view.mask is not None:
                chosen &= view.mask
            points = view.points[chosen]
            points = points[rng.random(len(points)) < share]
            tree = self._facing(pose)
            for _ in range(ROUNDS):
                pose, residual = self._move(points, pose, reach, tree)
        return pose, residual

    def _facing(self, pose: Float) -> tuple[cKDTree, Float, Float]:
        """The samples that face the camera, in the frame of the mesh."""
        camera = -pose[:3, 3] @ pose[:3, :3]
        facing = np.einsum("ij,ij->i", self.normals, camera - self.points) > 0
        return cKDTree(self.points[facing]), self.points[facing], self.normals[facing]

    def _move(
        self, points: Float, pose: Float, reach: float, facing: tuple[cKDTree, Float, Float]
    ) -> tuple[Float, float]:
        """One step of point-to-plane ICP, in the frame of the mesh."""
        tree, surface, normals = facing
        local = (points - pose[:3, 3]) @ pose[:3, :3]
        gap, nearest = tree.query(local, distance_upper_bound=reach)
        met = np.isfinite(gap)
        local, surface, normals = local[met], surface[nearest[met]], normals[nearest[met]]
        off = np.einsum("ij,ij->i", surface - local, normals)
        centre = local.mean(axis=0)
        weight = 1 / np.maximum(1, np.abs(off) / 0.002)  # Huber, at the noise of a depth camera
        table = np.hstack([np.cross(local - centre, normals), normals]) * np.sqrt(weight)[:, None]
        # Slightly damped, so that a body of revolution does not turn about its axis.
        square = table.T @ table
        step = np.linalg.solve(square + 1e-6 * np.diag(np.diag(square)), table.T @ (off * np.sqrt(weight)))
        change = np.eye(4)
        change[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix()
        change[:3, 3] = centre + step[3:] - change[:3, :3] @ centre
        return pose @ np.linalg.inv(change), float(np.sqrt(np.square(off).mean()))
