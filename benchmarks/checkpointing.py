"""Measure the cost of a checkpoint within an epoch, and the interval at which it is below 1 % of the time.

    python -m benchmarks.checkpointing [--rounds 3] [--epochs 4]

Runs the real program alternately with and without ``--checkpoint_every_n_steps 5``, on 1,000 medium graphs
(gcn) and on 1,000 scans of built-in solids (ept, ``--recipe best``, batches of 16). Results are medians over
all epochs except the first.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.training import EPT_FLAGS, measure_plumbline, prepare

EVERY = 5
PROGRAMS = {"gcn": ("medium", ()), "ept": ("solids", EPT_FLAGS)}


def measure(data: Path, flags: list[str], rounds: int, epochs: int) -> tuple[float, float, int]:
    """Measure the seconds of an epoch without and with checkpoints within it; also return their number."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    steps = 0
    for turn in range(rounds):
        for often in (False, True) if turn % 2 == 0 else (True, False):
            more = ["--checkpoint_every_n_steps", str(EVERY)] if often else []
            record = measure_plumbline(data, epochs, [*flags, *more], threads=None)
            seconds[often] += record["epoch_seconds"][1:]
            steps = record["batches"][0]
    return statistics.median(seconds[False]), statistics.median(seconds[True]), (steps - 1) // EVERY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="per run; the first is not counted")
    args = parser.parse_args()
    print(f"{'':6}{'s/epoch':>10}{'with':>8}{'ms each':>10}{'below 1 % from':>17}")
    with tempfile.TemporaryDirectory() as scratch:
        for name, (size, flags) in PROGRAMS.items():
            folder = Path(scratch) / size
            prepare(folder, size, 1000, 16)
            without, often, number = measure(folder / "packed", list(flags), args.rounds, args.epochs)
            each = (often - without) / number
            print(f"{name:6}{without:10.3f}{often:8.3f}{1e3 * each:10.1f}{100 * each:15.1f} s", flush=True)


if __name__ == "__main__":
    main()
