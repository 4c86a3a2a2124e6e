"""Handling of a loss that is not finite: stop with a diagnosis, or skip the step."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.reporting import Reporter

_SHOWN = 4
"""Maximum number of objects named in a message; a batch may have hundreds."""


class NonFinite:
    """Checks the loss of each step: always on a CPU, and on other devices only if steps may be skipped.

    On a GPU, the check would make every step wait, so there only the steps that are logged and the end of an
    epoch are checked (:meth:`~plumbline.training.loop.task.CentreOfMassTask.check_finite`), unless
    ``skip_nonfinite`` is on.

    Args:
        store: source of the batches, for the names of the objects.
        skip_nonfinite: skip such steps and count them, instead of stopping.
        report: receives a message about each skipped step.

    Attributes:
        skipped: number of steps skipped since the training began.
    """

    def __init__(self, store: PackedStore, *, skip_nonfinite: bool, report: Reporter) -> None:
        self._store, self._skip_nonfinite, self._report = store, skip_nonfinite, report
        self.skipped = 0

    def leaves_out(self, loss: Tensor, batch: Batch, model: nn.Module, *, step: int, lr: float) -> bool:
        """Whether to skip the step.

        Raises:
            InputError: the loss is not finite and steps are not skipped; names the objects of the batch.
        """
        if not self._skip_nonfinite and loss.device.type != "cpu":
            return False
        if math.isfinite(float(loss.detach())):
            return False
        about = self._describe(batch, model, lr)
        if self._skip_nonfinite:
            self.skipped += 1
            self._report.say(
                f"step {step + 1:,} skipped, {self.skipped:,} so far: its loss is not finite; {about}"
            )
            return True
        raise InputError(
            f"the loss is not finite at step {step + 1:,}: {about}; inspect these objects, lower --lr, keep "
            "--gradient_clip on, use --precision 32, or, with one process, skip such steps with "
            "--skip_nonfinite (the last good checkpoint is untouched)"
        )

    def _describe(self, batch: Batch, model: nn.Module, lr: float) -> str:
        largest_first = batch.target.abs().amax(dim=1).argsort(descending=True)
        rows = batch.index[largest_first].tolist()
        names = list(dict.fromkeys(self._store.object_names[self._store.object_idx[row]] for row in rows))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        with torch.no_grad():
            weights = torch.stack([weight.double().norm() for weight in model.parameters()]).norm()
        return (
            f"objects {', '.join(names[:_SHOWN])}{more}, learning rate {lr:.3g}, norm of the weights "
            f"{float(weights):.3g}, largest input {_largest(batch.node_features)}, "
            f"largest target {_largest(batch.target)}"
        )

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"skipped": self.skipped}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the count from :meth:`state`."""
        self.skipped = state["skipped"]


def _largest(values: Tensor) -> str:
    return f"{float(values.abs().max()):.3g}" if values.numel() else "none"
