"""Parts of a 3mf file that are not material, by the settings that slicers store next to the model."""

from typing import NamedTuple

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.three_mf_package import Package
from plumbline.geometry.mesh_formats.xml_text import make_parser, run_parser

BODY, NEGATIVE = "body", "negative volume"
_ROLES = {
    "": BODY,
    "0": BODY,
    "1": "modifier",
    "modelpart": BODY,
    "modifier_part": "modifier",
    "negative_part": NEGATIVE,
    "negativevolume": NEGATIVE,
    "normal_part": BODY,
    "parametermodifier": "modifier",
    "support_blocker": "support blocker",
    "support_enforcer": "support enforcer",
    "supportblocker": "support blocker",
    "supportenforcer": "support enforcer",
}
"""Role of a part, by its type in PrusaSlicer and its relatives, and in Bambu Studio and OrcaSlicer."""
_TYPE_KEYS = ("volume_type", "part_type")


class Volume(NamedTuple):
    """A part of an object, in the settings of a slicer.

    Attributes:
        id: the object that holds its mesh; None for triangles of the object's own mesh.
        triangles: the first and the last triangle; None for a whole object.
        role: ``"body"``, ``"negative volume"``, ``"modifier"``, ``"support blocker"`` and so on.
    """

    id: int | None
    triangles: tuple[int, int] | None
    role: str


def read_volumes(package: Package) -> dict[int, list[Volume]]:
    """Read the parts of each object of the root model, by the object's number; empty without such settings.

    Raises:
        MeshError: the settings are damaged or unknown.
    """
    found: dict[int, list[Volume]] = {}
    for key in package.list_keys():
        # SuperSlicer stores the same settings under several names.
        if key.startswith("metadata/") and key.endswith(("_model.config", "/model_settings.config")):
            for number, volumes in _parse_settings(package.read(key), key).items():
                found.setdefault(number, volumes)
    return found


def _parse_settings(data: bytes, key: str) -> dict[int, list[Volume]]:
    found: dict[int, list[Volume]] = {}
    path: list[str] = []
    volumes: list[Volume] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal volumes
        path.append(name)
        if path[1:] == ["object"]:
            volumes = found.setdefault(int(attributes["id"]), [])
        elif path[1:] in (["object", "volume"], ["object", "part"]):
            volumes.append(_read_volume(attributes))
        elif path[1:3] in (["object", "volume"], ["object", "part"]) and name == "metadata":
            kind, value = attributes.get("key"), attributes.get("value", "")
            if kind in _TYPE_KEYS or (kind == "modifier" and value == "1"):
                volumes[-1] = volumes[-1]._replace(role=_read_role(value))

    def end(_: str) -> None:
        path.pop()

    parser = make_parser()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    run_parser(parser, data, key)
    return found


def _read_volume(attributes: dict[str, str]) -> Volume:
    role = _read_role(attributes.get("subtype", ""))
    if "firstid" in attributes:
        return Volume(None, (int(attributes["firstid"]), int(attributes["lastid"])), role)
    return Volume(int(attributes["id"]), None, role)


def _read_role(value: str) -> str:
    role = _ROLES.get(value.strip().lower())
    if role is None:
        raise MeshError(f"has a part of the type {value!r}, which is not supported; export it without it")
    return role
