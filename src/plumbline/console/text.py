"""Formatting of values, commands and names for people to read."""

import math
import re
import shlex
import textwrap

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal obeys instead of showing (but not tab and line feed), and lone surrogates."""

_COPIED = re.compile("`[^`]*`|(?<=: )plumbline .*")
_GLUE = "\0"
"""Stands for a space at which no line ends."""


def visible(text: str) -> str:
    r"""Escape control characters and bytes that are not UTF-8, such as ``\x1b``.

    Names of files and objects may contain anything, including sequences that move the cursor or change the
    window title.
    """
    return _COMMANDS.sub(lambda match: _spelt(ord(match[0])), text)


def one_line(text: str) -> str:
    """Make a text one visible line, such as for a comment in code."""
    return visible(" ".join(text.split()))


def _spelt(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # Python's placeholder for an undecodable byte
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def folded(text: str, width: int, *, indent: str = "") -> list[str]:
    """Fold a text between words, never in a word or in a command, which are copied.

    A command is in backticks, or it begins after a colon and ends with the line.

    Args:
        text: one line or several.
        width: characters of a line, unless a word is longer.
        indent: of all lines but the first of each line of the text.
    """
    folder = textwrap.TextWrapper(
        max(width, 20),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        expand_tabs=False,
        replace_whitespace=False,
    )
    whole = _COPIED.sub(lambda match: match[0].replace(" ", _GLUE), text)
    lines = [line for given in whole.split("\n") for line in folder.wrap(given) or [""]]
    return [line.replace(_GLUE, " ") for line in lines]


def command(*words: object) -> str:
    """Quote a command for the shell."""
    return shlex.join(str(word) for word in words)


def seconds(value: float) -> str:
    """Format a duration: ``0.03 s``, ``12.4 s``, ``3:07``, ``1:02:03``."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def counted(number: int, noun: str) -> str:
    """Format a count: ``1 object``, ``1,200 objects``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size_of_batch(graphs: int, points: int, edges: int) -> str:
    """Format how large a batch is: ``a batch of 8 graphs, 2,048 points, 32,768 edges``."""
    return f"a batch of {counted(graphs, 'graph')}, {counted(points, 'point')}, {counted(edges, 'edge')}"


def processes(number: int) -> str:
    """Format a number of processes."""
    return f"{number:,} {'process' if number == 1 else 'processes'}"


def file_size(size: float) -> str:
    """Format a number of bytes with three significant digits, e.g. ``23.4 MB``."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def percent(value: float, decimals: int | None = None) -> str:
    """Format a fraction as per cent, such as ``18.2 %``: three significant digits, or ``decimals`` places."""
    if value != value:
        return "–"
    return f"{length(100 * value) if decimals is None else f'{100 * value:.{decimals}f}'} %"


def length(value: float) -> str:
    """Format a length with three significant digits; exponents only for very small and very large values."""
    if value != value:
        return "–"
    if value and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.2e}"
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}"
