"""The JSON of a glTF file: where it is in the file, and its values by type.

A value that is missing without a default, or of another type, is refused with a :class:`GltfError`.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from plumbline.errors import MeshError
from plumbline.records import Float

Record = dict[str, Any]

_MAGIC = b"glTF"
_HEADER = struct.Struct("<4sII")
"""Of a glb file: magic, version, length of the file."""
_CHUNK = struct.Struct("<I4s")
"""Of each chunk: length of its content, kind."""
_LARGEST = 1 << 53
"""Largest whole number that can be a count or an offset."""
_SHOWN = 80
"""Characters of a value that are shown in a message."""


class GltfError(MeshError):
    """A file that breaks the rules of glTF, for the given reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"is damaged: {reason}; export it again")


@dataclass(frozen=True, slots=True)
class Container:
    """A glTF file before its numbers are read.

    Attributes:
        path: the file.
        root: its JSON.
        chunk: start and length of the binary chunk of a glb file, in bytes.
    """

    path: Path
    root: Record
    chunk: tuple[int, int] | None


def read_container(path: Path) -> Container:
    """Read the JSON of a ``.gltf`` or ``.glb`` file, told apart by their content.

    Raises:
        MeshError: the file is not glTF, or is truncated, damaged or of an older version.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        if head[:4] == _MAGIC:
            chunks = _find_chunks(file, head, path.stat().st_size)
            if b"JSON" not in chunks:
                raise GltfError("it has no JSON chunk")
            start, length = chunks[b"JSON"]
            file.seek(start)
            return Container(path, _parse(file.read(length)), chunks.get(b"BIN\0"))
        if path.suffix.lower() == ".glb":
            raise MeshError("cannot be read as glb: it does not start like a glb file; export it again")
        return Container(path, _parse(head + file.read()), None)


def _find_chunks(file: BinaryIO, head: bytes, size: int) -> dict[bytes, tuple[int, int]]:
    """Find start and length of the first chunk of each kind."""
    if len(head) < _HEADER.size:
        raise MeshError(f"is truncated: it ends after {len(head)} bytes; export it again")
    _, version, total = _HEADER.unpack(head)
    if version == 1:
        refuse_version("1.0")
    if version != 2:
        raise GltfError(f"its header declares version {version}, not 2")
    chunks: dict[bytes, tuple[int, int]] = {}
    start = _HEADER.size + _CHUNK.size
    while start <= min(size, total):
        file.seek(start - _CHUNK.size)
        length, kind = _CHUNK.unpack(file.read(_CHUNK.size))
        if start + length > size:
            raise MeshError(
                f"is truncated or damaged: a chunk of {length} bytes is declared in {size} bytes; export it "
                "again"
            )
        chunks.setdefault(kind, (start, length))
        start += length + _CHUNK.size
    if total > size:
        raise MeshError(
            f"is truncated: it has {size} of the {total} bytes its header declares; export it again"
        )
    return chunks


def _parse(text: bytes) -> Record:
    try:
        root = json.loads(text, parse_constant=_refuse_constant)
    except (RecursionError, ValueError) as error:
        raise MeshError("is truncated or damaged: its JSON cannot be read; export it again") from error
    if not isinstance(root, dict):
        raise GltfError("its JSON is not an object")
    return root


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def refuse_version(version: str) -> NoReturn:
    """Refuse a file of this version."""
    fix = "convert it to 2.0" if version.startswith("1.") else "export it as glTF 2.0"
    raise MeshError(f"is glTF {version[:_SHOWN]}; {fix}")


def check_version(root: Record) -> None:
    """Refuse a file that is not of version 2.0, or needs a later one.

    Raises:
        MeshError: the version is missing or another one.
    """
    if isinstance(root.get("meshes"), dict):  # in version 1, which often has no "asset"
        refuse_version("1.0")
    asset = read_record(root, "asset")
    version = read_text(asset, "version")
    if version.partition(".")[0] != "2":
        refuse_version(version)
    if "minVersion" in asset and (least := read_text(asset, "minVersion")) != "2.0":
        refuse_version(least)


# ------------------------------------------------------------------------------------------ values by type


def read_whole(record: Record, key: str, default: int | None = None) -> int:
    """Read a whole number of 0 or more."""
    return _whole(record.get(key, default) if default is not None else _present(record, key), key)


def _whole(value: Any, key: str) -> int:
    if isinstance(value, float) and value.is_integer():  # some programs write every number with a point
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise GltfError(f'"{key}" is {_shown(value)}, not a whole number of 0 or more')
    return value


def read_wholes(record: Record, key: str) -> list[int]:
    """Read a list of whole numbers of 0 or more; an empty one if it is missing."""
    return [_whole(value, key) for value in _list(record, key)]


def read_numbers(record: Record, key: str, default: list[float]) -> Float:
    """Read finite numbers, of which the default has the right number: ``[n]`` float64."""
    values = record.get(key, default)
    if not isinstance(values, list) or len(values) != len(default):
        raise GltfError(f'"{key}" is {_shown(values)}, not {len(default)} numbers')
    return _floats(values, key)


def read_all_numbers(record: Record, key: str) -> Float:
    """Read any number of finite numbers: ``[n]`` float64."""
    return _floats(_list(record, key), key)


def _floats(values: list[Any], key: str) -> Float:
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise GltfError(f'"{key}" is {_shown(values)}, not numbers')
    try:
        numbers = np.array([float(value) for value in values])
    except OverflowError:
        numbers = np.array([np.inf])
    if not np.isfinite(numbers).all():
        raise GltfError(f'"{key}" has a number that is not finite')
    return numbers


def read_flag(record: Record, key: str, default: bool) -> bool:
    """Read true or false."""
    value = record.get(key, default)
    if not isinstance(value, bool):
        raise GltfError(f'"{key}" is {_shown(value)}, not true or false')
    return value


def read_text(record: Record, key: str) -> str:
    """Read text."""
    value = _present(record, key)
    if not isinstance(value, str):
        raise GltfError(f'"{key}" is {_shown(value)}, not text')
    return value


def read_name(record: Record) -> str:
    """Read the name of an object; empty if it has none."""
    name = record.get("name")
    return name if isinstance(name, str) else ""


def read_texts(record: Record, key: str) -> list[str]:
    """Read a list of texts; an empty one if it is missing."""
    values = _list(record, key)
    if not all(isinstance(value, str) for value in values):
        raise GltfError(f'"{key}" is {_shown(values)}, not a list of texts')
    return values


def read_record(record: Record, key: str) -> Record:
    """Read a record; an empty one if it is missing."""
    value = record.get(key, {})
    if not isinstance(value, dict):
        raise GltfError(f'"{key}" is {_shown(value)}, not an object')
    return value


def read_records(record: Record, key: str) -> list[Record]:
    """Read a list of records; an empty one if it is missing."""
    values = _list(record, key)
    if not all(isinstance(value, dict) for value in values):
        raise GltfError(f'"{key}" is not a list of objects')
    return values


def pick(records: list[Record], index: int, what: str) -> Record:
    """Pick a record by its index."""
    if index >= len(records):
        raise GltfError(f"it refers to {what} {index}, but has {len(records)}")
    return records[index]


def _list(record: Record, key: str) -> list[Any]:
    values = record.get(key, [])
    if not isinstance(values, list):
        raise GltfError(f'"{key}" is {_shown(values)}, not a list')
    return values


def _present(record: Record, key: str) -> Any:
    if key not in record:
        raise GltfError(f'"{key}" is missing')
    return record[key]


def _shown(value: Any) -> str:
    """Show a value of the file on one line, shortened."""
    if isinstance(value, dict | list):  # may be nested too deep to be shown
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) > _LARGEST:  # may have too many digits to be shown
        return "a huge number"
    return "null" if value is None else repr(value)[:_SHOWN]
