"""Reader of checkpoints, without running foreign code and without importing Lightning.

A checkpoint is Lightning's dict plus the key ``"plumbline"``, which describes it: model and its arguments,
config, data set, versions, random states. It is loaded with ``weights_only=True``.
"""

import hashlib
import reprlib
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import torch
from torch import nn

from plumbline.data.pt.unpickling import ZIP, load_plain
from plumbline.errors import InputError
from plumbline.models import ENSEMBLE, build_model, is_known
from plumbline.own_parts import load_recorded, names_a_file, register
from plumbline.predictors.calibration import Calibration
from plumbline.predictors.find_checkpoint import PRETRAINED, find_best
from plumbline.predictors.trained_on import TrainedOn
from plumbline.predictors.upgrades import UPGRADES

FORMAT = 4
"""Version of a checkpoint's content, mainly of the dict under ``"plumbline"``. When raising it, add to
``UPGRADES`` a function that upgrades a checkpoint of the previous format."""
_SEAL = b"\nplumbline sha256\n"
_SEALED = len(_SEAL) + 32


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as plain values and tensors on the CPU, upgraded to the current format.

    Raises:
        InputError: the file does not exist, is damaged, or was written by another program or a newer version.
    """
    try:
        whole = path.read_bytes()
        if not whole.startswith(ZIP):
            raise BadZipFile
        content, broken = load_plain(whole)
        if is_broken(whole):
            broken = "the file"
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"there is no checkpoint {path}") from error
    except OSError as error:
        raise InputError(f"cannot read the checkpoint {path} ({error.strerror or error})") from error
    except Exception as error:
        raise InputError(f"{path} is not a readable checkpoint ({_reason(error)})") from error
    if broken is not None:
        raise InputError(f"{path} is not a readable checkpoint (the checksum of {broken} is wrong)")
    ours = content.get("plumbline") if isinstance(content, dict) else None
    if not isinstance(ours, dict) or "state_dict" not in content:
        raise InputError(f"{path} is not a checkpoint of this program: it does not say which model it holds")
    return _upgraded(content, path)


def _upgraded(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Upgrade the content of a checkpoint. Raises InputError if its format is newer or it is incomplete."""
    ours = content["plumbline"]
    found, oldest = ours.get("format"), min(UPGRADES)
    if type(found) is not int or found < oldest:
        raise InputError(
            f"{path} has checkpoint format {reprlib.repr(found)}, but this program reads {oldest} to {FORMAT}"
        )
    if found > FORMAT:
        raise InputError(
            f"{path} has checkpoint format {found}, which a newer version of plumbline wrote (this one reads "
            f"up to {FORMAT}): upgrade plumbline"
        )
    try:
        for number in range(found, FORMAT):
            UPGRADES[number](content)
            ours["format"] = number + 1
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a complete checkpoint of format {found}") from error
    return content


def seal(content: bytes | memoryview) -> bytes:
    """Append a checksum to the content, where readers of the zip format ignore it.

    The format's own checksums cover the numbers, but not the tables that say where they lie.
    """
    return b"".join([content, _SEAL, hashlib.sha256(content).digest()])


def is_broken(whole: bytes) -> bool:
    """Whether the checksum of a sealed file is wrong; False for a file without a seal."""
    end = whole.rfind(_SEAL, max(len(whole) - _SEALED, 0))
    return end >= 0 and hashlib.sha256(whole[:end]).digest() != whole[end + len(_SEAL) :]


def _reason(error: Exception) -> str:
    if isinstance(error, UnpicklingError):
        return "it contains more than plain values and tensors, which this program never loads"
    if isinstance(error, BadZipFile):
        return "it is damaged, or another program wrote it: give another one"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def networks_in(ours: dict[str, Any]) -> list[dict[str, Any]]:
    """The networks of a checkpoint, each with ``model`` and ``model_args``; one unless it is an ensemble."""
    return list(ours["model_args"]["members"]) if ours["model"] == ENSEMBLE else [ours]


def _load_own_networks(path: Path, ours: dict[str, Any], given: str | type | None) -> None:
    """Import the networks of the user's own that a checkpoint, perhaps of an ensemble, was trained with."""
    if isinstance(given, type):
        given = register(given)
    own = {
        part["model"]: part.get("model_sha256", "")
        for part in networks_in(ours)
        if names_a_file(str(part["model"]))
    }
    if given is not None and not own:
        raise InputError(
            f"{path} holds {reprlib.repr(ours['model'])}, a network of this package: leave --model out"
        )
    for name, sha256 in own.items():
        try:
            load_recorded(name, sha256, given)
        except InputError as error:
            raise InputError(f"{path} holds a network of your own: {error}") from error


@dataclass(frozen=True)
class Trained:
    """A trained model and its description in the checkpoint.

    Attributes:
        path: the checkpoint.
        model: the model with its weights, on the CPU, in float32 (float64 if trained so), ready to predict.
        model_name: its name, as in ``MODELS``.
        model_args: its keyword arguments.
        config: all flags of the training, plain values.
        data: the training data.
        metrics: metrics of the epoch after which it was saved, by their documented names.
        calibration: what the validation of that epoch says about the model's predictions.
        epochs_done: number of completed epochs of training.
    """

    path: Path
    model: nn.Module
    model_name: str
    model_args: dict[str, Any]
    config: dict[str, Any]
    data: TrainedOn
    metrics: dict[str, float]
    calibration: Calibration
    epochs_done: int


def load_checkpoint(path: Path | str, *, model: str | type | None = None) -> Trained:
    """Build the model that a checkpoint describes and give it its weights.

    Args:
        path: the checkpoint; ``"pretrained"`` is the one that plumbline ships.
        model: a network of the user's own, ``"path/to/file.py:ClassName"`` or its class. By default it is the
            one that the checkpoint names, if its file is as it was in training.

    Raises:
        InputError: no such file, damaged, foreign, or of a model that this version does not know; or the file
            of a network of the user's own is not there or has changed.
    """
    path = Path(path)
    if path == Path(PRETRAINED):
        path = find_best(path)
    content = read_checkpoint(path)
    ours = content["plumbline"]
    try:
        _load_own_networks(path, ours, model)
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not describe its model as this version needs it") from error
    if not is_known(ours["model"]):
        raise InputError(
            f"{path} holds the model {reprlib.repr(ours['model'])}, which this version does not know"
        )
    prefix = "model."
    weights = {
        name.removeprefix(prefix): value
        for name, value in content["state_dict"].items()
        if name.startswith(prefix)
    }
    try:
        built = build_model(ours["model"], **ours["model_args"])
        if any(value.dtype == torch.float64 for value in weights.values()):
            built = built.double()
        built.load_state_dict(weights)
    except (ArithmeticError, AttributeError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{path} does not fit the model {ours['model']!r} of this version: {' '.join(str(error).split())}"
        ) from error
    try:
        data = TrainedOn.from_dict(ours["data"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} does not describe its training data as this version needs it") from error
    try:
        calibration = Calibration.from_dict(ours["calibration"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} does not hold the calibration of its model as this version needs it"
        ) from error
    return Trained(
        path=path,
        model=built.eval(),
        model_name=ours["model"],
        model_args=ours["model_args"],
        config=ours["config"],
        data=data,
        metrics=ours["metrics"],
        calibration=calibration,
        epochs_done=ours["epochs_done"],
    )
