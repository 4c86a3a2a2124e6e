"""Table of predictions for the terminal."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from plumbline import __version__
from plumbline.console.tables import Column, print_table
from plumbline.errors import InputError
from plumbline.geometry.camera_poses import FROM_POSES
from plumbline.payload.forms.numbers import NAMES, upper
from plumbline.payload.forms.ros import Stamp
from plumbline.payload.record import Payload
from plumbline.predictors.find_checkpoint import SHIPPED
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.predictor import Predictor
from plumbline.records import AS_IN_FILE, Float


class MessageName(NamedTuple):
    """A message in a bag of ROS.

    Attributes:
        topic: that it was sent to.
        stamp: of its header.
        recorded: when it was recorded, in nanoseconds.
    """

    topic: str
    stamp: Stamp
    recorded: int

    def __str__(self) -> str:
        return f"{self.topic} at {self.time}"

    @property
    def time(self) -> str:
        """The stamp in seconds, with all its digits."""
        return f"{self.stamp.sec}.{self.stamp.nanosec:09d}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"topic": self.topic, "stamp": self.stamp._asdict()}


class ScanName(NamedTuple):
    """What a prediction is for.

    Attributes:
        file: of the scan.
        object: number of the object in it; None if the file has no numbers.
        message: of a bag; None for other files.
    """

    file: Path
    object: int | None = None
    message: MessageName | None = None

    def __str__(self) -> str:
        number = None if self.object is None else f"object {self.object}"
        return ", ".join(str(part) for part in (self.file, self.message, number) if part is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        message = {} if self.message is None else self.message.to_dict()
        return {"file": str(self.file), **message, **({} if self.object is None else {"object": self.object})}


def print_predictions(
    console: Console,
    names: Sequence[ScanName],
    found: Sequence[Prediction | InputError],
    predictor: Predictor,
) -> None:
    """Print one row for each scan that has a prediction, and the name of the predictor."""
    rows = [
        _row(name, answer, len(names) > 1)
        for name, answer in zip(names, found, strict=True)
        if isinstance(answer, Prediction)
    ]
    if not rows:
        return
    heads = (
        *("file", "stamp", "object", "x", "y", "z", "expected error", "90 % within"),
        *("points", "left out", "views", "sensor"),
    )
    gives_way = {"views": 1, "points": 2, "expected error": 3, "left out": 4, "sensor": 5, "90 % within": 6}
    columns = [
        Column(head, cells, gives_way.get(head))
        for head, *cells in zip(heads, *rows, strict=True)
        if any(cells)
    ]
    dropped = print_table(console, columns)
    first = next(answer for answer in found if isinstance(answer, Prediction))
    console.print(f"\ncentres of mass by {called(predictor)}, in {frame_of(first)}", markup=False)
    if dropped:
        narrow = ", ".join(column.head for column in dropped)
        console.print(f"the terminal is too narrow for {narrow}: widen it, or use --json", markup=False)


def frame_of(answer: Prediction) -> str:
    """Unit and frame of an answer, in words."""
    whose = {"the camera": "of the camera", FROM_POSES: "of the poses"}.get(answer.sensor, "of each file")
    if answer.unit == AS_IN_FILE and not answer.frame:
        return f"the frame and unit {whose}"
    unit = "the unit of each file" if answer.unit == AS_IN_FILE else answer.unit
    return f"{unit}, in the frame {answer.frame or whose}"


def print_payloads(console: Console, names: Sequence[ScanName], payloads: Sequence[Payload | None]) -> None:
    """Print one row for each scan that has a payload: mass, and inertia about the centre of mass."""
    rows = [
        [str(name), f"{payload.mass:.4g}", *_moments(payload)]
        for name, payload in zip(names, payloads, strict=True)
        if payload is not None
    ]
    if not rows:
        return
    heads = ("scan", "mass", *NAMES)
    console.print()
    dropped = print_table(
        console, [Column(head, cells) for head, *cells in zip(heads, *rows, strict=True) if any(cells)]
    )
    assert not dropped, "no column gives way"
    frame = next(payload.frame for payload in payloads if payload is not None) or "of each scan"
    console.print(f"\npayloads: kg, and kg m2 about the centre of mass, in the frame {frame}", markup=False)


def print_bodies(console: Console, bodies: Sequence[tuple[Path, Payload, float, Prediction | None]]) -> None:
    """Print one row for each mesh: how it is known, centre of mass, mass, volume and inertia."""
    if not bodies:
        return
    rows = [
        [
            str(file),
            "exact" if predicted is None else f"+- {predicted.radius_90 or np.nan:.2g} m",
            *_position(payload.com, math.sqrt(np.trace(payload.known_inertia()) / payload.mass)),
            f"{payload.mass:.4g}",
            f"{volume:.3g}",
            *_moments(payload),
        ]
        for file, payload, volume, predicted in bodies
    ]
    heads = ("mesh", "90 % within", "x", "y", "z", "mass", "volume", *NAMES)
    print_table(console, [Column(head, cells) for head, *cells in zip(heads, *rows, strict=True)])
    frame = bodies[0][1].frame or "of each mesh"
    console.print(f"\nmetres, kg, m3, and kg m2 about the centre of mass, in the frame {frame}", markup=False)


def _moments(payload: Payload) -> list[str]:
    if payload.inertia is None:
        return [""] * len(NAMES)
    nothing = 5e-4 * np.abs(payload.inertia).max()  # what rounding leaves of a symmetry
    return [f"{value if abs(value) > nothing else 0:.3g}" for value in upper(payload.inertia).values()]


def called(predictor: Predictor) -> str:
    """Name a predictor in a sentence."""
    if predictor.checkpoint == SHIPPED:
        return f"the shipped model (plumbline {__version__})"
    where = f" ({predictor.checkpoint})" if predictor.checkpoint else ", untrained"
    return f"{predictor.name}{where}"


def decimals(extent: float) -> int:
    """Decimals of lengths: a resolution of a thousandth of an object's extent, or slightly better."""
    return int(np.clip(3 - math.floor(math.log10(extent)), 0, 12))


def _row(name: ScanName, answer: Prediction, numbered: bool) -> list[str]:
    digits = decimals(answer.extent)
    doubts = (answer.expected_error, answer.radius_90)
    used, points = answer.num_points_used, answer.num_points
    return [
        str(name.file),
        "" if name.message is None else name.message.time,
        str(name.object) if numbered and name.object is not None else "",
        *_position(answer.com, answer.extent),
        *("" if doubt is None else f"{doubt:.{digits}f}" for doubt in doubts),
        f"{points:,}" if used == points else f"{used:,} of {points:,}",
        f"{100 * answer.left_out:.1f} %" if answer.left_out else "",
        f"{answer.num_views}",
        answer.sensor,
    ]


def _position(point: Float, extent: float) -> list[str]:
    digits = decimals(extent)
    return [f"{round(value, digits) + 0.0:.{digits}f}" for value in point.tolist()]  # no negative zero
