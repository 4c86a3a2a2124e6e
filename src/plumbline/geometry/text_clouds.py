"""Scans from tables of numbers in text files: xyz, txt and csv."""

import csv
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.column_names import find_axes, is_unit, without_units
from plumbline.geometry.unnamed_columns import why_not_xyz
from plumbline.records import Cloud

_COMMENTS = ("#", "//", "%")
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d*(?:,\d+)?(?:[eE][+-]?\d+)?")
_QUOTED_COMMA = re.compile(r'"[+-]?\d*,\d+"')
_SEPARATOR_LINE = re.compile(r"sep=.", re.IGNORECASE)
"""The line in which spreadsheets name the separator of a csv file."""
_IN_ORDER = frozenset({".pts", ".xyzi", ".xyzn", ".xyzrgb"})
"""Formats whose first three columns are x, y and z."""
_FIRST = 1000
"""Rows that are looked at to tell what their columns are."""
_TITLES = 20
"""Most lines of text above the names of the columns."""
_FRACTION = re.compile(r"\d[.,]\d|\d\.?[eEdD][+-]?\d")
"""In what is a number, not a name."""
_DECIMALS = re.compile(r"0\d+")
"""Decimals that are not whole numbers."""


def read_text(path: Path) -> Cloud:
    """Read the columns x, y and z of a text file.

    The columns are named by a header line, or by a comment above the numbers that names as many columns as
    there are; otherwise the first three are taken. They are separated by white space, commas or semicolons.
    The number of points may stand above them. Names may be in any encoding.

    Raises:
        InputError: the file is empty, not text, or not a table of numbers; the message names the file.
        OSError: the file cannot be read.
    """
    text = _text(path)
    lines = text.split("\n")
    start = next((number for number, line in enumerate(lines) if _is_row(line)), len(lines))
    # As in _is_row, which would be called a million times here.
    rows = [line for line in lines[start:] if (bare := line.lstrip()) and not bare.startswith(_COMMENTS)]
    if not rows:
        raise InputError(f"{path} is empty; one line of x, y, z per point is needed")
    comments = [line.strip() for line in lines[:start] if line.strip()]
    total = len(rows)
    rows = rows[1:] if _SEPARATOR_LINE.fullmatch(rows[0].strip().strip('"')) else rows
    rows, declared = _without_count(rows)
    header, rows = _take_header(rows)
    if header is not None and declared is None:
        rows, declared = _without_count(rows)
    if not rows:
        raise InputError(f"{path} is empty; one line of x, y, z per point is needed below its header")
    _check_count(path, rows, declared)
    skipped, separator, notes = total - len(rows), _separator(rows[0]), tuple[str, ...]()
    if header is not None and "\t" in rows[0] and _separator(header) == "\t":
        separator = "\t"  # even if the first row has an empty cell
    if separator == "," and '"' in text and _QUOTED_COMMA.search(text):
        header = None if header is None else "\t".join(_split(header, ","))
        rows, separator = ["\t".join(cells) for cells in csv.reader(rows)], "\t"
    # Not only the first row: one of whole numbers, such as a missing return, has no commas.
    with_comma = next((row for row in rows if "," in row), "") if "," in text else ""
    if _has_decimal_commas(with_comma, separator):
        rows = [row.replace(",", ".") for row in rows]
        notes = ("its commas are decimal commas",)
    elif separator == ",":
        _check_commas(path, rows)
    names = [] if header is None else _names(header)
    if names and _has_row_names(names, rows, separator):
        names = ["", *names]
        notes = (*notes, "the first column, which the header does not name, is left out")
    columns = None if header is None else _named_by_header(path, header, names, rows[0], separator)
    width = len(_split(rows[0], separator))
    columns = columns or _named_by_comments(path, comments, width, separator)
    named = columns is not None
    columns = columns or ([1, 2, 3] if names[:1] == [""] else [0, 1, 2])
    if not named and width > columns[2] + 1:
        notes = (*notes, *_check_unnamed(path, rows, separator, columns))
    try:
        points = np.loadtxt(rows, delimiter=separator, usecols=columns, ndmin=2, comments=None, quotechar='"')
    except ValueError:
        numbers = [number for number, line in enumerate(lines, 1) if _is_row(line)]
        raise _bad_row(path, rows, numbers[skipped:], columns, separator) from None
    return Cloud(points, name=str(path), notes=notes)


def _text(path: Path) -> str:
    """The content, with lines that end in LF."""
    data = path.read_bytes()
    encoding = next((name for mark, name in _BOMS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        # Only names and comments can be in another encoding, and which one does not matter.
        text = data.decode("latin-1")
    if "\0" in text:
        raise InputError(f"{path} cannot be read as {path.suffix[1:]}: it is not a text file")
    # Not splitlines: it also splits where other encodings have letters.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_row(line: str) -> bool:
    line = line.lstrip()
    return bool(line) and not line.startswith(_COMMENTS)


def _without_count(rows: list[str]) -> tuple[list[str], int | None]:
    """Take off a first line that holds one whole number only, the number of points."""
    if len(rows) > 1 and (count := _count(rows[0])) is not None:
        return rows[1:], count
    return rows, None


def _count(row: str) -> int | None:
    word = row.strip()
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 19 else None


def _check_count(path: Path, rows: Sequence[str], declared: int | None) -> None:
    """Refuse a table with more or fewer rows than the number above it says."""
    if declared in (None, len(rows)):
        return
    if declared < len(rows) and _count(rows[declared]) is not None:
        raise InputError(f"{path}: it holds several scans; give one scan in a file")
    raise InputError(
        f"{path} is truncated or damaged: it declares {declared} points, but has {len(rows)} rows"
    )


def _take_header(rows: list[str]) -> tuple[str | None, list[str]]:
    """Take off the line that names the columns, a title above it, and a line of units below it."""
    if not rows or not _is_header(rows):
        return None, rows
    place = 0
    for number, row in enumerate(rows[:_TITLES]):
        if _begins_with_numbers(_split(row, _separator(row))):
            break
        if find_axes(_names(row)) is not None:
            place = number
            break
    header, rows = rows[place], rows[place + 1 :]
    axes = find_axes(_names(header))
    if axes is not None and len(rows) > 1:
        below = _split(rows[0], _separator(rows[0]))
        if len(below) > max(axes) and all(is_unit(below[axis]) for axis in axes):
            rows = rows[1:]
    return header, rows


def _names(header: str) -> list[str]:
    separator = _separator(header)
    return _split(without_units(header) if separator is None else header, separator)


def _separator(row: str) -> str | None:
    if ";" in row:
        return ";"
    if "," in row and not _has_decimal_commas(row, None):
        return ","
    cells = row.split("\t")
    return "\t" if len(cells) > 2 and all(map(str.strip, cells)) else None


def _has_decimal_commas(row: str, separator: str | None) -> bool:
    """Tell whether the commas of a row of numbers do not separate them."""
    if "," not in row or separator == ",":
        return False
    cells = _split(row, separator)
    return len(cells) > 2 and all(map(_DECIMAL_COMMA.fullmatch, cells[:3]))


def _check_commas(path: Path, rows: Sequence[str]) -> None:
    """Refuse a table whose columns are separated by commas, and its decimals too: ``0,101,0,064,0,217``."""
    table = [_split(row, ",") for row in rows[:50]]
    whole = not any("." in cell for cells in table for cell in cells)
    if whole and any(len(cells) > 5 and any(map(_DECIMALS.fullmatch, cells[1::2])) for cells in table):
        raise InputError(
            f"{path}: commas separate the columns and seem to be decimal commas too; write decimal points"
        )


def _split(row: str, separator: str | None) -> list[str]:
    """Split a row into cells without quotes. Empty cells at its end are left out."""
    if separator is not None and '"' in row:
        cells = next(csv.reader([row], delimiter=separator, skipinitialspace=True))
    else:
        cells = row.split(separator)
    cells = [cell.strip().strip("\"'") for cell in cells]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _is_header(rows: Sequence[str]) -> bool:
    """Tell whether the first row names the columns, or numbers them 0, 1, 2 as pandas does."""
    cells = _split(rows[0], _separator(rows[0]))
    if not _begins_with_numbers(cells):
        return True
    return _is_numbering(cells) and len(rows) > 1 and any(mark in rows[1] for mark in ".eE")


def _begins_with_numbers(cells: Sequence[str]) -> bool:
    return all(_is_number(cell.replace(",", ".")) for cell in cells[:3])


def _is_numbering(names: Sequence[str]) -> bool:
    return len(names) > 2 and list(names) == [str(number) for number in range(len(names))]


def _has_row_names(names: Sequence[str], rows: Sequence[str], separator: str | None) -> bool:
    """Tell whether the first column, without a name, numbers or names the rows, as R and pandas write it."""
    table = [_split(row, separator) for row in rows[:_FIRST]]
    if len(table) < 2 or any(len(cells) != len(names) + 1 for cells in table):
        return False
    first = [cells[0] for cells in table]
    if not any(map(_is_number, first)) or all(row.lstrip().startswith('"') for row in rows[:_FIRST]):
        return True
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
        absent = [axis for axis in "xyz" if axis not in map(str.lower, names)]
        shown = header.strip()[:40]
        if _FRACTION.search(header):
            raise InputError(
                f"{path}: the first line {shown!r} neither names the columns nor holds numbers alone, "
                "separated by blanks, tabs, commas or semicolons"
            )
        if not absent:
            raise InputError(f"{path}: the header {shown!r} names x, y or z twice; name one column each")
        raise InputError(f"{path}: the header {shown!r} has no column {', '.join(absent)}; name x, y and z")
    width, named = len(_split(row, separator)), len(names)
    # Without a name for a first column that numbers the rows (R), all other names would move by one. Further
    # columns, or names of several words, do no harm behind x, y and z.
    harmless = separator is None and columns == [0, 1, 2] and width != named + 1
    if not harmless and not width <= named <= len(row.split(separator)):
        raise InputError(
            f"{path}: the header names {named} columns, but the row below has {width}; name each column"
        )
    return columns


def _named_by_comments(
    path: Path, comments: Sequence[str], width: int, separator: str | None
) -> list[int] | None:
    """Find x, y and z in a comment above the numbers; None if none names them.

    Raises:
        InputError: a comment names x, y and z, but it is unclear which columns they are.
    """
    prose = list[str]()
    for comment in reversed(comments):
        text = without_units(comment.lstrip("#/% \t")).strip()
        for names in (text.split(separator), words := re.split(r"[,;\s]+", text.strip(",; "))):
            if names[0].rstrip().endswith(":"):  # "columns: x y z"
                names = names[1:]
            axes = find_axes(names) if len(names) == width else None
            if axes is not None:
                return axes
        if not prose and find_axes(words) is not None:
            prose = words
    # A sentence around the names, or names of the first columns only: it must not mean any other columns.
    starts = range(max(len(prose) - width, 0) + 1)
    readings = [axes for at in starts if (axes := find_axes(prose[at : at + width])) is not None]
    if all(axes == [0, 1, 2] for axes in readings):
        return readings[0] if readings else None
    raise InputError(
        f"{path}: a comment above the numbers names x, y and z among {len(prose)} words, but there are "
        f"{width} columns; let it name each column, or remove it"
    )


def _check_unnamed(
    path: Path, rows: Sequence[str], separator: str | None, columns: Sequence[int]
) -> tuple[str, ...]:
    """Refuse columns without names that are not x, y and z; returns a note on what they are taken for.

    Raises:
        InputError: they begin with other numbers; the message names the file.
    """
    start = columns[0]
    cells = [_split(row, separator)[start : start + 6] for row in rows[:_FIRST]]
    table = np.array(
        [
            [float(cell) if _is_number(cell) else np.nan for cell in row]
            for row in cells
            if len(row) == len(cells[0])
        ]
    )
    if (reason := why_not_xyz(table)) is not None:
        raise InputError(
            f"{path}: {reason}; name the columns in a line above the numbers, such as 'number x y z'"
        )
    if path.suffix.lower() in _IN_ORDER:
        return ()
    return ("its columns have no names, and the first three are taken for x, y and z",)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _bad_row(
    path: Path, rows: Sequence[str], lines: Sequence[int], columns: Sequence[int], separator: str | None
) -> InputError:
    """Find the first row that is not one of numbers; ``lines`` has the number of each row's line."""
    what = f"{path} cannot be read as {path.suffix[1:]}"
    for row, line in zip(rows, lines, strict=True):
        cells = _split(row, separator)
        cells += [""] * (row.count(separator or "\n") + 1 - len(cells))
        if len(cells) <= max(columns):
            return InputError(
                f"{what}: line {line} has {len(cells)} of the {max(columns) + 1} columns needed"
            )
        wrong = next((cells[column] for column in columns if not _is_number(cells[column])), None)
        if wrong is not None:
            return InputError(f"{what}: line {line} has {wrong[:40]!r} where a number is needed")
    return InputError(f"{what}: it is not a table of numbers")
