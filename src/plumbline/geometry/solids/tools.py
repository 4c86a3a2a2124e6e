"""Hand tools: hammer, axe, wrench, screwdriver, knife, saw, pliers, key, brush."""

import numpy as np
from manifold3d import CrossSection, Manifold

from plumbline.geometry.solids import materials
from plumbline.geometry.solids.parts import Composite, Part
from plumbline.geometry.solids.primitives import (
    Family,
    ball,
    box,
    circle,
    cylinder,
    lathe,
    loft,
    prism,
    rod,
    rounded,
    slab,
    spline,
    sweep,
    turned,
    union,
)


def _grip(rng: np.random.Generator, length: float, thickness: float) -> Manifold:
    """A handle along +x from the origin: turned wood, an oval bar, a bent flat bar, or a plain rod."""
    u = rng.uniform
    kind = rng.integers(4)
    if kind == 0:
        profile = turned(rng, thickness, length, 6, 0.25)
        body = lathe(np.concatenate([[(0, 0)], profile, [(0, length)]]), 20)
        return body.rotate((0, 90, 0))
    bow = u(-0.06, 0.06) * length
    path = spline([(0, 0, 0), (0.5 * length, 0, bow), (length, 0, u(-0.03, 0.03) * length)], 10)
    swell = 1 + u(-0.3, 0.5) * np.linspace(0, 1, 10) ** 2
    section = circle(12) * [1, u(0.5, 0.9)] if kind == 1 else circle(12)
    if kind == 2:
        section = np.array([(-1, -0.6), (1, -0.6), (1, 0.6), (-1, 0.6)])
    return sweep(path, thickness * swell, section=section)


def hammer(rng: np.random.Generator) -> Composite:
    """A hammer or mallet: a heavy head across the end of a handle, a face and a peen, claw or second face."""
    u = rng.uniform
    length, thick = u(0.18, 0.45), u(0.01, 0.018)
    face, reach = u(1, 2.6) * thick, u(0.03, 0.08)
    head = rod((length, 0, -0.3 * reach), (length, 0, reach), 0.9 * face, face, int(rng.choice([4, 8, 24])))
    tail = u(0.4, 1.3) * reach
    kind = rng.integers(3)
    if kind == 0:
        back = [rod((length, 0, 0), (length, 0, -tail), 0.9 * face, u(0.6, 1) * face, 24)]
    elif kind == 1:
        wedge = [(x, y * face * 0.7, 0) for x in (length - 0.6 * face, length + 0.6 * face) for y in (-1, 1)]
        tip = [(x, y * 0.002, -tail) for x in (length - 0.8 * face, length + 0.8 * face) for y in (-1, 1)]
        back = [Manifold.hull_points(np.array(wedge + tip))]
    else:
        claw = [(length, 0.0, 0.0), (length, 0.0, -0.6 * tail), (length - 0.5 * tail, 0.0, -1.3 * tail)]
        path = spline(claw, 10)
        offsets = (0, 0.5 * face, 0)
        back = [
            sweep(path + np.multiply(s, offsets), face * np.linspace(0.6, 0.25, 10), segments=8)
            for s in (-1, 1)
        ]
    whole = union(_grip(rng, length + 0.5 * face, thick), head, union(*back))
    return Composite(
        whole, (Part("head", materials.HAMMER_HEAD, union(head, *back)), Part("handle", materials.HAFT))
    )


def axe(rng: np.random.Generator) -> Composite:
    """An axe or hatchet with one blade or two, each flared to an edge."""
    u = rng.uniform
    length, thick, reach = u(0.25, 0.8), u(0.012, 0.022), u(0.06, 0.16)
    spread, poll = u(0.3, 0.9) * reach, u(0.5, 0.9) * reach * 0.4
    at = length - 1.2 * poll

    def blade(sign: int) -> Manifold:
        edge = spline([(at - spread, 0, 0), (at, 0, 0.12 * reach), (at + 0.8 * spread, 0, 0)], 9) + [
            0,
            0,
            reach,
        ]
        root = [(at + x * poll, y * 1.2 * thick, -0.9 * thick) for x in (-1, 1) for y in (-1, 1)]
        sharp = np.concatenate([edge - [0, 0.001, 0], edge + [0, 0.001, 0], root])
        return Manifold.hull_points(sharp * [1, 1, sign])

    parts = [_grip(rng, length, thick), blade(1)]
    if rng.random() < 0.3:
        parts.append(blade(-1))
    return Composite(
        union(*parts), (Part("blades", materials.STEEL, union(*parts[1:])), Part("handle", materials.HAFT))
    )


def wrench(rng: np.random.Generator) -> Manifold:
    """A wrench: a flat bar with an open jaw at one end and a ring, a jaw or nothing at the other."""
    u = rng.uniform
    length, size, thick = u(0.1, 0.35), u(0.012, 0.035), u(0.004, 0.012)
    radius = u(0.75, 1.0) * size
    shaft = CrossSection.square((length, u(0.4, 0.9) * size), True).translate((length / 2, 0))
    jaw_angle = u(-25, 25)
    jaw = CrossSection.square((2 * radius, size), True).translate((-0.8 * radius, 0)).rotate(jaw_angle)
    body = shaft + CrossSection.circle(radius * 1.15, 32).scale((u(1, 1.2), 1))
    kind = rng.integers(3)
    if kind < 2:
        end, hole = u(0.6, 1.1) * radius, int(rng.choice([6, 12, 32]))
        body += CrossSection.circle(end, 32).translate((length, 0))
        cut = (
            CrossSection.circle(u(0.5, 0.75) * end, hole)
            if kind
            else CrossSection.square((2 * end, 1.1 * end)).translate((0, -0.55 * end))
        )
        body -= cut.translate((length, 0))
    tool = (body - jaw).extrude(thick)
    if rng.random() < 0.4:
        groove = slab(0.6 * length, 0.25 * size, thick, 0.1 * size, (length / 2, 0, 0.75 * thick))
        tool -= groove
    return tool


def screwdriver(rng: np.random.Generator) -> Composite:
    """A screwdriver, chisel, awl or file: a thick grip and a thin shaft with a tip."""
    u = rng.uniform
    grip, radius, shaft = u(0.05, 0.13), u(0.008, 0.02), u(0.04, 0.25)
    profile = turned(rng, radius, grip, 5, 0.2)
    handle = lathe(np.concatenate([[(0, 0)], profile, [(0, grip)]]), int(rng.choice([6, 8, 24])))
    thin = u(0.15, 0.45) * radius
    steel = rod((0, 0, 0.5 * grip), (0, 0, grip + shaft), thin, thin * u(0.8, 1), int(rng.choice([4, 6, 16])))
    width, flat = thin * u(0.9, 2.5), 0.2 * thin
    low, high = grip + 0.85 * shaft, grip + 1.1 * shaft
    corners = [(x * thin, y * thin, low) for x in (-0.7, 0.7) for y in (-0.7, 0.7)]
    corners += [(x * width, y * flat, high) for x in (-1, 1) for y in (-1, 1)]
    tip = Manifold.hull_points(np.array(corners))
    whole = union(handle, steel, tip)
    return Composite(
        whole, (Part("blade", materials.STEEL, union(steel, tip)), Part("handle", materials.GRIP))
    )


def knife(rng: np.random.Generator) -> Composite:
    """A knife, cleaver or trowel: a wedge-shaped blade, sometimes a guard, and a grip."""
    u = rng.uniform
    blade, depth, spine = u(0.06, 0.3), u(0.015, 0.09), u(0.0015, 0.005)
    point = u(0.5, 1)
    outline = np.array(
        [(0.005, 0), (-blade * point, 0), (-blade, u(-0.3, 0.9) * depth), (-blade, depth), (0.005, depth)]
    )
    top = np.column_stack([outline[2:], np.full(3, spine)])
    corners = np.concatenate([np.column_stack([outline, np.zeros(5)]), top, top * [1, 1, -1]])
    steel = Manifold.hull_points(corners)
    grip = _grip(rng, u(0.07, 0.14), u(0.007, 0.014)).translate((-0.004, depth * u(0.5, 0.85), 0))
    parts, guard = [steel, grip], Manifold()
    if rng.random() < 0.4:
        guard = box(0.008, depth + 0.015, 0.018, (0, 0.55 * depth, -0.009))
        parts.append(guard)
    named = (
        Part("blade", materials.BLADE, steel),
        Part("guard", materials.METAL, guard),
        Part("grip", materials.GRIP),
    )
    return Composite(union(*parts), named)


def saw(rng: np.random.Generator) -> Composite:
    """A hand saw: a thin toothed sheet with a closed grip at its end."""
    u = rng.uniform
    length, high, low, thick = u(0.2, 0.55), u(0.07, 0.14), u(0.02, 0.06), u(0.001, 0.003)
    teeth = int(rng.integers(10, 40))
    x = np.linspace(0, length, 2 * teeth + 1)
    bite = np.where(np.arange(2 * teeth + 1) % 2, -0.4 * length / teeth, 0)
    outline = np.concatenate([np.column_stack([x, bite]), [(length, low), (0, high)]])
    size = u(0.9, 1.3) * high
    grip = slab(0.8 * size, 1.2 * size, u(0.012, 0.025), 0.3 * size) - slab(
        0.35 * size, 0.7 * size, 0.1, 0.15 * size, (0, 0, -0.02)
    )
    grip = grip.rotate((0, 0, u(-20, 20))).translate((-0.25 * size, 0.45 * high, 0))
    blade = prism(outline, thick, (0, 0, 0.006))
    return Composite(
        union(blade, grip), (Part("blade", materials.STEEL, blade), Part("grip", materials.GRIP))
    )


def pliers(rng: np.random.Generator) -> Composite:
    """Pliers or scissors: two bent levers that cross at a pivot."""
    u = rng.uniform
    jaw, handle, thick, gape = u(0.03, 0.12), u(0.08, 0.15), u(0.004, 0.009), u(0.02, 0.35)
    bow = u(0.015, 0.035)
    knots = [(-jaw, 0.1 * thick, 0), (0, 0, 0), (0.4 * handle, bow, 0), (handle, u(0.5, 1) * bow, 0)]
    section = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * [0.7, 1]
    lever = sweep(spline(knots, 14), thick * np.linspace(0.5, 1.1, 14), section=section)
    loop = Manifold()
    if rng.random() < 0.4:
        hoop = (cylinder(0.02, thick) - cylinder(0.014, 3 * thick, (0, 0, -thick))).scale((1.4, 1, 1))
        loop = hoop.translate((handle + 0.02, knots[-1][1], -thick / 2))
        lever += loop
    half = np.degrees(gape) / 2
    other = lever.mirror((0, 1, 0)).rotate((0, 0, half))
    pin = cylinder(1.8 * thick, 3 * thick, (0, 0, -1.5 * thick))
    whole = union(lever.rotate((0, 0, -half)), other, pin)
    loops = union(loop.rotate((0, 0, -half)), loop.mirror((0, 1, 0)).rotate((0, 0, half)))
    return Composite(whole, (Part("loops", materials.PLASTIC, loops), Part("levers", materials.STEEL)))


def key(rng: np.random.Generator) -> Manifold:
    """A key: a bow with a hole, a shaft, and a random row of cuts or a bit."""
    u = rng.uniform
    length, bow, thick = u(0.02, 0.07), u(0.008, 0.018), u(0.0015, 0.004)
    shaft = u(0.25, 0.4) * bow
    if rng.random() < 0.7:
        head = CrossSection.circle(bow, int(rng.choice([4, 6, 32, 32]))).scale((u(0.9, 1.2), 1))
    else:
        head = rounded(1.6 * bow, 2 * bow, 0.4 * bow)
    head -= CrossSection.circle(u(0.2, 0.42) * bow, 20).translate((-u(0, 0.1) * bow, 0))
    num = int(rng.integers(3, 9))
    cuts = rng.uniform(-0.2, 1, num) * shaft
    x = np.repeat(np.linspace(0.45 * length, length, num + 1), 2)[1:-1]
    blade = np.concatenate(
        [
            [(0, -shaft), (length, -shaft)],
            np.column_stack([x, np.repeat(cuts, 2)])[::-1],
            [(0.4 * length, shaft), (0, shaft)],
        ]
    )
    return (head + CrossSection([blade]).translate((0.55 * bow, 0))).extrude(thick)


def brush(rng: np.random.Generator) -> Composite:
    """A brush, broom or mop: a block of bristles on a handle, in line with the handle or across it."""
    u = rng.uniform
    length, thick = u(0.1, 0.3), u(0.006, 0.012)
    x, y, z = u(0.03, 0.12), u(0.02, 0.06), u(0.01, 0.02)
    parts, bristles = [_grip(rng, length, thick).translate((0.3 * x, 0, z / 2)), slab(x, y, z, 0.3 * y)], []
    if rng.random() < 0.5:
        rows = int(rng.integers(2, 5))
        for i in range(rows):
            for j in range(2):
                at = ((i - (rows - 1) / 2) * 0.9 * x / rows, (j - 0.5) * 0.5 * y, -0.8 * y)
                bristles.append(box(0.5 * x / rows, 0.3 * y, z + 0.8 * y, at))
    else:
        flare = u(0.9, 1.5)
        ring = circle(20) * [0.45 * x, 0.4 * y]
        low = np.column_stack([flare * ring, np.full(20, -u(0.4, 1.2) * x)])
        bristles.append(loft(np.stack([low, np.column_stack([ring, np.full(20, 0.5 * z)])])))
    block = parts[1]
    parts += bristles
    if rng.random() < 0.3:
        parts.append(ball(1.5 * thick, (0.3 * x + length, 0, z / 2), segments=16))
    named = (
        Part("block", materials.GRIP, block),
        Part("bristles", materials.BRISTLES, union(*bristles)),
        Part("handle", materials.HAFT),
    )
    return Composite(union(*parts), named)


FAMILIES: tuple[Family, ...] = (hammer, axe, wrench, screwdriver, knife, saw, pliers, key, brush)
