"""Losses, optimizers and learning-rate schedules by name.

Letters: G graphs.
"""

import inspect
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plumbline.training.lightning_import import Uncompiled
from plumbline.training.optim.muon import Muon

PLATEAU: dict[str, Any] = {"factor": 0.5, "patience": 10, "min_lr": 1e-6}
"""When ``val_loss`` has not improved for so many epochs, the learning rate is multiplied by the factor."""
SHARES = (0.5, 0.9)
"""For which the validation says how far the errors reach."""
_FLOOR = 0.01
"""Share of the learning rate at which warm-up begins and the cosine ends."""
_SCALE_WEIGHT = 0.1
"""Weight of the loss that teaches a model its expected error. It reaches no other weights, see the models."""


class Adam(Uncompiled, torch.optim.Adam):
    """torch's own, without its compiler."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class AdamW(Uncompiled, torch.optim.AdamW):
    """torch's own, without its compiler."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


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


def conformal_factors(ratios: Sequence[float]) -> dict[str, float]:
    """What to multiply an expected error with, so that a share of all errors lies below it.

    Split conformal prediction: for n held-back graphs it is the ``ceil((n + 1) share)``-th smallest ratio of
    error to expected error. It holds for new objects as far as those of the validation are like them.

    Args:
        ratios: of the held-back graphs.

    Returns:
        Share (``"0.5"``, ``"0.9"``) to factor; a share that n is too small for is left out.

    Source: Lei et al., Distribution-Free Predictive Inference for Regression (2018), locally weighted.
    """
    ordered = sorted(ratios)
    ranks = {share: math.ceil((len(ordered) + 1) * share) for share in SHARES}
    return {str(share): ordered[rank - 1] for share, rank in ranks.items() if rank <= len(ordered)}


def _length(error: Tensor) -> Tensor:
    """``[G]`` lengths; the gradient of an error of zero is zero."""
    return (error.square().sum(1) + torch.finfo(error.dtype).tiny).sqrt()


def make_optimizer(
    kind: str,
    model_weights: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    eps: float,
    fused: bool,
) -> torch.optim.Optimizer:
    """``adam`` with an L2 penalty; ``adamw``, whose weight decay acts on matrices only; or ``muon``."""
    weights = list(model_weights)
    if kind == "adam":
        return Adam(weights, lr=lr, weight_decay=weight_decay, eps=eps, fused=fused)
    if kind == "muon":
        return Muon(weights, lr=lr, weight_decay=weight_decay, eps=eps)
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=lr, betas=(0.9, 0.99), eps=eps, fused=fused)


def cosine(step: int, total: int, warmup: float) -> float:
    """Factor of the learning rate at a step: linear warm-up, then half a cosine down to a hundredth.

    A pure function of the step, so resuming needs no state. Source: Loshchilov & Hutter, SGDR (2017).
    """
    done = min(step / max(total, 1), 1.0)
    if done < warmup:
        return _FLOOR + (1 - _FLOOR) * done / warmup
    along = (done - warmup) / max(1 - warmup, 1e-9)
    return _FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * along)) / 2
