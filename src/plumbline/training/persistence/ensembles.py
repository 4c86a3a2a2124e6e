"""Joining the members of ``--ensemble`` into one checkpoint."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plumbline.data.store.reader import PackedStore
from plumbline.models import ENSEMBLE, build_model
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import calibrate
from plumbline.predictors.checkpoint import FORMAT, read_checkpoint, seal
from plumbline.predictors.find_checkpoint import ENSEMBLE_FILE
from plumbline.predictors.inference import answers_for
from plumbline.records import Int
from plumbline.training.persistence.saving import write_durably


def write_ensemble(
    checkpoint_dir: Path, members: Sequence[Path], store: PackedStore, val_idx: Int, *, batch_size: int
) -> Path:
    """Join checkpoints of trainings on the same data into ``ensemble.ckpt``, which cannot be resumed.

    Args:
        checkpoint_dir: folder of the ensemble.
        members: their checkpoints.
        store: their data set.
        val_idx: ``[G]`` the graphs that all of them were validated on, for the calibration.
        batch_size: graphs per batch.

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
    first, joined = parts[0], [_member(part) for part in parts]
    found = _answers(joined, weights, store, val_idx, batch_size)
    error = found.com - store.target[val_idx]
    relative = np.linalg.norm(error, axis=1) / store.bounding_radius[val_idx]
    ours: dict[str, Any] = {
        **{key: first[key] for key in ("config", "data", "versions")},
        "format": FORMAT,
        "model": ENSEMBLE,
        "model_args": {"members": joined},
        "needs": sorted({need for part in parts for need in part["needs"]}),
        "epochs_done": min(part["epochs_done"] for part in parts),
        "batches_done": 0,
        "global_step": sum(part["global_step"] for part in parts),
        "metrics": {"val_error_rel": float(np.nanmean(relative))} if np.isfinite(relative).any() else {},
        "calibration": calibrate(error, found).to_dict(),
    }
    buffer = BytesIO()
    torch.save({"state_dict": weights, "plumbline": ours}, buffer)
    write_durably(checkpoint_dir / ENSEMBLE_FILE, seal(buffer.getbuffer()))
    return checkpoint_dir / ENSEMBLE_FILE


def _answers(
    members: Sequence[dict[str, Any]],
    weights: dict[str, Tensor],
    store: PackedStore,
    val_idx: Int,
    batch_size: int,
) -> Answers:
    """What the ensemble predicts for the graphs that its members were validated on."""
    model = build_model(ENSEMBLE, members=members)
    if any(weight.dtype == torch.float64 for weight in weights.values()):
        model = model.double()
    model.load_state_dict({name.removeprefix("model."): weight for name, weight in weights.items()})
    return answers_for(model, store, val_idx, batch_size=batch_size)


def _member(part: dict[str, Any]) -> dict[str, Any]:
    return {key: part[key] for key in ("model", "model_args", "model_sha256") if key in part}
