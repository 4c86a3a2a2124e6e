"""Batches between reader processes and the training: how many there are, and how many fit into memory."""

import sys
from collections.abc import Collection

import numpy as np

from plumbline.cores import num_cores
from plumbline.data.batches.by_points import first_batch
from plumbline.data.batches.collate import Store, largest_batch, make_batch
from plumbline.data.batches.order import BatchOrder
from plumbline.memory import Memory, gib
from plumbline.records import Int

PREFETCH_FACTOR = 4
"""Batches that each reader process prepares ahead."""
HELD = 3
"""Batches that the training holds at once: the current one, the next, and one that is just being released."""
SHARE = 0.4
"""Largest share of the free memory that is filled with data."""

Side = tuple[BatchOrder, int]
"""The batches of one side of the split, and the bytes of the largest."""


def batch_bytes(
    store: Store, indices: Int, batch_size: int, needs: frozenset[str], batch_points: int = 0
) -> int:
    """Bytes of the largest batch of some graphs; with ``batch_points`` estimated.

    Then the batch may be one of few large graphs or of many small ones, and the points that it has left are
    counted in proportion.
    """
    if not len(indices):
        return 0
    batches = [largest_batch(store, indices, batch_size, needs, batch_points)]
    most = 0
    if batch_points:
        sizes = np.diff(store.node_ptr)[indices]
        smallest_first = np.argsort(sizes, kind="stable")
        number = first_batch(sizes[smallest_first], batch_points)
        batches.append(make_batch(store, indices[smallest_first[:number]], needs))
        most = min(batch_points, int(sizes.sum()))
    return max(int(len(one.as_block()[0]) * max(most / one.num_nodes, 1)) for one in batches)


def readers(num_workers: int, notes: list[str]) -> int:
    """Choose the number of reader processes; add a note if it is not the number asked for, or too high."""
    if num_workers > 0 and sys.platform in ("win32", "darwin"):
        notes.append("batches are read in this process: reader processes start too slowly on this system")
        return 0
    here = num_cores()
    if num_workers > here:
        notes.append(
            f"{num_workers} reader processes and the training share {here} processor cores: "
            f"--num_workers {max(here - 1, 1)} may be faster"
        )
    return num_workers


def in_transit(num_workers: int, order: BatchOrder) -> int:
    """Batches that reader processes have begun or sent, and that the training holds."""
    return min(num_workers * PREFETCH_FACTOR, len(order)) + HELD


def transit_bytes(num_workers: int, sides: Collection[Side]) -> int:
    """Memory of all batches in transit; none if the training reads them itself."""
    return sum(in_transit(num_workers, order) * largest for order, largest in sides) if num_workers else 0


def readers_that_fit(num_workers: int, sides: Collection[Side], memory: Memory) -> tuple[int, str]:
    """Reduce the number of reader processes to what the memory holds; without any, the training reads.

    Returns:
        The number, and a sentence if it was reduced.
    """
    most = num_workers
    while most and transit_bytes(most, sides) > SHARE * memory.free:
        most -= 1
    if most == num_workers:
        return most, ""
    return most, (
        f"the batches of {num_workers} reader processes would take {gib(transit_bytes(num_workers, sides))}, "
        f"and {gib(memory.free)} of {memory.whose} are free: --num_workers {most} is used"
    )
