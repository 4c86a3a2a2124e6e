"""What fine-tuning on twenty real scans is worth: ``python -m benchmarks.real.finetune DIR OUT``.

DIR is a set of real scans (``benchmarks/real/build.py``). For each seed, twenty scans of boxes and cans are
drawn by object; they train and validate. All other objects are the test, cleaned and answered as ``predict``
does; ``apc``, of which there is one object, is left out. Measured before and after, with other settings, from
scratch on the twenty scans, and on built-in solids that the shipped model has not seen, with and without the
virtual camera: what is forgotten. OUT holds data and runs, and is continued.

Intervals: 95 %, by resampling objects, over all seeds. A change is that of each scan's miss by the first
network of the shipped model, with the same points (*unchanged*: a training that takes no step).
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
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
"""Of a real scan: as many as the shipped model uses, up to one."""
SOLIDS, SOLID_SEED = 300, 9001
SHIPPED, UNCHANGED = "shipped, both networks", "unchanged"
COMMON = {
    "recipe": "best", "init_from": PRETRAINED, "batch_size": 8, "val_split": 0.2, "max_epochs": 20,
    "accelerator": "cpu",
}  # fmt: skip
TRAININGS: dict[str, dict[str, Any]] = {
    UNCHANGED: {"lr": 1e-30, "max_epochs": 1},
    **{f"lr {lr:g}": {"lr": lr} for lr in (1e-4, 3e-4, 1e-3, 3e-3)},
    **{f"lr {lr:g}, 100 epochs": {"lr": lr, "max_epochs": 100} for lr in (1e-3, 3e-3)},
    **{f"heads only, lr {lr:g}": {"lr": lr, "freeze": "trunk"} for lr in (1e-3, 1e-2)},
    **{f"with {num} solids, lr 0.001": {"lr": 1e-3, "mix": num} for num in (50, 300)},
    "from scratch": {"init_from": None, "lr": 6e-3, "max_epochs": 100},
}
"""Flags of each training; ``mix``: solids seen by the virtual camera that are trained on as well."""


def twenty(scans: Sequence[RealScan], seed: int) -> list[RealScan]:
    """Whole objects, in an order drawn by the seed, up to twenty scans of boxes and cans."""
    usable = [scan for scan in scans if scan.kind in KINDS and scan.group not in LEFT_OUT]
    chosen: list[RealScan] = []
    for name in np.random.default_rng(seed).permutation(sorted({scan.object for scan in usable})):
        more = [scan for scan in usable if scan.object == name]
        if len(chosen) + len(more) <= SCANS:
            chosen += more
    return chosen


def labelled(out: Path, real: RealSet, seed: int) -> Path:
    """The data set of twenty scans."""
    labels = out / f"labels-{seed}.csv"
    with labels.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "object_name", "com_x", "com_y", "com_z", "bounding_radius"])
        for scan in twenty(real.scans, seed):
            known = real.load(scan)
            rows.writerow([scan.path.resolve(), scan.object, *known.com, known.radius])
    scan_settings = plumbline.ScanSettings(points=plumbline.Range(POINTS), sensor_model="depth")
    plumbline.make_dataset(out / f"real-{seed}", labels=labels, scan=scan_settings)
    return out / f"real-{seed}"


def solids(out: Path, number: int, *, seed: int, share: float) -> Path:
    """A data set of built-in solids, made as those of the shipped model, but others."""
    scan = plumbline.ScanSettings(
        samples=2, views=plumbline.Range(1), points=plumbline.Range(128, 512), sampling="mixed",
        noise=plumbline.Range(0, 0.03), distance=plumbline.Range(1.5, 4), sensor_model="depth",
        sensor_share=share, seed=seed,
    )  # fmt: skip
    plumbline.make_dataset(out, solids=number, scan=scan)
    return out


class Test:
    """What trainings are measured on. Real scans are looked at once for each kind of graph.

    Attributes:
        scans: rows of the manifest.
        sets: data sets of solids by name.
    """

    def __init__(self, real: RealSet, sets: Mapping[str, Path]) -> None:
        self.scans = [scan for scan in real.scans if scan.group not in LEFT_OUT]
        self.sets = sets
        self._known = [real.load(scan) for scan in self.scans]
        self._seen: dict[Any, list[Seen]] = {}

    def measure(self, checkpoint: Path) -> dict[str, Any]:
        """Misses in radii, of real scans by name and of solids on average, as plain values.

        ``held`` says whether the stated 90 % radius held the truth; None: it is not stated.
        """
        trained = plumbline.load_checkpoint(checkpoint)
        predictor = Predictor.trained(trained)
        answers = predictor.answers(self._looked_at(predictor))
        found: dict[str, dict[str, Any]] = {"miss": {}, "held": {}, "solids": {}}
        for scan, known, answer in zip(self.scans, self._known, answers, strict=True):
            assert not isinstance(answer, Exception), answer
            miss, stated = float(np.linalg.norm(answer.com - known.com)), answer.radius_90
            found["miss"][scan.name] = miss / known.radius
            found["held"][scan.name] = None if stated is None else bool(miss <= stated)
        for name, path in self.sets.items():
            store = open_data(path)
            com = answers_for(trained.model, store, np.arange(len(store)), batch_size=64).com
            off = np.linalg.norm(com - store.target, axis=1) / store.bounding_radius
            found["solids"][name] = float(off.mean())
        return found

    def _looked_at(self, predictor: Predictor) -> list[Seen]:
        key = predictor.form, predictor.usual_points
        if key not in self._seen:
            look = Look(None, predictor.usual_points, USUAL_DRAWS, clean=True)
            self._seen[key] = [
                look_at(to_cloud(known.cloud, known.cloud.name), None, look, predictor.form)
                for known in self._known
            ]
        return self._seen[key]


def run(folder: Path, out: Path, seeds: Sequence[int], only: Sequence[str]) -> None:
    """Train and measure what is missing in OUT, and print the table."""
    (out / "results").mkdir(parents=True, exist_ok=True)
    real = RealSet(folder)
    sets = {
        name: solids(out / f"solids-{name}", SOLIDS, seed=SOLID_SEED, share=share)
        for name, share in (("camera", 1.0), ("plain", 1e-9))
    }
    test = Test(real, sets)
    for seed in seeds:
        data = labelled(out, real, seed)
        for name in (SHIPPED, *TRAININGS):
            result = _result(out, name, seed)
            if result.exists() or (only and not any(word in name for word in only)):
                continue
            flags = COMMON | TRAININGS.get(name, {}) | {"seed": seed, "data_dir": data}
            if mixed := flags.pop("mix", 0):
                more = solids(out / f"mix-{mixed}", mixed, seed=SOLID_SEED + 1, share=1.0)
                flags["data_dir"] = [data, more]
            checkpoint = find_best(Path(PRETRAINED))
            if name in TRAININGS:
                plumbline.train(None, report=None, **flags, checkpoint_dir=result.with_suffix(""))
                checkpoint = find_best(result.with_suffix(""))
            result.write_text(json.dumps(test.measure(checkpoint)), encoding="utf-8")
            print(f"{name}, seed {seed}", file=sys.stderr)
    print("\n".join(table(out, real, seeds)))


def _result(out: Path, name: str, seed: int) -> Path:
    return out / "results" / f"{name.replace('.', '_')}, seed {seed}.json"


def table(out: Path, real: RealSet, seeds: Sequence[int]) -> Iterator[str]:
    """Mean misses in % of the radius, with intervals, and what share of the truths the 90 % radius held."""
    yield "| | boxes and cans | change | all others | change | held | solids, camera | solids, plain |"
    yield "|---|---|---|---|---|---|---|---|"
    found = {
        name: [json.loads(_result(out, name, seed).read_text(encoding="utf-8")) for seed in seeds]
        for name in (SHIPPED, *TRAININGS)
        if all(_result(out, name, seed).exists() for seed in seeds)
    }
    for name, after in found.items():
        cells = [*_cells(real, seeds, after, found[UNCHANGED])]
        cells += [f"{100 * np.mean([one['solids'][key] for one in after]):.2f}" for key in after[0]["solids"]]
        yield f"| {' | '.join((name, *cells))} |"


def _cells(real: RealSet, seeds: Sequence[int], after: Sequence[Any], before: Sequence[Any]) -> Iterator[str]:
    """Mean miss on the objects that were not trained on, and its change; the share that was held."""
    rows: list[tuple[Any, ...]] = []
    for seed, one, other in zip(seeds, after, before, strict=True):
        trained = {scan.object for scan in twenty(real.scans, seed)}
        for scan in real.scans:
            if scan.name in one["miss"] and scan.object not in trained:
                said = [found[scan.name] for found in (one["miss"], other["miss"], one["held"])]
                rows.append((scan.kind in KINDS, scan.object, *said))
    box, names, misses, previous, held = (
        np.array(column, dtype=object) for column in zip(*rows, strict=True)
    )
    for mask in (box.astype(bool), ~box.astype(bool)):
        for part in (misses[mask], misses[mask] - previous[mask]):
            low, high = bootstrap_mean(100 * part.astype(float), names[mask])
            yield f"{100 * part.mean():.2f} ({low:.2f} to {high:.2f})"
    stated = [one for one in held if one is not None]
    yield f"{100 * np.mean(stated):.0f} %" if stated else "not stated"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="parts of the names of trainings")
    given = parser.parse_args()
    run(given.folder, given.out, given.seeds, given.only)


if __name__ == "__main__":
    main()
