"""Table of predictions for the terminal."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from plumbline import __version__
from plumbline.console.tables import Column, print_table
from plumbline.console.text import percent
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

    @property
    def counts(self) -> str:
        """What a number of such names counts, in the singular."""
        return "object" if self.object is not None else "message" if self.message is not None else "scan"

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
    gives_way = {"views": 1, "sensor": 2, "points": 3, "left out": 4, "90 % within": 5}
    columns = [
        Column(head, cells, gives_way.get(head))
        for head, *cells in zip(heads, *rows, strict=True)
        if any(cells)
    ]
    dropped = print_table(console, columns)
    first = next(answer for answer in found if isinstance(answer, Prediction))
    noun = "centre of mass" if len(rows) == 1 else "centres of mass"
    console.print(f"\n{noun} by {called(predictor)}, in {frame_of(first, len(names))}", markup=False)
    if dropped:
        narrow = ", ".join(" ".join(column.head.split()) for column in dropped)
        console.print(f"the terminal is too narrow for {narrow}: widen it, or use --json", markup=False)


def frame_of(answer: Prediction, scans: int = 1) -> str:
    """Unit and frame of an answer, or of those for several scans, in words."""
    file, frame = "the file" if scans == 1 else "each file", frame_name(answer, scans)
    if answer.unit == AS_IN_FILE and not answer.frame:
        return f"the frame and unit {frame}"
    unit = f"the unit of {file}" if answer.unit == AS_IN_FILE else answer.unit
    return f"{unit}, in the frame {frame}"


def frame_name(answer: Prediction, scans: int = 1) -> str:
    """Name the frame of an answer, or of those for several scans, as in "the frame flange"."""
    whose = {"the camera": "of the camera", FROM_POSES: "of the poses"}
    return answer.frame or whose.get(answer.sensor, "of the file" if scans == 1 else "of each file")


def print_payloads(console: Console, names: Sequence[ScanName], payloads: Sequence[Payload | None]) -> None:
    """Print one row for each scan that has a payload: mass, and inertia about the centre of mass."""
    rows = [
        [str(name), f"{payload.mass:.4g}", *moments(payload)]
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
    frame = next(payload.frame for payload in payloads if payload is not None)
    frame = frame or ("of the scan" if len(names) == 1 else "of each scan")
    noun = "payload" if len(rows) == 1 else "payloads"
    console.print(f"\n{noun}: kg, and kg m2 about the centre of mass, in the frame {frame}", markup=False)


def print_bodies(console: Console, bodies: Sequence[tuple[Path, Payload, float, Prediction | None]]) -> None:
    """Print one row for each mesh: how it is known, centre of mass, mass, volume and inertia."""
    if not bodies:
        return
    rows = [
        [
            str(file),
            "exact" if predicted is None else f"+- {predicted.radius_90 or np.nan:.2g} m",
            *position_of(payload.com, math.sqrt(np.trace(payload.known_inertia()) / payload.mass)),
            f"{payload.mass:.4g}",
            f"{volume:.3g}",
            *moments(payload),
        ]
        for file, payload, volume, predicted in bodies
    ]
    heads = ("mesh", "90 % within", "x", "y", "z", "mass", "volume", *NAMES)
    print_table(console, [Column(head, cells) for head, *cells in zip(heads, *rows, strict=True)])
    frame = bodies[0][1].frame or ("of the mesh" if len(bodies) == 1 else "of each mesh")
    console.print(f"\nmetres, kg, m3, and kg m2 about the centre of mass, in the frame {frame}", markup=False)


def moments(payload: Payload) -> list[str]:
    """The six numbers of the inertia in the order of ``NAMES``; empty texts if it is not known."""
    if payload.inertia is None:
        return [""] * len(NAMES)
    largest = float(np.abs(payload.inertia).max())
    digits, values = _digits(largest, 3), upper(payload.inertia).values()
    if digits > 9:  # of a body so small that the places would not be counted
        return [f"{value if abs(value) > 5e-4 * largest else 0:.2e}" for value in values]
    return [_fixed(value, digits) for value in values]


def called(predictor: Predictor) -> str:
    """Name a predictor in a sentence."""
    if predictor.checkpoint == SHIPPED:
        return f"the shipped model (plumbline {__version__})"
    where = f" ({predictor.checkpoint})" if predictor.checkpoint else ", untrained"
    return f"{predictor.name}{where}"


def decimals(extent: float) -> int:
    """Decimals of lengths: a resolution of a thousandth of an object's extent, or slightly better."""
    return _digits(extent, 4)


def _digits(largest: float, significant: int) -> int:
    """Number of decimals that gives the largest of some values this number of significant digits."""
    return int(np.clip(significant - 1 - math.floor(math.log10(largest)), 0, 12))


def _fixed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no negative zero


def _row(name: ScanName, answer: Prediction, numbered: bool) -> list[str]:
    digits = decimals(answer.extent)
    doubts = (answer.expected_error, answer.radius_90)
    used, points = answer.num_points_used, answer.num_points
    return [
        str(name.file),
        "" if name.message is None else name.message.time,
        str(name.object) if numbered and name.object is not None else "",
        *position_of(answer.com, answer.extent),
        *("" if doubt is None else f"{doubt:.{digits}f}" for doubt in doubts),
        f"{points:,}" if used == points else f"{used:,} of {points:,}",
        percent(answer.left_out, 1) if answer.left_out else "",
        f"{answer.num_views}",
        answer.sensor,
    ]


def position_of(point: Float, extent: float) -> list[str]:
    """Write the coordinates of a point of an object of this extent."""
    digits = decimals(extent)
    return [_fixed(value, digits) for value in point.tolist()]
