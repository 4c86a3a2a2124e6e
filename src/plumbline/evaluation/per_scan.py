"""A file with one row for each scan: the prediction, the truth, the error."""

import csv
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plumbline.errors import InputError
from plumbline.writing import write_atomically

if TYPE_CHECKING:
    from plumbline.evaluation.evaluate import Evaluation

SUFFIXES = (".csv", ".jsonl")


def refuse_path(path: Path) -> None:
    """Raise InputError if the file's name does not say in which format it is wanted, or it has no folder."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--per_scan {path}: its name must end in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"--per_scan {path}: there is no folder {path.parent}")


def write_per_scan(path: Path, found: "Evaluation", files: Sequence[str] | None) -> None:
    """Write the rows, as CSV or as one JSON object a line.

    Args:
        path: the output file.
        found: the evaluation.
        files: names of the samples of the data set, where they are known.

    Raises:
        InputError: the file cannot be written.
    """
    rows = _rows(found, files)
    if path.suffix == ".csv":
        text = StringIO()
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        content = text.getvalue()
    else:
        content = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    try:
        write_atomically(path, content.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise InputError(f"--per_scan {path}: cannot be written ({error.strerror})") from error


def _rows(found: "Evaluation", files: Sequence[str] | None) -> list[dict[str, Any]]:
    """The rows, in the order of the data set. Frame and unit of the data set; ``error_rel`` in radii."""
    table, indices = found.table, found.table.indices
    errors = table.errors[table.model]
    columns: dict[str, Sequence[Any]] = {"graph": indices.tolist(), "object": errors.objects.tolist()}
    if files is not None:
        columns["file"] = [files[i] for i in indices]
    for name, points in (("prediction", table.predictions), ("truth", found.store.target[indices])):
        columns |= {f"{name}_{axis}": points[:, i].tolist() for i, axis in enumerate("xyz")}
    columns |= {"error": errors.error.tolist(), "error_rel": errors.error_rel.tolist()}
    if table.metric_scale:
        columns["error_m"] = errors.error_m.tolist()
    if found.expected is not None:
        columns["expected_error"] = found.expected.tolist()
        if "0.9" in found.trained.error_factors:
            columns["radius_90"] = (found.trained.error_factors["0.9"] * found.expected).tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
