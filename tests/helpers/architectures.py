"""Every network by name, built for a data set with weights of order one, as training builds it."""

import inspect
from typing import Any

import torch
from torch import nn

from plumbline.models import build_model, load_model_class


def model_of(name: str, given: dict[str, Any], **changes: Any) -> nn.Module:
    """A model whose every weight is of order one: tests must not pass because an answer is nearly zero.

    Args:
        name: in ``MODELS``.
        given: what the data set says of itself: input_dim, feature_names, vector_names.
        changes: more arguments of the constructor; all of them only where it takes them.

    Returns:
        The model in float64.
    """
    torch.manual_seed(3)
    known = inspect.signature(load_model_class(name)).parameters
    arguments = {"hidden_dim": 16, "num_layers": 3, "dropout": 0.0} | given | changes
    model = build_model(name, **{key: value for key, value in arguments.items() if key in known})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model.double()
