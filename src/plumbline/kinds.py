"""The kinds of flag values. Each parses a text, from the command line or from YAML.

A kind refuses a text with a ValueError that states what is allowed; the option adds the flag and the text. A
value that is not a number, text or path is a record, whose ``str()`` reads back as the same value.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from plumbline.quantities import Duration, Intrinsics, Plane, Position, Range, brief


class Kind(NamedTuple):
    """A flag value's parser, its name in ``--help``, and its choices or suffixes of its files, if any."""

    read: Callable[[str], Any]
    metavar: str
    choices: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()


AUTO = "auto"
"""Value of a flag that leaves it to the program to find out."""
_OTHER_NAMES = {
    "gpu": "cuda",
    **dict.fromkeys(("fp16", "float16", "half", "16-true"), "16"),
    **dict.fromkeys(("bfloat16", "bf16-true"), "bf16"),
    **dict.fromkeys(("fp32", "float32", "float", "32-true"), "32"),
    **dict.fromkeys(("fp64", "float64", "double", "64-true"), "64"),
    **dict.fromkeys(("amp", "fp16-mixed", "mixed"), "16-mixed"),
    **dict.fromkeys(("learning_rate", "learning-rate"), "lr"),
    **dict.fromkeys(("gpus", "num_gpus"), "devices"),
    **dict.fromkeys(("ckpt_path", "resume_from_checkpoint"), "resume"),
    **dict.fromkeys(("output_dir", "out_dir", "save_dir"), "checkpoint_dir"),
    "patience": "early_stopping",
    "mae": "l1",
}
"""Names that other programs use, and ours for the same thing."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A "did you mean" suffix for a misspelt name; empty if no known name is close."""
    plain = {item.lstrip("-").lower(): item for item in known}
    word = name.lstrip("-").lower()
    ours = _OTHER_NAMES.get(word)
    close = [ours] if ours in plain else difflib.get_close_matches(word, plain, n=1, cutoff=0.6)
    return f"; did you mean {plain[close[0]]}?" if close else ""


def _numeric(convert: Callable[[str], float], noun: str, metavar: str, **bounds: float) -> Kind:
    limits = " and ".join(f"{word.replace('_', ' ')} {brief(bound)}" for word, bound in bounds.items())

    def read(text: str) -> float:
        try:
            value = convert(text)
        except (ValueError, OverflowError):
            raise ValueError(f"must be {noun}") from None
        inside = bounds.get("at_least", -math.inf) <= value <= bounds.get("at_most", math.inf)
        if not inside or not bounds.get("above", -math.inf) < value < bounds.get("below", math.inf):
            raise ValueError(f"must be {limits or noun}")
        return value

    return Kind(read, metavar)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        value = float(text)  # 1e6, 2.0
        if not value.is_integer() or abs(value) >= 2**53:
            raise
        return int(value)


def whole(**bounds: float) -> Kind:
    """Kind of a whole number within ``at_least``, ``at_most``, ``above`` and ``below``."""
    return _numeric(_whole, "a whole number", "N", **bounds)


def number(**bounds: float) -> Kind:
    """Kind of a finite number within ``at_least``, ``at_most``, ``above`` and ``below``."""
    return _numeric(float, "a finite number", "X", **bounds)


def span(end: Kind, example: str, metavar: str) -> Kind:
    """Kind of a :class:`Range` whose ends are of the given kind: ``2``, or ``1-3``."""

    def read(text: str) -> Range:
        parts = re.split("(?<![eE])-", text)
        if len(parts) > 2 or not all(re.match(r"\s*[\d.]", part) for part in parts):
            raise ValueError(f"give a number or a range such as {example}")
        low, high = end.read(parts[0]), end.read(parts[-1])
        if low > high:
            raise ValueError(f"give the smaller number first, as in {example}")
        return Range(low, high, text)

    return Kind(read, metavar)


def one_of(*choices: str) -> Kind:
    """Kind of a value that is one of a few words."""

    def read(text: str) -> str:
        if text in choices:
            return text
        raise ValueError(f"choose one of {', '.join(choices)}{nearest(text, choices)}")

    return Kind(read, f"{{{','.join(choices)}}}", choices)


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "yes", "on", "false", "no", "off"):
        raise ValueError("must be true or false")
    return text.lower() in ("true", "yes", "on")


def _on_off(text: str) -> bool:
    try:
        return _switch(text)
    except ValueError:
        raise ValueError("must be on or off") from None


def _duration(text: str) -> Duration:
    match = re.fullmatch(r"(\d+):(\d+):(\d+):(\d+)", text, re.ASCII)
    days, hours, minutes, seconds = map(int, match.groups()) if match else (0, 0, 0, 0)
    if whole := ((days * 24 + hours) * 60 + minutes) * 60 + seconds:
        return Duration(whole)
    raise ValueError("write days:hours:minutes:seconds, such as 00:00:10:00")


def _position(text: str) -> Position:
    try:
        x, y, z = map(number().read, text.split(","))
    except ValueError:
        raise ValueError("write three numbers with commas between them, such as 0,0,1.5") from None
    return Position(x, y, z)


def _plane(text: str) -> Plane:
    try:
        x, y, z, distance = map(number().read, text.split(","))
    except ValueError:
        raise ValueError("write four numbers with commas between them, such as 0,0,1,0.2") from None
    if x == y == z == 0:
        raise ValueError("the normal, the first three numbers, must not be 0")
    return Plane(x, y, z, distance)


def _scheduler(text: str) -> str:
    if not re.fullmatch(r"(tcp|tls)://([^\s/:\[\]@]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}", text):
        raise ValueError("write tcp://HOST:PORT, such as tcp://node1:8786, or tls://HOST:PORT")
    return text


def _camera(text: str) -> Path | Intrinsics:
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return Path(text)
    if len(parts) == 1:
        return Path(text)
    if len(parts) != 4 or not all(map(math.isfinite, numbers)):
        raise ValueError("write fx,fy,cx,cy in pixels, such as 600,600,319.5,239.5, or name a file")
    return Intrinsics(*numbers)


def _table(text: str) -> Plane | str:
    if text == AUTO:
        return text
    try:
        return _plane(text)
    except ValueError as error:
        raise ValueError(f"{error}; or {AUTO}") from None


def file_ending(*suffixes: str) -> Kind:
    """Kind of a file whose name must end in one of some suffixes, which are in lower case."""

    def read(text: str) -> Path:
        if Path(text).suffix.lower() not in suffixes:
            raise ValueError(f"its name must end in {' or '.join(suffixes)}")
        return Path(text)

    return Kind(read, "FILE", suffixes=suffixes)


switch = Kind(_switch, "")
"""Kind of a switch: ``--x`` and ``--no_x``."""
on_off = Kind(_on_off, "{on,off}", ("on", "off"))
"""Kind of a choice that is usually on: ``--x off``."""
text = Kind(str, "TEXT")
file = Kind(Path, "FILE")
folder = Kind(Path, "DIR")
duration = Kind(_duration, "DD:HH:MM:SS")
position = Kind(_position, "X,Y,Z")
scheduler = Kind(_scheduler, "tcp://HOST:PORT")
"""Kind of the address of a scheduler of Dask."""
table = Kind(_table, "NX,NY,NZ,D|auto")
"""Kind of a plane, or of :data:`AUTO`."""
camera = Kind(_camera, "FILE|FX,FY,CX,CY")
"""Kind of a file with intrinsics, or of intrinsics."""
