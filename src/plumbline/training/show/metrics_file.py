"""``metrics.csv``: the local record of a training."""

import csv
import os
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from plumbline.errors import InputError
from plumbline.training.metric_sums import AXES
from plumbline.writing import atomic_file

Row = Mapping[str, float]

_PER_AXIS = [f"{kind}_{axis}" for kind in ("mae", "mse") for axis in AXES]
COLUMNS = (
    "epoch",
    "step",
    *(f"train_{name}_step" for name in ("loss", "mae", "mse")),
    *(f"train_{name}_epoch" for name in ("loss", "mae", "mse")),
    *(f"train_{name}" for name in _PER_AXIS),
    *(f"val_{name}" for name in ("loss", "mae", "mse", *_PER_AXIS, "error", "error_rel")),
    "learning_rate",
)
"""Columns of ``metrics.csv``. Errors in data units; ``val_error_rel`` in radii of the objects."""


class CsvFile:
    """``metrics.csv``: one row per epoch and at least ten of steps, flushed to the file row by row.

    A file that is removed, alone or with its folder, is rewritten from the copy that is still open.

    Args:
        path: file path.
        resume_step: step of the checkpoint that training resumes from: rows up to it are kept, later ones are
            dropped. None starts a new file.
    """

    def __init__(self, path: Path, *, resume_step: int | None = None) -> None:
        kept = _rows_until(path, resume_step) if resume_step is not None and path.is_file() else []
        self.path, self._waiting = path, b""
        try:
            self._begin(_lines([dict(zip(COLUMNS, COLUMNS, strict=True)), *kept]))
        except OSError as error:
            raise InputError(f"cannot write {path} ({error.strerror})") from error

    def _begin(self, rows: bytes) -> None:
        """Start a new file with these rows and the unwritten ones."""
        # A kill at this moment must not lose the rows of the run.
        with atomic_file(self.path, durable=False) as file:
            file.write(rows + self._waiting)
        self._waiting = b""
        self._file = open(self.path, "r+b", buffering=0)  # noqa: SIM115 - open as long as we train
        self._file.seek(0, os.SEEK_END)

    def log(self, row: Row, step: int) -> bool:
        """Append one row; floats are written so that they read back equal.

        Returns:
            Whether the file was missing and has been rewritten.

        Raises:
            OSError: writing failed; the row is kept and written with the next one.
        """
        self._waiting += _lines([{**row, "step": step}])
        return self._write()

    def _write(self) -> bool:
        if self._in_place():
            self._drain()
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        before = self._file
        before.seek(0)
        self._begin(before.read())
        before.close()
        return True

    def _in_place(self) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def _drain(self) -> None:
        while self._waiting:
            self._waiting = self._waiting[self._file.write(self._waiting) :]

    def finish(self, exit_code: int) -> bool:
        """Close the file; returns and raises as :meth:`log` does."""
        try:
            return self._write()
        finally:
            self._file.close()


def _lines(rows: Sequence[Mapping[str, object]]) -> bytes:
    text = StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _rows_until(path: Path, step: int) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # A row truncated by a crash lacks columns.
    whole = [row for row in rows if set(row) == set(COLUMNS) and None not in row.values()]
    return [row for row in whole if int(row["step"]) <= step]
