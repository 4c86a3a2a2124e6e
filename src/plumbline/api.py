"""What the commands do, as Python functions: the same flags as keyword arguments, the same refusals.

Nothing is printed: ``report`` is called with every :class:`~plumbline.reporting.Event`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from plumbline.cli import parse
from plumbline.errors import InputError
from plumbline.quantities import Duration
from plumbline.reporting import Event, Reporter
from plumbline.training.persistence.run_folder import refuse_early
from plumbline.training.records import TrainSettings

if TYPE_CHECKING:
    from plumbline.training.records import TrainResult


def train_settings(**flags: Any) -> TrainSettings:
    """All settings of a training: the given ones, and the defaults of ``recipe`` for the others.

    Args:
        flags: those of ``plumbline train``, by name.

    Raises:
        InputError: there is no such flag, or its value cannot be meant.
    """
    return TrainSettings.of(parse("train", _words(flags)))


def train(
    settings: TrainSettings | None = None, *, report: Callable[[Event], None] | None = None, **flags: Any
) -> TrainResult:
    """Train a model, or an ensemble, to the same bits as ``plumbline train``.

    The run folder (``checkpoint_dir``) holds checkpoints and records. Random generators, torch's settings,
    warning filters and signal handlers are afterwards what they were; while it runs, they are those of the
    training, so train once at a time per process. In the main thread Ctrl-C ends the training with its state
    saved and ``outcome`` ``"interrupted"``; in other threads signals are left alone. What stays: imported
    libraries, which add warning filters and draw from Python's ``random`` when they are first imported; W&B's
    threads; and, on Linux, the C library's setting to keep freed memory. If nothing moves for
    ``stall_timeout`` seconds, the place of every thread is written to the error stream; 0 turns that off.

    Args:
        settings: from :func:`train_settings`; the recipe's defaults if None.
        report: called with everything that happens, in order, in the thread of the call.
        flags: those of ``plumbline train`` by name; they win over ``settings``.

    Returns:
        How it ended, the checkpoints, and the best model's errors next to those of untrained baselines.

    Raises:
        InputError: settings, data or machine do not allow it; the message says what to change.
    """
    known = {} if settings is None else {item.name: getattr(settings, item.name) for item in fields(settings)}
    chosen = train_settings(**known | flags)
    refuse_early(
        data_dir=chosen.data_dir,
        checkpoint_dir=chosen.checkpoint_dir,
        resume=chosen.resume,
        ensemble=chosen.ensemble,
        fast_dev_run=chosen.fast_dev_run,
    )
    from plumbline.training import run  # only now: torch and Lightning take a second

    return run.train(chosen, Reporter(report))


def _words(flags: Mapping[str, Any]) -> list[str]:
    """Flags as a command line has them. None and an empty list stand for a flag that is not given."""
    words: list[str] = []
    for name, value in flags.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no_{name}")
        elif isinstance(value, list | tuple):
            words += [f"--{name}", *map(str, value)] if value else []
        elif isinstance(value, str | int | float | PathLike | Duration):
            words.append(f"--{name}={fspath(value) if isinstance(value, PathLike) else value}")
        elif value is not None:
            raise InputError(f"--{name} {value!r}: give a text, a number, a switch or a list of texts")
    return words
