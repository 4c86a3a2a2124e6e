"""The predictor that the flags ``--checkpoint`` and ``--model`` mean, or the default one."""

from pathlib import Path

from plumbline.errors import InputError
from plumbline.own_parts import is_class, names_a_file
from plumbline.predictors.find_checkpoint import checkpoint_name
from plumbline.predictors.predictor import Predictor, load_predictor

FOLDER = Path("checkpoints")
"""Default folder for checkpoints; where there is none, the shipped model predicts."""


def choose_predictor(checkpoint: Path | None, model: str | None, *, batch_size: int) -> Predictor:
    """Load the chosen model.

    Args:
        checkpoint: a checkpoint, or a folder of them; None for the default.
        model: an untrained baseline, or a class or function in the user's own file; or None.
        batch_size: scans that are looked at together.

    Raises:
        InputError: two are named, or the checkpoint is unusable.
    """
    own = model if model is not None and names_a_file(model) and is_class(model) else None
    untrained = model if own is None else None
    if untrained is not None and checkpoint is not None:
        raise InputError("--checkpoint and --model exclude each other: remove one")
    source = untrained or checkpoint or (FOLDER if FOLDER.is_dir() else None)
    if own is not None and source is None:
        raise InputError(
            f"--model {own} is the network of a checkpoint, and there is no folder checkpoints here: give "
            "--checkpoint CKPT"
        )
    return load_predictor(source, model=own, batch_size=batch_size)


def model_facts(predictor: Predictor) -> dict[str, str]:
    """What each line of JSON says of the model."""
    if predictor.checkpoint is None:
        return {"model": predictor.name}
    return {"model": predictor.name, "checkpoint": checkpoint_name(predictor.checkpoint)}
