"""Masks of a depth image: which pixels show which object."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plumbline.errors import InputError
from plumbline.records import Int

_MOST_LABELS = 64
"""More different numbers than this are no objects: in 8 bits a picture with soft edges, otherwise depths."""
_COUNTABLE = 1 << 16
"""Numbers below this are counted by a table, which is faster than sorting."""


class Labels(NamedTuple):
    """The objects of a mask.

    Attributes:
        numbers: the number of each object in the mask, ascending; 1 for a mask without numbers.
        places: ``[H, W]`` 0 off all objects, i + 1 on the object ``numbers[i]``.
    """

    numbers: tuple[int, ...]
    places: Int


def read_labels(mask: np.ndarray, shape: tuple[int, ...], name: str) -> Labels:
    """Tell the objects of a mask apart.

    A mask of whole numbers has an object for each number that is not 0. One of true and false, of other
    numbers, or a picture with soft edges, is of one object.

    Args:
        mask: ``[H, W]``, not 0 on the objects.
        shape: of the depth image.
        name: what error messages call the depth image.

    Raises:
        InputError: the mask has another size, is empty, holds negative numbers or numbers that are not
            finite, or is not of objects: a depth image, or a picture that was resized with blended edges.
    """
    mask = np.asarray(mask)
    if mask.shape != shape:
        raise InputError(
            f"{name}: the depth image has shape {list(shape)}, the mask {list(mask.shape)}; they must be of "
            "the same camera and size"
        )
    if mask.dtype.kind not in "biuf":
        raise InputError(f"{name}: a mask is [H, W] numbers, this is {mask.dtype}")
    if mask.dtype.kind == "f" and not np.isfinite(mask).all():
        raise InputError(f"{name}: the mask has numbers that are not finite; make it 0 off the object")
    if not mask.any():
        raise InputError(
            f"{name}: the mask is empty, 0 everywhere; give an image that is not 0 on the object"
        )
    if mask.dtype.kind == "b":
        return Labels((1,), mask.astype(np.intp))
    if mask.min() < 0:
        raise InputError(
            f"{name}: the mask has negative numbers; make it 0 off the objects, 1 and more on them"
        )
    found = _numbered(mask)
    if len(found.numbers) > _MOST_LABELS:
        if mask.dtype.itemsize > 1:
            raise InputError(
                f"{name}: the mask has {len(found.numbers):,} different numbers, as a depth image has; give "
                "an image that is 0 off the object and not 0 on it"
            )
        return Labels((1,), (found.places > 0).astype(np.intp))
    if mask.dtype.kind == "f" and (mask % 1).any():
        return Labels((1,), (found.places > 0).astype(np.intp))
    return _without_soft_edges(found, mask.dtype.itemsize == 1, name)


def _numbered(mask: np.ndarray) -> Labels:
    """All numbers but 0 of a mask as labels; those of floats rounded down."""
    if mask.dtype.kind in "iu" and mask.max() < _COUNTABLE:
        there = np.bincount(mask.ravel()) > 0
        there[0] = False
        rank = np.cumsum(there)
        rank[0] = 0
        return Labels(tuple(np.flatnonzero(there).tolist()), rank[mask])
    numbers, places = np.unique(mask, return_inverse=True)
    first = int(numbers[0] != 0)
    return Labels(tuple(map(int, numbers[1 - first :].tolist())), places.reshape(mask.shape) + first)


def _without_soft_edges(found: Labels, is_picture: bool, name: str) -> Labels:
    """Merge the soft edges of one object with it; refuse those of several."""
    if len(found.numbers) == 1:
        return found
    has_inside = _have_inside(found)
    whole = [number for number, inside in zip(found.numbers, has_inside, strict=True) if inside]
    edges = [number for number, inside in zip(found.numbers, has_inside, strict=True) if not inside]
    if is_picture and len(whole) == 1 and edges and max(edges) < whole[0]:
        return Labels((whole[0],), (found.places > 0).astype(np.intp))
    if len(edges) > len(whole):
        shown = ", ".join(map(str, edges[:4]))
        raise InputError(
            f"{name}: {len(edges)} of the {len(found.numbers)} numbers in the mask ({shown}) are lines or "
            "specks, as the edges of a picture that was resized or compressed; give the mask as it was made, "
            "resized with nearest neighbour only"
        )
    return found


def _have_inside(found: Labels) -> NDArray[np.bool_]:
    """Tell which objects have a pixel whose four neighbours are of the same object."""
    at = found.places
    middle = at[1:-1, 1:-1]
    same = (
        (middle == at[:-2, 1:-1])
        & (middle == at[2:, 1:-1])
        & (middle == at[1:-1, :-2])
        & (middle == at[1:-1, 2:])
    )
    result: NDArray[np.bool_] = np.bincount(middle[same], minlength=len(found.numbers) + 1)[1:] > 0
    return result
