"""Which part of a step a training is in, by the actions that Lightning announces to a profiler."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from plumbline.training.lightning_import import Profiler

FETCH, FORWARD, BACKWARD = "fetching the batch", "forward and loss", "backward"
OPTIMIZER, METRICS, CHECKPOINT, REST = "optimizer", "metrics and progress", "checkpoint", "rest of the loop"
VALIDATION = "validation"
STEP_PARTS = (FETCH, FORWARD, BACKWARD, OPTIMIZER, METRICS, CHECKPOINT, REST)
"""The parts of a step. Every moment of a step is in exactly one of them."""

Listener = Callable[[str, bool], None]
"""Called when a part begins, with its name, or "" between epochs; and with whether a step begins with it."""

_NEXT_STEP = "[_TrainingEpochLoop].train_dataloader_next"
_BY_HOOK = {
    "batch_to_device": FETCH,
    "training_step": FORWARD,
    "backward": BACKWARD,
    "optimizer_step": OPTIMIZER,
    "on_train_batch_end": METRICS,
}


class Unprofiled(Profiler):
    """Records nothing, and costs less than Lightning's own profiler that records nothing, which makes a
    generator for each of the hundred actions of a step: 3 % of a step on small graphs."""

    def __init__(self) -> None:
        super().__init__()
        self._nothing: AbstractContextManager[Any] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        """A context that does nothing."""
        return self._nothing

    def start(self, action_name: str) -> None:
        """An action begins."""

    def stop(self, action_name: str) -> None:
        """An action ends."""


class StepParts(Profiler):
    """Tells its listeners which part of a step begins. Parts do not overlap: a part within another one, such
    as the forward pass that Lightning runs within the optimizer's step, interrupts it."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        super().__init__()
        self._listeners = listeners
        self._outer, self._running = "", list[str]()

    def start(self, action_name: str) -> None:
        """An action begins."""
        if action_name == _NEXT_STEP:
            self._outer = REST
        elif "on_validation_start" in action_name and self._outer != VALIDATION:
            self._outer = VALIDATION
            self._tell(VALIDATION)
        elif "on_train_epoch_end" in action_name and self._outer:
            self._outer = ""
            self._tell("")
        if part := self._part(action_name):
            self._running.append(part)
            self._tell(part, step=action_name == _NEXT_STEP)

    def stop(self, action_name: str) -> None:
        """An action ends."""
        if self._part(action_name) and self._running:
            self._running.pop()
            self._tell(self._running[-1] if self._running else self._outer)

    def summary(self) -> str:
        """Lightning writes nothing at the end."""
        return ""

    def _part(self, action_name: str) -> str:
        part = _part(action_name)
        return part if part == CHECKPOINT or self._outer not in ("", VALIDATION) else ""

    def _tell(self, part: str, *, step: bool = False) -> None:
        for listener in self._listeners:
            listener(part, step)


@cache
def _part(action_name: str) -> str:
    """The part that an action is; empty if it belongs to the part around it."""
    if action_name == _NEXT_STEP:
        return FETCH
    if action_name == "save_checkpoint":
        return CHECKPOINT
    return _BY_HOOK.get(action_name.rpartition(".")[2], "")
