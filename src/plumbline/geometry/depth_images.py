"""Depth images: an image of depths, the camera's intrinsics and a mask of the object become a scan.

The frame is that of the camera's optical centre, where the sensor stands: x right, y down, z forward, metres.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plumbline.errors import InputError
from plumbline.geometry.cleaning import NEAR, object_components
from plumbline.geometry.headers import read_array
from plumbline.geometry.intrinsics import Intrinsics, check_size, matrix_intrinsics, read_camera
from plumbline.records import Cloud, Float, Int

_MILLIMETRE = 1e-3
"""Metres per unit of an image of whole numbers, unless the user says otherwise."""
_FARTHEST = 100.0
"""A median depth in metres that no depth camera measures: the image is in other units."""
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns from a pixel to half of its eight neighbours."""
_FEWEST_EDGES = 2
"""With fewer connections per pixel, of about four, the image has gaps between its pixels, as one that was
aligned with a finer colour image has, and does not tell what is connected."""
_MOST_LABELS = 64
"""A mask of 8 bits with more different numbers than this is a picture with soft edges, not of several
objects."""
_BORDER, _MOST_OF = 0.25, 0.7
"""Shares of the border and of the image that no single object covers."""


def read_depth_image(
    depth: Path, intrinsics: Path, mask: Path | None = None, *, depth_scale: float | None = None
) -> Cloud:
    """Read a depth image, the intrinsics of its camera and the mask of the object from files.

    Args:
        depth: a 16-bit PNG, ``.npy`` or ``.npz`` (array ``depth``); 0 and numbers that are not finite mean
            that nothing was measured.
        intrinsics: JSON with ``fx, fy, cx, cy`` or a matrix ``K``; YAML, ``.npy``, ``.npz`` (array ``K``) or
            ``.txt`` with the matrix.
        mask: an image, ``.npy`` or ``.npz`` (array ``mask``), not 0 on the object; None for the whole image.
        depth_scale: metres per unit of the image. None: as the file of the intrinsics says (BOP), otherwise
            0.001 for whole numbers, 1 for others.

    Returns:
        The masked pixels that have a depth; see :func:`depth_to_cloud`.

    Raises:
        InputError: a file cannot be read or does not fit the others; the message names it.
    """
    image = _read_image(depth, "depth")
    seen = None if mask is None else _read_image(mask, "mask")
    camera = read_camera(intrinsics, depth.stem)
    if image.ndim == 2:
        check_size(camera.intrinsics, image.shape, f"--intrinsics {intrinsics}", camera.size)
    notes: tuple[str, ...] = ()
    if depth_scale is None and camera.depth_scale is not None:
        depth_scale = camera.depth_scale
        notes = (f"{depth_scale:g} metres per unit of the image, as {intrinsics} says",)
    cloud = depth_to_cloud(image, camera.intrinsics, seen, depth_scale=depth_scale, name=str(depth))
    return replace(cloud, notes=(*notes, *cloud.notes))


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
        mask: ``[H, W]``, not 0 on the object; None for the whole image.
        depth_scale: metres per unit of ``depth``. None: 0.001 for whole numbers, 1 for others.
        name: what error messages call the image.

    Returns:
        Points ``[N, 3]`` in metres, row by row, seen from the sensor at the origin.

    Raises:
        InputError: shapes or numbers cannot be used, or no pixel of the mask has a depth.
    """
    camera = (
        intrinsics if isinstance(intrinsics, Intrinsics) else matrix_intrinsics(intrinsics, "the intrinsics")
    )
    metres = _metres(depth, depth_scale, name)
    known = np.isfinite(metres) & (metres > 0)
    inside = known if mask is None else known & _mask(mask, metres.shape, name)
    row, column = np.nonzero(inside)
    if not len(row):
        where = "the image" if mask is None else "the mask"
        raise InputError(f"{name}: no pixel of {where} has a depth")
    z = metres[row, column]
    if (middle := float(np.median(z))) > _FARTHEST:
        raise InputError(
            f"{name}: half of the depths are beyond {middle:,.0f} m; set --depth_scale, metres per unit of "
            "the image, such as 0.001 for millimetres"
        )
    points = np.stack([(column - camera.cx) / camera.fx * z, (row - camera.cy) / camera.fy * z, z], axis=1)
    return Cloud(
        points,
        np.zeros(3),
        name,
        on_object=_on_object(points, inside, row, column, camera),
        unit="metres",
        place="the camera",
        notes=() if mask is not None else ("no mask: all pixels with a depth are taken for the object",),
        warnings=tuple(_warnings(inside)),
    )


def _warnings(inside: NDArray[np.bool_]) -> Iterator[str]:
    """Say why the pixels of the mask are probably more than one object."""
    border = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]]).mean()
    share = inside.mean()
    if border > _BORDER or share > _MOST_OF:
        yield (
            f"the mask covers {share:.0%} of the image and {border:.0%} of its border, as a background does; "
            "give a mask of one object"
        )


def _on_object(
    points: Float, inside: NDArray[np.bool_], row: Int, column: Int, camera: Intrinsics
) -> NDArray[np.bool_] | None:
    """Tell which points ``[N]`` are connected to the object; None if the image does not show it."""
    place = np.full((inside.shape[0] + 1, inside.shape[1] + 2), -1)  # a border, which nothing is connected to
    place[row, column + 1] = np.arange(len(row))
    edges = []
    for down, right in _STEPS:
        there = place[row + down, column + 1 + right]
        here = np.flatnonzero(there >= 0)
        there = there[here]
        pitch = math.hypot(down / camera.fy, right / camera.fx)
        near = NEAR * pitch * np.minimum(points[here, 2], points[there, 2])
        joined = np.linalg.norm(points[here] - points[there], axis=1) <= near
        edges.append(np.stack([here[joined], there[joined]]))
    pairs = np.concatenate(edges, axis=1)
    return object_components(points, pairs) if pairs.shape[1] >= _FEWEST_EDGES * len(points) else None


def _metres(depth: np.ndarray, depth_scale: float | None, name: str) -> Float:
    depth = np.asarray(depth)
    if depth.ndim == 3 and 1 in (depth.shape[0], depth.shape[2]):
        depth = depth.reshape([size for size in depth.shape if size != 1] or [1, 1])
    if depth.ndim != 2 or depth.dtype.kind not in "fiu":
        raise InputError(
            f"{name}: a depth image is [H, W] numbers, this is {depth.dtype} of shape {list(depth.shape)}"
        )
    if depth.dtype == np.uint8:
        raise InputError(f"{name}: 8 bits per pixel are too few for depths; give the 16-bit image")
    if depth_scale is not None and not (math.isfinite(depth_scale) and depth_scale > 0):
        raise InputError(f"depth_scale must be a number of metres per unit above 0, not {depth_scale}")
    if depth_scale is None:
        depth_scale = 1.0 if depth.dtype.kind == "f" else _MILLIMETRE
    return depth.astype(np.float64) * depth_scale


def _mask(mask: np.ndarray, shape: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    mask = np.asarray(mask)
    if mask.shape != shape:
        raise InputError(
            f"{name}: the depth image has shape {list(shape)}, the mask {list(mask.shape)}; they must be of "
            "the same camera and size"
        )
    labels = np.unique(mask[mask != 0])
    if mask.dtype.itemsize > 1 and len(labels) > _MOST_LABELS:
        raise InputError(
            f"{name}: the mask has {len(labels):,} different numbers, as a depth image has; give an image "
            "that is 0 off the object and not 0 on it"
        )
    if mask.dtype.kind in "iu" and 1 < len(labels) <= _MOST_LABELS:
        shown = ", ".join(map(str, labels[:4].tolist()))
        raise InputError(
            f"{name}: the mask has {len(labels)} objects ({shown}); give the mask of one, not 0 where it is"
        )
    result: NDArray[np.bool_] = mask != 0
    return result


# --------------------------------------------------------------------------------------------- files


def _read_image(path: Path, what: str) -> np.ndarray:
    """Read an image or an array from a file; of an ``.npz`` file the array called ``what``."""
    if not path.is_file():
        raise InputError(f"--{what} {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    suffix = path.suffix.lower()
    try:
        return read_array(path, what) if suffix in (".npy", ".npz") else _read_picture(path, what)
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"--{what} {path} cannot be read: {error.strerror}") from error
    except Exception as error:  # readers raise exceptions of any type for broken files
        raise InputError(f"--{what} {path} cannot be read: it is damaged, or not an image") from error


def _read_picture(path: Path, what: str) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(path)
    except UnidentifiedImageError as error:
        raise InputError(f"--{what} {path}: not an image, .npy or .npz file") from error
    with picture:
        if what == "depth":
            if picture.mode not in ("I;16", "I;16B", "I", "F"):
                raise InputError(
                    f"{path}: a picture of mode {picture.mode}; a depth image has one channel of 16 bits"
                )
            return np.asarray(picture)
        if picture.mode in ("RGB", "RGBA", "LA"):
            colours = np.asarray(picture.convert("RGB"))
            return np.asarray(colours.max(axis=2))
        return np.asarray(picture)
