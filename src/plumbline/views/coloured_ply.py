"""A scene as a ply file of coloured points, for viewers such as MeshLab and CloudCompare.

Everything is a vertex, the ellipsoid too: of a file with faces, viewers show the mesh and hide the points.
"""

import numpy as np

from plumbline import __version__
from plumbline.console.text import one_line
from plumbline.geometry.ply_writing import MADE_BY, PART, ply_bytes
from plumbline.records import Float
from plumbline.views.scene import Scene, uncertainty

_COLOURS = {
    "kept": (123, 135, 148),
    "left out": (196, 70, 15),
    "centre of mass": (0, 114, 178),
    "90 % body": (86, 180, 233),
}
"""Colours by part, in the order of the numbers of the property ``part``."""
_SURFACE = 2000
"""Vertices on the ellipsoid."""
_ARM, _BEADS = 0.05, 20
"""Length of an arm of the cross at the centre of mass, in radii of the scene, and its vertices."""


def coloured_ply(scene: Scene) -> bytes:
    """Write a scene as binary ply: all its points, a cross at the centre of mass, the 90 % ellipsoid.

    Properties: double x, y, z in the frame and unit of the scan; uchar red, green, blue; uchar part, which is
    0 for points of the object, 1 for those that were left out, 2 for the cross, whose first vertex is the
    centre of mass, and 3 for the ellipsoid, or the ball where there is no covariance.
    """
    com, body = scene.prediction.com, uncertainty(scene.prediction)
    surface = np.zeros((0, 3)) if body is None else com + _sphere(_SURFACE) @ body
    parts = [scene.kept, scene.left_out, com + _ARM * scene.radius * _cross(), surface]
    fields = [(name, "<f8") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue", PART)]
    rows = np.zeros(sum(map(len, parts)), fields)
    for axis, name in enumerate("xyz"):
        rows[name] = np.concatenate(parts)[:, axis]
    part = np.repeat(np.arange(len(parts)), [len(points) for points in parts])
    rows[PART] = part
    for channel, name in enumerate(("red", "green", "blue")):
        rows[name] = np.array(list(_COLOURS.values()))[part, channel]
    kinds = ", ".join(f"{number} {name}" for number, name in enumerate(_COLOURS))
    comments = (
        f"{MADE_BY}{__version__}: {scene.name}",
        f"centre of mass {' '.join(map(repr, com.tolist()))}, unit {scene.prediction.unit}",
        f"part: {kinds}",
    )
    return ply_bytes({"vertex": rows}, [one_line(text) for text in comments])


def _sphere(number: int) -> Float:
    """Spread unit vectors ``[number, 3]`` evenly, along a spiral by the golden angle."""
    height = 1 - (2 * np.arange(number) + 1) / number
    angle = np.arange(number) * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)


def _cross() -> Float:
    """Make the vertices of a cross along the axes, with arms of length 1; the first one is the middle."""
    steps = np.delete(np.linspace(-1, 1, 2 * _BEADS + 1), _BEADS)
    arms = steps[:, None, None] * np.eye(3)
    return np.vstack([np.zeros((1, 3)), arms.reshape(-1, 3)])
