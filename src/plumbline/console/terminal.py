"""Output streams: plain if they are not a terminal, with control characters in printed text made visible."""

import codecs
import os
import sys
from collections.abc import Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.measure import Measurement
from rich.segment import Segment

from plumbline.console.text import visible

_FILE_COLUMNS = 120
"""Minimum width if the output is not a terminal: ``COLUMNS`` is the width of a terminal, not of a file."""


class _Visible:
    """A renderable whose text is made visible and whose own control codes are kept."""

    def __init__(self, content: ConsoleRenderable) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self._content, options):
            yield Segment(text if control else visible(text), style, control)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._content)


class _ShowCommands(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Visible(content) for content in renderables]


def make_console(*, stderr: bool = False) -> Console:
    """Make a console that shows text as :func:`visible`, and never wraps or redraws output to a file.

    ``FORCE_COLOR`` turns on colours in a file, but does not make it a terminal: a log gets no moving bar.
    """
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        console = Console(stderr=stderr, highlight=False)
    else:
        columns = os.environ.get("COLUMNS", "")
        console = Console(
            stderr=stderr,
            highlight=False,
            force_terminal=False,
            width=max(int(columns) if columns.isdecimal() else 0, _FILE_COLUMNS),
            soft_wrap=True,
            color_system="standard" if os.environ.get("FORCE_COLOR", "0") not in ("", "0") else None,
        )
    console.push_render_hook(_ShowCommands())
    return console


def can_redraw(console: Console) -> bool:
    """Whether the output is a terminal that can redraw a line; ``TERM=dumb`` and ``unknown`` cannot."""
    return console.is_terminal and not console.is_dumb_terminal


def make_writable() -> None:
    """Make the standard streams safe to write to.

    A closed stream is replaced by the null device. A character that the encoding cannot represent is
    replaced by the nearest one that it can.
    """
    codecs.register_error("nearest", _nearest)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (never closed)
    # Python itself escapes such characters on the error stream.
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.encoding.lower().replace("-", "") != "utf8":
        sys.stdout.reconfigure(errors="nearest")


def _nearest(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    if error.object[error.start] == "–":
        return "-", error.start + 1
    spelt, end = codecs.backslashreplace_errors(error)
    return str(spelt), end


def can_write() -> bool:
    """Print a line break; whether the reader of the output still receives it."""
    try:
        print(flush=True)
    except OSError:
        return False
    return True


def discard_output() -> None:
    """Redirect remaining output to the null device, because Python flushes once more when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_line(console: Console, text: str) -> None:
    """Print one line unchanged: the terminal may wrap it, but a command can be copied in one piece."""
    console.print(text, markup=False, emoji=False, soft_wrap=True)


def print_written(console: Console, places: Mapping[str, Path]) -> None:
    """Say what was written where: a line for each, a name of at most 7 letters and the path."""
    for name, place in places.items():
        print_line(console, f"{name:<9}{place}")
