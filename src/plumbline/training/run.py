"""The training program, from its eight start-up phases to the measured best model."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from plumbline.console.text import seconds
from plumbline.data.batches.batch import Batch
from plumbline.data.batches.collate import largest_batch
from plumbline.data.batches.loader import Loaders, make_loaders
from plumbline.data.pt.cache import open_data
from plumbline.data.split import split_samples
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.models import SYMMETRIES, arguments_for, build_model, load_model_class
from plumbline.models.inputs import input_arguments
from plumbline.predictors.device import choose_device
from plumbline.predictors.find_checkpoint import find_best
from plumbline.reporting import Reporter
from plumbline.training.loop.compiling import CompiledForward, try_out
from plumbline.training.loop.early_stopping import stop_early
from plumbline.training.loop.error_messages import plain_words
from plumbline.training.loop.graceful_stop import GracefulStop, parse_max_time
from plumbline.training.loop.nonfinite import NonFinite
from plumbline.training.loop.precision import Precision, choose_precision, forbid_tf32
from plumbline.training.loop.stall_watch import StallWatch
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.trainer import End, Fit, make_trainer, run_fit
from plumbline.training.loop.warmup import warm_up
from plumbline.training.optim.ema import AveragedWeights
from plumbline.training.persistence import run_folder
from plumbline.training.persistence.ensembles import write_ensemble
from plumbline.training.persistence.resume import Resumed, check_same_data, find_resumable
from plumbline.training.persistence.saving import BestAndLast
from plumbline.training.process_state import process_state_kept
from plumbline.training.randomness import seed_everything, seed_of
from plumbline.training.records import TrainResult, TrainSettings
from plumbline.training.show import facts
from plumbline.training.show.debug_timings import DebugTimings
from plumbline.training.show.facts import Data
from plumbline.training.show.progress import EpochLines
from plumbline.training.show.recorder import Recorder
from plumbline.training.show.startup import WARM_UP, Startup, seconds_since_start
from plumbline.training.show.tracking import Trackers, open_trackers
from plumbline.training.warning_filters import quiet

if TYPE_CHECKING:
    from plumbline.training.lightning_import import Callback

LiveBar = Callable[..., "Callback"]
"""Makes a progress bar, given ``graphs_per_step`` and ``steps_per_epoch``."""


def train(settings: TrainSettings, report: Reporter, *, live_bar: LiveBar | None = None) -> TrainResult:
    """Train one model, or the members of an ensemble one after the other and join them.

    Args:
        settings: what to train, and how.
        report: told about everything that happens.
        live_bar: shows progress; without it one line per epoch is reported.

    Raises:
        InputError: settings, data or machine do not allow it; the message says what to change.
    """
    *_, last = train_each(settings, report, live_bar=live_bar)
    return last


def train_each(
    settings: TrainSettings, report: Reporter, *, live_bar: LiveBar | None = None
) -> Iterator[TrainResult]:
    """Do the same as :func:`train`, and yield every member's result before the next one starts."""
    if settings.ensemble == 1 or settings.fast_dev_run:
        yield _Training(settings, report, live_bar, command=settings).run()
        return
    with run_folder.no_empty_folder_left(settings.checkpoint_dir):
        members = run_folder.members(settings.checkpoint_dir, settings.ensemble, settings.resume)
        results: list[TrainResult] = []
        for member, (folder, resume) in enumerate(members.items()):
            report.say(f"member {member + 1} of {settings.ensemble}")
            own = replace(settings, ensemble=1, member=member, checkpoint_dir=folder, resume=resume)
            results.append(_Training(own, report, live_bar, command=settings).run())
            yield results[-1]
            if results[-1].exit_code or results[-1].outcome == "out of time":
                return
        yield TrainResult(
            outcome="finished",
            exit_code=0,
            run_folder=settings.checkpoint_dir,
            best_checkpoint=write_ensemble(settings.checkpoint_dir, [find_best(path) for path in members]),
            members=tuple(results),
        )


class _Training:
    """One model: the phases in order, then fit, then the end.

    Args:
        settings: of this model.
        report, live_bar: as for :func:`train`.
        command: settings that resume it: its own, or those of the ensemble that it is a member of.
    """

    def __init__(
        self, settings: TrainSettings, report: Reporter, live_bar: LiveBar | None, *, command: TrainSettings
    ) -> None:
        self.settings, self.report, self.live_bar, self.command = settings, report, live_bar, command
        self.folder = settings.checkpoint_dir
        self.trial = settings.fast_dev_run > 0
        self.flags = settings.plain()
        self.held = ExitStack()
        first = command is settings or settings.member == 0
        self.startup = Startup(report, before=seconds_since_start() if first else 0.0)

    def run(self) -> TrainResult:
        """All of it; afterwards the process is as it was, and the run folder free."""
        settings = self.settings
        words = plain_words(batch_size=settings.batch_size, num_workers=settings.num_workers)
        with process_state_kept(), quiet(), words, run_folder.no_empty_folder_left(self.folder), self.held:
            resumed = self.set_up_directory()
            if resumed is not None and (ended := resumed.ended(settings.max_epochs, settings.schedule)):
                self.report.say(ended)
                return self.result(End("already finished"), last_checkpoint=resumed.path)
            store = self.load_dataset()
            data = self.split_dataset(store, resumed)
            device = choose_device(settings.accelerator)
            precision = choose_precision(settings.precision, device)
            loaders = self.create_loaders(data, device)
            task = self.initialise_model(data, device, precision)
            self.compile_model(task, data)
            trackers = self.set_up_logging(data, resumed)
            exit_code = 1
            try:
                fit = self.configure_training(task, loaders, trackers, device, resumed)
                self.startup.finish()
                self.warm_up(task, data)
                end = run_fit(
                    fit,
                    resume=None if resumed is None else resumed.path,
                    run_folder=self.folder,
                    config=self.command.checkpoint_dir / run_folder.CONFIG,
                    report=self.report,
                )
                exit_code = end.exit_code
            finally:
                trackers.finish(exit_code)
            return self.conclude(fit, end, data)

    # -- the eight phases ----------------------------------------------------------------------------------

    def set_up_directory(self) -> Resumed | None:
        """Makes the run folder and finds the checkpoint to resume from."""
        settings = self.settings
        if self.trial:
            if settings.resume is not None:
                raise InputError("--fast_dev_run is a trial from the start: leave --resume out")
            self.startup.skip("Directory Setup", "a trial run (--fast_dev_run) saves nothing")
            return None
        with self.startup.phase("Directory Setup"):
            run_folder.make_run_folder(self.folder)
            self.held.enter_context(run_folder.sole_use(self.folder))
            if settings.resume is None:
                return None
            resumed = find_resumable(
                settings.resume, self.folder, self.flags, allow_mismatch=settings.allow_mismatch
            )
            for sentence in resumed.sentences:
                self.report.say(sentence)
            return resumed

    def load_dataset(self) -> PackedStore:
        """Opens the data set and reports what was refused."""
        with self.startup.phase("Dataset Loading"):
            store = open_data(
                self.settings.data_dir, progress=lambda done, total: self.report.progress("file", done, total)
            )
            self.report.say(
                f"{len(store):,} graphs of {store.num_objects:,} objects, {store.num_nodes:,} nodes, "
                f"{store.num_edges:,} edges in {self.settings.data_dir}"
            )
            rejected = [f"{item.source}: {item.reason}" for item in store.rejected]
            if rejected:
                self.report.say(f"{len(rejected):,} rejected, the first: {rejected[0]}")
        self.report.detail(f"data set: {len(store):,} loaded, {len(rejected):,} rejected")
        for line in rejected:
            self.report.detail(f"  rejected {line}")
        return store

    def split_dataset(self, store: PackedStore, resumed: Resumed | None) -> Data:
        """Splits by object or group; a resumed training must find the data it was trained on."""
        settings = self.settings
        with self.startup.phase("Dataset Splitting"):
            train_idx, val_idx = split_samples(
                store.object_idx,
                store.object_names,
                val_split=settings.val_split,
                seed=settings.seed,
                split_by=settings.split_by,
            )
            identity = facts.data_identity(store, self.flags, train_idx, val_idx)
            if resumed is not None:
                allowed = check_same_data(
                    resumed.path, resumed.content["data"], identity, allow_mismatch=settings.allow_mismatch
                )
                if allowed:
                    self.report.say(allowed)
            objects = [len(np.unique(store.object_idx[side])) for side in (train_idx, val_idx)]
            self.report.say(
                f"{len(train_idx):,} graphs of {objects[0]:,} objects to train, "
                f"{len(val_idx):,} of {objects[1]:,} others to validate"
            )
        return Data(store, train_idx, val_idx, identity)

    def create_loaders(self, data: Data, device: torch.device) -> Loaders:
        """Loaders as the settings say and the machine allows."""
        settings = self.settings
        with self.startup.phase("DataLoader Creation"):
            loaders = make_loaders(
                data.store,
                train_idx=data.train_idx,
                val_idx=data.val_idx,
                batch_size=settings.batch_size,
                loader=settings.loader,
                num_workers=settings.num_workers,
                seed=seed_of(settings.seed, settings.member),
                needs=load_model_class(settings.model).needs,
                device=device,
                stall_timeout=settings.stall_timeout,
            )
            kind = loaders.settings["loader"]
            self.report.say(f"{kind}, {len(loaders.train):,} batches of {settings.batch_size}")
            for note in loaders.notes:
                self.report.say(note)
        self.report.detail(
            "loader: " + ", ".join(f"{name} {value}" for name, value in loaders.settings.items())
        )
        return loaders

    def initialise_model(self, data: Data, device: torch.device, precision: Precision) -> CentreOfMassTask:
        """Draws the weights and moves them to the device."""
        settings = self.settings
        with self.startup.phase("Model Initialization"):
            forbid_tf32()
            seed_everything(seed_of(settings.seed, settings.member))
            model_args = _model_args(settings, data.store)
            model = build_model(settings.model, **model_args).to(device, precision.weights)
            task = CentreOfMassTask(
                model,
                lr=settings.lr,
                weight_decay=settings.weight_decay,
                loss=settings.loss,
                optimizer=settings.optimizer,
                schedule=settings.schedule,
                warmup=settings.warmup,
                precision=precision,
                identity={
                    "model": settings.model,
                    "model_args": model_args,
                    "needs": sorted(model.needs),
                    "config": self.flags,
                    "data": data.identity,
                    "versions": facts.versions(),
                },
                guard=NonFinite(data.store, skip_nonfinite=settings.skip_nonfinite, report=self.report),
            ).to(device)
            total = sum(weight.numel() for weight in model.parameters())
            self.report.say(f"{settings.model}, {total:,} parameters on {device}, precision {precision.name}")
            self.report.say(f"symmetry {model.symmetry}: {SYMMETRIES[model.symmetry]}")
            for note in (precision.note, facts.crowded() if device.type == "cpu" else None):
                if note:
                    self.report.say(note)
        for line in facts.model_lines(model):
            self.report.detail(line)
        return task

    def compile_model(self, task: CentreOfMassTask, data: Data) -> None:
        """Compiles the network if asked to, so that the first epoch does not pay for it."""
        if not self.settings.use_compile:
            self.startup.skip("Model Compilation", "not asked for (--use_compile)")
            return
        with self.startup.phase("Model Compilation"):
            forward = CompiledForward(task.model, self.report)
            try_out(forward, task.model, lambda: self.example(data), task.precision)
            if not forward.failed:
                self.report.say("torch.compile: forward, backward, validation")
            task.forward_model = forward

    def set_up_logging(self, data: Data, resumed: Resumed | None) -> Trackers:
        """Opens the records of the run; only now, when nothing is wrong, an earlier run has to make way."""
        settings = self.settings
        if self.trial:
            self.startup.skip("Logging Setup", "a trial run (--fast_dev_run) tracks nothing")
            return Trackers(None, [], self.report)
        with self.startup.phase("Logging Setup"):
            aside = run_folder.make_way(self.folder, None if resumed is None else resumed.path)
            if aside is not None:
                self.report.say(f"the earlier run in {self.folder} was moved to {aside}")
            self.write_config()
            run_folder.write_rejected(self.folder, data.store.rejected)
            return open_trackers(
                self.folder,
                use_wandb=settings.use_wandb,
                wandb_project=settings.wandb_project,
                wandb_name=settings.wandb_name,
                wandb_tags=settings.wandb_tags,
                config={**self.flags, "dataset": facts.data_statistics(data.store, data.identity)},
                resume_step=None if resumed is None else resumed.step,
                report=self.report,
            )

    def configure_training(
        self,
        task: CentreOfMassTask,
        loaders: Loaders,
        trackers: Trackers,
        device: torch.device,
        resumed: Resumed | None,
    ) -> Fit:
        """Puts trainer and callbacks together."""
        settings = self.settings
        with self.startup.phase("Training Configuration"):
            checkpoints = None
            if not self.trial:
                resume = None if resumed is None else resumed.path
                checkpoints = BestAndLast(self.folder, self.report, resume=resume)
            stop = GracefulStop(
                checkpoints,
                self.report,
                max_time=parse_max_time(settings.max_time),
                checkpoint_every_n_steps=settings.checkpoint_every_n_steps,
            )
            callbacks: list[Callback] = [AveragedWeights(settings.ema)] if settings.ema else []
            callbacks += [Recorder(trackers), self.progress(loaders)]
            if settings.stall_timeout:
                callbacks.append(StallWatch(settings.stall_timeout))
            if settings.early_stopping:
                callbacks.append(stop_early(settings.early_stopping))
            if settings.debug:
                callbacks.append(DebugTimings(self.report))
            callbacks += [stop] if checkpoints is None else [stop, checkpoints]
            trainer = make_trainer(
                self.folder,
                device=device,
                precision=task.precision,
                max_epochs=settings.max_epochs,
                gradient_clip=settings.gradient_clip,
                callbacks=callbacks,
                fast_dev_run=settings.fast_dev_run,
                devices=settings.devices,
                num_nodes=settings.num_nodes,
                strategy=settings.strategy,
                deterministic=settings.deterministic,
            )
            self.report.say(
                f"{settings.fast_dev_run} batches of each loop"
                if self.trial
                else f"{settings.max_epochs:,} epochs, checkpoints in {self.folder}"
            )
        return Fit(trainer, task, loaders, checkpoints, stop)

    def progress(self, loaders: Loaders) -> "Callback":
        """The progress display."""
        steps = min(len(loaders.train), self.settings.fast_dev_run or len(loaders.train))
        graphs_per_step = min(steps * self.settings.batch_size, loaders.train.num_graphs) / steps
        if self.live_bar is None:
            return EpochLines(self.report, graphs_per_step=graphs_per_step)
        return self.live_bar(graphs_per_step=graphs_per_step, steps_per_epoch=steps)

    # -- warm-up and end -----------------------------------------------------------------------------------

    def warm_up(self, task: CentreOfMassTask, data: Data) -> None:
        """Loads the CUDA kernels before the first epoch, and writes how long everything took so far."""
        took = 0.0
        if task.device.type != "cuda" or self.trial:
            why = "in a trial run" if self.trial else f"needed on {task.device}"
            self.report.detail(f"warm-up: none {why}")
        else:
            began = time.perf_counter()
            trouble = warm_up(
                task.model,
                self.example(data),
                task.make_optimizer,
                precision=task.precision,
                gradient_clip=self.settings.gradient_clip,
                device=task.device,
            )
            took = time.perf_counter() - began
            self.report.say(trouble or f"CUDA kernels warmed up in {seconds(took)}")
        if not self.trial:
            self.startup.write(self.folder / run_folder.STARTUP, warm_up=took)
        self.report.ended(WARM_UP, took)

    def example(self, data: Data) -> Batch:
        """The largest batch there can be."""
        needs = load_model_class(self.settings.model).needs
        return largest_batch(data.store, data.train_idx, self.settings.batch_size, needs)

    def conclude(self, fit: Fit, end: End, data: Data) -> TrainResult:
        """Measures the best model, unless a signal ended the training."""
        if fit.task.guard is not None and fit.task.guard.skipped:
            self.report.say(f"{fit.task.guard.skipped:,} steps were left out: their loss was not finite")
        if fit.checkpoints is None:
            self.report.say("trial run finished: every loop works; nothing of it was saved")
            return self.result(end)
        best = _file(fit.checkpoints.best_model_path)
        last = _file(fit.checkpoints.last_model_path)
        if end.exit_code:
            return self.result(end, best_checkpoint=best, last_checkpoint=last)
        if fit.checkpoints.trouble:
            self.report.say(f"the last state is not saved: {fit.checkpoints.trouble}")
            end = end._replace(exit_code=1)
        if not fit.checkpoints.best_model_path:
            return self.result(end, last_checkpoint=last)
        # Not before: the untrained guesses bring scipy's geometry, and the first step need not wait for it.
        from plumbline.training.show.final_report import measure

        self.write_config()  # the folder may have been removed in the meantime
        best, metrics, table = measure(self.folder, fit, data, batch_size=self.settings.batch_size)
        return self.result(end, best_checkpoint=best, last_checkpoint=last, metrics=metrics, table=table)

    def result(self, end: End, **found: Any) -> TrainResult:
        """What is returned."""
        return TrainResult(outcome=end.outcome, exit_code=end.exit_code, run_folder=self.folder, **found)

    def write_config(self) -> None:
        """Writes the settings as YAML, of the command and, of a member, its own."""
        for settings in (self.settings, self.command):
            run_folder.write_config(settings.checkpoint_dir, settings.plain())


def _file(path: str) -> Path | None:
    return Path(path) if Path(path).is_file() else None


def _model_args(settings: TrainSettings, store: PackedStore) -> dict[str, Any]:
    """Keyword arguments of the network's constructor."""
    known = {
        "hidden_dim": settings.hidden_dim,
        "num_layers": settings.num_layers,
        "dropout": settings.dropout,
        **input_arguments(store.feature_names, store.vector_names, settings.features),
    }
    return arguments_for(settings.model, known, settings.model_args)
