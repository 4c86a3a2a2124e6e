"""``--model``, and the flags that a network's constructor adds."""

from plumbline.config.options import Option
from plumbline.kinds import Kind, nearest
from plumbline.models import MODELS
from plumbline.models.arguments import own_arguments
from plumbline.models.from_file import names_a_file


def _network(name: str) -> str:
    if names_a_file(name):
        own_arguments(name)  # raises InputError if file or class is missing
    elif name not in MODELS:
        names = ", ".join((*MODELS, "path/to/file.py:ClassName"))
        raise ValueError(f"choose one of {names}{nearest(name, MODELS)}")
    return name


network = Kind(_network, f"{{{','.join(MODELS)},FILE.py:CLASS}}", tuple(MODELS))
"""The name of a network, or of a class in the user's own file."""


def own_options(model: str) -> dict[str, Option]:
    """The flags of a network by name: its constructor's arguments that training does not fill in."""
    return {
        name: Option(name, item.default, item.help, item.kind, group=f"model {model}", into="model_args")
        for name, item in own_arguments(model).items()
    }


def owners(name: str) -> str:
    """The networks whose own flags include this name, joined by "or"; empty if there are none."""
    return " or ".join(model for model in MODELS if name in own_arguments(model))
