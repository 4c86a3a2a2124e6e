"""Writers of ply and pcd files, in all their variants, for tests of the readers."""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

PLY_TYPES = {
    "i1": ("char", "int8"), "u1": ("uchar", "uint8"), "i2": ("short", "int16"), "u2": ("ushort", "uint16"),
    "i4": ("int", "int32"), "u4": ("uint", "uint32"), "f4": ("float", "float32"), "f8": ("double", "float64"),
}  # fmt: skip
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


class Column(NamedTuple):
    """One property: numbers ``[n]``, or a list of arrays if ``length`` names the type of their length."""

    name: str
    kind: str
    values: Sequence[Any]
    length: str = ""


def ply_bytes(
    elements: dict[str, list[Column]],
    form: str = "binary_little_endian",
    *,
    end: bytes = b"\n",
    comments: Sequence[bytes] = (),
    spelling: int = 0,
    counts: dict[str, int] | None = None,
) -> bytes:
    """A ply file. ``spelling``: which of the two names of each type; ``counts``: of elements without rows."""
    head = [b"ply", f"format {form} 1.0".encode(), *comments]
    for name, columns in elements.items():
        num = len(columns[0].values) if columns else (counts or {}).get(name, 0)
        head.append(f"element {name} {num}".encode())
        for column in columns:
            kind = PLY_TYPES[column.kind][spelling]
            length = f"list {PLY_TYPES[column.length][spelling]} " if column.length else ""
            head.append(f"property {length}{kind} {column.name}".encode())
    body = b""
    for columns in elements.values():
        for row in zip(*(column.values for column in columns), strict=True):
            cells = [_cell(column, value, form) for column, value in zip(columns, row, strict=True)]
            body += b" ".join(cells) + end if form == "ascii" else b"".join(cells)
    return end.join([*head, b"end_header", b""]) + body


def _cell(column: Column, value: Any, form: str) -> bytes:
    values = np.atleast_1d(np.asarray(value, column.kind))
    if form == "ascii":
        words = [repr(item) for item in values.tolist()]
        return " ".join([str(len(words)), *words] if column.length else words).encode()
    dtype = np.dtype(ORDERS[form] + column.kind)
    lengths = (
        np.array([len(values)], np.dtype(ORDERS[form] + column.length)).tobytes() if column.length else b""
    )
    return lengths + values.astype(dtype).tobytes()


def ply_points(points: np.ndarray, kind: str = "f4") -> list[Column]:
    """The vertices of a ply file."""
    return [Column(axis, kind, column) for axis, column in zip("xyz", points.T, strict=True)]


def ply_camera(*positions: Sequence[float]) -> list[Column]:
    """The element camera, a row for each position of the sensor."""
    return [
        *(Column(f"view_p{axis}", "f4", [p[i] for p in positions]) for i, axis in enumerate("xyz")),
        Column("x_axisx", "f4", [1.0] * len(positions)),
        Column("viewportx", "i4", [600] * len(positions)),
    ]


def pcd_bytes(
    fields: Sequence[tuple[str, str, np.ndarray]],
    data: str = "binary",
    *,
    without: Sequence[str] = (),
    height: int = 1,
    viewpoint: str = "0.4 -0.6 0.9 1 0 0 0",
    version: str = "0.7",
    between: str = " ",
    after: str = "\n",
) -> bytes:
    """A pcd file of fields ``(name, type, values [N] or [N, COUNT])``; ``without``: lines left out."""
    columns = [np.asarray(values, kind).reshape(len(values), -1) for _, kind, values in fields]
    num = len(columns[0])
    head = {
        "VERSION": version,
        "FIELDS": " ".join(name for name, _, _ in fields),
        "SIZE": " ".join(kind[1] for _, kind, _ in fields),
        "TYPE": " ".join(kind[0].upper() for _, kind, _ in fields),
        "COUNT": " ".join(str(column.shape[1]) for column in columns),
        "WIDTH": str(num // height),
        "HEIGHT": str(height),
        "VIEWPOINT": viewpoint,
        "POINTS": str(num),
        "DATA": data,
    }
    lines = [f"{key} {value}" for key, value in head.items() if key not in without]
    start = after.join(["# .PCD v0.7 - Point Cloud Data file format", *lines, ""]).encode()
    if data == "ascii":
        rows = zip(*(map(np.ndarray.tolist, column) for column in columns), strict=True)
        return start + "".join(between.join(repr(v) for c in row for v in c) + after for row in rows).encode()
    if data == "binary":
        return start + b"".join(
            column[row].astype("<" + kind).tobytes()
            for row in range(num)
            for column, (_, kind, _) in zip(columns, fields, strict=True)
        )
    whole = b"".join(
        column[:, i].astype("<" + kind).tobytes()
        for column, (_, kind, _) in zip(columns, fields, strict=True)
        for i in range(column.shape[1])
    )
    packed = lzf(whole)
    return start + struct.pack("<II", len(packed), len(whole)) + packed


def lzf(data: bytes) -> bytes:
    """Compress, with copies that may overlap what they write."""
    out, plain, place, seen = bytearray(), bytearray(), 0, dict[bytes, int]()

    def flush() -> None:
        for start in range(0, len(plain), 32):
            piece = plain[start : start + 32]
            out.append(len(piece) - 1)
            out.extend(piece)
        plain.clear()

    while place < len(data):
        key = data[place : place + 3]
        found = seen.get(key, -1)
        seen[key] = place
        back = place - found - 1
        if len(key) < 3 or found < 0 or back >= 1 << 13:
            plain.append(data[place])
            place += 1
            continue
        length = 3
        while length < 264 and place + length < len(data) and data[found + length] == data[place + length]:
            length += 1
        flush()
        short = length - 2
        out.append((min(short, 7) << 5) + (back >> 8))
        if short >= 7:
            out.append(short - 7)
        out.append(back & 255)
        place += length
    flush()
    return bytes(out)
