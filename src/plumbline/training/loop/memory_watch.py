"""How much memory steps take, to say what would fit when one does not."""

from typing import Any, NamedTuple

import numpy as np
import torch

from plumbline.data.batches.batch import Batch
from plumbline.data.store.reader import PackedStore
from plumbline.memory import Memory, out_of_memory, resident_memory, usable_memory
from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.loop.error_messages import MemoryUse, Tried

_FIRST = 3
"""Steps that are measured whatever their size: the first one also takes memory that stays."""
_SAFE = 0.9
"""Share of the memory that is counted on."""
_FURTHEST = 4
"""How many times the points of the largest step so far the measurement says something about."""


class _State(NamedTuple):
    """Bytes that a step can still take, bytes in use, and the most that were in use so far."""

    free: int
    used: int
    most: int


class MemoryWatch(Callback):
    """Measures the memory of the first steps and of each that is larger than all before.

    Args:
        use: record of what fills the memory, updated here.
        store: the data set.
        device: where the training runs.
    """

    def __init__(self, use: MemoryUse, store: PackedStore, device: torch.device) -> None:
        self._use, self._store, self._device = use, store, device
        self._measured, self._largest, self._measures = 0, 0, False
        self._before: _State | None = None
        self._batch: Batch | None = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Note the batch, and the memory before it if the step is to be measured."""
        self._batch = batch
        self._measures = self._measured < _FIRST or batch.num_nodes > self._largest
        # On a CPU a step reuses what earlier ones have freed, so the memory before the first one counts.
        if self._measures and (self._before is None or self._device.type == "cuda"):
            self._before = self._state()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Compute how many points fit from the memory that the step took."""
        if self._measures and self._before is not None and self._batch is not None:
            points = self._batch.num_nodes
            most, before = self._most(), self._before
            self._largest = max(self._largest, points)
            # A peak that was there before, such as that of an earlier training, says nothing about the step.
            measured = most > before.most
            fit = int(_SAFE * points * before.free / (most - before.used)) if measured else 0
            self._use.points_that_fit = max(self._largest, min(fit, _FURTHEST * self._largest))
            self._measured += 1
        self._batch = None

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, *_: Any
    ) -> None:
        """Note the batch."""
        self._batch = batch

    def on_validation_batch_end(self, *_: Any) -> None:
        """Forget the batch."""
        self._batch = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Note which batch did not fit, and what was free."""
        if not out_of_memory(exception):
            return
        if self._device.type == "cuda":
            self._use.failed = Memory(*torch.cuda.mem_get_info(self._device), "the GPU's memory")
        elif self._device.type == "cpu":
            self._use.failed = usable_memory()
        if self._batch is not None:
            graphs = self._batch.index.cpu().numpy()
            points = np.diff(self._store.node_ptr)[graphs]
            edges = int(np.diff(self._store.edge_ptr)[graphs].sum())
            # As many of the largest graphs as fit: then any others do.
            fit = int((np.cumsum(np.sort(points)[::-1]) <= self._use.points_that_fit).sum())
            # If all should have fitted, the estimate is wrong.
            self._use.tried = Tried(len(graphs), int(points.sum()), edges, fit if fit < len(graphs) else 0)

    def _state(self) -> _State:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            used = torch.cuda.memory_allocated(self._device)
            free = torch.cuda.mem_get_info(self._device)[0] + torch.cuda.memory_reserved(self._device) - used
            return _State(free, used, used)
        return _State(usable_memory().free, *resident_memory())

    def _most(self) -> int:
        """The most bytes in use, of the step on a GPU and of the process on a CPU."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return resident_memory()[1]
