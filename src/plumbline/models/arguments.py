"""Arguments of a network's constructor, parsed from its source: flags and ``--help`` work without torch."""

import ast
import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.errors import InputError
from plumbline.kinds import Kind, number, switch, text, whole
from plumbline.models import MODELS, SIDE_ARGUMENTS
from plumbline.own_parts import classes, find, names_a_file, parse, undefined

FILLED = frozenset(
    ("hidden_dim", "num_layers", "dropout")
    + ("feature_names", "vector_names", "features", "columns", "input_dim")
    + SIDE_ARGUMENTS
)
"""Arguments that training provides to any network that takes them."""
_KINDS = {"bool": switch, "int": whole(), "float": number(), "str": text}


@dataclass(frozen=True)
class Argument:
    """A network's own keyword argument: a switch, a number or a text."""

    name: str
    kind: Kind
    default: Any
    required: bool
    help: str


def own_arguments(model: str) -> dict[str, Argument]:
    """List the arguments of a network's constructor that training does not provide, in order.

    Args:
        model: a name in ``MODELS``, or ``path/to/file.py:ClassName``.

    Raises:
        InputError: the file is not readable Python, or defines no such class at its top level.
    """
    if names_a_file(model):
        source = find(model)
        path, class_name = source.path, source.name
    else:
        module, _, class_name = MODELS[model].partition(":")
        path = _path_of(module)
    node, init = _constructor(path, class_name)
    if init is None:
        return {}
    meanings = _meanings(ast.get_docstring(node)) | _meanings(ast.get_docstring(init))
    found = {}
    for parameter, default in _parameters(init.args):
        required, value = default is None, _literal(default)
        kind = _kind_of(parameter, value)
        if parameter.arg not in FILLED and kind is not None:
            found[parameter.arg] = Argument(
                parameter.arg, kind, value, required, meanings.get(parameter.arg, "")
            )
    return found


def read_arguments(model: str, texts: Sequence[str]) -> dict[str, Any]:
    """Parse the values of a network's own arguments.

    Args:
        model: as for :func:`own_arguments`.
        texts: ``NAME=VALUE`` each; the last value of a name counts.

    Raises:
        InputError: there is no such argument, the value is invalid, or a required argument is missing.
    """
    own = own_arguments(model)
    values = {}
    for given in texts:
        name, _, value = given.partition("=")
        if name not in own:
            has = ", ".join(f"{item.name}={item.default}" for item in own.values()) or "none"
            raise InputError(f"--model_args {given}: {model} has no such argument of its own (it has {has})")
        try:
            values[name] = own[name].kind.read(value)
        except ValueError as error:
            raise InputError(f"--{name} {value}: {error}") from None
    for name, item in own.items():
        if item.required and name not in values:
            raise InputError(f"--{name} is missing: {model} has no default for it")
    return values


def _path_of(module: str) -> Path:
    spec = importlib.util.find_spec(module)  # imports the module's package, but not the module
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _constructor(path: Path, class_name: str) -> tuple[ast.ClassDef, ast.FunctionDef | None]:
    """Find a class and its constructor, perhaps that of a base class in the same file or in this package."""
    body = parse(path)
    known = classes(body)
    if class_name not in known:
        raise undefined(path, "class", class_name, known)
    node = known[class_name]
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
        if base in known and base != class_name:
            return _constructor(path, base)
        if base in imported:
            module, original = imported[base]
            return _constructor(_path_of(module), original)
    return node, None


def _parameters(found: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Yield every parameter that can be passed by name, with its default."""
    places = [*found.posonlyargs, *found.args]
    defaults = [None] * (len(places) - len(found.defaults)) + found.defaults
    yield from list(zip(places, defaults, strict=True))[max(len(found.posonlyargs), 1) :]  # not self
    yield from zip(found.kwonlyargs, found.kw_defaults, strict=True)


def _kind_of(parameter: ast.arg, default: Any) -> Kind | None:
    """Kind of a parameter, from its annotation or else its default; None if no flag can express it.

    An int with a default of at least 1 must be at least 1.
    """
    name = type(default).__name__
    if parameter.annotation is not None:
        said = ast.unparse(parameter.annotation).strip("'\"")
        name = re.sub(r"^Optional\[(.*)\]$|\s*\|\s*None$", r"\1", said)
    if name == "int" and default is not None and default >= 1:
        return whole(at_least=1)
    return _KINDS.get(name)


def _literal(default: ast.expr | None) -> Any:
    try:
        return None if default is None else ast.literal_eval(default)
    except ValueError:  # an expression, whose value is only known when the class is imported
        return None


def _meanings(docstring: str | None) -> dict[str, str]:
    """Parse the ``Args:`` section of a docstring: argument to description."""
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
