"""Process state that a training changes, and restores when it ends.

Not undone: Lightning and torch are imported, which adds a few filters of warnings; and the C library keeps
freed memory (``allocator.py``). A running training uses the global random
generators: run one training at a time per process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from plumbline.training.randomness import random_states, restore_random_states


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Restore random generators, torch's settings and environment variables after the block."""
    states = random_states()
    variables = dict(os.environ)
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    determined = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    flags = cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    try:
        yield
    finally:
        cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = flags
        if torch.are_deterministic_algorithms_enabled() != determined:  # torch imports its compiler to do so
            torch.use_deterministic_algorithms(determined, warn_only=warn_only)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        # Lightning and torch set some, such as OMP_NUM_THREADS with several processes.
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        os.environ.update(variables)
        restore_random_states(states)
