"""Bags of ROS 2, read and written by ``rosbags``: sqlite3 (db3) and mcap, without ROS."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from plumbline.errors import InputError
from plumbline.files import check_folder
from plumbline.payload.forms.ros import Fields
from plumbline.ros.messages import fill
from plumbline.writing import new_folder

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader
    from rosbags.typesys.store import Typestore

_SUFFIXES = (".db3", ".mcap")
_METADATA = "metadata.yaml"
_HEAD = 100
"""Bytes of the header of a file of SQLite (https://www.sqlite.org/fileformat.html, 1.3)."""


class Topic(NamedTuple):
    """A topic of a bag: the type of its messages, and how many there are."""

    kind: str
    messages: int


class Bag:
    """A bag that is open for reading; made by :func:`open_bag`.

    Attributes:
        path: of the bag.
        topics: by name, sorted.
    """

    def __init__(self, path: Path, reader: "Reader", store: "Typestore") -> None:
        self.path, self._reader, self._store = path, reader, store
        with _reading(path):
            held = reader.topics
        self._connections: dict[str, list[Connection]] = {
            name: topic.connections for name, topic in held.items()
        }
        self.topics = {
            name: Topic(topic.msgtype or "several types", topic.msgcount) for name, topic in held.items()
        }

    def messages(self, topic: str, recorded: int | None = None) -> Iterator[tuple[int, Any]]:
        """Yield when each message of a topic was recorded, in nanoseconds, and the message.

        Args:
            topic: its name.
            recorded: only the messages of this moment; None: all, in the order in which they were recorded.

        Raises:
            InputError: the bag is damaged or cut short.
        """
        stop = None if recorded is None else recorded + 1
        number = 0
        with _reading(self.path):
            found = self._reader.messages(self._connections[topic], recorded, stop)
        while True:
            with _reading(self.path):
                item = next(found, None)
                if item is None:
                    break
                message = self._store.deserialize_cdr(item[2], item[0].msgtype)
            number += 1
            yield item[1], message
        promised = self.topics[topic].messages
        if recorded is None and number < promised:
            raise InputError(
                f"{self.path} is cut short: only {number:,} of {promised:,} messages on {topic} are in it"
            )


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a bag: the folder of a recording, or a single file of it.

    Raises:
        InputError: ``rosbags`` is not installed, there is no bag, or it is damaged.
    """
    store = _typestore()
    from rosbags.rosbag2 import Reader

    _check(path)
    with _reading(path):
        reader = Reader(path)
        reader.open()
    try:
        yield Bag(path, reader, store)
    finally:
        reader.close()


class NewMessage(NamedTuple):
    """A message to write: its topic, its type, when it was recorded, in nanoseconds, and its fields."""

    topic: str
    kind: str
    recorded: int
    fields: Fields


def bag_files(path: Path) -> list[Path]:
    """The files of a bag that is a folder: its metadata and the parts of the recording."""
    return [path / _METADATA, *(file for end in _SUFFIXES for file in path.glob(f"*{end}*"))]


def check_new_bag(path: Path) -> None:
    """Refuse a bag that cannot be written because there is something in its place. Raises InputError."""
    if os.path.lexists(path):
        raise InputError(f"{path} exists: a bag is never written over; choose another name")
    check_folder(path.parent, str(path))


def write_bag(path: Path, messages: Iterable[NewMessage], *, like: Path) -> None:
    """Write messages into a new bag, in one step: after an error nothing is left.

    Args:
        path: the folder of the bag, which must not exist.
        messages: in the order in which they were recorded.
        like: a bag whose form, sqlite3 or mcap, the new one gets.

    Raises:
        InputError: there is something in its place, or it cannot be written.
    """
    store = _typestore()
    from rosbags.rosbag2 import StoragePlugin, Writer

    check_new_bag(path)
    form = StoragePlugin.MCAP if _is_mcap(like) else StoragePlugin.SQLITE3
    try:
        with new_folder(path) as folder, Writer(folder, version=8, storage_plugin=form) as writer:
            connections: dict[tuple[str, str], Connection] = {}
            for topic, kind, recorded, fields in messages:
                if (topic, kind) not in connections:
                    connections[topic, kind] = writer.add_connection(topic, kind, typestore=store)
                message = fill(_blank(store, kind), fields)
                writer.write(connections[topic, kind], recorded, store.serialize_cdr(message, kind))
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be written ({reason})") from error


def _typestore() -> "Typestore":
    """The types of the messages. Those that are read are the same in every distribution of ROS 2."""
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise InputError("reading bags of ROS needs rosbags: pip install rosbags") from error
    return get_typestore(Stores.ROS2_JAZZY)


def _is_mcap(path: Path) -> bool:
    return path.suffix == ".mcap" or (path.is_dir() and any(path.glob("*.mcap*")))


def _check(path: Path) -> None:
    """Refuse what is plainly not a bag. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path} does not exist; give the folder of a bag, or its .db3 or .mcap file")
    if path.is_dir():
        if (path / _METADATA).is_file():
            for file in path.glob("*.db3"):
                _check_whole(file)
            return
        files = sorted(file.name for file in path.iterdir() if file.suffix in _SUFFIXES)
        fix = f"give {path / files[0]} or run ros2 bag reindex" if files else "give the folder of a bag"
        raise InputError(f"{path}: there is no {_METADATA} in this folder; {fix}")
    if path.suffix == ".bag":
        raise InputError(f"{path} is a bag of ROS 1; convert it: rosbags-convert --src {path} --dst FOLDER")
    if path.suffix not in _SUFFIXES:
        raise InputError(f"{path} is not a ROS 2 bag: give the folder of one, or its .db3 or .mcap file")
    if path.suffix == ".db3":
        _check_whole(path)


def _check_whole(file: Path) -> None:
    """Refuse a SQLite file that holds only a part of a recording, which rosbags does not notice.

    SQLite takes a file that ends early for one that ends with zeros.
    """
    log = file.with_name(f"{file.name}-wal")
    if log.is_file() and log.stat().st_size:
        raise InputError(
            f"{file} was not closed, and {log.name} holds a part of the recording; run sqlite3 {file} "
            "'PRAGMA wal_checkpoint(TRUNCATE)'"
        )
    with _reading(file), open(file, "rb") as opened:
        head = opened.read(_HEAD)
    if len(head) < _HEAD or head[24:28] != head[92:96]:  # an old writer, which did not count pages
        return
    page = int.from_bytes(head[16:18]) if head[16:18] != b"\0\1" else 1 << 16
    promised = page * int.from_bytes(head[28:32])
    if (size := file.stat().st_size) < promised:
        raise InputError(f"{file} is cut short: {size:,} of {promised:,} bytes are there; copy it again")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a bag is read into an InputError."""
    try:
        yield
    except PermissionError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror}") from error
    except Exception as error:  # the readers raise exceptions of any type for damaged bags
        raise InputError(
            f"{path} cannot be read: it is damaged, cut short, or not a ROS 2 bag; if the recording was "
            "interrupted, try ros2 bag reindex, or record it again"
        ) from error


def _blank(store: "Typestore", kind: str) -> Any:
    """A message of a type with nothing in it: zeros, empty texts and empty lists."""
    _, fields = store.fielddefs[kind]
    return store.types[kind](**{name: _nothing(store, *held) for name, held in fields})


def _nothing(store: "Typestore", node: Any, held: Any) -> Any:
    from rosbags.interfaces import Nodetype

    if node == Nodetype.NAME:
        return _blank(store, held)
    if node == Nodetype.SEQUENCE:
        inner, what = held[0]
        return [] if inner == Nodetype.NAME or what[0] == "string" else np.zeros(0, what[0])
    assert node == Nodetype.BASE, "no message that is written has an array of fixed length"
    return {"string": "", "bool": False}.get(held[0], 0)
