"""A reference mesh in the place of a scanned object: which points lie near it, and what cameras see of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from plumbline.errors import InputError
from plumbline.geometry.cameras import Camera, pixel_rays
from plumbline.geometry.raycast import Caster
from plumbline.records import Float, Int

_FINE = 8
"""The surface is sampled at this part of a distance that is to be compared, which errs by less than 1 %."""


class PlacedMesh:
    """A mesh in the frame of a scan.

    Args:
        vertices: ``[V, 3]`` mesh frame.
        faces: ``[F, 3]`` vertex indices.
        pose: ``[4, 4]`` rigid transform from the mesh frame to that of the scan.
        name: what error messages call the scan.
    """

    def __init__(self, vertices: Float, faces: Int, pose: Float, name: str = "the scan") -> None:
        self.vertices = vertices @ pose[:3, :3].T + pose[:3, 3]
        self.faces, self.name = faces, name

    def near(self, points: Float, within: float) -> NDArray[np.bool_]:
        """Tell which points ``[N, 3]`` are at most ``within`` from the surface, to 1 % of it."""
        tree = cKDTree(surface_samples(self.vertices, self.faces, within / _FINE))
        found: NDArray[np.bool_] = np.isfinite(tree.query(points, distance_upper_bound=within)[0])
        return found

    def seen_by(self, cameras: Sequence[Camera]) -> tuple[Float, Float]:
        """What cameras see of the mesh, one point for each pixel, without noise.

        Returns:
            points: ``[N, 3]`` frame of the scan.
            sensor: ``[N, 3]`` position of the camera that saw each.

        Raises:
            InputError: a camera does not see the mesh.
        """
        caster = Caster(self.vertices, self.faces)
        points, sensors = [], []
        for camera in cameras:
            rays = pixel_rays(camera, self.vertices, self.name)
            start = np.broadcast_to(camera.position, rays.shape)
            away, face = caster.first_hits(start, rays)
            hit = face >= 0
            if not hit.any():
                raise InputError(f"{self.name}: no pixel of the camera sees the mesh; check K and pose")
            points.append(start[hit] + away[hit, None] * rays[hit])
            sensors.append(start[hit])
        return np.concatenate(points), np.concatenate(sensors)


def surface_samples(vertices: Float, faces: Int, spacing: float) -> Float:
    """Sample the triangles of a mesh on grids, so that no point of them is farther than 1.2 spacings from a
    sample.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[F, 3]``.
        spacing: largest distance of neighbouring samples.

    Returns:
        ``[N, 3]``, the corners of all triangles among them.
    """
    corners = vertices[faces]
    length = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    # Rows of samples are parallel to the longest side, so that a sliver has few of them.
    turn = (np.argmax(length, axis=1)[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(corners, turn[:, :, None], axis=1).transpose(1, 0, 2)
    longest = length.max(axis=1)
    height = np.linalg.norm(np.cross(b - a, c - a), axis=1) / np.where(longest > 0, longest, 1)
    across = np.maximum(np.ceil(longest / spacing), 1).astype(np.int64)
    up = np.maximum(np.ceil(height / spacing), 1).astype(np.int64)
    count = (across + 1) * (up + 1)
    face = np.repeat(np.arange(len(corners)), count)
    number = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    along, row = number % (across[face] + 1), number // (across[face] + 1)
    base = a[face] + (along / across[face])[:, None] * (b - a)[face]
    samples: Float = base + (row / up[face])[:, None] * (c[face] - base)
    return samples
