"""Depth images: an image of depths, the camera's intrinsics and a mask become scans, one for each object.

The frame is that of the camera's optical centre, where the sensor stands: x right, y down, z forward, metres.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plumbline.arrays import is_number, shown, to_array
from plumbline.console.text import percent
from plumbline.errors import InputError
from plumbline.geometry.cleaning import large_components, object_components
from plumbline.geometry.intrinsics import Intrinsics, doubts, matrix_intrinsics
from plumbline.geometry.mask_bleed import without_bleed
from plumbline.geometry.masks import Labels, read_labels
from plumbline.geometry.pixel_components import pixel_components
from plumbline.records import FROM_CAMERA, Cloud, Float, Int

_MILLIMETRE = 1e-3
"""Metres per unit of an image of whole numbers, unless the user says otherwise."""
_FARTHEST = 100.0
"""A median depth in metres that no depth camera measures: the image is in other units."""
_NEAREST = 0.01
"""The same at the other end."""
_FEWEST_EDGES = 2
"""With fewer connections per pixel, of about four, the image has gaps between its pixels, as one that was
aligned with a finer colour image has, and does not tell what is connected."""
_BORDER, _MOST_OF = 0.25, 0.7
"""Shares of the border and of the image that no single object covers."""
_NO_MASK = "no mask: all pixels with a depth are taken for the object"


class DepthImage(NamedTuple):
    """A depth image and its camera.

    Attributes:
        metres: ``[H, W]`` float64 distances along the optical axis.
        known: ``[H, W]`` where there is a measurement.
        camera: its intrinsics.
        name: what messages call it.
    """

    metres: Float
    known: NDArray[np.bool_]
    camera: Intrinsics
    name: str

    def pixels(self, inside: NDArray[np.bool_]) -> tuple[Float, Int, Int]:
        """The points ``[N, 3]`` of some pixels, row by row, and their rows and columns ``[N]``."""
        at = np.flatnonzero(inside)
        row, column = np.divmod(at, inside.shape[1])
        z = self.metres.ravel()[at]
        fx, fy, cx, cy = self.camera
        return np.stack([(column - cx) / fx * z, (row - cy) / fy * z, z], axis=1), row, column


def make_depth_image(
    depth: np.ndarray,
    intrinsics: Intrinsics | np.ndarray,
    *,
    depth_scale: float | None = None,
    name: str = "the depth image",
) -> DepthImage:
    """Check a depth image and convert it to metres; arguments and errors as :func:`depth_to_cloud`."""
    camera = (
        intrinsics if isinstance(intrinsics, Intrinsics) else matrix_intrinsics(intrinsics, "the intrinsics")
    )
    metres = _metres(depth, depth_scale, name)
    known = np.isfinite(metres) & (metres > 0)
    if not known.any():
        raise InputError(
            f"{name}: no pixel of the image has a depth: all are 0 or not finite; give another one"
        )
    return DepthImage(metres, known, camera, name)


def depth_to_cloud(
    depth: np.ndarray,
    intrinsics: Intrinsics | np.ndarray,
    mask: np.ndarray | None = None,
    *,
    depth_scale: float | None = None,
    name: str = "the depth image",
) -> Cloud:
    """Convert the masked pixels of a depth image to points.

    Neighbouring pixels are connected if their points are nearer than four times the distance of the pixels at
    their depth. What is not connected to the object is left out when the cloud is cleaned.

    Args:
        depth: ``[H, W]`` distances along the optical axis; 0 and what is not finite means no measurement.
        intrinsics: of the camera, or its matrix ``[3, 3]``.
        mask: ``[H, W]``, not 0 on the object, or ``[H, W, 3]`` uint8, not black on it; None for the whole
            image.
        depth_scale: metres per unit of ``depth``. None: 0.001 for whole numbers, 1 for others.
        name: what error messages call the image.

    Returns:
        Points ``[N, 3]`` in metres, row by row, seen from the sensor at the origin.

    Raises:
        InputError: shapes or numbers cannot be used, no pixel of the mask has a depth, or the mask is of
            several objects (see :func:`depth_to_clouds`).
    """
    frame = make_depth_image(depth, intrinsics, depth_scale=depth_scale, name=name)
    if mask is None:
        return whole_cloud(frame)
    labels = read_labels(mask, frame.metres.shape, name)
    if len(labels.numbers) > 1:
        shown = ", ".join(map(str, labels.numbers[:4]))
        raise InputError(
            f"{name}: the mask has {len(labels.numbers)} objects ({shown}); give the mask of one, or get a "
            "cloud of each from depth_to_clouds"
        )
    (cloud,) = clouds_of(frame, labels).values()
    if isinstance(cloud, InputError):
        raise cloud
    return cloud


def depth_to_clouds(
    depth: np.ndarray,
    intrinsics: Intrinsics | np.ndarray,
    mask: np.ndarray,
    *,
    depth_scale: float | None = None,
    name: str = "the depth image",
) -> dict[int, Cloud | InputError]:
    """Convert a depth image to points of each object of a mask with instance numbers.

    Args:
        mask: ``[H, W]`` the number of the object that a pixel shows, 0 for none; or ``[H, W, 3]`` uint8 its
            colour, black for none, which has the number R + 256 G + 65536 B.
        depth, intrinsics, depth_scale, name: as for :func:`depth_to_cloud`.

    Returns:
        A cloud, as :func:`depth_to_cloud` gives, for each number in the mask, ascending; an ``InputError`` in
        the place of an object that has no depth, as :meth:`plumbline.Predictor.predict_many` takes it.

    Raises:
        InputError: shapes or numbers cannot be used.
    """
    frame = make_depth_image(depth, intrinsics, depth_scale=depth_scale, name=name)
    return clouds_of(frame, read_labels(mask, frame.metres.shape, name))


def whole_cloud(frame: DepthImage) -> Cloud:
    """All pixels with a depth as one object."""
    (cloud,) = clouds_of(frame, Labels((1,), frame.known.astype(np.intp)), masked=False).values()
    assert isinstance(cloud, Cloud)
    return replace(cloud, notes=(_NO_MASK, *cloud.notes))


def clouds_of(frame: DepthImage, labels: Labels, *, masked: bool = True) -> dict[int, Cloud | InputError]:
    """Convert a depth image to points of each of some objects, see :func:`depth_to_clouds`.

    Args:
        frame: the depth image.
        labels: the objects.
        masked: whether they are those of a mask.
    """
    points, row, column = frame.pixels(frame.known & (labels.places > 0))
    check_unit(points[:, 2], frame.name)
    place = labels.places[row, column]
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place, minlength=len(labels.numbers) + 1))
    found: dict[int, Cloud | InputError] = {}
    of_camera = tuple(doubts(frame.camera, frame.known.shape))
    for i, number in enumerate(labels.numbers):
        mine = order[ends[i] : ends[i + 1]]
        name = frame.name if len(labels.numbers) == 1 else f"{frame.name}, object {number}"
        if not len(mine):
            whose = "the mask" if len(labels.numbers) == 1 else "the object"
            found[number] = InputError(
                f"{name}: no pixel of {whose} has a depth; check that the mask is that of this image, and "
                "that the object is within the range of the camera"
            )
            continue
        at = points[mine], row[mine], column[mine]
        found[number] = Cloud(
            at[0],
            np.zeros(3),
            name,
            on_object=_on_object(*at, frame.camera),
            unit="metres",
            place=FROM_CAMERA,
            notes=labels.notes,
            warnings=(*of_camera, *_warnings(*at[1:], frame.metres.shape, masked)),
        )
    return found


def check_unit(depths: Float, name: str) -> None:
    """Refuse depths ``[N]`` in metres whose median no camera measures. Raises InputError."""
    middle = float(np.median(depths)) if len(depths) else _NEAREST
    if middle > _FARTHEST:
        raise InputError(
            f"{name}: half of the depths are beyond {middle:,.0f} m; set --depth_scale, metres per unit of "
            "the image, such as 0.001 for millimetres"
        )
    if middle < _NEAREST:
        raise InputError(
            f"{name}: half of the depths are nearer than {1000 * middle:.2g} mm, as metres that are read as "
            "millimetres; set --depth_scale, metres per unit of the image, such as 1 for metres"
        )


def _warnings(row: Int, column: Int, shape: tuple[int, ...], masked: bool) -> Iterator[str]:
    """Say why some pixels, those of a mask or all, are probably more than one object."""
    height, width = shape
    sides = (row == 0, row == height - 1, column == 0, column == width - 1)
    border = sum(int(np.count_nonzero(side)) for side in sides) / (2 * (height + width))
    share = len(row) / (height * width)
    if border > _BORDER or share > _MOST_OF:
        what = "the mask covers" if masked else "the points cover"
        fix = "give a mask of one object" if masked else "give the pixels of one object as a mask"
        yield (
            f"{what} {percent(share, 0)} of the image and {percent(border, 0)} of its border, so "
            f"{'it' if masked else 'they'} may show the background; {fix}"
        )


def _on_object(points: Float, row: Int, column: Int, camera: Intrinsics) -> NDArray[np.bool_] | None:
    """Tell which points ``[N]`` are connected to the object; None if the image does not show it."""
    component, edges = pixel_components(points, row, column, camera)
    if edges < _FEWEST_EDGES * len(points):
        return None
    large = without_bleed(
        points, component, large_components(component), math.hypot(1 / camera.fx, 1 / camera.fy)
    )
    return object_components(points, component, large)


def _metres(depth: np.ndarray, depth_scale: float | None, name: str) -> Float:
    depth = to_array(depth, f"{name}: the depth image")
    if depth.ndim == 3 and 1 in (depth.shape[0], depth.shape[2]):
        depth = depth.reshape([size for size in depth.shape if size != 1] or [1, 1])
    if depth.ndim != 2 or depth.dtype.kind not in "fiu":
        raise InputError(
            f"{name}: a depth image is [H, W] numbers, this is {depth.dtype} of shape {list(depth.shape)}; "
            "give the channel with the depths"
        )
    if depth.dtype == np.uint8:
        raise InputError(f"{name}: 8 bits per pixel are too few for depths; give the 16-bit image")
    if depth_scale is not None and not (is_number(depth_scale) and 0 < depth_scale < math.inf):
        raise InputError(f"depth_scale must be a number of metres per unit above 0, not {shown(depth_scale)}")
    if depth_scale is None:
        depth_scale = 1.0 if depth.dtype.kind == "f" else _MILLIMETRE
    return depth.astype(np.float64) * depth_scale
