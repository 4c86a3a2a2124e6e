"""The numbers of a glTF file: buffers, the views into them, and the accessors that say how to read them."""

import binascii
import os
import re
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np

from plumbline.errors import MeshError
from plumbline.geometry.mesh_formats.gltf_extensions import refuse_unread
from plumbline.geometry.mesh_formats.gltf_json import (
    Container,
    GltfError,
    Record,
    pick,
    read_container,
    read_flag,
    read_record,
    read_records,
    read_text,
    read_whole,
)
from plumbline.records import Float, Int

_DTYPES: dict[int, Any] = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
"""By component type."""
_UNSIGNED = (5121, 5123, 5125)
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DATA = "data:"
_SHOWN = 200
_ALL = slice(None)
_MOST_BYTES, _MOST_TIMES = 1 << 30, 100
"""Copies of meshes and declared zeros may unfold to this number of bytes or this multiple of the file's."""


def buffer_files(path: Path) -> list[Path]:
    """List the files with numbers of a glTF file that exist within its folder.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        buffers = read_records(read_container(path).root, "buffers")
        uris = [read_text(buffer, "uri") for buffer in buffers if "uri" in buffer]
        found = [_find_file(path, uri) for uri in uris if not uri.startswith(_DATA)]
    except MeshError:
        return []  # reported when the file is read as a mesh
    return [file for file in found if file is not None and os.path.isfile(file)]


def _find_file(path: Path, uri: str) -> Path | None:
    """Find the file that a URI names; None if it is not in the folder of the glTF file, or below."""
    if _SCHEME.match(uri):
        return None
    file = path.parent / unquote(uri)
    try:
        inside = Path(os.path.realpath(file)).is_relative_to(os.path.realpath(path.parent))
    except ValueError:  # a name that no file can have
        return None
    return file if inside else None


class Accessors:
    """Reads the accessors of a glTF file; a buffer is opened when it is first needed."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._accessors = read_records(container.root, "accessors")
        self._views = read_records(container.root, "bufferViews")
        self._buffers = read_records(container.root, "buffers")
        self._data: dict[int, bytes] = {}
        self._charged = 0

    def has_base(self, index: int) -> bool:
        """Tell whether an accessor has numbers, apart from those that replace others."""
        return "bufferView" in pick(self._accessors, index, "accessor")

    def is_sparse(self, index: int) -> bool:
        """Tell whether an accessor replaces some elements."""
        return "sparse" in pick(self._accessors, index, "accessor")

    def count(self, index: int) -> int:
        """Return the number of elements of an accessor."""
        return read_whole(pick(self._accessors, index, "accessor"), "count")

    def read_vectors(self, index: int, form: str, rows: Int | slice = _ALL) -> Float:
        """Read vectors or matrices, integers as fractions if the accessor is normalised.

        Args:
            index: of the accessor.
            form: the type that it must have, such as ``"VEC3"``.
            rows: the elements to read.

        Returns:
            ``[rows, width of the type]`` float64.

        Raises:
            MeshError: the accessor is not valid, its file is missing or truncated, or it needs an extension.
        """
        raw = self._read(index, form)[rows]
        self.charge(8 * raw.size)
        vectors: Float = raw.astype(np.float64)
        if read_flag(self._accessors[index], "normalized", False) and raw.dtype.kind != "f":
            vectors = np.maximum(vectors / np.iinfo(raw.dtype).max, -1.0)
        return vectors

    def read_whole_numbers(self, index: int, form: str, rows: Int | slice = _ALL) -> Int:
        """Read unsigned whole numbers: ``[rows, width of the type]``, in the type of the file.

        Raises:
            MeshError: as for :meth:`read_vectors`, or the numbers are of another type.
        """
        _check_unsigned(pick(self._accessors, index, "accessor"))
        whole: Int = self._read(index, form)[rows]
        self.charge(8 * whole.size)
        return whole

    def charge(self, num_bytes: int) -> None:
        """Count memory that the file unfolds to.

        Raises:
            MeshError: it is far more than the file holds, as if the file were made to fill the memory.
        """
        self._charged += num_bytes
        if self._charged > max(_MOST_BYTES, _MOST_TIMES * sum(map(len, self._data.values()))):
            raise MeshError(
                f"unfolds to {self._charged / 1e9:,.1f} GB or more, far more than a valid file of its size; "
                "export fewer copies"
            )

    def _read(self, index: int, form: str) -> Any:
        accessor = pick(self._accessors, index, "accessor")
        if (found := read_text(accessor, "type")) != form:
            raise GltfError(f"accessor {index} has the type {found!r:.20}, not {form}")
        count, width = read_whole(accessor, "count"), _WIDTHS[form]
        if "bufferView" in accessor:
            array = self._read_view(accessor, accessor, count, width)
        else:
            dtype = _dtype(accessor)
            self.charge(count * width * dtype.itemsize)
            array = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            array = self._replace(array, accessor, read_record(accessor, "sparse"))
        return array

    def _replace(self, array: Any, accessor: Record, sparse: Record) -> Any:
        """Replace the elements of an array ``[count, width]`` that a sparse accessor lists."""
        num = read_whole(sparse, "count")
        places, values = read_record(sparse, "indices"), read_record(sparse, "values")
        _check_unsigned(places)
        rows = self._read_view(places, places, num, 1)[:, 0]
        if rows.size and rows.max() >= len(array):
            raise GltfError(f"a sparse accessor replaces element {rows.max()} of {len(array)}")
        array = array.copy()
        array[rows] = self._read_view(values, accessor, num, array.shape[1])
        return array

    def _read_view(self, source: Record, typed: Record, count: int, width: int) -> Any:
        """View ``[count, width]`` numbers in a buffer, after a check that it holds them.

        Args:
            source: has ``bufferView`` and ``byteOffset``.
            typed: has ``componentType``.
            count: number of elements.
            width: numbers per element.
        """
        dtype = _dtype(typed)
        index = read_whole(source, "bufferView")
        view = pick(self._views, index, "buffer view")
        offset, length = read_whole(source, "byteOffset", 0), read_whole(view, "byteLength")
        size = width * dtype.itemsize
        stride = read_whole(view, "byteStride", 0) or size
        if stride < size:
            raise GltfError(f"buffer view {index} has a stride of {stride} bytes for elements of {size}")
        if count and offset + stride * (count - 1) + size > length:
            raise GltfError(f"{count} elements of {size} bytes are declared in {length} bytes of a buffer")
        data = self._open(view)
        begin = read_whole(view, "byteOffset", 0)
        if begin + length > len(data):
            raise GltfError(f"buffer view {index} ends after its buffer of {len(data)} bytes")
        if not count:
            return np.zeros((0, width), dtype)
        return np.ndarray((count, width), dtype, data, begin + offset, (stride, dtype.itemsize))

    def _open(self, view: Record) -> bytes:
        """Read the buffer of a view, once."""
        index = read_whole(view, "buffer")
        buffer = pick(self._buffers, index, "buffer")
        if index not in self._data:
            length = read_whole(buffer, "byteLength")
            if "uri" in buffer:
                data = _read_uri(self._container.path, read_text(buffer, "uri"), length)
            elif (chunk := self._container.chunk) is not None and index == 0 and not _is_stand_in(buffer):
                if chunk[1] < length:
                    _refuse_short("its binary chunk", length, chunk[1])
                data = _read_file(self._container.path, chunk[0], length)
            else:
                refuse_unread(read_record(view, "extensions"))
                raise GltfError(f"buffer {index} has no data")
            self._data[index] = data
        return self._data[index]


def _is_stand_in(buffer: Record) -> bool:
    """Tell whether a buffer only declares the size to which a compressed one unpacks."""
    extensions = read_record(buffer, "extensions")
    return any(read_record(extensions, name).get("fallback") is True for name in extensions)


def _dtype(record: Record) -> Any:
    kind = read_whole(record, "componentType")
    if kind not in _DTYPES:
        raise GltfError(f"it has numbers of the unknown component type {kind}")
    return np.dtype(_DTYPES[kind])


def _check_unsigned(record: Record) -> None:
    if (kind := read_whole(record, "componentType")) not in _UNSIGNED:
        raise GltfError(f"it has indices of the component type {kind}, not unsigned integers")


def _read_uri(path: Path, uri: str, length: int) -> bytes:
    """Read the first bytes of what a URI holds or names."""
    if uri.startswith(_DATA):
        data = _decode(uri)
        if len(data) < length:
            _refuse_short("a data URI", length, len(data))
        return data[:length]
    name = repr(unquote(uri)[:_SHOWN])
    file = _find_file(path, uri)
    if file is None or not os.path.isfile(file):
        raise MeshError(f"needs the file {name}, which is not in its folder; put it there")
    if (size := file.stat().st_size) < length:
        _refuse_short(f"its buffer {name}", length, size)
    return _read_file(file, 0, length)


def _read_file(file: Path, start: int, length: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(start)
        return opened.read(length)


def _decode(uri: str) -> bytes:
    """Decode a data URI."""
    head, comma, content = uri.partition(",")
    if not comma:
        raise GltfError("a data URI has no data")
    if not head.endswith(";base64"):
        return unquote_to_bytes(content)
    try:
        return b64decode("".join(unquote(content).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise GltfError("a data URI is not base64") from error


def _refuse_short(what: str, length: int, found: int) -> None:
    raise MeshError(
        f"is truncated: {what} has {found} of the {length} bytes its header declares; export it again"
    )
