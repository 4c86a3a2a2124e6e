"""What a network's constructor takes, read off its source: flags and ``--help`` need it without torch."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.errors import InputError
from plumbline.models import MODELS
from plumbline.models.from_file import find, names_a_file

FILLED = frozenset(
    {
        "hidden_dim",
        "num_layers",
        "dropout",
        "feature_names",
        "vector_names",
        "features",
        "columns",
        "input_dim",
    }
)
"""Arguments that training fills in for any network that takes them."""
_TYPES: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


@dataclass(frozen=True)
class Argument:
    """A keyword argument of a network's own: a switch, a number or a text."""

    name: str
    type: type
    default: Any
    required: bool
    help: str


def own_arguments(model: str) -> dict[str, Argument]:
    """The arguments of a network's constructor that training does not fill in, in order.

    Args:
        model: in ``MODELS``, or ``path/to/file.py:ClassName``.

    Raises:
        InputError: the file is no readable Python, or defines no such class at its top level.
    """
    if names_a_file(model):
        source = find(model)
        path, class_name = source.path, source.class_name
    else:
        module, _, class_name = MODELS[model].partition(":")
        path = _path_of(module)
    node, init = _constructor(path, class_name)
    if init is None:
        return {}
    meanings = _meanings(ast.get_docstring(node)) | _meanings(ast.get_docstring(init))
    found = {}
    for parameter, default in _parameters(init.args):
        kind = _type_of(parameter, default)
        if parameter.arg not in FILLED and kind is not None:
            required, value = default is None, _literal(default)
            found[parameter.arg] = Argument(
                parameter.arg, kind, value, required, meanings.get(parameter.arg, "")
            )
    return found


def _path_of(module: str) -> Path:
    spec = importlib.util.find_spec(module)  # imports the package that it is in, not the module itself
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _constructor(path: Path, class_name: str) -> tuple[ast.ClassDef, ast.FunctionDef | None]:
    """The class and its constructor, which may be a base class's, in the same file or in this package."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid Python: {' '.join(str(error).split())}") from error
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    if class_name not in classes:
        has = ", ".join(classes) or "none"
        raise InputError(f"{path} defines no class {class_name} at its top level; it has {has}")
    node = classes[class_name]
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return node, item
    imported = {
        alias.asname or alias.name: (item.module, alias.name)
        for item in body
        if isinstance(item, ast.ImportFrom) and item.module and item.module.startswith("plumbline.models.")
        for alias in item.names
    }
    for base in map(ast.unparse, node.bases):
        if base in classes and base != class_name:
            return _constructor(path, base)
        if base in imported:
            module, original = imported[base]
            return _constructor(_path_of(module), original)
    return node, None


def _parameters(found: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Every parameter that can be given by name, with its default."""
    places = [*found.posonlyargs, *found.args]
    defaults = [None] * (len(places) - len(found.defaults)) + found.defaults
    yield from list(zip(places, defaults, strict=True))[max(len(found.posonlyargs), 1) :]  # not self
    yield from zip(found.kwonlyargs, found.kw_defaults, strict=True)


def _type_of(parameter: ast.arg, default: ast.expr | None) -> type | None:
    """By its annotation, else by its default; None for what no flag can give."""
    said = "" if parameter.annotation is None else ast.unparse(parameter.annotation).strip("'\"")
    if said:
        return _TYPES.get(re.sub(r"^Optional\[(.*)\]$|\s*\|\s*None$", r"\1", said))
    value = _literal(default)
    return type(value) if isinstance(value, bool | int | float | str) else None


def _literal(default: ast.expr | None) -> Any:
    try:
        return None if default is None else ast.literal_eval(default)
    except ValueError:  # an expression: its value shows when the class is imported
        return None


def _meanings(docstring: str | None) -> dict[str, str]:
    """The ``Args:`` section of a docstring by argument."""
    found: dict[str, str] = {}
    name = ""
    for line in (docstring or "").partition("Args:\n")[2].splitlines():
        if not line.startswith("    "):
            break
        if entry := re.match(r" {4}(\w+)(?: \(.*?\))?: (.*)", line):
            name, found[name] = entry[1], entry[2]
        elif name:
            found[name] += " " + line.strip()
    return {name: meaning.rstrip(".") for name, meaning in found.items()}
