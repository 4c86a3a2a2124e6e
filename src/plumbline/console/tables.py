"""Tables of which no cell is ever cut."""

from rich.console import Console, ConsoleRenderable
from rich.measure import Measurement

_UNBOUNDED = 10_000
"""Columns: more than any table needs."""


def print_whole(console: Console, table: ConsoleRenderable) -> None:
    """Print a table whole: where a terminal is too narrow, it folds the lines, and no cell is cut."""
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
