"""Building blocks that models share: sparse products, dropout, max pooling."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from plumbline.data.batches.gcn_constants import SparsePair


def sparse_product(matrix: SparsePair, x: Tensor) -> Tensor:
    """Multiply ``matrix @ x``, in float32 or wider; the backward pass multiplies by the stored transpose.

    Args:
        matrix: ``[rows, N]``.
        x: ``[N, C]``.

    Returns:
        ``[rows, C]`` in the dtype of ``x``.
    """
    result: Tensor = _SparseProduct.apply(x, *matrix)
    return result


class _SparseProduct(torch.autograd.Function):
    """Sparse product that never sorts; PyTorch's own sorts the matrix again in every backward pass."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, *matrix: Tensor) -> Tensor:
        ctx.save_for_backward(*matrix[3:])
        return _multiply(matrix[0], matrix[1], matrix[2], x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ptr, col, value = ctx.saved_tensors
        return (_multiply(ptr, col, value, grad), None, None, None, None, None, None)


def _multiply(ptr: Tensor, col: Tensor, value: Tensor, x: Tensor) -> Tensor:
    """Multiply a CSR matrix by a dense one. Sums are in float32 for every dtype of ``x`` except float64.

    Each row of the result is a weighted sum of rows of ``x``, which is what ``embedding_bag`` computes. On a
    CPU it is three to four times faster than PyTorch's sparse product, sums in a fixed order, and is not
    affected by autocast.
    """
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    bags = torch.embedding_bag(
        x.detach().to(wide), col, ptr, mode=0, per_sample_weights=value.to(wide), include_last_offset=True
    )
    return bags[0].to(x.dtype)


def relu_dropout(x: Tensor, probability: float, training: bool) -> tuple[Tensor, float]:
    """Apply ReLU, then dropout without its rescaling, which is left to the caller.

    On a CPU the usual mask costs more than the layer's matrix product, because it draws one random number
    per unit. Here one number is drawn per dropped unit: how many units are kept before it.

    Args:
        x: ``[N, C]``.
        probability: share of units to drop.
        training: nothing is dropped if this is False.

    Returns:
        ``y`` and a factor, with ``factor * y == dropout(relu(x))``. Multiply the (small) weights of the next
        layer by the factor instead of ``y``.
    """
    if not training or probability == 0:
        return torch.relu(x), 1.0
    if x.device.type != "cpu" or torch.compiler.is_compiling():  # GPUs and the compiler fuse the usual mask
        return torch.nn.functional.dropout(torch.relu(x), probability), 1.0
    return _ReluDropout.apply(x, _dropped(x.numel(), probability)), 1 / (1 - probability)


def _dropped(num_units: int, probability: float) -> Tensor:
    """Draw the positions of the units to drop, in ascending order; units are dropped independently.

    The number of kept units before each dropped one is geometrically distributed: it is the integer part of
    an exponential variable, which is computed from 31 random bits. The logarithm is computed in float64, so
    that the same units are dropped on processors that round it differently.
    """
    # Draw nine standard deviations more than are needed on average.
    spread = 9 * math.sqrt(num_units * probability * (1 - probability))
    half = math.ceil((num_units * probability + spread) / 2) + 8
    bits = torch.empty(half, dtype=torch.int64).random_(-(2**63), None).view(torch.int32)
    logarithms = bits.bitwise_and_(2**31 - 1).to(torch.float64).add_(1).log_()
    rate = -math.log1p(-probability)
    gaps = logarithms.mul_(-1 / rate).add_(31 * math.log(2) / rate + 1).to(torch.int64)
    positions = gaps.cumsum(0).sub_(1)
    return positions[: int(torch.searchsorted(positions, num_units))]


class _ReluDropout(torch.autograd.Function):
    """``relu(x)`` with some units set to zero; the backward pass needs only the signs of the result."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, dropped: Tensor) -> Tensor:
        y = x.contiguous().clamp_min(0)
        y.view(-1).index_fill_(0, dropped, 0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grad, y, 0), None


def max_pool(x: Tensor) -> Tensor:
    """Compute ``x.amax(1)`` of ``[R, K, C]``; the gradient is shared evenly among equal maxima.

    On a CPU PyTorch's own backward pass goes through booleans and takes four times as long.
    """
    result: Tensor = _MaxPool.apply(x)
    return result


class _MaxPool(torch.autograd.Function):
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
