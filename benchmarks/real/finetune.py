"""What fine-tuning on twenty real scans is worth: ``python -m benchmarks.real.finetune DIR OUT``.

DIR is a set of real scans (``benchmarks/real/build.py``). For each seed, twenty scans of boxes and cans are
drawn by object; they train and validate. All other objects are the test, cleaned and answered as ``predict``
does; ``apc``, of which there is one object, is left out. Measured before and after, with other settings, from
scratch on the twenty scans, and on built-in solids that the shipped model has not seen, with and without the
virtual camera: what is forgotten. OUT holds data and runs, and is continued.

Intervals: 95 %, by resampling objects, over all seeds. A change is that of the same scan by the first network.
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import plumbline
from plumbline.data.pt.cache import open_data
from plumbline.evaluation.metrics import bootstrap_mean
from plumbline.evaluation.real_scans import RealScan, RealSet
from plumbline.predictors.find_checkpoint import PRETRAINED, find_best
from plumbline.predictors.inference import answers_for
from plumbline.predictors.looking import USUAL_DRAWS, Look, Seen, look_at, to_cloud
from plumbline.predictors.predictor import Predictor

KINDS, LEFT_OUT = ("box", "can"), ("apc",)
SCANS = 20
POINTS = 128
"""Of a real scan: what the shipped model uses."""
SOLIDS, SOLID_SEED = 300, 9001
COMMON = {
    "recipe": "best", "init_from": "pretrained", "batch_size": 8, "val_split": 0.2, "max_epochs": 20, "lr": 1e-4,
    "accelerator": "cpu",
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    **{f"lr {lr:g}": {"lr": lr} for lr in (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)},
    **{f"lr {lr:g}, 60 epochs": {"lr": lr, "max_epochs": 60} for lr in (1e-4, 3e-4)},
    **{f"heads only, lr {lr:g}": {"lr": lr, "freeze": "trunk"} for lr in (3e-4, 1e-3, 3e-3)},
    **{f"with {n} solids, lr {lr:g}": {"lr": lr, "mix": n} for n in (50, 300) for lr in (1e-4, 3e-4, 1e-3)},
    "unchanged": {"lr": 1e-30, "max_epochs": 1},
    "from scratch": {"init_from": None, "lr": 6e-3, "max_epochs": 100},
}  # fmt: skip
"""Flags of each training; ``mix``: solids seen by the virtual camera that are trained on as well."""


def twenty(scans: Sequence[RealScan], seed: int) -> list[RealScan]:
    """Whole objects, in an order drawn by the seed, up to twenty scans of boxes and cans."""
    usable = [scan for scan in scans if scan.kind in KINDS and scan.group not in LEFT_OUT]
    names = sorted({scan.object for scan in usable})
    chosen: list[RealScan] = []
    for name in np.random.default_rng(seed).permutation(names):
        more = [scan for scan in usable if scan.object == name]
        if len(chosen) + len(more) <= SCANS:
            chosen += more
    return chosen


def write_labels(path: Path, real: RealSet, scans: Sequence[RealScan]) -> None:
    """The labels for ``prepare --labels``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "object_name", "com_x", "com_y", "com_z", "bounding_radius"])
        for scan in scans:
            known = real.load(scan)
            rows.writerow([scan.path.resolve(), scan.object, *known.com, known.radius])


def solids(out: Path, number: int, *, seed: int, share: float) -> Path:
    """A data set of built-in solids, as the shipped model was trained on, but others."""
    plumbline.make_dataset(
        out,
        solids=number,
        scan=plumbline.ScanSettings(
            samples=2, views=plumbline.Range(1), points=plumbline.Range(128, 512), noise=plumbline.Range(0, 0.03),
            sampling="mixed", distance=plumbline.Range(1.5, 4), sensor_model="depth", sensor_share=share, seed=seed,
        ),
    )  # fmt: skip
    return out


class Scans:
    """The real scans to test on, looked at once for each kind of graph.

    Attributes:
        scans: rows of the manifest.
    """

    def __init__(self, real: RealSet) -> None:
        self.scans = [scan for scan in real.scans if scan.group not in LEFT_OUT]
        self._known = [real.load(scan) for scan in self.scans]
        self._seen: dict[Any, list[Seen]] = {}

    def answered(self, predictor: Predictor) -> dict[str, Any]:
        """Misses in radii by scan, and the share of truths within the stated 90 % radius."""
        key = predictor.form, predictor.usual_points
        if key not in self._seen:
            look = Look(None, predictor.usual_points, USUAL_DRAWS, clean=True)
            self._seen[key] = [
                look_at(to_cloud(known.cloud, known.cloud.name), None, look, predictor.form)
                for known in self._known
            ]
        miss, held = {}, []
        answers = predictor.answers(self._seen[key])
        for scan, known, answer in zip(self.scans, self._known, answers, strict=True):
            assert not isinstance(answer, Exception), answer
            length = float(np.linalg.norm(answer.com - known.com))
            miss[scan.name] = length / known.radius
            held += [] if answer.radius_90 is None else [length <= answer.radius_90]
        return {"miss": miss, "held": float(np.mean(held)) if held else None}


def measure(checkpoint: Path, scans: Scans, sets: Mapping[str, Path]) -> dict[str, Any]:
    """All figures of a checkpoint."""
    trained = plumbline.load_checkpoint(checkpoint)
    on_solids = {}
    for name, path in sets.items():
        store = open_data(path)
        answers = answers_for(trained.model, store, np.arange(len(store)), batch_size=64)
        off = np.linalg.norm(answers.com - store.target, axis=1) / store.bounding_radius
        on_solids[name] = float(off.mean())
    return {**scans.answered(Predictor.trained(trained)), "solids": on_solids}


def run(folder: Path, out: Path, seeds: Sequence[int], only: Sequence[str]) -> None:
    """Train and measure what is missing in OUT, and print the table."""
    real = RealSet(folder)
    (out / "results").mkdir(parents=True, exist_ok=True)
    sets = {
        name: solids(out / "data" / f"solids-{name}", SOLIDS, seed=SOLID_SEED, share=share)
        for name, share in (("camera", 1.0), ("plain", 1e-9))
    }
    scans = Scans(real)
    for name, checkpoint in (
        ("shipped, two networks", find_best(Path(PRETRAINED))),
        ("shipped, first network", None),
    ):
        for seed in seeds:
            _once(out, name, seed, lambda c=checkpoint, s=seed: measure(c or _first(out, s), scans, sets))
    for seed in seeds:
        labels, data = out / f"labels-{seed}.csv", out / "data" / f"real-{seed}"
        write_labels(labels, real, twenty(real.scans, seed))
        plumbline.make_dataset(
            data,
            labels=labels,
            scan=plumbline.ScanSettings(points=plumbline.Range(POINTS), sensor_model="depth"),
        )
        for name, given in VARIANTS.items():
            if not only or any(word in name for word in only):
                flags = {**COMMON, **given, "seed": seed, "checkpoint_dir": out / "runs" / f"{name}-{seed}"}
                mixed = flags.pop("mix", 0)
                flags["data_dir"] = [data]
                if mixed:
                    more = solids(out / "data" / f"mix-{mixed}", mixed, seed=SOLID_SEED + 1, share=1.0)
                    flags["data_dir"].append(more)
                _once(out, name, seed, lambda f=flags: _trained(f, scans, sets))
    print("\n".join(table(out, real, seeds)))


def _first(out: Path, seed: int) -> Path:
    """The first network of the shipped model as a checkpoint: a training whose steps change nothing."""
    folder = out / "runs" / f"first-{seed}"
    if not folder.exists():
        plumbline.train(
            **{**COMMON, "lr": 1e-30, "max_epochs": 1}, data_dir=out / "data" / "solids-camera", checkpoint_dir=folder
        )  # fmt: skip
    return find_best(folder)


def _trained(flags: dict[str, Any], scans: Scans, sets: Mapping[str, Path]) -> dict[str, Any]:
    result = plumbline.train(**flags)
    assert result.best_checkpoint is not None
    return measure(result.best_checkpoint, scans, sets)


def _once(out: Path, name: str, seed: int, make: Callable[[], Any]) -> None:
    path = out / "results" / f"{name}-{seed}.json"
    if not path.exists():
        path.write_text(json.dumps(make()), encoding="utf-8")
        print(f"{name}, seed {seed}", file=sys.stderr)


def table(out: Path, real: RealSet, seeds: Sequence[int]) -> Iterator[str]:
    """Mean miss of the test objects in % of the radius, with intervals; next to it what solids are missed by."""
    yield "| | boxes and cans | change | all others | change | held in 90 % | solids, camera | solids, plain |"
    yield "|---|---|---|---|---|---|---|---|"
    before = [json.loads((out / "results" / f"shipped, first network-{s}.json").read_text()) for s in seeds]
    for name in ("shipped, two networks", "shipped, first network", *VARIANTS):
        files = [out / "results" / f"{name}-{seed}.json" for seed in seeds]
        if not all(file.exists() for file in files):
            continue
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        cells = []
        for boxes in (True, False):
            values = defaultdict(list)
            for seed, one, other in zip(seeds, found, before, strict=True):
                trained = {scan.object for scan in twenty(real.scans, seed)}
                for scan in real.scans:
                    if (
                        scan.name in one["miss"]
                        and scan.object not in trained
                        and (scan.kind in KINDS) == boxes
                    ):
                        values[scan.object].append((one["miss"][scan.name], other["miss"][scan.name]))
            rows = np.array([(name, *pair) for name, pairs in values.items() for pair in pairs], dtype=object)
            after, change = rows[:, 1].astype(float), (rows[:, 1] - rows[:, 2]).astype(float)
            for part in (after, change):
                low, high = bootstrap_mean(part, rows[:, 0])
                cells.append(f"{100 * part.mean():.2f} ({100 * low:.2f} to {100 * high:.2f})")
        held = [one["held"] for one in found if one["held"] is not None]
        cells.append(f"{100 * np.mean(held):.0f} %" if held else "not stated")
        cells += [
            f"{100 * np.mean([one['solids'][key] for one in found]):.2f}" for key in ("camera", "plain")
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--only", nargs="+", default=[], help="words that names of the trainings must contain"
    )
    given = parser.parse_args()
    run(given.folder, given.out, given.seeds, given.only)


if __name__ == "__main__":
    main()
