"""Split samples into training and validation, by object or by group; only names decide."""

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
    """Split samples by ``split_by``: no "object", or no "group", has samples on both sides.

    A group is assigned to a side like an object of that name. For the other arguments, the result and the
    rule see :func:`split_by_object`.

    Raises:
        InputError: as in :func:`split_by_object`, or the samples show fewer than two groups.
    """
    if split_by == "object":
        return split_by_object(object_idx, object_names, val_split, seed)
    groups = sorted({group_of(name) for name in object_names})
    number = {group: i for i, group in enumerate(groups)}
    group_idx = np.array([number[group_of(name)] for name in object_names], np.int64)[object_idx]
    if len(np.unique(group_idx)) == 1:
        raise InputError(
            f"--split_by group: all objects of the data set are of one group ({groups[group_idx[0]]}), and a "
            "split by group needs at least two: use --split_by object, or add objects of another group"
        )
    return split_by_object(group_idx, groups, val_split, seed)


def group_of(name: str) -> str:
    """The group of an object: its name up to the last slash, or the whole name if it has no slash."""
    return name.rpartition("/")[0] or name


def split_by_object(
    object_idx: Int, object_names: Sequence[str], val_split: float, seed: int
) -> tuple[Int, Int]:
    """Split samples so that no object has samples on both sides.

    An object goes to the validation side if the hash of (seed, its name), read as a number in [0, 1), is
    below ``val_split``. The side therefore does not depend on the order of files, on the platform, or on
    which other objects are added or removed. There is one exception: if a side would be empty, the object
    nearest to the boundary changes sides.

    Args:
        object_idx: ``[G]`` the object that each sample shows, as an index into ``object_names``.
        object_names: the distinct names.
        val_split: expected fraction of objects on the validation side, strictly between 0 and 1.
        seed: each seed gives a different split.

    Returns:
        Ascending int64 indices of the training samples and of the validation samples.

    Raises:
        InputError: ``val_split`` is out of range, or the samples show fewer than two objects.
    """
    if not 0.0 < val_split < 1.0:
        raise InputError(f"--val_split must be strictly between 0 and 1, got {val_split}")
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
    """Position of an object in [0, 1): the leading 53 bits of a hash, which float64 represents exactly."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


_SOLIDS = "solids/"
"""Prefix of the names of built-in solids."""
_MARK = 16
"""Hex digits of an object's mark: 64 bits, so that two of a million objects practically never share one."""


def object_sizes(store: "PackedStore", graphs: Int) -> dict[str, float]:
    """Map the name of each object that the given graphs show to its bounding radius in metres."""
    objects, first = np.unique(store.object_idx[graphs], return_index=True)
    shown = np.asarray(graphs)[first]
    radius = store.bounding_radius[shown] * store.scale[shown]
    return {store.object_names[i]: size for i, size in zip(objects.tolist(), radius.tolist(), strict=True)}


def mark_objects(sizes: Mapping[str, float]) -> str:
    """Encode objects (name to radius) as sorted, joined hashes, short enough to keep in a checkpoint."""
    return "".join(sorted({mark for name, size in sizes.items() for mark in _marks(name, size)}))


def num_marked(marks: str, sizes: Mapping[str, float]) -> int:
    """Count the objects (name to radius) that are among those passed to :func:`mark_objects`."""
    known = _split(marks)
    return sum(not known.isdisjoint(_marks(name, size)) for name, size in sizes.items())


def num_same(marks: str, sizes: Mapping[str, float]) -> int:
    """Count as :func:`num_marked`, but only objects whose size matches too: many are called ``object_1``."""
    known = _split(marks)
    return sum(_marks(name, size)[0] in known for name, size in sizes.items())


def _split(marks: str) -> set[str]:
    return {marks[i : i + _MARK] for i in range(0, len(marks), _MARK)}


def _marks(name: str, size: float) -> list[str]:
    """Hashes that identify an object: of its file name with its size, and of its full name.

    The first also matches when the data set was prepared from another folder. Built-in solids have only the
    first: with another seed the same names stand for different solids.
    """
    texts = [f"{name.rpartition('/')[2]} {size:.6g}"]
    if not name.startswith(_SOLIDS):
        texts.append(name)
    return [hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_MARK] for text in texts]


def _first(position: Float, present: Int, names: Sequence[str], *, largest: bool) -> int:
    """Find the present object nearest to the boundary; ties are broken by name, so order never matters."""
    sign = -1.0 if largest else 1.0
    return min(present.tolist(), key=lambda i: (sign * position[i], names[i]))
