"""Resuming from a checkpoint: finding it, and checking that it fits the flags and the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.console.text import command, counted
from plumbline.errors import InputError
from plumbline.models import source_of
from plumbline.predictors.checkpoint import read_checkpoint
from plumbline.training.persistence.run_folder import find_checkpoints

_SAME_NETWORK = (
    "model", "hidden_dim", "num_layers", "features", "model_args", "member", "optimizer", "schedule",
    "precision",
)  # fmt: skip
"""Flags that must be unchanged: otherwise the saved state does not fit."""

_SAME_TRAINING = (
    "dropout", "batch_size", "val_split", "split_by", "seed", "loss", "warmup", "lr", "weight_decay",
    "gradient_clip", "ema",
)  # fmt: skip
"""Flags that may change only with ``--allow_mismatch``; the resumed training is then another one."""


@dataclass(frozen=True)
class Resumed:
    """The checkpoint that training resumes from, its content, and notes: one sentence for each newer
    checkpoint that is damaged, and for each difference that was allowed."""

    path: Path
    content: dict[str, Any]
    notes: list[str]

    @property
    def step(self) -> int:
        """Number of optimizer steps taken so far."""
        return self.content["global_step"]

    @property
    def tracking(self) -> dict[str, str]:
        """What the trackers of the training have to know again, such as the id of its W&B run."""
        return dict(self.content.get("tracking", {}))

    @property
    def sentences(self) -> list[str]:
        """The notes, and the point from which training resumes."""
        epochs, batches = self.content["epochs_done"], self.content["batches_done"]
        within = f" and {batches} batches" if batches else ""
        return [*self.notes, f"resuming {self.path} after {epochs} epochs{within}"]

    def ended(self, max_epochs: int, schedule: str) -> str | None:
        """The sentence to report instead of training, if every epoch is finished; otherwise None."""
        done = self.content["epochs_done"]
        if done < max_epochs:
            return None
        way = "raise --max_epochs to resume"
        if schedule == "cosine":
            way = "its schedule ends there; for more --max_epochs, train from scratch without --resume"
        return f"{self.path} has already finished {counted(done, 'epoch')}: {way}"


def find_resumable(resume: str, folder: Path, config: dict[str, Any], *, allow_mismatch: bool) -> Resumed:
    """Find the newest undamaged checkpoint that ``--resume`` may refer to.

    Args:
        resume: value of the flag: a path, or ``"last"``.
        folder: ``--checkpoint_dir``.
        config: flags of this command.
        allow_mismatch: resume even if the checkpoint was written with other flags.

    Raises:
        InputError: no usable checkpoint exists, or its flags differ; the message names the difference.
    """
    notes: list[str] = []
    trouble: InputError | None = None
    for path in find_checkpoints(resume, folder):
        try:
            ours = read_checkpoint(path)["plumbline"]
        except InputError as error:
            trouble = trouble or error
            notes.append(f"skipped: {error}")
            continue
        agree = _SAME_TRAINING + (("max_epochs",) if config["schedule"] == "cosine" else ())
        impossible = _differences(_SAME_NETWORK, ours["config"], config)
        allowed = _differences(agree, ours["config"], config)
        source = source_of(config["model"])
        if source is not None and source.sha256 != ours.get("model_sha256"):
            allowed.append(f"{source.path} has changed since")
        if impossible or (allowed and not allow_mismatch):
            way = "" if impossible else ", or --allow_mismatch to resume with the flags given here"
            raise InputError(
                f"{path} cannot be continued with other settings ({'; '.join(impossible + allowed)}): give "
                f"the same flags, or {command('--config', path.parent / 'config.yaml')}{way}"
            )
        return Resumed(path, ours, notes + [f"--allow_mismatch: {difference}" for difference in allowed])
    assert trouble is not None
    raise trouble


def _differences(names: Sequence[str], before: dict[str, Any], config: dict[str, Any]) -> list[str]:
    return [
        f"--{name} {config[name]} here, {before[name]} in the checkpoint"
        for name in names
        if config[name] != before[name]
    ]


def check_same_data(
    path: Path, before: dict[str, Any], data: dict[str, Any], *, allow_mismatch: bool
) -> str | None:
    """Refuse to resume on other data (InputError), or return a note about it if that is allowed."""
    if before["fingerprint"] == data["fingerprint"]:
        return None
    difference = (
        f"{path} was trained on {before['data_dir']} ({before['num_train']} + {before['num_val']} "
        f"graphs), and {data['data_dir']} ({data['num_train']} + {data['num_val']} graphs) holds other data"
    )
    if allow_mismatch:
        return f"--allow_mismatch: {difference}"
    raise InputError(
        f"{difference}: give the same --data_dir, start from scratch without --resume, or resume with the "
        "other data with --allow_mismatch"
    )
