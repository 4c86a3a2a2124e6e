"""The zip package of a 3mf file: its parts by name, and its relationships."""

import posixpath
from urllib.parse import unquote
from zipfile import ZipFile

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.archives import read_member
from plumbline.geometry.mesh_formats.xml_text import make_parser, run_parser

_MODEL, _ENCRYPTED = "/3dmodel", "/encryptedfile"
"""Ends of the types of relationships to a model and to an encrypted part."""
_USUAL_MODEL = "3d/3dmodel.model"
_RELS = "_rels/.rels"


class Package:
    """The parts of an open 3mf archive. Names of parts ignore case, percent encoding and a leading slash."""

    def __init__(self, archive: ZipFile) -> None:
        """List the members of ``archive``."""
        self._archive = archive
        self._members: dict[str, list[str]] = {}
        for name in archive.namelist():
            self._members.setdefault(part_key(name), []).append(name)
        self._encrypted = {
            target
            for key in self._members
            if key.endswith(".rels")
            for kind, target in self._relationships(key)
            if kind.endswith(_ENCRYPTED)
        }

    def list_keys(self) -> list[str]:
        """List the keys of all parts, sorted."""
        return sorted(self._members)

    def find_root(self) -> str:
        """Find the key of the root model part.

        Raises:
            MeshError: there is none, or more than one.
        """
        found = {target for kind, target in self._relationships(_RELS) if kind.endswith(_MODEL)}
        if not found and _USUAL_MODEL in self._members:
            return _USUAL_MODEL
        if not found:
            raise MeshError("cannot be read as 3mf: the archive has no 3D model; export it again")
        if len(found) > 1:
            raise MeshError(
                "cannot be read as 3mf: its relationships name several root models "
                f"({', '.join(sorted(found))}); export it again"
            )
        return found.pop()

    def read(self, key: str) -> bytes:
        """Read a part.

        Raises:
            MeshError: the part is missing, duplicated, encrypted or damaged.
        """
        if key in self._encrypted:
            raise MeshError(f"is encrypted ({key}, 3MF secure content); export it without encryption")
        return self._unpack(key)

    def _unpack(self, key: str) -> bytes:
        names = self._members.get(key, [])
        if not names:
            raise MeshError(f"is damaged: it refers to {key}, which is not in the archive; export it again")
        if len(names) > 1:
            raise MeshError(f"is damaged: the archive has {key} twice; export it again")
        return read_member(self._archive, names[0])

    def _relationships(self, key: str) -> list[tuple[str, str]]:
        """List type and target of each relationship in a .rels part, if it is there."""
        if key not in self._members:
            return []
        found: list[tuple[str, str]] = []
        # The folder "_rels" lies next to the part whose relationships it holds.
        base = posixpath.dirname(posixpath.dirname(key))

        def start(name: str, attributes: dict[str, str]) -> None:
            if name.rpartition(" ")[2] != "Relationship":
                return
            kind, target = attributes.get("Type", "").strip().lower(), attributes.get("Target", "").strip()
            if attributes.get("TargetMode", "").lower() == "external":
                if kind.endswith(_MODEL):
                    raise MeshError(
                        "cannot be read as 3mf: its model lies outside of the archive; export it again"
                    )
                return
            found.append((kind, part_key(posixpath.join("/", base, target))))

        parser = make_parser()
        parser.StartElementHandler = start
        run_parser(parser, self._unpack(key), key)
        return found


def part_key(name: str) -> str:
    """Return what equivalent names of a part, or of a member of the archive, share."""
    return posixpath.normpath("/" + unquote(name).replace("\\", "/")).lstrip("/").lower()
