"""Batched predictions of a trained model for graphs of a store."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plumbline.console.text import size_of_batch
from plumbline.data.batches.by_points import fill
from plumbline.data.batches.collate import Store, make_batch
from plumbline.errors import InputError
from plumbline.memory import gib, out_of_memory, usable_memory
from plumbline.models import forward_with_error
from plumbline.models.answer import Answer, as_answer
from plumbline.predictors.answers import Answers
from plumbline.records import Float, Int


def predict(
    model: Any,
    store: Store,
    indices: Int,
    *,
    batch_size: int = 64,
    batch_points: int = 0,
    device: torch.device | str | None = None,
) -> Float:
    """Predict centres of mass ``[G, 3]`` as :func:`answers_for` does, and nothing else."""
    found = answers_for(
        model, store, indices, batch_size=batch_size, batch_points=batch_points, device=device
    )
    return found.com


def batches_of(store: Store, indices: Int, *, batch_size: int, batch_points: int) -> list[Int]:
    """Divide graphs ``[G]`` into consecutive batches, by number of points if ``batch_points`` is not 0."""
    if batch_points:
        bounds = fill(np.diff(store.node_ptr)[indices], batch_points)
    else:
        bounds = [*range(0, len(indices), batch_size), len(indices)]
    return [indices[first:end] for first, end in pairwise(bounds)]


def answers_for(
    model: Any,
    store: Store,
    indices: Int,
    *,
    batch_size: int = 64,
    batch_points: int = 0,
    device: torch.device | str | None = None,
) -> Answers:
    """Predict the centres of mass of graphs, and everything else that the model predicts.

    Dropout is off and no gradients are kept; the model's train/eval mode is restored.

    Args:
        model: an ``nn.Module`` that declares ``needs``, the parts of a batch that it reads.
        store: the data set.
        indices: ``[G]`` graphs.
        batch_size: graphs per batch; predictions depend on it only by rounding.
        batch_points: points per batch, which replaces ``batch_size``; 0: off.
        device: where to compute; by default where the model's weights are.

    Returns:
        The predictions in the stored frame, in the order of ``indices``.

    Raises:
        InputError: a batch does not fit into the memory, of the machine or of the GPU.
    """
    indices = np.asarray(indices, dtype=np.int64)
    if device is None:
        device = next((weights.device for weights in model.parameters()), torch.device("cpu"))
    else:
        model.to(device)
    training = model.training
    if training:  # changing the mode of every module takes a quarter of the time of a single scan
        model.eval()
    found: list[Answer] = []
    try:
        with torch.inference_mode():
            for graphs in batches_of(store, indices, batch_size=batch_size, batch_points=batch_points):
                batch = make_batch(store, graphs, model.needs).to(device)
                found.append(as_answer(forward_with_error(model)(batch)))
    except Exception as error:
        if not out_of_memory(error):
            raise
        on_gpu = isinstance(error, torch.OutOfMemoryError)
        raise InputError(_too_large(store, graphs, batch_size, batch_points, on_gpu=on_gpu)) from error
    finally:
        if training:
            model.train()
    return joined(found) if found else Answers(np.empty((0, 3)))


def _too_large(store: Store, graphs: Int, batch_size: int, batch_points: int, *, on_gpu: bool) -> str:
    """Say which batch did not fit, and what helps."""
    limit = usable_memory()
    whose = "the GPU's memory" if on_gpu else f"{limit.whose} ({gib(limit.total)}, {gib(limit.free)} free)"
    points, edges = (int(np.diff(ptr)[graphs].sum()) for ptr in (store.node_ptr, store.edge_ptr))
    flag, given, half = "--batch_size", batch_size, len(graphs) // 2
    if batch_points:
        flag, given, half = "--batch_points", batch_points, points // 2
    advice = f"try {flag} {half}" if len(graphs) > 1 else "make smaller graphs"
    return f"{whose} does not hold {flag} {given} ({size_of_batch(len(graphs), points, edges)}): {advice}"


def joined(found: Sequence[Answer]) -> Answers:
    """What a network predicts of at least one batch, as arrays for all batches."""
    com, log_scale, covariance, log_volume, inertia, features = map(_joined, zip(*found, strict=True))
    assert com is not None
    return Answers(
        com=com,
        expected_error=None if log_scale is None else np.exp(log_scale),
        covariance=covariance,
        volume=None if log_volume is None else np.exp(log_volume),
        inertia=inertia,
        features=features,
    )


def _joined(parts: tuple[Tensor | None, ...]) -> Float | None:
    """One kind of prediction for all batches, float64."""
    known = [part for part in parts if part is not None]
    return torch.cat(known).cpu().double().numpy() if known else None
