"""Joining the members of ``--ensemble`` into one checkpoint."""

from collections.abc import Sequence
from functools import reduce
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plumbline.data.batches.collate import make_batch
from plumbline.data.split import mark_objects, object_sizes
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.files import each_folder, folder_names
from plumbline.models import ENSEMBLE, build_model
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import calibrate
from plumbline.predictors.checkpoint import FORMAT, read_checkpoint, seal
from plumbline.predictors.find_checkpoint import ENSEMBLE_FILE
from plumbline.predictors.inference import answers_for, batches_of
from plumbline.predictors.trained_on import TrainedOn
from plumbline.records import Float, Int
from plumbline.training.persistence.saving import write_durably


def write_ensemble(
    checkpoint_dir: Path,
    members: Sequence[Path],
    store: PackedStore,
    val_idx: Int,
    *,
    batch_size: int,
    batch_points: int = 0,
) -> Path:
    """Join checkpoints of trainings on the same data into ``ensemble.ckpt``, which cannot be resumed.

    Args:
        checkpoint_dir: folder of the ensemble.
        members: their checkpoints.
        store: their data set.
        val_idx: ``[G]`` the graphs that all of them were validated on, for the calibration.
        batch_size: graphs per batch.
        batch_points: points per batch, which replaces ``batch_size``; 0: off.

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
    model = _built(joined, weights)
    batches: dict[str, Any] = {"batch_size": batch_size, "batch_points": batch_points}
    sizes = _sizes(store, val_idx, **batches)
    own_errors = [
        _own_error(answers_for(net, store, val_idx, **batches), store.target[val_idx], sizes)
        for net in model.members
    ]
    model.own_errors = own_errors
    found = answers_for(model, store, val_idx, **batches)
    error = found.com - store.target[val_idx]
    relative = np.linalg.norm(error, axis=1) / store.bounding_radius[val_idx]
    ours: dict[str, Any] = {
        **{key: first[key] for key in ("config", "versions")},
        "data": _joined_data([part["data"] for part in parts], store, val_idx),
        "format": FORMAT,
        "model": ENSEMBLE,
        # Only where it is needed: older versions then refuse the file instead of stating too small a radius.
        "model_args": {"members": joined} | ({"own_errors": own_errors} if any(own_errors) else {}),
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


def validated_by_all(members: Sequence[Path], store: PackedStore, data_dir: Path | tuple[Path, ...]) -> Int:
    """Find the graphs ``[G]`` of a data set that every member was validated on.

    Raises:
        InputError: there is none, or a member was trained on other data.
    """
    from plumbline.evaluation.evaluate import choose_graphs  # imported late: scipy's geometry

    data = [TrainedOn.from_dict(read_checkpoint(path)["plumbline"]["data"]) for path in members]
    sides = [choose_graphs(store, one, "val", data_dir).indices for one in data]
    common: Int = reduce(np.intersect1d, sides)
    if not len(common):
        raise InputError(
            f"no graph of {folder_names(data_dir)} was kept for validation by all members, so their ensemble "
            "cannot be calibrated: train all of them with one --seed, --val_split and --split_file"
        )
    return common


def _joined_data(data: Sequence[dict[str, Any]], store: PackedStore, val_idx: Int) -> dict[str, Any]:
    """Describe the training data of all members; where their splits differ, with sides for all of them."""
    given = [one.get("split") or [one[key] for key in ("val_split", "split_by", "seed")] for one in data]
    if all(split == given[0] for split in given):
        return data[0]
    from plumbline.evaluation.evaluate import choose_graphs  # imported late: scipy's geometry

    members = map(TrainedOn.from_dict, data)
    seen = [choose_graphs(store, one, "train", tuple(each_folder(one.data_dir))).indices for one in members]
    train = np.setdiff1d(reduce(np.union1d, seen), val_idx)
    sides = {"train": object_sizes(store, train), "val": object_sizes(store, val_idx)}
    return data[0] | {
        "num_train": len(train),
        "num_val": len(val_idx),
        "objects": mark_objects(sides["train"]),
        "split": {side: sorted(objects) for side, objects in sides.items()},
    }


def _built(members: Sequence[dict[str, Any]], weights: dict[str, Tensor]) -> Any:
    """The ensemble with its weights."""
    model = build_model(ENSEMBLE, members=members)
    if any(weight.dtype == torch.float64 for weight in weights.values()):
        model = model.double()
    model.load_state_dict({name.removeprefix("model."): weight for name, weight in weights.items()})
    return model


def _sizes(store: PackedStore, indices: Int, *, batch_size: int, batch_points: int) -> Float:
    """The size ``[G]`` of graphs, see :class:`plumbline.data.batches.batch.Batch`."""
    parts = batches_of(store, indices, batch_size=batch_size, batch_points=batch_points)
    return np.concatenate([make_batch(store, part, frozenset()).size.double().numpy() for part in parts])


def _own_error(found: Answers, target: Float, sizes: Float) -> float | None:
    """The mean error of predictions of ``target`` ``[G, 3]``, in units of ``sizes`` ``[G]``.

    None for a network that predicts its error, which is trained to be such a mean.
    """
    if found.expected_error is not None:
        return None
    mean = np.mean(np.linalg.norm(found.com - target, axis=1) / sizes)
    return float(mean) or None  # no error at all would be no covariance


def _member(part: dict[str, Any]) -> dict[str, Any]:
    return {key: part[key] for key in ("model", "model_args", "model_sha256") if key in part}
