"""Pages of tables, for the terminal and as Markdown to paste elsewhere."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from plumbline.console.tables import SHORTEST, fits, plain_table
from plumbline.console.text import visible

_MARKUP = re.compile(r"[\\`*_\[\]|~]")


class Grid(NamedTuple):
    """A table of text.

    Attributes:
        title: title of the table.
        heads: one heading per column, split into lines to keep it narrow; the first column names the rows.
        rows: one cell per column each.
        best: (row, column) of the highlighted cells.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]
    best: set[tuple[int, int]]


class Page(NamedTuple):
    """Tables, and what a reader needs to understand them: notes and warnings, a sentence or more each."""

    title: str
    grids: list[Grid]
    notes: list[str]
    warnings: list[str]


def markdown(page: Page) -> str:
    """Format a page as Markdown; names are escaped, so they are shown as plain text."""
    lines = [f"# {_plain(page.title)}", ""]
    for grid in page.grids:
        title = _plain(grid.title)
        lines += [f"**{title}**", "", _row(map(_plain, grid.heads)), "|" + "---|" * len(grid.heads)]
        for i, row in enumerate(grid.rows):
            cells = [_plain(text) for text in row]
            lines.append(_row(f"**{text}**" if (i, j) in grid.best else text for j, text in enumerate(cells)))
        lines.append("")
    for warning in page.warnings:
        lines += [f"**Warning:** {_plain(warning)}.", ""]
    return "\n".join([*lines, _plain(" ".join(page.notes)), ""])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """The text on one line, with every character escaped that Markdown or HTML would treat as markup."""
    return _MARKUP.sub(r"\\\g<0>", escape(" ".join(visible(text).split()), quote=False))


def print_page(console: Console, page: Page) -> None:
    """Print the tables, the best values in bold.

    A table that is too wide for the terminal is printed in several, each with some of the columns.
    """
    for grid in page.grids:
        console.print(Text(grid.title, "bold"))
        for columns in _pieces(console, grid):
            console.print(_layout(grid, columns))
            console.print()
    for note in page.notes:
        console.print(Text(note, style="dim"))
    for warning in page.warnings:
        console.print(Text(f"warning: {warning}"))


def _pieces(console: Console, grid: Grid) -> list[list[int]]:
    """Divide the columns between tables that fit; the first column, the names, is in each of them.

    Long names wrap, numbers do not.
    """
    every = [*range(len(grid.heads))]
    if fits(console, _layout(grid, every)):
        return [every]
    pieces = [[0]]
    for column in every[1:]:
        wider = [*pieces[-1], column]
        if len(wider) > 2 and not fits(console, _layout(grid, wider, shortest=SHORTEST)):
            wider = [0, column]
            pieces.append(wider)
        pieces[-1] = wider
    return pieces


def _layout(grid: Grid, columns: Sequence[int], shortest: int | None = None) -> Table:
    """Lay out some columns; with ``shortest``, names are cut to that length, to measure the least width."""
    table = plain_table()
    for i in columns:
        table.add_column(
            Text(grid.heads[i]), justify="right" if i else "left", no_wrap=i > 0, overflow="fold"
        )
    for number, row in enumerate(grid.rows):
        cells = (row[i] if i else row[0][:shortest] for i in columns)
        table.add_row(
            *(
                Text(cell, "bold" if (number, i) in grid.best else "")
                for i, cell in zip(columns, cells, strict=True)
            )
        )
    return table
