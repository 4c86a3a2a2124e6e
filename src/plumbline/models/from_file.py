"""A network in a file of the user's own: ``path/to/file.py:ClassName``."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.errors import InputError


@dataclass(frozen=True)
class ModelSource:
    """Where a class comes from, and a digest of that file."""

    path: Path
    class_name: str
    sha256: str


_LOADED: dict[str, tuple[ModelSource, Any]] = {}
"""What was imported last by each name."""


def names_a_file(name: str) -> bool:
    """Whether the name of a network means a class in a file."""
    return name.rpartition(":")[0].endswith(".py")


def find(name: str) -> ModelSource:
    """The file as it is now. Raises InputError if it cannot be read."""
    from hashlib import sha256  # every start would pay for it

    file, _, class_name = name.rpartition(":")
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    return ModelSource(Path(file), class_name, sha256(content).hexdigest())


def loaded(name: str) -> tuple[ModelSource, Any] | None:
    """The class that :func:`load` imported by this name, and where it came from, or None."""
    return _LOADED.get(name)


def load(name: str) -> Any:
    """Import the file, unless it was imported already as it is now, and return the class.

    The module gets a name of its own in ``sys.modules`` and hides no other.

    Raises:
        InputError: the file cannot be read or imported, or the class is no network.
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
    except (Exception, SystemExit) as error:  # whatever the file does
        del sys.modules[module_name]
        reason = " ".join(str(error).split())
        raise InputError(f"{source.path} cannot be imported ({type(error).__name__}: {reason})") from error
    _check(found, name)
    _LOADED[name] = source, found
    return found


def _check(found: Any, name: str) -> None:
    """Raises InputError if training could not use the class."""
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
