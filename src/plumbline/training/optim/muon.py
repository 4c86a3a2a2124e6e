"""Muon: orthogonalised updates for weight matrices; all other weights use AdamW.

PyTorch's own Muon iterates in bfloat16, which CPUs without matrix units emulate (measured: seven times
slower than float32 here), and takes no weights other than matrices, while a training has one optimizer.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from plumbline.training.lightning_import import Uncompiled

_SMALLEST = 16
"""Matrices with fewer rows or columns use AdamW: there is little to orthogonalise."""
_MOMENTUM = 0.95
_BETAS = (0.9, 0.99)
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_RMS = 0.2
"""Root mean square of AdamW's usual steps: with it, one learning rate serves both kinds of weights."""


class Muon(Uncompiled, torch.optim.Optimizer):
    """Muon for matrices, AdamW for the rest, both with decoupled weight decay on matrices only.

    Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks (2024); the scale of steps
    after Liu et al., Muon is Scalable for LLM Training (2025).
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], *, lr: float, weight_decay: float = 0.0, eps: float = 1e-8
    ) -> None:
        weights = list(weights)
        matrices = [weight for weight in weights if weight.ndim == 2 and min(weight.shape) >= _SMALLEST]
        turned = set(map(id, matrices))
        others = [weight for weight in weights if id(weight) not in turned]
        decay = {True: weight_decay, False: 0.0}
        groups: list[dict[str, Any]] = [{"params": matrices, "turned": True, "weight_decay": weight_decay}]
        groups += [
            {
                "params": [w for w in others if (w.ndim > 1) == big],
                "turned": False,
                "weight_decay": decay[big],
            }
            for big in (True, False)
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all weights that have a gradient. A closure is called first, and its value returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            updates = self._turned(weights) if group["turned"] else self._adam(weights, group["eps"])
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, updates, alpha=-group["lr"])
        return loss

    def _turned(self, weights: list[nn.Parameter]) -> list[Tensor]:
        """Orthogonalised Nesterov momentum; matrices of one shape are batched, tall ones transposed."""
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
        momentum = [self.state[weight]["momentum"] for weight in weights]
        gradients = _gradients(weights)
        torch._foreach_lerp_(momentum, gradients, 1 - _MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momentum, _MOMENTUM)
        lying = [update if update.shape[0] <= update.shape[1] else update.mT for update in ahead]
        by_shape = sorted(range(len(lying)), key=lambda i: tuple(lying[i].shape))
        result: list[Tensor] = [torch.empty(0)] * len(weights)
        for shape, members in groupby(by_shape, key=lambda i: tuple(lying[i].shape)):
            numbers = list(members)
            flat = orthogonal(torch.stack([lying[i] for i in numbers])) * (_RMS * max(shape) ** 0.5)
            for i, update in zip(numbers, flat, strict=True):
                result[i] = update if lying[i] is ahead[i] else update.mT
        return result

    def _adam(self, weights: list[nn.Parameter], eps: float) -> list[Tensor]:
        for weight in weights:
            state = self.state[weight]
            if not state:
                state |= {"mean": torch.zeros_like(weight), "square": torch.zeros_like(weight), "steps": 0}
            state["steps"] += 1
        mean = [self.state[weight]["mean"] for weight in weights]
        square = [self.state[weight]["square"] for weight in weights]
        gradients = _gradients(weights)
        torch._foreach_lerp_(mean, gradients, 1 - _BETAS[0])
        torch._foreach_mul_(square, _BETAS[1])
        torch._foreach_addcmul_(square, gradients, gradients, 1 - _BETAS[1])
        steps = [self.state[weight]["steps"] for weight in weights]
        width = torch._foreach_div(square, [1 - _BETAS[1] ** count for count in steps])
        torch._foreach_sqrt_(width)
        torch._foreach_add_(width, eps)
        updates = torch._foreach_div(mean, [1 - _BETAS[0] ** count for count in steps])
        torch._foreach_div_(updates, width)
        return list(updates)


def _gradients(weights: list[nn.Parameter]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of ``[B, m, n]``, m <= n, near 1 (0.7 .. 1.2); keep the singular vectors.

    Five Newton-Schulz steps of fifth order; in the type of the input, float32 at least.
    """
    a, b, c = _COEFFICIENTS
    x = matrices.to(torch.promote_types(matrices.dtype, torch.float32))
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)
