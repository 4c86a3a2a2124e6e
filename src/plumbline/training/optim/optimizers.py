"""Optimizers by name."""

import inspect
from collections.abc import Iterable

import torch
from torch import nn

from plumbline.training.lightning_import import Uncompiled
from plumbline.training.optim.muon import Muon


class Adam(Uncompiled, torch.optim.Adam):
    """torch's Adam, without importing torch's compiler."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class AdamW(Uncompiled, torch.optim.AdamW):
    """torch's AdamW, without importing torch's compiler."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


def make_optimizer(
    kind: str,
    model_weights: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    eps: float,
    fused: bool,
) -> torch.optim.Optimizer:
    """Make ``adam`` with an L2 penalty; ``adamw``, whose weight decay acts on matrices only; or ``muon``."""
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
