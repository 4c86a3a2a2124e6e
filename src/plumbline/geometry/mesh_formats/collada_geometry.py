"""The geometries of a COLLADA file: sources of numbers, and primitives cut into triangles."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from plumbline.errors import MeshError
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
from plumbline.geometry.polygons import (
    triangulate_fans,
    triangulate_polygons,
    triangulate_strips,
    triangulate_with_holes,
)
from plumbline.records import Float, Int

_NO_SURFACE = frozenset({"asset", "extra", "lines", "linestrips", "source", "vertices"})
_MOST_INPUTS = 256
"""Most indices of a corner; more come from damaged bytes."""


class Geometries:
    """The geometries of a file, each read once, when it is first used.

    Attributes:
        parts: by geometry, its surface in its own frame.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self.parts: dict[Element, Part] = {}

    def read(self, geometry: Element) -> Part:
        """Read the surface of a geometry; lines and splines have none.

        Raises:
            MeshError: the geometry is damaged, or of a kind that is not supported.
        """
        if geometry not in self.parts:
            self.parts[geometry] = _read_geometry(self._document, geometry)
        return self.parts[geometry]


class Source(NamedTuple):
    """What an accessor reads from its array.

    Attributes:
        rows: ``[count, stride]``.
        names: names of the values in a row, in order; a value without a name is skipped.
    """

    rows: Float
    names: list[str]

    def columns(self, wanted: Sequence[str]) -> Float | None:
        """Get the named values of each row, or without these names all values: ``[count, n]``.

        Returns None if their number is not that of the wanted ones.
        """
        named = {name.upper(): column for column, name in enumerate(self.names) if name}
        if all(name in named for name in wanted):
            return self.rows[:, [named[name] for name in wanted]]
        usable = list(named.values()) if self.names else list(range(self.rows.shape[1]))
        return self.rows[:, usable] if len(usable) == len(wanted) else None


def read_source(document: Document, source: Element) -> Source:
    """Read a source of numbers.

    Raises:
        MeshError: it has no numbers, or fewer than its accessor reads.
    """
    accessor = child(child(source, "technique_common"), "accessor")
    tag = "int_array" if source.find("int_array") is not None else "float_array"
    array = document.find(accessor.get("source"), tag, "reads an array", within=source)
    values = floats(array)
    check_count(array, len(values))
    count, stride = attribute(accessor, "count"), attribute(accessor, "stride", 1)
    start = attribute(accessor, "offset", 0)
    names = [param.get("name", "") for param in accessor.findall("param")]
    if stride == 0 or len(names) > stride:
        raise MeshError(
            f"is damaged: an accessor reads {len(names)} of every {stride} values; export it again"
        )
    # The last row may end after its last named value.
    missing = start + count * stride - len(values)
    if count and missing > (stride - len(names) if names else 0):
        raise MeshError(
            f"is truncated: source {label(source)} has {len(values)} values, but {count} times {stride} are "
            "read from it; export it again"
        )
    values = np.concatenate(
        [values[start : start + count * stride], np.zeros(max(missing, 0) if count else 0)]
    )
    return Source(values.reshape(count, stride), names)


# ---------------------------------------------------------------------------------------- geometries


def _read_geometry(document: Document, geometry: Element) -> Part:
    shapes = [shape for shape in geometry if shape.tag not in ("asset", "extra")]
    kinds = [shape.tag for shape in shapes]
    if kinds in ([], ["spline"]):
        return Part(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    if kinds == ["brep"]:
        raise MeshError(f"has curved surfaces (brep) in geometry {label(geometry)}; export triangles")
    if kinds not in (["mesh"], ["convex_mesh"]):
        raise MeshError(
            f"has {show(' '.join(kinds))} in geometry {label(geometry)}, which is not known; export it again"
        )
    mesh = shapes[0]
    if mesh.get("convex_hull_of") is not None:
        raise MeshError(
            f"places a convex hull that is not in the file, {label(geometry)}; export its triangles"
        )
    vertices: list[Float] = [np.zeros((0, 3))]
    faces: list[Int] = [np.zeros((0, 3), np.int64)]
    starts: dict[Element, tuple[int, Float]] = {}
    num = 0
    for primitive in mesh:
        if primitive.tag in _NO_SURFACE:
            continue
        if primitive.tag not in _PRIMITIVES:
            raise MeshError(
                f"has {show(primitive.tag)} in geometry {label(geometry)}, which is not known; export it "
                "again"
            )
        if primitive.find("p") is None and primitive.find("ph") is None:
            check_count(primitive, 0)
            continue
        offset, stride, source = _inputs(document, mesh, primitive)
        if source not in starts:
            starts[source] = (num, _positions(document, source))
            vertices.append(starts[source][1])
            num += len(vertices[-1])
        start, positions = starts[source]
        own = _PRIMITIVES[primitive.tag](primitive, positions, offset, stride)
        faces.append(own + start)
    return Part(np.concatenate(vertices), np.concatenate(faces))


def _inputs(document: Document, mesh: Element, primitive: Element) -> tuple[int, int, Element]:
    """Find where the vertex is among the indices of a corner, their number, and the source of positions."""
    inputs = primitive.findall("input")
    vertex = [one for one in inputs if one.get("semantic") == "VERTEX"]
    if len(vertex) != 1:
        raise MeshError(
            f"is damaged: a <{primitive.tag}> has {len(vertex)} inputs of vertices; export it again"
        )
    stride = 1 + max(attribute(one, "offset") for one in inputs)
    if stride > _MOST_INPUTS:
        raise MeshError(f"is damaged: a corner has {stride} indices; export it again")
    url = vertex[0].get("source")
    vertices = document.find(url, "vertices source", "uses vertices", within=mesh)
    if vertices.tag == "source":  # written by programs that leave <vertices> out
        return attribute(vertex[0], "offset"), stride, vertices
    positions = [one for one in vertices.findall("input") if one.get("semantic") == "POSITION"]
    if len(positions) != 1:
        raise MeshError(
            f"is damaged: vertices {label(vertices)} have {len(positions)} inputs of positions; export it "
            "again"
        )
    source = document.find(positions[0].get("source"), "source", "uses positions", within=mesh)
    return attribute(vertex[0], "offset"), stride, source


def _positions(document: Document, source: Element) -> Float:
    positions = read_source(document, source).columns("XYZ")
    if positions is None:
        raise MeshError(f"is damaged: positions {label(source)} are not x, y and z; export it again")
    return positions


# ---------------------------------------------------------------------------------------- primitives


def _corners(lists: Sequence[Element], positions: Float, offset: int, stride: int) -> tuple[Int, Int]:
    """Read lists of corners: the number in each ``[n]``, and the vertex of each corner ``[T]``."""
    texts = [one.text or "" for one in lists]
    indices = integers(lists[0], " ".join(texts)) if lists else np.zeros(0, np.int64)
    lengths = np.array([len(indices)] if len(texts) == 1 else [len(text.split()) for text in texts], np.int64)
    if (lengths % stride).any():
        wrong = lengths[lengths % stride != 0][0]
        raise MeshError(
            f"is truncated or damaged: {wrong} indices do not make whole corners of {stride} indices each; "
            "export it again"
        )
    corners = indices.reshape(-1, stride)[:, offset]
    check_indices(corners, len(positions))
    return lengths // stride, corners


def _read_triangles(primitive: Element, positions: Float, offset: int, stride: int) -> Int:
    _, corners = _corners(primitive.findall("p"), positions, offset, stride)
    if len(corners) % 3:
        raise MeshError(f"is truncated: {len(corners)} corners do not make whole triangles; export it again")
    check_count(primitive, len(corners) // 3)
    return corners.reshape(-1, 3)


def _read_polylist(primitive: Element, positions: Float, offset: int, stride: int) -> Int:
    _, corners = _corners(primitive.findall("p"), positions, offset, stride)
    lengths = integers(child(primitive, "vcount"))
    check_count(primitive, len(lengths))
    if (lengths < 0).any() or (lengths > len(corners)).any() or lengths.sum() != len(corners):
        raise MeshError(
            f"is truncated or damaged: the polygons of a <polylist> do not have {len(corners)} corners "
            "together; export it again"
        )
    return triangulate_polygons(positions, lengths, corners)


def _read_polygons(primitive: Element, positions: Float, offset: int, stride: int) -> Int:
    plain, holed = primitive.findall("p"), primitive.findall("ph")
    check_count(primitive, len(plain) + len(holed))
    lengths, corners = _corners(plain, positions, offset, stride)
    faces = [triangulate_polygons(positions, lengths, corners)]
    for polygon in holed:
        lengths, corners = _corners([child(polygon, "p"), *polygon.findall("h")], positions, offset, stride)
        cut = triangulate_with_holes(positions, lengths, corners)
        if cut is None:
            raise MeshError("has a polygon whose holes do not lie within it; export triangles")
        faces.append(cut)
    return np.concatenate(faces)


def _read_strips(primitive: Element, positions: Float, offset: int, stride: int) -> Int:
    lengths, corners = _corners(primitive.findall("p"), positions, offset, stride)
    check_count(primitive, len(lengths))
    return triangulate_strips(lengths, corners)


def _read_fans(primitive: Element, positions: Float, offset: int, stride: int) -> Int:
    lengths, corners = _corners(primitive.findall("p"), positions, offset, stride)
    check_count(primitive, len(lengths))
    return triangulate_fans(lengths, corners)


_PRIMITIVES = {
    "polygons": _read_polygons,
    "polylist": _read_polylist,
    "triangles": _read_triangles,
    "trifans": _read_fans,
    "tristrips": _read_strips,
}
