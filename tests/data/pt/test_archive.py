"""The fast reader of samples reads what torch reads, to the bit, and declines everything else."""

import io
import random
import zipfile
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
        return alike and one.numpy(force=True).tobytes() == other.numpy(force=True).tobytes()
    return type(one) is type(other) and repr(one) == repr(other)


NUMBERS = torch.arange(24.0).reshape(4, 6)
USUAL = {
    "sample": {
        "node_features": NUMBERS,
        "edge_index": torch.tensor([[0, 1], [1, 0]]),
        "target": NUMBERS[0, :3],
    },
    "types": {str(t): NUMBERS.to(t) for t in (torch.float16, torch.float64, torch.int16, torch.int32)},
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
