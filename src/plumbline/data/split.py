"""The split into training and validation: by object or by group, decided by the name alone."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from plumbline.errors import InputError
from plumbline.records import Float, Int

if TYPE_CHECKING:
    from plumbline.data.store.reader import PackedStore


def split_samples(
    object_idx: Int, object_names: Sequence[str], val_split: float, seed: int, split_by: str
) -> tuple[Int, Int]:
    """Divides samples by ``split_by``, "object" or "group": what must not have samples on both sides.

    A group is divided as an object of that name is, see :func:`split_by_object` for the rest.

    Raises:
        InputError: as there, or the samples show fewer than two groups.
    """
    if split_by == "object":
        return split_by_object(object_idx, object_names, val_split, seed)
    groups = sorted({group_of(name) for name in object_names})
    number = {group: i for i, group in enumerate(groups)}
    group_idx = np.array([number[group_of(name)] for name in object_names], np.int64)[object_idx]
    if len(np.unique(group_idx)) == 1:
        raise InputError(
            f"--split_by group: the data set shows only objects of one group ({groups[group_idx[0]]}), and a "
            "split by group needs at least two: use --split_by object, or add objects of another group"
        )
    return split_by_object(group_idx, groups, val_split, seed)


def group_of(name: str) -> str:
    """What an object belongs to: its name before the last slash; one without a slash stands for itself."""
    return name.rpartition("/")[0] or name


def split_by_object(
    object_idx: Int, object_names: Sequence[str], val_split: float, seed: int
) -> tuple[Int, Int]:
    """Divides samples so that no object has samples on both sides.

    An object goes to the validation side if the hash of (seed, its name), read as a number in [0, 1), is
    below ``val_split``. So neither the order of files, nor the platform, nor other objects that come or
    go can move it. The one exception: if a side would stay empty, the object nearest to the boundary
    changes sides.

    Args:
        object_idx: ``[G]`` which object each sample shows, an index into ``object_names``.
        object_names: the distinct names.
        val_split: expected fraction of objects that validate, strictly between 0 and 1.
        seed: another seed, another split.

    Returns:
        Ascending int64 indices of the training samples and of the validation samples.

    Raises:
        InputError: ``val_split`` is out of range, or the samples show fewer than two objects.
    """
    if not 0.0 < val_split < 1.0:
        raise InputError(f"--val_split must lie strictly between 0 and 1, got {val_split}")
    present = np.unique(object_idx)
    if len(present) < 2:
        shown = "only one object" if len(present) else "no object"
        raise InputError(
            f"the data set shows {shown}, and a split by object needs at least two: "
            "add scans of another object"
        )
    position = np.ones(len(object_names))
    position[present] = [_position(object_names[i], seed) for i in present.tolist()]
    validates = position < val_split
    if not validates[present].any():
        validates[_first(position, present, object_names, largest=False)] = True
    elif validates[present].all():
        validates[_first(position, present, object_names, largest=True)] = False
    on_validation_side = validates[object_idx]
    return np.flatnonzero(~on_validation_side), np.flatnonzero(on_validation_side)


def _position(name: str, seed: int) -> float:
    """Where an object lies in [0, 1): the leading 53 bits of a hash, which a double holds exactly."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


_SOLIDS = "solids/"
"""How names of built-in solids begin."""
_MARK = 16
"""Hex digits that stand for an object: 64 bits, so that no two of a million are ever the same."""


def object_sizes(store: "PackedStore", graphs: Int) -> dict[str, float]:
    """Name of each object that some graphs show, and its bounding radius in metres."""
    objects, first = np.unique(store.object_idx[graphs], return_index=True)
    shown = np.asarray(graphs)[first]
    radius = store.bounding_radius[shown] * store.scale[shown]
    return {store.object_names[i]: size for i, size in zip(objects.tolist(), radius.tolist(), strict=True)}


def mark_objects(sizes: Mapping[str, float]) -> str:
    """Objects (name to radius) as hashes, sorted and joined: short enough for a checkpoint to keep."""
    return "".join(sorted({mark for name, size in sizes.items() for mark in _marks(name, size)}))


def num_marked(marks: str, sizes: Mapping[str, float]) -> int:
    """How many objects (name to radius) are among those that :func:`mark_objects` was given."""
    known = _split(marks)
    return sum(not known.isdisjoint(_marks(name, size)) for name, size in sizes.items())


def num_same(marks: str, sizes: Mapping[str, float]) -> int:
    """:func:`num_marked` of those that have the same size too: many are called ``object_1``."""
    known = _split(marks)
    return sum(_marks(name, size)[0] in known for name, size in sizes.items())


def _split(marks: str) -> set[str]:
    return {marks[i : i + _MARK] for i in range(0, len(marks), _MARK)}


def _marks(name: str, size: float) -> list[str]:
    """An object is known by its name in the folder of all, or, from another folder, by file name and size.

    Built-in solids of another seed have the same names and are others.
    """
    texts = [f"{name.rpartition('/')[2]} {size:.6g}"]
    if not name.startswith(_SOLIDS):
        texts.append(name)
    return [hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_MARK] for text in texts]


def _first(position: Float, present: Int, names: Sequence[str], *, largest: bool) -> int:
    """The present object nearest to the boundary (ties by name, so that order never matters)."""
    sign = -1.0 if largest else 1.0
    return min(present.tolist(), key=lambda i: (sign * position[i], names[i]))
