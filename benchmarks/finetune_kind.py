"""What fine-tuning is worth for objects of one kind that are not of one material.

    python -m benchmarks.finetune_kind OUT [--family hammer]

Scans of built-in solids of one family by the virtual camera, with the densities of usual materials: the
shipped model, which assumes one material, misses their centre of mass. For each seed, twenty scans of ten of
them train and validate; 100 scans of 50 others are the test. Other solids of one material show what is
forgotten. OUT holds data and runs, and is continued.
"""

import argparse
import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import plumbline
from benchmarks.real.finetune import COMMON, POINTS, SOLID_SEED, SOLIDS, solids
from plumbline.data.pt.cache import open_data
from plumbline.evaluation.metrics import bootstrap_mean
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rest_poses import rest_poses
from plumbline.geometry.scans import scan_solid
from plumbline.geometry.solids import draw_solid, make_solid
from plumbline.predictors.find_checkpoint import PRETRAINED, find_best
from plumbline.predictors.inference import answers_for
from plumbline.records import Range, ScanSettings

TRAINED, TESTED, EACH = 10, 50, 2
SETTINGS = ScanSettings(points=Range(POINTS), sensor_model="depth", sensor_share=1.0, density="parts")
TRAININGS: dict[str, dict[str, Any]] = {
    "unchanged": {"lr": 1e-30, "max_epochs": 1},
    **{f"lr {lr:g}": {"lr": lr} for lr in (1e-4, 1e-3, 3e-3)},
    **{f"with 50 solids, lr {lr:g}": {"lr": lr, "mix": 50} for lr in (1e-3, 3e-3)},
    "lr 0.001, 100 epochs": {"lr": 1e-3, "max_epochs": 100},
    "heads only, lr 0.01": {"lr": 1e-2, "freeze": "trunk"},
    "from scratch": {"init_from": None, "lr": 6e-3, "max_epochs": 100},
}
"""Flags of each training, in addition to ``COMMON``; ``mix``: solids of one material, trained on as well."""


def write_scans(folder: Path, family: str, seed: int, number: int) -> Path:
    """Scans of solids of a family with their labels, as of a user's own camera, and their data set."""
    if (folder / "data").exists():
        return folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[list[Any]] = [["file", "object_name", "com_x", "com_y", "com_z", "bounding_radius"]]
    kin = (index for index in itertools.count() if draw_solid(seed, index)[0] == family)
    for index in itertools.islice(kin, number):
        solid = make_solid(seed, index, "parts")
        caster, rest = Caster(solid.vertices, solid.faces), rest_poses(solid)
        for i in range(EACH):
            rng = np.random.default_rng([seed, index, i])
            scan = scan_solid(solid, caster, SETTINGS, rng=rng, rest=rest)
            path = folder / f"{index}-{i}.npz"
            np.savez(path, points=scan.points, sensor=scan.sensor)
            assert scan.com is not None
            rows.append([path.name, f"{family} {index}", *scan.com, scan.bounding_radius])
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    settings = ScanSettings(points=Range(POINTS), sensor_model="depth")
    plumbline.make_dataset(folder / "data", labels=folder / "labels.csv", scan=settings)
    return folder / "data"


def misses(checkpoint: Path, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Misses in radii, and the objects."""
    store = open_data(data)
    com = answers_for(
        plumbline.load_checkpoint(checkpoint).model, store, np.arange(len(store)), batch_size=64
    ).com
    off = np.linalg.norm(com - store.target, axis=1) / store.bounding_radius
    return off, np.array(store.object_names, dtype=object)[store.object_idx]


def run(out: Path, family: str, seeds: Sequence[int]) -> None:
    """Train and measure what is missing in OUT, and print the table."""
    test = write_scans(out / f"{family}-test", family, 500, TESTED)
    other = solids(out / "solids", SOLIDS, seed=SOLID_SEED, share=1.0)
    print(f"| | {family}: mean miss in % of the radius | by seed | other solids |\n|---|---|---|---|")
    for name, given in {"shipped, both networks": {}, **TRAININGS}.items():
        every, forgotten = [], []
        for seed in seeds:
            checkpoint = find_best(Path(PRETRAINED))
            if name in TRAININGS:
                data = write_scans(out / f"{family}-{seed}", family, 600 + seed, TRAINED)
                folder = out / f"{family}-runs" / f"{name}, seed {seed}".replace(".", "_")
                if not (folder / "result.json").exists():
                    flags = COMMON | given | {"seed": seed, "data_dir": data}
                    if mixed := flags.pop("mix", 0):
                        more = solids(out / f"mix-{mixed}", mixed, seed=SOLID_SEED + 1, share=1.0)
                        flags["data_dir"] = [data, more]
                    plumbline.train(None, report=None, **flags, checkpoint_dir=folder)
                checkpoint = find_best(folder)
            every.append(misses(checkpoint, test))
            forgotten.append(misses(checkpoint, other)[0].mean())
        off, objects = (np.concatenate(column) for column in zip(*every, strict=True))
        low, high = bootstrap_mean(100 * off, objects)
        by_seed = ", ".join(f"{100 * one.mean():.1f}" for one, _ in every)
        mean = f"{100 * off.mean():.1f} ({low:.1f} to {high:.1f})"
        print(f"| {name} | {mean} | {by_seed} | {100 * np.mean(forgotten):.1f} |", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", default="hammer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    run(given.out, given.family, given.seeds)


if __name__ == "__main__":
    main()
