"""The controllers of a COLLADA file, at rest: skins with joints, and morphs."""

from xml.etree.ElementTree import Element

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.collada_geometry import Geometries, read_source
from plumbline.geometry.mesh_formats.collada_scene import Scene
from plumbline.geometry.mesh_formats.collada_xml import (
    Document,
    attribute,
    check_count,
    child,
    floats,
    integers,
    label,
)
from plumbline.geometry.mesh_formats.parts import Part, check_indices, show
from plumbline.records import Float, Int

_WHOLE = 0.1
"""Largest difference of the sum of a vertex's weights from 1; weights are scaled to a sum of 1."""


def read_controller(
    document: Document, scene: Scene, instance: Element, matrix: Float, geometries: Geometries
) -> tuple[Part, Float]:
    """Read the surface that an ``instance_controller`` places, with its joints and weights at rest.

    Args:
        document: the file.
        scene: has the transforms of the joints.
        instance: the ``instance_controller``.
        matrix: ``[4, 4]`` transform of its node.
        geometries: of the file.

    Returns:
        The part, and its transform to the file's frame: the identity for a skin, which its joints place.

    Raises:
        MeshError: the controller is damaged, or not supported.
    """
    controller = document.find(instance.get("url"), "controller", "places a controller")
    if (skin := controller.find("skin")) is None:
        return _read_morph(document, controller, geometries), matrix
    part = _read_target(document, skin, geometries)
    joints = _find_joints(document, scene, instance, controller)
    return _bend(document, part, skin, joints, label(controller)), np.eye(4)


def _read_target(document: Document, skin: Element, geometries: Geometries) -> Part:
    target = document.find(skin.get("source"), "geometry controller", "skins a geometry")
    if target.tag == "controller":
        return _read_morph(document, target, geometries)
    return geometries.read(target)


# ------------------------------------------------------------------------------------------- morphs


def _read_morph(document: Document, controller: Element, geometries: Geometries) -> Part:
    """Blend a geometry with its targets by their weights."""
    morph = child(controller, "morph")
    base = geometries.read(document.find(morph.get("source"), "geometry", "morphs a geometry"))
    targets = child(morph, "targets")
    names = _read_names(document, _input(document, targets, "MORPH_TARGET", morph))
    weights = read_source(document, _input(document, targets, "MORPH_WEIGHT", morph)).rows
    if weights.shape != (len(names), 1):
        raise MeshError(
            f"is damaged: morph {label(controller)} does not have one weight for each target; export it again"
        )
    method = morph.get("method", "NORMALIZED")
    if method not in ("NORMALIZED", "RELATIVE"):
        raise MeshError(
            f"has the unknown method {show(method)} in morph {label(controller)}; export it again"
        )
    vertices = base.vertices * (1 - weights.sum() if method == "NORMALIZED" else 1)
    for name, (weight,) in zip(names, weights, strict=True):
        target = geometries.read(document.find(f"#{name}", "geometry", "morphs to a geometry"))
        if target.vertices.shape != vertices.shape:
            raise MeshError(
                f"is damaged: a target of morph {label(controller)} has another number of vertices; export "
                "it again"
            )
        vertices = vertices + weight * target.vertices
    return Part(vertices, base.faces)


# -------------------------------------------------------------------------------------------- skins


def _find_joints(document: Document, scene: Scene, instance: Element, controller: Element) -> Float:
    """Find the joints of a skin in the scene: ``[J, 4, 4]``, from the frame of each to the file's."""
    skin = child(controller, "skin")
    source = _input(document, child(skin, "joints"), "JOINT", skin)
    names = _read_names(document, source)
    by_id = source.find("IDREF_array") is not None
    roots = [document.find((one.text or "").strip(), "node", "binds a skin to a node")
             for one in instance.findall("skeleton")]  # fmt: skip
    by_sid: dict[str, set[Element]] = {}
    for root in roots or scene.roots:
        for node in root.iter("node"):
            by_sid.setdefault(node.get("sid", ""), set()).add(node)
    matrices: list[Float] = [np.zeros((0, 4, 4))]
    for name in names:
        found = [document.find(f"#{name}", "node", "uses a joint")] if by_id else list(by_sid.get(name, ()))
        places = [matrix for node in found for matrix in scene.nodes.get(node, [])]
        if len(places) != 1:
            raise MeshError(
                f"binds skin {label(controller)} to joint {show(name)}, which is in the scene {len(places)} "
                "times; export it with its skeleton, or without"
            )
        matrices.append(places[0][None])
    return np.concatenate(matrices)


def _bend(document: Document, part: Part, skin: Element, joints: Float, name: str) -> Part:
    """Move each vertex by the weighted mean of the movements of its joints since they were bound."""
    shape = np.eye(4)
    if (element := skin.find("bind_shape_matrix")) is not None:
        shape = _matrices(floats(element)[None], name)[0]
    rows = read_source(document, _input(document, child(skin, "joints"), "INV_BIND_MATRIX", skin)).rows
    inverse = _matrices(rows, name)
    if len(inverse) != len(joints):
        raise MeshError(
            f"is damaged: skin {name} has {len(inverse)} matrices for {len(joints)} joints; export it again"
        )
    with np.errstate(all="ignore"):  # what is not finite is refused where the mesh is used
        # The last one belongs to index -1, which means the shape as it was bound.
        moves = np.concatenate([joints @ inverse, np.eye(4)[None]]) @ shape
    owner, joint, weight = _read_weights(document, skin, len(part.vertices), name)
    if joint.size and not -1 <= joint.min() <= joint.max() < len(joints):
        wrong = joint.min() if joint.min() < -1 else joint.max()
        raise MeshError(f"is damaged: skin {name} uses joint {wrong} of {len(joints)}; export it again")
    total = np.bincount(owner, weight, len(part.vertices))
    if odd := int((~(np.abs(total - 1) < _WHOLE)).sum()):
        raise MeshError(
            f"is damaged: the weights of {odd} of {len(total)} vertices of skin {name} do not sum to 1; "
            "export "
            "it again"
        )
    with np.errstate(all="ignore"):
        moved = np.einsum("eij,ej->ei", moves[joint, :3, :3], part.vertices[owner]) + moves[joint, :3, 3]
        moved *= (weight / total[owner])[:, None]
        mirrored = np.linalg.det(moves[np.unique(joint[weight != 0]), :3, :3]) < 0
    if mirrored.any() and not mirrored.all():
        raise MeshError(
            f"mirrors a part of skin {name}, which is not supported; export it without its skeleton"
        )
    vertices: Float = np.stack([np.bincount(owner, axis, len(part.vertices)) for axis in moved.T], axis=1)
    return Part(vertices, part.faces[:, ::-1] if mirrored.any() else part.faces)


def _matrices(rows: Float, name: str) -> Float:
    if rows.shape[1] != 16:
        raise MeshError(f"is damaged: skin {name} has a matrix of {rows.shape[1]} numbers; export it again")
    matrices = rows.reshape(-1, 4, 4)
    if not np.isfinite(matrices).all() or (matrices[:, 3] != [0, 0, 0, 1]).any():
        raise MeshError(
            f"is damaged: the last row of a matrix of skin {name} is not 0 0 0 1; export it again"
        )
    return matrices


def _read_weights(document: Document, skin: Element, num: int, name: str) -> tuple[Int, Int, Float]:
    """Read which joints move which vertices: the vertex, joint and weight of each pair, ``[E]``."""
    element = child(skin, "vertex_weights")
    counts, pairs = integers(child(element, "vcount")), integers(child(element, "v"))
    check_count(element, len(counts))
    offsets = {one.get("semantic"): attribute(one, "offset") for one in element.findall("input")}
    stride = 1 + max(offsets.values(), default=0)
    if not {"JOINT", "WEIGHT"} <= offsets.keys() or len(counts) != num:
        raise MeshError(
            f"is damaged: skin {name} has weights for {len(counts)} of {num} vertices; export it again"
        )
    if (counts < 0).any() or (counts > len(pairs)).any() or counts.sum() * stride != len(pairs):
        raise MeshError(
            f"is truncated or damaged: skin {name} has {len(pairs)} indices of joints and weights; export it "
            "again"
        )
    pairs = pairs.reshape(-1, stride)
    weights = read_source(document, _input(document, element, "WEIGHT", skin)).rows
    indices = pairs[:, offsets["WEIGHT"]]
    check_indices(indices, len(weights))
    return np.repeat(np.arange(num), counts), pairs[:, offsets["JOINT"]], weights[indices, 0]


# ------------------------------------------------------------------------------------------- inputs


def _input(document: Document, element: Element, semantic: str, within: Element) -> Element:
    """Find the source of an input."""
    found = [one for one in element.findall("input") if one.get("semantic") == semantic]
    if len(found) != 1:
        raise MeshError(f"is damaged: <{element.tag}> has {len(found)} inputs {semantic}; export it again")
    return document.find(found[0].get("source"), "source", "uses a source", within=within)


def _read_names(document: Document, source: Element) -> list[str]:
    for tag in ("Name_array", "IDREF_array", "SIDREF_array"):
        if (array := source.find(tag)) is not None:
            names = (array.text or "").split()
            check_count(array, len(names))
            return names
    raise MeshError(f"is damaged: source {label(source)} has no names; export it again")
