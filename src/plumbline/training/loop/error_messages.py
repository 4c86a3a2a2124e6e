"""Error sentences for failures of memory, disk and reader processes; each says what to change."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from plumbline.console.text import size_of_batch
from plumbline.errors import InputError
from plumbline.memory import Memory, gib, out_of_memory, usable_memory

_WAYS_ON_GPU = ("--precision bf16-mixed", "--loader workers")
"""What else makes a step take less of a GPU's memory."""
_WORKERS = "give fewer with --num_workers, none with --num_workers 0, or --loader resident"
_MUCH = 0.2
"""Share of the memory from which data are named as what fills it."""


class Tried(NamedTuple):
    """A batch that did not fit.

    Attributes:
        graphs, points, edges: its size.
        fit: how many of its graphs fit, by the memory that earlier steps took; 0 if that is not known.
    """

    graphs: int
    points: int
    edges: int
    fit: int


@dataclass
class MemoryUse:
    """What fills the memory of a training.

    Attributes:
        doing: ``"opening"`` or ``"loading"`` the data set; afterwards where its batches come from:
            ``"resident"`` or ``"workers"``.
        data: bytes of the data set in memory, or of the batches of the reader processes.
        points_that_fit: points of a batch, by the memory that the steps so far took; 0 before the first.
        failed: the memory when an allocation of a step failed.
        tried: the batch of that step.
    """

    doing: Literal["opening", "loading", "resident", "workers"] = "opening"
    data: int = 0
    points_that_fit: int = 0
    failed: Memory | None = None
    tried: Tried | None = None


class _Size(NamedTuple):
    """The flag that says how large batches are, and its value."""

    flag: str
    value: int

    def __str__(self) -> str:
        return f"{self.flag} {self.value}"

    def smallest(self, use: MemoryUse) -> bool:
        """Whether no smaller batch can be made."""
        return self.value == 1 or (use.tried is not None and use.tried.graphs == 1)


@contextmanager
def plain_words(
    *, batch_size: int, batch_points: int = 0, num_workers: int, memory: MemoryUse | None = None
) -> Iterator[None]:
    """Convert failures of memory, reader processes and disk in the block into an InputError each.

    Args:
        batch_size, batch_points, num_workers: as the flags, for the sentence.
        memory: what fills the memory, for the sentence.

    Raises:
        InputError: one of these happened. Every other exception passes unchanged.
    """
    size = _Size("--batch_points", batch_points) if batch_points else _Size("--batch_size", batch_size)
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(_no_gpu_memory(size, memory or MemoryUse())) from error
    except MemoryError as error:
        raise InputError(_no_memory(size, memory)) from error
    except ImportError as error:
        if "failed to map segment" not in str(error):
            raise
        raise InputError(_no_memory(size, memory)) from error
    except InputError as error:
        text = str(error)
        if os.strerror(errno.ENOMEM) in text:
            raise InputError(_no_memory(size, memory)) from error
        if not text.startswith("Caught "):
            raise
        # From a reader process: PyTorch puts the sentence at the end of a traceback.
        raise InputError(text.strip().splitlines()[-1].partition(": ")[2]) from error
    except RuntimeError as error:
        text = str(error)
        killed = text.startswith("DataLoader worker") and "signal: Killed" in text
        if killed or out_of_memory(error):
            raise InputError(_no_memory(size, memory)) from error
        if text.startswith("DataLoader timed out"):
            how = f"the reader processes (--num_workers {num_workers}) hang: {text}"
        elif text.startswith(("DataLoader worker", "Pin memory thread", "Too many open files")):
            how = f"a reader process (--num_workers {num_workers}) has died: {text.split('. ')[0]}"
        else:
            raise
        raise InputError(f"{how}; {_WORKERS}") from error
    except OSError as error:
        if error.errno == errno.EROFS:
            raise InputError(
                f"{error.filename or 'a file of the run'} is on a disk that is now read-only: "
                "make it writable, then continue with --resume if the training had begun"
            ) from error
        if error.errno == errno.ENOMEM:
            raise InputError(_no_memory(size, memory)) from error
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"there is no space left for {error.filename or 'the files of the run'}: free some space, then "
            "continue with --resume if the training had begun"
        ) from error


def _no_gpu_memory(size: _Size, use: MemoryUse) -> str:
    """Name the batch that did not fit into the GPU's memory, and what helps."""
    room = "" if use.failed is None else f" ({gib(use.failed.total)}, {gib(use.failed.free)} free)"
    smaller = "" if size.smallest(use) else f"{_smaller(size, use)} (--accumulate makes up for it); "
    fails = f"the GPU's memory{room} does not hold {size}{_batch(use)}"
    return f"{fails}: {smaller}{' and '.join(_WAYS_ON_GPU)} take less memory"


def _batch(use: MemoryUse) -> str:
    """The size of the batch that did not fit, if it is known."""
    if use.tried is None:
        return ""
    graphs, points, edges, _ = use.tried
    return f" ({size_of_batch(graphs, points, edges)})"


def _smaller(size: _Size, use: MemoryUse) -> str:
    """The size of batches to give instead."""
    known = use.tried is not None and use.tried.fit
    fit = 0 if not known else use.points_that_fit if size.flag == "--batch_points" else known
    if not 0 < fit < size.value:
        return f"try {size.flag} {size.value // 2}"
    return f"{size.flag} {fit} fits, by the memory that earlier steps took"


def _no_memory(size: _Size, use: MemoryUse | None) -> str:
    """Name what filled the memory, and what helps."""
    limit = usable_memory() if use is None or use.failed is None else use.failed
    free = "" if use is None or use.failed is None else f", {gib(limit.free)} free"
    fails = f"{limit.whose} ({gib(limit.total)}{free}) does not hold"
    more = "allow more" if limit.limit else "take a machine with more memory"
    if use is None:
        return f"{limit.whose} does not hold {size}: {_smaller(size, MemoryUse())}"
    if use.doing == "opening":
        return f"{fails} a part of the data set: {more}"
    if use.doing == "loading":
        return f"{fails} the data set: leave it on the disk with --loader workers"
    advice = f"{more}, or make smaller graphs" if size.smallest(use) else _smaller(size, use)
    batch = f"{size}{_batch(use)}"
    if use.data <= _MUCH * limit.total:
        return f"{fails} {batch}: {advice}"
    if use.doing == "resident":
        whose, remedy = "the data set in memory", "--loader workers leaves the data set on the disk"
    else:
        whose, remedy = "the batches of the reader processes", "fewer of them (--num_workers) take less"
    return f"{fails} {batch} next to {whose} ({gib(use.data)}): {advice}; {remedy}"
