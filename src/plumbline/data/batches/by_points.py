"""Batches by number of points, for graphs of very uneven sizes.

A batch holds consecutive graphs of the epoch's order, so the order stays as random as that of batches by
number of graphs. How many batches the order needs depends on the epoch; every epoch gets the same number,
which the schedule of the learning rate and all counts of steps rely on.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any
from zlib import crc32

import numpy as np

from plumbline.console.text import counted
from plumbline.data.batches.order import BatchOrder, epoch_order
from plumbline.data.store.tensors import offsets
from plumbline.errors import InputError
from plumbline.records import Int

_PROBES = 8
"""Epochs that are looked at to fix the number of batches of every epoch."""


def fill(sizes: Int, batch_points: int) -> list[int]:
    """Divide graphs into consecutive batches, each as large as ``batch_points`` allows.

    Args:
        sizes: ``[G]`` points of each graph, in order.
        batch_points: largest number of points of a batch; a larger graph is a batch of its own.

    Returns:
        The first graph of each batch, and G. No other division into consecutive batches has fewer.
    """
    total = offsets(sizes)
    ends = np.searchsorted(total, total[:-1] + batch_points, side="right") - 1
    following = np.maximum(ends, np.arange(1, len(sizes) + 1)).tolist()
    bounds = [0]
    while bounds[-1] < len(sizes):
        bounds.append(following[bounds[-1]])
    return bounds


def first_batch(sizes: Int, batch_points: int) -> int:
    """How many graphs :func:`fill` puts into the first batch."""
    return max(int((np.cumsum(sizes) <= batch_points).sum()), 1)


def larger_ones(sizes: Int, batch_points: int) -> list[str]:
    """The sentence about graphs that are larger than a batch, if there are any."""
    larger = int((sizes > batch_points).sum())
    if not larger:
        return []
    each = "a batch of its own" if larger == 1 else "batches of their own"
    return [
        f"{counted(larger, 'graph')} of the training set with up to {sizes.max():,} points, more than "
        f"--batch_points {batch_points:,}: {each}"
    ]


def _divided(bounds: list[int], number: int) -> list[int]:
    """Halve batches, from the last one on, until there are ``number``, at most that of the graphs."""
    bounds, at = list(bounds), len(bounds) - 2
    while len(bounds) - 1 < number:
        first, end = bounds[at : at + 2]
        if end - first > 1:
            bounds.insert(at + 1, (first + end) // 2)
        at = at - 1 if at else len(bounds) - 2
    return bounds


class PointOrder(BatchOrder):
    """The graphs of each batch, where a process's part of a batch has at most ``batch_points`` points.

    Every graph is visited once in each epoch. With P processes, part ``i`` of the order belongs to process
    ``i % P``: what P processes do in one step, one process does in P batches.

    The number of batches is the largest that one of the first few epochs needs. An epoch whose order needs
    more gets another order, the first that does not; one that needs fewer has its last batches divided.

    Args:
        sizes: ``[G]`` points of each graph.
        batch_points: largest number of points of a batch and process; a larger graph is a batch of its own.
        together: whether all processes take every batch together, each with at least one graph.
        shuffle, seed, rank, size: as for :class:`BatchOrder`.

    Raises:
        InputError: there are fewer graphs than parts.
    """

    def __init__(
        self,
        sizes: Int,
        *,
        batch_points: int,
        together: bool,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        super().__init__(
            len(sizes), batch_size=1, shuffle=shuffle, drop_last=False, seed=seed, rank=rank, size=size
        )
        self._sizes, self._batch_points = sizes, batch_points
        # Batches are counted alike only where all that they follow from is the same.
        self._own = [batch_points, size, seed, crc32(np.asarray(sizes, dtype=np.int64).tobytes())]
        self._tail: tuple[int, int, int] | None = None
        self._plan: tuple[Any, Int, list[int]] | None = None
        self._needed = max(self._filled(epoch, 0)[1] for epoch in range(_PROBES if shuffle else 1))
        self._parts = (
            -(-self._needed // size) * size if together else max(self._needed, min(size, len(sizes)))
        )
        if self._parts > len(sizes):
            raise InputError(
                f"{len(sizes):,} graphs are too few for {size} processes (--devices, --num_nodes) with at "
                f"most {batch_points:,} points each (--batch_points): give more points or fewer processes"
            )

    def __len__(self) -> int:
        return -(-(self._parts - self.rank) // self.size)

    @property
    def graphs_per_batch(self) -> float:
        """Mean number of graphs in a batch of all processes."""
        return self.num_graphs * self.size / self._parts

    @property
    def filled(self) -> float:
        """Mean share of ``batch_points`` that a batch has."""
        return float(np.minimum(self._sizes, self._batch_points).sum()) / (self._parts * self._batch_points)

    def _graphs_of(self, first: int, last: int) -> int:
        return self._graphs_before(last) - self._graphs_before(first)

    def _graphs_before(self, number: int) -> int:
        _, bounds = self._planned()
        begin = 0 if self._tail is None else self._tail[0]
        return bounds[min((number - begin) * self.size, len(bounds) - 1)]

    def state_dict(self) -> dict[str, Any]:
        """That of :class:`BatchOrder`, and what the batches of the rest of this epoch follow from."""
        graphs = self._graphs_before(self.position)
        return {
            "epoch": self.epoch,
            "position": self.position,
            "graphs": graphs,
            "whole": 1,  # the epoch is over if fewer are left
            "draw": self._draw,
            "points": self._own,
            "tail": self._tail and list(self._tail),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at the point where :meth:`state_dict` was taken, also with other batches."""
        self.epoch, self.position, self._tail = state["epoch"], self.position_after(state), None
        if self._is_own(state):
            self._tail = tuple(state["tail"]) if state.get("tail") else None
        elif self.position < len(self):
            self._tail = self.position, state["graphs"], state.get("draw", 0)

    def _is_own(self, state: dict[str, Any]) -> bool:
        return "graphs" not in state or state.get("points") == self._own

    def _batches_of_rest(self, state: dict[str, Any]) -> int:
        order = self._drawn(state["epoch"], state.get("draw", 0))
        parts = len(fill(self._sizes[order[state["graphs"] :]], self._batch_points)) - 1
        needed = -(-parts // self.size)
        if needed > len(self):  # only if --batch_points or the data differ
            raise InputError(
                f"the rest of this epoch makes {needed} batches of {self._batch_points:,} points "
                f"(--batch_points), more than a whole epoch has: resume with batches as before until it ends"
            )
        return needed

    def rewind(self) -> None:
        """Begin an epoch with its first graph."""
        self.position, self._tail = 0, None

    def _drawn(self, epoch: int, draw: int) -> Int:
        """One of the orders of an epoch."""
        if self.shuffle:
            return epoch_order(self.seed, epoch, self.num_graphs, draw)
        return np.arange(self.num_graphs)

    def _filled(self, epoch: int, draw: int) -> tuple[Int, int, list[int]]:
        """An order, the number of batches that it needs, and their bounds."""
        order = self._drawn(epoch, draw)
        bounds = fill(self._sizes[order], self._batch_points)
        return order, len(bounds) - 1, bounds

    def _planned(self) -> tuple[Int, list[int]]:
        """The order of this epoch, and the bounds of all its parts from the tail on."""
        key = self.epoch, self._tail
        if self._plan is None or self._plan[0] != key:
            if self._tail is None:
                for self._draw in count():  # the first one does in about eight of nine epochs
                    order, needed, bounds = self._filled(self.epoch, self._draw)
                    if needed <= self._needed:
                        break
                parts = self._parts
            else:
                begin, first, self._draw = self._tail
                order = self._drawn(self.epoch, self._draw)
                rest = fill(self._sizes[order[first:]], self._batch_points)
                bounds, parts = [first + bound for bound in rest], (len(self) - begin) * self.size
            self._plan = key, order, _divided(bounds, parts)
        return self._plan[1:]

    def __iter__(self) -> Iterator[Int]:
        """Yield this process's part of the batches of the current epoch from ``position`` on, then rewind."""
        if self.position >= len(self):
            self.rewind()
        order, bounds = self._planned()
        begin = 0 if self._tail is None else self._tail[0]
        for number in range(self.position, len(self)):
            part = (number - begin) * self.size + self.rank
            yield order[bounds[part] : bounds[part + 1]]
        self.rewind()
