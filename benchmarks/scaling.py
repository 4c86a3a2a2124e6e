"""Measure how epoch time scales with graphs, points, neighbours, width, depth, batch size and threads.

    python -m benchmarks.scaling [--epochs 4] [--json FILE]

Each point is one training of the documented network through the real entry point, with one number changed
from the base. The fastest epoch counts, including validation, checkpoint and records. Draws
docs/figures/scaling.png.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.graphs import make_sample, write_packed
from benchmarks.training import measure_plumbline
from plumbline.evaluation.plots import MODEL, STYLE

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"
BASE = {"graphs": 500, "points": 300, "neighbours": 16, "width": 128, "depth": 4, "batch": 16, "threads": 2}
SWEEPS: dict[str, tuple[int, ...]] = {
    "graphs": (125, 250, 500, 1000, 2000, 4000),
    "points": (38, 75, 150, 300, 600, 1200),
    "neighbours": (4, 8, 16, 32, 64),
    "width": (32, 64, 128, 256, 512),
    "depth": (2, 4, 6, 8, 12),
    "batch": (2, 4, 8, 16, 32, 64),
    "threads": (1, 2),
}
FLAGS = {"width": "--hidden_dim", "depth": "--num_layers", "batch": "--batch_size"}


def data_set(base: Path, graphs: int, points: int, neighbours: int) -> Path:
    """Return a data set of graphs of one size; make it if it does not exist."""
    folder = base / f"{graphs}-{points}-{neighbours}"
    if not folder.exists():
        samples = (
            make_sample(
                np.random.default_rng([0, i]),
                num_points=points,
                object_name=f"ellipsoid/{i:06d}",
                k=neighbours,
            )
            for i in range(graphs)
        )
        write_packed(folder, samples)
    return folder


def measure(base: Path, epochs: int, changed: dict[str, int]) -> float:
    """Measure the seconds of the fastest epoch, not counting the first."""
    work = BASE | changed
    data = data_set(base, work["graphs"], work["points"], work["neighbours"])
    flags = [text for name, flag in FLAGS.items() for text in (flag, str(work[name]))]
    record = measure_plumbline(data, epochs, flags, threads=work["threads"])
    return min(record["epoch_seconds"][1:])


def draw(results: dict[str, dict[int, float]], path: Path) -> None:
    """Plot one panel per sweep, both axes logarithmic, with a line of proportional growth."""
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(2, 4, figsize=(11, 5.2), layout="constrained")
        for panel, (name, found) in zip(panels.flat, results.items(), strict=False):
            work, seconds = np.array(list(found)), np.array(list(found.values()))
            at = int(np.flatnonzero(work == BASE[name])[0])
            power = -1.0 if name in ("threads", "batch") else 1.0
            panel.plot(work, seconds[at] * (work / work[at]) ** power, color="0.75", linewidth=1, zorder=1)
            panel.plot(work, seconds, "o-", color=MODEL, markersize=4, zorder=2)
            panel.set(xscale="log", yscale="log", title=name, xticks=work, xticklabels=work)
            panel.minorticks_off()
            panel.set_yticks(*ticks(seconds))
        for panel in panels.flat[len(results) :]:
            panel.set_axis_off()
        for panel in panels[:, 0]:
            panel.set_ylabel("seconds per epoch")
        figure.savefig(path, dpi=110)


def ticks(seconds: np.ndarray) -> tuple[list[float], list[str]]:
    """Choose ticks at 1, 2 and 5 of every decade that the values reach."""
    places = [digit * 10.0**power for power in range(-3, 3) for digit in (1, 2, 5)]
    inside = [place for place in places if seconds.min() / 2 <= place <= 2 * seconds.max()]
    return inside, [f"{place:g}" for place in inside]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4, help="per run; the first is not counted")
    parser.add_argument("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS))
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    args = parser.parse_args()
    results: dict[str, dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.sweeps:
            results[name] = {}
            for value in SWEEPS[name]:
                results[name][value] = measure(Path(scratch), args.epochs, {name: value})
                print(f"{name:<12}{value:>6}{results[name][value]:>9.3f} s per epoch", flush=True)
    if args.json:
        kept: dict[str, Any] = {"base": BASE, "seconds": results}
        args.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    draw(results, FIGURES / "scaling.png")


if __name__ == "__main__":
    main()
