"""Meshes from files, and their ground truth: volume, centre of mass, minimum enclosing sphere.

A mesh is trusted only if it bounds a body: closed (every edge lies between two faces), consistently
wound, finite, and of positive volume. Any other mesh is refused with a reason, never repaired by guessing,
because a wrong centre of mass would be learned as truth. Defects that cannot change the truth are fixed
silently: duplicate vertices along texture seams are merged, faces that repeat a vertex and unused vertices
are dropped, and a mesh that is inside out as a whole is flipped.

Where bodies overlap, the overlap counts twice; detecting it would take a boolean operation.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from plumbline.errors import InputError, MeshError
from plumbline.files import visible_files
from plumbline.geometry.clouds import CLOUD_SUFFIXES
from plumbline.geometry.headers import MESH_HEADERS
from plumbline.geometry.spheres import bounding_sphere
from plumbline.records import Float, Int, Solid, Target

MESH_SUFFIXES = frozenset(
    {".3dxml", ".3mf", ".ctm", ".dae", ".glb", ".gltf", ".obj", ".off", ".ply", ".stl", ".xaml", ".zae"}
)
"""File suffixes that are read as meshes. Some need a package in addition to trimesh; the error names it."""

_FLAT = 1e-12
"""A volume up to this fraction of the cubed bounding radius is rounding error, not a body."""
_FARTHEST = 1e12
"""Largest accepted coordinate in metres; larger ones come from damaged files, and products would overflow."""


@dataclass(frozen=True, slots=True)
class MeshFile:
    """A mesh on disk and the name of its object."""

    path: Path
    name: str


# ---------------------------------------------------------------------------------------------- files


def find_meshes(paths: Sequence[Path | str]) -> list[MeshFile]:
    """Find all meshes in files and folders (searched recursively, hidden entries skipped).

    Args:
        paths: mesh files, or folders of them.

    Returns:
        One entry per file or broken link, sorted by name. A name is the POSIX path relative to the given
        folder, without its suffix (the file's stem if the file itself was given). If several folders are
        given, the name starts with the folder's own name, so that the objects of a folder stay in one group.
        If two files would have the same name, the name keeps its suffix, then includes the folder's name,
        then the whole path.

    Raises:
        InputError: a path does not exist or cannot be read, a given file is not a mesh, or nothing was found.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for path in map(Path, paths):
        for file, root in _walk(path):
            # If several links point to one file, the first one found is kept.
            found.setdefault(os.path.realpath(file), (file, root))
    if not found:
        raise InputError(
            f"no mesh found in {', '.join(map(str, paths)) or 'an empty list of paths'}; mesh files end in "
            f"{_suffix_list()}, and real scans are given with --labels"
        )
    files = sorted(found.values())
    folders = {path.resolve() for path in map(Path, paths) if path.is_dir()}

    def shown(file: Path, root: Path) -> Path:
        inside = file.relative_to(root)
        return Path(root.resolve().name, inside) if len(folders) > 1 and root.resolve() in folders else inside

    levels: list[Callable[[Path, Path], Path]] = [
        lambda file, root: shown(file, root).with_suffix(""),
        shown,
        lambda file, root: Path(root.resolve().name, file.relative_to(root)),
        lambda file, root: Path(*Path(os.path.realpath(file)).parts[1:]),
    ]
    names = [levels[0](*file).as_posix() for file in files]
    for level in levels[1:]:
        count = Counter(names)
        names = [
            level(*file).as_posix() if count[name] > 1 else name
            for file, name in zip(files, names, strict=True)
        ]
    return sorted(
        (MeshFile(file[0], name) for file, name in zip(files, names, strict=True)), key=lambda m: m.name
    )


def _walk(path: Path) -> list[tuple[Path, Path]]:
    """List ``(file, folder that its name is relative to)`` for a mesh file, or for all meshes in a folder."""
    if path.is_file():
        if path.suffix.lower() in CLOUD_SUFFIXES - MESH_SUFFIXES:
            raise InputError(f"{path} is not a mesh: list real scans in a CSV file and give it with --labels")
        if path.suffix.lower() not in MESH_SUFFIXES:
            raise InputError(
                f"{path} is not a mesh in a supported format: give a file that ends in {_suffix_list()}"
            )
        return [(path, path.parent)]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; give a mesh file or a folder of them")
    return [(path / name, path) for name in visible_files(path, MESH_SUFFIXES)]


def _suffix_list() -> str:
    return ", ".join(sorted(MESH_SUFFIXES))


def companion_files(path: Path) -> list[Path]:
    """List the other files that contain parts of a mesh: the buffers of a ``.gltf`` within its own folder."""
    if path.suffix.lower() != ".gltf":
        return []
    try:
        uris = [buffer.get("uri", "data:") for buffer in json.loads(path.read_bytes())["buffers"]]
        files = [path.parent / unquote(uri) for uri in uris if not uri.startswith("data:")]
        root = path.parent.resolve()  # files outside this folder are not read, neither here nor by load_mesh
        return [file for file in files if file.resolve().is_relative_to(root) and file.is_file()]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return []  # not a valid gltf: load_mesh reports it


def load_mesh(path: Path | str, *, name: str, target: Target = "solid", scale: float = 1.0) -> Solid:
    """Read one mesh file and compute its centre of mass, volume and bounding sphere.

    A scene (glb, gltf, 3mf, dae) becomes one mesh of all its parts, each placed as in the scene.

    Args:
        path: a file with one of :data:`MESH_SUFFIXES`.
        name: the object's name.
        target: ``"solid"``: the body inside the mesh, of uniform density. ``"shell"``: only the surface, of
            uniform thickness; such a mesh may be open.
        scale: metres per unit of the file, > 0.

    Returns:
        The mesh in metres, in the file's frame.

    Raises:
        MeshError: the file is missing or unreadable, or its mesh has no trustworthy centre of mass.
        InputError: ``scale`` or ``target`` is invalid, or the file would fill the memory when unpacked.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"scale must be a positive number of metres per unit, not {scale}")
    if target not in ("solid", "shell"):
        raise InputError(f'target must be "solid" or "shell", not "{target}"')
    if not (path := Path(path)).is_file():
        raise MeshError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; give a mesh file")
    try:
        vertices, faces = _read(path)
        if target == "shell":
            return _make_shell_record(name, vertices * scale, faces)
        return make_solid_record(name, vertices * scale, faces)
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from error


def _read(path: Path) -> tuple[Float, Int]:
    """Read the vertices and triangles of everything in a file, with the scene's transforms applied."""
    import trimesh

    try:
        if (check := MESH_HEADERS.get(path.suffix.lower())) is not None:
            check(path)
        scene = trimesh.load_scene(
            path, file_type=path.suffix[1:].lower(), process=False, skip_materials=True
        )
        vertices, faces, start = [], [], 0
        for node in scene.graph.nodes_geometry:
            transform, key = scene.graph[node]
            part = scene.geometry[key]
            if not isinstance(part, trimesh.Trimesh):
                continue
            vertices.append(np.asarray(part.vertices, float) @ transform[:3, :3].T + transform[:3, 3])
            turn = -1 if np.linalg.det(transform[:3, :3]) < 0 else 1
            faces.append(np.asarray(part.faces, np.int64)[:, ::turn] + start)
            start += len(part.vertices)
    except ImportError as error:
        raise MeshError(
            f"needs another package to be read, install it or convert the file to ply ({error})"
        ) from error
    except Exception as error:  # trimesh's parsers raise exceptions of any type for broken files
        detail = " ".join(str(error).split())[:200]
        raise MeshError(
            f"cannot be read as {path.suffix[1:]}, export it again ({type(error).__name__}: {detail})"
        ) from error
    if not faces:
        raise MeshError("has no faces; give a mesh (real scans are given with --labels)")
    return np.concatenate(vertices), np.concatenate(faces)


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
    reason = open_reason(faces)
    if reason is not None:
        # Texture seams and triangle soups (stl) store a vertex once per face: merge vertices by position.
        # Only if needed: two bodies that touch along an edge are valid apart, but not manifold when merged.
        vertices, faces = _tidy(*_join_vertices(vertices, faces))
        if open_reason(faces) is not None:
            raise MeshError(f"the mesh has no inside: {open_reason(faces)}; repair it or use --target shell")
    centre, radius = bounding_sphere(vertices)
    volume, com = solid_properties(vertices, faces)
    if abs(volume) <= _FLAT * radius**3:
        raise MeshError(f"the mesh has no volume ({volume:.3g} for a bounding radius of {radius:.3g})")
    if volume < 0:
        volume, faces = -volume, faces[:, ::-1]
    stray = _inside_out_bodies(vertices, faces)
    if stray:
        bodies = "1 body of the mesh is" if stray == 1 else f"{stray} bodies of the mesh are"
        raise MeshError(f"{bodies} inside out and not a cavity of another body; flip its faces")
    return Solid(name, vertices, np.ascontiguousarray(faces), com, centre, radius, volume)


def _inside_out_bodies(vertices: Float, faces: Int) -> int:
    """Count bodies that are wound inside out and not cavities: in no other body's bounding box."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = coo_array((np.ones(len(edges), bool), edges.T), (len(vertices), len(vertices)))
    num, body = connected_components(graph, directed=False)
    if num == 1:
        return 0
    low, high = np.full((num, 3), np.inf), np.full((num, 3), -np.inf)
    np.minimum.at(low, body, vertices)
    np.maximum.at(high, body, vertices)
    a, b, c = (vertices - vertices.mean(axis=0))[faces.T]
    volume = np.bincount(body[faces[:, 0]], np.einsum("fd,fd->f", a, np.cross(b, c)), num)
    hosts = np.flatnonzero(volume > 0)
    cavities = np.flatnonzero(volume < 0)
    around = np.all((low[hosts] <= low[cavities, None]) & (high[hosts] >= high[cavities, None]), axis=-1)
    return int(np.sum(~np.any(around, axis=1)))


def _make_shell_record(name: str, vertices: Float, faces: Int) -> Solid:
    vertices, faces = _tidy(vertices, faces)
    com = shell_centroid(vertices, faces)
    joined, joined_faces = _join_vertices(vertices, faces)
    volume = abs(solid_properties(joined, joined_faces)[0]) if open_reason(joined_faces) is None else 0.0
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
            f"{num} {'vertex is' if num == 1 else 'vertices are'} not finite; export the mesh again"
        )
    if np.abs(vertices).max() > _FARTHEST:
        raise MeshError(
            f"a coordinate of {np.abs(vertices).max():.3g} m is too large; fix the mesh or its scale"
        )
    return vertices, faces


def _join_vertices(vertices: Float, faces: Int) -> tuple[Float, Int]:
    """Merge vertices at exactly the same position."""
    order = np.lexsort(vertices.T)
    ordered = vertices[order]
    first = np.ones(len(vertices), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    new_idx = np.empty(len(vertices), np.int64)
    new_idx[order] = np.cumsum(first) - 1
    return ordered[first], new_idx[faces]


# ---------------------------------------------------------------------------------------- properties


def open_reason(faces: Int) -> str | None:
    """Say why faces do not form a closed, consistently wound surface.

    Args:
        faces: ``[F, 3]`` vertex indices.

    Returns:
        None if every edge lies between exactly two faces that traverse it in opposite directions;
        otherwise one phrase that counts the edges where this is not so.
    """
    num = int(faces.max(initial=-1)) + 1
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    directed = np.sort(start * num + end)
    if (
        len(faces)
        and np.array_equal(directed, np.sort(end * num + start))
        and (directed[1:] != directed[:-1]).all()
    ):
        return None
    edge, count = np.unique(np.minimum(start, end) * num + np.maximum(start, end), return_counts=True)
    forward = np.isin(edge, directed, assume_unique=False)
    backward = np.isin(edge % num * num + edge // num, directed)
    counts = {
        "open at {} boundary edge{}": int((count == 1).sum()),
        "more than two faces meet at {} edge{}": int((count > 2).sum()),
        "faces are wound against each other across {} edge{}": int(
            ((count == 2) & (forward != backward)).sum()
        ),
    }
    phrases = [text.format(n, "s" if n > 1 else "") for text, n in counts.items() if n]
    return ", ".join(phrases) or "there are no faces"


def solid_properties(vertices: Float, faces: Int) -> tuple[float, Float]:
    """Compute volume and centre of mass of the body of uniform density inside a closed mesh.

    Uses the divergence theorem: the signed tetrahedra between a reference point and every face add up
    to the body. The reference is the centre of the bounding box, so that a body far from the origin
    loses no precision. Equivariant to rotation, translation and reflection. If the mesh is inside out, the
    volume is negative and the centre of mass is still right.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[F, 3]``, closed and consistently wound (see :func:`open_reason`).

    Returns:
        The volume, and the ``[3]`` centre of mass (NaN if the volume is zero), float64.
    """
    origin = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    a, b, c = (np.asarray(vertices, np.float64) - origin)[faces.T]
    six_volumes = np.einsum("fd,fd->f", a, np.cross(b, c))
    total = six_volumes.sum()
    if total == 0:
        return 0.0, np.full(3, np.nan)
    return float(total / 6), origin + _weighted_sum(six_volumes, a + b + c) / (4 * total)


def _weighted_sum(weights: Float, vectors: Float) -> Float:
    """Compute ``weights @ vectors``; a matrix product's last bits would depend on the number of threads."""
    result: Float = (weights * np.ascontiguousarray(vectors.T)).sum(axis=1)
    return result


def shell_centroid(vertices: Float, faces: Int) -> Float:
    """Compute the centre of mass of the surface itself, with uniform thickness; the surface may be open.

    Args:
        vertices: ``[V, 3]``.
        faces: ``[F, 3]``, with any winding.

    Returns:
        ``[3]`` float64.

    Raises:
        MeshError: the surface has no area.
    """
    origin = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    a, b, c = (np.asarray(vertices, np.float64) - origin)[faces.T]
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if not areas.sum() > 0:
        raise MeshError("the mesh has no area")
    result: Float = origin + _weighted_sum(areas, a + b + c) / (3 * areas.sum())
    return result
