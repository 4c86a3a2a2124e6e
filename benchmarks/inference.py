"""Measure the prediction time of every network on scans of built-in solids, singly and in batches of 64.

Only the network is timed: one thread, random weights (the time does not depend on them), the sizes of
``--recipe best`` for all. Models take turns; the median is reported.

    python -m benchmarks.inference [--rounds 30]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from plumbline.cli import main as plumbline
from plumbline.data.batches.collate import make_batch
from plumbline.data.store.reader import PackedStore
from plumbline.models import MODELS, arguments_for, build_model

BATCHES = (1, 64)


def main() -> None:
    """Measure all models and print a table; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "data"
        plumbline(["prepare", "--solids", "64", "--samples", "1", "--views", "1-3", "--out", str(out)])
        store = PackedStore.open(out)
        times = measure(store, args.rounds)
    print(f"\n{'model':<12}" + "".join(f"{f'ms a scan, {size} at once':>26}" for size in BATCHES))
    for name in MODELS:
        cells = (1000 * statistics.median(times[name, size]) / size for size in BATCHES)
        print(f"{name:<12}" + "".join(f"{cell:>26.2f}" for cell in cells))


def measure(store: PackedStore, rounds: int) -> dict[tuple[str, int], list[float]]:
    """Measure the seconds of every round, by model and batch size."""
    sizes = {"hidden_dim": 64, "num_layers": 3, "dropout": 0.0}
    data = {"feature_names": store.feature_names, "vector_names": store.vector_names, "features": ["all"]}
    nets = {name: build_model(name, **arguments_for(name, **data, **sizes)).eval() for name in MODELS}
    times: dict[tuple[str, int], list[float]] = {(name, size): [] for name in nets for size in BATCHES}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name, net in nets.items():
                for size in BATCHES:
                    batch = make_batch(store, np.arange(size), net.needs)
                    started = time.perf_counter()
                    net(batch)
                    if turn:
                        times[name, size].append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    main()
