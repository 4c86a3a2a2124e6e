"""The processes of a training, and how they agree on what happens next."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import zip_longest
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from plumbline.errors import InputError
from plumbline.training.distributed.place import Place

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""Before and after the training the first process may work alone for long, such as on files to convert."""
_MOMENT = 5.0
"""Seconds within which all processes that wait for another one notice that it does not answer."""


class ProcessLost(InputError):
    """Another process has ended or does not answer. Every other refusal is known to all processes."""


class World:
    """All processes of a training, as one of them sees them; alone, every method returns at once.

    What is agreed on goes through the processors' memory (gloo), also if the training computes on GPUs.

    Args:
        place: which process this is.
        store: where the processes leave notes for each other; None: there is one.

    Attributes:
        rank, size: of the place.
        first: whether this process writes the files and talks to the user.
        step: the last one that was finished.
        abandoned: whether this process ends without the others.
        busy: whether this process, or the first one that it waits for, does what may take long.
        others: the processes that this one has started.
    """

    def __init__(self, place: Place = Place(), store: dist.Store | None = None) -> None:  # noqa: B008
        self.place, self.rank, self.size = place, place.rank, place.size
        self.first = place.rank == 0
        self._store = store
        self.step, self.abandoned, self.busy = 0, False, False
        self.others: Sequence[subprocess.Popen[bytes]] = ()
        self._patient = dist.new_group(backend="gloo", timeout=_PATIENCE) if self.size > 1 else None
        self._group = self._patient

    def hurry(self, now: bool) -> None:
        """Whether to wait no longer than ``--stall_timeout`` for each other from here on."""
        self._group = None if now else self._patient

    def close(self) -> None:
        """End the threads of the exchanges: one that frees memory while Python ends aborts the process."""
        self._group = self._patient = None

    @contextmanager
    def long_work(self) -> Iterator[None]:
        """Mark work that may take long, such as writing to a slow disk, for the block."""
        self.busy = True
        try:
            yield
        finally:
            self.busy = False

    # -- agreements ----------------------------------------------------------------------------------------

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in order of rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self._group)
        return values

    def in_order(self, batches: Sequence[T]) -> list[T]:
        """What all processes have of their batches, in the order in which one process would have it."""
        parts = self.gather(list(batches))
        return [one for each in zip_longest(*parts) for one in each if one is not None]

    def most(self, values: Sequence[int]) -> list[int]:
        """The largest of each of some whole numbers over all processes."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values)
        dist.all_reduce(shared, dist.ReduceOp.MAX, group=self._group)
        return [int(value) for value in shared]

    def sum(self, sums: Tensor | None, count: int) -> tuple[Tensor | None, int]:
        """Sums and counts over all processes, added in order of rank; None where nothing was added."""
        if self.size == 1:
            return sums, count
        parts = self.gather((None if sums is None else sums.cpu(), count))
        known = [part for part, _ in parts if part is not None]
        return (sum(known[1:], known[0]) if known else None), sum(number for _, number in parts)

    def together(self, work: Callable[[], T]) -> T:
        """Do something in every process; if it is refused in one, it is in all, with the same sentence."""
        found, refusal = None, None
        try:
            found = work()
        except InputError as error:
            if self.size == 1:
                raise
            refusal = str(error)
        for text in self.gather(refusal):
            if text is not None:
                raise InputError(text)
        return found  # type: ignore[return-value]

    def from_first(self, work: Callable[[], T]) -> T:
        """Do something in the first process, and return what it found, a copy of it in the others."""
        found = self.together(lambda: work() if self.first else None)
        shared = self.gather(found)[0]
        return found if self.first else shared  # type: ignore[return-value]

    def in_turn(self, work: Callable[[], T]) -> T:
        """Do something in the first process, which may leave files, then in the others, which find them."""
        found = self.together(lambda: work() if self.first else None)
        rest = self.together(lambda: None if self.first else work())
        return found if self.first else rest  # type: ignore[return-value]

    # -- trouble -------------------------------------------------------------------------------------------

    def leave(self, error: BaseException) -> None:
        """Note why this process ends before the others."""
        if self._store is not None:
            text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            try:
                self._store.set(f"error {self.rank}", text)
            except RuntimeError:  # the first process, which holds the notes, has ended
                return

    def why(self, error: BaseException) -> ProcessLost:
        """Say which process the others wait for in vain, and why it ended, if it could say so."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        try:
            assert self._store is not None
            for rank in others:
                if self._store.check([f"error {rank}"]):
                    text = self._store.get(f"error {rank}").decode()
                    return ProcessLost(f"process {rank} of {self.size} has ended: {text}")
            if "imed out" in str(error) and (silent := self._silent(self._store, others)):
                return ProcessLost(
                    f"process {', '.join(map(str, silent))} of {self.size} does not answer since step "
                    f"{self.step:,} (--stall_timeout): see what it waits for, then continue with --resume"
                )
        except RuntimeError:
            return ProcessLost(f"process 0 of {self.size} has ended without a word; continue with --resume")
        return ProcessLost(
            "another process of this training has ended without a word, such as one that was killed for its "
            "memory; continue with --resume"
        )

    def _silent(self, store: dist.Store, others: Sequence[int]) -> list[int]:
        """The processes that do not wait as well."""
        store.set(f"waits {self.rank}", "")
        deadline = time.monotonic() + _MOMENT
        while silent := [rank for rank in others if not store.check([f"waits {rank}"])]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return silent


ALONE = World()
"""A training by one process."""
