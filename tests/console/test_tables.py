"""Tables on terminals of any width: no number is cut, no word that decides is lost."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from plumbline.console.tables import Column, print_fitting

NAMES = ["point mean", "a name that is far longer than the terminal is wide/[bold]0001.npz"]
COLUMNS = [
    Column("method", NAMES),
    Column("mean", [Text("1.1e-05", style="bold"), "12,345.6"]),
    Column("95 % interval", ["6.15 – 7.76 %", "–"], gives_way=2),
    Column("90 % below", ["14.7 %", "37.3 %"], gives_way=1),
    Column("", ["kept", "BROKEN"]),
]


def shown(width: int, columns=COLUMNS) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None, highlight=False)
    print_fitting(console, columns)
    assert console.width == width
    return stream.getvalue()


@pytest.mark.parametrize("width", [1, 5, 12, 20, 30, 40, 50, 60, 70, 80, 120])
def test_numbers_and_verdicts_are_whole_at_any_width(width):
    text = shown(width)
    for column in COLUMNS[1:2] + COLUMNS[4:]:
        for cell in map(str, column.cells):
            assert text.split().count(cell) == 1, cell
    for column in COLUMNS[2:4]:
        assert (str(column.cells[0]) in text) == (column.head in text)
    assert set(NAMES[1].split()[:-1]) <= set(text.split()), "a name folds between words"
    assert "…" not in text


def test_columns_give_way_in_their_order_and_names_fold_before():
    wide = {width: shown(width) for width in range(10, 130)}
    heads = {width: text.splitlines()[0] for width, text in wide.items()}
    table = [width for width in wide if wide[width].splitlines()[1].startswith("──")]
    assert table == list(range(table[0], 130))
    interval, below = (min(w for w in table if head in heads[w]) for head in ("95 % interval", "90 % below"))
    assert table[0] < interval < below < 80
    assert all("95 % interval" in heads[width] for width in range(interval, 130))
    assert "90 % below 14.7 %" not in wide[table[0] - 1]


def test_a_row_of_lines_names_each_value():
    text = shown(25)
    assert text.splitlines()[:3] == ["point mean", "  mean 1.1e-05  kept", NAMES[1]]


def test_numbers_stand_to_the_right_and_words_to_the_left():
    columns = [Column("", ["a", "bcd"]), Column("", ["1", "10"]), Column("", ["no", "maybe"], words=True)]
    assert shown(120, columns).splitlines()[2:] == ["a      1   no   ", "bcd   10   maybe"]
