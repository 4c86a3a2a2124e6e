"""The output streams: calm and plain when they are no terminal, and never commanded by what is printed."""

import codecs
import os
import sys
from collections.abc import Iterator
from io import TextIOWrapper

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.measure import Measurement
from rich.segment import Segment

from plumbline.console.text import visible

_FILE_COLUMNS = 120
"""At least, where there is no terminal: ``COLUMNS`` is the width of one, not of a file."""


class _Visible:
    """Something to print, with its text made visible and its own control codes left as they are."""

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
    """A console that shows text as :func:`visible`, and never wraps or redraws what goes into a file.

    ``FORCE_COLOR`` means colours there, not a terminal: no bar moves in a log.
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


def make_writable() -> None:
    """A closed stream leads nowhere; one that cannot show a character shows the nearest that it can."""
    codecs.register_error("nearest", _nearest)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (as long as the program)
    # Python itself spells out on the error stream what it cannot show.
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.encoding.lower().replace("-", "") != "utf8":
        sys.stdout.reconfigure(errors="nearest")


def _nearest(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    if error.object[error.start] == "–":
        return "-", error.start + 1
    spelt, end = codecs.backslashreplace_errors(error)
    return str(spelt), end


def can_write() -> bool:
    """Whether a line break still reaches whoever reads the output."""
    try:
        print(flush=True)
    except OSError:
        return False
    return True


def discard_output() -> None:
    """What is still to be written leads nowhere: Python flushes once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_line(console: Console, text: str) -> None:
    """One line as it is: a terminal may fold it, but who copies a command gets it whole."""
    console.print(text, markup=False, emoji=False, soft_wrap=True)
