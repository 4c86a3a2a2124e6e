"""Damage to files: bits, bytes, pieces and the numbers in headers, drawn from a seeded generator."""

import io
import re
import zipfile
from collections.abc import Callable, Sequence

import numpy as np

Rng = np.random.Generator
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORDS = (
    b"0", b"-1", b"1", b"2", b"255", b"65536", b"2147483648", b"4294967295", b"99999999999999",
    b"18446744073709551616", b"1" * 5000, b"nan", b"inf", b"-inf", b"1e12", b"1e-12", b"1e308", b"1e999", b"",
    b"true", b"null", b"[]", b"{}", b"0x10", b"1_000", b"2024-99-99", b"\xff", b"\x00",
)  # fmt: skip
_FLOATS, _INTEGERS = (np.nan, np.inf, 1e30, 1e-30, -1), (-1, 2**31 - 1, 0, 7)
_BINARY = (
    *(np.array(value, kind).tobytes() for kind in ("<f4", "<f8") for value in _FLOATS),
    *(np.array(value, kind).tobytes() for kind in ("<i4", ">i4", "<i8", ">i8") for value in _INTEGERS),
    *(value.to_bytes(8, "little") for value in (2**63 - 1, 2**62, 2**40, 2**32)),
)  # fmt: skip


def mutate(data: bytes, others: Sequence[bytes], rng: Rng) -> bytes:
    """One to four changes of ``data``, mostly one; pieces may come from ``others``."""
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        change = _CHANGES[int(rng.integers(len(_CHANGES)))]
        data = change(data, others[int(rng.integers(len(others)))], rng)
    return data


def mutate_zip(data: bytes, others: Sequence[bytes], rng: Rng) -> bytes:
    """A change within one member of a zip archive, packed again: its checksums are right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = list(members)
    chosen = names[int(rng.integers(len(names)))]
    with zipfile.ZipFile(io.BytesIO(others[int(rng.integers(len(others)))])) as archive:
        pieces = [archive.read(name) for name in archive.namelist()]
    members[chosen] = mutate(members[chosen], pieces, rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


def _place(data: bytes, rng: Rng) -> int:
    """Anywhere, but half of the time in the first bytes: headers are there."""
    limit = len(data) if rng.random() < 0.5 else min(len(data), 200)
    return int(rng.integers(limit + 1))


def _flip(data: bytes, _: bytes, rng: Rng) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if changed else 0):
        changed[min(_place(data, rng), len(data) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(data: bytes, _: bytes, rng: Rng) -> bytes:
    return data[: _place(data, rng)]


def _drop(data: bytes, _: bytes, rng: Rng) -> bytes:
    start = _place(data, rng)
    return data[:start] + data[start + int(rng.integers(1, 65)) :]


def _repeat(data: bytes, _: bytes, rng: Rng) -> bytes:
    start = _place(data, rng)
    stop = start + int(rng.integers(1, 65))
    return data[:stop] + data[start:stop] * int(rng.integers(1, 4)) + data[stop:]


def _splice(data: bytes, other: bytes, rng: Rng) -> bytes:
    start = _place(other, rng)
    piece = other[start : start + int(rng.integers(1, 129))]
    place = _place(data, rng)
    return data[:place] + piece + data[place + len(piece) * int(rng.integers(2)) :]


def _overwrite(data: bytes, _: bytes, rng: Rng) -> bytes:
    place = _place(data, rng)
    place -= place % 4 if rng.random() < 0.7 else 0
    number = _BINARY[int(rng.integers(len(_BINARY)))]
    return data[:place] + number + data[place + len(number) :]


def _renumber(data: bytes, _: bytes, rng: Rng) -> bytes:
    """Another number where text has one."""
    start = _place(data, rng)
    found = _NUMBER.search(data, start) or _NUMBER.search(data)
    if found is None:
        return _overwrite(data, data, rng)
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    return data[: found.start()] + word + data[found.end() :]


def _shuffle_lines(data: bytes, _: bytes, rng: Rng) -> bytes:
    lines = data.split(b"\n", 200)
    one, other = rng.integers(len(lines), size=2)
    if rng.random() < 0.5:
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines[one] = lines[other]
    return b"\n".join(lines)


def _nest(data: bytes, _: bytes, rng: Rng) -> bytes:
    """Brackets within brackets, as readers that recurse dislike."""
    place = _place(data, rng)
    mark = (b"[", b"{", b"(", b"- ", b'{"a":', b"<a>")[int(rng.integers(6))]
    return data[:place] + mark * int(rng.choice([2, 50, 3000])) + data[place:]


_CHANGES: tuple[Callable[[bytes, bytes, Rng], bytes], ...] = (
    _flip, _flip, _cut, _drop, _repeat, _splice, _overwrite, _overwrite, _renumber, _renumber, _renumber,
    _shuffle_lines, _nest,
)  # fmt: skip
