"""Reader of ply files: every element, as text or binary, of scans and of meshes.

The format: Greg Turk, "The PLY Polygon File Format", 1994. Writers have added type names (``int8``), elements
(``camera``, ``range_grid``, ``tristrips``) and properties since; any name is accepted.
"""

import struct
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plumbline.errors import InputError
from plumbline.geometry.ascii_numbers import ascii_numbers, is_count
from plumbline.geometry.headers import check_whole
from plumbline.records import Float, Int

_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"int64": "i8", "uint64": "u8", "long": "i8", "ulong": "u8"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
    **{"bool": "u1", "half": "f2", "float16": "f2"},
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_VERTICES = ("vertex", "vertices", "point", "points")
"""Names of the element that holds positions; all but the first are rare."""
_LONGEST = 1 << 20
"""Bytes of the longest header."""
_CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}


class Lists(NamedTuple):
    """The lists of one property, one list for each row.

    Attributes:
        lengths: ``[n]`` int64 number of values in each row.
        values: ``[sum of lengths]`` values of all rows, in order.
    """

    lengths: Int
    values: np.ndarray[Any, Any]


Columns = dict[str, "np.ndarray[Any, Any] | Lists"]


@dataclass(frozen=True, slots=True)
class Ply:
    """The content of a ply file. Frame and unit of the file.

    Attributes:
        path: the file, for messages.
        elements: by the name of the element, and then of the property: ``[n]`` numbers, or :class:`Lists`.
            Names are in lower case.
        counts: by the name of the element, its number of rows.
        comments: of the header, a line each.
    """

    path: Path
    elements: dict[str, Columns]
    counts: dict[str, int]
    comments: tuple[str, ...] = ()

    def vertices(self) -> Float:
        """Return the positions ``[V, 3]`` float64 of all vertices, in order.

        Raises:
            InputError: the file has no vertices, or they have no x, y and z.
        """
        for name in _VERTICES:
            if name in self.elements:
                return self.positions(name, ("x", "y", "z"))
        raise InputError(f"{self.path} has no element vertex; export it with points")

    def positions(self, element: str, names: tuple[str, str, str]) -> Float:
        """Return three properties of an element as ``[n, 3]`` float64.

        Raises:
            InputError: a property is missing, or is a list.
        """
        columns = self.elements[element]
        absent = [name for name in names if isinstance(columns.get(name, ()), tuple)]
        if absent:
            raise InputError(
                f"{self.path}: element {element} has no {', '.join(absent)}; export it with positions"
            )
        found = np.empty((self.counts[element], 3))
        with np.errstate(invalid="ignore"):  # numpy warns of signalling NaN
            for axis, name in enumerate(names):
                found[:, axis] = columns[name]
        return found


def read_ply(path: Path) -> Ply:
    """Read all elements of a ply file.

    ASCII, little and big endian; lists of any length; comments in any encoding; lines that end in LF, CR LF
    or CR.

    Raises:
        InputError: the file is not a ply file, or is truncated or damaged; the message names the file.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        order, elements, comments, begin = _read_header(path, file.read(_LONGEST))
        file.seek(begin)
        body = ascii_numbers(file.read(), path) if order == "" else np.fromfile(file, np.uint8)
    found: dict[str, Columns] = {}
    start = 0
    for element in elements:
        found[element.name], start = _Rows(path, element, order, body).read(start)
    if order == "" and start < len(body):
        raise InputError(
            f"{path} is damaged: it has {len(body)} numbers, but its header declares {start}; export it again"
        )
    return Ply(path, found, {element.name: element.rows for element in elements}, tuple(comments))


# ------------------------------------------------------------------------------------------------- header


class _Property(NamedTuple):
    """Name, type of the values, and for a list the type of its length."""

    name: str
    kind: str
    length: str | None


class _Element(NamedTuple):
    name: str
    rows: int
    properties: list[_Property]


def _read_header(path: Path, data: bytes) -> tuple[str, list[_Element], list[str], int]:
    """Read the header: byte order (empty for text), elements, comments, and where the content begins."""
    mark = len(BOM_UTF8) if data.startswith(BOM_UTF8) else 0
    data = data[mark:]
    if data[:3] != b"ply" or not data[3:4].isspace():
        raise InputError(f"{path} cannot be read as ply: it does not start like a ply file; export it again")
    # The first line says how lines end: after the header of a file of CR, the byte LF belongs to the content.
    first = data[3:_LONGEST].lstrip(b" \t")[:2]
    end = b"\r" if first[:1] == b"\r" and first != b"\r\n" else b"\n"
    order, elements, comments, start, number = None, list[_Element](), list[str](), 0, 0
    while True:
        stop = data.find(end, start, _LONGEST)
        if stop < 0:
            if data[start:_LONGEST].strip() == b"end_header":
                stop = len(data)  # a file without content
            else:
                raise InputError(
                    f"{path} is truncated or damaged: its header has no line end_header; export it again"
                )
        words = data[start:stop].decode("ascii", "replace").split()
        start, number = stop + len(end), number + 1
        match words:
            case ["end_header"]:
                break
            case ["comment", *said]:
                comments.append(" ".join(said))
            case [] | ["ply"] | ["obj_info", *_]:
                continue
            case ["format", name, *_] if name in _ORDERS:
                order = _ORDERS[name]
            case ["element", name, count] if is_count(count):
                elements.append(_Element(name.lower(), int(count), []))
            case ["property", "list", length, kind, name] if elements and _TYPES.get(length, "f")[0] != "f":
                elements[-1].properties.append(_property(path, number, name, kind, _TYPES[length]))
            case ["property", kind, name] if elements:
                elements[-1].properties.append(_property(path, number, name, kind, None))
            case _:
                shown = " ".join(words)[:60]
                raise InputError(
                    f"{path} cannot be read as ply: line {number} of its header is {shown!r}; export it again"
                )
    if order is None:
        raise InputError(f"{path} cannot be read as ply: its header has no line format; export it again")
    for what, names in (
        ("elements", [element.name for element in elements]),
        *((f"properties of {one.name}", [own.name for own in one.properties]) for one in elements),
    ):
        if len(set(names)) < len(names):
            raise InputError(f"{path} cannot be read as ply: two {what} have the same name; export it again")
    return order, elements, comments, mark + min(start, len(data))


def _property(path: Path, number: int, name: str, kind: str, length: str | None) -> _Property:
    if kind not in _TYPES:
        raise InputError(
            f"{path} cannot be read as ply: line {number} of its header has type {kind[:20]!r}; export it "
            "again"
        )
    return _Property(name.lower(), _TYPES[kind], length)


# ---------------------------------------------------------------------------------------------------- rows


class _Rows:
    """The rows of one element. Positions are bytes of a binary file, and numbers of a text."""

    def __init__(self, path: Path, element: _Element, order: str, body: np.ndarray[Any, Any]) -> None:
        self.path, self.element, self.order, self.body = path, element, order, body
        self.lists = [own for own in element.properties if own.length is not None]

    def read(self, start: int) -> tuple[Columns, int]:
        """Read all rows, which begin at ``start``; returns the columns, and where the rows end."""
        count, room = self.element.rows, len(self.body) - start
        least = sum(self._size(own.length or own.kind) for own in self.element.properties)
        if least * count > room:
            self._check_whole(room // least)
        if not count or not least:
            return self._decode(np.zeros((0, least), self.body.dtype), [0] * len(self.lists)), start
        # Nearly always all rows are as long as the first.
        lengths = self._walk(start, 1)[1][0].tolist()
        size = least + sum(
            length * self._size(own.kind) for length, own in zip(lengths, self.lists, strict=True)
        )
        if size * count <= room:
            block = self.body[start : start + size * count].reshape(count, size)
            if self._alike(block, lengths):
                return self._decode(block, lengths), start + size * count
        starts, all_lengths, end = self._walk(start, count)
        return self._collect(starts, all_lengths, least), end

    def _size(self, kind: str) -> int:
        return 1 if self.order == "" else int(kind[1])

    def _check_whole(self, rows: int) -> None:
        name = {"vertex": "points", "face": "faces"}.get(self.element.name, f"rows of {self.element.name}")
        check_whole(self.path, rows, self.element.rows, name)

    def _walk(self, start: int, count: int) -> tuple[Int, Int, int]:
        """Find where each row begins ``[n]``, the lengths of its lists ``[n, L]``, and where the rows end."""
        steps: list[tuple[int, int, int, Callable[[int], Any]]] = []
        gap = 0
        for own in self.element.properties:
            if own.length is None:
                gap += self._size(own.kind)
            else:
                head = self._size(own.length)
                steps.append((gap, head, self._size(own.kind), self._number_at(own.length)))
                gap = 0
        starts, lengths, end, place = list[int](), list[int](), len(self.body), start
        for row in range(count):
            starts.append(place)
            for before, head, size, number_at in steps:
                place += before
                if place + head > end:
                    self._check_whole(row)
                length = number_at(place)
                if not 0 <= length <= end or length % 1:
                    raise InputError(
                        f"{self.path} is damaged: row {row + 1} of {self.element.name} has a list of length "
                        f"{length:g}; export it again"
                    )
                lengths.append(int(length))
                place += head + int(length) * size
            place += gap
            if place > end:
                self._check_whole(row)
        return np.array(starts), np.array(lengths, np.int64).reshape(count, len(steps)), place

    def _number_at(self, kind: str) -> Callable[[int], Any]:
        if self.order == "":
            return self.body.item
        if kind == "u1":
            return memoryview(self.body.data).__getitem__
        unpack = struct.Struct(self.order + _CODES[kind]).unpack_from
        return lambda place: unpack(self.body.data, place)[0]

    def _fields(self, block: np.ndarray[Any, Any], lengths: Sequence[int]) -> Iterator[tuple[_Property, Any]]:
        """Yield each property with its values in rows of equal lengths: ``[n]``, of a list ``[n, length]``.

        A list comes twice: first the lengths themselves, ``[n]``, as a property without a name.
        """
        place, left = 0, iter(lengths)
        for own in self.element.properties:
            if own.length is not None:
                yield _Property("", own.length, None), self._values(block, place, own.length, 1)[:, 0]
                place += self._size(own.length)
                length = next(left)
                yield own, self._values(block, place, own.kind, length)
                place += length * self._size(own.kind)
            else:
                yield own, self._values(block, place, own.kind, 1)[:, 0]
                place += self._size(own.kind)

    def _values(self, block: np.ndarray[Any, Any], place: int, kind: str, num: int) -> np.ndarray[Any, Any]:
        if self.order == "":
            return block[:, place : place + num]
        dtype = np.dtype(self.order + kind)
        if not num:
            return np.zeros((len(block), 0), dtype)
        return block[:, place : place + num * dtype.itemsize].view(dtype)

    def _alike(self, block: np.ndarray[Any, Any], lengths: Sequence[int]) -> bool:
        heads = [values for own, values in self._fields(block, lengths) if not own.name]
        return all((head == length).all() for head, length in zip(heads, lengths, strict=True))

    def _decode(self, block: np.ndarray[Any, Any], lengths: Sequence[int]) -> Columns:
        """Turn rows of equal lengths into columns."""
        return {
            own.name: values
            if own.length is None
            else Lists(np.full(len(block), values.shape[1]), values.reshape(-1))
            for own, values in self._fields(block, lengths)
            if own.name
        }

    def _collect(self, starts: Int, lengths: Int, least: int) -> Columns:
        """Turn rows of different lengths into columns; rows of the same lengths are read together."""
        kind_of = np.zeros(len(starts), np.int64)
        for column in lengths.T:
            place = np.unique(column, return_inverse=True)[1]
            kind_of = np.unique(kind_of * (place.max() + 1) + place, return_inverse=True)[1]
        order = np.argsort(kind_of, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(kind_of[order])) + 1)
        ends = {own.name: np.cumsum(column) for own, column in zip(self.lists, lengths.T, strict=True)}
        found: dict[str, np.ndarray[Any, Any]] = {}
        for rows in groups:
            same = lengths[rows[0]].tolist()
            size = least + sum(num * self._size(own.kind) for num, own in zip(same, self.lists, strict=True))
            block = self.body[starts[rows][:, None] + np.arange(size)]
            for own, values in self._fields(block, same):
                if not own.name:
                    continue
                total = len(starts) if own.length is None else int(ends[own.name][-1])
                column = found.setdefault(own.name, np.empty(total, values.dtype))
                if own.length is None:
                    column[rows] = values
                else:
                    num = values.shape[1]
                    column[(ends[own.name][rows] - num)[:, None] + np.arange(num)] = values
        counts = dict(zip((own.name for own in self.lists), lengths.T, strict=True))
        return {
            name: Lists(counts[name], values) if name in counts else values for name, values in found.items()
        }
