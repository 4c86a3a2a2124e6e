"""Measure memory and time of batches by points, compared with batches by number of graphs.

    python -m benchmarks.uneven [--graphs 200] [--rounds 3] [--epochs 2]

The documented network on scans of very uneven sizes: 50 to 5,000 points, log-uniform. ``--batch_size 16`` and
``--batch_points`` with 16 graphs in a batch on average train alternately, with one thread and another seed in
each round. Memory is the largest peak of the rounds, less that of ``--batch_size 1``; time is the median of
the CPU time of all epochs but the first.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.graphs import make_sample
from benchmarks.training import measure_plumbline
from plumbline.data.store.writer import write_store
from plumbline.records import FEATURE_NAMES

SMALLEST, LARGEST = 50, 5000


def make_data(folder: Path, graphs: int) -> int:
    """Write the scans; return the points of 16 average ones."""
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST), graphs)).astype(int)
    samples = (
        make_sample(rng, num_points=int(size), object_name=f"ellipsoid/{number:06d}")
        for number, size in enumerate(sizes)
    )
    write_store(folder, samples, feature_names=FEATURE_NAMES[:9])
    return int(16 * sizes.mean())


def main() -> None:
    """Measure and print a table; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--graphs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="per run; the first is not counted")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        points = make_data(data, args.graphs)
        programs = {
            "--batch_size 16": ["--batch_size", "16"],
            f"--batch_points {points}": ["--batch_points", str(points)],
        }
        common = ["--loader", "resident"]
        least = measure_plumbline(data, 1, [*common, "--batch_size", "1"], threads=1)["peak_mib"]
        found: dict[str, list[dict]] = {name: [] for name in programs}
        for turn in range(args.rounds):
            for name in list(programs)[:: 1 if turn % 2 == 0 else -1]:
                given = [*common, "--seed", str(turn), *programs[name]]
                found[name].append(measure_plumbline(data, args.epochs, given, threads=1))
        print(f"{'':24}{'steps':>7}{'peak MiB':>10}{'CPU s/epoch':>13}")
        for name, records in found.items():
            seconds = [second for one in records for second in one["epoch_cpu_seconds"][1:]]
            peaks = [one["peak_mib"] - least for one in records]
            steps = records[0]["batches"][0]
            print(f"{name:24}{steps:7}{max(peaks):10.0f}{statistics.median(seconds):13.2f}", flush=True)


if __name__ == "__main__":
    main()
