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


def test_headings_fold_before_columns_give_way_in_their_order():
    wide = {width: shown(width) for width in range(10, 130)}
    heads = {width: " ".join(text.partition("\n──")[0].split()) for width, text in wide.items()}
    table = [width for width in wide if "\n──" in wide[width]]
    assert table == list(range(table[0], 130))
    interval, below = (min(w for w in table if cell in wide[w]) for cell in ("6.15", "14.7"))
    whole = min(width for width in table if "90 % below" in heads[width])
    assert table[0] < interval < below < whole < 80
    assert "90 % method mean 95 % interval below" in heads[below]
    assert all("6.15" in wide[width] for width in range(interval, 130))
    assert all(text.count("14.7 %") == 1 for width, text in wide.items() if not table[0] <= width < below)


MIXED = [
    COLUMNS[0],
    Column("mean", ["1.1", "12,345.62"]),
    Column("two words", ["-3.5", "2"], gives_way=1),
    Column("", ["kept", ""]),
    Column("last", ["7", "8"]),
]


def test_rows_of_lines_have_columns_and_lose_none():
    assert shown(45, MIXED).splitlines() == [
        "point mean",
        "  mean      1.1   two words -3.5  kept",
        "  last         7",
        NAMES[1],
        "  mean 12,345.62  two words  2",
        "  last         8",
    ]


def test_decimal_points_are_below_each_other_and_headings_end_with_the_numbers():
    lines = [line[20:].rstrip() for line in shown(60, MIXED).splitlines()[:4]]
    assert [*lines[:1], *lines[2:]] == [
        "          mean   two words          last",
        "          1.1         -3.5   kept      7",
        "     12,345.62         2               8",
    ]


def test_numbers_stand_to_the_right_and_words_to_the_left():
    columns = [Column("", ["a", "bcd"]), Column("", ["1", "10"]), Column("", ["no", "maybe"], words=True)]
    assert shown(120, columns).splitlines()[2:] == ["a      1   no   ", "bcd   10   maybe"]
