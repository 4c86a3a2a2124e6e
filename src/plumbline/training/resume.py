"""Going on from a checkpoint: whether it belongs to this training, whether anything is left."""

from pathlib import Path
from typing import Any

from plumbline.errors import InputError
from plumbline.training.checkpoint import read_checkpoint

_MUST_AGREE = (
    "model", "hidden_dim", "num_layers", "dropout", "features", "model_args", "batch_size", "val_split",
    "split_by", "seed", "member", "loss", "optimizer", "schedule", "warmup", "lr", "weight_decay",
    "gradient_clip", "ema", "precision",
)  # fmt: skip
"""Flags without which the continued training would be another one."""


def read_resumable(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What the checkpoint says about itself, once its flags are found to agree with these.

    Raises:
        InputError: unreadable, or written by a training with other flags; the difference is named.
    """
    ours = read_checkpoint(path)["plumbline"]
    before = ours["config"]
    must_agree = (*_MUST_AGREE, *(("max_epochs",) if config["schedule"] == "cosine" else ()))
    differences = [
        f"--{name} {config[name]} here and {before[name]} there"
        for name in must_agree
        if config[name] != before[name]
    ]
    if differences:
        raise InputError(
            f"{path} cannot be continued with other settings ({'; '.join(differences)}): "
            f"give the same flags, or --config {path.parent / 'config.yaml'}"
        )
    return ours


def check_same_data(path: Path, before: dict[str, Any], data: dict[str, Any]) -> None:
    """Refuses to continue on other data. Raises InputError."""
    if before["fingerprint"] != data["fingerprint"]:
        raise InputError(
            f"{path} was trained on {before['data_dir']} ({before['num_train']} + {before['num_val']} "
            f"graphs), and {data['data_dir']} ({data['num_train']} + {data['num_val']} graphs) holds other "
            "data: give the same --data_dir, or start anew without --resume"
        )
