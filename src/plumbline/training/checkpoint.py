"""Checkpoints: written so that a crash at any moment loses nothing, read so that nothing foreign runs.

A checkpoint is Lightning's dict plus the key ``"plumbline"``, with which it describes itself: model and its
arguments, config, data set, versions, random states. It loads with ``weights_only=True``.
"""

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from plumbline.errors import InputError
from plumbline.models import MODELS, build_model
from plumbline.training.task import FORMAT

BEST_NAME = "best-model-{epoch:02d}-{val_loss:.3f}"


class DurableCheckpoints(CheckpointIO):
    """Writes beside the destination, flushes, reads back, and only then gives the file its name.

    Lightning's own writer stages in the temporary folder (often another, smaller file system), flushes
    nothing, and goes on without a word when it is not permitted to write.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes ``checkpoint``; the file under ``path`` is the old one until the new one is safe."""
        buffer = BytesIO()
        torch.save(checkpoint, buffer)
        write_durably(Path(path), buffer.getbuffer())

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint of ours to the CPU, whatever Lightning asks for; never runs pickled code."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Deletes a file that a better one replaced."""
        Path(path).unlink(missing_ok=True)


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Replaces a file in one step, after the new content has reached the disk and was read back.

    Raises:
        InputError: the system refused (no space, no permission, a failing disk); the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    mend = "make room or mend the permissions, then"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if temporary.read_bytes() != content:
            raise OSError(0, "what was read back is not what was written")
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        if any(path.parent.glob("last*.ckpt")):
            hint = f"the one before it is untouched: {mend} go on with --resume"
        else:
            hint = f"there is none before it to go on from: {mend} start anew"
        raise InputError(f"cannot write the checkpoint {path} ({error.strerror or error}); {hint}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be flushed
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class BestAndLast(ModelCheckpoint):
    """The documented policy: after each validation the best model so far and the last state.

    The new best is written, and safe, before the old one is deleted.
    """

    # Lightning asks for the key at every hook of every step; its own spells out all settings each time.
    state_key = "BestAndLast"

    def __init__(self, folder: Path) -> None:
        super().__init__(
            dirpath=folder,
            filename=BEST_NAME,
            monitor="val_loss",
            mode="min",
            save_top_k=1,
            save_last=True,
            save_on_train_epoch_end=False,
            auto_insert_metric_name=False,
            save_weights_only=False,
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Also writes the last state when it is not the best; Lightning then leaves an old one there."""
        super().on_validation_end(trainer, pl_module)
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def save_last_now(self, trainer: Trainer) -> Path:
        """Writes ``last.ckpt`` between two steps."""
        self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        return Path(self.last_model_path)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Finds the best and the last file again where the folder was moved or is resumed by another path."""
        folder = Path(str(self.dirpath))
        known = [*state_dict["best_k_models"], state_dict["last_model_path"], state_dict["best_model_path"]]
        here = {path: str(folder / Path(path).name) for path in known if path}
        if all(Path(path).is_file() for path in here.values()):
            state_dict = state_dict | {
                "dirpath": str(self.dirpath),
                "best_k_models": {here[path]: score for path, score in state_dict["best_k_models"].items()},
                **{
                    key: here.get(state_dict[key], "")
                    for key in ("last_model_path", "best_model_path", "kth_best_model_path")
                },
            }
        super().load_state_dict(state_dict)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours as plain values and tensors on the CPU.

    Raises:
        InputError: there is no such file, it is damaged, or another program wrote it.
    """
    try:
        stored = BytesIO(path.read_bytes())
        broken = ZipFile(stored).testzip()  # torch.load does not look at the checksums
        stored.seek(0)
        content = torch.load(stored, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"there is no checkpoint {path}") from error
    except OSError as error:
        raise InputError(f"cannot read the checkpoint {path} ({error.strerror or error})") from error
    except Exception as error:
        raise InputError(f"{path} is no readable checkpoint ({_reason(error)})") from error
    if broken is not None:
        raise InputError(f"{path} is no readable checkpoint (the checksum of {broken} is wrong)")
    ours = content.get("plumbline") if isinstance(content, dict) else None
    if not isinstance(ours, dict) or "state_dict" not in content:
        raise InputError(f"{path} is not a checkpoint of this program: it does not say which model it holds")
    found = ours.get("format")
    if found != FORMAT:
        raise InputError(f"{path} has checkpoint format {found}, and this program reads {FORMAT}")
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, UnpicklingError):
        return "it holds more than plain values and tensors, which this program never loads"
    if isinstance(error, BadZipFile):
        return "it is damaged, or another program wrote it"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@dataclass(frozen=True)
class Trained:
    """A trained model and what its checkpoint says about it.

    Attributes:
        path: of the checkpoint.
        model: with its weights, on the CPU, in float32 (float64 if trained so), ready to predict.
        model_name: as in ``MODELS``.
        model_args: its keyword arguments.
        config: all flags of the training, plain values.
        data: data set it was trained on: ``data_dir``, ``fingerprint``, ``feature_names``, ``normalise``,
            ``num_train``, ``num_val``, ``val_split``, ``seed``.
        metrics: of the epoch it was saved after, by their documented names.
        epochs_done: whole epochs of training behind it.
    """

    path: Path
    model: nn.Module
    model_name: str
    model_args: dict[str, Any]
    config: dict[str, Any]
    data: dict[str, Any]
    metrics: dict[str, float]
    epochs_done: int


def load_checkpoint(path: Path | str) -> Trained:
    """Builds the model that a checkpoint describes and gives it its weights.

    Raises:
        InputError: no such file, damaged, foreign, or of a model that this version does not know.
    """
    path = Path(path)
    content = read_checkpoint(path)
    ours = content["plumbline"]
    if ours["model"] not in MODELS:
        raise InputError(f"{path} holds the model {ours['model']!r}, which this version does not know")
    prefix = "model."
    weights = {
        name.removeprefix(prefix): value
        for name, value in content["state_dict"].items()
        if name.startswith(prefix)
    }
    try:
        model = build_model(ours["model"], **ours["model_args"])
        if any(value.dtype == torch.float64 for value in weights.values()):
            model = model.double()
        model.load_state_dict(weights)
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"{path} does not fit the model {ours['model']!r} of this version: {error}"
        ) from error
    return Trained(
        path=path,
        model=model.eval(),
        model_name=ours["model"],
        model_args=ours["model_args"],
        config=ours["config"],
        data=ours["data"],
        metrics=ours["metrics"],
        epochs_done=ours["epochs_done"],
    )
