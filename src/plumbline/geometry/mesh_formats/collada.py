"""COLLADA files (dae, and zae, which packs one with its pictures).

The surfaces that the scene places are read: triangles, strips, fans and polygons, placed by their nodes,
skinned and morphed at rest, without animations. Without a ``<scene>`` the only visual scene is read; without
any visual scene, the only geometry, in its own frame.

``<unit>`` and ``<up_axis>`` are not applied. Materials and pictures are not opened.
"""

from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote
from zipfile import ZipFile

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.archives import open_archive, read_member
from plumbline.geometry.mesh_formats.collada_controllers import read_controller
from plumbline.geometry.mesh_formats.collada_geometry import Geometries
from plumbline.geometry.mesh_formats.collada_scene import Scene, find_visual_scene, read_scene
from plumbline.geometry.mesh_formats.collada_xml import Document, label, name_of, parse
from plumbline.geometry.mesh_formats.parts import MeshContent, Part, check_size, join_parts, place_part, show
from plumbline.geometry.mesh_formats.xml_text import parse_tree

_LISTED = 3
"""Names that a note lists."""
_PLACED = ("library_controllers", "library_geometries", "library_nodes", "library_visual_scenes")
"""Libraries whose elements have units and axes."""


def read_dae(path: Path) -> MeshContent:
    """Read a COLLADA file of version 1.4 or 1.5.

    Raises:
        MeshError: the file is damaged, or uses a feature that is not supported.
        OSError: the file cannot be read.
    """
    return _read_document(parse(path.read_bytes()))


def read_zae(path: Path) -> MeshContent:
    """Read the COLLADA file in a zip archive: the one that its manifest names, or the only one.

    Raises:
        MeshError: the file is damaged, or uses a feature that is not supported.
        InputError: the archive would fill the memory.
        OSError: the file cannot be read.
    """
    with open_archive(path) as archive:
        data = read_member(archive, _find_member(archive))
    return _read_document(parse(data))


def _find_member(archive: ZipFile) -> str:
    """Find the COLLADA file in an archive: its name there."""
    names = archive.namelist()
    if "manifest.xml" in names:
        root = parse_tree(read_member(archive, "manifest.xml"), "its manifest")
        named = unquote((root.text or "").strip().partition("#")[0])
        if (place := normpath(named)) not in names:
            raise MeshError(f"names {show(named)} in its manifest, which is not in it; export it again")
        return place
    found = [name for name in names if name.lower().endswith(".dae")]
    if len(found) != 1:
        raise MeshError(f"has no manifest and {len(found)} dae files; unpack it and give one of them")
    return found[0]


def _read_document(document: Document) -> MeshContent:
    _check_frames(document)
    geometries = Geometries(document)
    visual_scene = find_visual_scene(document)
    every = document.root.findall("library_geometries/geometry")
    notes = []
    if visual_scene is None:
        if len(every) != 1:
            raise MeshError(
                f"has {len(every)} geometries and no scene that places them; export it with its scene"
            )
        notes.append("the file has no scene; its only geometry is read in its own frame")
        parts = [geometries.read(every[0])._replace(name=name_of(every[0]))]
    else:
        parts = _place(document, read_scene(document, visual_scene), geometries)
    if not geometries.parts and every:
        raise MeshError("has a scene that places none of its geometries; export it with its scene")
    bare = [label(geometry) for geometry, part in geometries.parts.items() if not len(part.faces)]
    if bare:
        noun = "geometry has" if len(bare) == 1 else "geometries have"
        notes.append(f"{len(bare)} {noun} no surface: {', '.join(bare[:_LISTED])}")
    if rest := [label(geometry) for geometry in every if geometry not in geometries.parts]:
        noun = "geometry is" if len(rest) == 1 else "geometries are"
        notes.append(f"{len(rest)} {noun} not in the scene and left out: {', '.join(rest[:_LISTED])}")
    return join_parts(parts, notes)


def _place(document: Document, scene: Scene, geometries: Geometries) -> list[Part]:
    """Read everything that a scene places, each in its place."""
    parts: list[Part] = []
    num = 0
    for instance, matrix, node in scene.placed:
        if instance.tag == "instance_geometry":
            geometry = document.find(instance.get("url"), "geometry", "places a geometry")
            part, place = geometries.read(geometry), matrix
            name = name_of(node, geometry)
        else:
            part, place = read_controller(document, scene, instance, matrix, geometries)
            name = name_of(node)
        num += len(part.faces)
        check_size(len(parts), num)
        if len(part.faces):
            parts.append(place_part(part, place, name))
    return parts


def _check_frames(document: Document) -> None:
    """Refuse a file whose parts have different units or axes: no reader applies them."""
    assets = document.root.findall("asset")
    for library in document.root:
        if library.tag in _PLACED:
            assets += library.iter("asset")
    units = {_number(unit.get("meter", "1")) for asset in assets for unit in asset.findall("unit")}
    axes = {(axis.text or "").strip() for asset in assets for axis in asset.findall("up_axis")}
    if len(units) > 1 or len(axes) > 1:
        raise MeshError("has parts with different units or axes; export everything with the same")


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
