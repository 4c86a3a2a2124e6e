"""The trials of a sweep in a journal of Optuna, which several commands share."""

import hashlib
import os
import random
from collections.abc import Mapping
from contextlib import ExitStack
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any

from plumbline.errors import InputError
from plumbline.locks import sole_owner
from plumbline.spaces import Parameter, Space
from plumbline.sweeping.records import State, SweepSettings, Trial

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend
    from optuna.storages.journal._file import BaseJournalFileLock
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise InputError(f"plumbline sweep needs {error.name or 'optuna'}: pip install optuna") from error

JOURNAL = "journal.log"
_LOCK = ".journal.lock"
_DRAWS = 20
"""Times that values are drawn which were tried before; then one of those that are left is taken."""
_FIRST = 5
"""Complete trials before any is pruned."""
_WARM_UP = 5
"""No trial is pruned in the first fifth of its epochs."""
_STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}

optuna.logging.set_verbosity(optuna.logging.ERROR)


class _JournalLock(BaseJournalFileLock):
    """Keeps other processes from writing to a journal; a lock of the system, which ends with its process.

    Args:
        path: the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._held = path, ExitStack()

    def acquire(self) -> bool:
        """Wait for the lock, and cut off the end of a line whose writer died or had a full disk."""
        self._held.enter_context(sole_owner(self._path.with_name(_LOCK), patience=inf))
        try:
            _drop_half_line(self._path)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        """Let others write."""
        self._held.close()


def _drop_half_line(path: Path) -> None:
    """Cut off what follows the last whole line: it would spoil the line after it."""
    with open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read() in (b"", b"\n"):
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


class Study:
    """The trials, on disk. Several commands may use it at a time; only :meth:`add` needs a lock around it.

    Args:
        settings: of the sweep, in an existing folder.

    Raises:
        InputError: the journal cannot be read.
    """

    def __init__(self, settings: SweepSettings) -> None:
        self._space, self._seed = settings.space, settings.seed
        path = settings.out / JOURNAL
        try:
            backend = JournalFileBackend(str(path), lock_obj=_JournalLock(path))
            self._storage = optuna.storages.JournalStorage(backend)
            self._study = optuna.create_study(
                storage=self._storage, study_name="sweep", load_if_exists=True, pruner=_pruner(settings)
            )
            self.trials()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} cannot be read ({' '.join(str(error).split())}): restore it, or name another --out"
            ) from error

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return [_trial(found, self._space) for found in self._study.get_trials(deepcopy=False)]

    def add(self) -> Trial | None:
        """Draw values that were not tried before and store them as a running trial; None: none are left.

        The values depend on the seed, the number of the trial and the earlier trials alone.
        """
        before = self._study.get_trials(deepcopy=False)
        tried = [_trial(found, self._space).values for found in before]
        every = self._space.combinations()
        left = None if every is None else [values for values in every if values not in tried]
        if left == []:
            return None
        number = len(before)
        for draw in range(_DRAWS):
            params, distributions = self._drawn(before, _seed(self._seed, number, draw))
            if _texts(params, self._space) not in tried:
                break
        else:
            if left is not None:
                values = random.Random(_seed(self._seed, number, _DRAWS)).choice(left)
                params, distributions = self._drawn(before, 0, values)
        self._study.add_trial(
            optuna.create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
        )
        return self.trials()[number]

    def _drawn(
        self, before: list[FrozenTrial], seed: int, fixed: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values for the next trial, drawn unless they are fixed, and their distributions."""
        memory = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        memory.add_trials(before)
        if fixed:
            known = {item.name: item for item in self._space.existing(fixed)}
            memory.enqueue_trial({name: known[name].value(text) for name, text in fixed.items()})
        asked, chosen, params = memory.ask(), dict[str, str](), dict[str, Any]()
        for place, item in enumerate(self._space.parameters):
            if place < len(self._space.deciding) or item in self._space.existing(chosen):
                drawn = _suggested(asked, item)
                chosen[item.name] = drawn if isinstance(drawn, str) else item.text(drawn)
                params[item.name] = item.value(chosen[item.name])
        return params, asked.distributions

    def report(self, number: int, epoch: int, error: float) -> bool:
        """Store the error of an epoch. Returns whether the trial should be pruned."""
        place = self._place(number)
        self._storage.set_trial_intermediate_value(place, epoch, error)
        return self.is_worse(number)

    def is_worse(self, number: int) -> bool:
        """Whether a trial should be pruned after the last epoch whose error is stored."""
        return self._study.pruner.prune(self._study, self._storage.get_trial(self._place(number)))

    def _place(self, number: int) -> int:
        """The number by which the storage knows a trial."""
        return self._study.get_trials(deepcopy=False)[number]._trial_id

    def interrupted(self, number: int, attempts: int) -> None:
        """Store how often the process of a trial was ended from outside."""
        place = self._place(number)
        self._storage.set_trial_user_attr(place, "attempts", attempts)

    def complete(self, number: int, error: float) -> None:
        """Store the error of a trial that is complete."""
        self._study.tell(number, error, state=TrialState.COMPLETE)

    def pruned(self, number: int) -> None:
        """Store that a trial was pruned."""
        self._study.tell(number, state=TrialState.PRUNED)

    def failed(self, number: int, trouble: str) -> None:
        """Store that a trial failed, and why."""
        place = self._place(number)
        self._storage.set_trial_user_attr(place, "trouble", trouble)
        self._study.tell(number, state=TrialState.FAIL)


def _pruner(settings: SweepSettings) -> optuna.pruners.BasePruner:
    if not settings.prune:
        return optuna.pruners.NopPruner()
    varied = [item.extremes for item in settings.space.parameters if item.name == "max_epochs"]
    shortest = min(int(float(text)) for text in varied[0]) if varied else min(settings.lengths.values())
    return optuna.pruners.MedianPruner(n_startup_trials=_FIRST, n_warmup_steps=shortest // _WARM_UP)


def _seed(seed: int, number: int, draw: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number} {draw}".encode()).digest()[:4], "big")


def _suggested(asked: optuna.Trial, item: Parameter) -> str | float:
    if item.choices:
        return asked.suggest_categorical(item.name, item.choices)
    if item.whole:
        return asked.suggest_int(item.name, int(item.low), int(item.high), log=item.log)
    return asked.suggest_float(item.name, item.low, item.high, log=item.log)


def _texts(params: Mapping[str, Any], space: Space) -> dict[str, str]:
    known = {item.name: item for item in space.parameters}
    return {
        name: value if isinstance(value, str) else known[name].text(value) for name, value in params.items()
    }


def _trial(found: FrozenTrial, space: Space) -> Trial:
    return Trial(
        number=found.number,
        values=_texts(found.params, space),
        state=_STATES[found.state],
        error=found.value,
        errors=dict(sorted(found.intermediate_values.items())),
        trouble=found.user_attrs.get("trouble", ""),
        attempts=found.user_attrs.get("attempts", 0),
    )
