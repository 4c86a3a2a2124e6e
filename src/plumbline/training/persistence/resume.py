"""Resuming from a checkpoint: whether it belongs to this training, whether anything is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.console.text import command
from plumbline.errors import InputError
from plumbline.models import source_of
from plumbline.predictors.checkpoint import read_checkpoint
from plumbline.training.persistence.run_folder import find_checkpoints

_SAME_NETWORK = (
    "model", "hidden_dim", "num_layers", "features", "model_args", "member", "optimizer", "schedule",
    "precision",
)  # fmt: skip
"""Flags without which the saved state fits nothing."""

_SAME_TRAINING = (
    "dropout", "batch_size", "val_split", "split_by", "seed", "loss", "warmup", "lr", "weight_decay",
    "gradient_clip", "ema",
)  # fmt: skip
"""Flags without which the continued training would be another one: ``--allow_mismatch`` says that it may."""


@dataclass(frozen=True)
class Resumed:
    """The checkpoint that training resumes from, what it says about itself, and what had to be passed over:
    a sentence for each newer checkpoint that is damaged, and for each difference that was allowed."""

    path: Path
    content: dict[str, Any]
    notes: list[str]

    @property
    def step(self) -> int:
        """Optimizer steps behind it."""
        return self.content["global_step"]

    @property
    def sentences(self) -> list[str]:
        """The notes, and from where the training resumes."""
        epochs, batches = self.content["epochs_done"], self.content["batches_done"]
        within = f" and {batches} batches" if batches else ""
        return [*self.notes, f"resuming {self.path} after {epochs} epochs{within}"]

    def ended(self, max_epochs: int, schedule: str) -> str | None:
        """What to say instead of training, if every epoch is behind it."""
        done = self.content["epochs_done"]
        if done < max_epochs:
            return None
        way = "raise --max_epochs to go on"
        if schedule == "cosine":
            way = "its schedule ends there; train anew, without --resume, for more --max_epochs"
        return f"{self.path} has its {done} epochs behind it: {way}"


def find_resumable(resume: str, folder: Path, config: dict[str, Any], *, allow_mismatch: bool) -> Resumed:
    """The newest checkpoint that ``--resume`` can mean and that is whole.

    Args:
        resume: as the flag: a path, or ``"last"``.
        folder: ``--checkpoint_dir``.
        config: the flags of this command.
        allow_mismatch: go on although the checkpoint was written with other flags.

    Raises:
        InputError: none is there or whole, or it was written with other flags; the difference is named.
    """
    notes: list[str] = []
    trouble: InputError | None = None
    for path in find_checkpoints(resume, folder):
        try:
            ours = read_checkpoint(path)["plumbline"]
        except InputError as error:
            trouble = trouble or error
            notes.append(f"passed over: {error}")
            continue
        agree = _SAME_TRAINING + (("max_epochs",) if config["schedule"] == "cosine" else ())
        impossible = _differences(_SAME_NETWORK, ours["config"], config)
        allowed = _differences(agree, ours["config"], config)
        source = source_of(config["model"])
        if source is not None and source.sha256 != ours.get("model_sha256"):
            allowed.append(f"{source.path} has changed since")
        if impossible or (allowed and not allow_mismatch):
            way = "" if impossible else ", or --allow_mismatch to go on with those of here"
            raise InputError(
                f"{path} cannot be continued with other settings ({'; '.join(impossible + allowed)}): give "
                f"the same flags, or {command('--config', path.parent / 'config.yaml')}{way}"
            )
        return Resumed(path, ours, notes + [f"--allow_mismatch: {difference}" for difference in allowed])
    assert trouble is not None
    raise trouble


def _differences(names: Sequence[str], before: dict[str, Any], config: dict[str, Any]) -> list[str]:
    return [
        f"--{name} {config[name]} here and {before[name]} there"
        for name in names
        if config[name] != before[name]
    ]


def check_same_data(
    path: Path, before: dict[str, Any], data: dict[str, Any], *, allow_mismatch: bool
) -> str | None:
    """Refuses to continue on other data, or says that it is done if that is allowed. Raises InputError."""
    if before["fingerprint"] == data["fingerprint"]:
        return None
    difference = (
        f"{path} was trained on {before['data_dir']} ({before['num_train']} + {before['num_val']} "
        f"graphs), and {data['data_dir']} ({data['num_train']} + {data['num_val']} graphs) holds other data"
    )
    if allow_mismatch:
        return f"--allow_mismatch: {difference}"
    raise InputError(
        f"{difference}: give the same --data_dir, start anew without --resume, or go on with the other data "
        "by --allow_mismatch"
    )
