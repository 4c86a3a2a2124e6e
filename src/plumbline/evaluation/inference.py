"""Answers of a trained model for graphs of a store."""

from typing import Any

import numpy as np
import torch

from plumbline.data.assembly import make_batch
from plumbline.data.packed import PackedStore
from plumbline.records import Float, Int


def predict(
    model: Any,
    store: PackedStore,
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
    """
    indices = np.asarray(indices, dtype=np.int64)
    if device is None:
        device = next((weights.device for weights in model.parameters()), torch.device("cpu"))
    training = model.training
    model.eval().to(device)
    answers = [np.empty((0, 3))]
    try:
        with torch.inference_mode():
            for start in range(0, len(indices), batch_size):
                batch = make_batch(store, indices[start : start + batch_size], model.needs).to(device)
                answers.append(model(batch).cpu().double().numpy())
    finally:
        model.train(training)
    return np.concatenate(answers)
