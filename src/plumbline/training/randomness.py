"""The states of all random generators, as plain values that a checkpoint can hold."""

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that draw from the global generator
    torch.manual_seed(seed)


def random_states(*, all_gpus: bool = True) -> dict[str, Any]:
    """States of Python's, numpy's, torch's and every GPU's generator; loads with ``weights_only=True``.

    Without ``all_gpus``, the GPUs are only the one that this process computes on.
    """
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": [version, list(words), gauss],
        "numpy": [torch.from_numpy(np.asarray(keys, np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": _gpu_states(all_gpus) if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore the result of :func:`random_states`; of several GPUs only if there are as many."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    keys, *rest = states["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if not states["cuda"] or not torch.cuda.is_available():
        return
    if len(states["cuda"]) == 1:
        torch.cuda.set_rng_state(states["cuda"][0].cpu())
    elif len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])


def _gpu_states(all_gpus: bool) -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if all_gpus else [torch.cuda.get_rng_state()]


def seed_of(seed: int, member: int, rank: int = 0) -> int:
    """The seed of a process of a member of an ensemble; the first one of the first uses the seed itself."""
    return (seed + 1_000_003 * member + 7_368_787 * rank) % 2**32
