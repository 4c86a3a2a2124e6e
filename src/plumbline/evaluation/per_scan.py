"""A file with one row for each scan: the prediction, the truth, the error."""

import csv
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plumbline.errors import InputError
from plumbline.records import Float
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
    """The rows, in the order of the data set.

    Frame and unit of the data set; names that end in ``_m``: metres, world frame; ``error_rel``: in radii.
    """
    table, store, indices = found.table, found.store, found.table.indices
    errors = table.errors[table.model]
    columns: dict[str, Any] = {"graph": indices, "object": errors.objects}
    if files is not None:
        columns["file"] = np.array(files, dtype=object)[indices]
    points = {"prediction": table.predictions, "truth": store.target[indices]}
    lengths = {"error": errors.error}
    if (expected := found.answers.expected_error) is not None:
        lengths["expected_error"] = expected
        if (factor := found.trained.calibration.error_factors.get("0.9")) is not None:
            lengths["radius_90"] = factor * expected
    columns |= {**_coordinates(points), **lengths, "error_rel": errors.error_rel}
    if table.metric_scale:
        origin, scale = store.origin[indices], store.scale[indices]
        world = {name: origin + scale[:, None] * xyz for name, xyz in points.items()}
        metric = {**_coordinates(world), **{name: scale * values for name, values in lengths.items()}}
        columns |= {f"{name}_m": values for name, values in metric.items()}
    values = [column.tolist() for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _coordinates(points: dict[str, Float]) -> dict[str, Float]:
    """One column for each coordinate."""
    return {f"{name}_{axis}": xyz[:, i] for name, xyz in points.items() for i, axis in enumerate("xyz")}
