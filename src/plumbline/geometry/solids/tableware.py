"""Tableware and kitchenware: mug, bottle, bowl, plate, vase, goblet, teapot, pan, spoon, fork."""

import numpy as np
from manifold3d import Manifold

from plumbline.geometry.solids import materials
from plumbline.geometry.solids.materials import Materials
from plumbline.geometry.solids.parts import Composite, Part
from plumbline.geometry.solids.primitives import (
    Family,
    ball,
    box,
    cylinder,
    lathe,
    rod,
    slab,
    spline,
    sweep,
    turned,
    union,
    vessel,
)
from plumbline.records import Float


def _hollow(
    rng: np.random.Generator,
    body: Manifold,
    cavity: Manifold,
    filled: float = 0.3,
    *,
    wall: Materials = materials.CERAMIC,
    content: Materials = materials.DRINK,
) -> Composite:
    """Hollow out a vessel, or leave it solid: scanned meshes of vessels often lack their inside.

    What is solid to the sensor holds a content. An open vessel is empty: a sensor would see what is in it.
    """
    if rng.random() < filled:
        return _filled(body, cavity, wall, content)
    return Composite(body - cavity, (Part("wall", wall),))


def _filled(body: Manifold, cavity: Manifold, wall: Materials, content: Materials) -> Composite:
    """A vessel that is closed to the sensor, with a content in its cavity."""
    return Composite(body, (Part("content", content, cavity, poured=True), Part("wall", wall)))


def _handle(rng: np.random.Generator, radius: float, low: float, high: float, thickness: float) -> Manifold:
    """A curved handle on the +x side of a vessel, joined to its wall from z = low to z = high."""
    reach, sag = radius + rng.uniform(0.35, 0.8) * (high - low), rng.uniform(-0.15, 0.15) * (high - low)
    root = 0.9 * radius
    knots = [
        (root, 0, low),
        (0.7 * reach + 0.3 * root, 0, low + sag / 2),
        (reach, 0, (low + high) / 2 + sag),
        (0.7 * reach + 0.3 * root, 0, high),
        (root, 0, high),
    ]
    angle = np.arange(10) * (2 * np.pi / 10)
    section = np.column_stack([rng.uniform(1, 2) * np.cos(angle), np.sin(angle)])
    section = section if rng.random() < 0.5 else section / np.abs(section).max(axis=1, keepdims=True) ** 0.5
    return sweep(spline(knots, 20), thickness, section=section)


def mug(rng: np.random.Generator) -> Composite:
    """A cup with a handle, straight or tapered."""
    u = rng.uniform
    radius, height = u(0.03, 0.055), u(0.06, 0.14)
    wall = u(0.05, 0.15) * radius
    profile = np.column_stack(
        [radius * np.array([1, 1, u(0.8, 1.2), u(0.8, 1.3)]), height * np.array([0, 0.02, 0.5, 1])]
    )
    body, cavity = vessel(spline(profile, 12), wall, u(0.04, 0.12) * height)
    low, high = u(0.12, 0.3) * height, u(0.7, 0.88) * height
    if rng.random() < 0.85:
        body += _handle(rng, 0.95 * profile[:, 0].min(), low, high, u(0.08, 0.14) * radius)
    return _hollow(rng, body, cavity, 0.2)


def bottle(rng: np.random.Generator) -> Composite:
    """A bottle with shoulder and neck; solid, hollow, or hollow and capped."""
    u = rng.uniform
    radius, height = u(0.025, 0.06), u(0.12, 0.35)
    neck, shoulder, collar = u(0.2, 0.55) * radius, u(0.4, 0.75), u(0.78, 0.9)
    profile = np.array(
        [
            (0.9 * radius, 0),
            (radius, 0.03),
            (radius, shoulder * u(0.3, 0.7)),
            (radius, shoulder),
            (neck, collar),
            (neck, 1),
        ]
    ) * [1, height]
    waist = rng.uniform(0.75, 1)
    profile[2, 0] *= waist
    profile = spline(profile, 28)
    body, cavity = vessel(profile, u(0.15, 0.4) * neck, u(0.02, 0.06) * height, 32)
    cap = cylinder(1.2 * neck, u(0.08, 0.15) * height, (0, 0, 0.93 * height))
    shape = (1, u(0.45, 1) if rng.random() < 0.4 else 1, 1)
    kind = rng.random()
    wall = Part("wall", materials.BOTTLE)
    closed = (Part("cap", materials.CAP, cap), Part("content", materials.GOODS, cavity, poured=True), wall)
    if kind < 0.4:
        bottle = Composite(union(body, cap), closed)
    elif kind < 0.8:
        bottle = Composite(body - cavity, (wall,))
    else:
        bottle = Composite((body - cavity) + cap, closed)
    return bottle.each(lambda piece: piece.scale(shape))


def bowl(rng: np.random.Generator) -> Composite:
    """An open bowl on a foot, widening or narrowing towards the rim."""
    u = rng.uniform
    radius, height = u(0.05, 0.16), u(0.03, 0.11)
    bend = u(0.3, 1.2)
    level = np.linspace(0, 1, 12)
    curve = u(0.3, 0.6) + (1 - u(0.3, 0.6)) * level**bend
    profile = np.column_stack([radius * curve / curve.max(), height * level])
    body, cavity = vessel(profile, u(0.04, 0.12) * radius, u(0.06, 0.2) * height)
    foot = cylinder(0.9 * profile[0, 0], u(0.05, 0.2) * height + 0.005, (0, 0, -u(0.02, 0.12) * height))
    return _hollow(rng, body + foot, cavity, 0.1, wall=materials.BOWL, content=materials.GOODS)


def plate(rng: np.random.Generator) -> Manifold:
    """A plate, tray or saucer: a thin dished sheet, round or elongated."""
    u = rng.uniform
    radius, rise, thick = u(0.06, 0.16), u(0.008, 0.03), u(0.003, 0.008)
    level, flat = np.linspace(0, 1, 16), u(0.4, 0.8)
    top = np.column_stack([radius * level, rise * np.clip((level - flat) / (1 - flat), 0, 1) ** u(0.7, 2)])
    outline = np.concatenate([top - [0, thick], top[::-1]])
    return lathe(outline, rng.choice([6, 8, 48, 48, 48])).scale(
        (1, u(0.5, 1) if rng.random() < 0.4 else 1, 1)
    )


def vase(rng: np.random.Generator) -> Composite:
    """A vase with a smooth random profile, sometimes faceted, or fluted with a twist."""
    u = rng.uniform
    radius, height = u(0.03, 0.12), u(0.1, 0.4)
    profile = turned(rng, radius, height, int(rng.integers(4, 7)))
    wall = u(0.06, 0.2) * profile[:, 0].min()
    segments = int(rng.choice([5, 6, 8, 36, 36, 36]))
    body, cavity = vessel(profile, wall, u(0.02, 0.06) * height, segments)
    twist = u(-3, 3) / height if rng.random() < 0.3 else 0.0
    squash = u(0.6, 1)

    def turn(points: Float) -> Float:
        angle = twist * points[:, 2] * 0.5
        x, y = points[:, 0], points[:, 1] * squash
        return np.column_stack(
            [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), points[:, 2]]
        )

    return _hollow(rng, body, cavity).each(lambda piece: piece.warp_batch(turn))


def goblet(rng: np.random.Generator) -> Manifold:
    """A glass on a stem, or a candlestick if it is solid."""
    u = rng.uniform
    foot, stem, height = u(0.025, 0.045), u(0.003, 0.008), u(0.1, 0.25)
    knee, bowl_radius = u(0.3, 0.6) * height, u(0.02, 0.05)
    stand = spline([(foot, 0), (foot, 0.004), (2 * stem, 0.012), (stem, 0.4 * knee), (stem, knee)], 18)
    level = np.linspace(0, 1, 10)
    cup = np.column_stack(
        [stem + (bowl_radius - stem) * level ** u(0.3, 0.6), knee + (height - knee) * level]
    )
    cup[:, 0] *= 1 - u(0, 0.35) * level**3
    body = lathe(np.concatenate([[(0, 0)], np.maximum(stand, [stem, 0]), cup[1:], [(0, height)]]), 32)
    _, cavity = vessel(cup, u(0.0015, 0.003), u(0.01, 0.02), 32)
    return body if rng.random() < 0.25 else body - cavity


def teapot(rng: np.random.Generator) -> Composite:
    """A pot with spout, handle and knob; hollow under the lid, or solid."""
    u = rng.uniform
    radius, height = u(0.05, 0.09), u(0.07, 0.16)
    level = np.linspace(0, 1, 14)
    profile = np.column_stack([radius * (0.65 + 0.4 * np.sin(np.pi * level ** u(0.7, 1.3))), height * level])
    body, cavity = vessel(profile, u(0.06, 0.12) * radius, u(0.05, 0.1) * height, 32)
    bore, reach = u(0.1, 0.2) * radius, u(1.6, 2.1) * radius
    knots = [
        (-0.7 * radius, 0, 0.35 * height),
        (-1.3 * radius, 0, 0.5 * height),
        (-reach, 0, u(0.8, 1.05) * height),
    ]
    spout = sweep(spline(knots, 12), np.linspace(2, 1, 12) * bore)
    handle = _handle(rng, 0.75 * radius, 0.3 * height, 0.8 * height, u(0.07, 0.12) * radius)
    if rng.random() < 0.4:
        return Composite(union(body, spout, handle) - cavity, (Part("pot", materials.CERAMIC),))
    lid = ball((0.7 * radius, 0.7 * radius, 0.25 * radius), (0, 0, height))
    knob = ball(0.17 * radius, (0, 0, height + 0.35 * radius), segments=12)
    return _filled(union(body, spout, handle, lid, knob), cavity, materials.CERAMIC, materials.DRINK)


def pan(rng: np.random.Generator) -> Composite:
    """A saucepan or frying pan with one long handle, or two ears."""
    u = rng.uniform
    radius = u(0.06, 0.16)
    height, wall = u(0.25, 1.2) * radius, u(0.003, 0.008)
    pot, cavity = vessel(np.array([(u(0.75, 1) * radius, 0), (radius, height)]), wall, u(0.004, 0.012))
    rise, grip = u(0.55, 0.9) * height, u(0.006, 0.012)
    if rng.random() < 0.7:
        tip = (radius + u(0.9, 2.2) * radius, 0, rise + u(-0.1, 0.5) * height)
        body = pot + rod((0.9 * radius, 0, rise), tip, grip, u(0.8, 1.6) * grip)
    else:
        ears = box(2 * radius + u(0.03, 0.06), u(0.05, 0.09), grip, (0, 0, rise))
        body = pot + ears
    return Composite(body - cavity, (Part("pot", materials.PAN, pot), Part("handle", materials.PAN_HANDLE)))


def spoon(rng: np.random.Generator) -> Manifold:
    """A spoon or ladle: a thin bowl at the end of a curved handle."""
    u = rng.uniform
    length, width, depth = u(0.1, 0.3), u(0.015, 0.045), u(0.4, 1.1)
    thick = u(0.08, 0.2) * width
    long = width * u(1, 1.6)
    outer = ball((long, width, depth * width))
    inner = ball((long - thick, width - thick, depth * width - thick))
    cup = (outer - inner).trim_by_plane((0, 0, -1), -0.15 * width * depth)
    rise = u(-0.1, 0.6) * length
    knots = [
        (long - 0.6 * thick, 0, 0),
        (long + 0.3 * length, 0, u(0, 0.15) * length),
        (long + length, 0, rise),
    ]
    path = spline(knots, 14)
    section = np.column_stack(
        [np.cos(np.arange(10) * 0.2 * np.pi), u(1, 2.5) * np.sin(np.arange(10) * 0.2 * np.pi)]
    )
    return cup + sweep(path, 0.6 * thick * np.linspace(1, u(1, 1.8), 14), section=section)


def fork(rng: np.random.Generator) -> Manifold:
    """A fork or rake: tines on a flat head, and a handle that widens."""
    u = rng.uniform
    tines, pitch, length = int(rng.integers(2, 6)), u(0.005, 0.012), u(0.12, 0.22)
    thick, tine = u(0.002, 0.005), u(0.03, 0.06)
    width = pitch * tines
    head = slab(u(0.02, 0.04), width, thick, 0.3 * width, (-0.008, 0, 0))
    fingers = [
        box(tine, 0.45 * pitch, thick, (-0.01 - tine / 2, (i - (tines - 1) / 2) * pitch, 0))
        for i in range(tines)
    ]
    handle = box(length, 0.4 * width, thick, (length / 2, 0, 0)).refine_to_length(length / 8)
    body = union(head, *fingers).refine_to_length(tine / 3) + handle
    bow, flare = u(-0.08, 0.08) * length, u(0, 1.2)

    def bend(points: Float) -> Float:
        x, y, z = points.T
        along = np.clip(x / length, 0, 1)
        return np.column_stack([x, y * (1 + flare * along**2), z + bow * np.sin(np.pi * x / length)])

    return body.warp_batch(bend)


FAMILIES: tuple[Family, ...] = (mug, bottle, bowl, plate, vase, goblet, teapot, pan, spoon, fork)
