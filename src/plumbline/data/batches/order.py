"""The order of samples: a pure function of (seed, epoch), and how far iteration has come."""

from collections.abc import Iterator

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


class BatchOrder:
    """Positions of each batch's graphs, epoch by epoch, with the place where iteration stands.

    Args:
        num_graphs: G.
        batch_size: graphs per batch.
        shuffle: visit them in :func:`epoch_order` instead of as they come.
        drop_last: leave out the last batch of an epoch if it is not full.
        seed: of the order.
    """

    def __init__(
        self, num_graphs: int, *, batch_size: int, shuffle: bool, drop_last: bool, seed: int
    ) -> None:
        self.num_graphs = num_graphs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.epoch = 0
        self.position = 0

    def __len__(self) -> int:
        whole, rest = divmod(self.num_graphs, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Int]:
        """The batches of the current epoch from ``position`` on; afterwards ``position`` is 0 again."""
        if self.shuffle:
            order = epoch_order(self.seed, self.epoch, self.num_graphs)
        else:
            order = np.arange(self.num_graphs)
        if self.position >= len(self):  # an epoch that was read to its last batch but not past it
            self.position = 0
        for number in range(self.position, len(self)):
            yield order[number * self.batch_size : (number + 1) * self.batch_size]
        self.position = 0
