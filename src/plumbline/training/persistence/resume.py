"""Resuming from a checkpoint: finding it, and checking that it fits the flags and the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.console.text import command, counted, processes
from plumbline.errors import InputError
from plumbline.files import folder_names
from plumbline.own_parts import find, names_a_file
from plumbline.predictors.checkpoint import read_checkpoint
from plumbline.training.persistence.run_folder import config_of, find_checkpoints
from plumbline.training.records import TrainSettings

_SAME_NETWORK = (
    "model", "hidden_dim", "num_layers", "features", "model_args", "member", "optimizer", "schedule",
    "precision",
)  # fmt: skip
"""Flags that must be unchanged: otherwise the saved state does not fit."""

_SAME_START = ("init_from", "init_from_sha256")
"""Flags that say which weights a training began with, and must be unchanged, too."""

_SAME_TRAINING = (
    "dropout", "freeze", "batch_size", "batch_points", "accumulate", "val_split", "split_by", "seed", "loss",
    "warmup", "plateau_patience", "plateau_factor", "min_lr", "lr", "weight_decay",
    "gradient_clip", "ema", "val_every_n_epochs", "overfit_batches",
)  # fmt: skip
"""Flags that may change only with ``--allow_mismatch``; the resumed training is then another one."""

_EARLIER = {
    "plateau_patience": 10, "plateau_factor": 0.5, "min_lr": 1e-6, "max_steps": 0, "val_every_n_epochs": 1,
    "overfit_batches": 0, "init_from": None, "init_from_sha256": None, "freeze": "none",
    "batch_points": 0, "accumulate": 1,
}  # fmt: skip
"""Flags that earlier programs lacked, and the values that they trained with."""

_SAME_MEASURE = ("loss", "val_split", "split_by", "seed", "overfit_batches")
"""Flags that decide, with the data, what ``val_loss`` measures."""

EARLY_STOPPING = "EarlyStopping{'monitor': 'val_loss', 'mode': 'min'}"
"""Where a checkpoint holds the state of early stopping: the name of Lightning's callback."""


@dataclass(frozen=True)
class Resumed:
    """The checkpoint that training resumes from.

    Attributes:
        path: the file.
        content: its part ``"plumbline"``.
        waited: validations without a better ``val_loss``, as counted by early stopping; 0 if it was off.
        notes: one sentence for each newer checkpoint that is damaged and for each difference allowed.
    """

    path: Path
    content: dict[str, Any]
    waited: int
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
        within = f" and {batches} {'batch' if batches == 1 else 'batches'}" if batches else ""
        return [*self.notes, f"resuming {self.path} after {counted(epochs, 'epoch')}{within}"]

    def ended(self, settings: TrainSettings) -> str | None:
        """The sentence to report instead of training, if nothing is left to train; otherwise None."""
        epochs, waited = self.content["epochs_done"], self.waited * settings.val_every_n_epochs
        done = counted(epochs, "epoch")
        if epochs >= settings.max_epochs:
            way = "raise --max_epochs to resume"
            if settings.schedule == "cosine":
                way = "its schedule ends there; for more --max_epochs, train from scratch without --resume"
            return f"{self.path} has already finished {done}: {way}"
        if 0 < settings.max_steps <= self.step:
            return (
                f"{self.path} has already finished {counted(self.step, 'step')}: raise --max_steps to resume"
            )
        if 0 < settings.early_stopping <= waited and not self.content["batches_done"]:
            return (
                f"{self.path} has stopped early after {done}: val_loss had not improved for "
                f"{counted(waited, 'epoch')}; raise --early_stopping to resume"
            )
        return None


def find_resumable(
    resume: str, checkpoint_dir: Path, config: dict[str, Any], *, allow_mismatch: bool
) -> Resumed:
    """Find the newest undamaged checkpoint that ``--resume`` may refer to; ``config``: flags of this command.

    Raises:
        InputError: no usable checkpoint exists, or its flags differ; the message names the difference.
    """
    notes: list[str] = []
    trouble: InputError | None = None
    for path in find_checkpoints(resume, checkpoint_dir):
        try:
            content = read_checkpoint(path)
        except InputError as error:
            trouble = trouble or error
            notes.append(f"skipped: {error}")
            continue
        if "optimizer_states" not in content:
            raise InputError(
                f"{path} has no state of a training, only a model to predict with: resume from the last.ckpt "
                "of a run"
            )
        ours = content["plumbline"]
        waited = content.get("callbacks", {}).get(EARLY_STOPPING, {}).get("wait_count", 0)
        other_start = _differences(_SAME_START, ours["config"], config)
        if other_start and config["init_from"] is not None:
            raise InputError(
                f"--resume continues {path}, and --init_from {config['init_from']} starts a new training: "
                "leave one of them out"
            )
        agree = [*_SAME_TRAINING, *(("max_epochs", "max_steps") if config["schedule"] == "cosine" else ())]
        if config["batch_points"] and ours["config"].get("batch_points"):
            agree.remove("batch_size")  # which --batch_points replaces
        impossible = other_start + _differences(_SAME_NETWORK, ours["config"], config)
        allowed = _differences(agree, ours["config"], config)
        if _overfits_others(ours["config"], config):
            allowed.append("--overfit_batches with another number of --devices takes other graphs")
        allowed += [f"{file} has changed since" for file in _changed_files(ours, config)]
        if impossible or (allowed and not allow_mismatch):
            way = "" if impossible else ", or --allow_mismatch to resume with the flags given here"
            raise InputError(
                f"{path} cannot be continued with other settings ({'; '.join(impossible + allowed)}): give "
                f"the same flags, or {command('--config', config_of(path.parent))}{way}"
            )
        notes += [f"--allow_mismatch: {difference}" for difference in allowed]
        was, now = _processes(ours["config"]), _processes(config)
        if was != now:
            points = config["batch_points"]
            size, unit = (points, "points") if points else (config["batch_size"], "graphs")
            notes.append(
                f"by {processes(now)} instead of {was}: batches of {now * size} instead of "
                f"{was * size} {unit}"
            )
        return Resumed(path, ours, waited, notes)
    assert trouble is not None
    raise trouble


def _changed_files(ours: dict[str, Any], config: dict[str, Any]) -> list[Path]:
    """The user's files with network and loss that are not as they were when the checkpoint was written."""
    changed = []
    for part in ("model", "loss"):
        if names_a_file(config[part]) and config[part] == ours["config"][part]:
            source = find(config[part])
            if source.sha256 != ours.get(f"{part}_sha256"):
                changed.append(source.path)
    return list(dict.fromkeys(changed))


def _differences(names: Sequence[str], before: dict[str, Any], config: dict[str, Any]) -> list[str]:
    before = _EARLIER | before
    return [
        f"--{name} {config[name]} here, {before[name]} in the checkpoint"
        for name in names
        if config[name] != before[name]
    ]


def _processes(config: dict[str, Any]) -> int:
    """Number of processes of a training."""
    return int(config.get("devices", 1) * config.get("num_nodes", 1))


def _overfits_others(before: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether the same ``--overfit_batches`` are other graphs, because a batch is that of all processes."""
    return bool(config["overfit_batches"]) and _processes(before) != _processes(config)


def same_measure(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether two trainings, as their checkpoints describe them, give ``val_loss`` the same meaning."""
    return (
        before["data"]["fingerprint"] == now["data"]["fingerprint"]
        and before["data"].get("split") == now["data"].get("split")
        and before.get("loss_sha256") == now.get("loss_sha256")
        and not _differences(_SAME_MEASURE, before["config"], now["config"])
        and not _overfits_others(before["config"], now["config"])
    )


def check_same_data(
    path: Path, before: dict[str, Any], data: dict[str, Any], *, allow_mismatch: bool
) -> str | None:
    """Refuse to resume on other data (InputError), or return a note about it if that is allowed."""
    sizes = [f"{one['num_train']} + {one['num_val']} graphs" for one in (before, data)]
    if before["fingerprint"] != data["fingerprint"]:
        flag = "--data_dir"
        difference = (
            f"{path} was trained on {folder_names(before['data_dir'])} ({sizes[0]}), and "
            f"{folder_names(data['data_dir'])} ({sizes[1]}) holds other data"
        )
    elif before.get("split") != data.get("split"):
        flag = "--split_file"
        was, now = (f"{'a' if one.get('split') else 'no'} --split_file" for one in (before, data))
        difference = (
            f"{path} was trained on another split ({was}, {sizes[0]}) than that of this command ({now}, "
            f"{sizes[1]})"
        )
    else:
        return None
    if allow_mismatch:
        return f"--allow_mismatch: {difference}"
    raise InputError(
        f"{difference}: give the same {flag}, start from scratch without --resume, or resume with the other "
        "data with --allow_mismatch"
    )
