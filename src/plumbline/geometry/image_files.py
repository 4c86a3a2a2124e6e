"""Depth images and masks from files: pictures and arrays."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.headers import read_array

if TYPE_CHECKING:
    from PIL import Image

_DEPTH_MODES = ("I;16", "I;16B", "I;16L", "I", "F")
"""Modes of Pillow for one channel of 16 or 32 bits, floats among them."""
_KINDS = {"depth": "a 16-bit PNG, a TIFF, .npy or .npz", "mask": "a picture, .npy or .npz"}
"""What may be given for a flag."""
_SPREAD = {"L;2": 85, "L;4": 17}
"""By the raw mode of pictures of 2 or 4 bits: the factor by which Pillow spreads their numbers over 8
bits."""
_COLOURED_MODES = ("P", "PA", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
"""Modes of Pillow for more than one channel, and for numbers of colours."""


def read_image(path: Path, what: str) -> np.ndarray:
    """Read an image or an array from a file; of an ``.npz`` file the array called ``what``.

    Args:
        path: the file.
        what: ``"depth"`` or ``"mask"``, the flag that named it.

    Returns:
        ``[H, W]`` for pictures; of a mask in colours ``[H, W, 4]`` uint8, red, green, blue and opacity. A
        palette that begins with black counts objects, so its places are returned. Arrays as they are.

    Raises:
        InputError: there is no such file, or it cannot be read as that.
    """
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"--{what} {path} {state}; give {_KINDS[what]}")
    suffix = path.suffix.lower()
    try:
        if suffix in (".npy", ".npz"):
            return read_array(path, what)
        return read_picture(path, what, f"--{what} {path}")
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"--{what} {path} cannot be read: {error.strerror}") from error
    except Exception as error:  # readers raise exceptions of any type for broken files
        raise InputError(f"--{what} {path} cannot be read: it is damaged, or not an image") from error


def _raw_mode(picture: "Image.Image") -> str:
    """How the file has its pixels, such as ``RGB;16B``; Pillow's mode is what it makes of them."""
    tiles = getattr(picture, "tile", ())
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def read_picture(file: Path | BinaryIO, what: str, name: str) -> np.ndarray:
    """Read a picture, see :func:`read_image`; ``name`` is what error messages call it."""
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(file)
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image, .npy or .npz file") from error
    with picture:
        raw = _raw_mode(picture)
        if what == "depth":
            if picture.mode not in _DEPTH_MODES:
                kind = "colours" if picture.mode in _COLOURED_MODES else "8 bits"
                raise InputError(
                    f"{name}: a picture of {kind} (mode {picture.mode}), and a depth image has one channel "
                    "of 16 bits; give the depths as the camera measured them, not a picture of them"
                )
            return np.asarray(picture)
        if ";16" in raw and picture.mode not in _DEPTH_MODES:
            raise InputError(
                f"{name}: a picture of 16 bits for each colour, of which only 8 can be read here; save "
                "numbers of objects in one channel of 16 bits, or colours with 8 bits each"
            )
        if raw in _SPREAD:
            return np.asarray(picture) // _SPREAD[raw]
        if picture.mode == "P" and (picture.getpalette() or [0])[:3] == [0, 0, 0]:
            return np.asarray(picture)
        return np.asarray(picture.convert("RGBA") if picture.mode in _COLOURED_MODES else picture)
