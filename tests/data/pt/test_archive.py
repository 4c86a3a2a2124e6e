"""The fast reader of samples reads what torch reads, to the bit, and declines everything else."""

import io
import random
import struct
import sys
import zipfile
import zlib
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from plumbline.data.pt.archive import UnusualArchiveError, read_archive
from plumbline.data.pt.samples import write_pt
from tests.helpers.random_samples import random_samples


def saved(value: Any, **how: Any) -> bytearray:
    file = io.BytesIO()
    torch.save(value, file, **how)
    return bytearray(file.getvalue())


def read(data: bytes) -> Any:
    """What the reader says; None if it declines."""
    try:
        return read_archive(bytearray(data))
    except UnusualArchiveError:
        return None


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        alike = (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        return alike and torch.equal(one.flatten().view(torch.uint8), other.flatten().view(torch.uint8))
    return type(one) is type(other) and repr(one) == repr(other)


NUMBERS = torch.arange(24.0).reshape(4, 6)
TYPES = (torch.float16, torch.bfloat16, torch.float64, torch.int16, torch.int32)
USUAL = {
    "sample": {
        "node_features": NUMBERS,
        "edge_index": torch.tensor([[0, 1], [1, 0]]),
        "target": NUMBERS[0, :3],
    },
    "types": {str(t): NUMBERS.to(t) for t in TYPES},
    "shared storage": {"a": NUMBERS, "b": NUMBERS[2], "c": NUMBERS[1:3]},
    "plain": {"a": [1, -7, 70_000, 2.5, True, None, "ä", {"x": (1, ("y",))}], "b": {}, "c": [], "d": ()},
    "many": {f"key {i}": [f"text {i}", i] for i in range(300)},
    "a number": 7,
}
UNUSUAL = {
    "trained": {"a": NUMBERS.clone().requires_grad_()},
    "transposed": {"a": NUMBERS.T},
    "every other column": {"a": NUMBERS[:, ::2]},
    "empty": {"a": torch.zeros(0, 3)},
    "booleans": {"a": torch.tensor([True])},
    "ordered": OrderedDict(a=1),
    "a type": {"a": torch.float32},
    "a type in a tuple": {"a": (1, torch.float32)},
    "numbered": {1: 2},
    "large": {"a": 2**40},
}


@pytest.mark.parametrize("name", USUAL)
def test_reads_what_torch_reads(name):
    data = saved(USUAL[name])
    assert same(read_archive(data), torch.load(io.BytesIO(data), weights_only=True))


@pytest.mark.parametrize("name", UNUSUAL)
def test_leaves_the_rest_to_torch(name):
    assert read(saved(UNUSUAL[name])) is None


def test_reads_what_we_write(tmp_path):
    for number, sample in enumerate(random_samples(0, 10, edge_dim=9)):
        write_pt(tmp_path / f"{number}.pt", sample)
        data = (tmp_path / f"{number}.pt").read_bytes()
        usual = len(sample.edge_source) > 0 and len(sample.in_degree) > 1  # else strides may be odd
        assert usual == (read(data) is not None)
        assert not usual or same(read(data), torch.load(io.BytesIO(data), weights_only=True))


@pytest.mark.parametrize("how", [{"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}])
def test_other_formats_are_left_to_torch(how):
    assert read(saved(USUAL["sample"], **how)) is None


def test_compressed_doubled_and_trailing_bytes_are_left_to_torch():
    data = bytes(saved(USUAL["sample"]))
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert [read(some) for some in (packed.getvalue(), data + b"x", data[:-1], b"", b"PK")] == [None] * 5


NO_HOOKS = b"ccollections\nOrderedDict\nq\n)R"
CODE = zipfile.ZipFile(io.BytesIO(saved({"a": torch.arange(4.0)}))).read("archive/data.pkl")
PICKLES = {
    "another protocol": CODE.replace(b"\x80\2", b"\x80\3"),
    "no protocol": b"}}" + CODE[2:],
    "bytes after the end": CODE + b"N",
    "two values at the end": b"\x80\2K\1K\2.",
    "an open mark": b"\x80\2(K\1.",
    "a tuple of more than there is": b"\x80\2K\1\x86.",
    "no hooks": CODE.replace(NO_HOOKS, b"N"),
    "hooks": CODE.replace(NO_HOOKS, b"ccollections\nOrderedDict\n(]tR"),
    "a type in a list": b"\x80\2](ccollections\nOrderedDict\ne.",
    "elements before the storage": CODE.replace(b"QK\0", b"QJ\xff\xff\xff\xff"),
    "a decimal number of elements": CODE.replace(b"K\4t", b"G" + struct.pack(">d", 4) + b"t"),
    "a length below zero": CODE.replace(b"K\4\x85", b"J\xff\xff\xff\xff\x85"),
    "a truth as length": CODE.replace(b"K\4\x85", b"\x88\x85"),
    "items for a dictionary": CODE.replace(b"s.", b"e.").replace(b"}q\0", b"}q\0("),
    "a value for a list": CODE.replace(b"}", b"]"),
}


def archive(
    *,
    code: bytes = CODE,
    order: str = sys.byteorder,
    version: str = "3",
    shift: int = 0,
    more: str = "x",
    filling: int | None = None,
) -> bytearray:
    """Members as torch writes them, the tensor at a multiple of 8 plus ``shift``, filled up to one of 8."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        storage = zipfile.ZipInfo("archive/data/0")
        gap = (shift - 30 - len(storage.filename) - 4) % 8
        storage.extra = b"FB" + struct.pack("<H", gap) + bytes(gap)
        made.writestr(storage, np.arange(4, dtype=np.float32).tobytes())
        made.writestr("archive/data.pkl", code)
        made.writestr("archive/byteorder", order)
        made.writestr("archive/version", f"{version}\n")
        made.writestr("archive/filling", bytes(filling or 0))
        made.writestr(f"archive/{more}", f"{version}\n")
    if filling is None:
        filling = -len(file.getvalue()) % 8
        return archive(code=code, order=order, version=version, shift=shift, more=more, filling=filling)
    return bytearray(file.getvalue())


def test_the_archives_of_this_test_are_read() -> None:
    """So that each of the following is declined for its one difference."""
    assert same(read(archive()), {"a": torch.arange(4.0)})
    assert same(read(archive(code=b"\x80\2K\1\x85.")), (1,))


@pytest.mark.parametrize("name", PICKLES)
def test_steps_that_torch_does_not_write_are_declined(name: str) -> None:
    assert PICKLES[name] != CODE
    assert read(archive(code=PICKLES[name])) is None


@pytest.mark.parametrize(
    "how",
    [{"order": "middle"}, {"version": "4"}, {"shift": 2}, {"more": "version"}, {"more": "../version"}],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_torch_does_not_write_are_declined(how: dict[str, Any]) -> None:
    data = archive(**how)
    if how == {"more": "../version"}:  # next to the folder of the others
        data = data.replace(b"archive/../version", b"another/../version")
    assert read(data) is None


DIRECTORY, END = archive().index(b"PK\1\2"), len(archive()) - 22
PATCHES = {
    "encrypted": (DIRECTORY + 8, "<H", 1),
    "compressed": (DIRECTORY + 10, "<H", 8),
    "another packed size": (DIRECTORY + 20, "<L", 15),
    "no entry": (DIRECTORY, "<L", 0),
    "no header": (0, "<L", 0),
    "another disk": (END + 4, "<H", 1),
    "a directory beyond the end": (END + 12, "<L", 1 << 20),
    "a comment": (END + 20, "<H", 1),
    "no end": (END, "<L", 0),
}


@pytest.mark.parametrize("name", PATCHES)
def test_fields_that_torch_does_not_write_are_declined(name: str) -> None:
    place, form, value = PATCHES[name]
    data = archive()
    assert struct.unpack_from(form, data, place) != (value,)
    struct.pack_into(form, data, place, value)
    assert read(data) is None


def test_a_member_that_reaches_into_the_directory_is_declined() -> None:
    """Its checksum is right."""
    data = archive()
    last, begin = data.rindex(b"PK\1\2"), data.index(b"PK\1\2") - 2
    struct.pack_into("<3L", data, last + 16, zlib.crc32(data[begin : begin + 6]), 6, 6)
    assert read(data) is None


@pytest.mark.parametrize("forged", [False, True])
def test_no_changed_byte_is_read_differently(forged):
    """2,000 files with 1 to 3 bytes changed; forged: in the pickle, whose checksum is then set right."""
    rng, accepted = random.Random(0), 0
    sound = bytes(saved({**USUAL["sample"], "metadata": {"k": 3, "name": "a"}}))
    begin = sound.index(b"\x80\2")
    pickled = range(begin, sound.index(b".", begin + 300))
    for _ in range(2_000):
        data = bytearray(sound)
        for _ in range(rng.randint(1, 3)):
            data[rng.choice(pickled if forged else range(len(sound)))] = rng.randrange(256)
        if forged:
            data = with_right_checksums(data)
        found = read(bytes(data))
        if found is not None:
            accepted += 1
            expected = torch.load(io.BytesIO(data), weights_only=True) if forged else read(sound)
            assert same(found, expected), bytes(data)
    assert accepted > 100


def with_right_checksums(data: bytearray) -> bytearray:
    """As an attacker would: the checksum of the changed pickle is right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = next(item for item in archive.infolist() if item.filename.endswith("data.pkl"))
    except (zipfile.BadZipFile, StopIteration, NotImplementedError, UnicodeDecodeError):
        return data
    begin = entry.header_offset + 30 + sum(np.frombuffer(data, "<u2", 2, entry.header_offset + 26).tolist())
    crc = zipfile.crc32(data[begin : begin + entry.file_size]).to_bytes(4, "little")
    return data.replace(entry.CRC.to_bytes(4, "little"), crc)
