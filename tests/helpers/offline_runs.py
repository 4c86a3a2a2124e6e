"""The records of W&B's offline runs."""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class OfflineRun(NamedTuple):
    """What a file of W&B holds."""

    id: str
    name: str
    tags: list[str]
    config: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def steps(self) -> list[int]:
        """The steps of its rows, in order."""
        return [row["_step"] for row in self.history]


def read_run(path: Path) -> OfflineRun:
    """A ``.wandb`` file, or the one in a folder."""
    if path.is_dir():
        (path,) = path.glob("*.wandb")
    head: Any = None
    config: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    for record in records(path):
        if record.WhichOneof("record_type") == "run":
            head = record.run
            config |= {item.key: json.loads(item.value_json) for item in head.config.update}
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            history.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
    return OfflineRun(head.run_id, head.display_name, list(head.tags), config, history)


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    content, at, parts = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while at < len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        checksum, length, kind = struct.unpack_from("<IHB", content, at)
        piece = content[at + 7 : at + 7 + length]
        assert zlib.crc32(piece, zlib.crc32(bytes([kind]))) == checksum
        at, parts = at + 7 + length, parts + piece
        if kind in (1, 4):  # a whole record, or the last piece of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def recorded(folder: Path) -> OfflineRun:
    """The one offline run of a run folder."""
    (path,) = folder.glob("wandb/offline-run-*")
    return read_run(path)
