"""Tables that fit the terminal: names wrap, columns are dropped, and numbers are never truncated."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDEST = 10_000
"""Width, in characters, at which no table wraps."""
SHORTEST = 20
"""Characters of a name that stay on one line; columns are dropped to make room for them."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        head: its heading, split into lines to keep it narrow.
        cells: one per row.
        gives_way: order in which columns are dropped if the terminal is too narrow, lowest first; None is
            never dropped.
        words: the cells are words and left-aligned, like those of the first column.
    """

    head: str
    cells: Sequence[str | Text]
    gives_way: int | None = None
    words: bool = False


def print_fitting(console: Console, columns: Sequence[Column]) -> list[Column]:
    """Print a table that fits the width of the terminal, and return the columns that were dropped.

    The first column names the rows, and long names wrap. If that is not enough, optional columns are dropped.
    If the rest is still too wide, each row becomes a few lines of headings and values.
    """
    shown = list(columns)
    while not fits(console, _layout(shown, shortest=SHORTEST)):
        leaving = [column for column in shown if column.gives_way is not None]
        if not leaving:
            _print_rows(console, shown)
            return [column for column in columns if column not in shown]
        shown.remove(min(leaving, key=lambda column: column.gives_way or 0))
    console.print(_layout(shown))
    return [column for column in columns if column not in shown]


def print_table(console: Console, columns: Sequence[Column]) -> list[Column]:
    """Print a table that fits, and return what was dropped; only a terminal wraps, a pipe gets whole rows."""
    if not console.is_terminal:
        console.width = WIDEST
    return print_fitting(console, columns)


def fits(console: Console, table: Table) -> bool:
    """Whether the terminal is wide enough for a table without wrapping any cell."""
    wide = console.options.update(max_width=WIDEST)
    return Measurement.get(console, wide, table).maximum <= console.width


def plain_table() -> Table:
    """Make a table with a line below its heading and no other lines."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)


def _layout(columns: Sequence[Column], shortest: int | None = None) -> Table:
    """Lay out the table; with ``shortest``, names are cut to that length, to measure the minimum width."""
    table = plain_table()
    for number, column in enumerate(columns):
        left = number == 0 or column.words
        table.add_column(
            Text(column.head), justify="left" if left else "right", no_wrap=number > 0, overflow="fold"
        )
    names, *others = (column.cells for column in columns)
    for row in zip([_text(name)[:shortest] for name in names], *others, strict=True):
        table.add_row(*map(_text, row))
    return table


def _print_rows(console: Console, columns: Sequence[Column]) -> None:
    """Print each row as its name and, below it, headings and values; lines break only between these."""
    names, *others = columns
    for row, name in enumerate(names.cells):
        console.print(_text(name), soft_wrap=True)
        line = Text()
        for column in others:
            value = _text(column.cells[row])
            if not value:
                continue
            item = Text.assemble((f"{' '.join(column.head.split())} " if column.head else "", "dim"), value)
            if line and len(line) + len(item) + 2 > console.width:
                console.print(line, soft_wrap=True)
                line = Text()
            line.append("  ").append_text(item)
        console.print(line, soft_wrap=True)


def _text(cell: str | Text) -> Text:
    return Text(cell) if isinstance(cell, str) else cell
