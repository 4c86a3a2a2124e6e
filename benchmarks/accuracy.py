"""Measure accuracy on unseen objects: run the trainings of docs/accuracy.md with the real commands.

Every row is ``plumbline train`` with some flags on one of the data sets below. The trained model is measured
on objects from sources that are in no training set: 5 scans of each object from one view and 5 from three,
256 points, 1 % noise. Finished results are kept in OUT and not repeated, so the same command continues after
an interruption; ``python -m benchmarks.accuracy_tables OUT`` makes tables and figures from them.

    python -m benchmarks.accuracy MESHES OUT [--rows NAME ...] [--seeds 0 1 2] [--list]

MESHES is a folder with one folder per source; the sources in ``UNSEEN`` are held out.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from plumbline.data.store.reader import PackedStore
from plumbline.evaluation.benchmark import Asked, figures, measure
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.find_checkpoint import find_best
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.inference import answers_for

UNSEEN = ("bullet_misc", "drake_models", "furniture_bench", "metaworld", "object_sim", "robogym")
VARIED = "--views 1-3 --points 128-512 --noise 0-0.03 --sampling mixed --distance 1.5-4"


class Data(NamedTuple):
    """A training set.

    Attributes:
        meshes: whether it contains the meshes.
        solids: number of built-in solids.
        samples: scans per object.
        seed: seed of the data set.
        scans: flags that say how the scans vary.
        solid_samples: scans per solid, or None for as many as per mesh.
    """

    meshes: bool
    solids: int
    samples: int
    seed: int
    scans: str = VARIED
    solid_samples: int | None = None


DATA = {
    "mix": Data(True, 4000, 12, 1),
    "big": Data(True, 4000, 32, 2),
    "more": Data(True, 12_000, 48, 5, solid_samples=6),
    "solids": Data(False, 10_000, 6, 3),
    "short": Data(True, 1500, 12, 4),
    "short-solids": Data(False, 2483, 12, 4),
    "short-meshes": Data(True, 0, 30, 4),
    "short-fixed": Data(True, 1500, 12, 4, "--views 1-3"),
    **{f"short-{n}": Data(False, n, 12, 4) for n in (75, 300, 1200)},
}
"""Training sets; those called ``short`` are meant for about 460 steps."""


class Row(NamedTuple):
    """A training: its data set, number of epochs, and flags in addition to those of the recipe."""

    data: str
    epochs: int
    flags: str = ""
    recipe: str = "best"


ROWS = {
    # Several minutes each.
    "5 epochs": Row("mix", 5),
    "10 epochs": Row("mix", 10),
    "long": Row("big", 8, "--hidden_dim 96 --num_layers 4 --model_args num_tokens=48 --lr 4e-3 --ema 0.999"),
    "more objects": Row("more", 11, "--model_args num_tokens=48 --lr 5e-3 --ema 0.999"),
    "solids alone": Row("solids", 10),
    "documented GCN": Row("mix", 10, "--batch_size 64", "documented"),
    # Short, each with one change.
    "reference": Row("short", 1),
    "no normals": Row("short", 1, "--features sensor curvature spacing depth hull carve view"),
    "no sensor": Row("short", 1, "--features normal curvature spacing depth hull carve view"),
    "no scalars": Row("short", 1, "--features sensor normal hull carve view"),
    "no hull, no carve": Row("short", 1, "--features sensor normal curvature spacing depth view"),
    "no carve": Row("short", 1, "--features sensor normal curvature spacing depth hull view"),
    "positions alone": Row("short", 1, "--features none"),
    "loss l1": Row("short", 1, "--loss l1"),
    "adamw, 3e-3": Row("short", 1, "--optimizer adamw --lr 3e-3"),
    "lr 3e-3": Row("short", 1, "--lr 3e-3"),
    "no average": Row("short", 1, "--ema 0"),
    "batch 32": Row("short", 1, "--batch_size 32"),
    "1 layer": Row("short", 1, "--num_layers 1"),
    "2 layers": Row("short", 1, "--num_layers 2"),
    "5 layers": Row("short", 1, "--num_layers 5"),
    "hidden 32": Row("short", 1, "--hidden_dim 32"),
    "hidden 128": Row("short", 1, "--hidden_dim 128"),
    "16 tokens": Row("short", 1, "--model_args num_tokens=16"),
    "64 tokens": Row("short", 1, "--model_args num_tokens=64"),
    "8 neighbours": Row("short", 1, "--model_args num_neighbours=8"),
    "1 head": Row("short", 1, "--model_args num_heads=1"),
    "scans alike": Row("short-fixed", 1),
    "solids, 75": Row("short-75", 34),
    "solids, 300": Row("short-300", 8),
    "solids, 1,200": Row("short-1200", 2),
    "solids, 2,483": Row("short-solids", 1),
    "983 meshes": Row("short-meshes", 1),
    "2 epochs": Row("short", 2),
    "4 epochs": Row("short", 4),
    "pointnet": Row("short", 1, "--model pointnet"),
    "framed": Row("short", 1, "--model framed"),
    "egnn": Row("short", 1, "--model egnn"),
    "painn": Row("short", 1, "--model painn"),
    "steerable": Row("short", 1, "--model steerable"),
    "gcn": Row("short", 1, "--model gcn"),
}


def prepare(out: Path, sources: list[str], solids: int, flags: str) -> PackedStore:
    """Open a prepared data set; make it if it does not exist."""
    if not (out / "manifest.json").exists():
        _plumbline("prepare", *sources, "--solids", str(solids), *flags.split(), "--out", str(out))
    return PackedStore.open(out)


def run_folder(out: Path, name: str, seed: int) -> Path:
    """The folder of one training of a row."""
    return out / "runs" / f"{name.replace(',', '').replace(' ', '-')}-{seed}"


def train(row: Row, seed: int, data: Path, out: Path) -> float:
    """Run one training, or resume it if it was stopped; return its seconds, or NaN if it is finished."""
    if (out / "result.json").exists():
        return float("nan")
    started = time.perf_counter()
    _plumbline(
        "train", "--recipe", row.recipe, *row.flags.split(), "--data_dir", str(data), "--max_epochs",
        str(row.epochs), "--seed", str(seed), "--val_split", "0.02", "--checkpoint_dir", str(out),
        *(["--resume"] if (out / "last.ckpt").exists() else []),
    )  # fmt: skip
    return time.perf_counter() - started


def main() -> None:
    """Run the rows asked for; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("meshes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--list", action="store_true", help="show the rows and do nothing")
    args = parser.parse_args()
    if args.list:
        for name, row in ROWS.items():
            print(f"{name:<20}{row.data:<16}{row.epochs:>3}  {row.flags}")
        return
    folders = sorted(folder for folder in args.meshes.iterdir() if folder.is_dir())
    unseen = [str(folder) for folder in folders if folder.name in UNSEEN]
    seen = [str(folder) for folder in folders if folder.name not in UNSEEN]
    measured = {
        views: prepare(args.out / f"unseen-{views}", unseen, 0, f"--views {views} --samples 5 --seed 9")
        for views in (1, 3)
    }
    for name in args.rows:
        row = ROWS[name]
        about = DATA[row.data]
        data = args.out / "data" / row.data
        flags = f"{about.scans} --samples {about.samples} --seed {about.seed}"
        if about.solid_samples is not None:
            flags += f" --solid_samples {about.solid_samples}"
        prepare(data, seen if about.meshes else [], about.solids, flags)
        for seed in args.seeds:
            run = run_folder(args.out, name, seed)
            if (run / "unseen.json").exists():
                continue
            seconds = train(row, seed, data, run)
            result = {"row": name, "seed": seed, "seconds": seconds, **measure_run(run, measured)}
            (run / "unseen.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
            shown = (f"{value:.4f}" if isinstance(value, float) else str(value) for value in result.values())
            print(" ".join(shown), flush=True)


def measure_run(run: Path, measured: dict[int, PackedStore]) -> dict[str, float]:
    """Measure the errors of a run's best model, as fractions of the radius, by number of views."""
    trained = load_checkpoint(find_best(run))
    form = GraphForm.of(trained.data, needs=trained.model.needs, path=run)
    asked = Asked("model", form, lambda store, indices: answers_for(trained.model, store, indices))
    result: dict[str, float] = {"parameters": sum(weights.numel() for weights in trained.model.parameters())}
    for views, store in measured.items():
        found = figures(measure(store, [asked], [])["model"])
        for figure in ("mean", "median", "p90"):
            result[f"v{views}_{figure}"] = found[figure]
    result["steps"] = _steps(run)
    return result


def _steps(run: Path) -> int:
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return max(int(float(line["step"])) for line in csv.DictReader(file))


def _plumbline(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "plumbline", *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
