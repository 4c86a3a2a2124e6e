"""Densities of the named bodies of mesh files, from a CSV file: which apply to which mesh."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from plumbline.console.text import counted
from plumbline.errors import InputError
from plumbline.geometry.csv_tables import read_rows
from plumbline.geometry.mesh_formats.parts import show
from plumbline.geometry.mesh_formats.reading import read_mesh
from plumbline.geometry.named_bodies import body_names, show_body
from plumbline.kinds import nearest, number

Densities = tuple[tuple[str, float], ...]
"""Bodies of a mesh file and their densities, kilograms per cubic metre, sorted by name."""

_EVERY = ("", "*")
"""What stands in the column ``file`` for every mesh."""
_SHOWN = 5
"""Number of names in an error message."""


class _Row(NamedTuple):
    """A row of the CSV file: its place in the file, for messages, and the density that it gives."""

    where: str
    density: float


def read_densities(csv_path: Path | str, meshes: Sequence[tuple[str, Path]]) -> list[Densities]:
    """Read a CSV file of densities, and find those of each mesh; the meshes that it is about are read.

    Columns: ``body``, ``density`` and, optionally, ``file``: the path of a mesh or the end of it, such as its
    name; empty or ``*`` for every mesh that has the body. A row that names a mesh takes precedence over one
    that does not.

    Args:
        csv_path: the CSV file.
        meshes: title, as in the list of rejected inputs, and path of each.

    Returns:
        The densities of all bodies of each mesh; none for a mesh that has none of the bodies.

    Raises:
        InputError: the CSV file cannot be read, has a row about a mesh or a body that does not exist, or has
            densities for some bodies of a mesh only; the message names the file and, if it is about one, the
            line.
    """
    csv_path = Path(csv_path)
    general, own = _read(csv_path, meshes)
    found: list[Densities] = []
    incomplete: list[tuple[str, list[str], list[str]]] = []
    known: set[str] = set()
    for index, (title, path) in enumerate(meshes):
        rows = own.get(index, {})
        names = _names(path) if rows or general else []
        known.update(names)
        for body, row in rows.items():
            if names and body not in names:
                guess = nearest(body, names)
                raise InputError(f"{row.where}: {title} has no body {show(body)}, only {_list(names)}{guess}")
        given = {body: row.density for body, row in (general | rows).items() if body in names or body in rows}
        if given and (missing := [name for name in names if name not in given]):
            incomplete.append((title, missing, names))
        found.append(tuple(sorted(given.items())))
    for body, row in general.items():
        if body not in known:
            raise InputError(f"{row.where}: no mesh has a body {show(body)}{nearest(body, sorted(known))}")
    for title, missing, names in incomplete:
        others = len(incomplete) - 1
        more = f" (the same for {counted(others, 'other file')})" if others else ""
        raise InputError(
            f"{csv_path} has no density for {_list(missing)} of {title}, whose bodies are {_list(names)}; "
            f"add a row for each body{more}"
        )
    return found


def _read(
    csv_path: Path, meshes: Sequence[tuple[str, Path]]
) -> tuple[dict[str, _Row], dict[int, dict[str, _Row]]]:
    """Read the rows about every mesh by body, and those about one mesh by its index and by body."""
    titles = {title: index for index, (title, _) in enumerate(meshes)}
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, (_, path) in enumerate(meshes):
        by_name[path.name].append(index)
    general: dict[str, _Row] = {}
    own: dict[int, dict[str, _Row]] = defaultdict(dict)
    for where, cells in read_rows(csv_path, ("body", "density"), ("file",), "body"):
        body, file = " ".join(cells["body"].split()), cells.get("file", "").strip()
        try:
            row = _Row(where, number(above=0).read(cells["density"]))
        except ValueError as error:
            raise InputError(f"{where}: density {cells['density']!r}: {error} (kg/m3)") from None
        rows = general
        if file not in _EVERY:
            rows = own[titles[file] if file in titles else _find(file, meshes, by_name, where)]
        if body in rows:
            line = rows[body].where.rpartition(", ")[2]
            raise InputError(f"{where}: {line} gives a density for this body, too; remove one of the rows")
        rows[body] = row
    return general, own


def _find(file: str, meshes: Sequence[tuple[str, Path]], by_name: dict[str, list[int]], where: str) -> int:
    """Find the mesh whose path ends with ``file``."""
    parts = PurePath(file).parts
    found = [
        index
        for index in by_name.get(PurePath(file).name, [])
        if Path(os.path.abspath(meshes[index][1])).parts[-len(parts) :] == parts
    ]
    titles = [title for title, _ in meshes]
    if not found:
        raise InputError(f"{where}: no mesh file {file} among the inputs{nearest(file, titles)}")
    if len(found) > 1:
        some = ", ".join(titles[index] for index in found[:_SHOWN])
        raise InputError(f"{where}: {file} may be {len(found)} meshes ({some}); give more of its path")
    return found[0]


def _names(path: Path) -> list[str]:
    """Name the bodies of a mesh; none if it cannot be read, so that it is rejected when it is prepared."""
    try:
        content = read_mesh(path)
    except (InputError, OSError):
        return []
    return body_names(content) if len(content.faces) else []


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(show_body, names[:_SHOWN])) + more
