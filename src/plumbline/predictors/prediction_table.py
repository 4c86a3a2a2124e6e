"""Table of predictions for the terminal."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from plumbline import __version__
from plumbline.console.tables import WIDEST, Column, print_fitting
from plumbline.errors import InputError
from plumbline.payload.forms.numbers import NAMES, upper
from plumbline.payload.record import Payload
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
    first = next(answer for answer in found if isinstance(answer, Prediction))
    console.print(f"\ncentres of mass by {_called(predictor)}, in {_frame(first)}", markup=False)
    if dropped:
        names = ", ".join(column.head for column in dropped)
        console.print(f"the terminal is too narrow for {names}: widen it, or use --json", markup=False)


def _frame(answer: Prediction) -> str:
    """Unit and frame of all answers, in words."""
    whose = "of the camera" if answer.sensor == "the camera" else "of each file"
    if answer.unit == AS_IN_FILE and not answer.frame:
        return f"the frame and unit {whose}"
    unit = "the unit of each file" if answer.unit == AS_IN_FILE else answer.unit
    return f"{unit}, in the frame {answer.frame or whose}"


def print_payloads(console: Console, files: Sequence[Path], payloads: Sequence[Payload | None]) -> None:
    """Print one row for each file that has a payload: mass, and inertia about the centre of mass."""
    rows = [
        [str(file), f"{payload.mass:.4g}", *_moments(payload)]
        for file, payload in zip(files, payloads, strict=True)
        if payload is not None
    ]
    if not rows:
        return
    heads = ("file", "mass", *NAMES)
    console.print()
    dropped = print_fitting(
        console, [Column(head, cells) for head, *cells in zip(heads, *rows, strict=True) if any(cells)]
    )
    assert not dropped, "no column gives way"
    console.print("\npayloads: kg, and kg m2 about the centre of mass", markup=False)


def _moments(payload: Payload) -> list[str]:
    if payload.inertia is None:
        return [""] * len(NAMES)
    return [f"{value:.3g}" for value in upper(payload.inertia).values()]


def _called(predictor: Predictor) -> str:
    if predictor.checkpoint == SHIPPED:
        return f"the shipped model ({predictor.name} of plumbline {__version__})"
    where = f" ({predictor.checkpoint})" if predictor.checkpoint else ", untrained"
    return f"{predictor.name}{where}"


def _row(file: Path, answer: Prediction) -> list[str]:
    # Resolution of a thousandth of the scan's extent, or slightly better.
    digits = int(np.clip(3 - math.floor(math.log10(answer.extent)), 0, 12))
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
