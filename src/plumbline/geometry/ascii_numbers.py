"""Numbers written as text in the body of a ply or pcd file."""

import re
from pathlib import Path

import numpy as np

from plumbline.errors import InputError
from plumbline.records import Float

_PIECE = 1 << 22
"""Bytes that are split at once: the pieces of a large file need far more memory than its numbers."""
_BLANK = re.compile(rb"\s")
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
    found, start = [], 0
    while start < len(body):
        end = start + _PIECE
        if end < len(body):
            blank = _BLANK.search(body, end)
            end = len(body) if blank is None else blank.start()
        found.append(_convert(body[start:end].split(), path))
        start = end
    return np.concatenate(found) if found else np.zeros(0)


def _convert(words: list[bytes], path: Path) -> Float:
    try:
        return np.fromiter(map(float, words), np.float64, len(words))
    except ValueError:
        return np.array([_number(word, path) for word in words], np.float64)


def _number(word: bytes, path: Path) -> float:
    try:
        return float(word)
    except ValueError:
        special = _SPECIAL.fullmatch(word)
        if special is None:
            shown = word[:40].decode("ascii", "replace")
            raise InputError(
                f"{path} cannot be read as {path.suffix[1:]}: {shown!r} stands where a number is needed"
            ) from None
        return float(special[1] + b"inf") if special[2].lower() == b"inf" else np.nan
