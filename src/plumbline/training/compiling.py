"""Compiling the network, with a way back."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from plumbline.data.batch import Batch
from plumbline.models import entry_point
from plumbline.training.precision import Precision
from plumbline.training.randomness import random_states, restore_random_states


class CompiledForward:
    """``torch.compile`` of a model's forward pass that turns eager when compilation fails.

    Only the network is compiled, never the Lightning module around it. Compilation happens at the first
    call, and again for new kinds of input; a failure of either is said once, and training goes on.

    Args:
        model: the network.
        say: told one sentence if compilation fails.
    """

    def __init__(self, model: nn.Module, say: Callable[[str], None]) -> None:
        self._eager = entry_point(model)
        self.say = say
        self.failed = False
        try:
            self._compiled: Any = torch.compile(self._eager, dynamic=True)
        except Exception as error:  # noqa: BLE001 - a missing compiler shows in many kinds of error
            self.give_up(error)

    def __call__(self, batch: Any) -> Any:
        """The model's answers."""
        if self.failed:
            return self._eager(batch)
        try:
            return self._compiled(batch)
        except Exception as error:
            if not _is_compilers(error):
                raise
            self.give_up(error)
            return self._eager(batch)

    def give_up(self, error: Exception) -> None:
        """From now on the network runs uncompiled, because of this error."""
        self.failed = True
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        self.say(f"the network cannot be compiled and runs uncompiled ({reason})")


def try_out(
    forward: CompiledForward, model: nn.Module, example: Callable[[], Batch], precision: Precision
) -> None:
    """Compiles now what the first epoch would compile: forward and backward of training, and validation.

    No gradient or random number is left. The backward pass is compiled when it is first run, so its
    failures show here and not in the forward pass.

    Args:
        forward: the compiled network.
        model: the network itself, in training mode.
        example: makes a batch; validation makes its own within inference mode, which compiled code minds.
        precision: of the training.
    """
    device = next(model.parameters()).device
    states = random_states()
    try:
        with precision.autocast(device):
            answer = forward(example().to(device))
        parts = answer if isinstance(answer, tuple) else (answer,)
        torch.stack([part.float().sum() for part in parts]).sum().backward()
        model.eval()
        with torch.inference_mode(), precision.autocast(device):
            forward(example().to(device))
    except Exception as error:
        if not _is_compilers(error):
            raise
        forward.give_up(error)
    finally:
        model.train()
        model.zero_grad(set_to_none=True)
        restore_random_states(states)


def _is_compilers(error: BaseException) -> bool:
    """Whether an error, or one that caused it, comes from the compiler and not from the network."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__module__.startswith(("torch._dynamo", "torch._inductor")):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
