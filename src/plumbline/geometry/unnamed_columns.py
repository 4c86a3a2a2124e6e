"""Checks that the first three columns of a table without column names are x, y and z."""

import numpy as np

from plumbline.geometry.missing_returns import LARGEST_SQUARED
from plumbline.records import Float, Int

WIDEST = 20
"""Most columns of a table of points. A wider table is an image, or has a column for each point."""
_IMAGE = 8
"""Smallest width of a depth image, that of the smallest sensors."""
_TALLEST = 4
"""Largest ratio of the height of a depth image to its width."""
_ALIKE = 3.0
"""The columns of an image have medians within this factor of each other."""
_SAMPLE = 200
"""Rows that are sampled at the beginning of a table, and again anywhere in it."""
_FEWEST = 8
"""Rows that are needed to tell what a column holds."""
_EVEN = 0.1
"""Largest deviation of a counter or a clock from equal steps, in steps; written times are rounded."""
_UNIT = 1e-2
"""Largest deviation of the length of a normal from 1, if written with two or three decimals."""
_BRIGHTEST = 255


def sample_rows(num: int) -> Int:
    """Choose the rows from which the content of columns is inferred, in order.

    The first rows alone are not enough: within one profile of a line scanner, x rises by equal steps.
    """
    if num <= 2 * _SAMPLE:
        return np.arange(num)
    spread = np.random.default_rng(0).integers(num, size=_SAMPLE)
    return np.unique(np.concatenate([np.arange(_SAMPLE), spread]))


def is_matrix(table: Float, shape: tuple[int, ...]) -> bool:
    """Tell whether a table is a camera matrix ``[3, 3]`` or a pose ``[4, 4]``."""
    return shape in ((3, 3), (4, 4)) and bool((table[-1] == np.eye(shape[0])[-1]).all())


def is_depth_image(table: Float, shape: tuple[int, ...]) -> bool:
    """Tell whether all columns have values of similar size, none below 0, as in a depth image.

    Args:
        table: ``[n, C]`` some rows of its first columns.
        shape: of the whole table.
    """
    if shape[1] < _IMAGE or shape[0] > _TALLEST * shape[1]:
        return False
    found = np.where(np.abs(table) < LARGEST_SQUARED, table, 0.0)
    if (found < 0).any():
        return False
    medians = [np.median(column[column > 0]) for column in found.T if (column > 0).any()]
    return len(medians) >= _IMAGE and bool(max(medians) / _ALIKE <= min(medians))


def why_not_xyz(table: Float, rows: Int) -> str | None:
    """Say in a clause why the first three columns are not positions; None if they may be.

    Tables often begin with a number for each point, with a time, with colours or with normals.

    Args:
        table: ``[n, C]`` some rows, and at least the first six columns if there are as many; NaN where a cell
            is not a number.
        rows: ``[n]`` the numbers of these rows, rising.
    """
    if len(table) < _FEWEST or table.shape[1] < 4:
        return None
    table = np.where(np.abs(table[:, :6]) < LARGEST_SQUARED, table[:, :6], np.nan)
    first, rest = table[:, :3], table[:, 3:]
    number = first[:, 0]
    if (np.diff(number) > 0).all():
        if _is_even(number, rows) and not (_is_even(first[:, 1], rows) or _is_even(first[:, 2], rows)):
            return "the first column rises by equal steps, like a point number or a time"
        if _is_whole(number) and not _is_whole(first[:, 1:]):
            return "the first column seems to be a point number"
    # In rows of missing returns, the columns before the points may have any value.
    seen = np.isfinite(table).all(axis=1) & (rest != 0).any(axis=1)
    first, rest = first[seen], rest[seen]
    if rest.shape[1] < 3 or len(rest) < _FEWEST or _is_whole(rest) or _are_normals(rest):
        return None
    if _is_whole(first) and first.min() >= 0 and 1 < first.max() <= _BRIGHTEST:
        return "the first three columns seem to be colours"
    if _are_normals(first):
        return "the first three columns seem to be normals"
    return None


def _is_even(column: Float, rows: Int) -> bool:
    """Tell whether all steps from row to row are equal."""
    step = (column[-1] - column[0]) / (rows[-1] - rows[0])
    away = np.abs(column - (column[0] + step * (rows - rows[0])))
    return bool(step != 0 and (away <= _EVEN * abs(step)).all())


def _is_whole(values: Float) -> bool:
    return bool(np.isfinite(values).all() and (values == np.round(values)).all())


def _are_normals(vectors: Float) -> bool:
    return bool((np.abs(np.linalg.norm(vectors, axis=1) - 1) <= _UNIT).all())
