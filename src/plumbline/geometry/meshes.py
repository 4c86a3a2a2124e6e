"""Meshes from files, and their ground truth: volume, centre of mass, minimum enclosing sphere.

A mesh is trusted only if it bounds a body: closed (every edge lies between two faces), consistently
wound, finite, and of positive volume. Any other mesh is refused with a reason, never repaired by guessing,
because a wrong centre of mass would be learned as truth. Defects that cannot change the truth are fixed
silently: duplicate vertices along texture seams are merged, faces that repeat a vertex and unused vertices
are dropped, and a mesh that is inside out as a whole is flipped.

Where bodies overlap, the overlap counts twice; detecting it takes a boolean operation, which is done only
where bodies have densities of their own.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from plumbline.errors import InputError, MeshError
from plumbline.files import refusal
from plumbline.geometry.bodies import cancel_opposite_faces, check_bodies, count_double_faces, has_inside
from plumbline.geometry.mesh_formats.parts import MeshContent
from plumbline.geometry.mesh_formats.reading import FOR_SCANS, read_mesh
from plumbline.geometry.named_bodies import check_apart, show_body, split_bodies
from plumbline.geometry.spheres import bounding_sphere
from plumbline.geometry.surfaces import (
    Body,
    inspect_edges,
    is_in_hull,
    mass_properties,
    shell_centroid,
    solid_inertia,
    solid_properties,
)
from plumbline.records import Float, Int, Solid, Target

REPAIR = "repair it or use --target shell"
"""What the message of an open mesh ends with."""
_FLAT = 1e-12
"""A volume up to this fraction of the cubed bounding radius is rounding error, not a body."""
_FARTHEST = 1e12
"""Largest accepted coordinate in metres; larger ones come from damaged files, and products would overflow."""


def load_mesh(
    path: Path | str,
    *,
    name: str,
    target: Target = "solid",
    scale: float = 1.0,
    densities: Mapping[str, float] | None = None,
) -> Solid:
    """Read one mesh file and compute its centre of mass, volume and bounding sphere.

    A scene (glb, gltf, 3mf, dae) becomes one mesh of all its parts, each placed as in the scene.

    Args:
        path: a mesh file; its suffix says how it is read.
        name: the object's name.
        target: ``"solid"``: the body inside the mesh, of uniform density. ``"shell"``: only the surface, of
            uniform thickness; such a mesh may be open.
        scale: metres per unit of the file, > 0.
        densities: kilograms per cubic metre, > 0, of every body of the file by its name; ``""`` for faces
            without a name. None: the density is uniform.

    Returns:
        The mesh in metres, in the file's frame.

    Raises:
        MeshError: the file is missing or unreadable, or its mesh has no trustworthy centre of mass.
        InputError: ``scale``, ``target`` or a density is invalid.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"scale must be a positive number of metres per unit, not {scale}")
    if target not in ("solid", "shell"):
        raise InputError(f'target must be "solid" or "shell", not "{target}"')
    if densities is not None and target == "shell":
        raise InputError("a shell has no densities: leave densities or target out")
    for body, density in (densities or {}).items():
        if not (np.isfinite(density) and density > 0):
            raise InputError(f"the density of {show_body(body)} must be above 0 and finite, not {density}")
    if not (path := Path(path)).is_file():
        raise MeshError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; give a mesh file")
    try:
        content = read_mesh(path)
        if not len(content.faces):
            reason = "; ".join(["has no faces", *content.notes])
            scan = f"give a mesh ({FOR_SCANS})"
            raise MeshError(f"{reason}; {scan if len(content.vertices) else 'export it again'}")
        content = replace(content, vertices=content.vertices * scale)
        if densities is not None:
            return _weigh(name, content, densities)
        make = _make_shell_record if target == "shell" else make_solid_record
        return replace(make(name, content.vertices, content.faces), notes=content.notes)
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from error
    except InputError as error:  # of a reader that serves scans, too; it names the file
        raise MeshError(str(error)) from error
    except OSError as error:
        raise MeshError(f"{path}: {refusal(path, error)}") from error


# ------------------------------------------------------------------------------------------- records


def make_solid_record(name: str, vertices: Float, faces: Int) -> Solid:
    """Check that a mesh bounds a body, and compute its properties for uniform density.

    Args:
        name: the object's name.
        vertices: ``[V, 3]`` metres.
        faces: ``[F, 3]`` vertex indices, consistently wound in either direction.

    Returns:
        The solid, in the same frame, wound counter-clockwise seen from outside.

    Raises:
        MeshError: the mesh is empty, not finite, open, not manifold, inconsistently wound, or without volume.
    """
    vertices, faces = _tidy(vertices, faces)
    if len(vertices) > len(faces) or inspect_edges(faces).reason is not None:
        # Texture seams and triangle soups (stl) store a vertex once per face: merge vertices by position.
        # Only if needed: two bodies that touch along an edge are valid apart, but not manifold when merged.
        vertices, faces, closed = _join_surface(vertices, faces)
    else:
        closed = True
    centre, radius = bounding_sphere(vertices)
    volume, com = solid_properties(vertices, faces)
    if abs(volume) <= _FLAT * radius**3:
        raise MeshError(f"the mesh has no volume ({volume:.3g} for a bounding radius of {radius:.3g})")
    if volume < 0:
        volume, faces = -volume, np.ascontiguousarray(faces[:, ::-1])
    if closed:
        check_bodies(vertices, faces)
    elif not has_inside(vertices, faces):
        reason = inspect_edges(faces).reason
        raise MeshError(f"the mesh has no inside: {reason}, and its bodies overlap; {REPAIR}")
    if not is_in_hull(com, vertices):
        raise MeshError(
            "the mesh has no inside: its centre of mass would lie outside its convex hull, so that parts of "
            f"it are inside out; {REPAIR}"
        )
    return Solid(
        name, vertices, faces, com, centre, radius, volume, inertia=solid_inertia(vertices, faces, com)
    )


def _weigh(name: str, content: MeshContent, densities: Mapping[str, float]) -> Solid:
    """Compute the properties of a mesh whose bodies have densities, each checked like a mesh of its own."""
    bodies = []
    for body, mesh in split_bodies(content).items():
        if body not in densities:
            raise MeshError(f"{show_body(body)} has no density; give one")
        try:
            bodies.append(make_solid_record(body, *mesh))
        except MeshError as error:
            reason = str(error).replace(REPAIR, "repair it, since a body with a density must be closed")
            raise MeshError(f"{show_body(body)}: {reason}") from error
    check_apart(bodies)
    mass, com, inertia = mass_properties(
        Body(densities[body.name], body.vertices, body.faces) for body in bodies
    )
    starts = np.cumsum([0, *(len(body.vertices) for body in bodies)])
    vertices = np.concatenate([body.vertices for body in bodies])
    faces = np.concatenate([body.faces + start for body, start in zip(bodies, starts, strict=False)])
    volume = sum(body.volume for body in bodies)
    sphere = bounding_sphere(vertices)
    return Solid(name, vertices, faces, com, *sphere, volume, content.notes, inertia, mass)


def _join_surface(vertices: Float, faces: Int) -> tuple[Float, Int, bool]:
    """Merge vertices by position, and say whether the surface is closed; refuse one that has a boundary.

    What is not closed has no boundary, but more than two faces at some edge, as where bodies touch.
    """
    vertices, faces = _tidy(*_join_vertices(vertices, faces))
    edges = inspect_edges(faces)
    if edges.reason is None:
        return vertices, faces, True
    if not edges.balanced:
        raise MeshError(f"the mesh has no inside: {edges.reason}; {REPAIR}")
    if double := count_double_faces(faces):
        raise MeshError(
            f"the mesh has no inside: {double} face{'s occur' if double > 1 else ' occurs'} twice, as if the "
            "file held a body twice; remove the copy"
        )
    vertices, faces = _tidy(vertices, cancel_opposite_faces(faces))
    return vertices, faces, inspect_edges(faces).reason is None


def _make_shell_record(name: str, vertices: Float, faces: Int) -> Solid:
    vertices, faces = _tidy(vertices, faces)
    com = shell_centroid(vertices, faces)
    joined, joined_faces = _join_vertices(vertices, faces)
    closed = inspect_edges(joined_faces).reason is None
    volume = abs(solid_properties(joined, joined_faces)[0]) if closed else 0.0
    return Solid(name, vertices, faces, com, *bounding_sphere(vertices), volume)


def _tidy(vertices: Float, faces: Int) -> tuple[Float, Int]:
    """Refuse invalid arrays; drop faces that repeat a vertex, and vertices that no face uses."""
    vertices = np.ascontiguousarray(vertices, dtype=np.float64)
    faces = np.ascontiguousarray(faces, dtype=np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise MeshError(
            f"vertices and faces must be [V, 3] and [F, 3], not {vertices.shape} and {faces.shape}"
        )
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise MeshError(
            f"faces use vertices {faces.min()} to {faces.max()}, but there are only {len(vertices)} vertices"
        )
    a, b, c = faces.T
    slivers = (a == b) | (b == c) | (c == a)
    if slivers.any():
        faces = faces[~slivers]
    if not len(faces):
        raise MeshError("the mesh has no faces")
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    if not used.all():
        faces = (np.cumsum(used) - 1)[faces]
        vertices = vertices[used]
    if not np.isfinite(vertices).all():
        num = int((~np.isfinite(vertices).all(axis=1)).sum())
        raise MeshError(
            f"{num:,} {'vertex is' if num == 1 else 'vertices are'} not finite; export the mesh again"
        )
    if np.abs(vertices).max() > _FARTHEST:
        raise MeshError(
            f"a coordinate of {np.abs(vertices).max():.3g} m is too large; fix the mesh or its scale"
        )
    return vertices, faces


def _join_vertices(vertices: Float, faces: Int) -> tuple[Float, Int]:
    """Merge vertices at exactly the same position."""
    # Vertices are grouped by one number, made of the bits of their coordinates, which is several times as
    # fast to sort as three; 0.0 turns -0.0 into 0.0.
    bits = (vertices + 0.0).view(np.uint64)
    mixed = bits * np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(29))) @ np.array(
        [1, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], np.uint64
    )
    order = np.argsort(mixed)
    group = np.concatenate([[0], np.cumsum(mixed[order][1:] != mixed[order][:-1])])
    heads = order[np.flatnonzero(np.diff(group, prepend=-1))]
    if not (vertices[order] == vertices[heads][group]).all():
        heads, order, group = np.arange(len(vertices)), np.arange(len(vertices)), np.arange(len(vertices))
    sequence = np.lexsort(vertices[heads].T)
    ordered = vertices[heads][sequence]
    first = np.ones(len(ordered), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    place = np.empty(len(heads), np.int64)
    place[sequence] = np.cumsum(first) - 1
    new_idx = np.empty(len(vertices), np.int64)
    new_idx[order] = place[group]
    return ordered[first], new_idx[faces]
