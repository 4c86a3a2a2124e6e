"""Abstract shapes, so that a network cannot just memorise everyday objects."""

import numpy as np
from manifold3d import CrossSection, Manifold

from plumbline.geometry.rotations import random_directions, random_rotation
from plumbline.geometry.solids.primitives import (
    Family,
    ball,
    box,
    circle,
    cylinder,
    is_clear,
    largest,
    lathe,
    prism,
    spline,
    sweep,
    turned,
    union,
)
from plumbline.records import Float


def _basic(rng: np.random.Generator) -> Manifold:
    """A basic geometric body of about unit size at the origin."""
    u = rng.uniform
    kind = rng.integers(8)
    if kind == 0:
        return box(2, 2, 2, (0, 0, -1))
    if kind == 1:
        return ball(1.2)
    if kind == 2:
        return cylinder(1, 2, (0, 0, -1))
    if kind == 3:
        return cylinder(1, 2, (0, 0, -0.7), top=u(0, 0.7))
    if kind == 4:
        return lathe(circle(16) * u(0.15, 0.5) + [1, 0], 32)
    if kind == 5:
        return prism(circle(int(rng.integers(3, 9))), 2, (0, 0, -1))
    if kind == 6:
        return ball(1.3).trim_by_plane((0, 0, 1), u(-0.6, 0.6))
    return Manifold.hull_points(rng.standard_normal((int(rng.integers(5, 30)), 3)))


def _placed(rng: np.random.Generator, spread: float, stretch: float = 0.35) -> Manifold:
    """A basic body, randomly stretched, rotated and moved."""
    linear = random_rotation(rng) @ np.diag(np.exp(rng.normal(0, stretch, 3)))
    return _basic(rng).transform(np.column_stack([linear, rng.normal(0, spread, 3)]))


def primitive(rng: np.random.Generator) -> Manifold:
    """One basic geometric body, stretched and sometimes sheared."""
    shear = np.eye(3) + 0.3 * np.triu(rng.standard_normal((3, 3)), 1) * (rng.random() < 0.4)
    size = rng.uniform(0.02, 0.3) * np.exp(rng.normal(0, 0.5, 3))
    return _basic(rng).transform(np.column_stack([np.diag(size) @ shear, np.zeros(3)]))


def composite(rng: np.random.Generator) -> Manifold:
    """The union of two to six bodies."""
    parts = [_placed(rng, 0.9, 0.5) for _ in range(int(rng.integers(2, 7)))]
    return largest(union(*parts)).scale((rng.uniform(0.01, 0.2),) * 3)


def carved(rng: np.random.Generator) -> Manifold:
    """A body with one to four other bodies cut out of it."""
    body = union(_placed(rng, 0), _placed(rng, 0.5))
    cuts = [_placed(rng, 1.2).scale((rng.uniform(0.3, 0.8),) * 3) for _ in range(int(rng.integers(1, 5)))]
    return largest(body - union(*cuts)).scale((rng.uniform(0.02, 0.2),) * 3)


def twisted(rng: np.random.Generator) -> Manifold:
    """A random star-shaped outline, extruded with twist and taper; solid or a tube."""
    u = rng.uniform
    num, size = int(rng.integers(3, 14)), u(0.02, 0.12)
    outline = circle(num) * rng.uniform(u(0.3, 1), 1, num)[:, None]
    section = CrossSection([outline])
    if rng.random() < 0.3:
        section -= CrossSection([outline * u(0.4, 0.8)])
    twist, height = u(-150, 150), u(0.5, 5)
    body = section.extrude(height, int(rng.integers(12, 24)), twist, (u(0.2, 1.3), u(0.2, 1.3)))
    return body.scale((size, size, size))


def lofted(rng: np.random.Generator) -> Manifold:
    """A bent bar with a varying section: horn, banana, bone, fin."""
    u = rng.uniform
    num, segments, size = 20, int(rng.choice([4, 5, 8, 14, 14])), u(0.03, 0.25)
    radius = np.maximum(spline(rng.uniform(0.08, 0.45, (5, 1)), num)[:, 0], 0.04)
    section = circle(segments) * [1, u(0.3, 1)]
    while True:
        offsets = rng.normal(0, 0.35, (2, 4))
        path = spline(np.column_stack([np.linspace(0, 2, 4), *offsets]), num)
        if is_clear(path, radius):
            return sweep(size * path, size * radius, section=section)


def wire(rng: np.random.Generator) -> Manifold:
    """A thin tube along a random open curve, with a lump at one end, both or neither."""
    u = rng.uniform
    size, thick = u(0.03, 0.3), u(0.04, 0.1)
    num = int(rng.integers(3, 7))
    while True:
        steps = rng.standard_normal((num, 3)) + [0.8, 0, 0]
        path = spline(np.cumsum(steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0), 40)
        if is_clear(path, thick):
            break
    body = sweep(path, thick, segments=10)
    if rng.random() < 0.6:
        body += ball(thick * u(1.5, 6, 3), path[0])
    if rng.random() < 0.4:
        body += ball(thick * u(1.5, 6, 3), path[-1])
    return body.scale((size,) * 3)


def blob(rng: np.random.Generator) -> Manifold:
    """A potato: a sphere deformed by a few smooth waves. It is star-shaped, so it never intersects itself."""
    num = int(rng.integers(2, 9))
    waves = random_directions(rng, num) * rng.uniform(1, 4.5, (num, 1))
    phase, height = rng.uniform(0, 2 * np.pi, num), rng.uniform(0.1, 0.7, num) / np.sqrt(num)

    def swell(points: Float) -> Float:
        result: Float = points * np.exp(np.sin(points @ waves.T + phase) @ height)[:, None]
        return result

    size = rng.uniform(0.02, 0.15) * np.exp(rng.normal(0, 0.25, 3))
    return Manifold.sphere(1, int(rng.choice([12, 20, 32, 40]))).warp_batch(swell).scale(tuple(size))


def boulder(rng: np.random.Generator) -> Manifold:
    """A convex stone, sometimes the union of two."""

    def stone() -> Manifold:
        points = rng.standard_normal((int(rng.integers(6, 80)), 3)) * np.exp(rng.normal(0, 0.4, 3))
        return Manifold.hull_points(points + rng.normal(0, 0.6, 3))

    body = stone() if rng.random() < 0.6 else largest(stone() + stone())
    return body.scale((rng.uniform(0.01, 0.1),) * 3)


def turnery(rng: np.random.Generator) -> Manifold:
    """Stacked and turned shapes about one axis: chess piece, finial, bell; solid, faceted, cut or hollow."""
    u = rng.uniform
    radius, height = u(0.01, 0.08), u(0.03, 0.3)
    profile = turned(rng, radius, height, int(rng.integers(4, 9)), 0.6)
    body = lathe(np.concatenate([[(0, 0)], profile, [(0, height)]]), int(rng.choice([4, 5, 6, 8, 36, 36])))
    if rng.random() < 0.4:
        body -= cylinder(0.6 * profile[:, 0].min(), 1.2 * height, (0, 0, u(0.05, 0.5) * height))
    if rng.random() < 0.3:
        body = largest(body.trim_by_plane((np.cos(0.3), 0, np.sin(0.3)), -u(0, 0.5) * radius))
    return body


def assembly(rng: np.random.Generator) -> Manifold:
    """A chain of boxes, balls and bars, each attached to the one before, mirrored half of the time."""
    u = rng.uniform
    at, parts = np.zeros(3), []
    for _ in range(int(rng.integers(3, 8))):
        size = np.exp(rng.normal(-0.6, 0.5, 3))
        kind = rng.integers(3)
        part = (
            box(2 * size[0], 2 * size[1], 2 * size[2], (0, 0, -size[2]))
            if kind == 0
            else ball(size, segments=20)
        )
        if kind == 2:
            part = cylinder(size[0], 2 * size[2], (0, 0, -size[2]), segments=24)
        parts.append(part.translate(tuple(at)))
        at = at + np.eye(3)[rng.integers(3)] * size * 0.9 * rng.choice([-1, 1])
    body = union(*parts)
    if rng.random() < 0.5:
        body += body.mirror((0, 1, 0))
    return body.scale((u(0.02, 0.12),) * 3)


def sheet(rng: np.random.Generator) -> Manifold:
    """A thin bent plate: roof tile, leaf, saddle, shell."""
    u = rng.uniform
    thick, taper, waist = u(0.03, 0.12), u(-0.4, 0.4), u(-0.3, 0.5)
    bow, arch, twist, width = u(-0.5, 0.5), u(-0.6, 0.6), u(-0.6, 0.6), u(0.3, 0.9)

    def bend(points: Float) -> Float:
        x, y, z = points.T
        across = width * y * (1 + taper * x) * (1 - waist * x * x)
        return np.column_stack([x, across, z + bow * x * x + arch * y * y + twist * x * y])

    return box(2, 2, thick).refine(9).warp_batch(bend).scale((u(0.03, 0.3),) * 3)


FAMILIES: tuple[Family, ...] = (
    primitive,
    composite,
    carved,
    twisted,
    lofted,
    wire,
    blob,
    boulder,
    turnery,
    assembly,
    sheet,
)
