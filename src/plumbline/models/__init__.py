"""The networks by name. A new one is one file and one line in ``MODELS``.

A model is an ``nn.Module`` with a keyword-only constructor (its schema), ``symmetry`` ("none",
"translation", "SE(3)" or "E(3)"), ``needs`` (parts of a :class:`~plumbline.data.batch.Batch` beyond the
node features that it reads) and ``forward(batch) -> [G, 3]``, the centre of mass in the stored frame.
"""

from importlib import import_module
from typing import Any

MODELS = {"gcn": "plumbline.models.gcn:GCN"}


def load_model_class(name: str) -> Any:
    """The class of a model by its name; KeyError for an unknown one."""
    module, _, attribute = MODELS[name].partition(":")
    return getattr(import_module(module), attribute)


def build_model(name: str, **arguments: Any) -> Any:
    """A new model with freshly drawn weights (from torch's global generator)."""
    return load_model_class(name)(**arguments)
