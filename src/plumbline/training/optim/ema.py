"""Averaged weights (``--ema``), which are validated and saved in addition to the trained weights."""

from typing import Any

import torch
from torch import Tensor

from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.optim.accumulation import within_group

TRAINING_WEIGHTS = "training_weights"
"""Where a checkpoint holds the trained weights if its ``state_dict`` holds the average."""


class AveragedWeights(Callback):
    """Exponential moving average of the parameters.

    Validation uses the average, and a checkpoint's ``state_dict`` holds it; the trained weights are stored
    in addition. The decay grows from 0.1 to its value, so that the random initial weights soon lose weight.
    ``ema`` is the decay per step. The average is float32 (or float64), even if the weights are shorter.
    """

    def __init__(self, ema: float) -> None:
        self.ema = ema
        self.updates = 0
        self._average: list[Tensor] = []
        self._training: list[Tensor] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the current weights, or move the restored average to the device."""
        start = self._average or list(pl_module.parameters())
        wide = [torch.promote_types(weight.dtype, torch.float32) for weight in pl_module.parameters()]
        self._average = [
            weight.detach().to(pl_module.device, dtype, copy=True)
            for weight, dtype in zip(start, wide, strict=True)
        ]

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Update the average of all parameters in one fused operation."""
        if within_group(trainer):
            return
        self.updates += 1
        decay = min(self.ema, (1 + self.updates) / (10 + self.updates))
        current = [weight.detach().to(mean.dtype) for weight, mean in self._pairs(pl_module)]
        torch._foreach_lerp_(self._average, current, 1 - decay)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the weights by their average."""
        if self._average:
            self._training = [weight.detach().clone() for weight in pl_module.parameters()]
            for weight, mean in self._pairs(pl_module):
                weight.data.copy_(mean)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the trained weights."""
        if self._training:
            for weight, saved in zip(pl_module.parameters(), self._training, strict=True):
                weight.data.copy_(saved)
            self._training = []

    def state_dict(self) -> dict[str, Any]:
        """The number of updates, and the average in full precision."""
        return {"updates": self.updates, "average": list(self._average)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the values of :meth:`state_dict`."""
        self.updates, self._average = state_dict["updates"], list(state_dict["average"])

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the average as ``state_dict`` and the trained weights in addition."""
        checkpoint[TRAINING_WEIGHTS] = checkpoint["state_dict"]
        averages = {
            name: mean.to(weight.dtype)
            for (name, weight), mean in zip(pl_module.named_parameters(), self._average, strict=True)
        }
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **averages}

    def _pairs(self, pl_module: LightningModule) -> list[tuple[Tensor, Tensor]]:
        return list(zip(pl_module.parameters(), self._average, strict=True))
