"""The order of samples: a pure function of (seed, epoch), with no state to save."""

import numpy as np

from plumbline.records import Int


def epoch_order(seed: int, epoch: int, num_samples: int) -> Int:
    """The order in which one epoch visits the samples.

    Sorts the raw 64-bit output of the counter-based generator Philox4x64-10 (Salmon et al., "Parallel
    random numbers: as easy as 1, 2, 3", SC 2011) keyed by (seed, epoch). Raw output, unlike
    ``Generator.permutation``, is fixed by the algorithm and stays the same in every version of numpy.

    Args:
        seed: any integer; taken modulo 2**64.
        epoch: 0, 1, 2, ...
        num_samples: how many samples there are.

    Returns:
        ``[num_samples]`` int64 permutation of ``0 .. num_samples - 1``.
    """
    key = np.array([seed % 2**64, epoch % 2**64], dtype=np.uint64)
    ranks = np.random.Philox(key=key).random_raw(num_samples)
    return np.argsort(ranks, kind="stable").astype(np.int64, copy=False)
