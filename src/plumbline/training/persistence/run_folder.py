"""The run folder: checkpoints and records of one training; an earlier run in it is moved aside."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from plumbline.data.pt.cache import open_data
from plumbline.data.split_file import read_split
from plumbline.errors import InputError
from plumbline.files import check_out_folder, each_folder
from plumbline.locks import LockedError, sole_owner
from plumbline.predictors.find_checkpoint import BEST_FILES, LAST_FILES
from plumbline.records import Rejected
from plumbline.training.distributed.place import check_place, given_place
from plumbline.writing import write_atomically

_PATIENCE = 6.0
"""Seconds to wait for the lock: reader processes notice within five that their training was killed."""

CONFIG, STARTUP, METRICS = "config.yaml", "startup.json", "metrics.csv"
_CONFIG_USED = "config.used.yaml"
CURVES, RESULT, REJECTED, TENSORBOARD = "curves.png", "result.json", "rejected.txt", "tensorboard"
PROFILE = "profile.json.gz"

_RUNNING = ".running"
"""File that names the process that locks the folder; a killed process leaves it behind, which is harmless."""

_MARKS = (LAST_FILES, BEST_FILES, METRICS)
"""Files that show that a training ran here."""

_RECORDS = (
    STARTUP, CURVES, RESULT, REJECTED, PROFILE, TENSORBOARD, "wandb", "report.html", "evaluation.json",
)  # fmt: skip
"""What else a run folder may hold of it."""

_WRITTEN = (CONFIG, _CONFIG_USED, STARTUP, METRICS, CURVES, RESULT, REJECTED, PROFILE, _RUNNING)
"""Files that must not be links: their targets are not ours. A checkpoint replaces a link."""


def make_run_folder(checkpoint_dir: Path) -> None:
    """Create the folder; check that it is writable and that no file in it is a link. Raises InputError."""
    check_out_folder(checkpoint_dir)
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
    *,
    data_dir: Path | Sequence[Path],
    split_file: Path | None,
    checkpoint_dir: Path,
    resume: str | None,
    ensemble: int,
    fast_dev_run: int,
    devices: int,
    num_nodes: int,
) -> None:
    """Refuse what can be seen to fail without importing anything large: missing folders, copies by torchrun.

    The arguments are flags.
    """
    place = given_place()
    if place is not None and place.rank > 0:
        return  # the first process says what is wrong
    check_place(devices, num_nodes, place)
    refuse_data(data_dir, split_file)
    for folder in each_folder(data_dir):
        if checkpoint_dir.resolve() == folder.resolve() and not fast_dev_run:
            raise InputError(f"--checkpoint_dir {checkpoint_dir} is the data set: name another folder")
    if fast_dev_run:
        return
    standing = next(path for path in (checkpoint_dir, *checkpoint_dir.absolute().parents) if path.exists())
    if standing == checkpoint_dir or not standing.is_dir() or not os.access(standing, os.W_OK):
        make_run_folder(checkpoint_dir)
    if resume is not None and ensemble == 1:
        find_checkpoints(resume, checkpoint_dir)


def refuse_data(data_dir: Path | Sequence[Path], split_file: Path | None) -> None:
    """Refuse missing folders, and a split that cannot be read; the arguments are flags. Raises InputError."""
    for folder in each_folder(data_dir):
        if not folder.is_dir():
            open_data(folder)
    if split_file is not None:
        read_split(split_file)


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
    last, best = (_newest_first(checkpoint_dir.glob(pattern)) for pattern in (LAST_FILES, BEST_FILES))
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


def set_aside(checkpoint_dir: Path) -> str | None:
    """Move the files of an earlier training into the next free ``run-001``, ``run-002``, ...

    Where no training ran, files of the user that a training would write over are moved. A ``config.yaml`` of
    the user's own always stays, see :func:`config_of`.

    Returns:
        A sentence about what was moved; None if there was nothing to move.
    """
    ran = any(any(checkpoint_dir.glob(pattern)) for pattern in _MARKS)
    patterns = (*_MARKS, *_RECORDS) if ran else (STARTUP, CURVES, RESULT, REJECTED)
    paths = [path for pattern in patterns for path in sorted(checkpoint_dir.glob(pattern))]
    paths += [path for path in [config_of(checkpoint_dir)] if ran and path.is_file() and _is_dumped(path)]
    if not paths:
        return None
    number = 1
    while (aside := checkpoint_dir / f"run-{number:03d}").exists():
        number += 1
    aside.mkdir()
    for path in paths:
        os.replace(path, aside / path.name)
    if ran:
        return f"the earlier run in {checkpoint_dir} was moved to {aside}"
    return f"files that were in {checkpoint_dir} moved to {aside}: {', '.join(path.name for path in paths)}"


def make_way(checkpoint_dir: Path, resume: Path | None) -> str | None:
    """Move an earlier run aside, unless it is the one to resume.

    If the checkpoint to resume from is in another folder, its metrics are copied.
    """
    if resume is not None and resume.parent.resolve() == checkpoint_dir.resolve():
        return None
    sentence = set_aside(checkpoint_dir)
    if resume is not None and (resume.parent / METRICS).is_file():
        shutil.copy(resume.parent / METRICS, checkpoint_dir / METRICS)
    return sentence


def write_rejected(checkpoint_dir: Path, rejected: Sequence[Rejected]) -> None:
    """Write the rejected inputs of the data set, one per line; no file if there are none."""
    if rejected:
        text = "".join(f"{item.source}: {item.reason}\n" for item in rejected)
        write_atomically(checkpoint_dir / REJECTED, text.encode(), durable=False)


def has_result(checkpoint_dir: Path, *, epochs: int) -> bool:
    """Whether the folder's ``result.json`` was written after this number of epochs."""
    try:
        found = json.loads((checkpoint_dir / RESULT).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("epochs") == epochs


def config_of(checkpoint_dir: Path) -> Path:
    """The file of a run's flags: ``config.yaml``, or another name where that file is the user's own."""
    own_name = checkpoint_dir / _CONFIG_USED
    return own_name if own_name.exists() else checkpoint_dir / CONFIG


def write_config(checkpoint_dir: Path, values: dict[str, Any]) -> str | None:
    """Write the flags as YAML for ``--config``, which repeats the training.

    A ``config.yaml`` that the user wrote or edited stays as it is.

    Returns:
        A sentence if the file has another name for that reason, otherwise None.
    """
    path, sentence = config_of(checkpoint_dir), None
    if path.name == CONFIG and path.exists() and not _is_dumped(path):
        sentence = f"{path} is yours and stays as it is; the flags of this run are in {_CONFIG_USED}"
        path = checkpoint_dir / _CONFIG_USED
    write_atomically(path, _dumped(values), durable=False)
    return sentence


def _dumped(values: Any) -> bytes:
    return yaml.safe_dump(values, sort_keys=False).encode()


def _is_dumped(path: Path) -> bool:
    """Whether a file holds flags exactly as :func:`write_config` writes them."""
    try:
        content = path.read_bytes()
        values = yaml.safe_load(content)
        return isinstance(values, dict) and "recipe" in values and _dumped(values) == content
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
