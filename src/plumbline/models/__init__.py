"""Registry of the networks by name. A new one is one file and one line in ``MODELS``.

A model is an ``nn.Module`` with a keyword-only constructor (its schema), ``symmetry`` ("none",
"translation", "SE(3)" or "E(3)"), ``needs`` (parts of a ``data.batches.batch.Batch`` that it reads in
addition to node features) and ``forward(batch) -> [G, 3]``, the centre of mass in the stored frame. A
model that predicts its own error also has ``answer(batch)``, which returns the centre of mass and the
logarithm ``[G]`` of the expected error, or a ``models.answer.Answer`` if it predicts more. If the gradient
of some weights should be clipped on its own, ``side_parameters()`` lists them. To be fine-tuned with
``--freeze trunk`` it names its ``heads``, submodules; on data with other features, it has ``feature_axes``
(``models.feature_axes``). Importing this module does not
import torch.
"""

from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from plumbline import own_parts
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
"""Name of the model that combines several trained ones; it is not trained itself."""

SIDE_ARGUMENTS = ("covariance", "payload")
"""Arguments of a network that say what it predicts next to the centre of mass."""

SYMMETRIES = {
    "none": "the answer changes when the object is turned",
    "translation": "the answer moves with the object but does not turn with it",
    "SE(3)": "the answer moves and turns with the object",
    "E(3)": "the answer moves, turns and mirrors with the object",
}
"""Values of a model's ``symmetry``, explained."""


def load_model_class(name: str) -> Any:
    """Load the class of a model by its name in ``MODELS``, or from a file of the user, which is executed.

    Raises:
        KeyError: there is no model of this name.
        InputError: ``path/to/file.py:ClassName`` cannot be imported, or is not a network.
    """
    if own_parts.names_a_file(name):
        own_parts.load(name)
    return _known_class(name)


def _known_class(name: str) -> Any:
    if known := own_parts.loaded(name):
        _check(known[1], name)
        return known[1]
    module, _, attribute = (MODELS | {ENSEMBLE: "plumbline.models.ensemble:Ensemble"})[name].partition(":")
    return getattr(import_module(module), attribute)


def is_known(name: Any) -> bool:
    """Whether :func:`build_model` can build a model of this name."""
    return isinstance(name, str) and (name in (*MODELS, ENSEMBLE) or own_parts.loaded(name) is not None)


def _check(found: Any, name: str) -> None:
    """Raise InputError if training cannot use the class."""
    from torch import nn

    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError(f"{name} is not a class derived from torch.nn.Module")
    if getattr(found, "symmetry", None) not in SYMMETRIES:
        raise InputError(f"{name} lacks a class attribute symmetry, one of {', '.join(SYMMETRIES)}")
    if not isinstance(getattr(found, "needs", None), set | frozenset):
        raise InputError(
            f"{name} lacks a class attribute needs: the parts of a batch that it reads beyond node features, "
            "such as frozenset({'edge_index'}), or frozenset()"
        )


def build_model(name: str, **arguments: Any) -> Any:
    """Build a new model with random weights (from torch's global generator).

    A model in a file of the user must have been loaded by :func:`load_model_class` before: checkpoints
    contain names, and a file must not be executed only because a checkpoint names it.

    Raises:
        KeyError: the name is not known.
    """
    return _known_class(name)(**arguments)


def arguments_for(
    name: str,
    *,
    feature_names: Sequence[str],
    vector_names: Sequence[str],
    features: Sequence[str],
    model_args: Sequence[str] = (),
    **sizes: Any,
) -> dict[str, Any]:
    """Collect the keyword arguments for a model's constructor: those of the following that it takes.

    Args:
        name: name of the model.
        feature_names, vector_names: those of the data set. A model that reads plain columns gets ``columns``
            (its own default if all are used) and their number ``input_dim``.
        features: value of ``--features``: ``["all"]``, ``["none"]`` or names of ``inputs.FEATURES``.
        model_args: ``NAME=VALUE`` for the model's own arguments.
        sizes: ``hidden_dim``, ``num_layers`` and ``dropout``, and ``SIDE_ARGUMENTS``.

    Raises:
        InputError: the data set has no such feature or the model no such argument, a value is invalid, or a
            required argument is missing.
    """
    from plumbline.models.arguments import read_arguments
    from plumbline.models.inputs import Inputs

    known = {**sizes, "feature_names": list(feature_names), "vector_names": list(vector_names)}
    if list(features) == ["all"]:
        known["input_dim"] = len(feature_names)
    else:
        inputs = Inputs(feature_names, vector_names, [feature for feature in features if feature != "none"])
        known |= {"features": list(inputs.names), "columns": inputs.columns, "input_dim": len(inputs.columns)}
    parameters = signature(load_model_class(name)).parameters
    return {key: value for key, value in known.items() if key in parameters} | read_arguments(
        name, model_args
    )


def forward_with_error(model: Any) -> Any:
    """The forward pass with the expected error, for a model that has one (``answer``); else ``forward``."""
    return getattr(model, "answer", model.forward)
