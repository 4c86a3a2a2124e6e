"""Which columns of a table are x, y and z, by their names."""

import re
from collections.abc import Sequence

_LENGTH = r"(?:[cmkµu]?m|in|ft|met(?:re|er)s?|(?:milli|centi)met(?:re|er)s?|inch(?:es)?|feet)"
_AXIS = re.compile(
    r"(?:points?|coord(?:inate)?s?|pos(?:ition)?s?|p)?[ _:.-]*([xyz])"
    r"(?:[ _:.-]*(?:coord(?:inate)?s?|pos(?:ition)?))?"
    rf"(?:[ _.-]+{_LENGTH})?"
)
_BARE_UNIT = re.compile(rf"[\[(]?{_LENGTH}[\])]?")
_NUMBERED = re.compile(r"(?:points?(?:_m_xyz)?|coord(?:inate)?s?)[:_]([012])")
"""Coordinates as ParaView and VeloView write them: ``Points:0``, ``Points_1``, ``Points_m_XYZ:2``."""
_MEMBER = re.compile(r"(.+)\.([xyz])")
"""Coordinates as ``rostopic echo -p`` writes them: ``field.point.x``."""
_NO_POSITION = re.compile(
    r"n|nrm|normals?|v|vel(?:ocity)?|(?:linear|angular)(?:_.+)?|acc(?:eleration)?|rot(?:ation)?|orient(?:ation)?"
    r"|q|quat(?:ernion)?|euler|scale|size|dims?|dimensions?|sensor|camera|origin|colou?r"
)
"""What a vector is called that is not the position of a point of the object."""
_UNIT = re.compile(r"\s*[\[({][^\])}]*[\])}]")


def without_units(text: str) -> str:
    """Remove brackets and their content: ``X (m)`` becomes ``X``."""
    return _UNIT.sub("", text)


def is_unit(text: str) -> bool:
    """Tell whether a cell is a unit of length: ``mm``, ``[m]``."""
    return _BARE_UNIT.fullmatch(text.strip().lower()) is not None


def find_axes(names: Sequence[str]) -> list[int] | None:
    """Find the columns of x, y and z.

    Columns named exactly x, y and z win, or X, Y and Z: both in one table, such as pixels ``x, y`` and
    positions ``X, Y, Z``, are not mixed. Otherwise names such as ``X(m)``, ``x_m``, ``pos_x`` and
    ``Points:0`` count, if only one column has such a name; then members of one vector, as ``field.point.x``.

    Returns:
        The three positions in ``names``; None if a column is missing or unclear.
    """
    plain = _plain(names)
    exact = [[plain.index(axis) for axis in axes] for axes in ("xyz", "XYZ") if all(map(plain.count, axes))]
    if exact:
        unclear = len(exact) > 1 or any(plain.count(plain[column]) > 1 for column in exact[0])
        return None if unclear else exact[0]
    found = []
    for number, axis in enumerate("xyz"):
        near = [i for i, name in enumerate(plain) if _means(name.lower(), axis, number)]
        same = [i for i in near if plain[i].lower() == axis]
        found.append(same or near)
    if not any(found):
        found = [[i for group in find_vectors(names).values() for i in group[axis]] for axis in range(3)]
    return [columns[0] for columns in found] if all(len(columns) == 1 for columns in found) else None


def find_vectors(names: Sequence[str]) -> dict[str, list[list[int]]]:
    """Find the vectors that may be positions, by a common prefix: ``a.x``, ``a.y`` and ``a.z`` are ``a``.

    Returns:
        Prefix to the positions in ``names`` of its x, of its y and of its z, at least one of each.
    """
    vectors: dict[str, list[list[int]]] = {}
    for place, name in enumerate(_plain(names)):
        if (member := _MEMBER.fullmatch(name.lower())) is None:
            continue
        if not _NO_POSITION.fullmatch(member[1].rpartition(".")[2]):
            vectors.setdefault(member[1], [[], [], []])["xyz".index(member[2])].append(place)
    return {prefix: places for prefix, places in vectors.items() if all(places)}


def _plain(names: Sequence[str]) -> list[str]:
    return [without_units(name).strip().strip("\"'").strip() for name in names]


def _means(name: str, axis: str, number: int) -> bool:
    letter, digit = _AXIS.fullmatch(name), _NUMBERED.fullmatch(name)
    return (letter is not None and letter[1] == axis) or (digit is not None and digit[1] == str(number))
