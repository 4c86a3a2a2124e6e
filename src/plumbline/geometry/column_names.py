"""Which columns of a table are x, y and z, by their names."""

import re
from collections.abc import Sequence

_AXIS = re.compile(
    r"(?:points?|coord(?:inate)?s?|pos(?:ition)?s?)?[ _:.-]*([xyz])"
    r"(?:[ _:.-]*(?:coord(?:inate)?s?|pos(?:ition)?))?"
    r"(?:[ _.-]+(?:[cmkµu]?m|in|ft|met(?:re|er)s?|(?:milli|centi)met(?:re|er)s?|inch(?:es)?|feet))?"
)
_NUMBERED = re.compile(r"(?:points?|coord(?:inate)?s?)[:_]([012])")
"""Coordinates of points as ParaView writes them: ``Points:0``, ``Points_1``."""
_UNIT = re.compile(r"\s*[\[({][^\])}]*[\])}]")


def without_units(text: str) -> str:
    """Remove what stands in brackets: ``X (m)`` becomes ``X``."""
    return _UNIT.sub("", text)


def find_axes(names: Sequence[str]) -> list[int] | None:
    """Find the columns of x, y and z.

    A column named exactly x wins, in either case; otherwise names such as ``X(m)``, ``x_m``, ``pos_x`` and
    ``Points:0`` count, if only one column has such a name.

    Returns:
        The three positions in ``names``; None if a column is missing or unclear.
    """
    plain = [without_units(name).strip().strip("\"'").strip().lower() for name in names]
    found = []
    for number, axis in enumerate("xyz"):
        near = [i for i, name in enumerate(plain) if _means(name, axis, number)]
        if axis in plain:
            found.append(plain.index(axis))
        elif len(near) == 1:
            found.append(near[0])
        else:
            return None
    return found


def _means(name: str, axis: str, number: int) -> bool:
    letter, digit = _AXIS.fullmatch(name), _NUMBERED.fullmatch(name)
    return (letter is not None and letter[1] == axis) or (digit is not None and digit[1] == str(number))
