"""Masks of a depth image: which pixels show which object."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from plumbline.arrays import to_array
from plumbline.errors import InputError
from plumbline.records import Int

_T = TypeVar("_T")
_USUAL = 64
"""More different numbers than this are objects only if most of their pixels lie inside of them."""
_INSIDE = 0.1
"""A number is that of an object if this share of its pixels have four neighbours of the same number. Of three
pixels by three it is a ninth; the grey levels of soft edges have next to none."""
_SURE = 0.5
"""The same share over a whole mask of more than the usual number of objects; a depth image has less."""
_ADJACENT = 0.5
"""Soft edges are next to another level with more than this share of their pixels."""
_RINGING = 32
"""JPEG spreads black and the one grey level of an object over areas of levels up to this far from them."""
_SHOWN = 6
"""Colours that a note lists."""
_BLEND = 3
"""Levels by which a colour may be off a darker shade of another one, for rounding."""
_COUNTABLE = 1 << 16
"""Numbers below this are counted by a table, which is faster than sorting."""
_RED_GREEN_BLUE = np.array([1, 1 << 8, 1 << 16])
"""The number of a colour, as in the panoptic masks of COCO."""


class Labels(NamedTuple):
    """The objects of a mask.

    Attributes:
        numbers: the number of each object in the mask, ascending; 1 for a mask without numbers.
        places: ``[H, W]`` 0 off all objects, i + 1 on the object ``numbers[i]``.
        coloured: whether the numbers are those of colours.
        notes: what was assumed, a phrase each.
    """

    numbers: tuple[int, ...]
    places: Int
    coloured: bool = False
    notes: tuple[str, ...] = ()


def unnumbered(objects: Mapping[int, _T]) -> Mapping[int, _T] | Mapping[None, _T]:
    """Take the number from an object that is the only one: it tells nothing, and is 255 in usual masks."""
    if len(objects) != 1:
        return objects
    (only,) = objects.values()
    return {None: only}


def read_labels(mask: np.ndarray, shape: tuple[int, ...], name: str) -> Labels:
    """Tell the objects of a mask apart.

    A mask of whole numbers has an object for each number that is not 0, a mask in colours one for each colour
    that is not black; its number is R + 256 G + 65536 B. One of true and false, of fractions, or a picture
    with soft edges, is of one object. Grey levels are soft edges if they fill no area: fewer than a tenth of
    their pixels have four neighbours of the same level.

    Args:
        mask: ``[H, W]``, not 0 on the objects; or ``[H, W, 3]`` or ``[H, W, 4]`` uint8 colours, of which
            those with an opacity of 0 are black.
        shape: of the depth image.
        name: what error messages call the depth image.

    Raises:
        InputError: the mask has another size, is empty, holds negative numbers or numbers that are not
            finite, or is not of objects: a depth image, a photograph, or a picture that was resized with
            blended edges.
    """
    mask = to_array(mask, f"{name}: the mask")
    coloured = False
    if mask.ndim == 3 and mask.shape[2] in (3, 4) and mask.dtype == np.uint8:
        mask, coloured = _without_colours(mask)
    if mask.shape != shape:
        raise InputError(
            f"{name}: the depth image has shape {list(shape)}, the mask {list(mask.shape)}; give a mask of "
            "the same camera and size (resize one of the same view with nearest neighbour)"
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
    found = _numbered(mask)._replace(coloured=coloured)
    if mask.dtype.kind == "f" and len(found.numbers) <= _USUAL and (mask % 1).any():
        return _as_one(found, 1)
    return _objects(found, mask.dtype.itemsize == 1, name)


def _without_colours(colours: np.ndarray) -> tuple[Int, bool]:
    """Numbers ``[H, W]`` in place of colours ``[H, W, 3 or 4]``, and whether there are any but grey ones."""
    rgb = colours[..., :3]
    if colours.shape[2] == 4 and colours[..., 3].any():  # some programs leave it 0 everywhere
        rgb = np.where(colours[..., 3:] > 0, rgb, 0)
    if (rgb == rgb[..., :1]).all():
        return rgb[..., 0], False
    return rgb @ _RED_GREEN_BLUE, True


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


def _objects(found: Labels, is_picture: bool, name: str) -> Labels:
    """Merge the soft edges of one object with it; refuse those of several, and what is no mask."""
    if len(found.numbers) == 1:
        return found
    inside, count = _count(found, _inside(found.places)), _count(found)
    is_whole = inside >= _INSIDE * count
    numbers = np.array(found.numbers)
    whole, edges = numbers[is_whole], numbers[~is_whole]
    many = len(numbers) > _USUAL
    if (
        len(edges)
        and _count(found, _adjacent(found.places))[~is_whole].sum() > _ADJACENT * count[~is_whole].sum()
    ):
        if is_picture and _are_shades(whole, edges, many):
            return _as_one(found, int(whole.max(initial=1)))
        if found.coloured and len(whole) == 1 and _are_darker(int(whole[0]), edges):
            return _as_one(found, int(whole[0]))
    if many and (len(edges) > len(whole) or inside.sum() < _SURE * count.sum()):
        what, like = ("colours", "photograph") if found.coloured else ("numbers", "depth image")
        raise InputError(
            f"{name}: the mask has {len(numbers):,} different {what}, as a {like} has or a mask with soft "
            "edges; give an image that is 0 off the object and not 0 on it, as it was made: not saved as "
            "JPEG, and resized with nearest neighbour only"
        )
    if len(edges) > len(whole):
        shown = ", ".join(_called(edges[:4], found.coloured))
        raise InputError(
            f"{name}: {len(edges)} of the {len(numbers)} {'colours' if found.coloured else 'numbers'} in the "
            f"mask ({shown}) are lines or specks, as the edges of a picture that was resized or compressed; "
            "give the mask as it was made, resized with nearest neighbour only"
        )
    notes: tuple[str, ...] = ()
    if found.coloured:
        first = numbers[:_SHOWN]
        shown = ", ".join(
            f"{colour} is {number}" for colour, number in zip(_called(first, True), first, strict=True)
        )
        more = f" and {len(numbers) - _SHOWN:,} more" if len(numbers) > _SHOWN else ""
        notes = (f"each colour of the mask is an object, numbered R + 256 G + 65536 B: {shown}{more}",)
    elif many:
        notes = (f"the mask has {len(numbers):,} different numbers that fill areas: each is an object",)
    return found._replace(notes=notes)


def _are_shades(whole: Int, edges: Int, many: bool) -> bool:
    """Tell whether grey levels are of one object with soft edges.

    Args:
        whole: levels that fill areas, ascending; JPEG adds some next to black and next to the object's own.
        edges: the others.
        many: whether there are more levels than there usually are objects.
    """
    if not len(whole):
        return many
    top = whole.max()
    at_ends = (whole >= top - _RINGING) | (whole <= _RINGING)
    if len(whole) == 1 or (len(edges) > len(whole) and top > 2 * _RINGING and at_ends.all()):
        return bool(edges.max() < top or many)
    return False


def _are_darker(whole: int, edges: Int) -> bool:
    """Tell whether colours are blends of one colour with black."""
    own, others = _colours(np.array([whole])), _colours(edges)
    share = others.max(axis=1, keepdims=True) / own.max()
    return bool((share < 1).all() and (np.abs(others - share * own) <= _BLEND).all())


def _as_one(found: Labels, number: int) -> Labels:
    levels = len(found.numbers)
    notes = (f"the mask has {levels:,} levels, taken for one object with soft edges",) if levels > 1 else ()
    return Labels((number,), (found.places > 0).astype(np.intp), found.coloured, notes)


def _colours(numbers: Int) -> Int:
    """The colours ``[n, 3]`` of their numbers ``[n]``."""
    found: Int = numbers[:, None] // _RED_GREEN_BLUE % 256
    return found


def _called(numbers: Int, coloured: bool) -> list[str]:
    """Numbers as text, or the colours that they stand for as HTML has them."""
    if not coloured:
        return [str(number) for number in numbers]
    return ["#" + "".join(f"{part:02x}" for part in colour) for colour in _colours(numbers)]


def _count(found: Labels, pixels: NDArray[np.bool_] | None = None) -> Int:
    """Count the pixels of each object, or some ``[H - 2, W - 2]`` of those that are not at the border."""
    at = found.places if pixels is None else found.places[1:-1, 1:-1][pixels]
    return np.bincount(at.ravel(), minlength=len(found.numbers) + 1)[1:]


def _neighbours(places: Int) -> tuple[Int, list[Int]]:
    """Pixels that are not at the border of the image, and their four neighbours."""
    return places[1:-1, 1:-1], [places[:-2, 1:-1], places[2:, 1:-1], places[1:-1, :-2], places[1:-1, 2:]]


def _inside(places: Int) -> NDArray[np.bool_]:
    """Tell which pixels have four neighbours of the same object."""
    middle, neighbours = _neighbours(places)
    result: NDArray[np.bool_] = np.logical_and.reduce([middle == neighbour for neighbour in neighbours])
    return result


def _adjacent(places: Int) -> NDArray[np.bool_]:
    """Tell which pixels have a neighbour of another object."""
    middle, neighbours = _neighbours(places)
    result: NDArray[np.bool_] = np.logical_or.reduce(
        [(middle != neighbour) & (neighbour > 0) for neighbour in neighbours]
    )
    return result
