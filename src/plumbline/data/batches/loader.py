"""Data loaders for training and validation.

The order is a pure function of (seed, epoch, position), so the state of a loader is two integers. Both
kinds of loader yield the same batches in the same order: ``resident`` gathers them from tensors that stay
in memory (or on the GPU); with ``workers``, reader processes build them from the memory-mapped store.
"""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from copy import copy
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from plumbline.console.text import counted, processes
from plumbline.data.batches.batch import Batch
from plumbline.data.batches.by_points import PointOrder, larger_ones
from plumbline.data.batches.collate import GraphTables, loose_batch, resident_bytes
from plumbline.data.batches.order import BatchOrder
from plumbline.data.batches.slots import Slots
from plumbline.data.batches.transit import (
    PREFETCH_FACTOR,
    SHARE,
    batch_bytes,
    in_transit,
    readers,
    readers_that_fit,
    transit_bytes,
)
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.memory import usable_memory
from plumbline.records import Int

_GRACE = 1.0
"""Seconds that a reader process has to exit by itself before it is killed."""
_OUTLIVE = 60
"""Seconds for which a reader process keeps serving the training after it receives SIGTERM."""


class Loader:
    """The batches of one side of the split. Iterating yields the :class:`Batch` objects of one epoch."""

    def __init__(self, order: BatchOrder) -> None:
        self.order = order

    @property
    def num_graphs(self) -> int:
        """G, the number of graphs on this side of the split."""
        return self.order.num_graphs

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, int]:
        """The position in the order."""
        return self.order.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue at the point where :meth:`state_dict` was taken."""
        self.order.load_state_dict(state)

    def close(self) -> None:
        """End the reader processes, if there are any. The next iteration starts new ones."""


class ResidentLoader(Loader):
    """Gathers every batch from tensors in memory, in this process.

    Args:
        order: of the batches.
        tables: the tensors, of which ``indices [G]`` are the graphs of this side of the split.
    """

    def __init__(self, order: BatchOrder, tables: GraphTables, indices: Int) -> None:
        super().__init__(order)
        self._tables, self._indices = tables, indices

    def __iter__(self) -> Iterator[Batch]:
        first = self.order.position
        for number, rows in enumerate(self.order, start=first + 1):
            batch = self._tables.batch(self._indices[rows])
            self.order.position = number
            yield batch


class _InSlot(NamedTuple):
    """A batch that a reader process wrote to a slot; ``places`` as returned by :meth:`Batch.as_block`."""

    number: int
    size: int
    places: dict[str, Any]


class _StoreDataset(Dataset):
    """Builds whole batches in a reader process, which inherits the store or opens it again."""

    def __init__(self, store: PackedStore, indices: Int, needs: frozenset[str], slots: Slots) -> None:
        self._store, self._indices, self._needs = store, indices, needs
        self._slots: Slots | None = slots

    def __getitem__(self, work: tuple[Int, int | None]) -> Batch | _InSlot:
        rows, number = work
        room = None
        if number is not None and self._slots is not None:
            room = torch.from_numpy(self._slots.room(number))
        block, places = loose_batch(self._store, self._indices[rows], self._needs).as_block(room)
        if number is not None and room is not None and block.data_ptr() == room.data_ptr():
            return _InSlot(number, len(block), places)
        return Batch.of_block(block, places)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_slots": None}


class _Work(Sampler):
    """The work sent to the reader processes: the graphs of each batch, and the slot to write it to."""

    def __init__(self, order: BatchOrder, slots: Slots) -> None:
        self._order, self._slots = order, slots

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[tuple[Int, int | None]]:
        # DataLoader asks for the first item only when every reader is new or has finished the last epoch.
        self._slots.recover()
        for rows in copy(self._order):  # which is ahead of the training, so its own position stays behind
            yield rows, self._slots.take()


class WorkerLoader(Loader):
    """Reads the batches with PyTorch's ``DataLoader``; ``settings`` come from :func:`worker_settings`."""

    def __init__(
        self,
        order: BatchOrder,
        store: PackedStore,
        indices: Int,
        needs: frozenset[str],
        settings: dict[str, Any],
        stall_timeout: float,
        batch_bytes: int,
    ) -> None:
        super().__init__(order)
        self._readers: Any = None
        self._slots = _slots(order, settings, batch_bytes)
        names = ("num_workers", "pin_memory", "persistent_workers", "prefetch_factor")
        self._loader: DataLoader = DataLoader(
            _StoreDataset(store, indices, needs, self._slots),
            sampler=_Work(order, self._slots),
            batch_size=None,
            collate_fn=_unchanged,
            worker_init_fn=_outlive_the_last_step,
            multiprocessing_context="fork" if settings["num_workers"] else None,  # fork shares the slots
            # A generator of its own: otherwise a DataLoader draws from the one that dropout uses.
            generator=torch.Generator(),
            timeout=stall_timeout if settings["num_workers"] else 0,
            **{name: settings[name] for name in names},
        )

    def __iter__(self) -> Iterator[Batch]:
        first = self.order.position
        for number, sent in enumerate(self._sent(), start=first + 1):
            self.order.position = number
            if isinstance(sent, _InSlot):
                block = self._slots.receive(sent.number, sent.size)
                yield Batch.of_block(torch.from_numpy(block), sent.places)
            else:
                self._slots.skip()
                yield sent
        self.order.rewind()

    def _sent(self) -> Iterator[Batch | _InSlot]:
        """Yield what the reader processes send, in order. RuntimeError if the loader is closed meanwhile."""
        readers = self._readers = iter(self._loader)
        while True:
            if self._readers is not readers:
                raise RuntimeError("the loader was closed while its batches were read")
            try:
                sent = next(readers)
            except StopIteration:
                return
            yield sent

    def close(self) -> None:
        """End the reader processes, by force after a second.

        PyTorch would end them only when its iterator is garbage-collected, which a remaining reference
        delays forever. It also only asks them to exit: a suspended process does not answer, and Python would
        wait for it at exit.
        """
        readers, self._readers, self._loader._iterator = self._readers, None, None
        if isinstance(readers, _MultiProcessingDataLoaderIter):
            late = threading.Timer(_GRACE, _kill, args=[readers._workers])
            late.start()
            with suppress(RuntimeError):  # PyTorch reports that a process was killed
                readers._shutdown_workers()
            late.cancel()


def _slots(order: BatchOrder, settings: dict[str, Any], batch_bytes: int) -> Slots:
    """Make slots for all batches in transit; none if batches are read in this process or sent to a GPU."""
    if not settings["num_workers"] or settings["pin_memory"] or not len(order):
        return Slots(0, 0)
    try:
        return Slots(in_transit(settings["num_workers"], order), batch_bytes)
    except OSError:  # the system refuses that much memory; PyTorch then sends each batch in its own file
        return Slots(0, 0)


def _outlive_the_last_step(_: int) -> None:
    """Keep a reader process alive after SIGTERM, because the training may still need it to save its state.

    SIGTERM often goes to a whole job. Readers that the training does not end exit ``_OUTLIVE`` seconds later.
    """
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_OUTLIVE))


def _unchanged(batch: Any) -> Any:
    return batch


def _kill(processes: Iterable[BaseProcess]) -> None:
    for process in processes:
        process.kill()


class Loaders(NamedTuple):
    """The loaders of the training and the validation graphs, and the settings chosen for them.

    Attributes:
        settings: shown by ``--debug``.
        notes: one sentence for each setting that differs from what was asked for, or could be better.
        bytes: memory of the data set (``"resident"``) or of the batches in transit (``"workers"``).
    """

    train: Loader
    val: Loader
    settings: dict[str, Any]
    notes: list[str]
    bytes: int = 0


class Resident(NamedTuple):
    """Whether a data set is in memory: its tensors, or None, and why, if ``auto`` left it on disk."""

    tables: GraphTables | None
    notes: tuple[str, ...] = ()


def load_resident(
    store: PackedStore, *, loader: str, needs: frozenset[str], device: torch.device | str, copies: int = 1
) -> Resident:
    """Read a data set into memory, if it and its ``copies`` in other processes are to be there.

    The other arguments are those of :func:`make_loaders`.
    """
    device = torch.device(device)
    if loader == "workers":
        return Resident(None)
    if loader == "auto" and (note := _too_large(store, needs, device, copies)):
        return Resident(None, (note,))
    return Resident(GraphTables(store, np.arange(len(store)), needs, device))


def make_loaders(
    store: PackedStore,
    *,
    train_idx: Int,
    val_idx: Int,
    batch_size: int,
    batch_points: int = 0,
    loader: str = "auto",
    num_workers: int = 4,
    seed: int = 0,
    shuffle: bool = True,
    needs: frozenset[str] = frozenset({"gcn"}),
    device: torch.device | str = "cpu",
    persistent_workers: bool = True,
    stall_timeout: float = 300.0,
    resident: Resident | None = None,
    rank: int = 0,
    size: int = 1,
) -> Loaders:
    """Make the loaders for training (last short batch dropped) and validation (in order, complete).

    Args:
        store: the data set.
        train_idx: graphs to train on.
        val_idx: graphs to validate on.
        batch_size: graphs per batch and process.
        batch_points: points per batch and process, which replaces ``batch_size``; 0: off.
        loader: ``"resident"``, ``"workers"``, or ``"auto"``: resident if it fits into memory.
        num_workers: reader processes for ``"workers"``; none on Windows and macOS, where each would have
            to start a new interpreter.
        seed: seed of the training order.
        shuffle: train in another order in each epoch.
        needs: what the model reads, see :class:`~plumbline.data.batches.batch.Batch`.
        device: where training runs.
        persistent_workers: keep the reader processes from one epoch to the next.
        stall_timeout: seconds to wait for a batch before the reader processes count as hung; 0 waits forever.
        resident: what :func:`load_resident` returned for the same arguments; None: it is called here.
        rank, size: which of how many processes of the training this is.

    Raises:
        InputError: there are fewer graphs on a side than processes, or than ``batch_points`` makes parts.
    """
    device = torch.device(device)
    tables, known = resident or load_resident(store, loader=loader, needs=needs, device=device)
    notes = list(known)
    fewest = min(len(train_idx), len(val_idx))
    if size > 1 and fewest < size:
        raise InputError(
            f"{processes(size)} (--devices, --num_nodes) need a graph each to train and to validate on, but "
            f"there are {len(train_idx):,} and {len(val_idx):,}: give fewer, or more data"
        )
    common: dict[str, Any] = {"seed": seed, "rank": rank, "size": size}
    if batch_points:
        points = np.diff(store.node_ptr)
        common["batch_points"], drop_last = batch_points, False
        train: BatchOrder = PointOrder(points[train_idx], together=True, shuffle=shuffle, **common)
        val: BatchOrder = PointOrder(points[val_idx], together=False, shuffle=False, **common)
        notes += larger_ones(points[train_idx], batch_points)
    else:
        common["batch_size"], drop_last = batch_size, len(train_idx) >= batch_size * size
        train = BatchOrder(len(train_idx), shuffle=shuffle, drop_last=drop_last, **common)
        val = BatchOrder(len(val_idx), shuffle=False, drop_last=False, **common)
        if not drop_last:
            notes.append(
                f"the training set ({counted(len(train_idx), 'graph')}) is smaller than one batch "
                f"({batch_size * size}), so it is used as one short batch"
            )
    settings: dict[str, Any] = {
        "loader": "workers" if tables is None else "resident",
        **({"batch_points": batch_points} if batch_points else {"batch_size": batch_size}),
        "drop_last": drop_last,
        "train_batches": len(train),
        "val_batches": len(val),
    }
    sides = ((train, train_idx), (val, val_idx))
    if tables is not None:
        settings |= {"device": str(device)}
        if not persistent_workers:
            notes.append("there are no reader processes, so --no_persistent_workers has no effect")
        made: list[Loader] = [ResidentLoader(order, tables, indices) for order, indices in sides]
        return Loaders(made[0], made[1], settings, notes, tables.num_bytes)
    num_workers = readers(num_workers, notes)
    sizes = [
        batch_bytes(store, indices, batch_size, needs, batch_points) if num_workers else 0
        for _, indices in sides
    ]
    transit = [(train, sizes[0]), (val, sizes[1])]
    num_workers, note = readers_that_fit(num_workers, transit, usable_memory())
    notes += [note] if note else []
    settings |= worker_settings(num_workers, device, persistent_workers)
    made = [
        WorkerLoader(order, store, indices, needs, settings, stall_timeout, size)
        for (order, indices), size in zip(sides, sizes, strict=True)
    ]
    return Loaders(made[0], made[1], settings, notes, transit_bytes(num_workers, transit))


def worker_settings(
    num_workers: int, device: torch.device, persistent_workers: bool = True
) -> dict[str, Any]:
    """Settings of PyTorch's ``DataLoader``, as documented."""
    several = num_workers > 0
    return {
        "num_workers": num_workers,
        "pin_memory": device.type == "cuda",
        "persistent_workers": several and persistent_workers,
        "prefetch_factor": PREFETCH_FACTOR if several else None,
    }


def _too_large(store: PackedStore, needs: frozenset[str], device: torch.device, copies: int) -> str:
    """Why ``auto`` leaves a data set on disk; empty if it fits into memory."""
    if device.type == "cuda":
        free, limit = torch.cuda.mem_get_info(device)[0], ""
    else:
        memory = usable_memory()
        free, limit = memory.free, memory.limit
    needed = resident_bytes(store, needs) * (1 if device.type == "cuda" else copies)  # a GPU for each
    if needed <= SHARE * free:
        return ""
    return (
        f"the data set would take {needed / 2**30:.1f} of {free / 2**30:.1f} GiB free memory{limit}, "
        "so it stays on disk and reader processes read it (--loader workers)"
    )
