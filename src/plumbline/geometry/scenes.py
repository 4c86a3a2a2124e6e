"""A depth image of a scene: the table is found and removed, and what stands on it is split into objects.

An object is what is connected in the image, each pixel to a neighbour whose point is near. Objects that touch
are one object, and an object that another one cuts in two is two.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter
from scipy.spatial import ConvexHull, QhullError

from plumbline.errors import InputError
from plumbline.geometry.depth_images import DepthImage, check_unit, clouds_of, make_depth_image
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.masks import Labels, read_labels
from plumbline.geometry.pixel_components import pixel_components
from plumbline.geometry.support_plane import SAMPLE, Support, find_support
from plumbline.geometry.tables import CAMERA, found_table
from plumbline.records import Cloud, Float, Int

_AROUND, _APART = 97, 9
"""Pixels of the squares around the pixels of a mask between which the table is looked for."""
_FEWEST = 200
"""Pixels of the smallest object."""
_LOWEST = 0.01
"""Height in metres that an object reaches above the table at least; less is noise of the table."""
_EDGE = 2
"""Pixels of the border of an image."""
_BESIDE = 0.1
"""Metres beyond the edge of the table up to which pixels are looked at; an object may hang over."""
_INSIDE, _OVER = 0.01, 0.5
"""Metres inside the edge of the table, and the share of its pixels that an object has there. A wall at the
edge of the table has none."""
_SPECK = 20
"""Pieces with fewer pixels are noise."""
_OF_LARGEST = 0.05
"""Pieces of the table with a smaller share of the largest one are other things at its height."""
_BELOW = 0.02
"""Share of the points of an object that may lie below its table; masks cover a little of what is behind."""
_NOT_CARRIED = (
    "the object does not stand on the plane that --table auto found around it, so that plane is not used; "
    "give the plane of its table with --table NX,NY,NZ,D, or leave --table out"
)
_ADVICE = "give the plane with --table NX,NY,NZ,D, or a mask of each object with --mask"


class TableScene(NamedTuple):
    """What stands on a table.

    Attributes:
        table: ``[4]`` plane of the table, unit normal toward the camera, frame of the camera, metres.
        labels: the objects, numbered from 1, the largest first.
        refused: why an object cannot be answered, by its number.
        notes: what was removed, and what else was left out and why, a phrase each.
    """

    table: Float
    labels: Labels
    refused: dict[int, str]
    notes: tuple[str, ...]


def find_table(frame: DepthImage, labels: Labels | None = None) -> Support:
    """Find the table in a depth image; with a mask, in the pixels around its objects.

    Raises:
        InputError: no plane has enough of the pixels.
    """
    inside, where = frame.known, "the pixels"
    if labels is not None:
        inside, where = inside & _around(labels), "the pixels around the mask"
    at = np.flatnonzero(inside)
    if len(at) > SAMPLE:
        at = np.sort(np.random.default_rng(0).choice(at, SAMPLE, replace=False))
    chosen = np.zeros(inside.size, bool)
    chosen[at] = True
    support = find_support(frame.pixels(chosen.reshape(inside.shape))[0]) if len(at) else None
    if support is None:
        raise InputError(f"{frame.name}: no table found, no plane has an eighth of {where}; {_ADVICE}")
    return support


def split_scene(frame: DepthImage) -> TableScene:
    """Remove the table from a depth image, and split what stands on it into objects.

    Raises:
        InputError: there is no table, or nothing stands on it.
    """
    support = find_table(frame)
    height, margin = _heights(frame, support.plane), support.margin(frame.metres)
    on_table = frame.known & (np.abs(height) <= margin)
    above = frame.known & (height > margin)
    points, row, column = frame.pixels(above)
    beyond = _beyond_table(frame, on_table, support.plane, points)
    nearby = beyond <= _BESIDE
    points, row, column, beyond = points[nearby], row[nearby], column[nearby], beyond[nearby]
    component, count = _components(points, row, column, frame)
    over = np.bincount(component, beyond <= -_INSIDE, len(count)) >= _OVER * count
    highest = np.zeros(len(count))
    np.maximum.at(highest, component, points @ support.plane[:3] - support.plane[3])
    small = (count < _FEWEST) | (highest < _LOWEST)
    cut = np.bincount(component, _on_border(row, column, frame), len(count)) > 0
    chosen = np.flatnonzero(over & ~small)
    chosen = chosen[np.argsort(-count[chosen], kind="stable")]
    number = np.zeros(len(count), np.intp)
    number[chosen] = np.arange(1, len(chosen) + 1)
    places = np.zeros(frame.known.shape, np.intp)
    places[row, column] = number[component]
    background = int(count[~over].sum() + np.count_nonzero(~nearby))
    notes = tuple(_removed(frame, on_table, height < -margin, background, count[over & small]))
    if not len(chosen):
        raise InputError(f"{frame.name}: nothing stands on the table ({'; '.join(notes)}); {_ADVICE}")
    refused = {
        int(number[i]): "it touches the border of the image, so a part of it is not seen; move the camera"
        for i in chosen
        if cut[i]
    }
    return TableScene(support.plane, Labels(tuple(range(1, len(chosen) + 1)), places), refused, notes)


def find_objects(
    depth: np.ndarray,
    intrinsics: Intrinsics | np.ndarray,
    mask: np.ndarray | None = None,
    *,
    depth_scale: float | None = None,
    name: str = "the depth image",
) -> dict[int, Cloud | InputError]:
    """Find the table in a depth image, and the objects that stand on it.

    Args:
        mask: as for :func:`plumbline.depth_to_clouds`; None: the objects are found.
        depth, intrinsics, depth_scale, name: as for :func:`plumbline.depth_to_cloud`.

    Returns:
        A cloud for each object by its number, the largest first, as
        :meth:`plumbline.Predictor.predict_many` takes it; ``cloud.table`` is the plane of the table. An
        ``InputError`` in the place of an object that has no depth, or is cut off by the border of the image.

    Raises:
        InputError: shapes or numbers cannot be used, there is no table, or nothing stands on it.
    """
    frame = make_depth_image(depth, intrinsics, depth_scale=depth_scale, name=name)
    return objects_on_table(frame, None if mask is None else read_labels(mask, frame.metres.shape, name))


def objects_on_table(frame: DepthImage, labels: Labels | None = None) -> dict[int, Cloud | InputError]:
    """The points of each object on a table, with the plane of the table; see :func:`find_objects`."""
    looked_at = frame.known if labels is None else frame.known & (labels.places > 0)
    check_unit(frame.metres[looked_at], frame.name)  # or all would be one plane
    if labels is not None:
        return _with_table(frame, labels, find_table(frame, labels))
    plane, labels, refused, notes = split_scene(frame)
    found = clouds_of(frame, labels, masked=False)
    for number, cloud in found.items():
        if isinstance(cloud, Cloud):
            said = (found_table(plane, CAMERA), *notes)
            found[number] = (
                InputError(f"{cloud.name}: {refused[number]}")
                if number in refused
                else replace(cloud, table=plane, notes=(*cloud.notes, *said))
            )
    return found


def _with_table(frame: DepthImage, labels: Labels, support: Support) -> dict[int, Cloud | InputError]:
    """The points of each object of a mask, with the plane around them as its table if that carries it.

    It does if hardly any point lies below it, and if the middle of the object, seen along the normal, lies
    between the pixels of the plane. The top of another object next to it, or a wall, does not.
    """
    on_plane = frame.known & _around(labels)
    on_plane &= np.abs(_heights(frame, support.plane)) <= support.margin(frame.metres)
    found = clouds_of(frame, labels)
    for number, cloud in found.items():
        if isinstance(cloud, InputError):
            continue
        mine = cloud.points if cloud.on_object is None else cloud.points[cloud.on_object]
        height = mine @ support.plane[:3] - support.plane[3]
        beyond = _beyond_table(frame, on_plane, support.plane, mine.mean(axis=0, keepdims=True))
        if (height < -support.margin(mine[:, 2])).mean() > _BELOW or beyond > 0:
            found[number] = replace(cloud, warnings=(*cloud.warnings, _NOT_CARRIED))
        else:
            said = found_table(support.plane, CAMERA)
            found[number] = replace(cloud, table=support.plane, notes=(*cloud.notes, said))
    return found


def _around(labels: Labels) -> NDArray[np.bool_]:
    """The pixels ``[H, W]`` around a mask in which its table is looked for."""
    objects = (labels.places > 0).astype(np.uint8)
    result: NDArray[np.bool_] = maximum_filter(objects, _AROUND) > maximum_filter(objects, _APART)
    return result


def _heights(frame: DepthImage, plane: Float) -> Float:
    """Height ``[H, W]`` of each pixel's point above a plane."""
    fx, fy, cx, cy = frame.camera
    rows, columns = frame.metres.shape
    x, y = (np.arange(columns) - cx) / fx, (np.arange(rows)[:, None] - cy) / fy
    result: Float = (
        np.where(frame.known, frame.metres, 0) * (plane[0] * x + plane[1] * y + plane[2]) - plane[3]
    )
    return result


def _beyond_table(frame: DepthImage, on_table: NDArray[np.bool_], plane: Float, points: Float) -> Float:
    """How far points ``[N, 3]`` lie beyond the edge of the table, seen along its normal; below 0 over it."""
    piece, _ = label(on_table, np.ones((3, 3)))
    size = np.bincount(piece.ravel())
    size[0] = 0
    table = frame.pixels((size >= _OF_LARGEST * size.max())[piece] & on_table)[0]
    axes = np.linalg.svd(plane[None, :3])[2][1:]
    try:
        edges = ConvexHull(table @ axes.T).equations
    except (QhullError, ValueError):
        return np.full(len(points), np.inf)
    flat = points @ axes.T
    result: Float = (flat @ edges[:, :2].T + edges[:, 2]).max(axis=1, initial=-np.inf)
    return result


def _components(points: Float, row: Int, column: Int, frame: DepthImage) -> tuple[Int, Int]:
    """The component ``[N]`` of each pixel, and the number of pixels of each."""
    if not len(points):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    component = pixel_components(points, row, column, frame.camera).component
    return component, np.bincount(component)


def _on_border(row: Int, column: Int, frame: DepthImage) -> NDArray[np.bool_]:
    """Tell which pixels are at the border of the image."""
    rows, columns = frame.known.shape
    at_end = (row < _EDGE) | (row >= rows - _EDGE)
    result: NDArray[np.bool_] = at_end | (column < _EDGE) | (column >= columns - _EDGE)
    return result


def _removed(
    frame: DepthImage, on_table: NDArray[np.bool_], below: NDArray[np.bool_], background: int, small: Int
) -> Iterator[str]:
    """Say what was left out, a phrase each."""
    lost = {
        "on the table": int(on_table.sum()),
        "below it": int((below & frame.known).sum()),
        "of the background beyond its edge": background,
        f"in groups of fewer than {_SPECK} pixels": int(small[small < _SPECK].sum()),
    }
    small = small[small >= _SPECK]
    phrase = ", ".join(f"{count:,} {what}" for what, count in lost.items() if count)
    yield f"of {int(frame.known.sum()):,} pixels with a depth, --table auto removed {phrase}"
    if len(small):
        pieces = "1 piece on the table is" if len(small) == 1 else f"{len(small):,} pieces on the table are"
        yield (
            f"{pieces} left out, {int(small.sum()):,} pixels: too small for an object (fewer than {_FEWEST} "
            f"pixels, or lower than {1000 * _LOWEST:.0f} mm)"
        )
