"""Built-in solids: unlimited random members of families of everyday and abstract shapes.

Every shape is built with exact boolean operations (manifold3d), so it is a closed manifold, and its centre
of mass is exact for the polyhedron that is returned.
"""

import numpy as np

from plumbline.geometry.meshes import make_solid_record
from plumbline.geometry.solids import abstract, furniture, hardware, tableware, tools, toys
from plumbline.geometry.solids.primitives import Family, largest
from plumbline.records import Solid

FAMILIES: dict[str, Family] = {
    family.__name__: family
    for module in (tableware, furniture, tools, hardware, toys, abstract)
    for family in module.FAMILIES
}
"""All families by name, as listed in the ``FAMILIES`` of each file. Their order is part of the seed."""

_FEWEST_FACES = 100


def make_solid(seed: int, index: int) -> Solid:
    """Draw one built-in solid. A pure function of its arguments.

    The family is drawn first, then a member of it, then for half of the solids a scaling along each axis.

    Args:
        seed: seed of the whole collection, >= 0.
        index: index of the solid in the collection, >= 0; the solids of a collection are independent.

    Returns:
        One connected closed body in metres, named ``solids/<family>/<index>``, with at least 100 faces.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
    family = list(FAMILIES)[rng.integers(len(FAMILIES))]
    body = largest(FAMILIES[family](rng))
    if rng.random() < 0.5:
        body = body.scale(tuple(np.exp(rng.normal(0, 0.15, 3))))
    if body.num_tri() < _FEWEST_FACES:
        body = body.refine(int(np.ceil(np.sqrt(_FEWEST_FACES / body.num_tri()))))
    mesh = body.to_mesh64()
    return make_solid_record(f"solids/{family}/{index:06d}", mesh.vert_properties[:, :3], mesh.tri_verts)
