"""Checkpoints that are compared with each other: loaded, named apart, and described."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plumbline.predictors.find_checkpoint import checkpoint_name, find_best

if TYPE_CHECKING:
    from plumbline.predictors.checkpoint import Trained


def load_named(given: Iterable[Path | str], model: str | type | None) -> list[tuple[str, "Trained"]]:
    """Load checkpoints, with names that tell them apart.

    Args:
        given: files, or folders of runs, of which the best checkpoint is taken.
        model: the class of a network of the user's own, see :func:`plumbline.load_checkpoint`.

    Raises:
        InputError: one does not exist or cannot be read.
    """
    paths = [Path(path) for path in given]
    if not paths:
        return []
    from plumbline.predictors.checkpoint import load_checkpoint

    loaded = [load_checkpoint(find_best(path), model=model) for path in paths]
    names = [one.model_name for one in loaded]
    count = Counter(names)
    folders = [one.path.resolve().parent.name for one in loaded]
    names = [
        f"{name} ({folder})" if count[name] > 1 else name for name, folder in zip(names, folders, strict=True)
    ]
    return list(zip(told_apart(names), loaded, strict=True))


def told_apart(names: Sequence[str]) -> list[str]:
    """Number the names that occur more than once."""
    count = Counter(names)
    return [f"{name} #{i}" if count[name] > 1 else name for i, name in enumerate(names, 1)]


def describe(name: str, trained: "Trained") -> dict[str, Any]:
    """What a benchmark's result says of a checkpoint, as plain values."""
    net: Any = trained.model
    return {
        "name": name,
        "path": checkpoint_name(trained.path),
        "model": trained.model_name,
        "symmetry": net.symmetry,
        "parameters": sum(weights.numel() for weights in net.parameters()),
    }
