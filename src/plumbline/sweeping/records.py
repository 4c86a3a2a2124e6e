"""Settings, trials and result of a sweep."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from plumbline.spaces import Space

State = Literal["running", "complete", "pruned", "failed"]
"""Running: or interrupted, and to be resumed by the next command."""


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """One sweep.

    Attributes:
        out: folder of the sweep.
        space: what it varies.
        flags: words of a command line of train that all trials share.
        shared: the values of all flags that it does not vary, as in ``config.yaml``.
        lengths: ``max_epochs`` by the decision of the space, where it is not varied.
        trials: trainings in all.
        workers: trainings at the same time.
        prune: whether trials may be stopped early.
        seed: random seed of the values that are tried.
        refuse_data: raises InputError if the data of a trial with these flags and values are not there.
    """

    out: Path
    space: Space
    flags: tuple[str, ...]
    shared: Mapping[str, Any]
    lengths: Mapping[tuple[str, ...], int]
    trials: int
    workers: int
    prune: bool
    seed: int
    refuse_data: Callable[[Sequence[str], Mapping[str, str]], object]

    @property
    def count(self) -> int:
        """Trials in all: at most one for each combination of a space of lists."""
        every = self.space.combinations()
        return self.trials if every is None else min(self.trials, len(every))

    def record(self) -> dict[str, Any]:
        """What makes it this sweep, as JSON values."""
        varied = {item.name: item.written for item in self.space.parameters}
        return {"space": varied, "shared": dict(self.shared), "seed": self.seed}

    def folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.out / f"trial-{number:03d}"

    def epochs(self, values: Mapping[str, str]) -> int:
        """Epochs of a trial, at most."""
        given = values.get("max_epochs")
        return self.lengths[self.space.decision(values)] if given is None else int(float(given))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training of a sweep.

    Attributes:
        number: from 0.
        values: flag to value, as the command line takes it.
        state: how it stands.
        error: ``val_error_rel`` of its best model; of its last epoch if it was pruned; None if it has none.
        errors: ``val_error_rel`` by epoch, from 0.
        trouble: why it failed; empty if it did not.
        attempts: how often its process was ended from outside.
    """

    number: int
    values: Mapping[str, str]
    state: State
    error: float | None = None
    errors: Mapping[int, float]
    trouble: str = ""
    attempts: int = 0


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """The outcome of a sweep.

    Attributes:
        settings: of the sweep.
        trials: all of them, in the order of their numbers.
        interrupted: running trials that no command trains now.
        exit_code: of the command: 0; 1 if no trial is complete; 129, 130 or 143 after a signal.
    """

    settings: SweepSettings
    trials: tuple[Trial, ...]
    interrupted: int
    exit_code: int

    @property
    def best(self) -> Trial | None:
        """The complete trial with the smallest error; None if there is none."""
        done = [trial for trial in self.trials if trial.state == "complete"]
        return min(done, key=lambda trial: (trial.error, trial.number), default=None)
