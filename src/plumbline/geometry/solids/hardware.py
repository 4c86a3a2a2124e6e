"""Machine parts: bracket, beam, gear, bolt, pipe, ring, spring, flange, pulley, dumbbell, hook."""

import numpy as np
from manifold3d import CrossSection, Manifold, OpType

from plumbline.geometry.solids import materials
from plumbline.geometry.solids.parts import Composite, Part
from plumbline.geometry.solids.primitives import (
    Family,
    ball,
    box,
    circle,
    cylinder,
    lathe,
    prism,
    rod,
    rounded,
    spline,
    sweep,
    union,
)


def _profile(rng: np.random.Generator, size: float, thick: float) -> CrossSection:
    """The section of a random L, U, T, I, Z or plus beam, built from its flanges and webs."""
    a, b, t = size, size * rng.uniform(0.4, 1.6), thick

    def strip(x: float, y: float, wide: float, tall: float) -> CrossSection:
        return CrossSection.square((wide, tall)).translate((x, y))

    foot, left, middle = strip(0, 0, a, t), strip(0, 0, t, b), strip((a - t) / 2, 0, t, b)
    sections = [
        [foot, left],
        [foot, left, strip(a - t, 0, t, b * rng.uniform(0.4, 1))],
        [foot, middle],
        [foot, middle, strip(0, b - t, a, t)],
        [foot, left, strip(t - a, b - t, a, t)],
        [middle, strip(0, b * rng.uniform(0.3, 0.7), a, t)],
    ]
    return CrossSection.batch_boolean(sections[rng.integers(len(sections))], OpType.Add)


def bracket(rng: np.random.Generator) -> Manifold:
    """A short angle bracket with screw holes and sometimes a gusset."""
    u = rng.uniform
    size, width = u(0.03, 0.12), u(0.015, 0.08)
    thick = u(0.06, 0.2) * size
    outline = np.array([(0, 0), (size, 0), (size, thick), (thick, thick), (thick, 1), (0, 1)])
    outline[4:, 1] = size * u(0.4, 1.5)
    tall = outline[4, 1]
    if rng.random() < 0.4:
        side = np.array([(0, tall), (-size * u(0.3, 1), tall), (0, tall - thick)])
        outline = np.concatenate(
            [outline[:5], [(thick, tall + thick), side[1] + [0, thick], side[1], side[0]]]
        )
    body = prism(outline, width).rotate((90, 0, 0)).translate((0, width / 2, 0))
    if rng.random() < 0.5:
        web = prism(np.array([(0, 0), (0.9 * size, 0), (0, 0.9 * tall)]), u(0.1, 0.3) * width).rotate(
            (90, 0, 0)
        )
        body += web.translate((0, u(-0.3, 0.5) * width, 0.5 * thick))
    hole = u(0.1, 0.22) * min(width, size)
    for i in range(int(rng.integers(0, 3))):
        y = (i - 0.5) * 0.4 * width
        body -= cylinder(hole, 4 * thick, (size * u(0.6, 0.8), y, -2 * thick), segments=24)
        body -= rod((-2 * thick, y, u(0.55, 0.8) * tall), (2 * thick, y, u(0.55, 0.8) * tall), hole)
    return body


def beam(rng: np.random.Generator) -> Manifold:
    """A length of rolled profile, cut straight or at an angle, sometimes drilled."""
    u = rng.uniform
    size = u(0.02, 0.15)
    length = size * u(1.5, 8)
    body = _profile(rng, size, u(0.06, 0.25) * size).extrude(length)
    if rng.random() < 0.4:
        body = body.trim_by_plane((u(-0.6, 0.6), u(-0.6, 0.6), -1), -0.85 * length)
    if rng.random() < 0.4:
        for z in np.linspace(0.1, 0.6, int(rng.integers(1, 5))) * length:
            body -= rod((-2 * size, 0.3 * size, z), (2 * size, 0.3 * size, z), 0.12 * size)
    return body


def gear(rng: np.random.Generator) -> Manifold:
    """A spur, helical or bevel gear with a bore, hub, keyway and lightening holes."""
    u = rng.uniform
    teeth, radius = int(rng.integers(8, 36)), u(0.015, 0.08)
    depth, thick = u(1.5, 3) * radius / teeth, radius * u(0.1, 0.8)
    angle = (np.arange(teeth)[:, None] + np.array([-0.3, -0.12, 0.12, 0.3])) * 2 * np.pi / teeth
    reach = radius + depth * np.array([-1, 1, 1, -1])
    outline = np.stack([reach * np.cos(angle), reach * np.sin(angle)], -1).reshape(-1, 2)
    bore = u(0.12, 0.35) * radius
    wheel = CrossSection([outline]) - CrossSection.circle(bore, 32)
    if rng.random() < 0.4:
        num = int(rng.integers(3, 7))
        for i in range(num):
            wheel -= (
                CrossSection.circle(0.14 * radius, 20).translate((0.64 * radius, 0)).rotate(i * 360 / num)
            )
    skew, shrink = (u(-25, 25), 1.0) if rng.random() < 0.4 else (0.0, u(0.6, 1))
    body = wheel.extrude(thick, 3 if skew else 0, skew, (shrink, shrink))
    if rng.random() < 0.5:
        hub = CrossSection.circle(1.5 * bore, 32) - CrossSection.circle(bore, 32)
        body += hub.extrude(thick + u(0.2, 0.8) * radius)
    if rng.random() < 0.4:
        body -= box(0.5 * bore, 0.5 * bore, 4 * radius, (bore, 0, -radius))
    return body


def bolt(rng: np.random.Generator) -> Manifold:
    """A bolt or screw: a hex, round, square or socket head, a shank, a thread, sometimes a nut or a point."""
    u = rng.uniform
    radius = u(0.002, 0.015)
    length, head, thick = radius * u(4, 16), radius * u(1.5, 2.4), radius * u(0.6, 1.6)
    top = cylinder(head, thick, segments=int(rng.choice([4, 6, 6, 6, 32])))
    if rng.random() < 0.4:
        top -= cylinder(0.5 * head, thick, (0, 0, -0.5 * thick), segments=int(rng.choice([4, 6])))
    turns, start = int(rng.integers(4, 12)), u(0.1, 0.5) * length
    parts = [top, cylinder(radius, 1.01 * (start + thick), segments=24)]
    if rng.random() < 0.7:
        ridge = CrossSection.circle(0.9 * radius, 14).translate((0.14 * radius, 0))
        thread = ridge.extrude(length - start, 10 * turns, 360 * turns, (u(0.2, 0.9),) * 2)
        parts.append(thread.translate((0, 0, start + thick)))
    else:
        parts.append(
            cylinder(radius, length - start, (0, 0, start + thick), top=radius * u(0.2, 1), segments=24)
        )
    if rng.random() < 0.3:
        parts.append(cylinder(head, 0.8 * thick, (0, 0, thick + u(0.4, 0.8) * length), segments=6))
    return union(*parts)


def pipe(rng: np.random.Generator) -> Manifold:
    """A pipe: straight, bent, a tee or a cross, with or without sockets; open ends."""
    u = rng.uniform
    radius = u(0.01, 0.06)
    bore, length = radius * u(0.55, 0.92), radius * u(1.6, 5)
    kind = rng.integers(3)
    if kind == 0:
        sweep_angle, bend = u(0.4, 2.6), radius * u(1.5, 4)
        angle = np.linspace(0, sweep_angle, 16)
        arc = np.column_stack([bend * (1 - np.cos(angle)), np.zeros(16), bend * np.sin(angle)])
        tail = arc[-1] + np.outer(
            np.linspace(0.2, 1, 3) * length, [np.sin(sweep_angle), 0, np.cos(sweep_angle)]
        )
        path = np.concatenate([[(0, 0, -length * u(0.3, 1))], arc, tail])
        extra = np.concatenate(
            [[path[0] - [0, 0, 0.1 * radius]], path, [path[-1] + 0.1 * (tail[-1] - tail[-2])]]
        )
        return sweep(path, radius, segments=24) - sweep(extra, bore, segments=24)
    ends = [
        (0, 0, -length),
        (0, 0, length),
        (length, 0, length * u(-0.4, 0.4)),
        (-length, 0, 0),
        (0, length, 0),
    ]
    arms = ends[: int(rng.integers(2, 6))]
    if kind == 1:
        arms = [(0, 0, -length), (length, u(-0.3, 0.3) * length, u(-0.5, 0.5) * length)]
    outer = [rod((0, 0, 0), arm, radius, segments=24) for arm in arms]
    if rng.random() < 0.6:
        outer += [rod(np.multiply(arm, u(0.7, 0.85)), arm, u(1.1, 1.4) * radius, segments=24) for arm in arms]
    inner = [rod((0, 0, 0), np.multiply(arm, 1.05), bore, segments=24) for arm in arms]
    return union(*outer, ball(radius)) - union(*inner, ball(bore))


def ring(rng: np.random.Generator) -> Manifold:
    """A ring, washer, bangle, tyre or C-shaped clip of random section."""
    u = rng.uniform
    radius = u(0.01, 0.15)
    wide, tall = radius * u(0.05, 0.4), radius * u(0.05, 0.5)
    section = circle(int(rng.choice([3, 4, 5, 6, 16, 16]))) * [wide, tall] + [radius, 0]
    arc = 360.0 if rng.random() < 0.6 else u(90, 330)
    body = CrossSection([section]).revolve(48, arc)
    if rng.random() < 0.3:
        body += ball(u(1.05, 2) * max(wide, tall), (radius, 0, 0))
    return body.scale((1, u(0.6, 1), 1)) if rng.random() < 0.3 else body


def spring(rng: np.random.Generator) -> Manifold:
    """A coil spring or hook: wire wound on a cylinder or cone."""
    u = rng.uniform
    radius, turns = u(0.005, 0.05), u(1.5, 5)
    wire, taper = radius * u(0.08, 0.25), u(0.4, 1)
    pitch = wire * u(2.6, 6)
    angle = np.linspace(0, 2 * np.pi * turns, int(18 * turns))
    reach = radius * np.linspace(1, taper, len(angle))
    path = np.column_stack([reach * np.cos(angle), reach * np.sin(angle), pitch * angle / (2 * np.pi)])
    return sweep(path, wire, segments=10)


def flange(rng: np.random.Generator) -> Manifold:
    """A drilled plate, round or square, with a raised boss or pipe stub off its centre."""
    u = rng.uniform
    radius = u(0.02, 0.12)
    thick, num, square = radius * u(0.08, 0.3), int(rng.integers(3, 9)), rng.random() < 0.4
    face = (
        rounded(2 * radius, 2 * radius * u(0.5, 1), u(0.05, 0.4) * radius)
        if square
        else CrossSection.circle(radius, 48)
    )
    for i in range(num):
        spot = CrossSection.circle(u(0.06, 0.11) * radius, 16).translate((0.8 * radius, 0))
        face -= spot.rotate(360 / num * (i + 0.5))
    boss = radius * u(0.25, 0.55)
    at = (radius * u(-0.2, 0.2), radius * u(-0.2, 0.2), 0.0)
    height = thick + radius * u(0.1, 1.5)
    body = face.extrude(thick) + cylinder(boss, height, at, top=boss * u(0.7, 1))
    if rng.random() < 0.7:
        body -= cylinder(
            0.6 * boss, 2 * height, (at[0], at[1], -0.1 * height if rng.random() < 0.6 else thick)
        )
    if rng.random() < 0.4:
        body += box(1.7 * boss + 0.3 * radius, 0.15 * radius, 0.6 * height, at)
        body -= cylinder(0.6 * boss, 2 * height, (at[0], at[1], -0.1 * height))
    return body


def pulley(rng: np.random.Generator) -> Composite:
    """A wheel with a random groove: pulley, spool, castor or yo-yo; pierced, spoked or on an axle."""
    u = rng.uniform
    radius = u(0.015, 0.12)
    width, bore, num = radius * u(0.2, 1.2), radius * u(0.08, 0.3), int(rng.integers(4, 7))
    outside = radius * np.concatenate([[1], u(0.55, 1.0, num - 2), [u(0.8, 1)]])
    z = np.linspace(0, width, num)
    body = lathe(np.concatenate([[(bore, 0)], np.column_stack([outside, z]), [(bore, width)]]), 48)
    spokes = int(rng.integers(3, 8))
    if rng.random() < 0.5:
        middle = 0.5 * (0.55 * radius + bore)
        hole = min(0.4 * (0.55 * radius - bore), 0.8 * middle * np.sin(np.pi / spokes))
        for i in range(spokes):
            turn = 2 * np.pi * i / spokes
            body -= cylinder(
                hole, 3 * width, (middle * np.cos(turn), middle * np.sin(turn), -width), segments=16
            )
    axle = Manifold()
    if rng.random() < 0.4:
        axle = cylinder(1.02 * bore, width * u(1.5, 4), (0, 0, -width * u(0, 1)))
        body += axle
    return Composite(body, (Part("axle", materials.METAL, axle), Part("wheel", materials.WHEEL)))


def dumbbell(rng: np.random.Generator) -> Composite:
    """Two weights on a bar, usually different: dumbbell, barbell, bone or rattle."""
    u = rng.uniform
    length, bar = u(0.1, 0.3), u(0.008, 0.018)
    parts = [rod((0, 0, 0), (length, 0, 0), bar)]
    alike = rng.random() < 0.5
    seen = None
    for end in (0.0, length):
        if seen is None or not alike:
            size = u(1.6, 4.5) * bar
            kind, plates = rng.integers(3), int(rng.integers(1, 4))
            seen = kind, size, plates
        kind, size, plates = seen
        if kind == 0:
            parts.append(ball(size, (end, 0, 0)))
        elif kind == 1:
            parts.append(rod((end - 0.5 * size, 0, 0), (end + 0.5 * size, 0, 0), size, segments=6))
        else:
            sign = -1 if end == 0 else 1
            for i in range(plates):
                x = end + sign * i * 0.9 * bar
                parts.append(
                    rod((x - 0.5 * bar, 0, 0), (x + 0.5 * bar, 0, 0), size * (1 - 0.2 * i), segments=28)
                )
    return Composite(
        union(*parts), (Part("weights", materials.WEIGHT, union(*parts[1:])), Part("bar", materials.BAR))
    )


def hook(rng: np.random.Generator) -> Manifold:
    """A bent bar: hook, crank, half a carabiner or coat hanger, on a plate or an eye."""
    u = rng.uniform
    size, thick = u(0.02, 0.12), u(0.05, 0.14)
    knots = [
        (0, 0, 0),
        (0, 0, 0.5),
        (u(0.2, 0.6), u(-0.2, 0.2), u(0.8, 1.1)),
        (u(0.9, 1.2), 0, u(0.3, 0.7)),
        (u(0.7, 1.0), 0, u(-0.2, 0.1)),
    ]
    path = size * spline(knots, 24)
    bar = sweep(path, size * thick * np.linspace(1, u(0.5, 1), 24))
    if rng.random() < 0.5:
        return bar + rounded(size * u(0.4, 1), size * u(0.4, 1), 0.1 * size).extrude(1.2 * thick * size)
    eye = lathe(circle(10) * 0.8 * thick * size + [2.2 * thick * size, 0], 24).rotate((90, 0, 0))
    return bar + eye.translate((0, 0, -2.2 * thick * size))


FAMILIES: tuple[Family, ...] = (bracket, beam, gear, bolt, pipe, ring, spring, flange, pulley, dumbbell, hook)
