"""The training task: loss, metrics, optimizer, schedule, and the description stored in a checkpoint.

Letters: G graphs. Everything is in the stored frame; errors in data units unless they are relative.
"""

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from plumbline.data.batches.batch import Batch
from plumbline.data.batches.order import BatchOrder
from plumbline.errors import InputError
from plumbline.models import forward_with_error
from plumbline.models.answer import Answer, as_answer
from plumbline.predictors.calibration import Calibration, calibrate
from plumbline.predictors.checkpoint import FORMAT
from plumbline.predictors.inference import joined
from plumbline.training.distributed.world import ALONE, World
from plumbline.training.lightning_import import Callback, LightningModule, OptimizerLRScheduler
from plumbline.training.loop.nonfinite import NonFinite
from plumbline.training.loop.precision import Precision
from plumbline.training.loop.wide_products import with_wide_products
from plumbline.training.metric_sums import RunningSums, axis_means, axis_sums, displacement_sums
from plumbline.training.optim.accumulation import Group
from plumbline.training.optim.ema import TRAINING_WEIGHTS
from plumbline.training.optim.losses import (
    Loss,
    covariance_loss,
    displacement,
    l1,
    payload_loss,
    scale_loss,
)
from plumbline.training.optim.optimizers import make_optimizer
from plumbline.training.optim.schedules import cosine
from plumbline.training.persistence.loop_state import count_batches_as, loop_state
from plumbline.training.persistence.resume import same_measure
from plumbline.training.randomness import random_states, restore_random_states
from plumbline.training.records import Plateau


class CentreOfMassTask(LightningModule):
    """Trains a model to predict the centre of mass.

    Args:
        model: maps a :class:`~plumbline.data.batches.batch.Batch` to ``[G, 3]``.
        lr, weight_decay, optimizer, schedule, warmup: as the flags, see ``training.optim``.
        loss: a function of ``[G, 3]`` errors and ``[G]`` radii, ours or the user's.
        plateau: settings of ``"plateau"``.
        precision: precision of weights and arithmetic in the model; loss and metrics are always float32
            (float64 for ``64``).
        identity: plain values that make a checkpoint self-describing (model, arguments, config, data).
        guard: checks that the loss is finite; None: no check.
        world: the processes of the training.

    Attributes:
        forward_model: the function called for predictions: the model's entry point, or its compiled form.
        epoch_row: all metrics of the last finished epoch by their documented names.
        extra_validation: whether a validation must change nothing of the training, see ``Validations``.
        own_callbacks: callbacks that the trainer adds to its own.
        calibration: what the last validation says about expected errors, covariances and usual scans.
        batches: the order of the training batches, if known; ``group``: those of the current step.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        lr: float,
        weight_decay: float = 0.0,
        loss: Loss = l1,
        optimizer: str = "adam",
        schedule: str = "plateau",
        warmup: float = 0.0,
        plateau: Plateau = Plateau(),  # noqa: B008 - immutable
        precision: Precision = Precision("32"),  # noqa: B008 - immutable
        identity: dict[str, Any] | None = None,
        guard: NonFinite | None = None,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.world = world
        self.batches: BatchOrder | None = None
        self.model = model
        self.forward_model: Callable[[Batch], Any] = forward_with_error(model)
        if precision.wide:
            self.forward_model = with_wide_products(self.forward_model, mixed=precision.mixed)
        self.loss, self.optimizer, self.schedule, self.warmup = loss, optimizer, schedule, warmup
        self.lr, self.weight_decay, self.plateau, self.precision = lr, weight_decay, plateau, precision
        self.identity, self.guard = identity or {}, guard
        self.train_sums, self.val_sums = RunningSums(), RunningSums()
        self.epoch_row: dict[str, float] = {}
        self.group = Group()
        self.calibration = Calibration()
        self._validated: list[tuple[Tensor, Answer]] = []
        self._restored: dict[str, Any] | None = None
        self._weight_decays: list[float] = []
        self.own_callbacks: list[Callback] = []
        self.extra_validation = False

    def forward(self, batch: Batch) -> Tensor:
        """``[G, 3]`` predictions in the type of the loss."""
        return self._answer(batch).com

    def _answer(self, batch: Batch) -> Answer:
        """Predictions in the type of the loss."""
        answer = as_answer(self.forward_model(batch))
        errors = self.precision.errors
        others = (None if part is None else part.to(errors) for part in answer[1:])
        return Answer(answer.com.to(errors), *others)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a fast path for the one that Lightning sets at every hook of every step."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    # -- steps ---------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """The loss of one batch, or None to skip it. Does not wait for a GPU."""
        if self.group.skipped:
            return None
        answer = self._answer(batch)
        error = answer.com - batch.target
        value = loss = self.loss(error, batch.bounding_radius)
        if answer.log_scale is not None:
            loss = loss + scale_loss(error, answer.log_scale)
        if answer.covariance is not None:
            loss = loss + covariance_loss(error, answer.covariance, batch.bounding_radius)
        if answer.log_volume is not None and answer.inertia is not None:
            if batch.volume is None or batch.inertia is None:
                raise InputError('the network predicts volume and inertia: add "payload" to its needs')
            loss = loss + payload_loss(answer.log_volume, answer.inertia, batch.volume, batch.inertia)
        if self.guard is not None and self.guard.leaves_out(
            loss, batch, self.model, step=self.global_step, lr=self.learning_rate
        ):
            self.group.skip()
            return None
        error = error.detach()
        sums = axis_sums(error) if self.loss is l1 else self._sums_of(error, batch, value.detach())
        if (whole := self.group.add(sums, batch.num_graphs)) is not None:
            self.train_sums.add(*whole)
        return self.group.weighted(loss, self.batches, batch.num_graphs)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums; batches are weighted by their number of graphs."""
        answer = self._answer(batch)
        error = answer.com - batch.target
        value = self.loss(error, batch.bounding_radius)
        self.val_sums.add(self._sums_of(error, batch, value), batch.num_graphs)
        if len(answer.parts) > 1:
            self._validated.append((error, answer))

    def _sums_of(self, error: Tensor, batch: Batch, value: Tensor) -> Tensor:
        """Sums of all metrics over a batch; the value of a loss of the user cannot be had from the others."""
        sums = displacement_sums(error, batch.bounding_radius)
        return sums if self.loss in (l1, displacement) else torch.cat([sums, value[None] * batch.num_graphs])

    def _with_loss(self, means: dict[str, float]) -> dict[str, float]:
        """The metrics, with ``loss`` replaced by the training loss."""
        return means | {"loss": means["error_rel"]} if self.loss is displacement and means else means

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Note the batch, and set the learning rate of the cosine schedule, which depends on the step."""
        self.group.enter(batch_idx, self.trainer)
        if self.schedule == "cosine":
            total = int(self.trainer.estimated_stepping_batches)
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = self.lr * cosine(self.global_step, total, self.warmup)

    def step_row(self) -> dict[str, float]:
        """Loss and metrics of the last step (waits for the device and the other processes)."""
        if self.group.sums is None:
            return {}
        sums, num_graphs = self.world.sum(*self.group.sums)
        assert sums is not None
        means = self._with_loss(axis_means(sums, num_graphs))
        return {f"train_{name}_step": means[name] for name in ("loss", "mae", "mse")}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch to the device; Lightning calls it for every batch."""
        return batch.to(device, non_blocking=True)

    # -- epochs --------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Restore the random states and the sums of a loaded checkpoint, if any."""
        if self._restored is not None:
            if (states := self._own_random_states(self._restored)) is not None:
                restore_random_states(states)
            before = self._restored["config"]
            same_loss = before["loss"] == self.identity.get("config", before)["loss"]  # or --allow_mismatch
            if same_loss and self.world.first:  # it has those of all processes
                self.train_sums.restore(self._restored["train_sums"], self.device)
            if self.guard is not None:
                self.guard.restore(self._restored["nonfinite"])
            self._apply_changes(self._restored)
            self._restored = None

    def _own_random_states(self, content: dict[str, Any]) -> dict[str, Any] | None:
        """The states of this process; None if the training had fewer processes: it keeps those of a start."""
        others = content.get("rng_of_others", [])
        if self.world.first:
            return dict(content["rng"])
        return dict(others[self.world.rank - 1]) if self.world.rank <= len(others) else None

    def _apply_changes(self, before: dict[str, Any]) -> None:
        """Apply flags that were changed with ``--allow_mismatch``: the restored state has the old values.

        Args:
            before: the description of the training in the checkpoint.
        """
        groups = self.trainer.optimizers[0].param_groups
        for group, weight_decay in zip(groups, self._weight_decays, strict=True):
            group["weight_decay"] = weight_decay
            if self.lr != before["config"]["lr"]:
                group["lr"] *= self.lr / before["config"]["lr"]
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.patience, scheduler.factor = self.plateau.patience, self.plateau.factor
            scheduler.min_lrs = [self.plateau.min_lr] * len(groups)
            if not same_measure(before, self.identity or before):
                scheduler._reset()  # its best val_loss was measured in another way

    def on_train_epoch_start(self) -> None:
        """Rewind the loader to the first batch. Lightning skips this hook when it resumes within an epoch."""
        _rewind(self.trainer.train_dataloader, self.current_epoch)
        self.train_sums.reset()

    def on_validation_epoch_start(self) -> None:
        """Rewind the validation loader: validation always covers all batches."""
        _rewind(self.trainer.val_dataloaders, self.current_epoch)
        self.val_sums.reset()
        self._validated = []

    def on_validation_epoch_end(self) -> None:
        """Compute the epoch's metrics and step the schedule, so that the epoch's checkpoint includes both."""
        if self.trainer.sanity_checking:
            return
        train = self._with_loss(self.train_sums.means(self.world))
        val = self._with_loss(self.val_sums.means(self.world))
        train = {name: value for name, value in train.items() if name not in ("error", "error_rel")}
        self.check_finite(train | {f"val_{name}": value for name, value in val.items()})
        per_step = {"loss", "mae", "mse"}
        row = {f"train_{name}_epoch" if name in per_step else f"train_{name}": v for name, v in train.items()}
        row |= {f"val_{name}": value for name, value in val.items()}
        row |= {"learning_rate": self.learning_rate, "epoch": self.current_epoch}
        self.epoch_row = row
        self.calibration = self._calibrated()
        # Lightning monitors this metric only; a call costs a millisecond.
        value = torch.tensor(val["loss"], dtype=torch.float64)
        self.log("val_loss", value, logger=False, batch_size=1)
        if self.extra_validation:
            return
        self.train_sums.reset()
        schedulers = self.lr_schedulers()
        if isinstance(schedulers, ReduceLROnPlateau):
            schedulers.step(val["loss"])

    def _calibrated(self) -> Calibration:
        """The calibration by all graphs of this validation."""
        mine = self._validated if self.world.size == 1 else [(e.cpu(), a.cpu()) for e, a in self._validated]
        validated = self.world.in_order(mine)
        self._validated = []
        if not validated:
            return Calibration()
        errors, answers = zip(*validated, strict=True)
        return calibrate(torch.cat(errors).double().cpu().numpy(), joined(answers))

    def check_finite(self, means: dict[str, float]) -> None:
        """Stop the training if a metric is not finite. Raises InputError."""
        wrong = [name for name, value in means.items() if not math.isfinite(value)]
        if wrong:
            raise self._diverged("the loss" if {"loss", "val_loss"} & {*wrong} else wrong[0])

    def check_weights(self) -> None:
        """Stop training before a weight that is not finite is saved within an epoch. Raises InputError."""
        if not all(bool(weight.isfinite().all()) for weight in self.model.parameters()):
            raise self._diverged("a weight")

    def _diverged(self, what: str) -> InputError:
        return InputError(
            f"{what} is not finite in epoch {self.current_epoch}, by step {self.global_step}: the training "
            "diverged; lower --lr, keep --gradient_clip on, or use --precision 32 "
            "(the last good checkpoint is untouched)"
        )

    # -- optimizer -----------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """The current learning rate."""
        return self.trainer.optimizers[0].param_groups[0]["lr"]

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Make this task's optimizer for the given parameters."""
        # With mixed precision Lightning refuses to clip the gradients of a fused optimizer.
        fused = not self.precision.mixed and self.device.type in ("cpu", "cuda")
        return make_optimizer(
            self.optimizer,
            parameters,
            lr=self.lr,
            weight_decay=self.weight_decay,
            eps=self.precision.adam_eps,
            fused=fused,
        )

    def clip_gradients(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient as Lightning does, but that of the model's side parameters on its own.

        Otherwise a large gradient there would shrink that of the centre of mass.
        """
        listed = getattr(self.model, "side_parameters", None)
        side = [] if listed is None else [weight for weight in listed() if weight.grad is not None]
        gradients = [weight.grad for weight in side]
        if gradient_clip_val and side:
            nn.utils.clip_grad_norm_(side, gradient_clip_val)
        for weight in side:
            weight.grad = None
        super().clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        for weight, gradient in zip(side, gradients, strict=True):
            weight.grad = gradient

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Drop what earlier batches have added to a step that is left out."""
        if self.group.skipped:
            optimizer.zero_grad()

    def configure_callbacks(self) -> list[Callback]:
        """Callbacks for the trainer; Lightning calls it once."""
        return self.own_callbacks

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make optimizer and schedule; Lightning calls it once."""
        optimizer = self.make_optimizer(self.parameters())
        self._weight_decays = [group["weight_decay"] for group in optimizer.param_groups]
        if self.schedule == "cosine":
            return optimizer
        scheduler = ReduceLROnPlateau(optimizer, **asdict(self.plateau))
        # Lightning would step it after the epoch's checkpoint is written, and not at all in an epoch that it
        # resumes from, so on_validation_epoch_end does, and Lightning never.
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss", "frequency": sys.maxsize},
        }

    # -- checkpoints ---------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning omits: the model's description, the random states, the sums of the epoch."""
        batches = self.trainer.fit_loop.epoch_loop.batch_progress
        whole = batches.is_last_batch
        states = self.world.gather(random_states(all_gpus=self.world.size == 1))
        checkpoint["plumbline"] = {
            "format": FORMAT,
            **self.identity,
            "epochs_done": self.current_epoch + whole,
            "batches_done": 0 if whole else batches.current.ready,
            "global_step": self.global_step,
            "metrics": dict(self.epoch_row),
            "calibration": self.calibration.to_dict(),
            "rng": states[0],
            "rng_of_others": states[1:],
            "train_sums": self.train_sums.state(self.world),
            "nonfinite": {"skipped": 0} if self.guard is None else self.guard.state(),
            # Where Lightning keeps it, a program with other loaders could not resume from the checkpoint.
            "loader": loop_state(checkpoint).pop("combined_loader", []),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the trained weights rather than their average, which is what ``state_dict`` may hold.

        The random states are kept until training starts: building loaders and models draws numbers too.
        """
        checkpoint["state_dict"] = checkpoint.get(TRAINING_WEIGHTS, checkpoint["state_dict"])
        self._restored = checkpoint["plumbline"]
        if "loader" in self._restored:
            loop_state(checkpoint)["combined_loader"] = self._restored["loader"]
            if self._restored["batches_done"] and self.batches is not None:
                count_batches_as(checkpoint, self.batches)
        self.epoch_row = dict(self._restored["metrics"])
        self.calibration = Calibration.from_dict(self._restored["calibration"])


def _rewind(loader: Any, epoch: int) -> None:
    """Set a loader to the first batch of an epoch."""
    loader.load_state_dict({"epoch": epoch, "position": 0})
