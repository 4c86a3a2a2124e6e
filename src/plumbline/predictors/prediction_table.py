"""Table of predictions for the terminal."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from plumbline import __version__
from plumbline.console.tables import WIDEST, Column, print_fitting
from plumbline.errors import InputError
from plumbline.predictors.find_checkpoint import SHIPPED
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.predictor import Predictor
from plumbline.records import AS_IN_FILE


def print_predictions(
    console: Console,
    files: Sequence[Path],
    found: Sequence[Prediction | InputError],
    predictor: Predictor,
) -> None:
    """Print one row for each file that has a prediction, and the name of the predictor."""
    rows = [
        _row(file, answer)
        for file, answer in zip(files, found, strict=True)
        if isinstance(answer, Prediction)
    ]
    if not rows:
        return
    if not console.is_terminal:  # only a terminal wraps long names; a pipe gets one line per file
        console.width = WIDEST
    heads = ("file", "x", "y", "z", "expected error", "90 % within", "points", "left out", "views", "sensor")
    gives_way = {"views": 1, "points": 2, "expected error": 3, "left out": 4, "sensor": 5, "90 % within": 6}
    columns = [
        Column(head, cells, gives_way.get(head))
        for head, *cells in zip(heads, *rows, strict=True)
        if any(cells)
    ]
    dropped = print_fitting(console, columns)
    units = {answer.unit for answer in found if isinstance(answer, Prediction)}
    frame = "in the frame and unit of each file"
    if units != {AS_IN_FILE}:
        frame = "in metres, in the frame of the camera"
    console.print(f"\ncentres of mass by {called(predictor)}, {frame}", markup=False)
    if dropped:
        names = ", ".join(column.head for column in dropped)
        console.print(f"the terminal is too narrow for {names}: widen it, or use --json", markup=False)


def called(predictor: Predictor) -> str:
    """Name a predictor in a sentence."""
    if predictor.checkpoint == SHIPPED:
        return f"the shipped model ({predictor.name} of plumbline {__version__})"
    where = f" ({predictor.checkpoint})" if predictor.checkpoint else ", untrained"
    return f"{predictor.name}{where}"


def decimals(answer: Prediction) -> int:
    """Decimals of lengths: a resolution of a thousandth of the scan's extent, or slightly better."""
    return int(np.clip(3 - math.floor(math.log10(answer.extent)), 0, 12))


def _row(file: Path, answer: Prediction) -> list[str]:
    digits = decimals(answer)
    doubts = (answer.expected_error, answer.radius_90)
    used, points = answer.num_points_used, answer.num_points
    return [
        str(file),
        *(f"{value:.{digits}f}" for value in answer.com.tolist()),
        *("" if doubt is None else f"{doubt:.{digits}f}" for doubt in doubts),
        f"{points:,}" if used == points else f"{used:,} of {points:,}",
        f"{100 * answer.left_out:.1f} %" if answer.left_out else "",
        f"{answer.num_views}",
        answer.sensor,
    ]
