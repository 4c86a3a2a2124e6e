"""Rows of a CSV file that the user writes, with a header of known columns."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from plumbline.errors import InputError
from plumbline.files import reading_csv


def read_rows(
    csv_path: Path, needed: Sequence[str], optional: Sequence[str], each: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """Read a CSV file in UTF-8; columns of other names are ignored.

    Args:
        csv_path: the file.
        needed: columns that it must have.
        optional: columns that it may have.
        each: what a row is about, such as ``"scan"``, for messages.

    Yields:
        The place of each row, for messages, and its cells by column.

    Raises:
        InputError: the message names the file, the line, and what is wrong there.
    """
    if not csv_path.is_file():
        what = "is a folder" if csv_path.is_dir() else "does not exist"
        raise InputError(f"{csv_path} {what}; give a CSV file with the columns {', '.join(needed)}")
    found = False
    with reading_csv(csv_path), csv_path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        _check_header(csv_path, rows.fieldnames or (), needed, (*needed, *optional))
        for row in rows:
            found, where = True, f"{csv_path}, line {rows.line_num}"
            # csv stores surplus cells under the key None, and gives missing cells the value None.
            if None in row or None in row.values():
                raise InputError(
                    f"{where}: more or fewer cells than the header; quote cells that contain commas"
                )
            yield where, row
    if not found:
        raise InputError(f"{csv_path} has no rows below its header; add one row per {each}")


def _check_header(csv_path: Path, header: Iterable[str], needed: Sequence[str], known: Sequence[str]) -> None:
    header = list(header)
    missing = [name for name in needed if name not in header]
    if missing:
        for mark, marks in ((";", "semicolons"), ("\t", "tabs")):
            if any(mark in cell for cell in header):
                raise InputError(
                    f"{csv_path}, line 1: {marks} separate the cells; the separator must be a comma"
                )
        raise InputError(f"{csv_path}, line 1: no column {', '.join(missing)}; add it to the header")
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in known}
    for name in header:
        meant = plain.get(re.sub(r"[^a-z]", "", name.lower()), name)
        if meant != name:
            raise InputError(f"{csv_path}, line 1: unknown column {name!r}; did you mean {meant}?")
    if len(set(header)) < len(header):
        raise InputError(f"{csv_path}, line 1: two columns have the same name; rename one")
