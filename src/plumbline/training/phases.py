"""The eight start-up phases of a training."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from plumbline.console.text import counted
from plumbline.data.batches.loader import Loaders, Resident, load_resident, make_loaders
from plumbline.data.pt.cache import open_data
from plumbline.data.split import split_samples
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.models import SYMMETRIES, arguments_for, build_model, load_model_class, source_of
from plumbline.models.inputs import input_arguments
from plumbline.reporting import Reporter
from plumbline.training.loop.compiling import CompiledForward, try_out
from plumbline.training.loop.early_stopping import StopEarly
from plumbline.training.loop.error_messages import MemoryUse
from plumbline.training.loop.graceful_stop import GracefulStop
from plumbline.training.loop.nonfinite import NonFinite
from plumbline.training.loop.precision import Precision, forbid_tf32
from plumbline.training.loop.stall_watch import StallWatch
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.trainer import Fit, make_trainer
from plumbline.training.optim.ema import AveragedWeights
from plumbline.training.persistence import run_folder
from plumbline.training.persistence.resume import Resumed, check_same_data, find_resumable, same_measure
from plumbline.training.persistence.saving import BestAndLast
from plumbline.training.randomness import seed_everything, seed_of
from plumbline.training.records import TrainSettings
from plumbline.training.show import facts
from plumbline.training.show.debug_timings import DebugTimings
from plumbline.training.show.facts import Data
from plumbline.training.show.progress import EpochLines
from plumbline.training.show.recorder import Recorder
from plumbline.training.show.startup import Startup, seconds_since_start
from plumbline.training.show.tracking import Trackers, open_trackers

if TYPE_CHECKING:
    from plumbline.training.lightning_import import Callback

LiveBar = Callable[..., "Callback"]
"""Makes a progress bar, given ``graphs_per_step`` and ``steps_per_epoch``."""


class Phases:
    """The phases, to be called in order.

    Args:
        settings: settings of one model.
        report: receives every event.
        command: settings of the command that resumes the training: the same, or those of the ensemble.
        live_bar: makes a progress bar; without it, one line per epoch is reported.
        held: holds the lock of the run folder; closed when the training ends.
        memory: is told what fills the memory.
    """

    def __init__(
        self,
        settings: TrainSettings,
        report: Reporter,
        *,
        command: TrainSettings,
        live_bar: LiveBar | None,
        held: ExitStack,
        memory: MemoryUse | None = None,
    ) -> None:
        self.settings, self.report, self.command = settings, report, command
        self.live_bar, self.held = live_bar, held
        self.folder = settings.checkpoint_dir
        self.trial = settings.fast_dev_run > 0
        self.flags = settings.plain()
        first = command is settings or settings.member == 0
        self.memory = memory or MemoryUse()
        self._resident: Resident | None = None
        self.startup = Startup(report, before=seconds_since_start() if first else 0.0)

    def set_up_directory(self) -> Resumed | None:
        """Create the run folder and find the checkpoint to resume from."""
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

    def load_dataset(self, device: torch.device | None = None) -> PackedStore:
        """Open the data set, report rejected inputs, and read it into memory if it is to be there.

        Args:
            device: where the training runs; None: nothing is trained.
        """
        settings = self.settings
        self.memory.doing = "opening"
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
            if device is not None:
                self.memory.doing = "loading"
                needs = load_model_class(settings.model).needs
                self._resident = load_resident(store, loader=settings.loader, needs=needs, device=device)
        self.report.detail(f"data set: {len(store):,} loaded, {len(rejected):,} rejected")
        for line in rejected:
            self.report.detail(f"  rejected {line}")
        return store

    def split_dataset(self, store: PackedStore, resumed: Resumed | None) -> Data:
        """Split by object or group; a resumed training must have the same data as before."""
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
                f"training: {counted(len(train_idx), 'graph')} of {counted(objects[0], 'object')}; "
                f"validation: {counted(len(val_idx), 'graph')} of {counted(objects[1], 'other object')}"
            )
        return Data(store, train_idx, val_idx, identity)

    def create_loaders(self, data: Data, device: torch.device) -> Loaders:
        """Make the loaders according to the settings and the machine."""
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
                resident=self._resident,
            )
            self.memory.doing, self.memory.data = loaders.settings["loader"], loaders.bytes
            kind = loaders.settings["loader"]
            self.report.say(f"{kind}, batches of {settings.batch_size}, {len(loaders.train):,} per epoch")
            for note in loaders.notes:
                self.report.say(note)
        self.report.detail(
            "loader: " + ", ".join(f"{name} {value}" for name, value in loaders.settings.items())
        )
        return loaders

    def initialise_model(self, data: Data, device: torch.device, precision: Precision) -> CentreOfMassTask:
        """Initialise the network and move it to the device."""
        settings = self.settings
        with self.startup.phase("Model Initialization"):
            forbid_tf32()
            seed_everything(seed_of(settings.seed, settings.member))
            model_args = _model_args(settings, data.store)
            model = build_model(settings.model, **model_args).to(device, precision.weights)
            source = source_of(settings.model)
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
                    **({} if source is None else {"model_sha256": source.sha256}),
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
        """Compile the network if requested, before the first epoch."""
        if not self.settings.use_compile:
            self.startup.skip("Model Compilation", "not requested (--use_compile)")
            return
        needs = load_model_class(self.settings.model).needs
        with self.startup.phase("Model Compilation"):
            forward = CompiledForward(task.model, self.report)
            try_out(
                forward,
                task.model,
                lambda: data.largest_batch(self.settings.batch_size, needs),
                task.precision,
            )
            if not forward.failed:
                self.report.say("torch.compile: forward, backward, validation")
            task.forward_model = forward

    def set_up_logging(self, data: Data, resumed: Resumed | None) -> Trackers:
        """Open the records of the run; an earlier run is moved aside only now, after all checks passed."""
        settings = self.settings
        if self.trial:
            self.startup.skip("Logging Setup", "a trial run (--fast_dev_run) tracks nothing")
            return Trackers(None, [], self.report)
        with self.startup.phase("Logging Setup"):
            moved = [run_folder.make_way(self.folder, None if resumed is None else resumed.path)]
            for written in (settings, self.command):
                moved.append(run_folder.write_config(written.checkpoint_dir, written.plain()))
            for sentence in filter(None, moved):
                self.report.say(sentence)
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
        """Assemble trainer and callbacks."""
        settings = self.settings
        with self.startup.phase("Training Configuration"):
            resume = None if resumed is None else resumed.path
            comparable = resumed is None or same_measure(resumed.content, task.identity)
            checkpoints = None
            if not self.trial:
                checkpoints = BestAndLast(self.folder, self.report, resume=resume, comparable=comparable)
            stop = GracefulStop(
                checkpoints,
                self.report,
                max_time=None if settings.max_time is None else settings.max_time.seconds,
                checkpoint_every_n_steps=settings.checkpoint_every_n_steps,
            )
            callbacks: list[Callback] = [AveragedWeights(settings.ema)] if settings.ema else []
            callbacks += [Recorder(trackers), self.progress(loaders)]
            if settings.stall_timeout:
                callbacks.append(StallWatch(settings.stall_timeout))
            if settings.early_stopping:
                callbacks.append(StopEarly(settings.early_stopping, comparable=comparable))
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
                f"a trial run, batches per loop: {settings.fast_dev_run}"
                if self.trial
                else f"{counted(settings.max_epochs, 'epoch')}, checkpoints in {self.folder}"
            )
        return Fit(trainer, task, loaders, checkpoints, stop)

    def progress(self, loaders: Loaders) -> "Callback":
        """The progress display."""
        steps = min(len(loaders.train), self.settings.fast_dev_run or len(loaders.train))
        graphs_per_step = min(steps * self.settings.batch_size, loaders.train.num_graphs) / steps
        if self.live_bar is None:
            return EpochLines(self.report, graphs_per_step=graphs_per_step)
        return self.live_bar(graphs_per_step=graphs_per_step, steps_per_epoch=steps)


def _model_args(settings: TrainSettings, store: PackedStore) -> dict[str, Any]:
    """Keyword arguments for the network's constructor."""
    known = {
        "hidden_dim": settings.hidden_dim,
        "num_layers": settings.num_layers,
        "dropout": settings.dropout,
        **input_arguments(store.feature_names, store.vector_names, settings.features),
    }
    return arguments_for(settings.model, known, settings.model_args)
