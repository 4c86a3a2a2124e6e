"""The terminal: calm, aligned, and plain when it is not one."""

import codecs
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.measure import Measurement
from rich.segment import Segment

STARTED = time.perf_counter()
"""The first moment the program knows of; this file is imported before anything large."""


_FILE_COLUMNS = 120
"""At least, where there is no terminal: ``COLUMNS`` is the width of one, not of a file."""
_UNBOUNDED = 10_000
"""Columns: more than any table needs."""
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


def command(*words: object) -> str:
    """A command as a shell takes it."""
    return shlex.join(str(word) for word in words)


def print_whole(console: Console, table: ConsoleRenderable) -> None:
    """A table with all that is in it. Where a terminal is too narrow, it folds the lines; no cell is cut."""
    if fits(console, table):
        console.print(table)
        return
    width, console.width = console.width, _UNBOUNDED
    try:
        console.print(table)
    finally:
        console.width = width


def fits(console: Console, table: ConsoleRenderable) -> bool:
    """Whether a table is shown on as many lines as it has rows."""
    unbounded = console.options.update(max_width=_UNBOUNDED)
    return Measurement.get(console, unbounded, table).maximum <= console.width


def print_line(console: Console, text: str) -> None:
    """One line as it is: a terminal may fold it, but who copies a command gets it whole."""
    console.print(text, markup=False, emoji=False, soft_wrap=True)


@contextmanager
def file_bar(console: Console) -> Iterator[Callable[[int, int], None] | None]:
    """A bar for files being read, on a terminal: call it with (files read, files in all); else None.

    It appears with the first call: a data set that is ready shows none.
    """
    if not console.is_terminal:
        yield None
        return
    from rich.progress import Progress

    bar = Progress(console=console, transient=True)

    def advance(done: int, total: int) -> None:
        if not bar.tasks:
            bar.start()
            bar.add_task("reading files")
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield advance
    finally:
        if bar.tasks:
            bar.stop()


def seconds(value: float) -> str:
    """A duration as people read it: ``0.03 s``, ``12.4 s``, ``3:07``, ``1:02:03``."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


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
