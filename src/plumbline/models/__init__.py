"""The networks by name. A new one is one file and one line in ``MODELS``.

A model is an ``nn.Module`` with a keyword-only constructor (its schema), ``symmetry`` ("none",
"translation", "SE(3)" or "E(3)"), ``needs`` (parts of a ``data.batches.batch.Batch`` beyond the
node features that it reads) and ``forward(batch) -> [G, 3]``, the centre of mass in the stored frame. One
that knows its own doubt also has ``answer(batch)``: that, and the logarithm ``[G]`` of the error it expects.
"""

from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from plumbline.errors import InputError

MODELS = {
    "gcn": "plumbline.models.gcn:GCN",
    "pointnet": "plumbline.models.pointnet:PointNet",
    "egnn": "plumbline.models.egnn:EGNN",
    "painn": "plumbline.models.painn:PaiNN",
    "steerable": "plumbline.models.steerable:Steerable",
    "framed": "plumbline.models.framed:FramedPointNet",
    "ept": "plumbline.models.ept:EPT",
}

ENSEMBLE = "ensemble"
"""Name of the model that several trained ones make together; it is not trained itself."""

SYMMETRIES = {
    "none": "the answer changes when the object is turned",
    "translation": "the answer moves with the object but does not turn with it",
    "SE(3)": "the answer moves and turns with the object",
    "E(3)": "the answer moves, turns and mirrors with the object",
}
"""What a model's ``symmetry`` means."""


def load_model_class(name: str) -> Any:
    """The class of a model by its name; KeyError for an unknown one."""
    module, _, attribute = (MODELS | {ENSEMBLE: "plumbline.models.ensemble:Ensemble"})[name].partition(":")
    return getattr(import_module(module), attribute)


def build_model(name: str, **arguments: Any) -> Any:
    """A new model with freshly drawn weights (from torch's global generator)."""
    return load_model_class(name)(**arguments)


def arguments_for(name: str, known: dict[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments of a model's constructor.

    Args:
        name: of the model.
        known: what there is to give; a model gets what it takes, and its own default instead of None.
        texts: ``NAME=VALUE`` for arguments of its own.

    Raises:
        InputError: the model has no such argument, or its value is no number of the kind it needs or below 1.
    """
    parameters = signature(load_model_class(name)).parameters
    given = {key: value for key, value in known.items() if key in parameters and value is not None}
    own = {key: item.default for key, item in parameters.items() if key not in known}
    for text in texts:
        key, _, value = text.partition("=")
        if key not in own:
            has = ", ".join(f"{key}={default}" for key, default in own.items()) or "none"
            raise InputError(f"--model_args {text}: {name} has no such argument of its own (it has {has})")
        try:
            given[key] = type(own[key])(value)
        except ValueError as error:
            kind = {int: "a whole number", float: "a number"}.get(type(own[key]), "text")
            raise InputError(f"--model_args {text}: {key} must be {kind}") from error
        if isinstance(own[key], int) and given[key] < 1:  # every whole number counts parts of a network
            raise InputError(f"--model_args {text}: must be at least 1")
    return given


def entry_point(model: Any) -> Any:
    """What training calls of a model: ``answer`` where there is one, else ``forward``."""
    return getattr(model, "answer", model.forward)
