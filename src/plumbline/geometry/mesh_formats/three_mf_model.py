"""One model part of a 3mf file: its objects with meshes and components, and what its build places."""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.parts import Part
from plumbline.geometry.mesh_formats.three_mf_package import part_key
from plumbline.geometry.mesh_formats.xml_text import make_parser, run_parser
from plumbline.records import Float, Int

_CORE = frozenset(
    {
        "",
        "http://schemas.microsoft.com/3dmanufacturing/2013/01",
        "http://schemas.microsoft.com/3dmanufacturing/core/2015/02",
    }
)
"""Namespaces of the core elements; the one of 2013 is that of the drafts before version 1."""
_MICROSOFT = (
    *("beamlattice/2017/02", "beamlattice/balls/2020/07", "material/2015/02", "production/2015/06"),
    *("production/alternatives/2021/04", "securecontent/2019/04", "slice/2015/07", "trianglesets/2021/07"),
)
_CONSORTIUM = "booleanoperations/2023/07", "displacement/2023/10", "implicit/2023/12", "volumetric/2022/01"
_EXTENSIONS = (
    _CORE
    | {f"http://schemas.microsoft.com/3dmanufacturing/{name}" for name in _MICROSOFT}
    | {f"http://schemas.3mf.io/3dmanufacturing/{name}" for name in _CONSORTIUM}
)
"""Namespaces that a model may require. They do not change a mesh, or an object that uses them is refused."""
_SHAPES = {
    "/beamlattice/": "a beam lattice",
    "/booleanoperations/": "a boolean operation",
    "/displacement/": "a displacement map",
    "/implicit/": "an implicit shape",
    "/volumetric/": "a volumetric shape",
}
"""Parts of namespaces whose elements, within an object, change its shape."""
_COMPATIBILITY = "http://schemas.openxmlformats.org/markup-compatibility/"
_PARENTS = {
    "model": "",
    "resources": "model",
    "build": "model",
    "object": "resources",
    "mesh": "object",
    "components": "object",
    "component": "components",
    "vertices": "mesh",
    "vertex": "vertices",
    "triangles": "mesh",
    "triangle": "triangles",
    "item": "build",
}
_KINDS = frozenset({"model", "solidsupport", "support", "surface", "other"})
_CURA = frozenset({"anti_overhang_mesh", "cutting_mesh", "infill_mesh", "support_mesh"})
"""Settings with which Cura marks an object as a modifier of others."""


class Reference(NamedTuple):
    """An object that an item or a component places.

    Attributes:
        id: the object's number.
        key: the part that holds the object; None for the part of the reference itself.
        transform: ``[4, 4]``, applied to columns.
        printable: whether a slicer prints it.
    """

    id: int
    key: str | None
    transform: Float
    printable: bool


@dataclass(slots=True)
class Object:
    """An object of a model part.

    Attributes:
        kind: its type: ``"model"``, ``"support"`` and so on.
        mesh: None if it has none.
        components: the objects that it consists of; None if it has a mesh of its own.
        unsupported: a feature of its shape that is not supported, or None.
        modifier: whether its own settings say that it is not material.
        name: empty if it has none.
    """

    kind: str
    mesh: Part | None = None
    components: list[Reference] | None = None
    unsupported: str | None = None
    modifier: bool = False
    name: str = ""


@dataclass(slots=True)
class Model:
    """A model part.

    Attributes:
        unit: of its coordinates, such as ``"millimeter"``.
        objects: by number.
        items: what its build places.
    """

    unit: str = "millimeter"
    objects: dict[int, Object] = field(default_factory=dict)
    items: list[Reference] = field(default_factory=list)


def parse_model(data: bytes, key: str) -> Model:
    """Parse the XML of a model part.

    Raises:
        MeshError: it is damaged, or requires an extension that is not supported.
    """
    parser = _ModelParser()
    run_parser(parser.parser, data, key, parser.flush)
    return parser.model


class _ModelParser:
    """Handlers of the XML parser, and the content read so far."""

    def __init__(self) -> None:
        self.model = Model()
        self.parser = make_parser()
        self._prefixes: dict[str, str] = {}
        self._object: Object | None = None
        self._coordinates: list[str] = []
        self._corners: list[str] = []
        self._vertices: list[Float] = []
        self._faces: list[Int] = []
        self._path = [""]
        self._seen: set[str] = set()
        self._sliced = False
        self._text: list[str] = []
        self.parser.StartNamespaceDeclHandler = self._declare
        self.parser.StartElementHandler = self._start_model
        self._handlers: dict[str, Callable[[dict[str, str]], None]] = {
            "object": self._start_object,
            "mesh": self._start_list,
            "vertices": self._start_list,
            "triangles": self._start_list,
            "components": self._start_components,
            "component": self._start_component,
            "item": self._start_item,
        }

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        # The prefixes of the model element count: those of inner elements may have another meaning.
        if len(self._path) == 1:
            self._prefixes[prefix or ""] = uri or ""

    def _start_model(self, name: str, attributes: dict[str, str]) -> None:
        core, _, local = name.rpartition(" ")
        if local != "model" or core not in _CORE:
            raise MeshError(
                f"cannot be read as 3mf: it contains <{local}> of {core!r}, not a 3MF model; export it again"
            )
        self._path.append("model")
        for prefix in attributes.get("requiredextensions", "").split():
            if (uri := self._prefixes.get(prefix, prefix)) not in _EXTENSIONS:
                raise MeshError(
                    f"needs the 3MF extension {uri!r}, which is not supported; export it without it"
                )
        self.model.unit = attributes.get("unit", self.model.unit).strip()
        self._set_handlers(core)

    def _set_handlers(self, core: str) -> None:
        """Handle the elements within the model.

        Vertices and triangles are most of a file, so that they are handled first.
        """
        prefix = f"{core} " if core else ""
        vertex, triangle = f"{prefix}vertex", f"{prefix}triangle"
        get_coordinates, get_corners = itemgetter("x", "y", "z"), itemgetter("v1", "v2", "v3")
        path, coordinates, corners = self._path, self._coordinates, self._corners

        def start(name: str, attributes: dict[str, str]) -> None:
            parent = path[-1]
            if name == vertex and parent == "vertices":
                coordinates.extend(get_coordinates(attributes))
            elif name == triangle and parent == "triangles":
                corners.extend(get_corners(attributes))
            else:
                uri, _, local = name.rpartition(" ")
                self._start(uri, local if uri == core else f"{uri} {local}", attributes)

        def end(name: str) -> None:
            if name not in (vertex, triangle):
                self._end(path.pop())

        self.parser.StartElementHandler = start
        self.parser.EndElementHandler = end

    def _start(self, uri: str, name: str, attributes: dict[str, str]) -> None:
        """Handle the start of any other element; ``name`` is the local one for core elements."""
        local = name.rpartition(" ")[2]
        if uri in _CORE and local != name and local in _PARENTS:
            raise MeshError(f"is damaged: <{local}> belongs to another version of 3MF; export it again")
        expected = _PARENTS.get(name)
        if expected is not None and expected != self._path[-1]:
            raise MeshError(f"is damaged: <{name}> is outside of <{expected}>; export it again")
        self._path.append(name)
        if uri.startswith(_COMPATIBILITY):
            raise MeshError("has alternate content, which is not supported; export it without it")
        if (handler := self._handlers.get(name)) is not None:
            handler(attributes)
        elif self._object is not None:
            self._start_extension(uri, name, attributes)

    def _end(self, name: str) -> None:
        if self._object is None:
            return
        if name == "object":
            self._object = None
        elif name == "mesh":
            self._end_mesh(self._object)
        elif self.parser.CharacterDataHandler is not None:
            self._object.modifier |= "".join(self._text).strip().lower() == "true"
            self.parser.CharacterDataHandler = None

    def _start_object(self, attributes: dict[str, str]) -> None:
        number = int(attributes["id"])
        if number in self.model.objects:
            raise MeshError(f"is damaged: two objects have the number {number}; export it again")
        kind = attributes.get("type", "model").strip()
        if kind not in _KINDS:
            raise MeshError(f"is damaged: {kind!r} is not a type of object in 3MF; export it again")
        self._object = self.model.objects[number] = Object(kind, name=attributes.get("name", ""))
        self._seen.clear()
        self._sliced = False
        for name, value in attributes.items():
            local = name.rpartition(" ")[2]
            self._sliced |= local == "slicestackid"
            if local in ("meshresolution", "modelresolution") and value.strip() != "fullres":
                self._object.unsupported = f"a mesh of reduced resolution ({value.strip()})"

    def _start_components(self, attributes: dict[str, str]) -> None:
        self._start_list(attributes)
        self._get_object().components = []

    def _start_list(self, _: dict[str, str]) -> None:
        """Refuse an object with two of the same element, or with both a mesh and components."""
        name = self._path[-1]
        if name in self._seen:
            raise MeshError(f"is damaged: an object has {name} twice; export it again")
        self._seen.add(name)
        if {"mesh", "components"} <= self._seen:
            raise MeshError("is damaged: an object has both a mesh and components; export it again")

    def _start_component(self, attributes: dict[str, str]) -> None:
        components = self._get_object().components
        assert components is not None, "<component> is within <components>"
        components.append(_read_reference(attributes))

    def _start_item(self, attributes: dict[str, str]) -> None:
        self.model.items.append(_read_reference(attributes))

    def _start_extension(self, uri: str, name: str, attributes: dict[str, str]) -> None:
        """Handle an element within an object that is not about its core mesh."""
        item = self._get_object()
        shape = next((shape for mark, shape in _SHAPES.items() if mark in uri), None)
        local = name.rpartition(" ")[2]
        if shape is not None:
            item.unsupported = shape
        elif local == "alternative" and attributes.get("modelresolution", "fullres").strip() == "fullres":
            # Alternatives have priority over the object's own mesh.
            item.unsupported = "an alternative shape"
        elif local in ("metadata", "setting"):
            key = attributes.get("name", attributes.get("key", ""))
            if key.rpartition(":")[2] in _CURA:
                self._text.clear()
                self.parser.CharacterDataHandler = self._text.append

    def _get_object(self) -> Object:
        assert self._object is not None, "called within <object> only"
        return self._object

    def flush(self) -> None:
        """Turn the numbers read so far into arrays, which take a tenth of the memory."""
        for values in (self._coordinates, self._corners):
            if "_" in "".join(values):  # Python reads 1_0 as 10
                raise MeshError("is damaged: a number has an underscore; export it again")
        coordinates, corners = self._coordinates, self._corners
        self._vertices.append(
            np.fromiter(map(float, coordinates), np.float64, len(coordinates)).reshape(-1, 3)
        )
        self._faces.append(np.fromiter(map(int, corners), np.int64, len(corners)).reshape(-1, 3))
        coordinates.clear()
        corners.clear()

    def _end_mesh(self, item: Object) -> None:
        self.flush()
        item.mesh = Part(np.concatenate(self._vertices), np.concatenate(self._faces))
        self._vertices.clear()
        self._faces.clear()
        if self._sliced and not len(item.mesh.faces):
            item.unsupported = "slices in place of a mesh"


def _read_reference(attributes: dict[str, str]) -> Reference:
    path, printable = None, True
    for name, value in attributes.items():
        local = name.rpartition(" ")[2]
        if local == "path":
            path = part_key(value.strip())
        elif local == "printable":
            printable = value.strip().lower() not in ("0", "false")
    return Reference(
        int(attributes["objectid"]), path, _read_transform(attributes.get("transform", "")), printable
    )


def _read_transform(text: str) -> Float:
    """Read 12 numbers, the first three columns of a matrix that is applied to rows (x, y, z, 1)."""
    transform = np.eye(4)
    if values := text.split():
        if len(values) != 12:
            raise MeshError(f"is damaged: a transform has {len(values)} numbers, not 12; export it again")
        transform[:3] = np.array([float(value) for value in values]).reshape(4, 3).T
    return transform
