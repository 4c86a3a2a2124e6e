"""Joining the members of ``--ensemble`` into one checkpoint."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from plumbline.models import ENSEMBLE
from plumbline.predictors.checkpoint import FORMAT, read_checkpoint, seal
from plumbline.predictors.find_checkpoint import ENSEMBLE_FILE
from plumbline.training.persistence.saving import write_durably


def write_ensemble(checkpoint_dir: Path, members: Sequence[Path]) -> Path:
    """Join checkpoints of trainings on the same data into ``ensemble.ckpt``, which cannot be resumed.

    Raises:
        InputError: a checkpoint cannot be read, or the file cannot be written.
    """
    contents = [read_checkpoint(path) for path in members]
    parts = [content["plumbline"] for content in contents]
    weights = {
        f"model.members.{i}.{name.removeprefix('model.')}": value
        for i, content in enumerate(contents)
        for name, value in content["state_dict"].items()
        if name.startswith("model.")
    }
    first = parts[0]
    ours: dict[str, Any] = {
        **{key: first[key] for key in ("config", "data", "versions")},
        "format": FORMAT,
        "model": ENSEMBLE,
        "model_args": {"members": [_member(part) for part in parts]},
        "needs": sorted({need for part in parts for need in part["needs"]}),
        "epochs_done": min(part["epochs_done"] for part in parts),
        "batches_done": 0,
        "global_step": sum(part["global_step"] for part in parts),
        "metrics": {},
        "error_factors": {},
    }
    buffer = BytesIO()
    torch.save({"state_dict": weights, "plumbline": ours}, buffer)
    write_durably(checkpoint_dir / ENSEMBLE_FILE, seal(buffer.getbuffer()))
    return checkpoint_dir / ENSEMBLE_FILE


def _member(part: dict[str, Any]) -> dict[str, Any]:
    return {key: part[key] for key in ("model", "model_args", "model_sha256") if key in part}
