"""Depth images, their cameras and masks from files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.camera_poses import merge_views
from plumbline.geometry.depth_images import DepthImage, clouds_of, make_depth_image, whole_cloud
from plumbline.geometry.image_files import read_image
from plumbline.geometry.intrinsics import (
    CameraFile,
    Intrinsics,
    check_intrinsics,
    check_size,
    lens_notes,
    read_camera,
)
from plumbline.geometry.masks import Labels, read_labels
from plumbline.geometry.scenes import objects_on_table
from plumbline.records import Cloud, Float


class View(NamedTuple):
    """What one depth camera saw.

    Attributes:
        frame: the depth image and its camera.
        labels: the objects of its mask; None without a mask.
        notes: what was assumed while the files were read, a phrase each.
    """

    frame: DepthImage
    labels: Labels | None
    notes: tuple[str, ...] = ()

    def clouds(self, find_table: bool = False) -> dict[int, Cloud | InputError]:
        """The points of each object by its number; without a mask all pixels are object 1.

        Args:
            find_table: find the table that they stand on; without a mask, also the objects.

        Raises:
            InputError: there is no table, or nothing stands on it.
        """
        found: dict[int, Cloud | InputError]
        if find_table:
            found = objects_on_table(self.frame, self.labels)
        else:
            found = (
                {1: whole_cloud(self.frame)} if self.labels is None else clouds_of(self.frame, self.labels)
            )
        return {
            number: replace(cloud, notes=(*self.notes, *cloud.notes)) if isinstance(cloud, Cloud) else cloud
            for number, cloud in found.items()
        }


def merged_clouds(
    views: Sequence[View], poses: Float, find_table: bool = False
) -> dict[int, Cloud | InputError]:
    """The points of each object in the frame of the poses, from all views that show it.

    Args:
        views: of one scene; a number in the masks is the same object in all.
        poses: ``[S, 4, 4]`` from each camera to the world.
        find_table: as for :meth:`View.clouds`.

    Raises:
        InputError: as for :meth:`View.clouds`, a pose is not rigid, or only some of the masks are in colours.
    """
    if len({view.labels.coloured for view in views if view.labels is not None}) > 1:
        raise InputError(
            "--mask: some masks are in colours and some in grey levels, so their numbers do not name the "
            "same objects; give all in one way"
        )
    seen = [view.clouds(find_table) for view in views]
    found: dict[int, Cloud | InputError] = {}
    for number in sorted(set().union(*seen)):
        those = [(clouds[number], pose) for clouds, pose in zip(seen, poses, strict=True) if number in clouds]
        good = [(cloud, pose) for cloud, pose in those if isinstance(cloud, Cloud)]
        if good:
            clouds, places = zip(*good, strict=True)
            merged = merge_views(clouds, np.array(places))
            lost = tuple(
                f"a view is left out: {cloud}" for cloud, _ in those if isinstance(cloud, InputError)
            )
            found[number] = replace(merged, notes=(*merged.notes, *lost))
        else:
            found[number] = those[0][0]
    return found


def read_view(
    depth: Path, intrinsics: Path | Intrinsics, mask: Path | None = None, *, depth_scale: float | None = None
) -> View:
    """Read a depth image, the intrinsics of its camera and the mask of its objects from files.

    Args:
        depth: a 16-bit PNG, a TIFF of 16-bit or of float numbers, ``.npy`` or ``.npz`` (array ``depth``); 0
            and numbers that are not finite mean that nothing was measured.
        intrinsics: of the camera, or a file, see :func:`plumbline.geometry.intrinsics.read_camera`.
        mask: an image, ``.npy`` or ``.npz`` (array ``mask``), 0 or black off the objects; a different number
            or colour on each of several objects. None for the whole image.
        depth_scale: metres per unit of the image. None: as the file of the intrinsics says, otherwise
            0.001 for whole numbers, 1 for others.

    Raises:
        InputError: a file cannot be read or does not fit the others; the message names it.
    """
    image = read_image(depth, "depth")
    seen = None if mask is None else read_image(mask, "mask")
    camera = named_camera(intrinsics, depth.stem)
    return make_view(image, camera, seen, depth_scale=depth_scale, name=str(depth))


class NamedCamera(NamedTuple):
    """A camera, and where it is from.

    Attributes:
        held: what is known of the camera.
        source: what notes call where it is from.
        flag: that names it.
    """

    held: CameraFile
    source: str
    flag: str = "--intrinsics"


def named_camera(given: Path | Intrinsics, image: str = "") -> NamedCamera:
    """The camera that ``--intrinsics`` gives: in a file, for the ``image`` of this name, or as it is.

    Raises:
        InputError: the file cannot be read, or no camera has such intrinsics.
    """
    if isinstance(given, Intrinsics):
        return NamedCamera(CameraFile(check_intrinsics(given, f"--intrinsics {given}")), str(given))
    return NamedCamera(read_camera(given, image), str(given))


def make_view(
    depth: np.ndarray,
    camera: NamedCamera,
    mask: np.ndarray | None = None,
    *,
    depth_scale: float | None = None,
    name: str,
) -> View:
    """Put together what a depth camera saw; arguments and errors as for :func:`read_view`.

    Args:
        depth: ``[H, W]`` distances along the optical axis.
        camera: that measured them.
        mask: ``[H, W]``, or None.
        depth_scale: metres per unit, or None.
        name: what error messages call the image.
    """
    known, source, flag = camera
    notes: tuple[str, ...] = ()
    if depth_scale is None and known.depth_scale is not None:
        depth_scale = known.depth_scale
        notes = (f"{depth_scale:g} metres per unit of the image, as {source} says",)
    notes += tuple(lens_notes(known, source))
    frame = make_depth_image(depth, known.intrinsics, depth_scale=depth_scale, name=name)
    check_size(known.intrinsics, frame.metres.shape, f"{flag} {source}", known.size)
    return View(frame, None if mask is None else read_labels(mask, frame.metres.shape, name), notes)
