"""The nodes of a glTF file: which ones the scene shows, and where they are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from plumbline.geometry.mesh_formats.gltf_buffers import Accessors
from plumbline.geometry.mesh_formats.gltf_json import (
    GltfError,
    Record,
    pick,
    read_flag,
    read_numbers,
    read_record,
    read_records,
    read_whole,
    read_wholes,
)
from plumbline.geometry.mesh_formats.parts import note_left_out
from plumbline.records import Float

_UNIT = 0.02
"""Largest difference of a quaternion's length from 1; that of 8-bit ones is up to 0.008."""
_MATRIX_BYTES = 128
_IDENTITY = np.eye(4).ravel().tolist()


@dataclass(frozen=True, slots=True)
class NodeTree:
    """The nodes of a file.

    Attributes:
        nodes: their records.
        matrices: ``[nodes, 4, 4]`` from the frame of each node to that of the file.
        shown: indices of the nodes that the scene shows.
        notes: sentences about those that are left out.
    """

    nodes: list[Record]
    matrices: Float
    shown: list[int]
    notes: tuple[str, ...]


def read_nodes(root: Record) -> NodeTree:
    """Read the tree of nodes, and find those of the default scene.

    The default scene is the declared one, otherwise the first one; without scenes, all nodes are shown.

    Raises:
        MeshError: the nodes are not a tree, or not valid.
    """
    nodes = read_records(root, "nodes")
    children = [read_wholes(node, "children") for node in nodes]
    parents: dict[int, int] = {}
    for parent, own in enumerate(children):
        for child in own:
            pick(nodes, child, "node")
            if child in parents:
                raise GltfError(f"node {child} is part of two nodes")
            parents[child] = parent
    matrices = np.zeros((len(nodes), 4, 4))
    roots = [index for index in range(len(nodes)) if index not in parents]
    order = list(roots)
    for index in order:
        local = _local_matrix(nodes[index])
        matrices[index] = matrices[parents[index]] @ local if index in parents else local
        order += children[index]
    if len(order) < len(nodes):
        raise GltfError("a node contains itself")
    start = _start(root, nodes, parents, roots)
    return NodeTree(nodes, matrices, *_walk(nodes, children, matrices, start))


def _start(root: Record, nodes: list[Record], parents: dict[int, int], roots: list[int]) -> list[int]:
    """List the nodes that the default scene names."""
    scenes = read_records(root, "scenes")
    if not scenes and "scene" not in root:
        return roots
    start = read_wholes(pick(scenes, read_whole(root, "scene", 0), "scene"), "nodes")
    for index in start:
        pick(nodes, index, "node")
        if index in parents:
            raise GltfError(f"its scene names node {index}, which is part of another node")
    if len(set(start)) < len(start):
        raise GltfError("its scene names a node twice")
    return start


def _walk(
    nodes: list[Record], children: list[list[int]], matrices: Float, start: list[int]
) -> tuple[list[int], tuple[str, ...]]:
    """List the visible nodes below some nodes, and notes on what is left out."""
    coarse = _coarse_levels(nodes)
    shown: list[int] = []
    order = list(start)
    for index in order:
        visibility = read_record(read_record(nodes[index], "extensions"), "KHR_node_visibility")
        if index not in coarse and read_flag(visibility, "visible", True):
            shown.append(index)
            order += children[index]
    with_mesh = {index for index, node in enumerate(nodes) if "mesh" in node}
    away, coarse = with_mesh - coarse - set(shown), coarse & with_mesh
    notes = []
    if away:
        notes.append(note_left_out(len(away), "object", " that the scene does not show"))
    if coarse:
        notes.append(note_left_out(len(coarse), "coarser level", " of detail"))
    return shown, tuple(notes)


def _coarse_levels(nodes: list[Record]) -> set[int]:
    """Find the nodes that are coarser versions of another node."""
    fine, coarse = set(), set()
    for index, node in enumerate(nodes):
        if levels := read_wholes(read_record(read_record(node, "extensions"), "MSFT_lod"), "ids"):
            fine.add(index)
            coarse.update(levels)
    if fine & coarse:
        raise GltfError("a coarser level of detail has coarser levels itself")
    return coarse


# -------------------------------------------------------------------------------------------- transforms


def _local_matrix(node: Record) -> Float:
    """Compute the transform of a node within its parent: ``[4, 4]``."""
    matrix = read_numbers(node, "matrix", _IDENTITY).reshape(4, 4).T
    if (matrix[3] != (0, 0, 0, 1)).any():
        raise GltfError("the matrix of a node is not affine")
    if not node.keys() & {"translation", "rotation", "scale"}:
        return matrix
    composed: Float = _compose(
        read_numbers(node, "translation", [0, 0, 0])[None],
        read_numbers(node, "rotation", [0, 0, 0, 1])[None],
        read_numbers(node, "scale", [1, 1, 1])[None],
    )[0]
    if "matrix" in node and not np.allclose(matrix, composed):
        raise GltfError("a node has a matrix, and a translation, rotation or scale that differs from it")
    return composed


def _compose(translations: Float, rotations: Float, scales: Float) -> Float:
    """Compose transforms ``[n, 4, 4]`` that scale, then rotate, then move.

    Args:
        translations: ``[n, 3]``.
        rotations: ``[n, 4]`` quaternions x, y, z, w.
        scales: ``[n, 3]``.
    """
    lengths = np.linalg.norm(rotations, axis=1, keepdims=True)
    if not (np.abs(lengths - 1) <= _UNIT).all():
        raise GltfError("a rotation is not a unit quaternion")
    x, y, z, w = (rotations / lengths).T
    matrices = np.zeros((len(translations), 4, 4))
    turns = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrices[:, :3, :3] = np.array(turns).transpose(2, 0, 1) * scales[:, None, :]
    matrices[:, :3, 3] = translations
    matrices[:, 3, 3] = 1
    return matrices


def node_matrices(tree: NodeTree, index: int, accessors: Accessors) -> Iterator[Float]:
    """Yield the ``[4, 4]`` transform to the frame of the file of each copy of a node's mesh.

    There is one copy, unless the node has instances.

    Raises:
        MeshError: the instances are not valid.
    """
    extensions = read_record(tree.nodes[index], "extensions")
    if "EXT_mesh_gpu_instancing" not in extensions:
        yield tree.matrices[index]
        return
    attributes = read_record(read_record(extensions, "EXT_mesh_gpu_instancing"), "attributes")
    counts = {accessors.count(read_whole(attributes, name)) for name in attributes}
    if len(counts) != 1:
        raise GltfError("the instances of a mesh have lists of unequal length")
    [num] = counts
    accessors.charge(num * _MATRIX_BYTES)

    def read(name: str, form: str, default: list[float]) -> Float:
        if name in attributes:
            return accessors.read_vectors(read_whole(attributes, name), form)
        return np.broadcast_to(np.array(default, float), (num, len(default)))

    locals_ = _compose(
        read("TRANSLATION", "VEC3", [0, 0, 0]),
        read("ROTATION", "VEC4", [0, 0, 0, 1]),
        read("SCALE", "VEC3", [1, 1, 1]),
    )
    yield from tree.matrices[index] @ locals_
