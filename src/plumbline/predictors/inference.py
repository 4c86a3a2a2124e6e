"""Answers of a trained model for graphs of a store."""

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
    """Centres of mass ``[G, 3]`` float64 of the graphs ``indices``, stored frame, in the order given.

    Dropout is off and no gradients are kept; the model is left in the mode it was found in.

    Args:
        model: an ``nn.Module`` that declares ``needs``, what it reads of a batch.
        store: the data set.
        indices: ``[G]`` graphs.
        batch_size: graphs at once; the answers depend on it by rounding only.
        device: where to compute; by default where the model's weights are.

    Raises:
        InputError: the GPU's memory does not hold a batch.
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
    """As :func:`predict`; and how far off the model expects to be ``[G]``, stored units, if it says so."""

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
