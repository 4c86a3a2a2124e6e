"""Depth images, masks and cameras as files."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from plumbline.geometry.intrinsics import Intrinsics


def write_depth(path: Path, metres: np.ndarray) -> Path:
    """As a 16-bit PNG in millimetres, 0 where nothing was measured."""
    Image.fromarray((1000 * np.nan_to_num(metres)).round().astype(np.uint16)).save(path)
    return path


def write_mask(path: Path, mask: np.ndarray) -> Path:
    """As a picture of 8 bits."""
    Image.fromarray(mask.astype(np.uint8)).save(path)
    return path


def write_camera(path: Path, camera: Intrinsics, **more: object) -> Path:
    """As JSON with fx, fy, cx and cy."""
    path.write_text(json.dumps({**camera._asdict(), **more}))
    return path
