"""Error sentences for failures of memory, disk and reader processes; each says what to change."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from plumbline.errors import InputError
from plumbline.memory import gib, usable_memory

_LESS_MEMORY = (
    "give a smaller one (--accumulate 2 makes up for half the size), --precision bf16-mixed, or --loader "
    "workers"
)
_WORKERS = "give fewer with --num_workers, none with --num_workers 0, or --loader resident"
_ALLOCATIONS = ("DefaultCPUAllocator", "std::bad_alloc", "can't start new thread", "Cannot allocate memory")
_MUCH = 0.2
"""Share of the memory from which data are named as what fills it."""


@dataclass
class MemoryUse:
    """What fills the memory of a training.

    Attributes:
        doing: ``"opening"`` or ``"loading"`` the data set; afterwards where its batches come from:
            ``"resident"`` or ``"workers"``.
        data: bytes of the data set in memory, or of the batches of the reader processes.
    """

    doing: Literal["opening", "loading", "resident", "workers"] = "opening"
    data: int = 0


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
    flag = f"--batch_points {batch_points}" if batch_points else f"--batch_size {batch_size}"
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(f"the GPU's memory does not hold {flag}: {_LESS_MEMORY}") from error
    except MemoryError as error:
        raise InputError(_no_memory(flag, memory)) from error
    except ImportError as error:
        if "failed to map segment" not in str(error):
            raise
        raise InputError(_no_memory(flag, memory)) from error
    except InputError as error:
        text = str(error)
        if os.strerror(errno.ENOMEM) in text:
            raise InputError(_no_memory(flag, memory)) from error
        if not text.startswith("Caught "):
            raise
        # From a reader process: PyTorch puts the sentence at the end of a traceback.
        raise InputError(text.strip().splitlines()[-1].partition(": ")[2]) from error
    except RuntimeError as error:
        text = str(error)
        killed = text.startswith("DataLoader worker") and "signal: Killed" in text
        if killed or any(words in text for words in _ALLOCATIONS):
            raise InputError(_no_memory(flag, memory)) from error
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
            raise InputError(_no_memory(flag, memory)) from error
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"there is no space left for {error.filename or 'the files of the run'}: free some space, then "
            "continue with --resume if the training had begun"
        ) from error


def _no_memory(flag: str, use: MemoryUse | None) -> str:
    """Name what filled the memory, and what helps."""
    limit = usable_memory()
    fails = f"{limit.whose} ({gib(limit.total)}) does not hold"
    more = "allow more" if limit.limit else "take a machine with more memory"
    if use is None:
        return f"{limit.whose} does not hold {flag}: give a smaller one"
    if use.doing == "opening":
        return f"{fails} a part of the data set: {more}"
    if use.doing == "loading":
        return f"{fails} the data set: leave it on the disk with --loader workers"
    smallest = flag == "--batch_size 1"
    advice = f"{more}, or make smaller graphs" if smallest else "give a smaller one"
    if use.data <= _MUCH * limit.total:
        return f"{fails} {flag}: {advice}"
    if use.doing == "resident":
        whose, remedy = "the data set in memory", "--loader workers leaves the data set on the disk"
    else:
        whose, remedy = "the batches of the reader processes", "fewer of them (--num_workers) take less"
    return f"{fails} {flag} next to {whose} ({gib(use.data)}): {advice}; {remedy}"
