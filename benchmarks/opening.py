"""Measure the time to open a packed store of 10,000 graphs, compared with reading 10,000 ``.pt`` files.

    python -m benchmarks.opening [--graphs 10000] [--repeats 5] [--json FILE]

Also the first start on the ``.pt`` files, which validates and packs them, compared with ``torch.load`` of
every file and nothing else; the two alternate.

Both are timed with the files in the page cache. Opening includes reading the split keys and gathering
the first batch of 16, so that no cost is deferred.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.graphs import make_samples, write_packed, write_pt
from benchmarks.plain import load_folder
from plumbline.data.pt.cache import CACHE_FOLDER, open_data
from plumbline.data.store.reader import PackedStore


def open_packed(folder: Path) -> int:
    """Do what a training does with a packed store before its first step; return the number of graphs."""
    store = PackedStore.open(folder)
    np.unique(store.object_idx)
    store.gather(np.arange(16) * (len(store) // 16))
    return len(store)


def read_pt(folder: Path) -> int:
    """Read a list of ``Data`` as the plain program does; return the number of graphs."""
    return len(load_folder(folder))


def load_pt(folder: Path) -> int:
    """Load every file and drop it; return the number of files."""
    return sum(torch.load(path, weights_only=True) is not None for path in sorted(folder.glob("*.pt")))


def pack_pt(folder: Path) -> int:
    """Do what the first start on a folder does; return the number of graphs."""
    shutil.rmtree(folder / CACHE_FOLDER, ignore_errors=True)
    return len(open_data(folder))


def seconds(action: Callable[[Path], int], folder: Path, expected: int, repeats: int) -> list[float]:
    """Measure wall times of an action, without the first run of several, which fills the caches."""
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        found = action(folder)
        taken.append(time.perf_counter() - start)
        if found != expected:
            raise SystemExit(f"{folder} contains {found} graphs instead of {expected}")
    return taken[1:] or taken


def measure(folder: Path, *, num_graphs: int, repeats: int) -> dict[str, Any]:
    """Write the same small graphs in both formats and time both."""
    write_packed(folder / "packed", make_samples("small", num_graphs=num_graphs))
    write_pt(folder / "pt", make_samples("small", num_graphs=num_graphs))
    packed = seconds(open_packed, folder / "packed", num_graphs, repeats)
    pt = seconds(read_pt, folder / "pt", num_graphs, 1)
    first: dict[str, list[float]] = {"load_pt": [], "pack_pt": []}
    cpu: dict[str, list[float]] = {"load_pt": [], "pack_pt": []}
    for _ in range(3):
        for action in (load_pt, pack_pt):
            before = time.process_time()
            first[action.__name__] += seconds(action, folder / "pt", num_graphs, 0)
            cpu[action.__name__].append(time.process_time() - before)
    return {
        "num_graphs": num_graphs, "packed_seconds": packed, "pt_seconds": pt, "first": first, "first_cpu": cpu
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to open a data set: packed store and .pt files.")
    parser.add_argument("--graphs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(Path(scratch), num_graphs=arguments.graphs, repeats=arguments.repeats)
    packed, pt = statistics.median(result["packed_seconds"]), statistics.median(result["pt_seconds"])
    print(f"{arguments.graphs} graphs of 40-100 points")
    print(f"packed store opened, first batch gathered: {packed * 1000:9.1f} ms")
    print(f".pt files read into a list of Data:        {pt * 1000:9.1f} ms ({pt / packed:.0f} times as long)")
    for name, kind in (("first", "seconds"), ("first_cpu", "CPU seconds")):
        plain, ours = (min(result[name][action]) for action in ("load_pt", "pack_pt"))
        print(
            f"first start, best of 3, {kind}: {ours:.2f}, torch.load {plain:.2f} ({ours / plain:.2f} times)"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
