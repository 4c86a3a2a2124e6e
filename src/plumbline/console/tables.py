"""Tables that fit the terminal: names fold, columns give way, and a number is never cut."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDEST = 10_000
"""Columns of a table that nobody has to fold, at most."""
_SHORTEST = 20
"""Letters of a name that stay in one line; columns give way to them."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        head: its heading, in lines where that makes it narrower.
        cells: one per row.
        gives_way: it may be left out where the terminal is too narrow; lower numbers go first, None stays.
        words: the cells are words, which stand to the left; so do those of the first column.
    """

    head: str
    cells: Sequence[str | Text]
    gives_way: int | None = None
    words: bool = False


def print_fitting(console: Console, columns: Sequence[Column]) -> None:
    """Print a table that is as wide as the terminal allows.

    The first column names the rows; long names fold. Where that is not enough, columns that may be left out
    are. Where what stays is still too wide, each row becomes a few lines of headings and values.
    """
    shown = list(columns)
    while not fits(console, _layout(shown, shortest=_SHORTEST)):
        leaving = [column for column in shown if column.gives_way is not None]
        if not leaving:
            _print_rows(console, shown)
            return
        shown.remove(min(leaving, key=lambda column: column.gives_way or 0))
    console.print(_layout(shown))


def fits(console: Console, table: Table) -> bool:
    """Whether the terminal is wide enough for a table none of whose cells is folded."""
    wide = console.options.update(max_width=WIDEST)
    return Measurement.get(console, wide, table).maximum <= console.width


def plain_table() -> Table:
    """A table with a line below its heading and nothing else."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)


def _layout(columns: Sequence[Column], shortest: int | None = None) -> Table:
    """The table, or, to be measured, with names as short as they may fold."""
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
    """Each row as its name and, below it, headings and values; lines break between them only."""
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
