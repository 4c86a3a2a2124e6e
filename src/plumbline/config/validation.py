"""What flags may say: each in its range, all together in agreement."""

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from plumbline.config.benchmark import BenchmarkConfig
from plumbline.config.prepare import PrepareConfig
from plumbline.config.train import TrainConfig
from plumbline.errors import InputError


def parse_range(text: str, flag: str, *, whole: bool, zero: bool = False) -> tuple[float, float]:
    """``"2"`` or ``"1-3"`` as (low, high), above 0 or, with ``zero``, from 0; InputError names the flag."""
    parts = re.split("(?<![eE])-", text)
    try:
        low, high = float(parts[0]), float(parts[-1])
    except ValueError:
        low = high = math.nan
    kind = "a whole number" if whole else "a number"
    good = len(parts) <= 2 and 0 <= low <= high < math.inf and (zero or low > 0)
    if whole:
        good = good and low >= 1 and low == int(low) and high == int(high)
    if not good:
        least, such = ("of at least 0", "0-0.5") if zero else ("above 0", "1-3")
        raise InputError(f"--{flag} {text}: give {kind} {least} or a range such as {such}")
    return low, high


def nearest(name: str, known: Iterable[str]) -> str:
    """A "did you mean" for a misspelt name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


_OTHER_NAMES = {"gpu": "cuda"}
"""What other programs call one of our choices."""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def validate(config: Any) -> None:
    """Refuse values that cannot be meant, alone or together. Raises InputError naming flag and value."""
    validate_each(config)
    _validate_together(config)


def validate_each(config: Any) -> None:
    """Refuse values outside their range. Raises InputError naming the flag, the value and the range."""
    for item in fields(config):
        value, meta = getattr(config, item.name), item.metadata
        label = f"{item.name}" if meta["positional"] else f"--{item.name}"
        if meta["choices"] and value is not None and value not in meta["choices"]:
            guess = nearest(_OTHER_NAMES.get(str(value), str(value)), meta["choices"])
            raise InputError(f"{label} {value}: choose one of {', '.join(meta['choices'])}{guess}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        bounds = (
            ("at_least", "at least", lambda v, b: v >= b),
            ("at_most", "at most", lambda v, b: v <= b),
            ("above", "above", lambda v, b: v > b),
            ("below", "below", lambda v, b: v < b),
        )
        wanted = " and ".join(
            f"{word} {_number(meta[key])}" for key, word, _ in bounds if meta[key] is not None
        )
        inside = all(holds(value, meta[key]) for key, _, holds in bounds if meta[key] is not None)
        if not inside or not abs(value) < math.inf:
            raise InputError(f"{label} {value}: must be {wanted or 'a finite number'}")


def _validate_together(config: Any) -> None:
    if isinstance(config, PrepareConfig):
        parse_range(config.views, "views", whole=True)
        if parse_range(config.distance, "distance", whole=False)[0] <= 1:
            raise InputError(
                f"--distance {config.distance}: the sensor must stay outside the object, above 1 radius"
            )
        fewest, most = parse_range(config.points, "points", whole=True)
        if not 16 <= fewest <= most <= 65536:
            raise InputError(f"--points {config.points}: must be at least 16 and at most 65536")
        if config.k >= fewest:
            raise InputError(
                f"--k {config.k}: a point has only {fewest - 1:.0f} others (--points {config.points})"
            )
        if parse_range(config.noise, "noise", whole=False, zero=True)[1] > 1:
            raise InputError(f"--noise {config.noise}: must be at least 0 and at most 1")
        if config.out is None:
            raise InputError("--out is missing: name the folder that the data set goes to")
        if not config.paths and not config.solids and config.labels is None:
            raise InputError("nothing to prepare: give mesh files or folders, --solids N, or --labels CSV")
    if isinstance(config, BenchmarkConfig):
        if config.out is None:
            raise InputError("--out is missing: name the folder that scans and results go to")
        if not config.paths and not config.solids:
            raise InputError("nothing to measure on: give mesh files or folders, or --solids N")
    if isinstance(config, TrainConfig) and config.model == "gcn" and config.num_layers < 2:
        raise InputError(f"--num_layers {config.num_layers}: must be at least 2 for the gcn")
    if isinstance(config, TrainConfig) and config.ensemble > 1 and config.member > 0:
        raise InputError(f"--member {config.member} is one model: leave --ensemble out")
    if isinstance(config, TrainConfig) and config.ensemble > 1 and config.resume not in (None, "last"):
        raise InputError(
            f"--resume {config.resume} goes on with one model: give --resume alone, which goes on with every "
            "member, or --ensemble 1"
        )
    if isinstance(config, TrainConfig) and config.devices * config.num_nodes > 1:
        flag = "devices" if config.devices > 1 else "num_nodes"
        raise InputError(
            f"--{flag} {getattr(config, flag)}: training on several devices is not there yet; leave it at 1"
        )
    if isinstance(config, TrainConfig) and config.max_time is not None:
        parts = config.max_time.split(":")
        if (
            len(parts) != 4
            or not all(part.isdigit() for part in parts)
            or not any(int(part) for part in parts)
        ):
            raise InputError(
                f"--max_time {config.max_time}: write days:hours:minutes:seconds, such as 00:00:10:00"
            )
