"""A split that the user gives: a file with the names of the objects for training, validation and test."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plumbline.console.text import counted
from plumbline.errors import InputError
from plumbline.kinds import nearest
from plumbline.records import Int

SIDES = ("train", "val", "test")
_NEEDED = SIDES[:2]
_SHOWN = 3
"""Number of names in an error message."""

GivenSplit = dict[str, list[str]]
"""Side to names of objects, or of groups: ``chairs/`` is all objects whose names start with it."""


def read_split(path: Path) -> GivenSplit:
    """Read a JSON or YAML file that maps sides to lists of names; the names are sorted and made unique.

    Raises:
        InputError: the file cannot be read, is not such a mapping, has a side twice, or names nothing for
            training or validation.
    """
    where = f"--split_file {path}"
    try:
        content = _parse(path)
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not readable ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or not all(_is_names(names) for names in content.values()):
        raise InputError(f"{where}: must map train, val and, if wanted, test to lists of names of objects")
    for side in content:
        if side not in SIDES:
            raise InputError(f"{where}: there is no side {side}{nearest(str(side), SIDES)}")
    for side in _NEEDED:
        if not content.get(side):
            raise InputError(f"{where}: {side} names no object")
    return {side: sorted(set(content[side])) for side in SIDES if content.get(side)}


def _parse(path: Path) -> Any:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".json":
        return json.loads(text, object_pairs_hook=_unique)
    import yaml

    class Loader(yaml.BaseLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            _unique([(key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)])
            return super().construct_mapping(node, deep=deep)

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _unique(items: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping; both parsers would keep only the last of two values for a key. Raises ValueError."""
    found: dict[str, Any] = {}
    for key, value in items:
        if key in found:
            raise ValueError(f"{key} occurs twice")
        found[key] = value
    return found


def _is_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) and name for name in names)


def split_as_given(
    object_idx: Int, object_names: Sequence[str], split: Mapping[str, Sequence[str]], where: str
) -> dict[str, Int]:
    """Split samples as a file says. Samples of objects that it does not name are on no side.

    Args:
        object_idx: ``[G]`` the object that each sample shows, as an index into ``object_names``.
        object_names: the distinct names.
        split: from :func:`read_split`.
        where: the file, for error messages.

    Returns:
        Ascending int64 indices of the samples of each side, of all three.

    Raises:
        InputError: a name is not in the data set, or an object is on two sides.
    """
    known = {name: i for i, name in enumerate(object_names)}
    side_of: dict[int, str] = {}
    unknown: list[str] = []
    twice: list[str] = []
    for side, names in split.items():
        for name in names:
            found = _objects(name, known)
            unknown += [] if found else [name]
            for i in found:
                if side_of.setdefault(i, side) != side:
                    twice.append(f"{object_names[i]} ({side_of[i]} and {side})")
    if unknown:
        guess = nearest(
            unknown[0], [*known, *{f"{name.rpartition('/')[0]}/" for name in known if "/" in name}]
        )
        raise InputError(f"{where}: {_some(unknown, 'name')} not in the data set{guess}")
    if twice:
        raise InputError(f"{where}: {_some(twice, 'object')} on two sides")
    sides = np.array([side_of.get(i, "") for i in range(len(object_names))])[object_idx]
    return {side: np.flatnonzero(sides == side) for side in SIDES}


def _objects(name: str, known: Mapping[str, int]) -> list[int]:
    """The objects that a name of the file stands for."""
    if name in known:
        return [known[name]]
    return [i for other, i in known.items() if other.startswith(name)] if name.endswith("/") else []


def _some(names: Sequence[str], noun: str) -> str:
    """The first names and how many there are, with the verb: ``2 names (a, b) are``."""
    shown = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
    return f"{counted(len(names), noun)} ({shown}) {'is' if len(names) == 1 else 'are'}"
