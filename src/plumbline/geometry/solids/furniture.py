"""Furniture: chair, table, stool, shelf, sofa, bed, lamp; and a model house."""

import numpy as np
from manifold3d import Manifold

from plumbline.geometry.solids import materials
from plumbline.geometry.solids.parts import Composite, Part
from plumbline.geometry.solids.primitives import (
    Family,
    ball,
    box,
    cylinder,
    lathe,
    rod,
    rounded,
    slab,
    spline,
    sweep,
    turned,
    union,
)


def _legs(rng: np.random.Generator, x: float, y: float, height: float, thickness: float) -> list[Manifold]:
    """Four legs, square or round, upright or splayed, that meet a top at ``height``, ``x`` by ``y`` apart."""
    splay, taper = rng.uniform(0, 0.25) * (rng.random() < 0.5), rng.uniform(0.5, 1)
    segments = int(rng.choice([4, 16]))
    return [
        rod(
            (sx * (x / 2 + splay * height), sy * (y / 2 + splay * height), 0),
            (sx * x / 2, sy * y / 2, height),
            taper * thickness,
            thickness,
            segments,
        )
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]


def chair(rng: np.random.Generator) -> Composite:
    """A chair: four legs, a seat, a back of slats or a single board, sometimes arms."""
    u = rng.uniform
    width, depth, seat = u(0.38, 0.6), u(0.38, 0.55), u(0.38, 0.5)
    thick, leg, back = u(0.02, 0.08), u(0.015, 0.035), u(0.3, 0.65)
    frame = _legs(rng, width - 3 * leg, depth - 3 * leg, seat + 0.5 * thick, leg)
    parts = [*frame]
    parts.append(slab(width, depth, thick, u(0.01, 0.1), (0, 0, seat)))
    lean = u(0, 0.3) * back
    foot, head = (
        np.array([0, -depth / 2 + 1.5 * leg, seat]),
        np.array([0, -depth / 2 - lean, seat + thick + back]),
    )
    side = np.array([width / 2 - 1.5 * leg, 0, 0])
    posts = [rod(foot + side, head + side, leg, 0.8 * leg), rod(foot - side, head - side, leg, 0.8 * leg)]
    parts += posts
    frame += posts
    if rng.random() < 0.5:
        for at in np.linspace(u(0.3, 0.6), 0.95, int(rng.integers(1, 4))):
            middle = (1 - at) * foot + at * head
            parts.append(box(width - 2 * leg, 1.2 * leg, 0.12 * back, middle))
    else:
        board = [(1 - at) * foot + at * head for at in (u(0.05, 0.4), 0.98)]
        section = np.array([(-1, -0.1), (1, -0.1), (1, 0.1), (-1, 0.1)]) * [width / 2 - leg, 0.1]
        rings = np.array([[(x, p[1] + 0.1 * leg + y * leg * 80, p[2]) for x, y in section] for p in board])
        parts.append(Manifold.hull_points(rings.reshape(-1, 3)))
    if rng.random() < 0.3:
        rest = seat + thick + u(0.15, 0.25)
        for sign in (-1, 1):
            x = sign * (width / 2 - leg)
            frame.append(rod((x, depth / 2 - 2 * leg, seat), (x, depth / 2 - 2 * leg, rest + leg), 0.8 * leg))
            parts.append(frame[-1])
            parts.append(box(2 * leg, depth + lean, 1.5 * leg, (x, -lean / 2, rest)))
    return Composite(
        union(*parts), (Part("frame", materials.FRAME, union(*frame)), Part("seat and back", materials.SEAT))
    )


def table(rng: np.random.Generator) -> Composite:
    """A table or desk: rectangular, round or oval, on four legs, a pedestal, or drawers and two legs."""
    u = rng.uniform
    x, y, height, thick = u(0.5, 1.8), u(0.4, 0.9), u(0.35, 1.05), u(0.015, 0.07)
    round_top = rng.random() < 0.35
    top = (
        cylinder(x / 2, thick, (0, 0, height), segments=40).scale((1, y / x, 1))
        if round_top
        else slab(x, y, thick, u(0.002, 0.1), (0, 0, height))
    )
    kind = rng.random()
    if kind < 0.3:
        stem, foot = u(0.03, 0.08), u(0.3, 0.45) * min(x, y)
        pole = cylinder(stem, height + thick / 2)
        plate = cylinder(foot, u(0.02, 0.06), top=u(0.3, 1) * foot)
        named = (
            Part("top", materials.TABLE_TOP, top),
            Part("foot", materials.FOOT, plate),
            Part("pole", materials.STAND),
        )
        return Composite(union(top, pole, plate), named)
    leg = u(0.018, 0.045)
    inset = 0.62 if round_top else 1 - 3 * leg / y
    parts = [top, *_legs(rng, inset * x - leg, inset * y - leg, height + thick / 2, leg)]
    drawers = Manifold()
    if kind < 0.55 and not round_top:
        block = u(0.25, 0.4) * x
        deep = u(0.2, 0.9) * height
        drawers = box(block, 0.9 * y, 1.01 * deep, (x / 2 - block / 2 - leg, 0, height - deep))
        parts.append(drawers)
    elif kind < 0.8:
        apron = u(0.05, 0.12)
        parts.append(
            box(inset * x, inset * y, apron + thick / 2, (0, 0, height - apron))
            - box(inset * x - 2 * leg, inset * y - 2 * leg, apron, (0, 0, height - apron - 0.001))
        )
    named = (
        Part("top", materials.TABLE_TOP, top),
        Part("drawers", materials.CUPBOARD, drawers),
        Part("legs", materials.FRAME),
    )
    return Composite(union(*parts), named)


def stool(rng: np.random.Generator) -> Composite:
    """A round seat on three to six splayed legs, with or without a ring between them."""
    u = rng.uniform
    radius, height, thick, num = u(0.14, 0.24), u(0.25, 0.8), u(0.02, 0.09), int(rng.integers(3, 7))
    splay, leg = u(0.9, 1.5), u(0.011, 0.024)
    profile = [
        (0, 0),
        (0.92 * radius, 0),
        (radius, thick / 2),
        (0.92 * radius, thick),
        (0, u(0.6, 1) * thick),
    ]
    seat = lathe(np.array(profile)).translate((0, 0, height))
    angle = np.arange(num) * 2 * np.pi / num
    ring = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(num)]) * 0.8 * radius
    parts = [rod(splay * p, p + [0, 0, height + thick / 2], 0.8 * leg, leg, 12) for p in ring]
    if rng.random() < 0.5:
        level = u(0.2, 0.5)
        reach = 0.8 * radius * (splay + (1 - splay) * level)
        bar = u(0.5, 0.8) * leg
        square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * bar
        parts.append(lathe(square + [reach, level * height], 32))
    return Composite(union(seat, *parts), (Part("seat", materials.SEAT, seat), Part("legs", materials.FRAME)))


def shelf(rng: np.random.Generator) -> Composite:
    """A bookcase or cupboard: boards in a frame, often with a back and a few items in it."""
    u = rng.uniform
    x, y, z, board = u(0.4, 1.2), u(0.2, 0.45), u(0.5, 2.0), u(0.012, 0.035)
    rows, columns = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    body = box(x, y, z)
    cell_x, cell_z = (x - board * (columns + 1)) / columns, (z - board * (rows + 1)) / rows
    back = board * (rng.random() < 0.7)
    cells, goods = [], []
    for i in range(columns):
        for j in range(rows):
            at = (
                -x / 2 + board + cell_x / 2 + i * (cell_x + board),
                -back - 0.01,
                board + j * (cell_z + board),
            )
            if rng.random() < 0.85:
                cells.append(box(cell_x, y + 0.02, cell_z, at))
            if rng.random() < 0.3:
                size = u(0.3, 0.9) * cell_x, u(0.4, 0.8) * y, u(0.3, 0.9) * cell_z
                goods.append(box(*size[:2], size[2] + board / 2, (at[0], 0, at[2] - board / 2)))
    if not cells:
        return Composite(body, (Part("boards", materials.WOOD),))
    whole = union(body - union(*cells), *goods)
    return Composite(whole, (Part("goods", materials.SHELVED, union(*goods)), Part("boards", materials.WOOD)))


def sofa(rng: np.random.Generator) -> Composite:
    """A sofa, armchair or bench with cushions."""
    u = rng.uniform
    seats, width, depth = int(rng.integers(1, 4)), u(0.55, 0.75), u(0.7, 1.0)
    seat, arm, back = u(0.3, 0.45), u(0.1, 0.25), u(0.15, 0.3)
    x = seats * width
    parts = [box(x + 2 * arm, depth, seat - 0.08, (0, 0, 0.08))]
    parts.append(slab(x + 2 * arm, back, u(0.65, 1.0), 0.3 * back, (0, -depth / 2 + back / 2, 0.05)))
    high = u(0.1, 0.3)
    for side in (-1, 1) if rng.random() < 0.8 else (1,):
        parts.append(slab(arm, depth, seat + high, 0.2 * arm, (side * (x + arm) / 2, 0, 0.05)))
    soft = u(0.08, 0.2)
    cushions = [
        slab(
            0.97 * width,
            depth - 0.9 * back,
            soft,
            0.05,
            ((i - (seats - 1) / 2) * width, 0.45 * back, seat - 0.01),
        )
        for i in range(seats)
    ]
    legs = [
        cylinder(0.025, 0.12, (i * x * 0.45, j * depth * 0.4, 0), segments=12)
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    named = (
        Part("cushions", materials.FOAM, union(*cushions)),
        Part("legs", materials.FRAME, union(*legs)),
        Part("frame", materials.SOFA),
    )
    return Composite(union(*parts, *cushions, *legs), named)


def bed(rng: np.random.Generator) -> Composite:
    """A bed or crib: mattress, pillow, head and foot boards on legs."""
    u = rng.uniform
    x, y, base = u(0.8, 1.9), u(1.4, 2.1), u(0.15, 0.4)
    parts = [box(x, y, 0.1, (0, 0, base))]
    bedding = [slab(0.96 * x, 0.97 * y, u(0.12, 0.3), 0.06, (0, 0, base + 0.09))]
    for side in (-1, 1) if x > 1.2 else (0,):
        bedding.append(ball((0.18 * x, 0.16, 0.12), (side * 0.25 * x, 0.2 - 0.5 * y, base + 0.2)))
    board = u(0.03, 0.08)
    parts += [*bedding, box(x, board, base + u(0.3, 0.8), (0, -y / 2, 0))]
    if rng.random() < 0.6:
        parts.append(box(x, board, base + u(0.15, 0.5), (0, y / 2, 0)))
    else:
        parts += [cylinder(0.03, base + 0.05, (i * 0.45 * x, 0.46 * y, 0), segments=12) for i in (-1, 1)]
    return Composite(
        union(*parts), (Part("bedding", materials.FOAM, union(*bedding)), Part("frame", materials.FRAME))
    )


def lamp(rng: np.random.Generator) -> Composite:
    """A table or floor lamp: a foot, a turned or arched stem, and a hollow or solid shade."""
    u = rng.uniform
    height, foot, shade = u(0.25, 1.6), u(0.06, 0.18), u(0.08, 0.25)
    narrow, tall, wall = u(0.4, 1) * shade, u(0.8, 1.6) * shade, u(0.003, 0.01)
    base = cylinder(foot, u(0.01, 0.05), top=u(0.4, 1) * foot)
    if rng.random() < 0.4:
        stem = lathe(
            np.concatenate([[(0, 0)], turned(rng, u(0.015, 0.05), height, 5, 0.5), [(0, height)]]), 24
        )
        x = 0.0
    else:
        x = u(0, 0.5) * height
        stem = sweep(
            spline([(0, 0, 0), (0, 0, 0.6 * height), (0.4 * x, 0, 0.95 * height), (x, 0, height)], 20),
            u(0.006, 0.016),
        )
    at = (x, 0, height - 0.6 * tall)
    full = rng.random() >= 0.7

    def hood() -> Manifold:
        outer = cylinder(shade, tall, at, top=narrow)
        if full:
            return outer
        inner = cylinder(shade - wall, tall - 2 * wall, (x, 0, at[2] - wall), top=max(narrow - wall, 0.005))
        return outer - inner + cylinder(0.006, 0.5 * tall, (x, 0, at[2] + 0.5 * tall), segments=12)

    whole = union(base, stem, hood())
    named = (
        Part("shade", materials.FULL_SHADE if full else materials.SHADE, hood()),
        Part("foot", materials.FOOT, base),
        Part("stem", materials.STAND),
    )
    return Composite(whole, named)


def house(rng: np.random.Generator) -> Composite:
    """A model house: walls, pitched roof, chimney, door and windows; solid, or hollow and open below."""
    u = rng.uniform
    x, y, z, eave = u(0.1, 0.3), u(0.08, 0.2), u(0.06, 0.2), u(0.003, 0.02)
    ridge, wall = z + u(0.3, 0.8) * y, u(0.004, 0.01)
    body = box(x, y, z)
    gable = np.array([(-y / 2 - eave, z), (y / 2 + eave, z), (u(-0.2, 0.2) * y, ridge)])
    corners = np.array([[(sx * (x / 2 + eave), *p) for p in gable] for sx in (-1, 1)]).reshape(-1, 3)
    roof = Manifold.hull_points(corners)
    parts = [body, roof]
    if rng.random() < 0.6:
        parts.append(box(0.12 * x, 0.12 * x, 0.95 * ridge, (u(-0.35, 0.35) * x, 0.15 * y, 0.1 * ridge)))
    if rng.random() < 0.4:
        wing = u(0.3, 0.6)
        parts.append(box(wing * x, y, u(0.4, 0.9) * z, ((1 - wing) * x * u(-0.4, 0.4), 0.6 * y, 0)))
    solid = union(*parts)
    if rng.random() < 0.5:
        solid -= box(x - 2 * wall, y - 2 * wall, z, (0, 0, -wall))
    openings = [
        rounded(0.15 * x, 0.5 * z, 0.02 * x)
        .extrude(4 * wall)
        .rotate((90, 0, 0))
        .translate((u(-0.3, 0.3) * x, -y / 2 + 2 * wall, 0.3 * z))
    ]
    openings += [box(0.12 * x, 3 * wall, 0.25 * z, (s * 0.35 * x, -y / 2, 0.5 * z)) for s in (-1, 1)]
    return Composite(
        solid - union(*openings), (Part("roof", materials.ROOF, roof), Part("walls", materials.WALLS))
    )


FAMILIES: tuple[Family, ...] = (chair, table, stool, shelf, sofa, bed, lamp, house)
