"""The scene of a COLLADA file: what its nodes place, and where."""

from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.collada_xml import Document, floats, label
from plumbline.geometry.mesh_formats.parts import check_size, show
from plumbline.records import Float

_SIZES = {"lookat": 9, "matrix": 16, "rotate": 4, "scale": 3, "translate": 3}
"""The numbers in each kind of transform."""
_OTHERS = frozenset({"asset", "extra", "instance_camera", "instance_light"})
"""What a node may hold that has no surface."""
_AFFINE = 1e-6
"""Largest difference of a matrix's last row from 0, 0, 0, 1."""


class Placed(NamedTuple):
    """Something that a node places.

    Attributes:
        instance: an ``instance_geometry`` or ``instance_controller``.
        matrix: ``[4, 4]`` from the node to the file's frame.
        node: the node.
    """

    instance: Element
    matrix: Float
    node: Element


@dataclass(slots=True)
class Scene:
    """What a scene places.

    Attributes:
        placed: each geometry and controller, once for each time that it is placed.
        nodes: by node, its transform to the file's frame, once for each time that it is placed.
        roots: the outermost nodes.
    """

    placed: list[Placed] = field(default_factory=list)
    nodes: dict[Element, list[Float]] = field(default_factory=dict)
    roots: list[Element] = field(default_factory=list)


def find_visual_scene(document: Document) -> Element | None:
    """Find the visual scene that the file shows; None if it has no visual scene at all.

    Raises:
        MeshError: the file does not say which of several it shows, or names one that it does not have.
    """
    shown = document.root.findall("scene/instance_visual_scene")
    if len(shown) > 1:
        raise MeshError(f"shows {len(shown)} visual scenes; export one")
    if shown:
        return document.find(shown[0].get("url"), "visual_scene", "shows a scene")
    scenes = document.root.findall("library_visual_scenes/visual_scene")
    if len(scenes) > 1:
        raise MeshError(f"has {len(scenes)} visual scenes and does not say which it shows; export one")
    return scenes[0] if scenes else None


def read_scene(document: Document, visual_scene: Element) -> Scene:
    """Walk through the nodes of a scene.

    Raises:
        MeshError: a node is damaged, contains itself, or its content is unknown or not in the file.
    """
    for one in visual_scene:
        if one.tag not in ("asset", "evaluate_scene", "extra", "node"):
            raise MeshError(f"has {show(one.tag)} in its visual scene, which is not known; export it again")
    scene = Scene(roots=visual_scene.findall("node"))
    transforms: dict[Element, Float] = {}
    entered: set[Element] = set()
    num = 0
    # A node is pushed a second time, without a matrix, below its content: when popped, it has been left.
    stack: list[tuple[Element, Float | None]] = [(node, np.eye(4)) for node in reversed(scene.roots)]
    while stack:
        node, outer = stack.pop()
        if outer is None:
            entered.remove(node)
            continue
        if node in entered:
            raise MeshError(f"is damaged: node {label(node)} contains itself; export it again")
        num += 1
        check_size(num, 0)
        entered.add(node)
        stack.append((node, None))
        if node not in transforms:
            transforms[node] = _read_transform(node)
        matrix = outer @ transforms[node]
        scene.nodes.setdefault(node, []).append(matrix)
        for one in reversed(node):
            if one.tag in ("instance_geometry", "instance_controller"):
                scene.placed.append(Placed(one, matrix, node))
            elif one.tag == "node":
                stack.append((one, matrix))
            elif one.tag == "instance_node":
                stack.append((document.find(one.get("url"), "node", "places a node"), matrix))
    return scene


def _read_transform(node: Element) -> Float:
    """Multiply the transforms of a node, the last of which is applied first: ``[4, 4]``."""
    matrix = np.eye(4)
    for one in node:
        if one.tag == "skew":
            raise MeshError(
                f"skews node {label(node)}, which programs do in different ways; apply its transforms, then "
                "export it again"
            )
        if one.tag in _SIZES:
            values = floats(one)
            if len(values) != _SIZES[one.tag]:
                raise MeshError(
                    f"is damaged: a <{one.tag}> of node {label(node)} has {len(values)} numbers instead of "
                    f"{_SIZES[one.tag]}; export it again"
                )
            if not np.isfinite(values).all():
                raise MeshError(
                    f"is damaged: the <{one.tag}> of node {label(node)} is not finite; export it again"
                )
            with np.errstate(all="ignore"):  # products that overflow are refused where they place something
                matrix = matrix @ _make_matrix(one.tag, values, node)
        elif one.tag not in _OTHERS and one.tag != "node" and not one.tag.startswith("instance_"):
            raise MeshError(f"has {show(one.tag)} in node {label(node)}, which is not known; export it again")
    return matrix


def _make_matrix(kind: str, values: Float, node: Element) -> Float:
    matrix: Float = np.eye(4)
    if kind == "matrix":
        matrix = values.reshape(4, 4)
        if np.abs(matrix[3] - [0, 0, 0, 1]).max() > _AFFINE:
            raise MeshError(
                f"is damaged: the last row of the <matrix> of node {label(node)} is not 0 0 0 1; export it "
                "again"
            )
    elif kind == "translate":
        matrix[:3, 3] = values
    elif kind == "scale":
        matrix[:3, :3] = np.diag(values)
    elif kind == "rotate":
        matrix[:3, :3] = _rotation(values[:3], np.deg2rad(values[3]), node)
    else:
        matrix[:3, :3], matrix[:3, 3] = _looking(values.reshape(3, 3), node), values[:3]
    return matrix


def _rotation(axis: Float, angle: float, node: Element) -> Float:
    if angle == 0:
        return np.eye(3)
    x, y, z = axis = _unit(axis, node)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: Float = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation


def _looking(view: Float, node: Element) -> Float:
    """Compute the axes ``[3, 3]`` of a frame whose -z points from eye to target, with y upwards."""
    eye, target, up = view
    back = _unit(eye - target, node)
    right = _unit(np.cross(up, back), node)
    return np.stack([right, np.cross(back, right), back], axis=1)


def _unit(vector: Float, node: Element) -> Float:
    length = np.linalg.norm(vector)
    if not 0 < length < np.inf:
        raise MeshError(
            f"is damaged: node {label(node)} turns around an axis without direction; export it again"
        )
    unit: Float = vector / length
    return unit
