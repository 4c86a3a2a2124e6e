"""Configuring Lightning's trainer, running it, and reporting how the training ended."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from plumbline.console.text import command, counted
from plumbline.data.batches.loader import Loaders
from plumbline.reporting import Reporter
from plumbline.training.allocator import keep_freed_memory
from plumbline.training.distributed.lightning_side import ddp, leave_signals_alone
from plumbline.training.distributed.world import ALONE, World
from plumbline.training.lightning_import import Callback, LightningEnvironment, Profiler, Trainer
from plumbline.training.loop.graceful_stop import GracefulStop, StoppedAtOnce, TrainingInterrupted
from plumbline.training.loop.precision import Precision
from plumbline.training.loop.step_parts import Unprofiled
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.unanswered import NO_ANSWER
from plumbline.training.loop.validations import Validations
from plumbline.training.persistence.saving import BestAndLast, DurableCheckpoints
from plumbline.training.records import Outcome


def make_trainer(
    checkpoint_dir: Path,
    *,
    device: torch.device,
    precision: Precision,
    max_epochs: int,
    gradient_clip: float,
    callbacks: list[Callback],
    accumulate: int = 1,
    max_steps: int = 0,
    fast_dev_run: int = 0,
    deterministic: bool = False,
    world: World = ALONE,
    own_network: bool = False,
    profiler: Profiler | None = None,
) -> Trainer:
    """Make a trainer without output and without unneeded work in its loop.

    Args:
        checkpoint_dir, max_epochs, deterministic: as the flags.
        device: kind of the device.
        world: the processes of the training, each of which uses one device.
        own_network: whether the network is the user's, of which some weights may not be used in a step.
        precision: precision of weights and arithmetic.
        max_steps: maximum number of steps; 0: no limit.
        gradient_clip: maximum norm of the gradient; 0: no clipping.
        accumulate: batches whose gradients make one step.
        callbacks: in the order in which they run.
        fast_dev_run: batches of each loop in a trial run; 0: a full training.
        profiler: is told what the trainer does.
    """
    # None leaves the setting alone; torch imports its compiler even to set it to False.
    determined = deterministic if deterministic or torch.are_deterministic_algorithms_enabled() else None
    plugins: list[Any] = [DurableCheckpoints(world)]
    if world.size > 1:
        processes = ddp(world.place, unused_parameters=own_network)
    else:
        # Training uses one process, so the variables of a surrounding SLURM job do not apply to it.
        plugins.append(LightningEnvironment())
        processes = {"devices": [device.index or 0] if device.type == "cuda" else 1}
    trainer = Trainer(
        **processes,
        accelerator="gpu" if device.type == "cuda" else device.type,
        precision=precision.lightning,  # type: ignore[arg-type]
        max_epochs=max_epochs,
        max_steps=max_steps or -1,
        fast_dev_run=fast_dev_run or False,
        gradient_clip_val=gradient_clip or None,
        gradient_clip_algorithm="norm",
        accumulate_grad_batches=accumulate,
        deterministic=determined,
        callbacks=callbacks,
        plugins=plugins,
        profiler=profiler or Unprofiled(),
        default_root_dir=checkpoint_dir,
        enable_checkpointing=not fast_dev_run,
        # Lightning's extras are off: each costs time per step or repeats our own output.
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_autolog_hparams=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    if world.size > 1:
        leave_signals_alone(trainer)
    return trainer


@dataclass(frozen=True)
class Fit:
    """A configured training; ``checkpoints`` is None in a trial run."""

    trainer: Trainer
    task: CentreOfMassTask
    loaders: Loaders
    checkpoints: BestAndLast | None
    validations: Validations
    stop: GracefulStop

    @property
    def waited(self) -> int:
        """Epochs without a better ``val_loss`` after which ``--early_stopping`` ended the training, or 0."""
        stopping = self.trainer.early_stopping_callback
        if stopping is None or stopping.wait_count < stopping.patience:
            return 0
        return stopping.wait_count * self.validations.val_every_n_epochs

    @property
    def epochs(self) -> int:
        """Number of completed epochs; Lightning also counts one that ``--max_steps`` cut short."""
        whole = self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        return self.trainer.current_epoch - (self.validations.follow and not whole)


class End(NamedTuple):
    """How a training ended, and its exit code: 130 for Ctrl-C, 143 for SIGTERM; 1 if ``--max_time`` could
    not save the state, because another process does not answer; otherwise 0."""

    outcome: Outcome
    exit_code: int = 0


def run_fit(fit: Fit, *, resume: Path | None, checkpoint_dir: Path, config: Path, report: Reporter) -> End:
    """Run the training and report how it ended, and, if it was stopped, the command that resumes it.

    Raises:
        InputError: the loss is not finite, or a checkpoint cannot be written.
    """

    def stopped(how: str, what: str = "the state") -> None:
        last = Path(fit.checkpoints.last_model_path) if fit.checkpoints is not None else Path()
        if fit.checkpoints is not None and fit.checkpoints.trouble:
            report.say(f"{how} after {fit.trainer.global_step:,} steps; this state is lost:")
            report.say("--resume continues from the previous checkpoint, if there is one")
            return
        if not last.is_file():
            report.say(f"{how}; nothing was saved")
            return
        report.say(
            f"{how} after {fit.trainer.global_step:,} steps; {what} is in {checkpoint_dir / last.name}"
        )
        report.say("resume with: " + command("plumbline", "train", "--config", config, "--resume"))

    keep_freed_memory()
    fit.task.world.hurry(True)
    try:
        fit.trainer.fit(
            fit.task, fit.loaders.train, fit.loaders.val, ckpt_path=None if resume is None else str(resume)
        )
    except TrainingInterrupted as interruption:
        if interruption.exit_code:
            stopped("interrupted")
            return End("interrupted", interruption.exit_code)
    except (SystemExit, RuntimeError) as end:  # raised by Lightning in response to a second signal, by torch
        code = fit.stop.given_up
        if code is None and isinstance(end, RuntimeError):
            raise
        fit.task.world.abandoned = True
        if code is not None:
            stopped(NO_ANSWER, "what was saved last")
            return End("out of time" if code == 1 else "interrupted", code)
        stopped("stopped at once")
        told = end.__context__
        return End("interrupted", told.exit_code if isinstance(told, StoppedAtOnce) else 130)
    finally:
        fit.loaders.train.close()
        fit.loaders.val.close()
    if fit.stop.out_of_time:
        stopped("--max_time reached")
        return End("out of time")
    if not fit.waited:
        return End("finished")
    report.say(
        f"stopped early after epoch {fit.trainer.current_epoch}: val_loss has not improved for "
        f"{counted(fit.waited, 'epoch')} (--early_stopping)"
    )
    return End("stopped early")
