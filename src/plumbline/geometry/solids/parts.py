"""Parts of built-in solids, and the densities that they get."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from manifold3d import Manifold

from plumbline.geometry.solids.materials import DENSITY, Materials
from plumbline.geometry.surfaces import Body

_EXACT = 1e-10
"""Largest difference of the parts' volume from the whole's, as a fraction of it."""
_NUDGE = 1e-7
"""How far regions are moved where they cannot be cut with, in cube roots of the volume."""


class Part(NamedTuple):
    """A part of a composite solid.

    Attributes:
        name: what it is: head, handle, ...
        materials: what it may be made of.
        region: where it lies; None: everything that no part before it has.
        poured: it fills its region up to a level, with air above.
    """

    name: str
    materials: Materials
    region: Manifold | None = None
    poured: bool = False


@dataclass(frozen=True, slots=True)
class Composite:
    """A solid and its parts. Where regions overlap, the earlier part has the volume; the last has the rest.

    The whole must not depend on the parts, to the last bit. manifold3d numbers shapes as they are made, and
    computes a shape that two others share in another order: make basic shapes in the order of the whole, and
    regions of basic shapes or of copies.
    """

    whole: Manifold
    parts: tuple[Part, ...]

    def each(self, change: Callable[[Manifold], Manifold]) -> "Composite":
        """The same change of the whole and of all regions."""
        parts = [
            part if part.region is None else part._replace(region=change(part.region)) for part in self.parts
        ]
        return Composite(change(self.whole), tuple(parts))


class Piece(NamedTuple):
    """A part and the volume that is its own."""

    part: Part
    shape: Manifold


def divide(solid: Composite) -> list[Piece]:
    """Cut a solid into its parts; each bit of its volume belongs to exactly one, and empty ones are left out.

    The volumes of the pieces are checked. Faces of whole and region that coincide can defeat the cut (9 of
    8,700 solids); then the regions are moved a little. A surface that runs through itself (2 of 300 lamps, in
    the bend of the stem) has no parts of certain volume, and stays one piece.
    """
    volume = solid.whole.volume()
    for shift in (0.0, _NUDGE * volume ** (1 / 3)):
        pieces = _cut(solid.whole, solid.parts, shift)
        if abs(sum(piece.shape.volume() for piece in pieces) - volume) <= _EXACT * volume:
            return pieces
    return [Piece(solid.parts[-1], solid.whole)]


def _cut(whole: Manifold, parts: tuple[Part, ...], shift: float) -> list[Piece]:
    pieces, rest = [], whole
    for part in parts:
        if part.region is None:
            shape, rest = rest, Manifold()
        else:
            shape, rest = rest.split(part.region.translate((shift, 2 * shift, 3 * shift)))
        pieces.append(Piece(part, shape))
    return [piece for piece in pieces if piece.shape.volume() > 0]


def draw_bodies(pieces: list[Piece], rng: np.random.Generator) -> list[Body]:
    """Draw what each part is made of, and how far the poured ones are filled."""
    bodies = []
    for part, shape in pieces:
        names, shares = list(part.materials), np.array(list(part.materials.values()))
        density = DENSITY[names[rng.choice(len(names), p=shares / shares.sum())]]
        if part.poured:
            low, high = shape.bounding_box()[2::3]
            shape, above = shape.split_by_plane((0, 0, -1), -rng.uniform(low, high))
            bodies.append(body_of(above, DENSITY["air"]))
        bodies.append(body_of(shape, density))
    return bodies


def body_of(shape: Manifold, density: float) -> Body:
    """A shape of one density."""
    mesh = shape.to_mesh64()
    return Body(density, mesh.vert_properties[:, :3], mesh.tri_verts.astype(np.int64))
