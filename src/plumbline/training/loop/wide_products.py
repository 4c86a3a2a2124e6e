"""Matrix products of bfloat16 numbers on CPUs that have no instructions for them.

There PyTorch multiplies the numbers one by one, some twenty times slower than float32. Here the operands are
rounded to bfloat16 as before, but multiplied as float32, and the product is rounded again: the same numbers,
up to the order of sums, at the speed of float32. What is kept for the backward pass stays in bfloat16.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_LINEAR = torch.nn.functional.linear
_PRODUCTS = {
    *(torch.matmul, torch.mm, torch.bmm),
    *(Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.__matmul__),
}
_SHORT = (torch.bfloat16, torch.float32)


class WideProducts(TorchFunctionMode):
    """Computes the products of a forward pass, and of its backward pass, as this module says.

    Args:
        mixed: round all operands, as autocast does; otherwise only those that are bfloat16 are concerned.
    """

    def __init__(self, *, mixed: bool) -> None:
        super().__init__()
        self._mixed = mixed

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute a product, or call any other function."""
        kwargs = kwargs or {}
        if func is _LINEAR:
            x, weight, bias = _linear_operands(*args, **kwargs)
            if self._concerns(x, weight):
                flat = _Product.apply(
                    _short(x.reshape(-1, x.shape[-1])),
                    _short(weight).t(),
                    None if bias is None else _short(bias),
                )
                return flat.view(*x.shape[:-1], -1)
        elif (
            func in _PRODUCTS and len(args) == 2 and self._concerns(*args) and min(a.dim() for a in args) > 1
        ):
            return _Product.apply(*map(_short, args), None)
        return func(*args, **kwargs)

    def _concerns(self, *operands: Tensor) -> bool:
        allowed = _SHORT if self._mixed else _SHORT[:1]
        return all(operand.dtype in allowed for operand in operands)


def with_wide_products(forward: Callable[..., Any], *, mixed: bool) -> Callable[..., Any]:
    """A forward pass with :class:`WideProducts`."""

    def wide(*arguments: Any) -> Any:
        with WideProducts(mixed=mixed):
            return forward(*arguments)

    return wide


def _linear_operands(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The operands by the names that torch gives them: callers may name them in any order."""
    return input, weight, bias


def _short(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16)


class _Product(torch.autograd.Function):
    """``a @ b + bias`` of bfloat16 tensors ``[..., M, K]``, ``[..., K, N]``, ``[N]``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(a, b)
        with torch.autocast("cpu", enabled=False):
            product = a.float() @ b.float()
            if bias is not None:
                product += bias
            return product.to(a.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        for_a, for_b, for_bias = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):
            wide = grad.float()
            return (
                (wide @ b.float().mT).sum_to_size(a.shape).to(a.dtype) if for_a else None,
                (a.float().mT @ wide).sum_to_size(b.shape).to(b.dtype) if for_b else None,
                wide.sum(0).to(a.dtype) if for_bias else None,
            )
