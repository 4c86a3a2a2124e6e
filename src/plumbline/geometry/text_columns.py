"""The columns x, y and z of a text file: those that a header or comment names, otherwise the first three."""

import re
from collections.abc import Sequence
from itertools import compress, pairwise
from pathlib import Path

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.column_names import find_axes, find_vectors, is_unit, without_units
from plumbline.geometry.text_rows import find_separator, is_number, split_row
from plumbline.geometry.unnamed_columns import WIDEST, is_depth_image, is_matrix, sample_rows, why_not_xyz

_IN_ORDER = frozenset({".pts", ".xyzi", ".xyzn", ".xyzrgb"})
"""Formats whose first three columns are x, y and z."""
_FIRST = 200
"""Rows from which the kind of a column is inferred."""
_TITLES = 20
"""Most lines of text above the names of the columns."""
_MARKS = "#/% \t"
_LABEL = re.compile(r"(?:columns?|fields?|names?|header|format) *:", re.IGNORECASE)
"""What the names of columns follow in a comment: ``columns: t x y z``."""
_SENTENCE = re.compile(r"\b(?:an|and|at|by|for|from|in|is|of|on|the|this|to|with)\b", re.IGNORECASE)
"""A word that is no name of a column: a comment with one is a sentence."""
_FRACTION = re.compile(r"\d[.,]\d|\d\.?[eEdD][+-]?\d")
"""Part of a number, not of a name."""


def choose_columns(
    path: Path, header: str | None, comments: Sequence[str], rows: Sequence[str], separator: str | None
) -> tuple[list[int], tuple[str, ...]]:
    """Find the columns of x, y and z, and notes on what was assumed.

    Args:
        path: the file, for messages.
        header: the line that names the columns, or None.
        comments: those above the rows.
        rows: of numbers.
        separator: of the rows.

    Raises:
        InputError: the columns are named, but not clearly, or begin with other numbers; the message names the
            file.
    """
    names, notes = [] if header is None else _names(header), tuple[str, ...]()
    if names and _has_row_names(names, rows, separator):
        names = ["", *names]
        notes = ("the first column, which the header does not name, is left out",)
    axes = None if header is None else _named_by_header(path, header, names, rows[0], separator)
    width = len(split_row(rows[0], separator))
    axes = axes or _named_by_comments(path, comments, width, separator)
    if axes is None:
        if header is None and comments:
            _check_comment(path, comments[-1], width, separator)
        axes = [1, 2, 3] if names[:1] == [""] else [0, 1, 2]
        notes += _check_unnamed(path, rows, separator, axes[0])
    return axes, notes


def take_header(rows: list[str], comments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Remove the line that names the columns, a title above it, and a line of units below it.

    Args:
        rows: all lines but comments.
        comments: those above the rows.
    """
    if not rows or not _is_header(rows) or _is_named_row(rows[0], comments):
        return None, rows
    place = 0
    for number, row in enumerate(rows[:_TITLES]):
        if _begins_with_numbers(split_row(row, find_separator(row))):
            break
        if find_axes(_names(row)) is not None:
            place = number
            break
    header, rows = rows[place], rows[place + 1 :]
    axes = find_axes(_names(header))
    if axes is not None and len(rows) > 1:
        below = split_row(rows[0], find_separator(rows[0]))
        if len(below) > max(axes) and all(is_unit(below[axis]) for axis in axes):
            rows = rows[1:]
    return header, rows


def _names(header: str) -> list[str]:
    separator = find_separator(header)
    return split_row(without_units(header) if separator is None else header, separator)


def _is_header(rows: Sequence[str]) -> bool:
    """Tell whether the first row names the columns, or numbers them 0, 1, 2 as pandas does."""
    cells = split_row(rows[0], find_separator(rows[0]))
    if not _begins_with_numbers(cells):
        return True
    return _is_numbering(cells) and len(rows) > 1 and any(mark in rows[1] for mark in ".eE")


def _is_named_row(row: str, comments: Sequence[str]) -> bool:
    """Tell whether a row has numbers for the x, y and z of a comment, even if it begins with other text."""
    separator = find_separator(row)
    cells = split_row(row, separator)
    found = (_each_named(comment, len(cells), separator) for comment in comments)
    return any(axes is not None and all(is_number(cells[axis]) for axis in axes) for axes in found)


def _begins_with_numbers(cells: Sequence[str]) -> bool:
    return all(is_number(cell.replace(",", ".")) for cell in cells[:3])


def _is_numbering(names: Sequence[str]) -> bool:
    return len(names) > 2 and list(names) == [str(number) for number in range(len(names))]


def _has_row_names(names: Sequence[str], rows: Sequence[str], separator: str | None) -> bool:
    """Tell whether the first column, without a name, numbers or names the rows, as R and pandas write it."""
    table = [split_row(row, separator) for row in rows[:_FIRST]]
    if len(table) < 2 or any(len(cells) != len(names) + 1 for cells in table):
        return False
    first = [cells[0] for cells in table]
    if not any(map(is_number, first)) or all(row.lstrip().startswith('"') for row in rows[:_FIRST]):
        return True
    if not all(map(is_number, first)):
        return False
    return all(float(after) - float(before) == 1 for before, after in pairwise(first))


def _named_by_header(
    path: Path, header: str, names: Sequence[str], row: str, separator: str | None
) -> list[int] | None:
    """Find x, y and z in the header; None if it numbers the columns.

    Args:
        path: the file, for messages.
        header: its line.
        names: of the columns.
        row: the first row of numbers.
        separator: of the rows of numbers.

    Raises:
        InputError: it has no x, y or z, or does not name all columns.
    """
    if _is_numbering(names[names[:1] == [""] :]):
        return None
    columns = find_axes(names)
    if columns is None:
        shown = header.strip()[:40]
        if _FRACTION.search(header):
            raise InputError(
                f"{path}: the first line {shown!r} neither names the columns nor has only numbers; separate "
                "them by blanks, tabs, commas or semicolons"
            )
        raise InputError(f"{path}: the header {shown!r} {_why_unclear(names)}")
    width, named = len(split_row(row, separator)), len(names)
    # If a first column of row numbers has no name (R), all other names move by one. Columns after x, y and z
    # do no harm.
    harmless = separator is None and columns == [0, 1, 2] and width != named + 1
    if not harmless and not width <= named <= len(row.split(separator)):
        raise InputError(
            f"{path}: the header names {named} columns, but the row below has {width}; name each column"
        )
    return columns


def _why_unclear(names: Sequence[str]) -> str:
    """Say which of x, y and z are missing among the names, or named twice, and what helps."""
    if len(vectors := [*find_vectors(names)]) > 1:
        return (
            f"has x, y and z of {vectors[0]!r} and of {vectors[1]!r}; call the columns of the points "
            "x, y and z, in a file of one row per point"
        )
    absent = [axis for axis in "xyz" if axis not in map(str.lower, names)]
    if not absent:
        return "names x, y or z twice; name one column each"
    return f"has no column {', '.join(absent)}; name x, y and z"


def _check_comment(path: Path, comment: str, width: int, separator: str | None) -> None:
    """Refuse a comment that names every column, but none x, y and z.

    A sentence can have as many words as there are columns. It is not refused if its words say that it is one.

    Raises:
        InputError: it does; the message names the file.
    """
    text = _LABEL.sub("", comment.lstrip(_MARKS), count=1)
    for names in _readings(text, separator):
        names = [name.strip() for name in names]
        if len(names) != width or any(not name or is_number(name) or name.endswith(":") for name in names):
            continue
        if _SENTENCE.search(text) is None:
            shown = text.strip()[:40]
            raise InputError(f"{path}: the comment {shown!r} {_why_unclear(names)}, or remove the comment")


def _each_named(comment: str, width: int, separator: str | None) -> list[int] | None:
    """Find x, y and z in a comment that has a name for every column."""
    for names in _readings(comment, separator):
        if names[0].rstrip().endswith(":"):  # "columns: x y z"
            names = names[1:]
        axes = find_axes(names) if len(names) == width else None
        if axes is not None:
            return axes
    return None


def _readings(comment: str, separator: str | None) -> tuple[list[str], list[str]]:
    """Split a comment as a row, and at every separator."""
    text = without_units(comment.lstrip(_MARKS)).strip()
    return text.split(separator), re.split(r"[,;\s]+", text.strip(",; "))


def _named_by_comments(
    path: Path, comments: Sequence[str], width: int, separator: str | None
) -> list[int] | None:
    """Find x, y and z in a comment above the numbers; None if none names them.

    Raises:
        InputError: a comment names x, y and z, but it is unclear which columns they are.
    """
    prose = list[str]()
    for comment in reversed(comments):
        if (axes := _each_named(comment, width, separator)) is not None:
            return axes
        words = _readings(comment, separator)[1]
        if not prose and find_axes(words) is not None:
            prose = words
    # A sentence with the names, or names of the first columns only, must not be read as other columns.
    starts = range(max(len(prose) - width, 0) + 1)
    found = [axes for at in starts if (axes := find_axes(prose[at : at + width])) is not None]
    if all(axes == [0, 1, 2] for axes in found):
        return found[0] if found else None
    raise InputError(
        f"{path}: a comment above the numbers names x, y and z among {len(prose)} words, but there are "
        f"{width} columns; let it name each column, or remove it"
    )


def _check_unnamed(path: Path, rows: Sequence[str], separator: str | None, start: int) -> tuple[str, ...]:
    """Refuse columns without names that are not x, y and z; return a note on what is assumed.

    Args:
        path: the file, for messages.
        rows: of numbers.
        separator: of the rows.
        start: the first column that counts.

    Raises:
        InputError: the rows are an image or a matrix, or begin with other numbers; the message names the
            file.
    """
    width = len(split_row(rows[0], separator)) - start
    if width <= 3 and len(rows) > 3:
        return ()
    numbers = sample_rows(len(rows))
    cells = [split_row(rows[number], separator)[start : start + WIDEST] for number in numbers]
    whole = [len(row) == len(cells[0]) for row in cells]
    table = np.array(
        [[float(cell) if is_number(cell) else np.nan for cell in row] for row in compress(cells, whole)]
    )
    shape, size = (len(rows), width), f"{len(rows):,} rows of {width:,} numbers"
    if is_matrix(table, shape):
        raise InputError(f"{path}: its {size} look like a matrix; points are needed")
    if len(rows) in (3, 4) and width > 4:
        raise InputError(f"{path}: its {size} are a row for each of x, y and z; write a row for each point")
    if is_depth_image(table, shape):
        raise InputError(
            f"{path}: its {size} look like a depth image; save it as .npy and give it with --depth and "
            "--intrinsics"
        )
    if width > WIDEST:
        raise InputError(
            f"{path}: its {width:,} columns have no names; name them in a line above the numbers"
        )
    if (reason := why_not_xyz(table, numbers[whole])) is not None:
        raise InputError(
            f"{path}: {reason}; name the columns in a line above the numbers, such as 'number x y z'"
        )
    if width <= 3 or path.suffix.lower() in _IN_ORDER:
        return ()
    return ("its columns have no names, and the first three are taken for x, y and z",)
