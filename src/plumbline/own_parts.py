"""A network, a loss, a baseline or a tracker of the user's own, from ``path/to/file.py:name``."""

import ast
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.errors import InputError


@dataclass(frozen=True)
class PartSource:
    """The file and name of a class or function, and the hash of the file."""

    path: Path
    name: str
    sha256: str


_LOADED: dict[str, tuple[PartSource, Any]] = {}
"""What was last imported for each name."""


def names_a_file(name: str) -> bool:
    """Whether a name refers to something in a file of the user."""
    return name.rpartition(":")[0].endswith(".py")


def find(name: str) -> PartSource:
    """Read the current source of a part. Raises InputError if the file cannot be read."""
    from hashlib import sha256  # a top-level import would slow down every start

    file, _, part = name.rpartition(":")
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    return PartSource(Path(file), part, sha256(content).hexdigest())


def parse(path: Path) -> list[ast.stmt]:
    """The statements at the top level of a file, which is not run. Raises InputError: not valid Python."""
    try:
        return ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid Python: {' '.join(str(error).split())}") from error


def classes(body: Sequence[ast.stmt]) -> dict[str, ast.ClassDef]:
    """The classes among these statements, by name."""
    return {node.name: node for node in body if isinstance(node, ast.ClassDef)}


def functions(body: Sequence[ast.stmt]) -> list[str]:
    """The names of functions, and of values such as ``half = Baseline(...)``, among these statements."""
    found = []
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [target.id for target in targets if isinstance(target, ast.Name)]
    return found


def is_class(name: str) -> bool:
    """Whether the name is that of a class in its file. Raises InputError if the file cannot be read."""
    source = find(name)
    return source.name in classes(parse(source.path))


def undefined(path: Path, noun: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that a file does not define, where ``known`` are the names that it does."""
    has = ", ".join(known) or "none"
    return InputError(f"{path} defines no {noun} {name} at its top level; it has {has}")


def loaded(name: str) -> tuple[PartSource, Any] | None:
    """What :func:`load` imported for this name, with its source, or None."""
    return _LOADED.get(name)


def source_of(name: str) -> PartSource | None:
    """The source of a part, as imported or else as it is now; None for a name of this package.

    Raises:
        InputError: the file cannot be read.
    """
    if not names_a_file(name):
        return None
    known = _LOADED.get(name)
    return find(name) if known is None else known[0]


def load(name: str) -> Any:
    """Import the file, unless its current content was already imported, and return the class or function.

    The module gets a unique name in ``sys.modules``, so it does not hide any other.

    Raises:
        InputError: the file cannot be read or imported, or does not define the name.
    """
    source = find(name)
    known = _LOADED.get(name)
    if known is not None and known[0] == source:
        return known[1]
    module = _module(source)
    if not hasattr(module, source.name):
        raise InputError(f"{source.path} does not define {source.name}")
    _LOADED[name] = source, getattr(module, source.name)
    return _LOADED[name][1]


def _module(source: PartSource) -> Any:
    """The imported file; the parts of one file share one module."""
    from hashlib import sha256

    digest = sha256(f"{source.path.resolve()} {source.sha256}".encode("utf-8", "surrogateescape")).hexdigest()
    name = f"plumbline_own_{source.path.stem}_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, source.path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the file may raise anything
        del sys.modules[name]
        raise InputError(f"{source.path} cannot be imported ({reason(error)})") from error
    return module


def reason(error: BaseException) -> str:
    """What an exception of the user's code says, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def load_recorded(name: str, sha256: str, given: str | None = None) -> None:
    """Import the network that a checkpoint was trained with, under the name that it has in the checkpoint.

    A checkpoint only names a file. The file is run if it is unchanged since the training, or if the user
    gives it.

    Args:
        name: the class as the training was given it, ``path/to/file.py:ClassName``.
        sha256: digest of the file at the time of the training.
        given: the class to use instead; neither its path nor its digest is compared.

    Raises:
        InputError: the file is not there, has changed since the training, or cannot be imported.
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


def register(found: Any) -> str:
    """Make an object known by the name of the file that defines it, without importing the file again.

    Args:
        found: a class or a function, defined at the top level of a file; or a
            :class:`plumbline.Baseline` of such a function, whose name it gets.

    Returns:
        Its name as a flag: ``path/to/file.py:name``.

    Raises:
        InputError: it is not defined at the top level of a file.
    """
    import inspect

    defined = found if isinstance(found, type) else getattr(found, "answer", found)
    called = getattr(defined, "__qualname__", "")
    try:
        file = inspect.getsourcefile(defined) or ""
    except (OSError, TypeError):
        file = ""
    if not Path(file).is_file() or not called.isidentifier():
        raise InputError(
            f"{called or repr(found)} is not defined at the top level of a file: write it into a .py file, "
            "so that it can be used again"
        )
    name = f"{file}:{called}"
    _LOADED[name] = find(name), found
    return name
