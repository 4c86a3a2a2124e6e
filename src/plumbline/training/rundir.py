"""The run folder: checkpoints and records of one training, and what happens to those of an earlier one."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from plumbline.errors import InputError
from plumbline.records import Rejected

CONFIG, STARTUP, METRICS = "config.yaml", "startup.json", "metrics.csv"
CURVES, RESULT, REJECTED, TENSORBOARD = "curves.png", "result.json", "rejected.txt", "tensorboard"

_MARKS = ("last*.ckpt", "best-model-*.ckpt", METRICS)
"""What shows that a training ran here."""

_RECORDS = (
    *_MARKS, CONFIG, STARTUP, CURVES, RESULT, REJECTED, TENSORBOARD,
    "wandb", "report.html", "evaluation.json",
)  # fmt: skip


def make_run_folder(folder: Path) -> None:
    """Creates the folder and proves that files can be written there. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"--checkpoint_dir {folder}: cannot write there ({error.strerror}); "
            "check its permissions or choose another folder"
        ) from error


def set_aside(folder: Path) -> Path | None:
    """Moves the files of an earlier training into the next free ``run-001``, ``run-002``, ...

    Returns:
        The folder they went to, or None if no training ran here.
    """
    if not any(any(folder.glob(pattern)) for pattern in _MARKS):
        return None
    number = 1
    while True:
        aside = folder / f"run-{number:03d}"
        try:
            aside.mkdir()
            break
        except FileExistsError:
            number += 1
    for pattern in _RECORDS:
        for path in sorted(folder.glob(pattern)):
            os.replace(path, aside / path.name)
    return aside


def plain_config(config: Any) -> dict[str, Any]:
    """A config dataclass as plain values for YAML and checkpoints, without ``resume``: how a training was
    begun or continued is no part of what it is."""
    values = {item.name: getattr(config, item.name) for item in fields(config) if item.name != "resume"}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def write_rejected(folder: Path, rejected: Sequence[Rejected]) -> None:
    """Lists the refused inputs of the data set, one per line; no file if there are none."""
    if rejected:
        text = "".join(f"{item.source}: {item.reason}\n" for item in rejected)
        (folder / REJECTED).write_text(text, encoding="utf-8")


def write_config(folder: Path, values: dict[str, Any]) -> None:
    """Writes the flags as YAML that ``--config`` reads back: the same training once more."""
    (folder / CONFIG).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
