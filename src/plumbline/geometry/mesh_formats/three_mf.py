"""Meshes from 3mf files (3D Manufacturing Format, core specification 1.3 with the production extension)."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.archives import open_archive
from plumbline.geometry.mesh_formats.parts import (
    MeshContent,
    Part,
    check_size,
    join_parts,
    note_left_out,
    place_part,
)
from plumbline.geometry.mesh_formats.three_mf_model import Model, Object, Reference, parse_model
from plumbline.geometry.mesh_formats.three_mf_package import Package
from plumbline.geometry.mesh_formats.three_mf_slicers import BODY, NEGATIVE, Volume, read_volumes
from plumbline.records import Float

_LONG = 300
"""Characters of the longest reason for a refusal."""
_UNITS = {
    "micron": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 0.0254,
    "foot": 0.3048,
    "meter": 1.0,
}
"""In metres."""
_NAMES = {"solidsupport": "solid support", "surface": "surface", "other": "auxiliary"}
"""What notes call objects of these types, if not by the type."""


def read_3mf(path: Path) -> MeshContent:
    """Read what the build of a 3mf file places: meshes and components, at their places.

    Coordinates stay in the unit of the root model, which is not applied. Other model parts are scaled to it.
    Only objects of the type ``model`` are the body. Objects of other types are left out, and objects that a
    slicer does not print, its modifiers, support enforcers and support blockers; the notes say so. If a file
    has surfaces only, or nothing that is printed, these are read.

    Raises:
        MeshError: the file is damaged, or its shape needs more than meshes: beam lattices, boolean
            operations, displacement, implicit or volumetric shapes, alternatives, slices in place of a fine
            mesh, encrypted parts, negative volumes of slicers, or an unknown extension that is required.
        InputError: the archive would fill the memory.
    """
    # Damaged numbers overflow without a warning; the caller refuses what is not finite.
    try:
        with open_archive(path) as archive, np.errstate(all="ignore"):
            return _Scene(Package(archive)).read()
    except MeshError as error:
        # Names and numbers of a damaged file may be of any length.
        reason = " ".join(str(error).split())
        if len(reason) > _LONG:
            reason = f"{reason[: _LONG // 2]} ... {reason[-_LONG // 2 :]}"
        raise MeshError(reason) from error


class _Leaf(NamedTuple):
    """An object with a mesh, where it is placed.

    Attributes:
        id: the object's number.
        key: the part that holds it.
        item: the object.
        transform: ``[4, 4]`` from the mesh to the file.
        name: of the object, or of the nearest one around it that has a name.
    """

    id: int
    key: str
    item: Object
    transform: Float
    name: str


class _Scene:
    """The model parts of a package, read when they are needed."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._root = package.find_root()
        self._models: dict[str, Model] = {}
        self._volumes = read_volumes(package)
        self._num_objects = 0
        self._num_faces = 0

    def read(self) -> MeshContent:
        items = self._get_model(self._root).items
        notes = []
        printable = [item for item in items if item.printable]
        if printable and (hidden := len(items) - len(printable)):
            notes.append(note_left_out(hidden, "object", " that the slicer does not print"))
            items = printable
        elif items and not printable:
            notes.append("the slicer prints none of the objects; all are read")
        found: dict[str, list[Part]] = {}
        left_out: Counter[str] = Counter()
        for item in items:
            self._read_item(item, found, left_out)
        bodies = found.get("model", [])
        if not bodies and "surface" in found:
            bodies = found["surface"]
            del left_out[_NAMES["surface"]]
            notes.append("the file holds surfaces only, which are read as the body")
        for name, num in sorted(left_out.items()):
            notes.append(note_left_out(num, f"{name} object"))
        if not bodies:
            rest = f", only {', '.join(sorted(left_out))} objects" if left_out else ""
            raise MeshError(f"has no body{rest}; give a file whose build has a mesh of the type model")
        return join_parts(bodies, notes)

    def _read_item(self, item: Reference, found: dict[str, list[Part]], left_out: Counter[str]) -> None:
        """Sort the meshes of an item by type, and count what is left out."""
        key = item.key or self._root
        # The settings of slicers are about the objects of the root model only.
        volumes = self._volumes.get(item.id, []) if key == self._root else []
        if any(volume.role == NEGATIVE for volume in volumes):
            _refuse_negative(item.id)
        leaves = list(self._walk(item))
        roles = _match_roles(item.id, leaves, [volume for volume in volumes if volume.id is not None])
        for leaf, role in zip(leaves, roles, strict=True):
            mesh = leaf.item.mesh
            assert mesh is not None, "leaves have meshes"
            kind = leaf.item.kind
            if role != BODY or leaf.item.modifier:
                left_out[role if role != BODY else "modifier"] += 1
                continue
            if kind != "model":
                left_out[_NAMES.get(kind, kind)] += 1
            elif leaf.key == self._root:
                mesh = self._cut_volumes(leaf.id, mesh, left_out)
            if kind in ("model", "surface") and len(mesh.faces):
                found.setdefault(kind, []).append(place_part(mesh, leaf.transform, leaf.name))

    def _cut_volumes(self, number: int, mesh: Part, left_out: Counter[str]) -> Part:
        """Leave out the triangles of an object that a slicer marks as a modifier or the like."""
        keep = np.ones(len(mesh.faces), bool)
        for volume in self._volumes.get(number, []):
            if volume.triangles is None or volume.role == BODY:
                continue
            if volume.role == NEGATIVE:
                _refuse_negative(number)
            first, last = volume.triangles
            if not 0 <= first <= last < len(keep):
                raise MeshError(
                    f"is damaged: a {volume.role} has triangles {first} to {last} of {len(keep)}; export it "
                    "again"
                )
            keep[first : last + 1] = False
            left_out[volume.role] += 1
        return mesh if keep.all() else Part(mesh.vertices, mesh.faces[keep])

    def _walk(self, item: Reference) -> Iterator[_Leaf]:
        """Find all meshes of an item, in the order of the file."""
        unit = self._get_model(self._root).unit
        # Without recursion: a file may nest components deeper than Python calls.
        stack = [(item, self._root, np.eye(4), unit, 1, "")]
        while stack:
            reference, key, transform, unit, depth, name = stack.pop()
            key = reference.key or key
            model = self._get_model(key)
            found = model.objects.get(reference.id)
            if found is None:
                raise MeshError(
                    f"is damaged: it places object {reference.id}, which {key} does not have; export it again"
                )
            # The shape of a support does not matter, since it is left out.
            needed = found.components is not None or found.kind in ("model", "surface")
            if needed and found.unsupported is not None:
                raise MeshError(
                    f"has {found.unsupported} (object {reference.id}), which is not supported; export it "
                    "as a mesh"
                )
            if depth > sum(len(known.objects) for known in self._models.values()):
                raise MeshError(f"is damaged: object {reference.id} contains itself; export it again")
            if depth > 1 and key == self._root:
                self._check_nested(reference.id)
            transform = transform @ reference.transform @ _unit_scale(model.unit, unit)
            name = found.name.strip() or name
            self._num_objects += 1
            self._num_faces += 0 if found.mesh is None else len(found.mesh.faces)
            check_size(self._num_objects, self._num_faces)
            if found.mesh is not None:
                yield _Leaf(reference.id, key, found, transform, name)
            elif found.components is None:
                raise MeshError(f"has no mesh in object {reference.id}; export it as a mesh")
            elif found.modifier:
                # In Cura such a mark is about one of the components, but does not say which.
                raise MeshError(
                    f"has a modifier with components (object {reference.id}), which is not supported; export "
                    "it "
                    "as a mesh"
                )
            else:
                stack += [
                    (component, key, transform, model.unit, depth + 1, name)
                    for component in reversed(found.components)
                ]

    def _check_nested(self, number: int) -> None:
        """Refuse settings of a slicer for parts of an object within another: slicers do not write them."""
        for volume in self._volumes.get(number, []):
            if volume.role != BODY and volume.triangles is None:
                raise MeshError(
                    f"has a {volume.role} in object {number} within another, which is not supported; "
                    "export it as a mesh"
                )

    def _get_model(self, key: str) -> Model:
        if key not in self._models:
            self._models[key] = parse_model(self._package.read(key), key)
        return self._models[key]


def _refuse_negative(number: int) -> NoReturn:
    raise MeshError(
        f"cuts a negative volume out of object {number}, which is not supported; apply it in the slicer and "
        "export it again"
    )


def _unit_scale(unit: str, outer: str) -> Float:
    """Return the transform ``[4, 4]`` from one unit to another."""
    if unit == outer:
        return np.eye(4)
    for name in (unit, outer):
        if name not in _UNITS:
            raise MeshError(f"is damaged: {name!r} is not a unit of 3MF; export it again")
    return np.diag([_UNITS[unit] / _UNITS[outer]] * 3 + [1.0])


def _match_roles(number: int, leaves: list[_Leaf], volumes: list[Volume]) -> list[str]:
    """Find the role of each mesh of an object, as Bambu Studio does: by its place, otherwise by its number.

    Raises:
        MeshError: a mesh has several roles, or a role other than the body has no mesh.
    """
    roles, used = [], set()
    for index, leaf in enumerate(leaves):
        if index < len(volumes) and volumes[index].id == leaf.id:
            roles.append(volumes[index].role)
            used.add(index)
            continue
        same = [place for place, volume in enumerate(volumes) if volume.id == leaf.id]
        used.update(same)
        options = {volumes[place].role for place in same} or {BODY}
        if len(options) > 1:
            raise MeshError(
                f"is damaged: part {leaf.id} of object {number} is {' and '.join(sorted(options))}; "
                "export it again"
            )
        roles.append(options.pop())
    for place, volume in enumerate(volumes):
        if place not in used and volume.role != BODY:
            raise MeshError(
                f"is damaged: object {number} has a {volume.role} {volume.id} that is missing; export it "
                "again"
            )
    return roles
