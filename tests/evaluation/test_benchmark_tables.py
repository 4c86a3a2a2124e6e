"""The benchmark's tables: who stands out, in the terminal and in Markdown."""

import io

from rich.console import Console

from plumbline.evaluation.benchmark_tables import grids, page
from plumbline.evaluation.conditions import CONDITIONS
from plumbline.evaluation.grids import Grid, Page, markdown, print_page


def made_up(values: dict[str, tuple[float, float]]) -> dict:
    """A result whose methods have these means from one view and from three; the first is a model."""

    def part(mean: float) -> dict:
        return {
            "mean": mean,
            "median": mean / 2,
            "p90": 1 - mean,
            "sources": {"s": {"objects": 1, "mean": mean}},
        }

    return {
        "benchmark": "ScanCoM 1", "seed": 0, "objects": 1, "rejected": [], "best_baseline": "carve",
        "checkpoints": [{"name": next(iter(values)), "objects_seen": 0}],
        "conditions": {
            condition.name: {
                "scans": 2,
                "methods": {name: part(mean[condition.views > 1]) for name, mean in values.items()},
            }
            for condition in CONDITIONS
        },
    }  # fmt: skip


RESULT = made_up({"ept": (0.1, 0.3), "point mean": (0.4, 0.4), "carve": (0.2, 0.2)})


def test_the_least_of_every_comparison_stands_out():
    ranking, robustness, sources = grids(RESULT)
    assert [row[0] for row in ranking.rows] == ["ept", "carve", "point mean"]
    assert ranking.best == {(0, 1), (0, 2), (2, 3), (1, 4), (1, 5), (2, 6)}
    assert ranking.rows[0] == ["ept", "10.0 %", "5.00 %", "90.0 %", "30.0 %", "15.0 %", "70.0 %"]
    assert robustness.heads == ["condition", "ept", "carve"]
    assert [row[0] for row in robustness.rows] == [condition.title for condition in CONDITIONS]
    assert robustness.best == {(row, 1 if CONDITIONS[row].views == 1 else 2) for row in range(20)}
    assert sources.rows == [["s", "1", "10.0 %", "20.0 %", "30.0 %", "20.0 %"]]
    assert sources.best == {(0, 2), (0, 5)}


def test_in_markdown_and_in_the_terminal():
    assert "| ept | **10.0 %** | **5.00 %** | 90.0 % | 30.0 % |" in markdown(page(RESULT))
    stream = io.StringIO()
    print_page(Console(file=stream, width=120, force_terminal=True, color_system="standard"), page(RESULT))
    assert "\x1b[1m10.0 %\x1b[0m" in stream.getvalue()
    assert "\x1b[1m30.0 %\x1b[0m" not in stream.getvalue()


def test_a_table_that_does_not_fit_is_not_cut():
    stream = io.StringIO()
    print_page(Console(file=stream, width=60), page(RESULT))
    shown = stream.getvalue()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 60
    ranking = shown[: shown.index("\n" + grids(RESULT)[1].title[:20])].splitlines()
    rows = [line.split() for line in ranking if line.startswith("ept ")]
    assert len(rows) > 1, "in several tables"
    assert "".join("".join(row[1:]) for row in rows) == "10.0%5.00%90.0%30.0%15.0%70.0%"


def test_long_names_wrap_and_hide_no_column():
    name = "runs/" + "long" * 20
    grid = Grid("title", ["method", "raw", "cleaned"], [[name, "1.5", "2.5"]], set())
    stream = io.StringIO()
    print_page(Console(file=stream, width=40), Page("", [grid], [], []))
    shown = stream.getvalue()
    assert "1.5" in shown
    assert "2.5" in shown
    assert max(map(len, shown.splitlines())) <= 40
