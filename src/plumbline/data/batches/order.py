"""The order of samples, a pure function of (seed, epoch), and the position reached in it."""

from collections.abc import Iterator

import numpy as np

from plumbline.records import Int


def epoch_order(seed: int, epoch: int, num_samples: int) -> Int:
    """Compute the order in which one epoch visits the samples.

    Sorts the raw 64-bit output of the counter-based generator Philox4x64-10 (Salmon et al., "Parallel
    random numbers: as easy as 1, 2, 3", SC 2011) keyed by (seed, epoch). Raw output, unlike
    ``Generator.permutation``, is fixed by the algorithm and stays the same in every version of numpy.

    Args:
        seed: any integer; taken modulo 2**64.
        epoch: 0, 1, 2, ...
        num_samples: number of samples.

    Returns:
        ``[num_samples]`` int64 permutation of ``0 .. num_samples - 1``.
    """
    key = np.array([seed % 2**64, epoch % 2**64], dtype=np.uint64)
    ranks = np.random.Philox(key=key).random_raw(num_samples)
    return np.argsort(ranks, kind="stable").astype(np.int64, copy=False)


def first_batches(seed: int, num_samples: int, *, batch_size: int, number: int) -> Int:
    """The samples of the first ``number`` batches of the first epoch; all of them if it has fewer."""
    whole = min(number, num_samples // batch_size) * batch_size
    return epoch_order(seed, 0, num_samples)[: whole or num_samples]


class BatchOrder:
    """The graphs of each batch, epoch by epoch, and the position that iteration has reached.

    Args:
        num_graphs: G.
        batch_size: graphs per batch.
        shuffle: visit the graphs in :func:`epoch_order` instead of in ascending order.
        drop_last: leave out the last batch of an epoch if it is not full.
        seed: seed of the order.

    Attributes:
        epoch: the current epoch.
        position: number of its batches that were handed out; set by the loader.
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
        """Yield the batches of the current epoch from ``position`` on, then reset ``position`` to 0.

        Each batch is an int64 array of positions among the ``num_graphs`` graphs.
        """
        if self.shuffle:
            order = epoch_order(self.seed, self.epoch, self.num_graphs)
        else:
            order = np.arange(self.num_graphs)
        if self.position >= len(self):  # the last batch was read, but the iteration was not finished
            self.position = 0
        for number in range(self.position, len(self)):
            yield order[number * self.batch_size : (number + 1) * self.batch_size]
        self.position = 0
