"""Labels and poses of scans in files that grow: one object after another is added."""

import csv
import io
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from plumbline.errors import InputError
from plumbline.files import reading, reading_csv
from plumbline.geometry.clouds import LABEL_COLUMNS, Label, read_labels
from plumbline.writing import write_atomically


def kept_labels(path: Path, scans: Collection[Path]) -> list[dict[str, str]]:
    """The rows of an existing CSV of labels that are not about the given scans; none if there is no file.

    Raises:
        InputError: the file is not one of labels, as :func:`read_labels` says.
    """
    if not path.exists():
        return []
    read_labels(path)
    given = {scan.resolve() for scan in scans}
    with reading_csv(path), path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if (path.parent / row["file"].strip()).resolve() not in given]


def write_labels(path: Path, kept: Sequence[Mapping[str, str]], labels: Sequence[Label]) -> None:
    """Write rows that are kept, with all their columns, and labels, as :func:`read_labels` reads them.

    Paths of scans are written relative to the file. Raises OSError.
    """
    others = dict.fromkeys(column for row in kept for column in row if column not in LABEL_COLUMNS)
    text = io.StringIO(newline="")
    rows = csv.DictWriter(text, [*LABEL_COLUMNS, *others], restval="")
    rows.writeheader()
    rows.writerows(kept)
    rows.writerows(_row(path, label) for label in labels)
    write_atomically(path, text.getvalue().encode())


def relative_to(path: Path, scan: Path) -> str:
    """The path of a scan as a file names it, relative to the folder of that file."""
    return Path(os.path.relpath(scan.absolute(), path.parent.absolute())).as_posix()


def _row(path: Path, label: Label) -> dict[str, str]:
    numbers = {"com": label.com} if label.sensor is None else {"com": label.com, "sensor": label.sensor}
    cells = {
        f"{name}_{axis}": repr(value)
        for name, values in numbers.items()
        for axis, value in zip("xyz", values.tolist(), strict=True)
    }
    if label.bounding_radius is not None:
        cells["bounding_radius"] = repr(label.bounding_radius)
    return {"file": relative_to(path, label.path), "object_name": label.object_name, **cells}


def kept_poses(path: Path, scans: Collection[Path]) -> list[str]:
    """The lines of an existing file of poses that are not about the given scans; none if there is no file.

    Raises:
        InputError: a line is not a pose.
    """
    if not path.exists():
        return []
    given = {scan.resolve() for scan in scans}
    kept = []
    with reading(path):
        content = path.read_bytes()
    for number, line in enumerate(content.splitlines(), 1):
        try:
            said = line.decode()
            other = (path.parent / json.loads(said)["file"]).resolve()
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"--poses {path}, line {number}: this is not a line of poses; choose another name"
            ) from error
        if other not in given:
            kept.append(said)
    return kept


def write_poses(path: Path, kept: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> None:
    """Write lines that are kept, and others as JSON. Raises OSError."""
    said = [*kept, *(json.dumps(line, allow_nan=False) for line in lines)]
    write_atomically(path, "".join(f"{line}\n" for line in said).encode())
