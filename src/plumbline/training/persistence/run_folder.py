"""The run folder: checkpoints and records of one training; an earlier run in it is moved aside."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from plumbline.data.pt.cache import open_data
from plumbline.errors import InputError
from plumbline.locks import LockedError, sole_owner
from plumbline.records import Rejected
from plumbline.writing import write_atomically

_PATIENCE = 6.0
"""Seconds to wait for the lock: reader processes notice within five that their training was killed."""

CONFIG, STARTUP, METRICS = "config.yaml", "startup.json", "metrics.csv"
CURVES, RESULT, REJECTED, TENSORBOARD = "curves.png", "result.json", "rejected.txt", "tensorboard"

_RUNNING = ".running"
"""File that names the process that locks the folder; a killed process leaves it behind, which is harmless."""


_MARKS = ("last*.ckpt", "best-model-*.ckpt", METRICS)
"""Files that show that a training ran here."""

_RECORDS = (
    *_MARKS, CONFIG, STARTUP, CURVES, RESULT, REJECTED, TENSORBOARD,
    "wandb", "report.html", "evaluation.json",
)  # fmt: skip


_WRITTEN = (CONFIG, STARTUP, METRICS, CURVES, RESULT, REJECTED, _RUNNING)
"""Files that must not be links: their targets are not ours. A checkpoint replaces a link."""


def make_run_folder(checkpoint_dir: Path) -> None:
    """Create the folder; check that it is writable and that no file in it is a link. Raises InputError."""
    try:
        checkpoint_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=checkpoint_dir):
            pass
    except OSError as error:
        raise InputError(
            f"--checkpoint_dir {checkpoint_dir}: cannot write there ({error.strerror}); "
            "check its permissions or choose another folder"
        ) from error
    for name in _WRITTEN:
        if (checkpoint_dir / name).is_symlink():
            raise InputError(
                f"--checkpoint_dir {checkpoint_dir}: {name} is a link there, and its target would be "
                "overwritten: remove it"
            )


def refuse_early(
    *, data_dir: Path, checkpoint_dir: Path, resume: str | None, ensemble: int, fast_dev_run: int
) -> None:
    """Raise the InputErrors of a training about its folders and checkpoint, without importing anything large.

    The arguments are flags.
    """
    if not data_dir.is_dir():
        open_data(data_dir)
    if checkpoint_dir.resolve() == data_dir.resolve() and not fast_dev_run:
        raise InputError(f"--checkpoint_dir {checkpoint_dir} is the data set: name another folder")
    if fast_dev_run:
        return
    standing = next(path for path in (checkpoint_dir, *checkpoint_dir.absolute().parents) if path.exists())
    if standing == checkpoint_dir or not standing.is_dir() or not os.access(standing, os.W_OK):
        make_run_folder(checkpoint_dir)
    if resume is not None and ensemble == 1:
        find_checkpoints(resume, checkpoint_dir)


def members(checkpoint_dir: Path, count: int, resume: str | None) -> dict[Path, str | None]:
    """The folders of an ensemble's members, and ``--resume`` for each; None for those not started.

    Raises:
        InputError: no member has a checkpoint to resume from.
    """
    folders = [checkpoint_dir / f"member-{member}" for member in range(count)]
    begun = [any(path.glob("*.ckpt")) for path in folders]
    if resume is not None and not any(begun):
        raise InputError(
            f"--resume: no member in {checkpoint_dir} has a checkpoint; start from scratch without --resume"
        )
    return {path: resume if has else None for path, has in zip(folders, begun, strict=True)}


def find_checkpoints(resume: str, checkpoint_dir: Path) -> list[Path]:
    """The checkpoints that ``--resume`` may refer to, in order of preference.

    Args:
        resume: a path, or ``"last"`` for the newest ``last*.ckpt`` in the folder. Older ones and the best
            models follow as fallbacks, in case it is damaged or missing.
        checkpoint_dir: run folder.

    Raises:
        InputError: there is none.
    """
    if resume != "last":
        path = Path(resume)
        if path.is_dir():
            return find_checkpoints("last", path)
        if not path.is_file():
            raise InputError(f"--resume {resume}: there is no such checkpoint")
        return [path]
    last, best = (
        _newest_first(checkpoint_dir.glob(pattern)) for pattern in ("last*.ckpt", "best-model-*.ckpt")
    )
    if not last and not best:
        raise InputError(
            f"--resume: there is no last.ckpt in {checkpoint_dir}; name a checkpoint, or start from scratch "
            "without --resume"
        )
    return [*last, *best]


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


@contextmanager
def no_empty_folder_left(checkpoint_dir: Path) -> Iterator[None]:
    """Remove the folder after the block if the block created it and left it empty."""
    there = checkpoint_dir.exists()
    try:
        yield
    finally:
        if not there:
            with suppress(OSError):
                checkpoint_dir.rmdir()


@contextmanager
def sole_use(checkpoint_dir: Path) -> Iterator[None]:
    """Lock the folder while the block runs: two trainings would overwrite each other's files.

    The operating system locks the folder itself; the lock ends with the process, however that ends. A hidden
    file names the holder. Without support by system and file system, there is no lock.

    Raises:
        InputError: another training is using the folder.
    """
    with ExitStack() as held:
        try:
            held.enter_context(sole_owner(checkpoint_dir, patience=_PATIENCE, note=checkpoint_dir / _RUNNING))
        except LockedError as error:
            whose = f" ({error.owner})" if error.owner else ""
            raise InputError(
                f"--checkpoint_dir {checkpoint_dir}: another training is writing there{whose}; choose "
                "another folder"
            ) from error
        for name in ("*.ckpt", *_WRITTEN):
            for half_written in checkpoint_dir.glob(f".{name}.*tmp"):  # by a training that was killed
                with suppress(OSError):
                    half_written.unlink()
        yield


def set_aside(checkpoint_dir: Path) -> Path | None:
    """Move the files of an earlier training, if any, into the next free ``run-001``, ..., and return that."""
    if not any(any(checkpoint_dir.glob(pattern)) for pattern in _MARKS):
        return None
    number = 1
    while True:
        aside = checkpoint_dir / f"run-{number:03d}"
        try:
            aside.mkdir()
            break
        except FileExistsError:
            number += 1
    for pattern in _RECORDS:
        for path in sorted(checkpoint_dir.glob(pattern)):
            os.replace(path, aside / path.name)
    return aside


def make_way(checkpoint_dir: Path, resume: Path | None) -> Path | None:
    """Move an earlier run aside as :func:`set_aside` does, unless it is the one to resume.

    If the checkpoint to resume from is in another folder, its metrics are copied.
    """
    if resume is not None and resume.parent.resolve() == checkpoint_dir.resolve():
        return None
    aside = set_aside(checkpoint_dir)
    if resume is not None and (resume.parent / METRICS).is_file():
        shutil.copy(resume.parent / METRICS, checkpoint_dir / METRICS)
    return aside


def write_rejected(checkpoint_dir: Path, rejected: Sequence[Rejected]) -> None:
    """Write the rejected inputs of the data set, one per line; no file if there are none."""
    if rejected:
        text = "".join(f"{item.source}: {item.reason}\n" for item in rejected)
        write_atomically(checkpoint_dir / REJECTED, text.encode(), durable=False)


def write_config(checkpoint_dir: Path, values: dict[str, Any]) -> None:
    """Write the flags as YAML for ``--config``, which repeats the training."""
    write_atomically(checkpoint_dir / CONFIG, yaml.safe_dump(values, sort_keys=False).encode(), durable=False)
