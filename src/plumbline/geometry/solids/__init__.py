"""Built-in solids: unlimited random members of families of everyday and abstract shapes.

Every shape is built with exact boolean operations (manifold3d), so it is a closed manifold, and its centre
of mass is exact for the polyhedron that is returned.
"""

from dataclasses import replace

import numpy as np

from plumbline.geometry.meshes import make_solid_record
from plumbline.geometry.solids import abstract, furniture, hardware, tableware, tools, toys
from plumbline.geometry.solids.parts import Composite, divide, draw_bodies
from plumbline.geometry.solids.primitives import Family, largest
from plumbline.geometry.surfaces import mass_properties
from plumbline.records import Density, Solid

FAMILIES: dict[str, Family] = {
    family.__name__: family
    for module in (tableware, furniture, tools, hardware, toys, abstract)
    for family in module.FAMILIES
}
"""All families by name, as listed in the ``FAMILIES`` of each file. Their order is part of the seed."""

_FEWEST_FACES = 100


def make_solid(seed: int, index: int, density: Density = "uniform") -> Solid:
    """Draw one built-in solid. A pure function of its arguments.

    The family is drawn first, then a member of it, then for half of the solids a scaling along each axis.

    Args:
        seed: seed of the whole collection, >= 0.
        index: index of the solid in the collection, >= 0; the solids of a collection are independent.
        density: ``"uniform"``: the centre of mass is that of a body of one density; ``"parts"``: the parts
            (handle, head, ...) have densities drawn from those of usual materials. The shape is the same.

    Returns:
        One connected closed body in metres, named ``solids/<family>/<index>``, with at least 100 faces.
    """
    family, drawn = draw_solid(seed, index)
    body = drawn.whole
    if body.num_tri() < _FEWEST_FACES:
        body = body.refine(int(np.ceil(np.sqrt(_FEWEST_FACES / body.num_tri()))))
    mesh = body.to_mesh64()
    name = f"solids/{family}/{index:06d}"
    solid = make_solid_record(name, mesh.vert_properties[:, :3], mesh.tri_verts)
    if density == "uniform" or len(drawn.parts) < 2:
        return solid
    # The third number parts this generator from that of the shape, which must not change with the densities.
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index, 1])))
    _, com, inertia = mass_properties(draw_bodies(divide(drawn), rng))
    return replace(solid, com=com, inertia=inertia)


def draw_member(family: str, rng: np.random.Generator) -> Composite:
    """Draw a member of a family; one of a single material has no parts."""
    member = FAMILIES[family](rng)
    return member if isinstance(member, Composite) else Composite(member, ())


def draw_solid(seed: int, index: int) -> tuple[str, Composite]:
    """Draw the family, and the shape in one piece with the parts in it; see :func:`make_solid`."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
    family = list(FAMILIES)[rng.integers(len(FAMILIES))]
    drawn = draw_member(family, rng)
    drawn = Composite(largest(drawn.whole), drawn.parts)
    if rng.random() < 0.5:
        factors = tuple(np.exp(rng.normal(0, 0.15, 3)))
        drawn = drawn.each(lambda shape: shape.scale(factors))
    return family, drawn
