"""The commands as Python functions, with the flags as keyword arguments and the same errors.

Nothing is printed; ``report`` receives every :class:`~plumbline.reporting.Event`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from plumbline.cli import parse
from plumbline.errors import InputError
from plumbline.own_parts import register
from plumbline.quantities import Duration
from plumbline.reporting import Event, Reporter
from plumbline.training.persistence.run_folder import refuse_early
from plumbline.training.records import TrainSettings

if TYPE_CHECKING:
    from plumbline.sweeping.records import SweepResult
    from plumbline.training.lightning_parts import LightningParts
    from plumbline.training.records import TrainResult


def train_settings(**flags: Any) -> TrainSettings:
    """All settings of a training: the given flags, and the defaults of ``recipe`` for the others.

    Args:
        flags: flags of ``plumbline train``, by name.

    Raises:
        InputError: a flag does not exist, or its value is invalid.
    """
    return TrainSettings.of(parse("train", _words(flags)))


def train(
    settings: TrainSettings | None = None, *, report: Callable[[Event], None] | None = None, **flags: Any
) -> TrainResult:
    """Train a model or an ensemble, with the same bits as ``plumbline train``.

    The run folder (``checkpoint_dir``) holds checkpoints and records. The training changes random generators,
    torch's settings, warning filters and signal handlers while it runs and restores them afterwards, so run
    one training at a time per process. In the main thread, Ctrl-C ends the training with its state saved and
    ``outcome`` ``"interrupted"``; other threads leave signals alone. Not undone: imported libraries, which
    add warning filters and draw from Python's ``random`` at their first import; and, on Linux, the C
    library's setting to keep freed memory. If no step ends for ``stall_timeout`` seconds, the stack of every
    thread is written to the error stream; 0 turns that off.

    Args:
        settings: from :func:`train_settings`; None for the recipe's defaults.
        report: called with every event, in order, in the calling thread.
        flags: flags of ``plumbline train``, by name; they override ``settings``.

    Returns:
        The outcome, the checkpoints, and the best model's errors compared with the untrained baselines.

    Raises:
        InputError: settings, data or machine do not allow the training; the message says what to change.
    """
    chosen = _settings(settings, flags)
    refuse_early(
        data_dir=chosen.data_dir,
        split_file=chosen.split_file,
        checkpoint_dir=chosen.checkpoint_dir,
        resume=chosen.resume,
        ensemble=chosen.ensemble,
        fast_dev_run=chosen.fast_dev_run,
        devices=chosen.devices,
        num_nodes=chosen.num_nodes,
    )
    from plumbline.training import run  # imported late: torch and Lightning take a second

    return run.train(chosen, Reporter(report))


def lightning_parts(
    settings: TrainSettings | None = None, *, report: Callable[[Event], None] | None = None, **flags: Any
) -> LightningParts:
    """The module and the loaders of a training, for a ``lightning.Trainer`` of your own.

    The losses are those of ``plumbline train`` with the same settings, if the trainer has the same
    ``max_epochs`` and ``precision``. The trainer may resume from a checkpoint of ``plumbline train``::

        model, train_loader, val_loader = plumbline.lightning_parts(data_dir="data/demo")
        trainer = lightning.Trainer(max_epochs=100)
        trainer.fit(model, train_loader, val_loader, ckpt_path="checkpoints/last.ckpt")

    The other commands read the trainer's checkpoints. The trainer decides what belongs to neither module nor
    loaders: number of epochs, checkpoints, early stopping, signals, loggers. Nothing is written.

    Args:
        settings: from :func:`train_settings`; None for the recipe's defaults.
        report: called with every event, in order, in the calling thread.
        flags: flags of ``plumbline train``, by name; they override ``settings``.

    Raises:
        InputError: settings or data do not allow the training; the message says what to change.
    """
    chosen = _settings(settings, flags)
    from plumbline.training import (
        lightning_parts as parts,
    )  # imported late: torch and Lightning take a second

    return parts.make_parts(chosen, Reporter(report))


def sweep(
    space: Mapping[str, Any],
    train: Mapping[str, Any] | None = None,
    *,
    report: Callable[[Event], None] | None = None,
    **flags: Any,
) -> SweepResult:
    """Search for the best flags of a training, as ``plumbline sweep`` does::

        space = {"lr": "1e-4-1e-2", "hidden_dim": [64, 128]}
        result = plumbline.sweep(space, {"data_dir": "data/demo"}, out="sweeps/lr", trials=20)

    Every trial is a training in a process of its own. In the main thread, Ctrl-C ends the sweep with the
    state of its trials saved; the same call resumes it.

    Args:
        space: for each flag of ``plumbline train`` to vary, a list of values, or a range as a text.
        train: flags of ``plumbline train`` that all trials share, by name.
        report: called with every event, in order, in the calling thread.
        flags: flags of ``plumbline sweep``, by name.

    Raises:
        InputError: the flags, the data or the folder do not allow the sweep; the message says what to change.
    """
    from plumbline.commands import sweep as command

    words = [f"{name}={_values(values)}" for name, values in space.items()]
    config = parse("sweep", [*_words(flags), "--", *words, *_words(train or {})])
    return command.sweep(config, report)


def _values(values: Any) -> str:
    """A list or a range as a word of a command line; an item that is a list has ``+`` in between."""
    if isinstance(values, list | tuple):
        items = [item if isinstance(item, list | tuple) else [item] for item in values]
        return ",".join(
            "+".join(register(one) if callable(one) else str(one) for one in item) for item in items
        )
    return str(values)


def _settings(settings: TrainSettings | None, flags: Mapping[str, Any]) -> TrainSettings:
    known = {} if settings is None else {item.name: getattr(settings, item.name) for item in fields(settings)}
    return train_settings(**{**known, **flags})


def _words(flags: Mapping[str, Any]) -> list[str]:
    """Flags as words of a command line. None and an empty list mean that the flag is not given."""
    words: list[str] = []
    for name, value in flags.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no_{name}")
        elif isinstance(value, list | tuple):
            several = [_registered(name, item) if callable(item) else str(item) for item in value]
            words += [f"--{name}", *several] if several else []
        elif callable(value):
            words.append(f"--{name}={_registered(name, value)}")
        elif isinstance(value, str | int | float | PathLike | Duration):
            words.append(f"--{name}={fspath(value) if isinstance(value, PathLike) else value}")
        elif value is not None:
            raise InputError(
                f"--{name} {value!r}: give a text, a number, a switch, a list of texts, for model a class, "
                "for loss a function, or for logger classes"
            )
    return words


def _registered(name: str, found: Any) -> str:
    """A class or function as the value of a flag."""
    if name == "logger" and getattr(found, "__module__", "") == "__main__":
        raise InputError(
            f"--logger {found.__qualname__}: it is defined in the program that runs, and trackers run in a "
            "process of their own, which would run that again: write it into a file of its own"
        )
    return register(found)
