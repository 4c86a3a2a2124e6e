"""Error sentences for failures of memory, disk and reader processes; each says what to change."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from plumbline.errors import InputError

_LESS_MEMORY = "give a smaller one, --precision bf16-mixed, or --loader workers"
_WORKERS = "give fewer with --num_workers, none with --num_workers 0, or --loader resident"


@contextmanager
def plain_words(*, batch_size: int, num_workers: int) -> Iterator[None]:
    """Convert failures of memory, reader processes and disk in the block into an InputError each.

    Raises:
        InputError: one of these happened. Every other exception passes unchanged.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"the GPU's memory does not hold --batch_size {batch_size}: {_LESS_MEMORY}"
        ) from error
    except MemoryError as error:
        raise InputError(_no_memory(batch_size)) from error
    except InputError as error:
        text = str(error)
        if not text.startswith("Caught "):
            raise
        # From a reader process: PyTorch puts the sentence at the end of a traceback.
        raise InputError(text.strip().splitlines()[-1].partition(": ")[2]) from error
    except RuntimeError as error:
        text = str(error)
        if "DefaultCPUAllocator" in text:
            raise InputError(_no_memory(batch_size)) from error
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
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"there is no space left for {error.filename or 'the files of the run'}: free some space, then "
            "continue with --resume if the training had begun"
        ) from error


def _no_memory(batch_size: int) -> str:
    return f"this machine's memory does not hold --batch_size {batch_size}: {_LESS_MEMORY}"
