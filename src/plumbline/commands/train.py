"""``plumbline train``: the documented training program, from its eight start-up phases to the end table."""

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from plumbline.config import TrainConfig
from plumbline.console.progress import file_bar
from plumbline.console.terminal import print_line
from plumbline.console.text import command, seconds
from plumbline.data.batches.collate import largest_batch
from plumbline.data.batches.loader import Loaders, make_loaders
from plumbline.data.pt.cache import open_data
from plumbline.data.split import split_samples
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.models import SYMMETRIES, arguments_for, build_model, load_model_class
from plumbline.models.inputs import known_features
from plumbline.predictors.device import choose_device
from plumbline.predictors.find_checkpoint import find_best
from plumbline.training.loop.compiling import CompiledForward, try_out
from plumbline.training.loop.early_stopping import stop_early
from plumbline.training.loop.error_messages import plain_words
from plumbline.training.loop.graceful_stop import GracefulStop, parse_max_time
from plumbline.training.loop.nonfinite import NonFinite
from plumbline.training.loop.precision import Precision, choose_precision, forbid_tf32
from plumbline.training.loop.stall_watch import StallWatch
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.trainer import Fit, make_trainer, run_fit
from plumbline.training.loop.warmup import warm_up
from plumbline.training.optim.ema import AveragedWeights
from plumbline.training.persistence import run_folder as rundir
from plumbline.training.persistence.ensembles import write_ensemble
from plumbline.training.persistence.resume import Resumed, check_same_data, find_resumable
from plumbline.training.persistence.saving import BestAndLast
from plumbline.training.randomness import seed_everything, seed_of
from plumbline.training.show import facts as details
from plumbline.training.show.debug_timings import DebugTimings
from plumbline.training.show.facts import Data
from plumbline.training.show.progress import make_progress
from plumbline.training.show.recorder import Recorder
from plumbline.training.show.startup import Startup, seconds_since_start
from plumbline.training.show.tracking import Trackers, open_trackers
from plumbline.training.warning_filters import quiet

if TYPE_CHECKING:
    from plumbline.training.lightning_import import Callback


def run(config: TrainConfig, console: Console) -> int:
    """Train as the flags say. Returns the exit code: 0 done, 130 or 143 interrupted with the state saved.

    Raises:
        InputError: the flags, the data or the machine do not allow it; the message says what to change.
    """
    if config.ensemble > 1 and not config.fast_dev_run:
        with rundir.no_empty_folder_left(config.checkpoint_dir):
            return _train_members(config, console)
    return _train_one(config, console, whole=config)[0]


def _train_one(config: TrainConfig, console: Console, *, whole: TrainConfig) -> tuple[int, bool]:
    """Trains one model, perhaps one of several. Returns the exit code, and whether time ran out."""
    words = plain_words(batch_size=config.batch_size, num_workers=config.num_workers)
    with quiet(), words, rundir.no_empty_folder_left(config.checkpoint_dir), ExitStack() as held:
        training = _Training(config, console, held, whole)
        return training.run(), training.out_of_time


def _train_members(config: TrainConfig, console: Console) -> int:
    """Trains the members one after the other, each in a folder of its own, and joins them."""
    members = rundir.members(config.checkpoint_dir, config.ensemble, config.resume)
    for member, (folder, resume) in enumerate(members.items()):
        console.print(f"member {member + 1} of {config.ensemble}", markup=False)
        own = replace(config, ensemble=1, member=member, checkpoint_dir=folder, resume=resume)
        code, out_of_time = _train_one(own, console, whole=config)
        if code or out_of_time:
            return code
    joined = write_ensemble(config.checkpoint_dir, [find_best(folder) for folder in members])
    print_line(console, f"\nensemble      {joined}")
    print_line(console, "report        " + command("plumbline", "evaluate", joined))
    return 0


class _Training:
    """One run of the command: the phases in order, then fit, then the end. What is held is let go after."""

    def __init__(self, config: TrainConfig, console: Console, held: ExitStack, whole: TrainConfig) -> None:
        self.config, self.console, self.held, self.whole = config, console, held, whole
        self.settings = whole.checkpoint_dir / rundir.CONFIG
        self.out_of_time = False
        self.flags = rundir.plain_config(config)
        self.folder = config.checkpoint_dir
        self.trial = config.fast_dev_run > 0
        first = whole is config or config.member == 0
        self.startup = Startup(console, before=seconds_since_start() if first else 0.0)

    def run(self) -> int:
        """Everything."""
        config = self.config
        resumed = self.set_up_directory()
        if resumed is not None and (ended := resumed.ended(config.max_epochs, config.schedule)):
            self.say(ended)
            return 0
        store = self.load_dataset()
        data = self.split_dataset(store, resumed)
        device = choose_device(config.accelerator)
        precision = choose_precision(config.precision, device)
        loaders = self.create_loaders(data, device)
        task = self.initialise_model(data, device, precision)
        self.compile_model(task, data)
        trackers = self.set_up_logging(data, resumed)
        code = 1
        try:
            fit = self.configure_training(task, loaders, trackers, device, resumed)
            self.startup.finish()
            warmed = self.warm_up(task, data)
            if not self.trial:
                self.startup.write(self.folder / rundir.STARTUP, warm_up=warmed)
            self.console.print()
            start = None if resumed is None else resumed.path
            code = run_fit(fit, start=start, folder=self.folder, settings=self.settings, say=self.say)
            self.out_of_time = fit.stop.out_of_time
        finally:
            trackers.finish(code)
        if task.guard is not None and task.guard.skipped:
            self.say(f"{task.guard.skipped:,} steps were left out: their loss was not finite")
        if fit.checkpoints is None:
            self.say("trial run finished: every loop works; nothing of it was saved")
        elif code == 0:
            if fit.checkpoints.trouble:
                self.say(f"the last state is not saved: {fit.checkpoints.trouble}")
                code = 1
            if fit.checkpoints.best_model_path:
                self.conclude(fit, data)
        return code

    def say(self, text: str) -> None:
        """One plain line."""
        print_line(self.console, text)

    def debug(self, text: str) -> None:
        """One line that only ``--debug`` shows."""
        if self.config.debug:
            self.console.print(f"debug  {text}", markup=False, style="dim")

    # -- the eight phases ----------------------------------------------------------------------------------

    def set_up_directory(self) -> Resumed | None:
        """Makes the run folder and finds the checkpoint to go on from."""
        config = self.config
        if self.trial:
            if config.resume is not None:
                raise InputError("--fast_dev_run is a trial from the start: leave --resume out")
            self.startup.skip("Directory Setup", "a trial run (--fast_dev_run) saves nothing")
            return None
        with self.startup.phase("Directory Setup"):
            rundir.make_run_folder(self.folder)
            self.held.enter_context(rundir.sole_use(self.folder))
            resumed = None
            if config.resume is not None:
                resumed = find_resumable(
                    config.resume, self.folder, self.flags, allow_mismatch=config.allow_mismatch
                )
                for note in resumed.notes:
                    self.startup.remark(note)
                within = resumed.content["batches_done"]
                self.startup.remark(
                    f"resuming {resumed.path} after {resumed.content['epochs_done']} epochs"
                    + (f" and {within} batches" if within else "")
                )
        return resumed

    def load_dataset(self) -> PackedStore:
        """Opens the data set and reports what was refused."""
        with self.startup.phase("Dataset Loading"):
            with file_bar(self.console) as progress:
                store = open_data(self.config.data_dir, progress=progress)
            self.startup.remark(
                f"{len(store):,} graphs of {store.num_objects:,} objects, {store.num_nodes:,} nodes, "
                f"{store.num_edges:,} edges in {self.config.data_dir}"
            )
            lines = [f"{item.source}: {item.reason}" for item in store.rejected]
            if lines:
                self.startup.remark(f"{len(lines):,} rejected, the first: {lines[0]}")
        self.debug(f"data set: {len(store):,} loaded, {len(lines):,} rejected")
        for line in lines:
            self.debug(f"  rejected {line}")
        return store

    def split_dataset(self, store: PackedStore, resumed: Resumed | None) -> Data:
        """Splits by object or group; a resumed training must find the data it was trained on."""
        with self.startup.phase("Dataset Splitting"):
            how = (self.config.val_split, self.config.seed, self.config.split_by)
            train_idx, val_idx = split_samples(store.object_idx, store.object_names, *how)
            identity = details.data_identity(store, self.flags, train_idx, val_idx)
            if resumed is not None:
                allowed = check_same_data(
                    resumed.path, resumed.content["data"], identity, allow_mismatch=self.config.allow_mismatch
                )
                if allowed:
                    self.startup.remark(allowed)
            objects = [len(np.unique(store.object_idx[side])) for side in (train_idx, val_idx)]
            self.startup.remark(
                f"{len(train_idx):,} graphs of {objects[0]:,} objects to train, "
                f"{len(val_idx):,} of {objects[1]:,} others to validate"
            )
        return Data(store, train_idx, val_idx, identity)

    def create_loaders(self, data: Data, device: torch.device) -> Loaders:
        """Loaders as the flags say and the machine allows."""
        config = self.config
        with self.startup.phase("DataLoader Creation"):
            loaders = make_loaders(
                data.store,
                train_idx=data.train_idx,
                val_idx=data.val_idx,
                batch_size=config.batch_size,
                loader=config.loader,
                num_workers=config.num_workers,
                seed=seed_of(config.seed, config.member),
                needs=load_model_class(config.model).needs,
                device=device,
                patience=config.stall_timeout,
            )
            self.startup.remark(
                f"{loaders.settings['loader']}, {len(loaders.train):,} batches of {config.batch_size}"
            )
            for note in loaders.notes:
                self.startup.remark(note)
        self.debug("loader: " + ", ".join(f"{name} {value}" for name, value in loaders.settings.items()))
        return loaders

    def initialise_model(self, data: Data, device: torch.device, precision: Precision) -> CentreOfMassTask:
        """Draws the weights and moves them to the device."""
        config = self.config
        with self.startup.phase("Model Initialization"):
            forbid_tf32()
            seed_everything(seed_of(config.seed, config.member))
            known = {name: self.flags[name] for name in ("hidden_dim", "num_layers", "dropout")}
            known |= known_features(data.store.feature_names, data.store.vector_names, config.features)
            arguments = arguments_for(config.model, known, config.model_args)
            model = build_model(config.model, **arguments).to(device, precision.weights)
            identity = {
                "model": config.model,
                "model_args": arguments,
                "needs": sorted(model.needs),
                "config": self.flags,
                "data": data.identity,
                "versions": details.versions(),
            }
            recipe = ("lr", "weight_decay", "loss", "optimizer", "schedule", "warmup")
            chosen = {name: self.flags[name] for name in recipe}
            guard = NonFinite(data.store, skip=config.skip_nonfinite, say=self.say)
            task = CentreOfMassTask(model, precision=precision, identity=identity, guard=guard, **chosen)
            task.to(device)
            total = sum(weight.numel() for weight in model.parameters())
            self.startup.remark(
                f"{config.model}, {total:,} parameters on {device}, precision {precision.name}"
            )
            self.startup.remark(f"symmetry {model.symmetry}: {SYMMETRIES[model.symmetry]}")
            for note in (precision.note, details.crowded() if device.type == "cpu" else None):
                if note:
                    self.startup.remark(note)
        for line in details.model_lines(model):
            self.debug(line)
        return task

    def compile_model(self, task: CentreOfMassTask, data: Data) -> None:
        """Compiles the network if asked to, so that the first epoch does not pay for it."""
        if not self.config.use_compile:
            self.startup.skip("Model Compilation", "not asked for (--use_compile)")
            return
        with self.startup.phase("Model Compilation"):
            forward = CompiledForward(task.model, self.startup.remark)
            try_out(forward, task.model, lambda: self.example(data), task.precision)
            if not forward.failed:
                self.startup.remark("torch.compile: forward, backward, validation")
            forward.say = self.say
            task.forward_model = forward

    def set_up_logging(self, data: Data, resumed: Resumed | None) -> Trackers:
        """Opens the records of the run; only now, when nothing is wrong, an earlier run has to make way."""
        config = self.config
        if self.trial:
            self.startup.skip("Logging Setup", "a trial run (--fast_dev_run) tracks nothing")
            return Trackers(None, [], self.say)
        with self.startup.phase("Logging Setup"):
            aside = rundir.make_way(self.folder, None if resumed is None else resumed.path)
            if aside is not None:
                self.startup.remark(f"the earlier run in {self.folder} was moved to {aside}")
            rundir.write_config(self.folder, self.flags)
            rundir.write_config(self.whole.checkpoint_dir, rundir.plain_config(self.whole))
            rundir.write_rejected(self.folder, data.store.rejected)
            trackers = open_trackers(
                self.folder,
                use_wandb=config.use_wandb,
                project=config.wandb_project,
                name=config.wandb_name,
                tags=config.wandb_tags,
                config={**self.flags, "dataset": details.data_statistics(data.store, data.identity)},
                keep_until=None if resumed is None else resumed.step,
                say=self.startup.remark,
            )
        trackers.say = self.say
        return trackers

    def configure_training(
        self,
        task: CentreOfMassTask,
        loaders: Loaders,
        trackers: Trackers,
        device: torch.device,
        resumed: Resumed | None,
    ) -> Fit:
        """Puts trainer and callbacks together."""
        config = self.config
        with self.startup.phase("Training Configuration"):
            checkpoints = None
            if not self.trial:
                source = None if resumed is None else resumed.path
                checkpoints = BestAndLast(self.folder, self.say, keep=source)
            stop = GracefulStop(
                checkpoints,
                self.say,
                max_time=parse_max_time(config.max_time),
                save_every=config.checkpoint_every_n_steps,
            )
            callbacks: list[Callback] = [AveragedWeights(config.ema)] if config.ema else []
            callbacks += [Recorder(trackers), self.progress(loaders)]
            if config.stall_timeout:
                callbacks.append(StallWatch(config.stall_timeout))
            if config.early_stopping:
                callbacks.append(stop_early(config.early_stopping))
            if config.debug:
                callbacks.append(DebugTimings(self.debug))
            callbacks += [stop] if checkpoints is None else [stop, checkpoints]
            trainer = make_trainer(
                self.folder,
                device=device,
                precision=task.precision,
                max_epochs=config.max_epochs,
                gradient_clip=config.gradient_clip,
                callbacks=callbacks,
                fast_dev_run=config.fast_dev_run,
                devices=config.devices,
                num_nodes=config.num_nodes,
                strategy=config.strategy,
                deterministic=config.deterministic,
            )
            self.startup.remark(
                f"{config.fast_dev_run} batches of each loop"
                if self.trial
                else f"{config.max_epochs:,} epochs, checkpoints in {self.folder}"
            )
        return Fit(trainer, task, loaders, checkpoints, stop)

    def progress(self, loaders: Loaders) -> "Callback":
        """The progress display."""
        steps = min(len(loaders.train), self.config.fast_dev_run or len(loaders.train))
        graphs = min(steps * self.config.batch_size, loaders.train.num_graphs)
        return make_progress(self.console, graphs_per_epoch=graphs, steps_per_epoch=steps)

    # -- warm-up, fit, end ---------------------------------------------------------------------------------

    def example(self, data: Data) -> Any:
        """The largest batch there can be."""
        needs = load_model_class(self.config.model).needs
        return largest_batch(data.store, data.train_idx, self.config.batch_size, needs)

    def warm_up(self, task: CentreOfMassTask, data: Data) -> float:
        """Loads the CUDA kernels before the first epoch. Returns the seconds it took."""
        if task.device.type != "cuda" or self.trial:
            self.debug(f"warm-up: none {'in a trial run' if self.trial else 'needed on ' + str(task.device)}")
            return 0.0
        began = time.perf_counter()
        trouble = warm_up(
            task.model,
            self.example(data),
            task.make_optimizer,
            precision=task.precision,
            gradient_clip=self.config.gradient_clip,
            device=task.device,
        )
        took = time.perf_counter() - began
        self.say(trouble or f"CUDA kernels warmed up in {seconds(took)}")
        return took

    def conclude(self, fit: Fit, data: Data) -> None:
        """Says how good the best model is."""
        # Not before: the untrained guesses bring scipy's geometry, and the first step need not wait for it.
        from plumbline.training.show.final_report import conclude

        for config in (self.config, self.whole):  # the folder may have been removed in the meantime
            rundir.write_config(config.checkpoint_dir, rundir.plain_config(config))
        where = self.console, self.folder, self.settings
        conclude(*where, fit, data.store, data.val_idx, batch_size=self.config.batch_size)
