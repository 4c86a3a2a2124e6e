"""Batched predictions of a trained model for graphs of a store."""

from typing import Any

import numpy as np
import torch

from plumbline.data.batches.collate import Store, make_batch
from plumbline.errors import InputError
from plumbline.models import forward_with_error
from plumbline.records import Float, Int


def predict(
    model: Any,
    store: Store,
    indices: Int,
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
) -> Float:
    """Predict centres of mass ``[G, 3]`` as :func:`predict_with_error` does, without the expected errors."""
    return predict_with_error(model, store, indices, batch_size=batch_size, device=device)[0]


def predict_with_error(
    model: Any,
    store: Store,
    indices: Int,
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
) -> tuple[Float, Float | None]:
    """Predict the centres of mass of graphs, and the errors that the model expects.

    Dropout is off and no gradients are kept; the model's train/eval mode is restored.

    Args:
        model: an ``nn.Module`` that declares ``needs``, the parts of a batch that it reads.
        store: the data set.
        indices: ``[G]`` graphs.
        batch_size: graphs per batch; predictions depend on it only by rounding.
        device: where to compute; by default where the model's weights are.

    Returns:
        ``[G, 3]`` float64, stored frame, in the order of ``indices``; and ``[G]`` expected errors, stored
        units, or None for a model that expects no error.

    Raises:
        InputError: a batch does not fit into the GPU's memory.
    """
    indices = np.asarray(indices, dtype=np.int64)
    if device is None:
        device = next((weights.device for weights in model.parameters()), torch.device("cpu"))
    training = model.training
    model.eval().to(device)
    coms, errors = [np.empty((0, 3))], []
    try:
        with torch.inference_mode():
            for start in range(0, len(indices), batch_size):
                batch = make_batch(store, indices[start : start + batch_size], model.needs).to(device)
                found = forward_with_error(model)(batch)
                com, log_scale = found if isinstance(found, tuple) else (found, None)
                coms.append(com.cpu().double().numpy())
                if log_scale is not None:
                    errors.append(log_scale.double().exp().cpu().numpy())
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"the GPU's memory does not hold --batch_size {batch_size}: give a smaller one"
        ) from error
    finally:
        model.train(training)
    return np.concatenate(coms), np.concatenate(errors) if errors else None
