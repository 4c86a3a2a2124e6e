"""Measure training throughput of ``train_gnn_optimized.py``, compared with the plain program and the floor.

Runs are interleaved. Every run is a process of its own on a pseudo-terminal (so that progress bars are drawn
as for a user), with documented defaults: GCN, batch 16, hidden 128, 4 layers, dropout 0.1, Adam, metrics and
checkpoint every epoch. The floor is the network's dense products alone (``benchmarks/floor.py``). The order
of the programs is reversed every round. First epochs are not counted; an epoch lasts from its start to the
start of the next. On a shared machine, ``--threads 1`` avoids that two threads of one program wait for each
other.

``--model ept`` measures the equivariant patch transformer instead (recipe ``best``, except for AdamW, no
weight averaging and batches of 16) on scans of 256 points of built-in solids. It is compared with the same
network written with PyG's messages (``benchmarks/plain_ept.py``) and, for context, with our other networks on
the same scans.

    python -m benchmarks.training [--sizes small medium large] [--epochs 5] [--rounds 3] [--json FILE]

``--precisions 32 bf16-mixed`` runs every program in each of them. A CPU without units for bfloat16 is
emulated by ``ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2``.
"""

import argparse
import json
import os
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.graphs import SIZES, make_samples, write_packed, write_pt
from plumbline.data.split import split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.training.loop.precision import LIGHTNING_NAMES

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {
    "gcn": ("plain, 0 workers", "plain, 4 workers", "plain, memory kept", "plumbline", "floor"),
    "ept": ("plain, 0 workers", "plain, 4 workers", "plumbline", "gcn", "egnn", "painn", "steerable"),
}
"""The programs that are compared, by ``--model``."""
MEMORY_KEPT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_TOP_PAD_": str(1 << 28),
}
"""Settings of glibc that let "plain, memory kept" keep what it frees, as plumbline does by itself."""
EPT_FLAGS = ("--recipe", "best", "--optimizer", "adamw", "--lr", "3e-3", "--ema", "0", "--batch_size", "16")


def prepare(folder: Path, size: str, num_graphs: int, k: int) -> None:
    """Write one data set, and the split that all programs use, unless they already exist."""
    if (folder / "split.json").exists():
        return
    if size == "solids":
        flags = f"--solids {num_graphs // 4} --samples 4 --k {k} --out {folder / 'packed'}"
        subprocess.run([sys.executable, "-m", "plumbline", "prepare", *flags.split()], check=True)
    else:
        write_packed(folder / "packed", make_samples(size, num_graphs=num_graphs, k=k))
        write_pt(folder / "pt", make_samples(size, num_graphs=num_graphs, k=k))
    store = PackedStore.open(folder / "packed")
    train, val = split_by_object(store.object_idx, store.object_names, 0.1, 0)
    parts = {"train": train.tolist(), "val": val.tolist()}
    (folder / "split.json").write_text(json.dumps(parts), encoding="utf-8")


def command(
    program: str, folder: Path, out: Path, checkpoint_dir: Path, epochs: int, model: str
) -> list[str]:
    """Make the command line of one run; a program may be followed by a comma and a precision."""
    if ", precision " in program:
        program, _, precision = program.partition(", precision ")
        given = LIGHTNING_NAMES[precision] if program.startswith("plain") else precision
        return [*command(program, folder, out, checkpoint_dir, epochs, model), "--precision", given]
    python, split = [sys.executable, "-m"], str(folder / "split.json")
    common = ["--out", str(out), "--epochs", str(epochs)]
    if program == "floor":
        return [*python, "benchmarks.floor", str(folder / "packed"), "--split", split, *common]
    if program.startswith("plain"):
        source = ["benchmarks.plain", str(folder / "pt")]
        if model == "ept":
            source = ["benchmarks.plain_ept", str(folder / "packed")]
        workers = "4" if program == "plain, 4 workers" else "0"
        kept = ["--checkpoint_dir", str(checkpoint_dir), "--num_workers", workers]
        return [*python, *source, "--split", split, *common, *kept]
    flags: tuple[str, ...] = ()
    if model == "ept" and program != "gcn":
        flags = EPT_FLAGS if program == "plumbline" else (*EPT_FLAGS, "--model", program)
    return watched(folder / "packed", out, checkpoint_dir, epochs, flags)


def run(program: str, folder: Path, epochs: int, threads: int | None, model: str) -> dict[str, Any]:
    """Run and time one training with one of the programs."""

    def arguments(out: Path, checkpoints: Path) -> list[str]:
        return command(program, folder, out, checkpoints, epochs, model)

    return timed(arguments, threads, MEMORY_KEPT if program.startswith("plain, memory kept") else {})


def measure_plumbline(data: Path, epochs: int, flags: list[str], *, threads: int | None) -> dict[str, Any]:
    """Run and time one training with plumbline and any flags."""
    return timed(lambda out, checkpoints: watched(data, out, checkpoints, epochs, flags), threads)


def timed(
    arguments: Callable[[Path, Path], list[str]],
    threads: int | None,
    settings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a training in a process of its own; return its record, with startup time, CPU time and memory.

    Startup time is the time to the first step, CPU time is that of all its processes, and memory is the peak
    of the largest process. ``arguments`` makes the command line from the file for the times and the folder
    for the checkpoints; ``settings`` are further environment variables.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        out = scratch / "times.json"
        start = time.monotonic()
        given = arguments(out, scratch / "checkpoints")
        status, usage, text = on_terminal(given, scratch, threads, settings or {})
        if status != 0:
            raise SystemExit(f"{' '.join(given)} failed with exit code {status}:\n{text}")
        record = json.loads(out.read_text(encoding="utf-8"))
    record["seconds_to_first_step"] = record.pop("first_step") - start
    record["process_cpu_seconds"] = usage.ru_utime + usage.ru_stime
    record["peak_mib"] = usage.ru_maxrss / 1024
    return record


def watched(data: Path, out: Path, checkpoint_dir: Path, epochs: int, flags: Sequence[str]) -> list[str]:
    """Make the command line of plumbline with the stopwatch."""
    return [
        sys.executable, "-m", "benchmarks.watched", str(out), str(ROOT / "train_gnn_optimized.py"),
        "--data_dir", str(data), "--checkpoint_dir", str(checkpoint_dir), "--max_epochs", str(epochs), *flags,
    ]  # fmt: skip


def on_terminal(
    arguments: list[str], folder: Path, threads: int | None, settings: Mapping[str, str]
) -> tuple[int, resource.struct_rusage, str]:
    """Run a command on a pseudo-terminal; return exit code, resource usage with children, and output."""
    environment = {
        **os.environ,
        **settings,
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
        "COLUMNS": "100",
        "LINES": "30",
    }
    if threads:
        environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(threads)
    controller, terminal = pty.openpty()
    actions = [(os.POSIX_SPAWN_DUP2, terminal, stream) for stream in (0, 1, 2)]
    here = Path.cwd()
    os.chdir(folder)
    try:
        pid = os.posix_spawn(arguments[0], arguments, environment, file_actions=actions)
    finally:
        os.chdir(here)
        os.close(terminal)
    printed: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(controller, printed))
    reader.start()
    _, status, usage = os.wait4(pid, 0)
    reader.join()
    os.close(controller)
    text = b"".join(printed).decode(errors="replace")
    return os.waitstatus_to_exitcode(status), usage, text[-4000:]


def _drain(controller: int, printed: list[bytes]) -> None:
    while True:
        try:
            block = os.read(controller, 65536)
        except OSError:  # raised by Linux when the last writer has closed the terminal
            return
        if not block:
            return
        printed.append(block)


def summarise(size: str, records: dict[str, list[dict[str, Any]]], num_train: int) -> dict[str, Any]:
    """Compute medians over the epochs (without first epochs), and ratios to plain program and floor."""
    batches = {tuple(record["batches"]) for runs in records.values() for record in runs}
    if len(batches) > 1:
        raise SystemExit(f"{size}: the programs trained on different numbers of batches: {sorted(batches)}")
    rows = {}
    for program, runs in records.items():
        seconds = [second for record in runs for second in record["epoch_seconds"][1:]]
        cpu = [second for record in runs for second in record["epoch_cpu_seconds"][1:]]
        epoch = statistics.median(seconds)
        rows[program] = {
            "seconds_per_epoch": epoch,
            "fastest_epoch": min(seconds),
            "cpu_seconds_per_epoch": statistics.median(cpu),
            "epochs_per_second": 1 / epoch,
            "graphs_per_second": num_train / epoch,
            "seconds_to_first_step": statistics.median(record["seconds_to_first_step"] for record in runs),
            "peak_mib": statistics.median(record["peak_mib"] for record in runs),
            "first_epoch_seconds": statistics.median(record["epoch_seconds"][0] for record in runs),
        }
    plain = [row["seconds_per_epoch"] for program, row in rows.items() if program.startswith("plain")]
    for row in rows.values():
        row["ratio"] = min(plain) / row["seconds_per_epoch"] if plain else float("nan")
        if "floor" in rows:
            row["times_floor"] = row["seconds_per_epoch"] / rows["floor"]["seconds_per_epoch"]
    return {"size": size, "num_train": num_train, "programs": rows, "runs": records}


def show(result: dict[str, Any]) -> None:
    """Print one size as a table."""
    least, most = SIZES.get(result["size"], (256, 256))
    print(f"\n{result['size']}: {result['num_train']} training graphs of {least}-{most} points")
    print(
        f"{'':37}{'s/epoch':>9}{'fastest':>9}{'CPU s':>8}{'epochs/s':>10}{'graphs/s':>10}{'first step s':>14}"
        f"{'peak MiB':>10}{'ratio':>8}{'x floor':>9}"
    )
    for program, row in result["programs"].items():
        print(
            f"{program:37}{row['seconds_per_epoch']:9.3f}{row['fastest_epoch']:9.3f}"
            f"{row['cpu_seconds_per_epoch']:8.3f}{row['epochs_per_second']:10.3f}{row['graphs_per_second']:10.0f}"
            f"{row['seconds_to_first_step']:14.2f}{row['peak_mib']:10.0f}{row['ratio']:8.2f}"
            f"{row.get('times_floor', float('nan')):9.2f}"
        )
    sys.stdout.flush()


def measure(
    size: str,
    folder: Path,
    *,
    programs: list[str],
    epochs: int,
    rounds: int,
    num_graphs: int,
    k: int,
    threads: int | None = None,
    model: str = "gcn",
) -> dict[str, Any]:
    """Measure all rounds of one size."""
    prepare(folder, size, num_graphs, k)
    parts = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    records: dict[str, list[dict[str, Any]]] = {program: [] for program in programs}
    for turn in range(rounds):
        for program in programs if turn % 2 == 0 else programs[::-1]:
            records[program].append(run(program, folder, epochs, threads, model))
    return summarise(size, records, len(parts["train"]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Training throughput compared with a plain program.")
    parser.add_argument("--model", choices=list(PROGRAMS), default="gcn", help="network to compare")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument(
        "--programs",
        nargs="+",
        choices=sorted({name for names in PROGRAMS.values() for name in names}),
    )
    parser.add_argument("--epochs", type=int, default=5, help="per run; the first is not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--k", type=int, default=16, help="neighbours per point")
    parser.add_argument(
        "--precisions", nargs="+", choices=list(LIGHTNING_NAMES), help="each program in each of these"
    )
    parser.add_argument("--threads", type=int, help="threads of every program; by default PyTorch's choice")
    parser.add_argument("--folder", type=Path, help="keep the data sets here; by default a temporary folder")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error("--epochs must be at least 2, because the first is not counted")
    programs = arguments.programs or list(PROGRAMS[arguments.model])
    if arguments.precisions:
        programs = [f"{name}, precision {how}" for how in arguments.precisions for name in programs]
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        base = arguments.folder or Path(scratch)
        for size in arguments.sizes if arguments.model == "gcn" else ["solids"]:
            results.append(
                measure(
                    size,
                    base / f"{size}-{arguments.graphs}-k{arguments.k}",
                    programs=programs,
                    epochs=arguments.epochs,
                    rounds=arguments.rounds,
                    num_graphs=arguments.graphs,
                    k=arguments.k,
                    threads=arguments.threads,
                    model=arguments.model,
                )
            )
            show(results[-1])
            if arguments.json:
                arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
