"""Batches between reader processes and the training: how many there are, and how many fit into memory."""

from collections.abc import Collection

from plumbline.data.batches.collate import Store, largest_batch
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


def batch_bytes(store: Store, indices: Int, batch_size: int, needs: frozenset[str]) -> int:
    """Bytes of the largest batch of some graphs."""
    return len(largest_batch(store, indices, batch_size, needs).as_block()[0]) if len(indices) else 0


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
