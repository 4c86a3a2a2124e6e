"""Numbers written as text in the files of scans and meshes."""

import re
from pathlib import Path

import numpy as np

from plumbline.errors import InputError
from plumbline.records import Float

_END = b" -1.2345678901234567e-300"
"""Appended to a text: if it is the last number read, numpy has read them all."""
_SPECIAL = re.compile(rb"([+-]?)(?:1\.?#?)?(nan|ind|snan|qnan|inf)[\w()#.]*", re.IGNORECASE)
"""How C libraries write a missing or infinite value: ``nan(ind)``, ``1.#QNAN``, ``-1.#IND``, ``1.#INF``."""


def ascii_numbers(body: bytes, path: Path) -> Float:
    """Read all numbers of a text, separated by any white space.

    Args:
        body: ASCII; line ends of any kind count as white space.
        path: the file, for messages.

    Returns:
        ``[T]`` float64, in order.

    Raises:
        InputError: a word is not a number; the message names the file.
    """
    try:
        found = np.fromstring(body + _END, sep=" ")
    except (ValueError, DeprecationWarning):
        found = np.zeros(1)
    if len(found) and found[-1] == float(_END):
        return found[:-1]
    return np.array([_number(word, path) for word in body.split()], np.float64)


def is_count(word: bytes | str) -> bool:
    """Tell whether a word is a whole number of 0 or more, of a size that fits into an int64."""
    return word.isascii() and word.isdigit() and len(word) < 19


def _number(word: bytes, path: Path) -> float:
    try:
        return float(word)
    except ValueError:
        special = _SPECIAL.fullmatch(word)
        if special is None:
            shown = word[:40].decode("ascii", "replace")
            raise InputError(
                f"{path} cannot be read as {path.suffix[1:]}: it has {shown!r} where a number is needed; "
                "export it again"
            ) from None
        return float(special[1] + b"inf") if special[2].lower() == b"inf" else np.nan
