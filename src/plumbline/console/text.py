"""Values, commands and names as text that a person reads."""

import math
import re
import shlex

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys instead of showing it, all but tab and line feed; and what no stream can encode."""


def visible(text: str) -> str:
    r"""The text with control characters and bytes that are no UTF-8 spelt out, such as ``\x1b``.

    Names of files and objects may hold anything, also what moves the cursor or retitles a window.
    """
    return _COMMANDS.sub(lambda match: _spelt(ord(match[0])), text)


def _spelt(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # how Python stands in for a byte of a file name
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def command(*words: object) -> str:
    """A command as a shell takes it."""
    return shlex.join(str(word) for word in words)


def seconds(value: float) -> str:
    """A duration as people read it: ``0.03 s``, ``12.4 s``, ``3:07``, ``1:02:03``."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def counted(number: int, noun: str) -> str:
    """``1 object``, ``1,200 objects``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def file_size(size: float) -> str:
    """A number of bytes with three significant digits, e.g. ``23.4 MB``."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def percent(value: float) -> str:
    """A fraction as per cent with three significant digits, e.g. ``18.2 %``."""
    return "–" if value != value else f"{length(100 * value)} %"


def length(value: float) -> str:
    """A length with three significant digits and no exponent within reason."""
    if value != value:
        return "–"
    if value and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.2e}"
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"
