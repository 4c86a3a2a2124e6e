"""Building blocks that models share: sparse products, dropout, the highest of some rows."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from plumbline.data.batch import SparsePair


def sparse_product(matrix: SparsePair, x: Tensor) -> Tensor:
    """``matrix @ x`` in float32 at least, with a backward pass that multiplies by the stored transpose.

    Args:
        matrix: ``[rows, N]``.
        x: ``[N, C]``.

    Returns:
        ``[rows, C]`` in the type of ``x``.
    """
    return _SparseProduct.apply(x, *matrix)


class _SparseProduct(torch.autograd.Function):
    """PyTorch's own sparse product sorts the matrix anew in every backward pass; this one never does."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, *matrix: Tensor) -> Tensor:
        ctx.save_for_backward(*matrix[3:])
        return _multiply(matrix[0], matrix[1], matrix[2], x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ptr, col, value = ctx.saved_tensors
        return (_multiply(ptr, col, value, grad), None, None, None, None, None, None)


def _multiply(ptr: Tensor, col: Tensor, value: Tensor, x: Tensor) -> Tensor:
    """CSR times dense. Sums run in float32 whatever the type of ``x`` (float64 stays float64).

    Each row of the answer is a weighted sum of rows of ``x``, which is what bags of embeddings are: on a CPU
    three to four times faster than PyTorch's sparse product, in a fixed order, and autocast leaves it alone.
    """
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    bags = torch.embedding_bag(
        x.detach().to(wide), col, ptr, mode=0, per_sample_weights=value.to(wide), include_last_offset=True
    )
    return bags[0].to(x.dtype)


def relu_dropout(x: Tensor, probability: float, training: bool) -> tuple[Tensor, float]:
    """ReLU, then dropout whose rescaling is left to the caller.

    On a CPU the usual mask costs more than the layer's matrix product, because it draws one number per
    unit. Here four units share one 64-bit draw: a unit is dropped with probability
    ``round(65536 p) / 65536``, and the factor undoes exactly that rate.

    Args:
        x: ``[N, C]``.
        probability: share of units to drop.
        training: without it nothing is dropped.

    Returns:
        ``y`` and a factor; ``factor * y`` is ``dropout(relu(x))``. Multiply the (small) weights of the
        next layer by the factor instead of ``y``.
    """
    if not training or probability == 0:
        return torch.relu(x), 1.0
    if x.device.type != "cpu":
        return torch.nn.functional.dropout(torch.relu(x), probability), 1.0
    level = round(probability * 65536)
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    # Compared in place and then converted, both vectorised: PyTorch's comparisons that make booleans are not.
    keep = draws.view(torch.int16)[: x.numel()].view(x.shape).ge_(level - 32768).to(x.dtype)
    return _KeepPositive.apply(x, keep), 65536 / (65536 - level)


class _KeepPositive(torch.autograd.Function):
    """``relu(x) * keep``; the result's sign pattern is all that the backward pass needs."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, keep: Tensor) -> Tensor:
        y = x.clamp_min(0).mul_(keep)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grad, y, 0), None


def highest(x: Tensor) -> Tensor:
    """``x.amax(1)`` of ``[R, K, C]``; the gradient is shared evenly among rows that are equally high.

    On a CPU PyTorch's own backward pass goes through booleans and takes four times as long.
    """
    return _Highest.apply(x)


class _Highest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        top = x.amax(1)
        ctx.save_for_backward(x, top)
        return top

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, top = ctx.saved_tensors
        share = torch.empty_like(x)
        torch.eq(x, top[:, None], out=share)
        return share.mul_((grad / share.sum(1))[:, None])
