"""What a bag shows of objects: its topics, the messages that belong together, a cloud for each answer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.depth_files import NamedCamera, View, make_view, named_camera
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.masks import read_labels, unnumbered
from plumbline.payload.forms.ros import Stamp
from plumbline.predictors.prediction_table import MessageName, ScanName
from plumbline.records import Cloud
from plumbline.ros.bags import Bag, open_bag
from plumbline.ros.messages import CAMERA, CLOUD, COMPRESSED, IMAGE, camera_of, cloud_of, image_of

_TOLERANCE = 20_000_000
"""Nanoseconds by which stamps of messages that belong together may differ: half of the time between two
images of a camera that takes 25 in a second."""
_MOST_NAMED = 8
"""Topics that an error message lists, at most."""


class Chosen(NamedTuple):
    """What the user says about a bag; None: not given.

    Attributes:
        topic: of the clouds or depth images.
        mask_topic: of the masks of depth images; None: there are none.
        intrinsics_topic: of the cameras of depth images.
        intrinsics: of the camera of depth images, in place of a topic.
        depth_scale: metres per unit of depth images.
        find_table: find the table in depth images and, without masks, the objects that stand on it.
    """

    topic: str | None = None
    mask_topic: str | None = None
    intrinsics_topic: str | None = None
    intrinsics: Path | Intrinsics | None = None
    depth_scale: float | None = None
    find_table: bool = False


class Shot(NamedTuple):
    """A message with a cloud or a depth image, and what belongs to it.

    Attributes:
        name: of the message.
        place: of the message on its topic, from 0.
        camera: of a depth image.
        mask: of a depth image, if it has one.
        numbers: of the objects that it shows; a single None for what has no numbers.
    """

    name: MessageName
    place: int
    camera: NamedCamera | None = None
    mask: MessageName | None = None
    numbers: tuple[int | None, ...] = (None,)


@dataclass(frozen=True)
class Recording:
    """The scans in a bag; made by :func:`read_recording`.

    Attributes:
        path: of the bag.
        topic: of the clouds or depth images.
        is_depth: whether they are depth images.
        shots: the messages that are answered, in the order in which they were recorded.
        chosen: what the user says of the bag.
        notes: what was left out, a sentence each.
    """

    path: Path
    topic: str
    is_depth: bool
    shots: Sequence[Shot]
    chosen: Chosen
    notes: Sequence[str]

    @property
    def names(self) -> list[ScanName]:
        """What is answered: a message, or an object of it."""
        return [ScanName(self.path, number, shot.name) for shot in self.shots for number in shot.numbers]

    def clouds(self) -> Iterator[Cloud | InputError]:
        """Read the scan of each of the ``names`` from the bag, message by message."""
        with open_bag(self.path) as bag:
            for shot, message in _messages(bag, self.topic, self.shots):
                yield from self._read(bag, shot, message)

    def _read(self, bag: Bag, shot: Shot, message: Any) -> Iterator[Cloud | InputError]:
        try:
            if not self.is_depth:
                yield cloud_of(message, _called(bag, shot.name))
                return
            found = _view(bag, self.chosen, shot, message).clouds(self.chosen.find_table)
        except InputError as error:
            yield from (error for _ in shot.numbers)
            return
        (first, *_) = found
        for number in shot.numbers:
            cloud = found[first if number is None else number]
            frame = str(message.header.frame_id)
            yield replace(cloud, frame=frame) if isinstance(cloud, Cloud) else cloud


def read_recording(path: Path, chosen: Chosen) -> Recording:
    """List the scans in a bag by name.

    Raises:
        InputError: the bag cannot be read, a topic is missing, empty or of the wrong type, several would do,
            or no message of one topic belongs to one of another.
    """
    with open_bag(path) as bag:
        topic = chosen.topic or _find_scans(bag, chosen.mask_topic)
        is_depth = _kind(bag, topic, (CLOUD, IMAGE, COMPRESSED)) != CLOUD
        shots = [Shot(name, place) for place, name in enumerate(_names(bag, topic))]
        notes: list[str] = []
        if not is_depth:
            _refuse_flags_of_images(chosen, topic)
        else:
            shots, notes = _complete(bag, chosen, shots)
            if chosen.mask_topic is None and not chosen.find_table:
                notes += [
                    f"{path}: no masks are used, and {name} seems to hold some: give --mask_topic {name}"
                    for name in _likely_masks(bag, [name for name in bag.topics if name != topic])
                ]
            if chosen.mask_topic is not None or chosen.find_table:
                shots = _with_numbers(bag, chosen, shots)
    return Recording(path, topic, is_depth, shots, chosen, notes)


def _messages(bag: Bag, topic: str, shots: Sequence[Shot]) -> Iterator[tuple[Shot, Any]]:
    """Read the messages of some shots, in their order."""
    at = {shot.place: shot for shot in shots}
    for place, (_, message) in enumerate(bag.messages(topic)):
        if place in at:
            yield at[place], message


def _called(bag: Bag, name: MessageName) -> str:
    """What error messages call a message."""
    return str(ScanName(bag.path, None, name))


def _view(bag: Bag, chosen: Chosen, shot: Shot, message: Any) -> View:
    """What a depth image shows. Raises InputError."""
    assert shot.camera is not None, "no depth image is read without a camera"
    name = _called(bag, shot.name)
    depth, mask = image_of(message, "depth", name), None
    if shot.mask is not None:
        mask = image_of(_fetch(bag, shot.mask), "mask", _called(bag, shot.mask))
    return make_view(depth, shot.camera, mask, depth_scale=chosen.depth_scale, name=name)


def _with_numbers(bag: Bag, chosen: Chosen, shots: Sequence[Shot]) -> list[Shot]:
    """Find out which objects depth images show; an object that is the only one in all of them has no number.

    The images are read again later, because the points of a long recording do not fit into memory.
    """
    topic = shots[0].name.topic
    found = [
        shot._replace(numbers=_numbers(bag, chosen, shot, message))
        for shot, message in _messages(bag, topic, shots)
    ]
    all_numbers = {number: None for shot in found for number in shot.numbers if number is not None}
    if None in unnumbered(all_numbers):
        return [shot._replace(numbers=(None,)) for shot in found]
    return found


def _numbers(bag: Bag, chosen: Chosen, shot: Shot, message: Any) -> tuple[int | None, ...]:
    """The numbers of the objects of a depth image; a single None if it cannot be read."""
    try:
        view = _view(bag, chosen, shot, message)
        return tuple(view.clouds(find_table=True)) if view.labels is None else view.labels.numbers
    except InputError:
        return (None,)


# --------------------------------------------------------------------------------------------- topics


def _find_scans(bag: Bag, masks: str | None) -> str:
    """The only topic with clouds or depth images but ``masks``. Raises InputError: none, or several."""
    images = [name for name, topic in bag.topics.items() if topic.kind in (IMAGE, COMPRESSED)]
    depths = [name for name in images if name != masks and _holds_depth(bag, name)]
    found = [name for name, topic in bag.topics.items() if topic.kind == CLOUD or name in depths]
    if not found:
        there = _listed(bag, bag.topics)
        raise InputError(f"{bag.path} has no topic with clouds or depth images; its topics: {there}")
    masked = "".join(f", and masks with --mask_topic {name}" for name in _likely_masks(bag, found)[:1])
    return _only(bag, found, f"with clouds or depth images; choose one with --topic{masked}")


def _likely_masks(bag: Bag, topics: Iterable[str]) -> list[str]:
    """Those topics of images whose first image reads as a mask: a few numbers that fill areas, and 0 around.

    Only the user knows: an infrared image has the type of a mask, and a depth image of a made-up scene looks
    like one.
    """
    return [
        name
        for name in topics
        if bag.topics[name].kind in (IMAGE, COMPRESSED) and _looks_like_mask(bag, name)
    ]


def _looks_like_mask(bag: Bag, topic: str) -> bool:
    first = next(bag.messages(topic), None)
    if first is None:
        return False
    try:
        mask = image_of(first[1], "mask")
        labels = read_labels(mask, mask.shape, topic)
    except InputError:
        return False
    return not mask.all() and not labels.notes  # which say that it takes an assumption to read it as a mask


def _holds_depth(bag: Bag, topic: str) -> bool:
    """Tell whether the first image on a topic is a depth image."""
    first = next(bag.messages(topic), None)
    if first is None:
        return False
    try:
        image_of(first[1], "depth")
    except InputError:
        return False
    return True


def _find_cameras(bag: Bag, images: str) -> str:
    """The topic with the camera of an image: the one next to it, or the only one. Raises InputError."""
    found = [name for name, topic in bag.topics.items() if topic.kind == CAMERA]
    parent = images.rpartition("/")[0]
    for near in (parent, parent.rpartition("/")[0]):  # a compressed image lies one level below the image
        if f"{near}/camera_info" in found:
            return f"{near}/camera_info"
    if not found:
        raise InputError(
            f"{bag.path} has no topic of CameraInfo, which depth images on {images} need: give --intrinsics"
        )
    return _only(bag, found, f"of CameraInfo; choose that of {images} with --intrinsics_topic")


def _only(bag: Bag, found: Sequence[str], what: str) -> str:
    """The only topic. Raises InputError: there are several."""
    if len(found) > 1:
        raise InputError(f"{bag.path} has {len(found)} topics {what}: {_listed(bag, found)}")
    return found[0]


def _kind(bag: Bag, topic: str, kinds: Sequence[str]) -> str:
    """The type of the messages on a topic. Raises InputError: no such topic, no message, or another type."""
    if topic not in bag.topics:
        raise InputError(f"{bag.path} has no topic {topic}; its topics: {_listed(bag, bag.topics)}")
    kind, count = bag.topics[topic]
    if kind not in kinds:
        wanted = " or ".join(one.rpartition("/")[2] for one in kinds)
        raise InputError(f"{bag.path}: {topic} has messages of {kind}; a topic of {wanted} is needed here")
    if not count:
        raise InputError(f"{bag.path}: there is no message on {topic}; choose another topic")
    return kind


def _listed(bag: Bag, names: Iterable[str]) -> str:
    shown = [f"{name} ({bag.topics[name].kind.rpartition('/')[2]})" for name in names]
    more = [f"{len(shown) - _MOST_NAMED} more"] if len(shown) > _MOST_NAMED else []
    return ", ".join([*shown[:_MOST_NAMED], *more]) or "none"


def _refuse_flags_of_images(chosen: Chosen, topic: str) -> None:
    given = {
        "mask_topic": chosen.mask_topic,
        "intrinsics_topic": chosen.intrinsics_topic,
        "intrinsics": chosen.intrinsics,
        "depth_scale": chosen.depth_scale,
        "table auto": chosen.find_table or None,
    }
    for flag, value in given.items():
        if value is not None:
            raise InputError(f"--{flag} belongs to depth images, and {topic} has clouds; leave it out")


# ------------------------------------------------------------------------- messages that belong together


def _stamp(message: Any) -> Stamp:
    return Stamp(int(message.header.stamp.sec), int(message.header.stamp.nanosec))


def _names(bag: Bag, topic: str) -> list[MessageName]:
    """The names of all messages on a topic."""
    return [MessageName(topic, _stamp(message), recorded) for recorded, message in bag.messages(topic)]


def _fetch(bag: Bag, name: MessageName) -> Any:
    """Read one message again."""
    found = bag.messages(name.topic, name.recorded)
    return next(message for _, message in found if _stamp(message) == name.stamp)


def _complete(bag: Bag, chosen: Chosen, shots: list[Shot]) -> tuple[list[Shot], list[str]]:
    """Find the camera and the mask of each depth image; those without are left out, and counted in a note."""
    topic, notes = shots[0].name.topic, []
    if chosen.intrinsics is not None:
        camera = named_camera(chosen.intrinsics)
        shots = [shot._replace(camera=camera) for shot in shots]
    else:
        where = chosen.intrinsics_topic or _find_cameras(bag, topic)
        _kind(bag, where, (CAMERA,))
        cameras = [
            NamedCamera(camera_of(message, f"{bag.path}, {where}"), where, "--intrinsics_topic")
            for _, message in bag.messages(where)
        ]
        if all(camera == cameras[0] for camera in cameras):  # one that never changes may be said once
            shots = [shot._replace(camera=cameras[0]) for shot in shots]
        else:
            near = _nearest(bag, shots, _names(bag, where))
            notes += near.note
            shots = [shot._replace(camera=cameras[i]) for shot, i in near.pairs]
    if chosen.mask_topic is not None:
        _kind(bag, chosen.mask_topic, (IMAGE, COMPRESSED))
        masks = _names(bag, chosen.mask_topic)
        near = _nearest(bag, shots, masks)
        notes += near.note
        shots = [shot._replace(mask=masks[i]) for shot, i in near.pairs]
    return shots, notes


class _Nearest(NamedTuple):
    """Which of some messages has the stamp nearest to that of a shot; and a note on shots without one."""

    pairs: list[tuple[Shot, int]]
    note: list[str]


def _nearest(bag: Bag, shots: Sequence[Shot], others: Sequence[MessageName]) -> _Nearest:
    """Find the message that belongs to each shot: the two are nearest to each other.

    Raises:
        InputError: a message has no stamp, or no shot has a message with a stamp that is near enough.
    """
    theirs = np.array([_nanoseconds(bag, other) for other in others])
    ours = np.array([_nanoseconds(bag, shot.name) for shot in shots])
    pairs = []
    for shot, stamp in zip(shots, ours, strict=True):
        nearest = int(np.abs(theirs - stamp).argmin())
        away = abs(theirs[nearest] - stamp)
        # A late mask may also be near the next image: it belongs to that which is nearest to it.
        if away <= _TOLERANCE and away == np.abs(ours - theirs[nearest]).min():
            pairs.append((shot, nearest))
    topic, images, tolerance = others[0].topic, shots[0].name.topic, f"{_TOLERANCE / 1e6:g} ms"
    if not pairs:
        raise InputError(
            f"{bag.path}: no message on {topic} has a stamp within {tolerance} of one on {images}; choose "
            "topics that belong together"
        )
    lost = len(shots) - len(pairs)
    if not lost:
        return _Nearest(pairs, [])
    left = f"{lost:,} of {len(shots):,} messages on {images} left out"
    return _Nearest(pairs, [f"{bag.path}: {left}: no message on {topic} has their stamp, within {tolerance}"])


def _nanoseconds(bag: Bag, name: MessageName) -> int:
    if name.stamp == (0, 0):
        raise InputError(
            f"{bag.path}: a message on {name.topic} has no stamp, by which it is matched; record it with "
            "that of its image"
        )
    return name.stamp.sec * 10**9 + name.stamp.nanosec
