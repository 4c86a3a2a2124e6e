"""Losses by name.

Letters: G graphs.
"""

import torch
from torch import Tensor

_SCALE_WEIGHT = 0.1
"""Weight of the loss for a model's expected error. Its gradient reaches no other weights, see the models."""


def loss_of(kind: str, error: Tensor, bounding_radius: Tensor) -> Tensor:
    """The loss of ``[G, 3]`` errors: ``l1`` mean absolute error, ``displacement`` mean length in radii."""
    if kind == "l1":
        return error.abs().mean()
    return (_length(error) / bounding_radius).mean()


def scale_loss(error: Tensor, log_scale: Tensor) -> Tensor:
    """Negative log likelihood of the displacements if they fell off exponentially at the expected scale.

    Args:
        error: ``[G, 3]``; no gradient flows into it.
        log_scale: ``[G]`` logarithm of the expected displacement.
    """
    displacement = _length(error.detach())
    return _SCALE_WEIGHT * (displacement * torch.exp(-log_scale) + log_scale).mean()


def _length(error: Tensor) -> Tensor:
    """``[G]`` lengths; the gradient of an error of zero is zero."""
    return (error.square().sum(1) + torch.finfo(error.dtype).tiny).sqrt()
