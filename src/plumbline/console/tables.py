"""Tables that fit the terminal: headings and names wrap, columns are dropped, numbers are never truncated."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDEST = 10_000
"""Width, in characters, at which no table wraps."""
SHORTEST = 20
"""Characters of a name that stay on one line; columns are dropped to make room for them."""
_NUMBER = re.compile(r"[-+]?[\d,]+(\.\d+)?")


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

    The first column names the rows, and long names wrap. If that is not enough, headings wrap, and then
    optional columns are dropped. If the rest is still too wide, each row becomes a few lines of headings and
    values, with all columns.
    """
    columns = [columns[0], *map(_aligned, columns[1:])]
    if fits(console, _layout(columns, shortest=SHORTEST)):
        console.print(_layout(columns))
        return []
    shown = [columns[0], *map(_narrow, columns[1:])]
    dropped = []
    while not fits(console, _layout(shown, shortest=SHORTEST)):
        leaving = [column for column in shown if column.gives_way is not None]
        if not leaving:
            _print_rows(console, columns)
            return []
        dropped.append(min(leaving, key=lambda column: column.gives_way or 0))
        shown.remove(dropped[-1])
    console.print(_layout(shown))
    return dropped


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
    names, *others = columns
    table.add_column(Text(names.head), overflow="fold")
    cells = [[_text(name)[:shortest] for name in names.cells]]
    for column in others:
        lines = column.head.split("\n")
        width = max(map(len, (*lines, *column.cells)))
        head = "\n".join(_padded(line, width, column.words).plain for line in lines)
        table.add_column(Text(head), no_wrap=True)
        cells.append([_padded(cell, width, column.words) for cell in column.cells])
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table


def _aligned(column: Column) -> Column:
    """Pad numbers at their ends, so that their points are below each other."""
    texts = [str(cell) for cell in column.cells]
    if not all(_NUMBER.fullmatch(text) for text in texts if text):
        return column
    ends = [len(text) - text.index(".") if "." in text else 0 for text in texts]
    cells = [
        Text.assemble(cell, " " * (max(ends) - end)) for cell, end in zip(column.cells, ends, strict=True)
    ]
    return replace(column, cells=cells)


def _narrow(column: Column) -> Column:
    """Break the heading between words, to the width of the cells or of its longest word."""
    words = column.head.split()
    width = max(map(len, (*words, *column.cells)), default=1)
    return replace(column, head="\n".join(textwrap.wrap(" ".join(words), width)))


def _print_rows(console: Console, columns: Sequence[Column]) -> None:
    """Print each row as its name and, below it, headings and values, in columns that all rows share."""
    names = columns[0]
    others = [replace(column, head=" ".join(column.head.split())) for column in columns[1:]]
    for per_line in range(len(others), 0, -1):
        below = [others[first::per_line] for first in range(per_line)]
        heads = [max(len(column.head) for column in some) for some in below]
        cells = [max(len(cell) for column in some for cell in column.cells) for some in below]
        if sum(heads) + sum(cells) + 3 * per_line <= console.width:
            break
    for row, name in enumerate(names.cells):
        console.print(_text(name), soft_wrap=True)
        for first in range(0, len(others), per_line):
            line = Text()
            for column, head, cell in zip(others[first:], heads, cells, strict=False):
                value = column.cells[row]
                title = column.head if str(value).strip() else ""
                line.append("  ").append(title.ljust(head), "dim").append(" " if head else "")
                line.append_text(_padded(value, cell, column.words))
            line.rstrip()
            if line:
                console.print(line, soft_wrap=True)


def _padded(cell: str | Text, width: int, left: bool) -> Text:
    room = " " * (width - len(cell))
    return Text.assemble(cell, room) if left else Text.assemble(room, cell)


def _text(cell: str | Text) -> Text:
    return Text(cell) if isinstance(cell, str) else cell
