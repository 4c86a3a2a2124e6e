"""What is said when memory runs out: what fills it, and what helps there."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plumbline.data.batches.order import epoch_order
from plumbline.data.split import split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError
from plumbline.memory import Memory, usable_memory
from plumbline.records import Sample
from plumbline.training.loop import error_messages
from plumbline.training.loop.error_messages import MemoryUse, Tried, plain_words
from tests.helpers.training_fixtures import flags

GIB = 1 << 30
TRIED = Tried(8, 12_345, 67_890, 5)
MACHINE, LIMIT = "this machine's memory", "the memory that ulimit -v allows"
ALLOCATOR = "[enforce fail] DefaultCPUAllocator: can't allocate memory"

CASES: dict[str, tuple[MemoryUse, int, str]] = {
    "opening": (MemoryUse(), 8, "a part of the data set: allow more"),
    "loading": (MemoryUse("loading"), 8, "the data set: leave it on the disk with --loader workers"),
    "a step": (MemoryUse("resident", GIB // 8), 8, "--batch_size 8: try --batch_size 4"),
    "a step next to data": (
        MemoryUse("resident", GIB), 8,
        "--batch_size 8 next to the data set in memory (1.0 GiB): try --batch_size 4; "
        "--loader workers leaves the data set on the disk",
    ),
    "a step next to readers": (
        MemoryUse("workers", GIB), 8,
        "--batch_size 8 next to the batches of the reader processes (1.0 GiB): try --batch_size 4; "
        "fewer of them (--num_workers) take less",
    ),
    "a batch of which some fits": (
        MemoryUse("resident", tried=TRIED), 8,
        "--batch_size 8 (a batch of 8 graphs, 12,345 points, 67,890 edges): --batch_size 5 fits, by the "
        "memory that earlier steps took",
    ),
    "the first batch": (
        MemoryUse("resident", tried=TRIED._replace(fit=0)), 8,
        "--batch_size 8 (a batch of 8 graphs, 12,345 points, 67,890 edges): try --batch_size 4",
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
    ("fit", "graphs", "advice"),
    [
        (9_000, 8, "--batch_points 9000 fits, by the memory that earlier steps took"),
        (20_000, 8, "try --batch_points 6500"),
        (0, 8, "try --batch_points 6500"),
        (9_000, 1, "allow more, or make smaller graphs"),
    ],
)
def test_batches_by_points_are_told_how_many_fit(
    fit: int, graphs: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_messages, "usable_memory", lambda: Memory(0, 2 * GIB, LIMIT))
    use = MemoryUse("resident", points_that_fit=fit, tried=TRIED._replace(graphs=graphs))
    words = plain_words(batch_size=8, batch_points=13_000, num_workers=2, memory=use)
    with pytest.raises(InputError, match=f": {advice}$"), words:
        raise MemoryError


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
        pytest.raises(InputError, match=r"does not hold --batch_size 8: try --batch_size 4$"),
        plain_words(batch_size=8, num_workers=2, memory=MemoryUse("resident")),
    ):
        raise error


def test_a_gpu_that_is_full_says_what_was_free_and_what_fits() -> None:
    """Raised by hand: this machine may have no GPU."""
    use = MemoryUse("resident", failed=Memory(GIB // 2, 8 * GIB, "the GPU's memory"), tried=TRIED)
    for batch_size, smaller in (
        (8, "--batch_size 5 fits, by the memory that earlier steps took (--accumulate makes up for it); "),
        (1, ""),
    ):
        with (
            pytest.raises(InputError) as raised,
            plain_words(batch_size=batch_size, num_workers=2, memory=use),
        ):
            raise torch.OutOfMemoryError("CUDA out of memory")
        batch = f"--batch_size {batch_size} (a batch of 8 graphs, 12,345 points, 67,890 edges)"
        others = "--precision bf16-mixed and --loader workers take less memory"
        assert str(raised.value) == (
            f"the GPU's memory (8.0 GiB, 0.5 GiB free) does not hold {batch}: {smaller}{others}"
        )


def write_random(folder: Path, sizes: list[int]) -> Path:
    """Graphs of these numbers of nodes with five edges each, every one of another object."""
    rng = np.random.default_rng(0)
    samples = [
        Sample(
            node_features=rng.normal(size=(nodes, 3)).astype(np.float32),
            in_degree=np.full(nodes, 5, np.int32),
            edge_source=rng.integers(0, nodes, 5 * nodes).astype(np.int32),
            target=rng.normal(size=3),
            object_name=f"object{number:03d}",
        )
        for number, nodes in enumerate(sizes)
    ]
    write_store(folder, samples, feature_names=["x", "y", "z"])
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 graphs of 20,000 nodes and 100,000 edges: 430 MiB in memory, 100 on disk."""
    return write_random(tmp_path_factory.mktemp("large") / "data", [20_000] * 150)


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


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """38 graphs of 5,000 points and 16 of 20,000."""
    return write_random(tmp_path_factory.mktemp("uneven") / "data", [5_000] * 38 + [20_000] * 16)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as Linux has them")
def test_the_batch_size_that_is_named_fits_under_a_real_limit(uneven: Path, tmp_path: Path) -> None:
    """The first batch has small graphs only, the second one mostly large ones."""
    store = PackedStore.open(uneven)
    points = np.diff(store.node_ptr)

    def late(seed: int) -> bool:
        train_idx, _ = split_by_object(store.object_idx, store.object_names, 0.1, seed)
        order = points[train_idx[epoch_order(seed, 0, len(train_idx))]]
        return bool(order[:8].sum() == 40_000 and order[8:16].sum() >= 130_000)

    seed = next(seed for seed in range(5000) if late(seed))
    said = r"error: the memory that ulimit -v allows \([\d.]+ GiB, [\d.]+ [GM]iB free\) does not hold "
    said += r"--batch_size (\d) \(a batch of \1 graphs, ([\d,]+) points, ([\d,]+) edges\): "
    said += r"(?:try )?--batch_size (\d)( fits, by the memory that earlier steps took)?\n"
    batch_size, promised, failures = 8, False, 0
    while True:
        given = flags(
            uneven, tmp_path, max_epochs=1, hidden_dim=256, num_layers=4, seed=seed, batch_size=batch_size,
            loader="workers", num_workers=0,
        )  # fmt: skip
        done = limited(base() + (900 << 20), given)
        if done.returncode == 0:
            break
        failures += 1
        assert not promised, done.stderr
        found = re.search(said, done.stderr)
        assert found is not None, done.stderr
        graphs, points_tried, edges, smaller = (int(one.replace(",", "")) for one in found.groups()[:4])
        assert graphs == batch_size > smaller
        assert edges == 5 * points_tried
        batch_size, promised = smaller, found[5] is not None
    assert failures
