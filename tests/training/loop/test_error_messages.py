"""What is said when memory runs out: what fills it, and what helps there."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plumbline.data.store.writer import write_store
from plumbline.errors import InputError
from plumbline.memory import Memory, usable_memory
from plumbline.records import Sample
from plumbline.training.loop import error_messages
from plumbline.training.loop.error_messages import MemoryUse, plain_words
from tests.helpers.training_fixtures import flags

GIB = 1 << 30
MACHINE, LIMIT = "this machine's memory", "the memory that ulimit -v allows"
ALLOCATOR = "[enforce fail] DefaultCPUAllocator: can't allocate memory"

CASES: dict[str, tuple[MemoryUse, int, str]] = {
    "opening": (MemoryUse(), 8, "a part of the data set: allow more"),
    "loading": (MemoryUse("loading"), 8, "the data set: leave it on the disk with --loader workers"),
    "a step": (MemoryUse("resident", GIB // 8), 8, "--batch_size 8: give a smaller one"),
    "a step next to data": (
        MemoryUse("resident", GIB), 8,
        "--batch_size 8 next to the data set in memory (1.0 GiB): give a smaller one; "
        "--loader workers leaves the data set on the disk",
    ),
    "a step next to readers": (
        MemoryUse("workers", GIB), 8,
        "--batch_size 8 next to the batches of the reader processes (1.0 GiB): give a smaller one; "
        "fewer of them (--num_workers) take less",
    ),
    "the smallest step": (MemoryUse("workers"), 1, "--batch_size 1: allow more, or make smaller graphs"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("whose", [MACHINE, LIMIT])
def test_what_fills_the_memory_and_what_helps(case: str, whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use, batch_size, expected = CASES[case]
    monkeypatch.setattr(error_messages, "usable_memory", lambda: Memory(0, 2 * GIB, whose))
    if whose == MACHINE:
        expected = expected.replace("allow more", "take a machine with more memory")
    with pytest.raises(InputError) as raised, plain_words(batch_size=batch_size, num_workers=2, memory=use):
        raise MemoryError
    assert str(raised.value) == f"{whose} (2.0 GiB) does not hold {expected}"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(ALLOCATOR),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        ImportError("_ufuncs.so: failed to map segment from shared object"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
        OSError(12, "Cannot allocate memory"),
        InputError("shard-00000.safetensors cannot be read: Cannot allocate memory"),
        InputError("Caught InputError in DataLoader worker process 0.\nE: shard: Cannot allocate memory"),
    ],
)
def test_every_kind_of_failed_allocation_is_recognised(error: Exception) -> None:
    with (
        pytest.raises(InputError, match=r"does not hold --batch_size 8: give a smaller one$"),
        plain_words(batch_size=8, num_workers=2, memory=MemoryUse("resident")),
    ):
        raise error


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 graphs of 20,000 nodes and 100,000 edges: 430 MiB in memory, 100 on disk."""
    folder = tmp_path_factory.mktemp("large") / "data"
    rng = np.random.default_rng(0)
    nodes = 20_000
    samples = [
        Sample(
            node_features=rng.normal(size=(nodes, 3)).astype(np.float32),
            in_degree=np.full(nodes, 5, np.int32),
            edge_source=rng.integers(0, nodes, 5 * nodes).astype(np.int32),
            target=rng.normal(size=3),
            object_name=f"object{number}",
        )
        for number in range(150)
    ]
    write_store(folder, samples, feature_names=["x", "y", "z"])
    return folder


def limited(num_bytes: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """``plumbline train`` with less address space."""
    import resource

    return subprocess.run(
        [sys.executable, "-m", "plumbline", "train", *arguments],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes)),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def base() -> int:
    """Address space of the program alone, with the room that it needs to start."""
    code = "import plumbline.training.run, sys; sys.stdout.write(open('/proc/self/statm').read().split()[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) * 4096 + (160 << 20)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as Linux has them")
def test_what_is_said_helps_under_a_real_limit(large: Path, tmp_path: Path) -> None:
    """Too little for the data set in memory: said, and the remedy works. Auto needs none."""
    room = base() + (350 << 20)
    assert usable_memory().free > room, "or the limit is another one"

    def run(**changed: Any) -> subprocess.CompletedProcess[str]:
        given = flags(large, tmp_path / "run", max_epochs=1, batch_size=1, hidden_dim=8, **changed)
        return limited(room, given)

    kept = run(loader="resident")
    assert kept.returncode == 2, kept.stdout
    (line,) = [text for text in kept.stderr.splitlines() if text.startswith("error:")]
    assert re.match(
        r"error: the memory that ulimit -v allows \([\d.]+ GiB\) does not hold the data set: ", line
    )
    assert line.endswith("--loader workers")
    for loader in ("workers", "auto"):
        done = run(loader=loader, num_workers=0)
        assert done.returncode == 0, done.stderr
        assert ("free memory (ulimit -v), so it stays on disk" in done.stdout) == (loader == "auto")
