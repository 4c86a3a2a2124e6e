"""What a bag shows of objects: its topics, the messages that belong together, a cloud for each answer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.depth_files import NamedCamera, make_view, named_camera
from plumbline.geometry.intrinsics import Intrinsics
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
    """What the user says of a bag; None: it is to be found out.

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

    @property
    def has_objects(self) -> bool:
        """Whether there may be several answers for a message."""
        return self.mask_topic is not None or self.find_table


class Shot(NamedTuple):
    """A message with a cloud or a depth image; the camera of the latter, and its mask if it has one."""

    name: MessageName
    camera: NamedCamera | None = None
    mask: MessageName | None = None


@dataclass(frozen=True)
class Recording:
    """The scans in a bag; made by :func:`read_recording`.

    Attributes:
        path: of the bag.
        topic: of the clouds or depth images.
        is_depth: whether they are depth images.
        shots: the messages that are answered, in the order in which they were recorded.
        chosen: what the user says of the bag.
        names: of the scans, one for each answer.
        notes: what was left out, a sentence each.
    """

    path: Path
    topic: str
    is_depth: bool
    shots: Sequence[Shot]
    chosen: Chosen
    names: Sequence[ScanName] = ()
    notes: Sequence[str] = ()

    def clouds(self) -> Iterator[Cloud | InputError]:
        """Read the scan of each of the ``names`` from the bag, message by message."""
        for _, cloud in self.scans():
            yield cloud

    def scans(self) -> Iterator[tuple[ScanName, Cloud | InputError]]:
        """Read all scans: one for each cloud or depth image, or one for each object of it."""
        wanted = {shot.name: shot for shot in self.shots}
        with open_bag(self.path) as bag:
            for recorded, message in bag.messages(self.topic):
                name = MessageName(self.topic, _stamp(message), recorded)
                if name not in wanted:
                    continue
                whole = ScanName(self.path, None, name)
                try:
                    yield from self._objects(bag, whole, message, wanted[name])
                except InputError as error:
                    yield whole, error

    def _objects(
        self, bag: Bag, whole: ScanName, message: Any, shot: Shot
    ) -> Iterator[tuple[ScanName, Cloud | InputError]]:
        if shot.camera is None:
            yield whole, cloud_of(message, str(whole))
            return
        depth, mask = image_of(message, "depth", str(whole)), None
        if shot.mask is not None:
            mask = image_of(_fetch(bag, shot.mask), "mask", f"{self.path}, {shot.mask}")
        view = make_view(depth, shot.camera, mask, depth_scale=self.chosen.depth_scale, name=str(whole))
        for number, cloud in view.clouds(self.chosen.find_table).items():
            if isinstance(cloud, Cloud):
                cloud = replace(cloud, frame=str(message.header.frame_id))
            yield whole._replace(object=number if self.chosen.has_objects else None), cloud


def read_recording(path: Path, chosen: Chosen) -> Recording:
    """Find out what is in a bag, and name each scan in it.

    Raises:
        InputError: the bag cannot be read, a topic is missing, empty or of the wrong type, several would do,
            or no message of one topic belongs to one of another.
    """
    with open_bag(path) as bag:
        topic = chosen.topic or _find_scans(bag, chosen.mask_topic)
        is_depth = _kind(bag, topic, (CLOUD, IMAGE, COMPRESSED)) != CLOUD
        shots = [Shot(name) for name, _ in _named(bag, topic)]
        notes: list[str] = []
        if is_depth:
            shots, notes = _complete(bag, chosen, shots)
        else:
            _refuse_flags_of_images(chosen, topic)
    recording = Recording(path, topic, is_depth, shots, chosen, notes=notes)
    if not chosen.has_objects:
        return replace(recording, names=[ScanName(path, None, shot.name) for shot in shots])
    # Only the images say which objects there are. They are read twice, because no memory may hold them all.
    return replace(recording, names=[name for name, _ in recording.scans()])


# --------------------------------------------------------------------------------------------- topics


def _find_scans(bag: Bag, masks: str | None) -> str:
    """The only topic with clouds or depth images but ``masks``. Raises InputError: none, or several."""
    images = [name for name, topic in bag.topics.items() if topic.kind in (IMAGE, COMPRESSED)]
    depths = [name for name in images if name != masks and _holds_depth(bag, name)]
    found = [name for name, topic in bag.topics.items() if topic.kind == CLOUD or name in depths]
    if not found:
        there = _listed(bag, bag.topics)
        raise InputError(f"{bag.path} has no topic with clouds or depth images; its topics: {there}")
    return _only(bag, found, "with clouds or depth images; choose one with --topic")


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


def _named(bag: Bag, topic: str) -> Iterator[tuple[MessageName, Any]]:
    """The messages on a topic, each with its name."""
    for recorded, message in bag.messages(topic):
        yield MessageName(topic, _stamp(message), recorded), message


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
            (name, NamedCamera(camera_of(message, f"{bag.path}, {where}"), where, "--intrinsics_topic"))
            for name, message in _named(bag, where)
        ]
        if all(camera == cameras[0][1] for _, camera in cameras):  # one that never changes may be said once
            shots = [shot._replace(camera=cameras[0][1]) for shot in shots]
        else:
            near = _nearest(bag, shots, [name for name, _ in cameras])
            notes += near.note
            shots = [shot._replace(camera=cameras[i][1]) for shot, i in near.pairs]
    if chosen.mask_topic is not None:
        _kind(bag, chosen.mask_topic, (IMAGE, COMPRESSED))
        masks = [name for name, _ in _named(bag, chosen.mask_topic)]
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
        raise InputError(f"{bag.path}: a message on {name.topic} has no stamp, by which it is matched")
    return name.stamp.sec * 10**9 + name.stamp.nanosec
