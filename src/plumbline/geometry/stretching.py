"""New shapes from old: solids stretched along three axes, and rays that are cast at them."""

from dataclasses import replace

import numpy as np

from plumbline.geometry.raycast import Caster
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.spheres import bounding_sphere
from plumbline.records import Float, Int, Solid


class StretchedCaster:
    """Casts rays at a stretched mesh without building the tree of its faces anew.

    Straight lines stay straight, so the rays are taken back to the mesh as it was.

    Args:
        caster: of the mesh as it was.
        linear: ``[3, 3]`` invertible map from the old frame to the stretched one.
    """

    def __init__(self, caster: Caster, linear: Float) -> None:
        self._caster = caster
        self._back = np.linalg.inv(linear)

    def first_hits(self, origins: Float, directions: Float) -> tuple[Float, Int]:
        """As :meth:`Caster.first_hits`, in the stretched frame."""
        back = directions @ self._back.T
        length = np.linalg.norm(back, axis=1)
        distance, face = self._caster.first_hits(origins @ self._back.T, back / length[:, None])
        return distance / length, face

    def face_normals(self, face: Int) -> Float:
        """As :meth:`Caster.face_normals`, in the stretched frame."""
        normals = self._caster.face_normals(face) @ self._back
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return normals / np.where(length > 0, length, 1.0)


def draw_stretch(stretch: float, rng: np.random.Generator) -> Float:
    """``[3, 3]`` symmetric map that stretches along random perpendicular axes, each by its own factor.

    Args:
        stretch: standard deviation of the natural logarithm of each factor, >= 0.
        rng: the only source of chance.
    """
    axes = random_rotation(rng)
    return (axes * np.exp(stretch * rng.standard_normal(3))) @ axes.T


def stretch_solid(solid: Solid, linear: Float) -> Solid:
    """A solid after a linear map of its frame.

    The map takes the centre of mass of a body of uniform density along, so the truth stays exact. It does
    not do so for a shell, whose area grows unevenly.

    Args:
        solid: a body of uniform density.
        linear: ``[3, 3]`` with positive determinant.

    Returns:
        The stretched body: its own mesh, centre of mass, bounding sphere and volume; the name stays.
    """
    vertices = solid.vertices @ linear.T
    centre, radius = bounding_sphere(vertices)
    return replace(
        solid,
        vertices=vertices,
        com=linear @ solid.com,
        bounding_centre=centre,
        bounding_radius=radius,
        volume=float(solid.volume * np.linalg.det(linear)),
    )
