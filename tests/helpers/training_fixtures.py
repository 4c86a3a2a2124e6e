"""A tiny data set of random graphs, and trainings on it."""

import csv
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from plumbline.data.store.writer import write_store
from plumbline.records import FEATURE_NAMES, USUAL_VECTORS, Rejected, Sample
from plumbline.reporting import Reporter
from tests.helpers import ROOT

REJECTED = Rejected("meshes/open_cup.off", "the mesh is open: 12 boundary edges")


def random_samples(num_objects: int = 12, per_object: int = 4, seed: int = 7) -> list[Sample]:
    """Random graphs whose target is a function of the points plus noise: there is something to learn."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(num_objects * per_object):
        nodes = int(rng.integers(12, 30))
        features = rng.normal(size=(nodes, len(FEATURE_NAMES))).astype(np.float32)
        in_degree = np.full(nodes, 4, np.int32)
        source = np.concatenate([np.sort(rng.permutation(nodes)[:4]) for _ in range(nodes)])
        samples.append(
            Sample(
                node_features=features,
                in_degree=in_degree,
                edge_source=source.astype(np.int32),
                target=features[:, :3].mean(0).astype(np.float64) + rng.normal(scale=0.05, size=3),
                object_name=f"random/{number // per_object:03d}",
                bounding_radius=float(rng.uniform(2, 3)),
            )
        )
    return samples


def write_tiny(folder: Path) -> Path:
    """A packed data set of 48 graphs of 12 objects, with one rejected input."""
    write_store(folder, random_samples(), rejected=[REJECTED], feature_names=list(FEATURE_NAMES))
    return folder


def write_seeded(folder: Path, *, payload: bool = False) -> Path:
    """The same with all that any network reads: vectors of the scan and points in farthest-point order.

    With ``payload``, also with volume and inertia of objects that have nothing to do with the points.
    """
    rng = np.random.default_rng(11)
    shape = (len(USUAL_VECTORS), 3)
    samples = [
        replace(sample, vectors=rng.normal(size=shape).astype(np.float32)) for sample in random_samples()
    ]
    if payload:
        boxes = rng.uniform(0.5, 3, size=(len(samples), 3))
        samples = [
            replace(sample, volume=box.prod(), inertia=np.diag((box**2).sum() - box**2) / 12)
            for sample, box in zip(samples, boxes, strict=True)
        ]
    fields = {
        "feature_names": list(FEATURE_NAMES),
        "vector_names": list(USUAL_VECTORS),
        "leaders": 12,
        "k": 4,
    }
    write_store(folder, samples, edge_attr="sh", sh_degree=2, **fields)
    return folder


def flags(data: Path, out: Path, **changed: object) -> list[str]:
    """Flags of a training that takes a second or two."""
    chosen: dict[str, object] = {
        "data_dir": data, "checkpoint_dir": out, "batch_size": 8, "hidden_dim": 16, "num_layers": 2,
        "max_epochs": 2, "accelerator": "cpu", **changed,
    }  # fmt: skip
    result = []
    for name, value in chosen.items():
        if value is True or value == "":
            result.append(f"--{name}")
        elif isinstance(value, list):
            result += [f"--{name}", *map(str, value)]
        elif value is not None and value is not False:
            result += [f"--{name}", str(value)]
    return result


def telling(said: list[str]) -> Reporter:
    """A reporter that adds every sentence to a list."""
    return Reporter(lambda event: said.append(event.text))


class Outcome(NamedTuple):
    """What a training returned and printed."""

    code: int
    text: str


def train(data: Path, out: Path, **changed: object) -> Outcome:
    """A training in this process."""
    from plumbline.cli import main

    stream = StringIO()
    with redirect_stdout(stream), redirect_stderr(stream):
        code = main(["train", *flags(data, out, **changed)])
    return Outcome(code, stream.getvalue())


def saved(path: Path) -> dict[str, Any]:
    """A checkpoint as it lies on the disk."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two nested structures of tensors and plain values differ, by ==, bit for bit."""
    import torch

    if isinstance(one, dict) and isinstance(other, dict):
        found = [f"{where}/{key}" for key in one.keys() ^ other.keys()]
        for key in one.keys() & other.keys():
            found += differences(one[key], other[key], f"{where}/{key}")
        return found
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return [where]
        return [
            line
            for i, pair in enumerate(zip(one, other, strict=True))
            for line in differences(*pair, f"{where}/{i}")
        ]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
    else:
        same = type(one) is type(other) and one == other
    return [] if same else [where]


def in_fresh_process(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """``plumbline train`` in a process of its own."""
    return run_python("-m", "plumbline", "train", *arguments, **environment)


def run_python(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, with the tests' environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd, env=fresh_environment(**environment), capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def fresh_environment(**changed: str) -> dict[str, str]:
    """The environment, of which ``conftest.py`` leaves what is no business of the program."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **changed}


def metric_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of epochs in ``metrics.csv``."""
    return [row for row in _rows(folder) if row["val_loss"]]


def step_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of steps in ``metrics.csv``."""
    return [row for row in _rows(folder) if row["train_loss_step"]]


def _rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends Ctrl-C to this process during one training step."""
    from plumbline.training.loop.task import CentreOfMassTask

    original = CentreOfMassTask.training_step

    def interrupted(task: CentreOfMassTask, batch: Any, batch_idx: int) -> Any:
        if task.global_step == step:
            os.kill(os.getpid(), signal.SIGINT)
        return original(task, batch, batch_idx)

    monkeypatch.setattr(CentreOfMassTask, "training_step", interrupted)


def assert_same_end(one: Path, other: Path) -> None:
    """Weights, optimizer, schedule, random states, metrics, best model: all bits."""
    names = [sorted(path.name for path in folder.glob("*.ckpt")) for folder in (one, other)]
    assert names[0] == names[1], "the losses in the names"
    for name in names[0]:
        here, there = saved(one / name), saved(other / name)
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
            assert differences(here[part], there[part]) == [], (name, part)
        for part in ("rng", "metrics", "epochs_done", "batches_done", "train_sums"):
            assert differences(here["plumbline"][part], there["plumbline"][part]) == [], (name, part)
        kept = [content["callbacks"]["BestAndLast"]["best_model_score"] for content in (here, there)]
        assert kept[0] == kept[1], name
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
