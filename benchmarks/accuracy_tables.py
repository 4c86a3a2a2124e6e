"""Make the tables and figures of docs/accuracy.md from the results of ``benchmarks.accuracy``.

    python -m benchmarks.accuracy_tables OUT

Prints Markdown, and writes ``accuracy.csv`` (every training), ``learning.png`` and ``amount.png`` to
docs/figures.
"""

import argparse
import csv
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.accuracy import ROWS, run_folder
from plumbline.data.store.reader import PackedStore
from plumbline.evaluation.benchmark import figures, measure
from plumbline.evaluation.plots import METHOD_COLOURS, MODEL, STYLE
from plumbline.predictors.untrained import BASELINES

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"
VIEWS = (1, 3)
AMOUNTS = {"solids, 75": 75, "solids, 300": 300, "solids, 1,200": 1200, "solids, 2,483": 2483}
LENGTHS = ("reference", "2 epochs", "4 epochs", "5 epochs", "10 epochs")


def results(out: Path) -> list[dict[str, Any]]:
    """Read the results of all finished trainings, in the order of ``ROWS``, then by seed."""
    found = [json.loads(path.read_text()) for path in out.glob("runs/*/unseen.json")]
    order = list(ROWS)
    return sorted(found, key=lambda result: (order.index(result["row"]), result["seed"]))


def untrained(out: Path) -> dict[str, dict[int, float]]:
    """Measure the mean errors of the untrained baselines on the same scans, by name and number of views."""
    found: dict[str, dict[int, float]] = {name: {} for name in BASELINES}
    for views in VIEWS:
        errors = measure(PackedStore.open(out / f"unseen-{views}"), [], tuple(BASELINES))
        for name in BASELINES:
            found[name][views] = figures(errors[name])["mean"]
    return found


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Make a Markdown table: one line per row with the mean over its seeds, and their spread if several."""
    lines = [
        "| | 1 view | median | 90 % below | 3 views | median | 90 % below | steps | parameters | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["row"] for row in rows):
        runs = [row for row in rows if row["row"] == name]
        cells = [name]
        for views in VIEWS:
            for figure in ("mean", "median", "p90"):
                values = [100 * run[f"v{views}_{figure}"] for run in runs]
                spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 and figure == "mean" else ""
                cells.append(f"{statistics.mean(values):.2f}{spread}")
        cells += [f"{runs[0]['steps']:,}", f"{runs[0]['parameters']:,}", str(len(runs))]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def draw_learning(out: Path, path: Path) -> None:
    """Plot validation error against training steps, one line per training."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {"documented GCN": METHOD_COLOURS["bounding box"], "5 epochs": METHOD_COLOURS["carve"],
               "10 epochs": MODEL, "long": METHOD_COLOURS["convex hull"]}  # fmt: skip
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7, 4))
        for name, colour in colours.items():
            run = run_folder(out, name, 0)
            if not (run / "unseen.json").exists():
                continue
            with (run / "metrics.csv").open(newline="", encoding="utf-8") as text:
                lines = [line for line in csv.DictReader(text) if line["val_error_rel"]]
            steps = [int(line["step"]) for line in lines]
            misses = [100 * float(line["val_error_rel"]) for line in lines]
            axes.plot(steps, misses, color=colour, marker="o", markersize=3)
            axes.annotate(name, (steps[-1], misses[-1]), (5, 0), textcoords="offset points", color=colour)
        axes.set(xscale="log", yscale="log", xlabel="training steps of 64 scans",
                 ylabel="miss / radius, % (validation)")  # fmt: skip
        _plain_ticks(axes, (4, 6, 8, 10, 15, 20))
        figure.savefig(path, dpi=144, bbox_inches="tight")
        plt.close(figure)


def draw_amounts(rows: list[dict[str, Any]], baseline: dict[int, float], path: Path) -> None:
    """Plot the error on unseen sources against the number of training objects and against training steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    def means(names: list[str], views: int) -> list[float]:
        return [100 * statistics.mean(r[f"v{views}_mean"] for r in rows if r["row"] == n) for n in names]

    done = {row["row"] for row in rows}
    amounts = [name for name in AMOUNTS if name in done]
    lengths = [name for name in LENGTHS if name in done]
    steps = [next(row["steps"] for row in rows if row["row"] == name) for name in lengths]
    if not amounts or not lengths:
        return
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
        for views, colour in zip(VIEWS, (MODEL, METHOD_COLOURS["convex hull"]), strict=True):
            left.plot([AMOUNTS[n] for n in amounts], means(amounts, views), "o-", color=colour)
            right.plot(steps, means(lengths, views), "o-", color=colour)
            for axes in (left, right):
                axes.axhline(100 * baseline[views], color=colour, linestyle=":", linewidth=1)
            right.annotate(
                f"{views} view{'s' * (views > 1)}", (steps[-1], means(lengths, views)[-1]), (5, 5),
                textcoords="offset points", color=colour,
            )  # fmt: skip
        left.set(xscale="log", yscale="log", xlabel="built-in solids trained on", ylabel="miss / radius, %")
        right.set(xscale="log", xlabel="training steps of 64 scans")
        _plain_ticks(left, (3, 4, 6, 8, 10, 15))
        left.set_xticks([100, 300, 1000, 3000], ["100", "300", "1,000", "3,000"])
        right.set_xticks([500, 1000, 2000, 5000, 10_000], ["500", "1,000", "2,000", "5,000", "10,000"])
        right.minorticks_off()
        figure.savefig(path, dpi=144, bbox_inches="tight")
        plt.close(figure)


def _plain_ticks(axes: Any, values: tuple[int, ...]) -> None:
    """Label the axis with plain percentages instead of powers of ten."""
    axes.set_yticks(values, [str(value) for value in values])
    axes.minorticks_off()


def main() -> None:
    """Print the tables and draw the figures; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    rows, baselines = results(args.out), untrained(args.out)
    print("\n".join(table(rows)), end="\n\n")
    for name, by_views in baselines.items():
        print(f"| {name} | " + " | ".join(f"{100 * by_views[views]:.2f}" for views in VIEWS) + " |")
    with (FIGURES / "accuracy.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}
            for row in rows
        )
    draw_learning(args.out, FIGURES / "learning.png")
    draw_amounts(rows, baselines["carve pushed"], FIGURES / "amount.png")


if __name__ == "__main__":
    main()
