"""The training program: the eight start-up phases, the training, and the evaluation of the best model."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plumbline.console.text import counted, seconds
from plumbline.data.batches.loader import Loaders
from plumbline.data.pt.cache import open_data
from plumbline.models import load_model_class
from plumbline.predictors.calibration import too_few
from plumbline.predictors.device import choose_device
from plumbline.predictors.find_checkpoint import find_best
from plumbline.reporting import Reporter
from plumbline.training.distributed.joining import joined
from plumbline.training.distributed.world import World
from plumbline.training.loop.error_messages import MemoryUse, plain_words
from plumbline.training.loop.precision import choose_precision
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.trainer import End, Fit, run_fit
from plumbline.training.loop.warmup import warm_up
from plumbline.training.optim.losses import load_loss
from plumbline.training.persistence import run_folder
from plumbline.training.persistence.ensembles import validated_by_all, write_ensemble
from plumbline.training.persistence.init_from import pinned
from plumbline.training.persistence.resume import Resumed
from plumbline.training.phases import LiveBar, Phases
from plumbline.training.process_state import process_state_kept
from plumbline.training.records import Outcome, TrainResult, TrainSettings
from plumbline.training.show.facts import Data
from plumbline.training.show.startup import WARM_UP
from plumbline.training.warning_filters import quiet

if TYPE_CHECKING:
    from plumbline.evaluation.table import Table


def train(
    settings: TrainSettings,
    report: Reporter,
    *,
    live_bar: LiveBar | None = None,
) -> TrainResult:
    """Train one model, or the members of an ensemble one after the other and join them.

    Args:
        settings: settings of the training.
        report: receives every event.
        live_bar: makes a progress bar; without it, one line per epoch is reported.

    Raises:
        InputError: settings, data or machine do not allow the training; the message says what to change.
    """
    *_, last = train_each(settings, report, live_bar=live_bar)
    return last


def train_each(
    settings: TrainSettings,
    report: Reporter,
    *,
    live_bar: LiveBar | None = None,
) -> Iterator[TrainResult]:
    """Train as :func:`train` does, and yield each member's result before the next one starts."""
    settings = pinned(settings)
    with process_state_kept(), joined(settings) as world:
        if not world.first:
            report, live_bar = Reporter(), None
        yield from _train_members(settings, report, live_bar, world)


def _train_members(
    settings: TrainSettings, report: Reporter, live_bar: LiveBar | None, world: World
) -> Iterator[TrainResult]:
    if settings.ensemble == 1 or settings.fast_dev_run:
        yield _train_one(settings, report, live_bar, world, command=settings)
        return
    with run_folder.no_empty_folder_left(settings.checkpoint_dir):
        members = world.from_first(
            lambda: run_folder.members(settings.checkpoint_dir, settings.ensemble, settings.resume)
        )
        results: list[TrainResult] = []
        for member, (checkpoint_dir, resume) in enumerate(members.items()):
            report.say(f"member {member + 1} of {settings.ensemble}")
            own = replace(settings, ensemble=1, member=member, checkpoint_dir=checkpoint_dir, resume=resume)
            results.append(_train_one(own, report, live_bar, world, command=settings))
            yield results[-1]
            if results[-1].exit_code or results[-1].outcome == "out of time":
                return
        if not world.first:
            return
        yield TrainResult(
            outcome="finished",
            exit_code=0,
            run_folder=settings.checkpoint_dir,
            best_checkpoint=_joined(settings, [find_best(path) for path in members], report),
            members=tuple(results),
        )


def _joined(settings: TrainSettings, members: list[Path], report: Reporter) -> Path:
    """Join the members of an ensemble, and calibrate it on the graphs that all of them were validated on."""
    store = open_data(settings.data_dir)
    validated = validated_by_all(members, store, settings.data_dir)
    report.say(
        f"ensemble calibrated on {counted(len(validated), 'graph')} that all members were validated on"
    )
    if (lacking := too_few(len(validated))) is not None:
        report.say(lacking)
    return write_ensemble(
        settings.checkpoint_dir,
        members,
        store,
        validated,
        batch_size=settings.batch_size,
        batch_points=settings.batch_points,
    )


def _train_one(
    settings: TrainSettings,
    report: Reporter,
    live_bar: LiveBar | None,
    world: World,
    *,
    command: TrainSettings,
) -> TrainResult:
    """Train one model; afterwards restore the process state and unlock the run folder.

    ``command``: settings of the command that resumes the training, those of this model or of the ensemble.
    """
    checkpoint_dir = settings.checkpoint_dir
    memory = MemoryUse()
    words = plain_words(
        batch_size=settings.batch_size,
        batch_points=settings.batch_points,
        num_workers=settings.num_workers,
        memory=memory,
    )
    with (
        process_state_kept(),
        quiet(),
        words,
        run_folder.no_empty_folder_left(checkpoint_dir),
        ExitStack() as held,
    ):
        phases = Phases(
            settings, report, command=command, live_bar=live_bar, held=held, memory=memory, world=world
        )
        if not world.first:
            phases.startup.skip("Directory Setup", "the first process does it")
        resumed = world.from_first(phases.set_up_directory)
        resume = None if resumed is None else resumed.path
        ended = None if resumed is None else resumed.ended(settings)
        if resumed is not None and ended:
            report.say(ended)
            if not world.first:
                return _result(settings, End("already finished"), last_checkpoint=resumed.path)
            return _already_finished(settings, phases, resumed)
        # A loss is refused before a data set is read that may take minutes.
        loss = world.together(lambda: load_loss(settings.loss))
        device = world.together(lambda: choose_device(settings.accelerator))
        store = world.in_turn(lambda: phases.load_dataset(device))

        def build() -> tuple[Data, Loaders, CentreOfMassTask]:
            data = phases.split_dataset(store, resumed)
            precision = choose_precision(settings.precision, device)
            loaders = phases.create_loaders(data, device)
            task = phases.initialise_model(data, device, precision, loss, resumed)
            phases.compile_model(task, data)
            return data, loaders, task

        data, loaders, task = world.together(build)
        phases.compare_compiled(task)
        trackers = world.together(lambda: phases.set_up_logging(data, resumed))
        exit_code = 1
        try:
            fit = phases.configure_training(task, data, loaders, trackers, device, resumed)
            phases.startup.finish()
            took = _warm_up(settings, report, task, data)
            if not settings.fast_dev_run and world.first:
                phases.startup.write(checkpoint_dir / run_folder.STARTUP, warm_up=took)
            report.ended(WARM_UP, took)
            config = run_folder.config_of(command.checkpoint_dir)
            end = run_fit(fit, resume=resume, checkpoint_dir=checkpoint_dir, config=config, report=report)
            exit_code = end.exit_code
        finally:
            trackers.finish(exit_code)
        world.hurry(False)
        if not world.first:
            return _result(settings, end)
        result = _conclude(settings, report, fit, end, data, command=command)
        return replace(result, profile=None if phases.profile is None else phases.profile.result)


def _already_finished(settings: TrainSettings, phases: Phases, resumed: Resumed) -> TrainResult:
    """Write the records of a training that was stopped after its last step and before they were written."""
    folder, end = settings.checkpoint_dir, End("already finished")
    own = resumed.path.parent.resolve() == folder.resolve()
    if not own or run_folder.has_result(folder, epochs=resumed.content["epochs_done"]):
        return _result(settings, end, last_checkpoint=resumed.path)
    data = phases.split_dataset(phases.load_dataset(), resumed)
    best = find_best(folder)
    epochs = resumed.content["epochs_done"]
    whole = epochs >= settings.max_epochs or 0 < settings.max_steps <= resumed.step
    how: Outcome = "finished" if whole else "stopped early"
    metrics, table = _measure(settings, best, data, end=how, epochs=epochs)
    return _result(
        settings, end, best_checkpoint=best, last_checkpoint=resumed.path, metrics=metrics, table=table
    )


def _measure(
    settings: TrainSettings, best: Path, data: Data, *, end: Outcome, epochs: int
) -> "tuple[dict[str, float], Table]":
    # Imported late: the untrained baselines import scipy's geometry, which would delay the first step.
    from plumbline.training.show.final_report import measure

    return measure(best, settings, data, end=end, epochs=epochs, device=choose_device(settings.accelerator))


def _warm_up(settings: TrainSettings, report: Reporter, task: CentreOfMassTask, data: Data) -> float:
    """Load the CUDA kernels before the first epoch. Returns the seconds it took."""
    if task.device.type != "cuda" or settings.fast_dev_run:
        why = "in a trial run" if settings.fast_dev_run else f"needed on {task.device}"
        report.detail(f"warm-up: none {why}")
        return 0.0
    began = time.perf_counter()
    trouble = warm_up(
        task.model,
        data.largest_batch(settings, load_model_class(settings.model).needs),
        task.make_optimizer,
        precision=task.precision,
        gradient_clip=settings.gradient_clip,
        device=task.device,
    )
    took = time.perf_counter() - began
    report.say(trouble or f"CUDA kernels warmed up in {seconds(took)}")
    return took


def _conclude(
    settings: TrainSettings, report: Reporter, fit: Fit, end: End, data: Data, *, command: TrainSettings
) -> TrainResult:
    """Measure the best model, unless a signal ended the training."""
    if fit.task.guard is not None and fit.task.guard.skipped:
        report.say(f"skipped {counted(fit.task.guard.skipped, 'step')}: the loss was not finite")
    if fit.checkpoints is None:
        report.say("trial run finished: every loop works; nothing was saved")
        return _result(settings, end)
    checkpoint_dir = settings.checkpoint_dir
    best = _shown(fit.checkpoints.best_model_path, checkpoint_dir)
    last = _shown(fit.checkpoints.last_model_path, checkpoint_dir)
    if end.exit_code:
        return _result(settings, end, best_checkpoint=best, last_checkpoint=last)
    if fit.checkpoints.trouble:
        report.say(f"the last state is not saved: {fit.checkpoints.trouble}")
        end = end._replace(exit_code=1)
    if best is None:
        return _result(settings, end, last_checkpoint=last)
    for written in (settings, command):  # the folder may have been removed in the meantime
        run_folder.write_config(written.checkpoint_dir, written.plain())
    metrics, table = _measure(settings, best, data, end=end.outcome, epochs=fit.epochs)
    return _result(settings, end, best_checkpoint=best, last_checkpoint=last, metrics=metrics, table=table)


def _result(settings: TrainSettings, end: End, **found: Any) -> TrainResult:
    return TrainResult(
        outcome=end.outcome, exit_code=end.exit_code, run_folder=settings.checkpoint_dir, **found
    )


def _shown(path: str, checkpoint_dir: Path) -> Path | None:
    """A checkpoint as the user would name it; None if none was written."""
    if not path:
        return None
    given = Path(path)
    return checkpoint_dir / given.name if given.parent.resolve() == checkpoint_dir.resolve() else given
