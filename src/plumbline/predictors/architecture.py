"""The flags of training that describe the network of a checkpoint."""

import reprlib
from pathlib import Path
from typing import Any

from plumbline.errors import InputError
from plumbline.models import MODELS
from plumbline.models.arguments import FILLED
from plumbline.own_parts import names_a_file
from plumbline.predictors.find_checkpoint import find_best

SIZES = ("hidden_dim", "num_layers", "dropout")


def architecture(checkpoint: Path, member: int) -> dict[str, str | list[str]]:
    """The flags of ``plumbline train`` that give the network of a checkpoint, as a user would write them.

    Args:
        checkpoint: a file, a folder, or ``pretrained``.
        member: which network of an ensemble, counted again from the first after the last.

    Raises:
        InputError: there is no such checkpoint, or it cannot be read.
    """
    from plumbline.predictors.checkpoint import networks_in, read_checkpoint  # imported late: torch

    path = find_best(checkpoint)
    ours = read_checkpoint(path)["plumbline"]
    try:
        networks = networks_in(ours)
        network = networks[member % len(networks)]
        args, config = network["model_args"], ours["config"]
        found = {name: _text(args.get(name, config[name])) for name in SIZES}
        own = [f"{name}={_text(value)}" for name, value in args.items() if name not in FILLED]
        model = str(network["model"])
    except (AttributeError, KeyError, TypeError, ZeroDivisionError) as error:
        raise InputError(f"{path} does not describe its network as this version needs it") from error
    if not names_a_file(model) and model not in MODELS:
        raise InputError(f"{path} holds the model {reprlib.repr(model)}, which this version does not know")
    return {**found, "model": model, "model_args": own}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
