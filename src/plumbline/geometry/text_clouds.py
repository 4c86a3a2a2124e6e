"""Scans from tables of numbers in text files: xyz, txt, csv and others."""

import csv
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.ascii_numbers import is_count
from plumbline.geometry.text_columns import choose_columns, take_header
from plumbline.geometry.text_rows import (
    COMMENTS,
    find_separator,
    has_decimal_commas,
    is_number,
    is_row,
    split_row,
)
from plumbline.records import Cloud

_BOMS = {BOM_UTF8: "utf-8-sig", BOM_UTF16_LE: "utf-16", BOM_UTF16_BE: "utf-16"}
_QUOTED_COMMA = re.compile(r'"[+-]?\d*,\d+"')
_SEPARATOR_LINE = re.compile(r"sep=.", re.IGNORECASE)
"""The line in which spreadsheets name the separator of a csv file."""
_DECIMALS = re.compile(r"0\d+")
"""Decimals that are not whole numbers."""


def read_text(path: Path) -> Cloud:
    """Read the columns x, y and z of a text file.

    The columns are named by a header line, or by a comment above the numbers that names every column;
    otherwise the first three are taken. They are separated by white space, commas or semicolons. The number
    of points may precede them. Names may be in any encoding.

    Raises:
        InputError: the file is empty, not text, or not a table of numbers; the message names the file.
        OSError: the file cannot be read.
    """
    text = _text(path)
    lines, has_comma = text.split("\n"), "," in text
    quoted = has_comma and '"' in text and _QUOTED_COMMA.search(text) is not None
    del text
    start = next((number for number, line in enumerate(lines) if is_row(line)), len(lines))
    # As in is_row, which would be called a million times here.
    rows = [line for line in lines[start:] if (bare := line.lstrip()) and not bare.startswith(COMMENTS)]
    if not rows:
        raise InputError(f"{path} is empty; one line of x, y, z per point is needed")
    total = len(rows)
    rows = rows[1:] if _SEPARATOR_LINE.fullmatch(rows[0].strip().strip('"')) else rows
    rows, declared = _without_count(rows)
    header, rows = take_header(rows, _comments_above(lines, 0))
    if header is not None and declared is None:
        rows, declared = _without_count(rows)
    if not rows:
        raise InputError(f"{path} is empty; one line of x, y, z per point is needed below its header")
    _check_count(path, rows, declared)
    skipped, separator, notes = total - len(rows), find_separator(rows[0]), tuple[str, ...]()
    if header is not None and "\t" in rows[0] and find_separator(header) == "\t":
        separator = "\t"  # even if the first row has an empty cell
    if separator == "," and quoted:
        header = None if header is None else "\t".join(split_row(header, ","))
        rows, separator = ["\t".join(cells) for cells in csv.reader(rows, skipinitialspace=True)], "\t"
    # Not only the first row: one of whole numbers, such as a missing return, has no commas.
    with_comma = next((row for row in rows if "," in row), "") if has_comma else ""
    if has_decimal_commas(with_comma, separator):
        rows = [row.replace(",", ".") for row in rows]
        notes = ("its commas are read as decimal commas",)
    elif separator == ",":
        _check_commas(path, rows)
    comments = _comments_above(lines, skipped)
    columns, assumed = choose_columns(path, header, comments, rows, separator)
    try:
        points = np.loadtxt(rows, delimiter=separator, usecols=columns, ndmin=2, comments=None, quotechar='"')
    except ValueError:
        numbers = [number for number, line in enumerate(lines, 1) if is_row(line)]
        raise _bad_row(path, rows, numbers[skipped:], columns, separator) from None
    return Cloud(points, name=str(path), notes=notes + assumed)


def _text(path: Path) -> str:
    """Read the text, with lines that end in LF."""
    data = path.read_bytes()
    encoding = next((name for mark, name in _BOMS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        # Only names and comments can be in another encoding, and which one does not matter.
        text = data.decode("latin-1")
    if "\0" in text:
        raise InputError(
            f"{path} cannot be read as {path.suffix[1:]}: it is not a text file; export it again"
        )
    # Not splitlines: it also splits where other encodings have letters.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _comments_above(lines: Sequence[str], skipped: int) -> list[str]:
    """The comments above the numbers, in order: those before row ``skipped`` of all rows of the file."""
    comments, rows = list[str](), 0
    for line in lines:
        if is_row(line):
            if rows == skipped:
                break
            rows += 1
        elif line.strip():
            comments.append(line.strip())
    return comments


def _without_count(rows: list[str]) -> tuple[list[str], int | None]:
    """Remove a first line that is one whole number, the number of points."""
    if len(rows) > 1 and (count := _count(rows[0])) is not None:
        return rows[1:], count
    return rows, None


def _count(row: str) -> int | None:
    word = row.strip()
    return int(word) if is_count(word) else None


def _check_count(path: Path, rows: Sequence[str], declared: int | None) -> None:
    """Refuse a table with another number of rows than declared."""
    if declared in (None, len(rows)):
        return
    if declared < len(rows) and _count(rows[declared]) is not None:
        raise InputError(f"{path}: it has several scans; give one scan per file")
    raise InputError(
        f"{path} is truncated or damaged: it declares {declared:,} points, but has {len(rows):,} rows; "
        "export it again"
    )


def _check_commas(path: Path, rows: Sequence[str]) -> None:
    """Refuse a table in which commas separate columns and decimals: ``0,101,0,064,0,217``."""
    table = [split_row(row, ",") for row in rows[:50]]
    whole = not any("." in cell for cells in table for cell in cells)
    if whole and any(len(cells) > 5 and any(map(_DECIMALS.fullmatch, cells[1::2])) for cells in table):
        raise InputError(
            f"{path}: commas separate the columns and seem to be decimal commas too; write decimal points"
        )


def _bad_row(
    path: Path, rows: Sequence[str], lines: Sequence[int], columns: Sequence[int], separator: str | None
) -> InputError:
    """Describe the first row without numbers; ``lines`` has the line number of each row."""
    what = f"{path} cannot be read as {path.suffix[1:]}"
    for row, line in zip(rows, lines, strict=True):
        cells = split_row(row, separator)
        cells += [""] * (row.count(separator or "\n") + 1 - len(cells))
        if len(cells) <= max(columns):
            return InputError(
                f"{what}: line {line} has {len(cells)} of the {max(columns) + 1} columns needed; export it "
                "again"
            )
        wrong = next((cells[column] for column in columns if not is_number(cells[column])), None)
        if wrong is not None:
            return InputError(
                f"{what}: line {line} has {wrong[:40]!r} where a number is needed; export it again"
            )
    return InputError(f"{what}: it is not a table of numbers; export it again")
