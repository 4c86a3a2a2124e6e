"""The fields of a request: flags of ``plumbline predict``, by their names, and files in place of paths."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from plumbline.config.predict import PredictConfig
from plumbline.console.text import visible
from plumbline.errors import InputError
from plumbline.kinds import nearest
from plumbline.payload.frames import Frame, named_frame, parse_frame
from plumbline.predictors.answer_lines import Wanted
from plumbline.quantities import Intrinsics
from plumbline.serve.limits import TooLargeError

TEXTS = (
    *("sensor", "table", "scale", "depth_scale", "mass", "density"),
    *("clean", "points", "draws", "strict"),
)
"""Flags of predict that a request may give."""
FILES = ("cloud", "depth", "intrinsics", "mask", "frame")
"""Files of a request. ``intrinsics`` may be ``fx,fy,cx,cy`` as well."""
_SWITCHES, _LISTS = ("clean", "strict"), {"sensor": 3, "table": 4}
_LONGEST_NAME = 255
_LARGEST_FRAME = 1 << 16
"""Bytes of the file of a frame, at most."""
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}", re.ASCII)


@dataclass(frozen=True)
class Upload:
    """A file of a request.

    Attributes:
        name: what the client calls it: shown, and never a path.
        content: what is in it.
    """

    name: str
    content: BinaryIO

    @classmethod
    def of(cls, name: str | None, field: str, content: BinaryIO) -> "Upload":
        """Make one, named by the last part of the name that the client gives, or by its field."""
        last = re.split(r"[/\\]", name or "")[-1].strip()
        return cls(visible(last)[-_LONGEST_NAME:] if last.strip(".") else field, content)

    @property
    def suffix(self) -> str:
        """The end of its name, which tells its format, in lower case; empty if no format has such an end."""
        end = Path(self.name).suffix.lower()
        return end if _SUFFIX.fullmatch(end) else ""


@dataclass(frozen=True)
class Asked:
    """What a request asks.

    Attributes:
        config: its flags; the paths in it are the names that the client gives its files.
        files: by field, those of the scan.
        frame: that answers are moved to, or None.
        points: of a scan in JSON, as it is there; None if the scan is a file.
    """

    config: PredictConfig
    files: Mapping[str, Upload]
    frame: Frame | None
    points: Any = None

    @property
    def wanted(self) -> Wanted:
        """How answers are wanted."""
        return Wanted(self.config.mass, self.config.density, self.frame, strict=self.config.strict)

    @property
    def name(self) -> str:
        """What the scan is called in answers."""
        return next((self.files[field].name for field in ("cloud", "depth") if field in self.files), "cloud")


def from_parts(texts: Mapping[str, str], files: Mapping[str, Upload]) -> Asked:
    """Read the parts of a form. Raises InputError with the sentence that the command would print."""
    _check_names((*texts, *files), (*TEXTS, *FILES))
    for name in files:
        if name in TEXTS:
            raise InputError(f"{name} is a text, not a file: send its value")
    for name in texts:
        if name in FILES and name != "intrinsics":
            raise InputError(f"{name} is a file: send its content, with its name")
    if "intrinsics" in texts and not isinstance(_read("intrinsics", texts["intrinsics"]), Intrinsics):
        raise InputError("intrinsics is a file, or fx,fy,cx,cy in pixels, such as 600,600,319.5,239.5")
    others = {name: file for name, file in files.items() if name != "frame"}
    return _asked(texts, others, _frame(files.get("frame")))


def from_json(content: bytes) -> Asked:
    """Read a JSON object with the points of a scan as ``cloud``, and other fields by their names.

    Raises:
        InputError: it is not JSON, or a field is not what it should be.
    """
    try:
        held = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is not JSON: {error}") from error
    if not isinstance(held, dict):
        raise InputError('the body must be a JSON object, such as {"cloud": [[x, y, z], ...]}')
    held = {name: value for name, value in held.items() if value is not None}
    _check_names(held, ("cloud", "frame", *TEXTS))
    if "cloud" not in held:
        raise InputError("no scan given: send its points as cloud, [[x, y, z], ...]")
    if not isinstance(held["cloud"], list):
        raise InputError("cloud must be a list of points, [[x, y, z], ...]")
    texts = {name: _text(name, held[name]) for name in held if name in TEXTS}
    frame = named_frame(held["frame"], "frame", where="frame") if "frame" in held else None
    return _asked(texts, {}, frame, held["cloud"])


def _asked(
    texts: Mapping[str, str], files: Mapping[str, Upload], frame: Frame | None, points: Any = None
) -> Asked:
    values = {name: _read(name, text) for name, text in texts.items()}
    values |= {name: Path(files[name].name) for name in ("depth", "intrinsics", "mask") if name in files}
    scan = [Path(files["cloud"].name)] if "cloud" in files else []
    if points is None and not scan and "depth" not in values:
        raise InputError(
            "no scan given: send one (cloud), or a depth image and its camera (depth, intrinsics)"
        )
    config = PredictConfig(paths=scan, **values)
    config.check()
    return Asked(config, files, frame, points)


def _frame(given: Upload | None) -> Frame | None:
    if given is None:
        return None
    content = given.content.read(_LARGEST_FRAME + 1)
    if len(content) > _LARGEST_FRAME:
        raise TooLargeError(f"--frame {given.name} is too large for a matrix of 4 x 4 numbers")
    return parse_frame(content, Path(given.name).stem, where=f"--frame {given.name}")


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number; leave out points that are not finite")


def _read(name: str, text: str) -> Any:
    return PredictConfig.options()[name].read(text)


def _check_names(given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            advice = nearest(name, known) or f"; there are {', '.join(known)}"
            raise InputError(f"there is no field {visible(name)[:60]}{advice}")


def _text(name: str, value: Any) -> str:
    """A value of JSON as the user would write the flag."""
    if name in _SWITCHES:
        if isinstance(value, bool):
            return "on" if value else "off"
        raise InputError(f"{name} must be true or false")
    if name in _LISTS:
        if isinstance(value, list) and len(value) == _LISTS[name] and all(map(_is_number, value)):
            return ",".join(map(repr, value))
        raise InputError(f"{name} must be a list of {_LISTS[name]} numbers")
    if not _is_number(value):
        raise InputError(f"{name} must be a number")
    return repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
