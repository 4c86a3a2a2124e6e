"""Objects of many parts: aeroplane, rocket, car, animal, figure, laptop, crate, shoe, tree, boat."""

import numpy as np
from manifold3d import Manifold

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
    slab,
    spline,
    sweep,
    union,
)


def _wing(root: float, tip: float, span: float, swept: float, thick: float) -> Manifold:
    """One wing along +y from the origin, with chord ``root`` there and ``tip`` at its end, ``swept`` in x."""
    near = [(x, 0, z) for x in (-root / 2, root / 2) for z in (-thick, thick)]
    far = [(swept + x, span, 0.5 * z) for x in (-tip / 2, tip / 2) for z in (-thick, thick)]
    return Manifold.hull_points(np.array(near + far))


def aeroplane(rng: np.random.Generator) -> Composite:
    """A toy aeroplane: fuselage, wings, tail, engines."""
    u = rng.uniform
    length, radius = u(0.1, 0.5), u(0.05, 0.09)
    x = np.linspace(0, 1, 14)
    girth = radius * length * np.maximum(np.minimum(1, 3 * x ** u(0.5, 0.8)), 0.1) * (1 - u(0.6, 0.9) * x**3)
    parts = [sweep(np.column_stack([length * x, 0 * x, 0 * x]), girth, segments=16)]
    root, span, swept, thick = (
        u(0.15, 0.3) * length,
        u(0.3, 0.6) * length,
        u(-0.1, 0.35) * length,
        0.012 * length,
    )
    wing = _wing(root, u(0.3, 1) * root, span, swept, thick)
    high = u(-0.5, 0.9) * radius * length
    place = (u(0.3, 0.5) * length, 0, high)
    tail = _wing(0.5 * root, 0.3 * root, 0.4 * span, 0.5 * swept, 0.8 * thick)
    fin = tail.rotate((90, 0, 0))
    for sign in (1, -1):
        half = wing if sign == 1 else wing.mirror((0, 1, 0))
        parts += [
            half.translate(place),
            (tail if sign == 1 else tail.mirror((0, 1, 0))).translate((0.92 * length, 0, 0)),
        ]
    parts.append(fin.translate((0.92 * length, 0, 0)))
    engines = []
    if rng.random() < 0.6:
        at = 0.35
        for sign in (1, -1):
            start = np.array([place[0] + at * swept - 0.6 * root, sign * at * span, high])
            engines.append(rod(start, start + [root, 0, 0], 0.35 * radius * length, 0.3 * radius * length))
    named = (
        Part("engines", materials.FITTING, union(*engines)),
        Part("fuselage", materials.FOAM_TOY, parts[0]),
        Part("wings", materials.FOAM_TOY),
    )
    return Composite(union(*parts, *engines), named)


def rocket(rng: np.random.Generator) -> Composite:
    """A toy rocket, dart or bomb: a pointed body with fins and a nozzle."""
    u = rng.uniform
    height, radius, fins = u(0.1, 0.4), u(0.02, 0.05), int(rng.integers(3, 6))
    body = spline(
        [(0.7 * radius, 0), (radius, 0.3), (radius, u(0.45, 0.75)), (0.5 * radius, 0.88), (0.03 * radius, 1)],
        24,
    )
    body = np.maximum(body, [0.02 * radius, 0]) * [1, height]
    parts = [lathe(np.concatenate([[(0, 0)], body, [(0, height)]]), 28)]
    reach, tall = radius * u(1.6, 3), u(0.2, 0.4) * height
    fin = np.array([(0, 0), (reach, -u(0, 0.3) * tall), (reach, u(0.1, 0.5) * tall), (0, tall)])
    blade = prism(fin, 0.12 * radius).translate((0, 0, -0.06 * radius)).rotate((90, 0, 0))
    parts += [blade.rotate((0, 0, 360 / fins * i)) for i in range(fins)]
    nozzle = cylinder(0.6 * radius, 0.5 * radius, (0, 0, -0.4 * radius), top=0.4 * radius)
    whole = union(*parts, nozzle) - ball(0.4 * radius, (0, 0, -0.4 * radius), segments=16)
    named = (
        Part("nozzle", materials.FITTING, nozzle),
        Part("body", materials.FOAM_TOY, parts[0]),
        Part("fins", materials.FOAM_TOY),
    )
    return Composite(whole, named)


def car(rng: np.random.Generator) -> Composite:
    """A toy car, van, lorry or tractor: body, cabin, wheels, sometimes an open bed."""
    u = rng.uniform
    x, y, z = u(0.07, 0.3), u(0.35, 0.55), u(0.15, 0.35)
    y, z = x * y, x * z
    clear = 0.06 * x
    hull = box(x, y, z, (0, 0, clear))
    if rng.random() < 0.3:
        bed = u(0.4, 0.6) * x
        hull -= box(bed, 0.85 * y, z, (0.47 * x - bed / 2, 0, clear + 0.3 * z))
    low, high, front, rear = u(0.35, 0.7) * x, u(0.2, 0.5) * x, u(-0.45, -0.2) * x, u(0.3, 1.3) * z
    cabin = [(front + t * low, s * 0.48 * y, clear + 0.9 * z) for t in (0, 1) for s in (-1, 1)]
    cabin += [(front + 0.15 * low + t * high, s * 0.4 * y, clear + z + rear) for t in (0, 1) for s in (-1, 1)]
    top = Manifold.hull_points(np.array(cabin))
    wheels = []
    wheel, wide = u(0.08, 0.16) * x, u(0.1, 0.25) * y
    for at in (-0.32 * x, 0.3 * x):
        for s in (-1, 1):
            wheels.append(
                rod(
                    (at, s * (0.5 * y - wide), wheel),
                    (at, s * (0.5 * y + 0.3 * wide), wheel),
                    wheel,
                    segments=20,
                )
            )
    named = (
        Part("wheels", materials.TYRE, union(*wheels)),
        Part("cabin", materials.TOY, top),
        Part("body", materials.CAR),
    )
    return Composite(union(hull, top, *wheels), named)


def animal(rng: np.random.Generator) -> Manifold:
    """A four-legged toy: body, neck, head, snout, ears, legs and tail."""
    u = rng.uniform
    x, girth, leg = u(0.05, 0.2), u(0.3, 0.6), u(0.3, 1.2)
    r = x * girth
    parts = [ball((x, r, r), (0, 0, 0))]
    neck = np.array([0.7 * x, 0, 0.3 * r])
    head = neck + [u(0.2, 0.8) * x, 0, u(0.1, 1.2) * x]
    size = u(0.35, 0.8) * r
    parts += [rod(neck, head, 0.55 * r, 0.5 * size), ball((1.2 * size, size, size), head, segments=16)]
    parts.append(rod(head, head + [u(1, 2.2) * size, 0, -u(0, 0.8) * size], 0.6 * size, 0.35 * size))
    for s in (-1, 1):
        ear = head + [-0.2 * size, s * 0.6 * size, 0.5 * size]
        parts.append(rod(ear, ear + [0, s * 0.4 * size, u(0.3, 1.5) * size], 0.3 * size, 0.12 * size, 8))
        for at in (-0.6, 0.6):
            hip = np.array([at * x, s * 0.5 * r, -0.3 * r])
            parts.append(
                rod(hip, hip + [u(-0.1, 0.1) * x, 0, -0.6 * r - leg * x], u(0.25, 0.4) * r, 0.2 * r, 12)
            )
    rump = np.array([-0.85 * x, 0, 0.1 * r])
    tail = [rump, rump + [-0.3 * x, 0, u(-0.2, 0.4) * x], rump + [-u(0.3, 0.9) * x, 0, u(-0.6, 0.9) * x]]
    girth = 0.2 * r
    parts += [rod(tail[0], tail[1], girth, 0.8 * girth, 10), ball(0.85 * girth, tail[1], segments=8)]
    parts.append(rod(tail[1], tail[2], 0.8 * girth, u(0.2, 0.8) * girth, 10))
    return union(*parts)


def figure(rng: np.random.Generator) -> Composite:
    """A standing doll: trunk, head, bent arms, legs, feet, sometimes a hat or a base."""
    u = rng.uniform
    height, wide = u(0.08, 0.35), u(0.12, 0.2)
    w = wide * height
    hip, neck = u(0.4, 0.5) * height, u(0.72, 0.8) * height
    trunk = np.stack(
        [
            np.column_stack([circle(16) * [a * w, 0.6 * a * w], np.full(16, z)])
            for a, z in ((u(0.6, 1.1), hip), (u(0.6, 0.9), (hip + neck) / 2), (1, 0.95 * neck), (0.3, neck))
        ]
    )
    skull = u(0.08, 0.16) * height
    top = neck + 0.8 * skull
    parts = [
        loft(trunk),
        ball((0.9 * skull, skull, 1.1 * skull), (0, 0, top)),
        cylinder(0.3 * w, 0.1 * height, (0, 0, neck - 0.04 * height)),
    ]
    limb = u(0.18, 0.3) * w
    for s in (-1, 1):
        foot = np.array([s * u(0.4, 1) * w, 0, 0.5 * limb])
        parts.append(rod((s * 0.4 * w, 0, 1.05 * hip), foot, 1.3 * limb, limb, 12))
        parts.append(ball((0.9 * limb, 2 * limb, 0.8 * limb), foot - [0, limb, 0], segments=12))
        shoulder = np.array([s * 0.85 * w, 0, 0.93 * neck])
        elbow = shoulder + height * np.array([s * u(0.02, 0.14), u(-0.05, 0.02), u(-0.16, 0.05)])
        hand = elbow + height * np.array([s * u(-0.08, 0.1), u(-0.15, -0.02), u(-0.12, 0.15)])
        parts += [rod(shoulder, elbow, limb, 0.85 * limb, 10), ball(0.9 * limb, elbow, segments=12)]
        parts += [rod(elbow, hand, 0.85 * limb, 0.7 * limb, 10), ball(limb, hand, segments=12)]
    if rng.random() < 0.4:
        parts.append(cylinder(1.6 * skull, 0.3 * skull, (0, 0, top + 0.5 * skull)))
        parts.append(cylinder(skull, 1.2 * skull, (0, 0, top + 0.5 * skull), top=u(0.2, 1) * skull))
    base = Manifold()
    if rng.random() < 0.4:
        base = cylinder(1.6 * w, 1.2 * limb, (0, 0, -0.5 * limb))
        parts.append(base)
    return Composite(union(*parts), (Part("base", materials.BASE, base), Part("doll", materials.FOAM_TOY)))


def laptop(rng: np.random.Generator) -> Composite:
    """A laptop, phone on its stand, picture frame or open book: two thin leaves that meet at a hinge."""
    u = rng.uniform
    x, y, thick, angle = u(0.1, 0.4), u(0.08, 0.28), u(0.004, 0.02), u(20, 135)
    base = slab(x, y, thick, 0.05 * x, (0, y / 2, 0))
    leaf = u(0.6, 1.2) * y
    screen = slab(x, leaf, thick * u(0.4, 1), 0.05 * x, (0, leaf / 2, 0))
    if rng.random() < 0.4:
        screen -= slab(0.85 * x, 0.7 * leaf, thick, 0.02 * x, (0, 0.55 * leaf, 0.3 * thick))
    hinge = rod((-0.45 * x, 0.03 * y, 0.5 * thick), (0.45 * x, 0.03 * y, 0.5 * thick), 0.8 * thick + 0.03 * y)
    screen = screen.rotate((angle, 0, 0)).translate((0, 0.03 * y, 0.5 * thick))
    parts = [base, hinge, screen]
    if rng.random() < 0.3:
        parts.append(slab(0.3 * x, 0.3 * y, u(1, 4) * thick, 0.02 * x, (u(-0.3, 0.3) * x, 0.6 * y, 0)))
    return Composite(union(*parts), (Part("base", materials.DEVICE, base), Part("screen", materials.SCREEN)))


def crate(rng: np.random.Generator) -> Composite:
    """A box: open, lidded, slatted, divided, filled, or with a lid ajar."""
    u = rng.uniform
    x, y, z, wall = u(0.05, 0.45), u(0.05, 0.35), u(0.03, 0.3), u(0.03, 0.1)
    wall *= min(x, y, z)
    inner = slab(x - 2 * wall, y - 2 * wall, z, 0.02 * x, (0, 0, wall))
    if rng.random() < 0.3:
        inner -= box(wall, y, 0.9 * z, (u(-0.3, 0.3) * x, 0, 0))
    body = slab(x, y, z, u(0.005, 0.1) * x) - inner
    load = Manifold()
    kind = rng.integers(4)
    if kind == 0:
        for i in range(int(rng.integers(1, 4))):
            body -= box(2 * x, 0.7 * y, 0.12 * z, (0, 0, (0.25 + 0.22 * i) * z))
    elif kind == 1:
        lid = box(x, y, wall, (0, y / 2, 0)).rotate((u(10, 110), 0, 0))
        body = union(body, lid.translate((0, 0.5 * wall - y / 2, z - 0.5 * wall)))
    elif kind == 2:
        load = ball((0.35 * x, 0.35 * y, 0.6 * z), (u(-0.1, 0.1) * x, 0, wall), segments=20)
        load = load.trim_by_plane((0, 0, 1), 0.5 * wall)
        body += load
    if rng.random() < 0.3:
        grip = rod((0.5 * x - 0.9 * wall, 0, 0.7 * z), (u(0.55, 0.8) * x, 0, 0.7 * z), 0.08 * z)
        body = union(body, grip, grip.mirror((1, 0, 0)))
    return Composite(body, (Part("load", materials.LOAD, load), Part("box", materials.CRATE)))


def shoe(rng: np.random.Generator) -> Composite:
    """A shoe, boot or iron: a sole and an upper that rises towards the heel, open or solid."""
    u = rng.uniform
    length, wide, tall = u(0.12, 0.32), u(0.3, 0.45), u(0.25, 0.8)
    x = np.linspace(0, 1, 14)
    width = (
        length
        * wide
        / 2
        * (0.75 + 0.25 * np.cos(2 * np.pi * (x - u(0.6, 0.75))))
        * np.sqrt(1 - 0.8 * np.abs(2 * x - 1) ** 6)
    )
    rise = (
        length
        * (tall + (0.12 - tall) * np.clip((x - u(0.15, 0.3)) / 0.45, 0, 1) ** u(0.6, 1.2))
        * (1 - 0.5 * x**8)
    )
    bend = u(-0.08, 0.08) * length * np.sin(np.pi * x)
    half = np.linspace(0, np.pi, 12)
    arch = np.column_stack([np.cos(half), np.sin(half) ** 0.7])
    rings = np.stack(
        [
            np.column_stack([np.full(12, length * t), b + w * arch[:, 0], h * arch[:, 1]])
            for t, w, h, b in zip(x, width, rise, bend, strict=True)
        ]
    )
    outline = np.concatenate(
        [np.column_stack([length * x, bend - width]), np.column_stack([length * x, bend + width])[::-1]]
    )
    heel = u(0, 0.25) * length
    parts = [loft(rings), prism(outline * [1, 1.05], 0.08 * length, (0, 0, -0.075 * length))]
    if heel > 0.05 * length:
        block = prism(outline, heel, (0, 0, -0.07 * length - heel))
        parts.append(block.trim_by_plane((-1, 0, 0), -0.3 * length))
    body, upper = union(*parts), parts[0]
    if rng.random() < 0.6:
        body -= ball(
            (0.16 * length, 0.5 * width[3], u(0.5, 0.9) * rise[3]),
            (0.2 * length, bend[3], rise[3]),
            segments=20,
        )
    return Composite(body, (Part("upper", materials.UPPER, upper), Part("sole", materials.SOLE)))


def tree(rng: np.random.Generator) -> Composite:
    """A tree, cactus, coral or antler: branches that fork, bare or with a crown, on a base plate."""
    u = rng.uniform
    height, thick = u(0.08, 0.4), u(0.03, 0.09)
    parts, leaves = [cylinder(u(1.5, 4) * thick * height, 0.04 * height)], []
    crown = rng.random() < 0.5
    tips = [(np.zeros(3), np.array([0, 0, 0.5 * height]), thick * height)]
    for level in range(int(rng.integers(1, 4))):
        forks = []
        for start, step, girth in tips:
            end = start + step
            parts.append(rod(start, end, girth, 0.8 * girth, 10))
            parts.append(ball(0.82 * girth, end, segments=8))
            for _ in range(2):
                turn = rng.standard_normal(3) * [0.7, 0.7, 0.3] * np.linalg.norm(step)
                forks.append((end, (step + turn) * u(0.5, 0.8), 0.75 * girth))
        tips = forks[:6] if level else forks
    for start, step, girth in tips:
        parts.append(rod(start, start + step, girth, 0.5 * girth, 10))
        if crown:
            leaves.append(ball(np.linalg.norm(step) * u(0.4, 0.9, 3), start + step, segments=16))
            parts.append(leaves[-1])
    named = (
        Part("base", materials.BASE, parts[0]),
        Part("crown", materials.CROWN, union(*leaves)),
        Part("trunk", materials.TRUNK),
    )
    return Composite(union(*parts), named)


def boat(rng: np.random.Generator) -> Composite:
    """A boat, trough or cradle: a lofted hull, open or decked, with cabin or mast."""
    u = rng.uniform
    length, wide, deep = u(0.1, 0.4), u(0.2, 0.45), u(0.15, 0.4)
    x = np.linspace(-1, 1, 13)
    beam = length * wide / 2 * np.maximum(1 - np.abs(x) ** u(2, 5) * np.where(x > 0, 1, u(0.1, 0.9)), 0.05)
    keel = length * wide * deep * np.maximum(1 - np.abs(x) ** 4, 0.15) * 1.5
    half = np.linspace(np.pi, 2 * np.pi, 12)
    arch = np.column_stack([np.cos(half), np.sin(half)])
    rings = np.stack(
        [
            np.column_stack([np.full(12, length / 2 * t), w * arch[:, 0], k * arch[:, 1]])
            for t, w, k in zip(x, beam, keel, strict=True)
        ]
    )
    hull = loft(rings)
    if rng.random() < 0.6:
        wall = u(0.75, 0.92)
        hull -= loft(rings * [0.95, wall, wall] + [0, 0, 1e-4 * length])
        hull += box(0.12 * length, 1.7 * beam[6], 0.04 * length, (u(-0.15, 0.15) * length, 0, -0.06 * length))
    floor = -0.9 * keel[6]
    cabin = mast = Manifold()
    if rng.random() < 0.6:
        cabin = box(
            u(0.2, 0.4) * length, beam[6], u(0.1, 0.3) * length - floor, (u(-0.25, 0.1) * length, 0, floor)
        )
        hull += cabin
    if rng.random() < 0.5:
        mast = rod((0.1 * length, 0, floor), (0.1 * length, 0, u(0.4, 0.9) * length), 0.02 * length)
        hull += mast
    named = (
        Part("mast", materials.FITTING, mast),
        Part("cabin", materials.TOY, cabin),
        Part("hull", materials.FOAM_TOY),
    )
    return Composite(hull, named)


FAMILIES: tuple[Family, ...] = (aeroplane, rocket, car, animal, figure, laptop, crate, shoe, tree, boat)
