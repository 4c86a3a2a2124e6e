"""The networks by name. A new one is one file and one line in ``MODELS``; importing this imports no torch.

A model is an ``nn.Module`` with a keyword-only constructor (its schema), ``symmetry`` ("none",
"translation", "SE(3)" or "E(3)"), ``needs`` (parts of a ``data.batches.batch.Batch`` beyond the
node features that it reads) and ``forward(batch) -> [G, 3]``, the centre of mass in the stored frame. One
that knows its own doubt also has ``answer(batch)``: that, and the logarithm ``[G]`` of the error it expects.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from plumbline.models import from_file
from plumbline.models.from_file import ModelSource

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
    """The class of a model by its name in ``MODELS``, or of one in a file of the user's own, which is run.

    Raises:
        KeyError: there is no model of this name.
        InputError: ``path/to/file.py:ClassName`` cannot be imported, or is no network.
    """
    return from_file.load(name) if from_file.names_a_file(name) else _known_class(name)


def _known_class(name: str) -> Any:
    if known := from_file.loaded(name):
        return known[1]
    module, _, attribute = (MODELS | {ENSEMBLE: "plumbline.models.ensemble:Ensemble"})[name].partition(":")
    return getattr(import_module(module), attribute)


def is_known(name: Any) -> bool:
    """Whether :func:`build_model` can build it."""
    return isinstance(name, str) and (name in (*MODELS, ENSEMBLE) or from_file.loaded(name) is not None)


def source_of(name: str) -> ModelSource | None:
    """Where a class of the user's own came from, as it was imported, else as it is now; None for our models.

    Raises:
        InputError: the file cannot be read.
    """
    if not from_file.names_a_file(name):
        return None
    known = from_file.loaded(name)
    return from_file.find(name) if known is None else known[0]


def build_model(name: str, **arguments: Any) -> Any:
    """A new model with freshly drawn weights (from torch's global generator).

    One in a file of the user's own must have been loaded by :func:`load_model_class`: checkpoints hold names,
    and no file is run because a checkpoint names it. KeyError for a name that is not known.
    """
    return _known_class(name)(**arguments)


def arguments_for(name: str, known: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments of a model's constructor.

    Args:
        name: of the model.
        known: what there is to give; a model gets what it takes, and its own default instead of None.
        texts: ``NAME=VALUE`` for arguments of its own.

    Raises:
        InputError: it has no such argument, or cannot be given this value, or lacks one that it needs.
    """
    from plumbline.models.arguments import read_arguments

    parameters = signature(load_model_class(name)).parameters
    given = {key: value for key, value in known.items() if key in parameters and value is not None}
    return given | read_arguments(name, texts)


def entry_point(model: Any) -> Any:
    """What training calls of a model: ``answer`` where there is one, else ``forward``."""
    return getattr(model, "answer", model.forward)
