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

_VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "TORCHINDUCTOR_CACHE_DIR", "KINETO_LOG_LEVEL")
"""Environment variables that Lightning, torch and we ourselves set during a training."""


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Restore random generators, torch's settings and environment variables after the block."""
    states = random_states()
    variables = {name: os.environ.get(name) for name in _VARIABLES}
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
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        restore_random_states(states)
