"""New shapes from old: solids stretched along three axes."""

from dataclasses import replace

import numpy as np

from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.spheres import bounding_sphere
from plumbline.records import Solid


def stretch_solid(solid: Solid, *, stretch: float, rng: np.random.Generator) -> Solid:
    """Stretch a solid along three random perpendicular axes, each by its own log-normal factor.

    An affine map takes the centre of mass of a body of uniform density along, so the truth stays exact. It
    does not do so for a shell, whose area grows unevenly.

    Args:
        solid: a body of uniform density.
        stretch: standard deviation of the natural logarithm of each factor, >= 0.
        rng: the only source of chance.

    Returns:
        The stretched body: its own mesh, centre of mass, bounding sphere and volume; the name stays.
    """
    axes = random_rotation(rng)
    factors = np.exp(stretch * rng.standard_normal(3))
    linear = (axes * factors) @ axes.T
    vertices = solid.vertices @ linear.T
    centre, radius = bounding_sphere(vertices)
    return replace(
        solid,
        vertices=vertices,
        com=linear @ solid.com,
        bounding_centre=centre,
        bounding_radius=radius,
        volume=float(solid.volume * factors.prod()),
    )
