"""Numbers as text that every reader takes back to the bit."""

from collections.abc import Iterable

import numpy as np

from plumbline.records import Float

UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Rows and columns of xx, xy, xz, yy, yz, zz."""
NAMES = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")


def spell(value: float) -> str:
    """Write a number with as few digits as identify it, and a dot: YAML takes 1e-06 for a word."""
    text = repr(float(value))
    return text if "." in text else text.replace("e", ".0e")


def join(values: Iterable[float], separator: str = " ") -> str:
    """Write numbers one after another."""
    return separator.join(map(spell, values))


def upper(inertia: Float) -> dict[str, float]:
    """The six numbers of a symmetric tensor ``[3, 3]`` by their usual names."""
    return {name: float(inertia[place]) for name, place in zip(NAMES, UPPER, strict=True)}


def diagonal_first(inertia: Float) -> list[float]:
    """The six numbers of a symmetric tensor ``[3, 3]`` in the order xx, yy, zz, xy, xz, yz."""
    return [*np.diag(inertia).tolist(), *inertia[np.triu_indices(3, 1)].tolist()]
