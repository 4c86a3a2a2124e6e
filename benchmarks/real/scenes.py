"""How many objects of real depth images ``--table auto`` finds: python -m benchmarks.real.scenes FOLDER.

The folder holds npz files with ``depth`` (metres), ``mask`` and ``K``; files with the same depth are one
image with several known objects. An object is found if the pixels of a piece and those of the mask that have
a depth overlap by more than 0.7 (intersection over union).
"""

import sys
from pathlib import Path

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.depth_images import DepthImage, make_depth_image
from plumbline.geometry.scenes import split_scene

_FOUND = 0.7


def read(folder: Path) -> list[tuple[DepthImage, dict[str, np.ndarray]]]:
    """The images, and the masks of their objects by the names of the files."""
    images: dict[bytes, tuple[DepthImage, dict[str, np.ndarray]]] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as held:
            if not {"depth", "mask", "K"} <= {*held}:
                continue
            depth = held["depth"]
            image = make_depth_image(depth.astype(np.float64), held["K"], name=path.stem)
            images.setdefault(depth.tobytes(), (image, {}))[1][path.stem] = held["mask"] > 0
    return list(images.values())


def overlap(image: DepthImage, mask: np.ndarray, pieces: np.ndarray) -> float:
    """The largest overlap of a mask with a piece; 0 if there is none."""
    mask = mask & image.known
    common, size = (np.bincount(some.ravel(), minlength=2)[1:] for some in (pieces[mask], pieces))
    common = np.pad(common, (0, len(size) - len(common)))
    return float((common / (size + mask.sum() - common).clip(1)).max())


def main(folder: Path) -> None:
    """Print the overlap of each object, and how many are found."""
    images, overlaps, pieces = read(folder), [], 0
    for image, masks in images:
        try:
            labels = split_scene(image).labels
        except InputError as error:
            print(error)
            overlaps += [0.0] * len(masks)
            continue
        pieces += len(labels.numbers)
        for name, mask in masks.items():
            overlaps.append(overlap(image, mask, labels.places))
            print(f"{name:40} {overlaps[-1]:.2f}")
    found = sum(one > _FOUND for one in overlaps)
    print(f"{found} of {len(overlaps)} objects found in {len(images)} images of {pieces} pieces")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
