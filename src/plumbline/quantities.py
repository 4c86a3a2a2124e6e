"""Flag values that are more than a number or a text. ``str()`` gives the form that flags accept."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True, init=False)
class Range:
    """The numbers from ``low`` to ``high``, both included; ``Range(2)`` is one number.

    Attributes:
        low, high: the ends.
        written: the text that it was parsed from; empty if there was none.
    """

    low: float
    high: float
    written: str = field(default="", compare=False, repr=False)

    def __init__(self, low: float, high: float | None = None, written: str = "") -> None:
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", low if high is None else high)
        object.__setattr__(self, "written", written)

    def __str__(self) -> str:
        """The form that flags accept: ``2``, ``1-3``, ``0-0.03``."""
        return self.written or "-".join(dict.fromkeys((brief(self.low), brief(self.high))))

    @property
    def is_one(self) -> bool:
        """Whether both ends are equal."""
        return self.low == self.high


@dataclass(frozen=True)
class Duration:
    """A duration in whole seconds, written as ``DD:HH:MM:SS``."""

    seconds: int

    def __str__(self) -> str:
        minutes, seconds = divmod(self.seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours // 24:02d}:{hours % 24:02d}:{minutes:02d}:{seconds:02d}"


class Position(NamedTuple):
    """A position, written as ``x,y,z``."""

    x: float
    y: float
    z: float

    def __str__(self) -> str:
        return ",".join(map(brief, self))


class Plane(NamedTuple):
    """A plane, written as ``nx,ny,nz,d``: its normal, and its distance from the origin along the normal."""

    x: float
    y: float
    z: float
    distance: float

    def __str__(self) -> str:
        return ",".join(map(brief, self))


class Intrinsics(NamedTuple):
    """A pinhole camera, written as ``fx,fy,cx,cy``: focal lengths and principal point, in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float

    def __str__(self) -> str:
        return ",".join(map(brief, self))


def plain(value: Any) -> Any:
    """A flag's value as YAML and JSON hold it: anything but a number, a switch, a list or None as text."""
    if isinstance(value, list | tuple) and not isinstance(value, Position | Plane | Intrinsics):
        return [plain(item) for item in value]
    return value if isinstance(value, bool | int | float | None) else str(value)


def brief(value: float) -> str:
    """Format a number, without ``.0`` if it is whole."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
