"""Compilation of the network, with the uncompiled one as fallback."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from plumbline.data.batches.batch import Batch
from plumbline.models import forward_with_error
from plumbline.models.answer import as_answer
from plumbline.reporting import Reporter
from plumbline.training.loop.precision import Precision
from plumbline.training.randomness import random_states, restore_random_states

_ADVICE = re.compile(r"\n\s*(Set TORCH|You can suppress|For even more|The above exception).*", re.DOTALL)
"""The end of the compiler's errors, for those who work on the compiler."""


class CompiledForward:
    """``torch.compile`` of a model's forward pass, with the eager one as fallback.

    Only the network is compiled, never the Lightning module around it. Compilation happens at the first
    call, and again for new kinds of input; if it fails, this is reported once and training continues.

    Attributes:
        eager: the network's uncompiled forward pass.
        failed: whether compilation failed, so that ``eager`` is used.
    """

    def __init__(self, model: nn.Module, report: Reporter) -> None:
        self.eager = forward_with_error(model)
        self._report = report
        self.failed = False
        try:
            self._compiled: Any = torch.compile(self.eager, dynamic=True)
        except Exception as error:  # noqa: BLE001 - a missing compiler raises many kinds of error
            self.give_up(error)

    def __call__(self, batch: Any) -> Any:
        """Run the forward pass."""
        if self.failed:
            return self.eager(batch)
        try:
            return self._compiled(batch)
        except Exception as error:
            if not _is_compilers(error):
                raise
            self.give_up(error)
            return self.eager(batch)

    def give_up(self, error: Exception) -> None:
        """Run the network uncompiled from now on, and report why."""
        self.failed = True
        reason = " ".join(_ADVICE.sub("", str(error)).split()) or type(error).__name__
        self._report.say(f"the network cannot be compiled and runs uncompiled ({reason})")


def try_out(
    forward: CompiledForward, model: nn.Module, example: Callable[[], Batch], precision: Precision
) -> None:
    """Compile ahead of the first epoch: the forward and backward pass of training, and validation.

    Predictions, and gradients unless dropout makes them random, must equal those of the uncompiled network;
    otherwise the network runs uncompiled. Gradients and random states are unchanged afterwards. The backward
    pass is compiled at its first run, so its failures show here and not in the forward pass.

    Args:
        forward: the compiled network.
        model: the network itself, in training mode.
        example: makes a batch; validation makes its own in inference mode, since compiled code depends on it.
        precision: precision of the training.
    """
    device = next(model.parameters()).device
    states = random_states()

    def run(function: Callable[[Batch], Any]) -> list[Tensor]:
        with precision.autocast(device):
            answer = function(example().to(device))
        return [part.float() for part in as_answer(answer).parts]

    def step(function: Callable[[Batch], Any]) -> list[Tensor]:
        answer = run(function)
        model.zero_grad(set_to_none=True)
        torch.stack([part.sum() for part in answer]).sum().backward()
        return answer + [weight.grad.float() for weight in model.parameters() if weight.grad is not None]

    try:
        found, expected, again = step(forward), step(forward.eager), step(forward.eager)
        # With dropout, no two steps agree, and the comparison is impossible.
        if all(map(torch.equal, expected, again)) and not _agree(found, expected, precision):
            forward.give_up(RuntimeError("its training step gives a different result"))
        model.eval()
        with torch.inference_mode():
            if not _agree(run(forward), run(forward.eager), precision):
                forward.give_up(RuntimeError("its predictions differ"))
    except Exception as error:
        if not _is_compilers(error):
            raise
        forward.give_up(error)
    finally:
        model.train()
        model.zero_grad(set_to_none=True)
        restore_random_states(states)


def _agree(found: list[Tensor], expected: list[Tensor], precision: Precision) -> bool:
    """Whether tensors are equal up to rounding from a different order of sums."""
    rounding = 0.01 if precision.name in ("32", "64") else 0.1
    return len(found) == len(expected) and all(
        bool((a - b).abs().max() <= rounding * b.abs().max() + 1e-7)
        for a, b in zip(found, expected, strict=True)
    )


def _is_compilers(error: BaseException) -> bool:
    """Whether an error, or one of its causes, comes from the compiler and not from the network."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__module__.startswith(("torch._dynamo", "torch._inductor")):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
