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
    ``Points:0`` count, if only one column has such a name.

    Returns:
        The three positions in ``names``; None if a column is missing or unclear.
    """
    plain = [without_units(name).strip().strip("\"'").strip() for name in names]
    exact = [[plain.index(axis) for axis in axes] for axes in ("xyz", "XYZ") if all(map(plain.count, axes))]
    if exact:
        unclear = len(exact) > 1 or any(plain.count(plain[column]) > 1 for column in exact[0])
        return None if unclear else exact[0]
    found = []
    for number, axis in enumerate("xyz"):
        near = [i for i, name in enumerate(plain) if _means(name.lower(), axis, number)]
        same = [i for i in near if plain[i].lower() == axis]
        if len(same or near) != 1:
            return None
        found += same or near
    return found


def _means(name: str, axis: str, number: int) -> bool:
    letter, digit = _AXIS.fullmatch(name), _NUMBERED.fullmatch(name)
    return (letter is not None and letter[1] == axis) or (digit is not None and digit[1] == str(number))
