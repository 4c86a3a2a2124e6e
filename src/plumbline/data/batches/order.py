"""The order of samples, a pure function of (seed, epoch), and the position reached in it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from plumbline.errors import InputError
from plumbline.records import Int


def epoch_order(seed: int, epoch: int, num_samples: int, draw: int = 0) -> Int:
    """Compute the order in which one epoch visits the samples.

    Sorts the raw 64-bit output of the counter-based generator Philox4x64-10 (Salmon et al., "Parallel
    random numbers: as easy as 1, 2, 3", SC 2011) keyed by (seed, epoch). Raw output, unlike
    ``Generator.permutation``, is fixed by the algorithm and stays the same in every version of numpy.

    Args:
        seed: any integer; taken modulo 2**64.
        epoch: 0, 1, 2, ...
        num_samples: number of samples.
        draw: 0, 1, 2, ...: unrelated orders of the same epoch.

    Returns:
        ``[num_samples]`` int64 permutation of ``0 .. num_samples - 1``.
    """
    key = np.array([seed % 2**64, epoch % 2**64], dtype=np.uint64)
    ranks = np.random.Philox(key=key, counter=[0, draw, 0, 0]).random_raw(num_samples)
    return np.argsort(ranks, kind="stable").astype(np.int64, copy=False)


def first_batches(seed: int, num_samples: int, *, batch_size: int, number: int) -> Int:
    """The samples of the first ``number`` batches of the first epoch; all of them if it has fewer."""
    whole = min(number, num_samples // batch_size) * batch_size
    return epoch_order(seed, 0, num_samples)[: whole or num_samples]


class BatchOrder:
    """The graphs of each batch, epoch by epoch, and the position that iteration has reached.

    With several processes, a batch has ``batch_size`` graphs for each, and each gets its part of all batches.
    Together they visit the graphs as one process with batches of that size in all does.

    Args:
        num_graphs: G.
        batch_size: graphs per batch and process.
        shuffle: visit the graphs in :func:`epoch_order` instead of in ascending order.
        drop_last: leave out the last batch of an epoch if it is not full.
        seed: seed of the order.
        rank: which process this is.
        size: number of processes.

    Attributes:
        epoch: the current epoch.
        position: number of its batches that were handed out; set by the loader.
    """

    def __init__(
        self,
        num_graphs: int,
        *,
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        self.num_graphs = num_graphs
        self.batch_size = batch_size
        self.rank, self.size = rank, size
        self._whole = batch_size * size
        self._offset = self._draw = 0
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.epoch = 0
        self.position = 0

    def __len__(self) -> int:
        whole, rest = divmod(self.num_graphs, self._whole)
        return whole + (rest > self.rank and not self.drop_last)

    @property
    def graphs_per_batch(self) -> float:
        """Mean number of graphs in a batch of all processes."""
        return float(min(self._whole, self.num_graphs))

    def share(self, first: int, last: int, graphs: int) -> float:
        """Weight of this process's part of a batch in the mean over processes; 1 if all parts are equal.

        Args:
            first, last: the batches of the epoch that make the step, ``last`` not included.
            graphs: in this part.
        """
        return self.size * graphs / self._graphs_of(first, last)

    def _graphs_of(self, first: int, last: int) -> int:
        """The graphs of all processes in these batches, ``last`` not included."""
        return min(self._whole * (last - first), self.num_graphs - self._offset - first * self._whole)

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the batches that were handed out, their graphs, and the graphs of a whole batch."""
        graphs = self._offset + self.position * self._whole
        state = {"epoch": self.epoch, "position": self.position, "graphs": graphs, "whole": self._whole}
        return state | ({"draw": self._draw} if self._draw else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at the point where :meth:`state_dict` was taken, also with batches of another size.

        Then the next batch begins with the next graph. It is short if only a part of a batch is left.
        """
        self.epoch, self.position, self._offset = state["epoch"], self.position_after(state), 0
        self._draw = state.get("draw", 0)
        if "graphs" in state:  # checkpoints of earlier programs lack it
            self._offset = state["graphs"] - self.position * self._whole

    def position_after(self, state: dict[str, Any]) -> int:
        """The batches of this kind that count as done in a state. Raises InputError: too few are left."""
        if self._is_own(state):
            return int(state["position"])
        left = self.num_graphs - state["graphs"]
        if left < state["whole"]:
            return len(self)  # the epoch is over
        needed = self._batches_of_rest(state)
        if needed * self.size > left:
            raise InputError(
                f"{left} graphs of this epoch are left, too few for {self.size} processes: resume with fewer "
                "--devices until it ends"
            )
        return len(self) - needed

    def _is_own(self, state: dict[str, Any]) -> bool:
        """Whether a state counts batches as this order does."""
        return "points" not in state and state.get("whole", self._whole) == self._whole

    def _batches_of_rest(self, state: dict[str, Any]) -> int:
        """Number of batches that the rest of an epoch makes."""
        return max((self.num_graphs - state["graphs"]) // self._whole, 1)

    def rewind(self) -> None:
        """Begin an epoch with its first graph."""
        self.position = self._offset = self._draw = 0

    def __iter__(self) -> Iterator[Int]:
        """Yield the batches of the current epoch from ``position`` on, then reset ``position`` to 0.

        Each batch is an int64 array of positions among the ``num_graphs`` graphs.
        """
        if self.shuffle:
            order = epoch_order(self.seed, self.epoch, self.num_graphs, self._draw)
        else:
            order = np.arange(self.num_graphs)
        if self.position >= len(self):  # the last batch was read, but the iteration was not finished
            self.rewind()
        for number in range(self.position, len(self)):
            first = self._offset + number * self._whole
            yield np.array_split(order[first : first + self._whole], self.size)[self.rank]
        self.rewind()
