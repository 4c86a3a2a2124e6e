"""Basic shapes that the built-in families are built from.

Units are metres, z is up. Unless stated otherwise, a shape is centred in x and y and stands on ``z = 0``;
``at`` moves it from there. Outlines are counter-clockwise.
"""

from collections.abc import Callable, Sequence

import numpy as np
from manifold3d import CrossSection, JoinType, Manifold, Mesh64, OpType

from plumbline.geometry.solids.parts import Composite
from plumbline.records import Float

Family = Callable[[np.random.Generator], Manifold | Composite]
"""Draws one member of a family of solids: a body of one material, or of several."""
Vector = Sequence[float] | Float

ORIGIN = (0.0, 0.0, 0.0)


def box(x: float, y: float, z: float, at: Vector = ORIGIN) -> Manifold:
    """A cuboid."""
    return Manifold.cube((x, y, z), True).translate((at[0], at[1], at[2] + z / 2))


def cylinder(
    radius: float, height: float, at: Vector = ORIGIN, *, top: float | None = None, segments: int = 32
) -> Manifold:
    """A cylinder, or a frustum with radius ``top`` at its upper end."""
    return Manifold.cylinder(height, radius, -1.0 if top is None else top, segments).translate(tuple(at))


def ball(radius: float | Vector, at: Vector = ORIGIN, *, segments: int = 24) -> Manifold:
    """A sphere, or an ellipsoid with three radii, centred at ``at``."""
    return Manifold.sphere(1.0, segments).scale(tuple(np.broadcast_to(radius, 3))).translate(tuple(at))


def rounded(x: float, y: float, radius: float, segments: int = 16) -> CrossSection:
    """A centred rectangle with round corners; the radius is limited to what fits."""
    radius = min(radius, 0.49 * x, 0.49 * y)
    core = CrossSection.square((x - 2 * radius, y - 2 * radius), True)
    return core.offset(radius, JoinType.Round, 2.0, segments)


def slab(x: float, y: float, z: float, radius: float, at: Vector = ORIGIN) -> Manifold:
    """A plate with rounded vertical edges."""
    return rounded(x, y, radius).extrude(z).translate(tuple(at))


def prism(outline: Float, height: float, at: Vector = ORIGIN) -> Manifold:
    """The extrusion of an outline ``[P, 2]``."""
    return CrossSection([np.asarray(outline, float)]).extrude(height).translate(tuple(at))


def lathe(profile: Float, segments: int = 40) -> Manifold:
    """The body of revolution about z of an outline ``[P, 2]`` in (radius, z)."""
    return CrossSection([np.asarray(profile, float)]).revolve(segments)


def vessel(profile: Float, wall: float, floor: float, segments: int = 40) -> tuple[Manifold, Manifold]:
    """An outer body of revolution, and the cavity that makes it hollow and open at the top.

    Args:
        profile: ``[P, 2]`` (radius, z) of the outside from bottom to top.
        wall: thickness of the wall, measured horizontally.
        floor: thickness of the floor.
        segments: number of segments around the axis.

    Returns:
        The body to add to, and the body to subtract.
    """
    radius, height = np.asarray(profile, float).T
    outer = np.concatenate([[(0, height[0])], np.column_stack([radius, height]), [(0, height[-1])]])
    levels = np.concatenate([[height[0] + floor], height[height > height[0] + 1.01 * floor]])
    inner = np.maximum(np.interp(levels, height, radius) - wall, 0.1 * wall)
    lid = height[-1] + wall
    cavity = np.concatenate(
        [[(0, levels[0])], np.column_stack([inner, levels]), [(inner[-1], lid), (0, lid)]]
    )
    return lathe(outer, segments), lathe(cavity, segments)


def loft(rings: Float) -> Manifold:
    """A skin over a stack of rings, closed by a flat triangle fan at each end.

    Args:
        rings: ``[P, S, 3]``: P rings of S points, each counter-clockwise when the next ring lies
            towards the viewer. The first and last ring must be star-shaped about their mean.
    """
    num, size, _ = rings.shape
    below = np.arange(num * size).reshape(num, size)
    left, right = below, np.roll(below, -1, axis=1)
    start, end = num * size, num * size + 1
    faces = np.concatenate(
        [
            np.stack([left[:-1], right[:-1], right[1:]], -1).reshape(-1, 3),
            np.stack([left[:-1], right[1:], left[1:]], -1).reshape(-1, 3),
            np.stack([np.full(size, start), right[0], left[0]], -1),
            np.stack([np.full(size, end), left[-1], right[-1]], -1),
        ]
    )
    vertices = np.concatenate([rings.reshape(-1, 3), rings[[0, -1]].mean(axis=1)])
    return Manifold(Mesh64(np.ascontiguousarray(vertices), faces.astype(np.uint64)))


def circle(segments: int) -> Float:
    """Points ``[segments, 2]`` on the unit circle."""
    angle = np.arange(segments) * (2 * np.pi / segments)
    return np.column_stack([np.cos(angle), np.sin(angle)])


def sweep(
    path: Float, radius: float | Float, *, section: Float | None = None, segments: int = 12
) -> Manifold:
    """A section swept along a path without twisting about it.

    Args:
        path: ``[P, 3]``; its radius of curvature must be larger than the section's width.
        radius: scale of the section, one number or ``[P]``.
        section: ``[S, 2]`` star-shaped outline; a circle by default.
        segments: number of segments of that circle.
    """
    path = np.asarray(path, float)
    section = circle(segments) if section is None else section
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    normal = np.eye(3)[np.argmin(np.abs(tangents[0]))]
    normals = np.empty_like(path)
    for i, tangent in enumerate(tangents):
        normal = normal - (normal @ tangent) * tangent
        normal = normals[i] = normal / np.linalg.norm(normal)
    binormals = np.cross(tangents, normals)
    size = np.broadcast_to(radius, len(path))[:, None, None]
    rings = section[:, :1] * normals[:, None] + section[:, 1:] * binormals[:, None]
    return loft(path[:, None] + size * rings)


def rod(
    start: Vector, end: Vector, radius: float, end_radius: float | None = None, segments: int = 16
) -> Manifold:
    """A straight round bar between two points."""
    radii = np.array([radius, radius if end_radius is None else end_radius])
    return sweep(np.array([start, end], float), radii, segments=segments)


def spline(points: Sequence[Vector] | Float, num: int) -> Float:
    """Points ``[num, D]`` along the Catmull-Rom spline through ``points [P, D]``."""
    knots = np.asarray(points, float)
    knots = np.concatenate([[2 * knots[0] - knots[1]], knots, [2 * knots[-1] - knots[-2]]])
    at = np.linspace(0, len(knots) - 3, num)
    i = np.minimum(at.astype(int), len(knots) - 4)
    t = (at - i)[:, None]
    a, b, c, d = (knots[i + k] for k in range(4))
    result: Float = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return result


def turned(rng: np.random.Generator, radius: float, height: float, knots: int, spread: float = 0.4) -> Float:
    """A smooth random profile ``[P, 2]`` of (radius, z) from z = 0 up, as of turned wood or pottery."""
    radii = radius * rng.uniform(1 - spread, 1 + spread, knots)
    curve = spline(np.column_stack([radii, np.linspace(0, height, knots)]), 4 * knots)
    return np.maximum(curve, [0.25 * radius, 0])


def is_clear(path: Float, radius: float | Float) -> bool:
    """Tell whether a round tube along a path ``[P, 3]`` neither intersects itself nor folds in a bend."""
    radius = np.broadcast_to(radius, len(path))
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(steps)])
    reach = radius[:, None] + radius
    apart = np.abs(along[:, None] - along) > 1.6 * reach
    gaps = np.linalg.norm(path[:, None] - path, axis=-1)
    directions = np.diff(path, axis=0) / steps[:, None]
    bends = np.linalg.norm(np.diff(directions, axis=0), axis=1) / (0.5 * (steps[1:] + steps[:-1]))
    return bool((gaps > 1.05 * reach)[apart].all() and (bends * radius[1:-1] < 0.8).all())


def union(*parts: Manifold) -> Manifold:
    """The union of the parts."""
    return Manifold.batch_boolean(list(parts), OpType.Add)


def largest(body: Manifold) -> Manifold:
    """The largest connected piece of a body, with enclosed cavities filled."""
    return max(body.decompose(), key=lambda piece: piece.volume())
