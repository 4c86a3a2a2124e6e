"""Mesh files in glTF 2.0: ``.gltf`` and ``.glb``.

The default scene is read at rest: with its instances, the declared weights of its morph targets and the pose
of its skeletons, without animations. Materials and textures are never opened.
"""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.gltf_buffers import Accessors
from plumbline.geometry.mesh_formats.gltf_extensions import refuse_unread
from plumbline.geometry.mesh_formats.gltf_json import (
    GltfError,
    Record,
    check_version,
    pick,
    read_all_numbers,
    read_container,
    read_name,
    read_record,
    read_records,
    read_texts,
    read_whole,
    read_wholes,
)
from plumbline.geometry.mesh_formats.gltf_nodes import NodeTree, node_matrices, read_nodes
from plumbline.geometry.mesh_formats.parts import (
    MeshContent,
    Part,
    check_indices,
    join_parts,
    note_left_out,
    place_part,
)
from plumbline.geometry.polygons import triangulate_fans, triangulate_strips
from plumbline.records import Float, Int

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
"""Modes of a primitive; smaller ones are points and lines."""
_WEIGHTS_OFF = 0.02
"""Largest difference of the sum of a vertex's weights from 1; that of four 8-bit ones is up to 0.008."""


class _Primitive(NamedTuple):
    """A piece of a mesh.

    Attributes:
        part: its vertices and triangles.
        attributes: the accessors of its vertices, by name.
        total: number of elements of those accessors.
        rows: ``[V]`` elements that are its vertices, or all.
    """

    part: Part
    attributes: Record
    total: int
    rows: Int | slice


def read_gltf(path: Path) -> MeshContent:
    """Read a ``.gltf`` or ``.glb`` file. Its unit is the metre, its up is y.

    Raises:
        MeshError: the file is damaged, or uses a feature that is not supported; the message is the reason
            without the path.
        OSError: the file, or one that it refers to, cannot be read.
    """
    with np.errstate(all="ignore"):  # numbers that overflow are refused by the caller
        return _read(path)


def _read(path: Path) -> MeshContent:
    container = read_container(path)
    check_version(container.root)
    refuse_unread(read_texts(container.root, "extensionsRequired"))
    tree, accessors = read_nodes(container.root), Accessors(container)
    meshes, skins = read_records(container.root, "meshes"), read_records(container.root, "skins")
    users: dict[tuple[int, tuple[float, ...]], list[int]] = defaultdict(list)
    for index in tree.shown:
        if "mesh" in (node := tree.nodes[index]):
            weighted = node if "weights" in node else pick(meshes, read_whole(node, "mesh"), "mesh")
            weights = tuple(read_all_numbers(weighted, "weights").tolist())
            users[read_whole(node, "mesh"), weights].append(index)

    parts: list[Part] = []
    flat = without_surface = 0
    for (mesh, weights), indices in users.items():
        record = pick(meshes, mesh, "mesh")
        primitives = _read_mesh(record, weights, accessors)
        size = sum(one.part.vertices.nbytes + one.part.faces.nbytes for one in primitives)
        without_surface += len(indices) * (not primitives)
        for index in indices:
            node = tree.nodes[index]
            name = read_name(node) or read_name(record)
            for matrix in node_matrices(tree, index, accessors):
                accessors.charge(size)
                if "skin" in node:
                    skin = pick(skins, read_whole(node, "skin"), "skin")
                    bent = [_bend(primitive, skin, tree, accessors) for primitive in primitives]
                    parts += [part._replace(name=name) for part in bent]
                elif matrix[:3, :3].any():
                    parts += [place_part(primitive.part, matrix, name) for primitive in primitives]
                else:  # how animations hide a part
                    flat += 1
    notes = [*tree.notes]
    if flat:
        notes.append(note_left_out(flat, "object", " of size 0"))
    if without_surface:
        notes.append(note_left_out(without_surface, "object", " of points or lines"))
    return join_parts(parts, notes)


# ------------------------------------------------------------------------------------------------ meshes


def _read_mesh(mesh: Record, weights: tuple[float, ...], accessors: Accessors) -> list[_Primitive]:
    """Read the primitives of a mesh that have a surface, with its morph targets applied."""
    primitives = []
    for record in read_records(mesh, "primitives"):
        mode = read_whole(record, "mode", _TRIANGLES)
        if mode > _FAN:
            raise GltfError(f"a mesh has primitives of the unknown mode {mode}")
        if mode < _TRIANGLES:
            continue
        attributes = read_record(record, "attributes")
        _check_numbers(record, attributes, accessors)
        total = accessors.count(read_whole(attributes, "POSITION"))
        faces, rows = _keep_used(_read_faces(record, mode, total, accessors), total)
        vertices = accessors.read_vectors(read_whole(attributes, "POSITION"), "VEC3", rows)
        targets = read_records(record, "targets")
        if targets and weights and len(targets) != len(weights):
            raise GltfError(f"a mesh has {len(weights)} weights for {len(targets)} morph targets")
        for target, weight in zip(targets, weights, strict=False):
            if weight and "POSITION" in target:
                moves = _find_attribute(target, "POSITION", total, accessors)
                vertices += weight * accessors.read_vectors(moves, "VEC3", rows)
        primitives.append(_Primitive(Part(vertices, faces), attributes, total, rows))
    return primitives


def _find_attribute(attributes: Record, key: str, total: int, accessors: Accessors) -> int:
    """Find the accessor of an attribute of vertices, and check that it has an element for each."""
    index = read_whole(attributes, key)
    if (count := accessors.count(index)) != total:
        raise GltfError(f"{key} has {count} elements for {total} vertices")
    return index


def _check_numbers(record: Record, attributes: Record, accessors: Accessors) -> None:
    """Refuse a primitive whose numbers are in an extension, as compressed ones are."""
    sources = [
        read_whole(owner, key)
        for owner, key in ((attributes, "POSITION"), (record, "indices"))
        if key in owner
    ]
    missing = [source for source in sources if not accessors.has_base(source)]
    if "POSITION" not in attributes or missing:
        refuse_unread(read_record(record, "extensions"))
    if "POSITION" not in attributes or not all(map(accessors.is_sparse, missing)):
        raise GltfError("a mesh has primitives without vertices, or with numbers that are not in the file")


def _keep_used(faces: Int, total: int) -> tuple[Int, Int | slice]:
    """Drop unused vertices if many are, as where all primitives of a file share its vertices.

    Returns:
        ``[F, 3]`` the renumbered faces, and ``[V]`` the vertices that they use, or all.
    """
    if faces.size >= total:
        return faces, slice(None)
    used, places = np.unique(faces, return_inverse=True)
    return places.reshape(faces.shape), used


def _read_faces(record: Record, mode: int, num_vertices: int, accessors: Accessors) -> Int:
    """Read the triangles ``[F, 3]`` of a primitive."""
    if "indices" in record:
        raw = accessors.read_whole_numbers(read_whole(record, "indices"), "SCALAR")[:, 0]
        if raw.size and raw.max() == np.iinfo(raw.dtype).max:
            raise GltfError(f"a face uses the index {raw.max()}, which is reserved")
        check_indices(raw, num_vertices)
        corners = raw.astype(np.int64)
    else:
        corners = np.arange(num_vertices)
    if mode == _TRIANGLES:
        if len(corners) % 3:
            raise GltfError(f"a mesh has {len(corners)} corners of triangles, not a multiple of 3")
        return corners.reshape(-1, 3)
    if len(corners) < 3:
        raise GltfError(f"a mesh has a strip or fan of {len(corners)} corners")
    cut = triangulate_fans if mode == _FAN else triangulate_strips
    return cut(np.array([len(corners)]), corners)


# ----------------------------------------------------------------------------------------------- skins


def _bend(primitive: _Primitive, skin: Record, tree: NodeTree, accessors: Accessors) -> Part:
    """Place a primitive by the joints of a skin; the transform of its own node does not count."""
    joints, weights = _read_influences(primitive, accessors)
    matrices = _joint_matrices(skin, tree, accessors)
    used = joints[weights != 0]
    if used.size and used.max() >= len(matrices):
        raise GltfError(f"a vertex follows joint {used.max()} of {len(matrices)}")
    signs = np.sign(np.linalg.det(matrices[np.unique(used), :3, :3]))
    if not ((signs == 1).all() or (signs == -1).all()):
        raise MeshError("a skeleton flattens its mesh, or mirrors a part of it; export it in its rest pose")
    vertices, faces, _ = primitive.part
    bent = np.zeros_like(vertices)
    for joint, weight in zip(joints.T, weights.T, strict=True):
        # The joint of a weight of 0 may be any number.
        matrix = matrices[np.where(weight != 0, joint, 0)]
        moved = np.einsum("vij,vj->vi", matrix[:, :3, :3], vertices) + matrix[:, :3, 3]
        bent += weight[:, None] * moved
    return Part(bent, faces[:, ::-1] if (signs == -1).any() else faces)


def _read_influences(primitive: _Primitive, accessors: Accessors) -> tuple[Int, Float]:
    """Read joints and weights of each vertex: ``[V, k]`` both; the weights of a vertex sum to 1."""
    joints: list[Int] = []
    weights: list[Float] = []
    _, attributes, total, rows = primitive
    while (key := f"JOINTS_{len(joints)}") in attributes:
        index = _find_attribute(attributes, key, total, accessors)
        joints.append(accessors.read_whole_numbers(index, "VEC4", rows))
        index = _find_attribute(attributes, f"WEIGHTS_{len(weights)}", total, accessors)
        weights.append(accessors.read_vectors(index, "VEC4", rows))
    if not joints:
        raise GltfError("a mesh with a skin has no joints")
    weight = np.concatenate(weights, axis=1)
    sums = weight.sum(axis=1, keepdims=True)
    if not (np.abs(sums - 1) <= _WEIGHTS_OFF).all():
        raise GltfError("the weights of a vertex of a mesh with a skin do not sum to 1")
    return np.concatenate(joints, axis=1).astype(np.int64), weight / sums


def _joint_matrices(skin: Record, tree: NodeTree, accessors: Accessors) -> Float:
    """Compute the transforms ``[joints, 4, 4]`` from the frame of a mesh to that of the file."""
    nodes = read_wholes(skin, "joints")
    for node in nodes:
        pick(tree.nodes, node, "node")
    if not nodes:
        raise GltfError("a skin has no joints")
    matrices = tree.matrices[nodes]
    if "inverseBindMatrices" in skin:
        columns = accessors.read_vectors(read_whole(skin, "inverseBindMatrices"), "MAT4")
        if len(columns) < len(nodes):
            raise GltfError(f"a skin has {len(columns)} matrices for {len(nodes)} joints")
        matrices = matrices @ columns[: len(nodes)].reshape(-1, 4, 4).transpose(0, 2, 1)
    if not np.isfinite(matrices).all() or not np.allclose(matrices[:, 3], (0, 0, 0, 1)):
        raise GltfError("a joint is placed by a matrix that is not finite, or not affine")
    return matrices
