"""``plumbline sweep``: a search for the best flags of a training."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from rich.console import Console

from plumbline.config.space import read_sweep, trial_config
from plumbline.config.sweep import SweepConfig
from plumbline.config.train import TrainConfig
from plumbline.console.listener import ConsoleListener
from plumbline.console.tables import Column, print_table
from plumbline.console.terminal import print_line, print_written
from plumbline.console.text import command, counted, percent
from plumbline.reporting import Event, Reporter
from plumbline.spaces import Space
from plumbline.sweeping.files import PICTURE, TABLE
from plumbline.sweeping.records import SweepResult, SweepSettings, Trial
from plumbline.training.persistence.run_folder import refuse_data

_SHOWN = 10
"""Trials in the printed table."""


def run(config: SweepConfig, console: Console) -> int:
    """Sweep, and print the best trials.

    Returns:
        The exit code: 0 done, 1 no trial is complete; after a signal that of a training.

    Raises:
        InputError: flags, data or folder do not allow the sweep; the message says what to change.
    """
    with ConsoleListener(console, debug=config.debug, every=inf) as listener:
        result = sweep(config, listener)
    _print(console, result)
    return result.exit_code


def sweep(config: SweepConfig, report: Callable[[Event], None] | None) -> SweepResult:
    """Sweep as the flags say. Raises InputError as :func:`run` does."""
    from plumbline.sweeping import run  # imported late: optuna, which may be missing

    return run.sweep(settings_of(config), Reporter(report))


def settings_of(config: SweepConfig) -> SweepSettings:
    """What the flags ask for. Raises InputError: data that the trials need are not there."""
    assert config.out is not None
    space, flags = read_sweep(config.space)
    lengths: dict[tuple[str, ...], int] = {}
    shared: dict[str, Any] = {}
    for chosen in space.samples():
        trial = _allowed(space, flags, chosen)
        lengths.setdefault(space.decision(chosen), trial.max_epochs)
        shared = shared or trial.plain()
    varied = {"checkpoint_dir", *(item.name for item in space.parameters)}
    if "model_args" in shared:  # the network's own flags
        shared["model_args"] = [item for item in shared["model_args"] if item.split("=")[0] not in varied]
    return SweepSettings(
        out=config.out,
        space=space,
        flags=tuple(flags),
        shared={name: value for name, value in shared.items() if name not in varied},
        lengths=lengths,
        trials=config.trials,
        workers=config.workers,
        prune=config.prune,
        seed=config.seed,
        refuse_data=partial(_allowed, space),
    )


def _allowed(space: Space, flags: Sequence[str], chosen: Mapping[str, str]) -> TrainConfig:
    """The flags of a trial. Raises InputError: its flags or its data are refused."""
    trial = trial_config(space, flags, chosen)
    refuse_data(trial.data_dir, trial.split_file)
    return trial


def _print(console: Console, result: SweepResult) -> None:
    settings, best = result.settings, result.best
    ranked = sorted(
        (trial for trial in result.trials if trial.error is not None),
        key=lambda trial: (trial.state != "complete", trial.error, trial.number),
    )
    if ranked:
        console.print()
        _print_ranked(console, settings, ranked[:_SHOWN])
    console.print()
    for line in _counts(result, hidden=max(0, len(ranked) - _SHOWN)):
        print_line(console, line)
    written = {"table": settings.out / TABLE, "picture": settings.out / PICTURE}
    print_written(console, {name: path for name, path in written.items() if path.is_file()})
    if best is not None:
        folder = settings.folder(best.number)
        words = [*settings.flags, *settings.space.words(best.values)]
        print_line(console, f"best     trial {best.number}, {percent(best.error or 0.0)}, in {folder}")
        print_line(console, "train    " + command("plumbline", "train", *words))
        print_line(console, "report   " + command("plumbline", "evaluate", _as_word(folder)))


def _as_word(folder: Path) -> str:
    """A folder as a command line takes it: a word that begins with a dash would be a flag."""
    return f"./{folder}" if str(folder).startswith("-") else str(folder)


def _print_ranked(console: Console, settings: SweepSettings, trials: list[Trial]) -> None:
    columns = [
        Column("trial", [str(trial.number) for trial in trials]),
        Column("val_error_rel", [percent(trial.error or 0.0) for trial in trials]),
        *(
            Column(item.name, [trial.values.get(item.name, "") for trial in trials])
            for item in settings.space.parameters
        ),
        Column("epochs", [str(len(trial.errors)) for trial in trials], gives_way=1),
        Column("", [trial.state for trial in trials], words=True, gives_way=2),
    ]
    print_table(console, columns)


def _counts(result: SweepResult, *, hidden: int) -> list[str]:
    """What became of the trials, in sentences."""
    number = {
        state: sum(trial.state == state for trial in result.trials)
        for state in ("complete", "pruned", "failed", "running")
    }
    lines = [
        f"trials   {len(result.trials)} of {result.settings.count}: {number['complete']} complete, "
        f"{number['pruned']} pruned, {number['failed']} failed"
    ]
    if hidden:
        lines[0] += f"; {hidden} more in {TABLE}"
    failed = [trial for trial in result.trials if trial.state == "failed"]
    lines += [f"failed   trial {trial.number}: {trial.trouble}" for trial in failed[:_SHOWN]]
    if len(failed) > _SHOWN:
        lines.append(f"         and {counted(len(failed) - _SHOWN, 'other trial')}, see {TABLE}")
    if result.interrupted:
        lines.append(
            f"resume   {counted(result.interrupted, 'trial')} in the middle: give the same command again"
        )
    if others := number["running"] - result.interrupted:
        lines.append(f"running  {counted(others, 'trial')}, trained by other commands of this sweep")
    return lines
