"""Simulated scans as files, and small checkpoints that answer for them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.geometry.solids import make_solid
from plumbline.records import Scan
from tests.helpers.preparing import prepare
from tests.helpers.scans import scan_of
from tests.helpers.training_fixtures import train

K = 16


def simulate(number: int, points: int = 300) -> Scan:
    """A scan of a built-in solid, from one to three sides, with noise."""
    solid = make_solid(77, number)
    return scan_of(solid, number, views=1 + number % 3, points=points)


def box_points() -> np.ndarray:
    """Points on all six sides of a box of 2 x 1 x 0.6 about the origin, its corners and edges among them."""
    halves = np.array([1.0, 0.5, 0.3])
    axes = [np.linspace(-half, half, round(20 * half) + 1) for half in halves]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid[(np.abs(grid) == halves).any(axis=1)]


def write_scan(path: Path, scan: Scan) -> Path:
    """As npz with a sensor for every point."""
    np.savez(path, points=scan.points, sensor=scan.sensor)
    return path


def make_checkpoint(folder: Path, model: str) -> Path:
    """The best checkpoint of a short training on scans of built-in solids."""
    data = folder / "data"
    if not data.exists():
        prepare("--solids", 10, "--samples", 2, "--points", 48, "--k", K, "--views", "1-3", "--workers", 1,
                "--out", data)  # fmt: skip
    outcome = train(data, folder / model, model=model, max_epochs=1, lr=0.003)
    assert outcome.code == 0, outcome.text
    (best,) = (folder / model).glob("best-model-*.ckpt")
    return best


def predict(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, list[dict[str, Any]], str]:
    """``plumbline predict --json``: exit code, the parsed lines, what went to stderr."""
    capsys.readouterr()
    code = main(["predict", "--json", *map(str, args)])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err
