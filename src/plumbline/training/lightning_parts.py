"""The module and the loaders of a training, for a ``lightning.Trainer`` of the user's own."""

from contextlib import ExitStack
from typing import Any, NamedTuple

import torch

from plumbline.data.batches.loader import Loader
from plumbline.errors import InputError
from plumbline.predictors.device import choose_device
from plumbline.reporting import Reporter
from plumbline.training.lightning_import import Callback, LightningModule, Trainer
from plumbline.training.loop.precision import choose_precision
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.optim.ema import AveragedWeights
from plumbline.training.optim.losses import load_loss
from plumbline.training.persistence.init_from import pinned
from plumbline.training.phases import Phases
from plumbline.training.process_state import process_state_kept
from plumbline.training.randomness import random_states, restore_random_states
from plumbline.training.records import TrainSettings


class LightningParts(NamedTuple):
    """Arguments of ``lightning.Trainer.fit``.

    Attributes:
        model: the ``LightningModule``: network, loss, metrics, optimizer, schedule; with ``ema`` also
            averaged weights. It clips the gradient as ``gradient_clip`` says, unless the trainer does.
        train_loader: training batches, shuffled.
        val_loader: validation batches, in order.
    """

    model: CentreOfMassTask
    train_loader: Loader
    val_loader: Loader


def make_parts(settings: TrainSettings, report: Reporter) -> LightningParts:
    """Make the parts; see :func:`plumbline.lightning_parts`."""
    if settings.ensemble > 1:
        raise InputError(
            f"--ensemble {settings.ensemble}: make the parts of each member, with member 0, 1, ..."
        )
    if settings.devices * settings.num_nodes > 1:
        raise InputError(
            f"--devices {settings.devices} --num_nodes {settings.num_nodes}: the loaders are those of one "
            "process; leave both out"
        )
    if settings.accumulate > 1:
        raise InputError(
            f"--accumulate {settings.accumulate}: give lightning.Trainer(accumulate_grad_batches="
            f"{settings.accumulate}) instead"
        )
    settings = pinned(settings)
    with process_state_kept(), ExitStack() as held:
        phases = Phases(settings, report, command=settings, live_bar=None, held=held)
        phases.startup.skip("Directory Setup", "the trainer has folders of its own")
        loss = load_loss(settings.loss)
        device = choose_device(settings.accelerator)
        data = phases.split_dataset(phases.load_dataset(device), None)
        loaders = phases.create_loaders(data, device)
        task = phases.initialise_model(data, device, choose_precision(settings.precision, device), loss, None)
        phases.compile_model(task, data)
        task.own_callbacks = [_AsInTrain(settings.gradient_clip, random_states())]
        if settings.ema:
            task.own_callbacks.append(AveragedWeights(settings.ema))
    return LightningParts(task, loaders.train, loaders.val)


class _AsInTrain(Callback):
    """What ``plumbline train`` sets up around a training: random numbers, gradient clipping, metrics.

    Args:
        gradient_clip: maximum norm of the gradient; 0: no clipping.
        states: random states with which a training from scratch starts.
    """

    def __init__(self, gradient_clip: float, states: dict[str, Any]) -> None:
        self._gradient_clip, self._states = gradient_clip, states

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a trainer with another precision than the network's."""
        assert isinstance(pl_module, CentreOfMassTask)
        wanted = pl_module.precision.lightning
        if str(trainer.precision) != wanted:
            raise InputError(
                f"the trainer computes in precision {trainer.precision}, the model in {wanted}: give "
                f'lightning.Trainer(precision="{wanted}"), or another precision to lightning_parts'
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start with the random states of a new training; the module restores those of a checkpoint."""
        restore_random_states(self._states)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Clip the gradient, if the trainer does not."""
        if self._gradient_clip and not trainer.gradient_clip_val:
            pl_module.clip_gradients(optimizer, self._gradient_clip, "norm")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass the metrics of the epoch to the trainer's loggers."""
        assert isinstance(pl_module, CentreOfMassTask)
        if not trainer.sanity_checking:
            for logger in trainer.loggers:
                logger.log_metrics(pl_module.epoch_row, step=trainer.global_step)
