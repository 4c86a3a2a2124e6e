"""Loading of a network from a file of the user, ``path/to/file.py:ClassName``."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.errors import InputError


@dataclass(frozen=True)
class ModelSource:
    """The file and name of a class, and the hash of the file."""

    path: Path
    class_name: str
    sha256: str


_LOADED: dict[str, tuple[ModelSource, Any]] = {}
"""The class that was last imported for each name."""


def names_a_file(name: str) -> bool:
    """Whether the name of a network refers to a class in a file."""
    return name.rpartition(":")[0].endswith(".py")


def find(name: str) -> ModelSource:
    """Read the current source of a class. Raises InputError if the file cannot be read."""
    from hashlib import sha256  # a top-level import would slow down every start

    file, _, class_name = name.rpartition(":")
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    return ModelSource(Path(file), class_name, sha256(content).hexdigest())


def loaded(name: str) -> tuple[ModelSource, Any] | None:
    """The class that :func:`load` imported for this name, with its source, or None."""
    return _LOADED.get(name)


def load(name: str) -> Any:
    """Import the file, unless its current content was already imported, and return the class.

    The module gets a unique name in ``sys.modules``, so it does not hide any other.

    Raises:
        InputError: the file cannot be read or imported, or the class is not a network.
    """
    source = find(name)
    known = _LOADED.get(name)
    if known is not None and known[0] == source:
        return known[1]
    module_name = f"plumbline_model_{source.path.stem}_{source.sha256[:16]}"
    spec = importlib.util.spec_from_file_location(module_name, source.path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
        found = getattr(module, source.class_name)
    except (Exception, SystemExit) as error:  # the file may raise anything
        del sys.modules[module_name]
        reason = " ".join(str(error).split())
        raise InputError(f"{source.path} cannot be imported ({type(error).__name__}: {reason})") from error
    _check(found, name)
    _LOADED[name] = source, found
    return found


def load_recorded(name: str, sha256: str, given: str | None = None) -> None:
    """Import the class that a checkpoint was trained with, under the name that it has in the checkpoint.

    A checkpoint only names a file. The file is run if it is unchanged since the training, or if the user
    gives it.

    Args:
        name: the class as the training was given it, ``path/to/file.py:ClassName``.
        sha256: digest of the file at the time of the training.
        given: the class to use instead; neither its path nor its digest is compared.

    Raises:
        InputError: the file is not there, has changed since the training, or its class cannot be used.
    """
    if given is not None:
        load(given)
        _LOADED[name] = _LOADED[given]
        return
    known = _LOADED.get(name)
    if known is not None and known[0].sha256 == sha256:
        return
    try:
        source = find(name)
    except InputError as error:
        raise InputError(f"{error}; give the network with --model path/to/file.py:ClassName") from error
    if source.sha256 != sha256:
        raise InputError(
            f"{source.path} has changed since the training; to use it anyway, give it: --model {name}"
        )
    load(name)


def register(found: type) -> str:
    """Make a class known by the name of the file that defines it, without importing the file again.

    Args:
        found: a network, defined at the top level of a file.

    Returns:
        Its name for ``model``: ``path/to/file.py:ClassName``.

    Raises:
        InputError: the class is not defined in a file, or is not a network.
    """
    import inspect

    try:
        file = inspect.getsourcefile(found) or ""
    except (OSError, TypeError):
        file = ""
    if not Path(file).is_file() or found.__qualname__ != found.__name__:
        raise InputError(
            f"the network {found.__qualname__} is not defined at the top level of a file: write it into "
            "a .py file, so that its checkpoints can be used again"
        )
    name = f"{file}:{found.__name__}"
    _check(found, name)
    _LOADED[name] = find(name), found
    return name


def _check(found: Any, name: str) -> None:
    """Raise InputError if training cannot use the class."""
    from torch import nn

    from plumbline.models import SYMMETRIES

    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError(f"{name} is not a class derived from torch.nn.Module")
    if getattr(found, "symmetry", None) not in SYMMETRIES:
        raise InputError(f"{name} lacks a class attribute symmetry, one of {', '.join(SYMMETRIES)}")
    if not isinstance(getattr(found, "needs", None), set | frozenset):
        raise InputError(
            f"{name} lacks a class attribute needs: the parts of a batch that it reads beyond node features, "
            "such as frozenset({'edge_index'}), or frozenset()"
        )
