"""What names a network, a loss, a baseline or a tracker, ours or the user's; the flags of a network."""

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plumbline import predictors
from plumbline.config.options import Option, option
from plumbline.kinds import Kind, file, nearest
from plumbline.models import MODELS
from plumbline.models.arguments import own_arguments
from plumbline.own_parts import classes, find, functions, names_a_file, parse, undefined


def _named(ours: Sequence[str], own: Callable[[str], Any], metavar: str, example: str) -> Kind:
    """Kind of one of our names, or of something in the user's own file, which ``own`` looks for there."""

    def read(name: str) -> str:
        if names_a_file(name):
            own(name)  # raises InputError if it is not there
        elif name not in ours:
            verb = "choose one of" if ours else "give"
            raise ValueError(f"{verb} {', '.join((*ours, example))}{nearest(name, ours)}")
        return name

    return Kind(read, f"{{{','.join((*ours, metavar))}}}" if ours else metavar, tuple(ours))


def _own_function(name: str) -> None:
    """Raise InputError if the file does not define this function."""
    source = find(name)
    known = functions(parse(source.path))
    if source.name not in known:
        raise undefined(source.path, "function", source.name, known)


def _own_class(name: str) -> None:
    """Raise InputError if the file does not define this class."""
    source = find(name)
    known = classes(parse(source.path))
    if source.name not in known:
        raise undefined(source.path, "class", source.name, known)


def _own_class_or_function(name: str) -> None:
    """Raise InputError if the file defines neither."""
    source = find(name)
    body = parse(source.path)
    known = (*classes(body), *functions(body))
    if source.name not in known:
        raise undefined(source.path, "class or function", source.name, known)


network = _named(tuple(MODELS), own_arguments, "FILE.py:CLASS", "path/to/file.py:ClassName")
"""The name of a network, or of a class in the user's own file."""
own_network = _named((), own_arguments, "FILE.py:CLASS", "path/to/file.py:ClassName")
"""A class in the user's own file."""
loss = _named(("l1", "displacement"), _own_function, "FILE.py:FUNCTION", "path/to/file.py:function")
"""The name of a loss, or of a function in the user's own file."""
logger = _named(("csv", "tensorboard", "wandb"), _own_class, "FILE.py:CLASS", "path/to/file.py:ClassName")
"""The name of a tracker, or of a class in the user's own file."""
own_baseline = _named((), _own_function, "FILE.py:FUNCTION", "path/to/file.py:function")
"""A function in the user's own file."""


def own_model_option(group: str = "") -> Any:
    """The flag of every verb that uses a checkpoint."""
    return option(
        None,
        "your own network that the checkpoint was trained with, if its file has moved or changed since",
        own_network,
        group=group,
    )


def own_baselines_option() -> Any:
    """The flag of every verb that compares with untrained baselines."""
    return option(
        [], "baselines of your own to compare with as well, each path/to/file.py:function", own_baseline
    )


def _untrained() -> list[str]:
    """The names of the untrained baselines, read off the table in their source, which imports scipy."""
    source = Path(predictors.__path__[0], "untrained.py").read_text("utf-8")
    names: list[str] = next(
        [ast.literal_eval(key) for key in node.value.keys if key is not None]
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
    )
    return [name.replace(" ", "_") for name in names]


def checkpoint_option() -> Any:
    """The flag ``--checkpoint`` of the verbs that answer for scans."""
    return option(
        None,
        "a checkpoint; a folder, whose best checkpoint is used; or pretrained, the shipped model; by default "
        "the folder checkpoints, or the shipped model if there is no such folder",
        file,
        metavar="CKPT",
        group="model",
    )


def predictor_option() -> Any:
    """The flag ``--model`` of the verbs that answer for scans: an untrained baseline, or something own."""
    return option(
        None,
        "an untrained baseline to use instead of a checkpoint, path/to/file.py:function for your own; or, "
        "for a checkpoint, path/to/file.py:ClassName: your own network, if its file has moved or changed",
        _named(_untrained(), _own_class_or_function, "FILE.py:NAME", "path/to/file.py:function"),
    )


def own_options(model: str) -> dict[str, Option]:
    """The flags of a network by name: its constructor's arguments that training does not fill in."""
    return {
        name: Option(name, item.default, item.help, item.kind, group=f"model {model}", into="model_args")
        for name, item in own_arguments(model).items()
    }


def owners(name: str) -> str:
    """The networks whose own flags include this name, joined by "or"; empty if there are none."""
    return " or ".join(model for model in MODELS if name in own_arguments(model))
