"""Rows of a table in a text file: their cells and separators."""

import csv
import re

COMMENTS = ("#", "//", "%")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*(?:,\d+)?(?:[eE][+-]?\d+)?")


def is_row(line: str) -> bool:
    """Tell whether a line is neither empty nor a comment."""
    line = line.lstrip()
    return bool(line) and not line.startswith(COMMENTS)


def find_separator(row: str) -> str | None:
    """Find what separates the cells of a row; None for white space."""
    if ";" in row:
        return ";"
    if "," in row and not has_decimal_commas(row, None):
        return ","
    cells = row.split("\t")
    return "\t" if len(cells) > 2 and all(map(str.strip, cells)) else None


def has_decimal_commas(row: str, separator: str | None) -> bool:
    """Tell whether the commas of a row of numbers do not separate them."""
    if "," not in row or separator == ",":
        return False
    cells = split_row(row, separator)
    return len(cells) > 2 and all(map(_DECIMAL_COMMA.fullmatch, cells[:3]))


def split_row(row: str, separator: str | None) -> list[str]:
    """Split a row into cells without quotes. Empty cells at its end are left out."""
    if separator is not None and '"' in row:
        cells = next(csv.reader([row], delimiter=separator, skipinitialspace=True))
    else:
        cells = row.split(separator)
    cells = [cell.strip().strip("\"'") for cell in cells]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def is_number(text: str) -> bool:
    """Tell whether a cell is a number, NaN and infinity included."""
    try:
        float(text)
    except ValueError:
        return False
    return True
