"""The eight start-up phases of a training."""

from collections.abc import Callable
from contextlib import ExitStack
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch

from plumbline.console.text import counted, processes
from plumbline.data.batches.loader import Loaders, Resident, load_resident, make_loaders
from plumbline.data.pt.cache import open_data
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.files import folder_names
from plumbline.models import SIDE_ARGUMENTS, SYMMETRIES, arguments_for, load_model_class
from plumbline.own_parts import names_a_file, source_of
from plumbline.predictors.calibration import too_few
from plumbline.reporting import Reporter
from plumbline.training.distributed.world import ALONE, World
from plumbline.training.loop.compiling import CompiledForward, try_out
from plumbline.training.loop.early_stopping import StopEarly
from plumbline.training.loop.error_messages import MemoryUse
from plumbline.training.loop.graceful_stop import GracefulStop
from plumbline.training.loop.memory_watch import MemoryWatch
from plumbline.training.loop.nonfinite import NonFinite
from plumbline.training.loop.precision import Precision, forbid_tf32
from plumbline.training.loop.stall_watch import StallWatch
from plumbline.training.loop.step_parts import StepParts
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.trainer import Fit, make_trainer
from plumbline.training.loop.validations import Validations
from plumbline.training.optim.ema import AveragedWeights
from plumbline.training.optim.losses import Loss
from plumbline.training.persistence import run_folder
from plumbline.training.persistence.init_from import make_network, read_start
from plumbline.training.persistence.resume import Resumed, check_same_data, find_resumable, same_measure
from plumbline.training.persistence.saving import BestAndLast
from plumbline.training.randomness import seed_everything, seed_of
from plumbline.training.records import TrainSettings
from plumbline.training.show import facts
from plumbline.training.show.debug_timings import DebugTimings
from plumbline.training.show.facts import Data
from plumbline.training.show.profile import Profile
from plumbline.training.show.progress import EpochLines
from plumbline.training.show.recorder import Recorder
from plumbline.training.show.startup import Startup, seconds_since_start
from plumbline.training.show.tracking import Trackers, open_trackers
from plumbline.training.sides import choose_sides

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
        memory: record of what fills the memory, updated here.
        world: the processes of the training; all but the first one write nothing.
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
        world: World = ALONE,
    ) -> None:
        self.settings, self.report, self.command, self.world = settings, report, command, world
        self.live_bar, self.held = live_bar, held
        self.trial = settings.fast_dev_run > 0
        self.flags = settings.plain()
        first = command is settings or settings.member == 0
        self.memory = memory or MemoryUse()
        self._resident: Resident | None = None
        self.profile: Profile | None = None
        self._start = read_start(settings)
        self.startup = Startup(report, before=seconds_since_start() if first else 0.0)

    def set_up_directory(self) -> Resumed | None:
        """Create the run folder and find the checkpoint to resume from."""
        settings = self.settings
        for sentence in settings.without_effect():
            self.report.say(sentence)
        if self.trial:
            if settings.resume is not None:
                raise InputError("--fast_dev_run is a trial from the start: leave --resume out")
            self.startup.skip("Directory Setup", "a trial run (--fast_dev_run) saves nothing")
            return None
        with self.startup.phase("Directory Setup"):
            run_folder.make_run_folder(settings.checkpoint_dir)
            self.held.enter_context(run_folder.sole_use(settings.checkpoint_dir))
            if settings.resume is None:
                return None
            resumed = find_resumable(
                settings.resume, settings.checkpoint_dir, self.flags, allow_mismatch=settings.allow_mismatch
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
                settings.data_dir, progress=lambda done, total: self.report.progress("file", done, total)
            )
            self.report.say(
                f"{len(store):,} graphs of {store.num_objects:,} objects, {store.num_nodes:,} nodes, "
                f"{store.num_edges:,} edges in {folder_names(settings.data_dir)}"
            )
            rejected = [f"{item.source}: {item.reason}" for item in store.rejected]
            if rejected:
                self.report.say(f"{len(rejected):,} rejected, the first: {rejected[0]}")
            if device is not None:
                self.memory.doing = "loading"
                needs = load_model_class(settings.model).needs
                copies = self.world.place.local_size
                self._resident = load_resident(
                    store, loader=settings.loader, needs=needs, device=device, copies=copies
                )
        self.report.detail(f"data set: {len(store):,} loaded, {len(rejected):,} rejected")
        for line in rejected:
            self.report.detail(f"  rejected {line}")
        return store

    def split_dataset(self, store: PackedStore, resumed: Resumed | None) -> Data:
        """Split by object or group; a resumed training must have the same data as before."""
        settings = self.settings
        with self.startup.phase("Dataset Splitting"):
            train_idx, val_idx, given = choose_sides(store, settings, self.report, size=self.world.size)
            identity = facts.data_identity(store, self.flags, train_idx, val_idx, given)
            if resumed is not None:
                allowed = check_same_data(
                    resumed.path, resumed.content["data"], identity, allow_mismatch=settings.allow_mismatch
                )
                if allowed:
                    self.report.say(allowed)
            objects = [len(np.unique(store.object_idx[side])) for side in (train_idx, val_idx)]
            training = f"{counted(len(train_idx), 'graph')} of {counted(objects[0], 'object')}"
            self.report.say(
                f"training and validation: the same {training} (--overfit_batches)"
                if settings.overfit_batches
                else f"training: {training}; "
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
                batch_points=settings.batch_points,
                loader=settings.loader,
                num_workers=settings.num_workers,
                seed=seed_of(settings.seed, settings.member),
                shuffle=not settings.overfit_batches,
                needs=load_model_class(settings.model).needs,
                device=device,
                persistent_workers=settings.persistent_workers,
                stall_timeout=settings.stall_timeout,
                resident=self._resident,
                rank=self.world.rank,
                size=self.world.size,
            )
            self.memory.doing, self.memory.data = loaders.settings["loader"], loaders.bytes
            kind = loaders.settings["loader"]
            self.report.say(f"{kind}, {facts.batches(loaders.train, settings, self.world.size)}")
            for note in loaders.notes:
                self.report.say(note)
        self.report.detail(
            "loader: " + ", ".join(f"{name} {value}" for name, value in loaders.settings.items())
        )
        return loaders

    def initialise_model(
        self,
        data: Data,
        device: torch.device,
        precision: Precision,
        loss: Loss,
        resumed: Resumed | None,
    ) -> CentreOfMassTask:
        """Initialise the network, with the heads of the checkpoint if resumed, and move it to the device."""
        settings = self.settings
        with self.startup.phase("Model Initialization"):
            forbid_tf32()
            seed_everything(seed_of(settings.seed, settings.member))
            model_args = arguments_for(
                settings.model,
                feature_names=data.store.feature_names,
                vector_names=data.store.vector_names,
                features=settings.features,
                model_args=settings.model_args,
                hidden_dim=settings.hidden_dim,
                num_layers=settings.num_layers,
                dropout=settings.dropout,
                covariance=True,
                payload=data.store.has_payload,
            )
            if resumed is not None:
                before = resumed.content["model_args"]
                model_args |= {name: before[name] for name in SIDE_ARGUMENTS if name in before}
            elif self._start is not None:
                model_args |= self._start.side_arguments(model_args)
            model, notes = make_network(settings, model_args, self._start, data.store)
            model = model.to(device, precision.weights)
            own = {"model": source_of(settings.model), "loss": source_of(settings.loss)}
            task = CentreOfMassTask(
                model,
                lr=settings.lr,
                weight_decay=settings.weight_decay,
                loss=loss,
                optimizer=settings.optimizer,
                schedule=settings.schedule,
                warmup=settings.warmup,
                plateau=settings.plateau,
                precision=precision,
                identity={
                    "model": settings.model,
                    "model_args": model_args,
                    **{f"{part}_sha256": source.sha256 for part, source in own.items() if source},
                    "needs": sorted(model.needs),
                    "config": self.flags,
                    "data": data.identity,
                    "versions": facts.versions(),
                },
                guard=NonFinite(data.store, skip_nonfinite=settings.skip_nonfinite, report=self.report),
                world=self.world,
            ).to(device)
            if not self.world.first:  # all start with the same weights, and drop out different units
                seed_everything(seed_of(settings.seed, settings.member, self.world.rank))
            total = sum(weight.numel() for weight in model.parameters())
            self.report.say(f"{settings.model}, {total:,} parameters on {device}, precision {precision.name}")
            self.report.say(f"symmetry {model.symmetry}: {SYMMETRIES[model.symmetry]}")
            notes += [precision.note, facts.crowded() if device.type == "cpu" else None]
            notes += [too_few(len(data.val_idx)) if hasattr(model, "answer") and not self.trial else None]
            for note in notes:
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
            try_out(forward, task.model, lambda: data.largest_batch(self.settings, needs), task.precision)
            if not forward.failed:
                self.report.say("torch.compile: forward, backward, validation")
            task.forward_model = forward

    def compare_compiled(self, task: CentreOfMassTask) -> None:
        """Tell of other processes whose network cannot be compiled: they cannot tell themselves."""
        failed = self.world.gather(getattr(task.forward_model, "failed", False))[1:]
        if any(failed):
            self.report.say(
                f"the network cannot be compiled in {processes(sum(failed))} other than the first and runs "
                "uncompiled there"
            )

    def set_up_logging(self, data: Data, resumed: Resumed | None) -> Trackers:
        """Open the records of the run; an earlier run is moved aside only now, after all checks passed."""
        settings = self.settings
        if self.trial or not self.world.first:
            self.startup.skip("Logging Setup", "a trial run (--fast_dev_run) tracks nothing")
            return Trackers(None, self.report)
        with self.startup.phase("Logging Setup"):
            moved = [run_folder.make_way(settings.checkpoint_dir, None if resumed is None else resumed.path)]
            for written in (settings, self.command):
                moved.append(run_folder.write_config(written.checkpoint_dir, written.plain()))
            for sentence in filter(None, moved):
                self.report.say(sentence)
            run_folder.write_rejected(settings.checkpoint_dir, data.store.rejected)
            return open_trackers(
                settings,
                config={**self.flags, "dataset": facts.data_statistics(data.store, data.identity)},
                resume_step=None if resumed is None else resumed.step,
                kept={} if resumed is None else resumed.tracking,
                report=self.report,
            )

    def configure_training(
        self,
        task: CentreOfMassTask,
        data: Data,
        loaders: Loaders,
        trackers: Trackers,
        device: torch.device,
        resumed: Resumed | None,
    ) -> Fit:
        """Assemble trainer and callbacks."""
        settings = self.settings
        with self.startup.phase("Training Configuration"):
            if trackers.kept:
                task.identity["tracking"] = trackers.kept
            resume = None if resumed is None else resumed.path
            comparable = resumed is None or same_measure(resumed.content, task.identity)
            checkpoints = None
            if not self.trial:
                checkpoints = BestAndLast(
                    settings.checkpoint_dir,
                    self.report,
                    save_top_k=settings.save_top_k,
                    resume=resume,
                    comparable=comparable,
                    world=self.world,
                )
            validations = Validations(settings.val_every_n_epochs)
            stop = GracefulStop(
                checkpoints,
                self.report,
                validations,
                max_time=None if settings.max_time is None else settings.max_time.seconds,
                checkpoint_every_n_steps=settings.checkpoint_every_n_steps,
                world=self.world,
            )
            callbacks: list[Callback] = [AveragedWeights(settings.ema)] if settings.ema else []
            every, per_epoch = settings.log_every_n_steps, ceil(len(loaders.train) / settings.accumulate)
            callbacks.append(Recorder(trackers, every, steps_per_epoch=per_epoch))
            callbacks += [self.progress(loaders), MemoryWatch(self.memory, data.store, device)]
            if settings.stall_timeout:
                callbacks.append(StallWatch(settings.stall_timeout))
            if settings.early_stopping:
                patience = ceil(settings.early_stopping / settings.val_every_n_epochs)
                callbacks.append(StopEarly(patience, comparable=comparable))
            watchers: list[DebugTimings | Profile] = [DebugTimings(self.report)] if settings.debug else []
            if settings.profile and self.world.first:
                folder = None if self.trial else settings.checkpoint_dir
                self.profile = Profile(device, folder, self.report, self.world)
                watchers.append(self.profile)
            callbacks += [*watchers, validations, stop, *([] if checkpoints is None else [checkpoints])]
            trainer = make_trainer(
                settings.checkpoint_dir,
                device=device,
                precision=task.precision,
                max_epochs=settings.max_epochs,
                max_steps=settings.max_steps,
                gradient_clip=settings.gradient_clip,
                accumulate=settings.accumulate,
                callbacks=callbacks,
                fast_dev_run=settings.fast_dev_run,
                deterministic=settings.deterministic,
                world=self.world,
                own_network=names_a_file(settings.model),
                profiler=StepParts([one.begins for one in watchers]) if watchers else None,
            )
            task.batches = loaders.train.order
            limit = settings.max_steps
            steps = f" or {counted(limit, 'step')}, whichever come first" if limit else ""
            length = f"{counted(settings.max_epochs, 'epoch')}{steps}"
            self.report.say(
                f"a trial run, batches per loop: {settings.fast_dev_run}"
                if self.trial
                else f"{length}, checkpoints in {settings.checkpoint_dir}"
            )
        return Fit(trainer, task, loaders, checkpoints, validations, stop)

    def progress(self, loaders: Loaders) -> "Callback":
        """The progress display."""
        batches = min(len(loaders.train), self.settings.fast_dev_run or len(loaders.train))
        steps = ceil(batches / self.settings.accumulate)
        graphs_per_step = batches * loaders.train.order.graphs_per_batch / steps
        if self.live_bar is None:
            return EpochLines(self.report, graphs_per_step=graphs_per_step)
        return self.live_bar(graphs_per_step=graphs_per_step, steps_per_epoch=steps)
