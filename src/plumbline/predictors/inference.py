"""Batched predictions of a trained model for graphs of a store."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from plumbline.data.batches.batch import Batch
from plumbline.data.batches.collate import Store, make_batch
from plumbline.errors import InputError
from plumbline.models import entry_point
from plumbline.records import Float, Int


def predict(
    model: Any,
    store: Store,
    indices: Int,
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
) -> Float:
    """Predict the centres of mass of graphs, ``[G, 3]`` float64, stored frame, in the order of ``indices``.

    Dropout is off and no gradients are kept; the model's train/eval mode is restored.

    Args:
        model: an ``nn.Module`` that declares ``needs``, the parts of a batch that it reads.
        store: the data set.
        indices: ``[G]`` graphs.
        batch_size: graphs per batch; predictions depend on it only by rounding.
        device: where to compute; by default where the model's weights are.

    Raises:
        InputError: a batch does not fit into the GPU's memory.
    """

    def answer(batch: Batch) -> Float:
        com: Float = model(batch).cpu().double().numpy()
        return com

    answers = _in_batches(answer, model, store, indices, batch_size, device)
    return np.concatenate([np.empty((0, 3)), *answers])


def predict_with_error(
    model: Any,
    store: Store,
    indices: Int,
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
) -> tuple[Float, Float | None]:
    """Like :func:`predict`, and also return the errors ``[G]`` that the model expects, stored units.

    The second value is None for a model that expects no error.
    """

    def answer(batch: Batch) -> tuple[Float, Float | None]:
        found = entry_point(model)(batch)
        com, log_scale = found if isinstance(found, tuple) else (found, None)
        error = None if log_scale is None else log_scale.double().exp().cpu().numpy()
        return com.cpu().double().numpy(), error

    parts = _in_batches(answer, model, store, indices, batch_size, device)
    errors = [error for _, error in parts if error is not None]
    com = np.concatenate([np.empty((0, 3)), *(com for com, _ in parts)])
    return com, np.concatenate(errors) if errors else None


def _in_batches(
    answer: Callable[[Batch], Any],
    model: Any,
    store: Store,
    indices: Int,
    batch_size: int,
    device: torch.device | str | None,
) -> list[Any]:
    indices = np.asarray(indices, dtype=np.int64)
    if device is None:
        device = next((weights.device for weights in model.parameters()), torch.device("cpu"))
    training = model.training
    model.eval().to(device)
    answers = []
    try:
        with torch.inference_mode():
            for start in range(0, len(indices), batch_size):
                batch = make_batch(store, indices[start : start + batch_size], model.needs).to(device)
                answers.append(answer(batch))
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"the GPU's memory does not hold --batch_size {batch_size}: give a smaller one"
        ) from error
    finally:
        model.train(training)
    return answers
