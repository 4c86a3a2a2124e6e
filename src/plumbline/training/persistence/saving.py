"""Writing checkpoints durably, and the policy of which ones are kept."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plumbline.errors import InputError
from plumbline.predictors.checkpoint import read_checkpoint, seal
from plumbline.predictors.find_checkpoint import BEST_FILES, LAST_FILES
from plumbline.reporting import Reporter
from plumbline.training.distributed.world import ALONE, World
from plumbline.training.lightning_import import CheckpointIO, LightningModule, ModelCheckpoint, Trainer
from plumbline.writing import write_atomically

BEST_NAME = "best-model-{epoch:02d}-{val_loss:.3f}"


class DurableCheckpoints(CheckpointIO):
    """Writes next to the destination, flushes, reads back, and only then gives the file its name.

    Lightning's own writer stages in the temporary folder (often another, smaller file system), flushes
    nothing, and continues silently without permission to write.

    Args:
        world: the processes of the training. If there are several, only the first one writes, all of them
            wait for it, and a failure is kept for :meth:`check` instead of raised.
    """

    def __init__(self, world: World = ALONE) -> None:
        super().__init__()
        self._world = world
        self._failure: InputError | None = None

    def check(self) -> None:
        """Raise the deferred failure, if there is one."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint``; ``path`` holds the old file until the new one is on disk."""
        buffer = BytesIO()
        torch.save(checkpoint, buffer)
        try:
            with self._world.long_work():
                write_durably(Path(path), seal(buffer.getbuffer()))
        except InputError as error:
            if self._world.size == 1:
                raise
            self._failure = error

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read one of our checkpoints to the CPU, whatever Lightning asks for; pickled code never runs."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint that a better one replaced."""
        Path(path).unlink(missing_ok=True)


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Replace a file in one step, after the new content has reached the disk and was read back.

    Raises:
        InputError: writing failed (no space, no permission, a failing disk); the old file is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content, read_back=True)
    except OSError as error:
        there = [*path.parent.glob(LAST_FILES), *path.parent.glob(BEST_FILES)]
        before = f"{there[0].name} is untouched" if there else "there is no earlier one to resume from"
        raise InputError(
            f"cannot write the checkpoint {path} ({error.strerror or error}): free some space or fix "
            f"the permissions; {before}"
        ) from error


class BestAndLast(ModelCheckpoint):
    """The documented policy: after each validation, save the best models so far and the last state.

    A new best model is on disk before an old one is deleted. If writing fails (a full disk), this is
    reported at every attempt, and training continues: everything it needs is in memory.

    Args:
        checkpoint_dir: run folder.
        report: receives a message about each failed write.
        save_top_k: number of best models to keep.
        resume: the checkpoint that training resumed from; it is never deleted.
        comparable: whether its ``val_loss`` is measured as it is from now on; otherwise its best model is not
            compared with later ones.
        world: the processes of the training, of which the first writes.

    Attributes:
        trouble: why the newest state is not saved; empty if it is.
    """

    # Lightning reads the key at every hook of every step; its default formats all settings each time.
    state_key = "BestAndLast"

    def __init__(
        self,
        checkpoint_dir: Path,
        report: Reporter,
        *,
        save_top_k: int = 1,
        resume: Path | None = None,
        comparable: bool = True,
        world: World = ALONE,
    ) -> None:
        self._report, self._resume, self._comparable, self._world = report, resume, comparable, world
        self.trouble = ""
        super().__init__(
            dirpath=checkpoint_dir,
            filename=BEST_NAME,
            monitor="val_loss",
            mode="min",
            save_top_k=save_top_k,
            save_last=True,
            save_on_train_epoch_end=False,
            auto_insert_metric_name=False,
            enable_version_counter=False,  # files left by a killed training are overwritten
            save_weights_only=False,
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Also write the last state if it is not the best one; Lightning would keep an old one."""
        super().on_validation_end(trainer, pl_module)
        if not self._should_skip_saving_checkpoint(trainer):
            self.save_last_now(trainer)

    def save_last_now(self, trainer: Trainer) -> None:
        """Write ``last.ckpt`` between two steps."""
        self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        removed = self._world.from_first(
            lambda: [path for path in self.best_k_models if not Path(path).is_file()]
        )
        if removed:
            self._report.say(f"{', '.join(removed)} was removed: the best model from here on is kept")
            self._rank({path: loss for path, loss in self.best_k_models.items() if path not in removed})
        before = {name: value for name, value in vars(self).items() if name in self.state_dict()}
        before["best_k_models"] = dict(self.best_k_models)
        with self._told(trainer) as written:
            super()._save_topk_checkpoint(trainer, monitor_candidates)
        if not written:
            vars(self).update(before)  # the best file is still the old one

    def _get_metric_interpolated_filepath_name(
        self, monitor_candidates: dict[str, Tensor], trainer: Trainer, del_filepath: str | None = None
    ) -> str:
        """A name that no kept model has: two validations of one epoch may round to the same loss."""
        kept = {*self.best_k_models, self._resume and str(self._resume.resolve())}
        names = (self.format_checkpoint_name(monitor_candidates, ver=i or None) for i in count())
        return next(name for name in names if name not in kept)

    def _rank(self, models: dict[str, Tensor]) -> None:
        """Count the ``save_top_k`` best of these models, path to ``val_loss``, as the best so far."""
        kept = sorted(models, key=models.__getitem__)[: self.save_top_k]
        self.best_k_models = {path: loss for path, loss in models.items() if path in kept}
        self.best_model_path = kept[0] if kept else ""
        self.best_model_score = models[kept[0]] if kept else None
        self.kth_best_model_path = ""
        if len(kept) == self.save_top_k:  # of equal ones the earliest, as Lightning chooses
            self.kth_best_model_path = max(self.best_k_models, key=models.__getitem__)
            self.kth_value = models[self.kth_best_model_path]

    def _save_last_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        with self._told(trainer):
            super()._save_last_checkpoint(trainer, monitor_candidates)

    @contextmanager
    def _told(self, trainer: Trainer) -> Iterator[list[bool]]:
        """Report a failed write in the block; the yielded list is then empty."""
        written = [True]
        writer = trainer.strategy.checkpoint_io
        try:
            with nullcontext() if self._world.first else self._world.long_work():  # which waits for the first
                yield written
                if self._world.size > 1 and isinstance(writer, DurableCheckpoints):
                    self._world.together(writer.check)
            self.trouble = ""
        except InputError as error:
            written.clear()
            self.trouble = str(error)
            self._report.say(f"{error}; training continues")

    def _remove_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """Delete a checkpoint, unless training resumed from it."""
        if self._resume is None or Path(filepath).resolve() != self._resume.resolve():
            super()._remove_checkpoint(trainer, filepath)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore which models are the best so far. Those in another folder are copied into this one."""
        if not self._comparable:
            self._report.say("val_loss is measured differently from here on: no earlier model counts as best")
            return
        moved = self._world.from_first(
            lambda: {path: self._taken_over(path) for path in state_dict["best_k_models"]}
        )
        lost = [path for path, here in moved.items() if here is None]
        if lost:
            self._report.say(
                f"the best model so far, {', '.join(lost)}, is missing: the best from here on is kept"
            )
        last = Path(str(self.dirpath)) / Path(state_dict["last_model_path"]).name
        last_path = str(last) if last.is_file() else ""
        super().load_state_dict({**state_dict, "dirpath": str(self.dirpath), "last_model_path": last_path})
        found = {moved[path]: loss for path, loss in state_dict["best_k_models"].items()}
        self._rank({path: loss for path, loss in found.items() if path is not None})

    def _taken_over(self, path: str) -> str | None:
        """A best model of the resumed training as a file of this folder; None if it is missing."""
        here = Path(str(self.dirpath)) / Path(path).name
        near = [] if self._resume is None else [self._resume.parent / here.name]
        for found in (here, *near, Path(path)):
            if found.is_file():
                if found != here:
                    write_durably(here, found.read_bytes())
                return str(here)
        return None
