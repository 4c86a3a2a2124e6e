"""The run folder: checkpoints and records of one training, and what happens to those of an earlier one."""

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
"""Seconds to wait for a folder: reader processes notice within five that their training was killed."""

CONFIG, STARTUP, METRICS = "config.yaml", "startup.json", "metrics.csv"
CURVES, RESULT, REJECTED, TENSORBOARD = "curves.png", "result.json", "rejected.txt", "tensorboard"

_RUNNING = ".running"
"""Says who trains in the folder while it is locked; left behind by a killed process, and harmless then."""


_MARKS = ("last*.ckpt", "best-model-*.ckpt", METRICS)
"""What shows that a training ran here."""

_RECORDS = (
    *_MARKS, CONFIG, STARTUP, CURVES, RESULT, REJECTED, TENSORBOARD,
    "wandb", "report.html", "evaluation.json",
)  # fmt: skip


_WRITTEN = (CONFIG, STARTUP, METRICS, CURVES, RESULT, REJECTED, _RUNNING)
"""Files that must not be links: what a link leads to is not ours. A checkpoint replaces a link."""


def make_run_folder(folder: Path) -> None:
    """Creates the folder and proves that files can be written there, and nowhere else. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"--checkpoint_dir {folder}: cannot write there ({error.strerror}); "
            "check its permissions or choose another folder"
        ) from error
    for name in _WRITTEN:
        if (folder / name).is_symlink():
            raise InputError(
                f"--checkpoint_dir {folder}: {name} is a link there, and where it leads to would be written: "
                "remove it"
            )


def refuse_early(
    *, data_dir: Path, checkpoint_dir: Path, resume: str | None, ensemble: int, fast_dev_run: int
) -> None:
    """Looks whether the folders and the checkpoint are there, for which nothing large is imported.

    Args:
        data_dir: the data set.
        checkpoint_dir: run folder, which may still have to be made.
        resume: what ``--resume`` says; each member of an ensemble will look in its own folder.
        ensemble: number of members.
        fast_dev_run: nothing will be saved if it is above 0.

    Raises:
        InputError: the sentence that the training itself would say later.
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


def members(folder: Path, count: int, resume: str | None) -> dict[Path, str | None]:
    """The folders of an ensemble's members, and what ``--resume`` means for each: those not begun start anew.

    Raises:
        InputError: none has a checkpoint to go on from.
    """
    folders = [folder / f"member-{member}" for member in range(count)]
    begun = [any(path.glob("*.ckpt")) for path in folders]
    if resume is not None and not any(begun):
        raise InputError(f"--resume: no member in {folder} has a checkpoint; start anew without --resume")
    return {path: resume if has else None for path, has in zip(folders, begun, strict=True)}


def find_checkpoints(resume: str, folder: Path) -> list[Path]:
    """The checkpoints that ``--resume`` may mean, the one that is wanted first.

    Args:
        resume: a path, or ``"last"`` for the newest ``last*.ckpt`` in the folder. Behind it come the states
            before it, which are the best models: in case it is damaged or missing.
        folder: ``--checkpoint_dir``.

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
    last, best = (_newest_first(folder.glob(pattern)) for pattern in ("last*.ckpt", "best-model-*.ckpt"))
    if not last and not best:
        raise InputError(
            f"--resume: there is no last.ckpt in {folder}; name a checkpoint, or start anew without --resume"
        )
    return [*last, *best]


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


@contextmanager
def no_empty_folder_left(folder: Path) -> Iterator[None]:
    """Removes the folder after the block if the block made it and left nothing in it."""
    there = folder.exists()
    try:
        yield
    finally:
        if not there:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Keeps other trainings out of the folder while the block runs; they would overwrite each other's files.

    The lock is the system's, on the folder itself: it ends with the process, however that ends. A hidden file
    says whose it is. Where the system or the file system has no locks, nothing is kept out.

    Raises:
        InputError: another training is at work there.
    """
    with ExitStack() as held:
        try:
            held.enter_context(sole_owner(folder, patience=_PATIENCE, note=folder / _RUNNING))
        except LockedError as error:
            whose = f" ({error.owner})" if error.owner else ""
            raise InputError(
                f"--checkpoint_dir {folder}: another training is writing there{whose}; choose another folder"
            ) from error
        for name in ("*.ckpt", *_WRITTEN):
            for half_written in folder.glob(f".{name}.*tmp"):  # by a training that was killed
                with suppress(OSError):
                    half_written.unlink()
        yield


def set_aside(folder: Path) -> Path | None:
    """Moves the files of an earlier training into the next free ``run-001``, ``run-002``, ...

    Returns:
        The folder they went to, or None if no training ran here.
    """
    if not any(any(folder.glob(pattern)) for pattern in _MARKS):
        return None
    number = 1
    while True:
        aside = folder / f"run-{number:03d}"
        try:
            aside.mkdir()
            break
        except FileExistsError:
            number += 1
    for pattern in _RECORDS:
        for path in sorted(folder.glob(pattern)):
            os.replace(path, aside / path.name)
    return aside


def make_way(folder: Path, resume: Path | None) -> Path | None:
    """Moves an earlier run aside, unless it is the one that is resumed.

    Args:
        folder: run folder.
        resume: checkpoint that the training resumes from. One of another folder brings its metrics along.

    Returns:
        See :func:`set_aside`.
    """
    if resume is not None and resume.parent.resolve() == folder.resolve():
        return None
    aside = set_aside(folder)
    if resume is not None and (resume.parent / METRICS).is_file():
        shutil.copy(resume.parent / METRICS, folder / METRICS)
    return aside


def write_rejected(folder: Path, rejected: Sequence[Rejected]) -> None:
    """Lists the refused inputs of the data set, one per line; no file if there are none."""
    if rejected:
        text = "".join(f"{item.source}: {item.reason}\n" for item in rejected)
        write_atomically(folder / REJECTED, text.encode(), durable=False)


def write_config(folder: Path, values: dict[str, Any]) -> None:
    """Writes the flags as YAML that ``--config`` reads back: the same training once more."""
    write_atomically(folder / CONFIG, yaml.safe_dump(values, sort_keys=False).encode(), durable=False)
