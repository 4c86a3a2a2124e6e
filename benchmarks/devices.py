"""Measure how much faster two processes train than one, on the cores of this machine.

    python -m benchmarks.devices [--rounds 3] [--epochs 4]

The same batches of 32 graphs: by one process with all cores, and by ``--devices 2`` with 16 graphs and half
of the cores each. Built-in solids of 128 and of 1,024 points; all programs take turns. The figure is the
best speed of an epoch, without the first one.
"""

import argparse
import re
import tempfile
from pathlib import Path

import numpy as np

import plumbline
from plumbline.cli import main as command

SIZES = {"small": ("128", "60"), "large": ("1024", "24")}
"""Points of a graph, and solids with 8 scans each."""
MODELS = ("gcn", "ept")


def main() -> None:
    """Measure and print a table; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    speeds: dict[tuple[str, str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size, (points, solids) in SIZES.items():
            words = ["--solids", solids, "--points", points, "--samples", "8", "--out", f"{folder}/{size}"]
            command(["prepare", *words])
        for _ in range(args.rounds):
            for size in SIZES:
                for model in MODELS:
                    for devices in (1, 2):
                        speed = train(Path(folder), size, model, devices, args.epochs)
                        speeds.setdefault((size, model, devices), []).append(speed)
    print(f"{'graphs/s':16}{'1 process':>12}{'2 processes':>14}{'ratio':>8}")
    for size in SIZES:
        for model in MODELS:
            one, two = (np.array(speeds[size, model, devices]) for devices in (1, 2))
            print(f"{size:8}{model:8}{one.max():12,.0f}{two.max():14,.0f}{np.median(two / one):8.2f}")


def train(folder: Path, size: str, model: str, devices: int, epochs: int) -> float:
    """Graphs per second of the fastest epoch but the first."""
    said: list[str] = []
    plumbline.train(
        data_dir=folder / size,
        checkpoint_dir=folder / f"{size}-{model}-{devices}",
        model=model,
        batch_size=32 // devices,
        devices=devices,
        max_epochs=epochs,
        accelerator="cpu",
        report=lambda event: said.append(event.text),
    )
    speeds = re.findall(r"([\d,]+) graphs/s", "\n".join(said))
    if len(speeds) != epochs:
        raise RuntimeError("\n".join(said))
    return max(float(speed.replace(",", "")) for speed in speeds[1:])


if __name__ == "__main__":
    main()
