"""Measure training speed and memory with a data set larger than memory, compared with one in memory.

    python -m benchmarks.cold DATA --limit 1.0 [--epochs 3] [--flags "--recipe best"]

Trains with the real command, once from memory without a limit and once with reader processes in a memory
control group of ``--limit`` GiB. The limit covers the programs and the page cache together, so most of each
epoch is read from the disk. Needs Linux and permission to create a control group (version 1 or 2).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
NAME = "plumbline-benchmark"
_LINE = re.compile(r"^epoch +\d+/\d+ .* ([\d,]+) graphs/s")


@contextmanager
def limited(gib: float) -> Iterator[Path]:
    """Create a memory control group; yield the file to which the ids of its processes are written."""
    old = (GROUPS / "memory").is_dir()
    group = (GROUPS / "memory" if old else GROUPS) / NAME
    try:
        group.mkdir(exist_ok=True)
        limit = group / ("memory.limit_in_bytes" if old else "memory.max")
        limit.write_text(str(int(gib * 2**30)), encoding="ascii")
    except OSError as error:
        raise SystemExit(f"cannot create a memory control group ({error}): run as root on Linux") from None
    try:
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def memory_of(group: Path) -> tuple[float, float]:
    """Read the GiB used by the programs in a group, and by the page cache charged to it."""
    numbers = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    own, cache = (
        numbers.get(one) or numbers[two] for one, two in (("total_rss", "anon"), ("total_cache", "file"))
    )
    return int(own) / 2**30, int(cache) / 2**30


def forget(data: Path) -> None:
    """Drop a data set from the page cache: pages cached by other processes are not charged to our group."""
    os.sync()
    for file in data.iterdir():
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def train(data: Path, flags: list[str], procs: Path | None) -> None:
    """Run one training; print speed and, in a control group, memory at the end of every epoch."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-u", "-m", "plumbline", "train", "--data_dir", str(data)]
        command += [*flags, "--checkpoint_dir", folder]

        def enter() -> None:
            if procs is not None:
                procs.write_text(str(os.getpid()), encoding="ascii")

        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=enter)
        assert process.stdout is not None
        for line in process.stdout:
            found = _LINE.match(line)
            if found:
                memory = ""
                if procs is not None:
                    own, cache = memory_of(procs.parent)
                    memory = f", {own:.2f} GiB of programs, {cache:.2f} GiB of page cache"
                print(f"  {found[1]} graphs/s{memory}", flush=True)
        if process.wait():
            raise SystemExit(f"the training failed with exit code {process.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a prepared data set, several times larger than the limit")
    parser.add_argument("--limit", type=float, default=1.0, help="GiB for programs and page cache together")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--flags", default="--recipe best", help="flags of the training")
    args = parser.parse_args()
    size = sum(file.stat().st_size for file in args.data.iterdir() if file.is_file()) / 2**30
    flags = [*args.flags.split(), "--max_epochs", str(args.epochs)]
    print(f"{args.data}: {size:.2f} GiB")
    print("from memory, no limit")
    train(args.data, [*flags, "--loader", "resident"], None)
    forget(args.data)
    print(f"from the disk, {args.workers} reader process(es), {args.limit:.2f} GiB in total")
    with limited(args.limit) as procs:
        train(args.data, [*flags, "--loader", "workers", "--num_workers", str(args.workers)], procs)


if __name__ == "__main__":
    main()
