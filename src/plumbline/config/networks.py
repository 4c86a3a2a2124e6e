"""``--model``, and the flags that a network's constructor adds."""

import ast
from pathlib import Path
from typing import Any

from plumbline import predictors
from plumbline.config.options import Option, option
from plumbline.kinds import Kind, nearest, one_of
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


def _own(name: str) -> str:
    if not names_a_file(name):
        raise ValueError("give path/to/file.py:ClassName")
    own_arguments(name)  # refuses what is not there
    return name


own_network = Kind(_own, "FILE.py:CLASS")
"""A class in the user's own file."""


def own_model_option(group: str = "") -> Any:
    """The flag of every verb that uses a checkpoint."""
    return option(
        None,
        "your own network that the checkpoint was trained with, if its file has moved or changed since",
        own_network,
        group=group,
    )


def _untrained() -> Kind:
    """The name of an untrained baseline. Read off the table in their source: importing it imports scipy."""
    source = Path(predictors.__path__[0], "untrained.py").read_text("utf-8")
    names: list[str] = next(
        [ast.literal_eval(key) for key in node.value.keys if key is not None]
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
    )
    return one_of(*(name.replace(" ", "_") for name in names))


def untrained_or_own_network() -> Kind:
    """An untrained baseline, or a class in the user's own file."""
    known = _untrained()
    return known._replace(read=lambda name: _own(name) if names_a_file(name) else known.read(name))


def own_options(model: str) -> dict[str, Option]:
    """The flags of a network by name: its constructor's arguments that training does not fill in."""
    return {
        name: Option(name, item.default, item.help, item.kind, group=f"model {model}", into="model_args")
        for name, item in own_arguments(model).items()
    }


def owners(name: str) -> str:
    """The networks whose own flags include this name, joined by "or"; empty if there are none."""
    return " or ".join(model for model in MODELS if name in own_arguments(model))
