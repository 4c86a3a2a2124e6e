"""Damaged files: a campaign for every reader, and one test for each finding of earlier campaigns."""

import io
import re
import struct
import zipfile

import numpy as np
import pytest
import torch

from plumbline.cli import main, parse
from plumbline.data.pt.samples import list_pt, read_pt, write_pt
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.tensors import map_tensors
from plumbline.errors import InputError
from plumbline.geometry.clouds import read_cloud
from plumbline.geometry.mesh_files import companion_files
from plumbline.geometry.meshes import load_mesh
from tests.helpers.random_samples import random_sample
from tests.reliability.campaign import campaign
from tests.reliability.readers import READERS

POINTS = np.random.default_rng(0).normal(size=(40, 3))
COUNT = 100


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Tallies and findings of every reader, from one child process (unless a file ends it)."""
    tallies, findings = campaign(list(READERS), COUNT, tmp_path_factory.mktemp("damaged"))
    return {tally["reader"]: tally for tally in tallies}, findings


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_refused_or_read_soundly(damaged, name):
    tallies, findings = damaged
    assert [line for line in findings if line["reader"] == name] == []
    tally = tallies[name]
    assert tally["read"] + tally["refused"] == COUNT
    assert tally["refused"] > COUNT / 10


# ------------------------------------------------------------------- what damaged files asked for, or gave


def patch(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


@pytest.fixture(scope="module")
def las(tmp_path_factory):
    """A las and a laz file of the same points, as bytes."""
    laspy = pytest.importorskip("laspy")
    cloud = laspy.LasData(laspy.LasHeader(point_format=0, version="1.2"))
    cloud.x, cloud.y, cloud.z = POINTS.T
    folder = tmp_path_factory.mktemp("las")
    for suffix in ("las", "laz"):
        cloud.write(folder / f"a.{suffix}")
    return {suffix: (folder / f"a.{suffix}").read_bytes() for suffix in ("las", "laz")}


HUGE = struct.pack("<I", 2**32 - 1)


@pytest.mark.parametrize(
    ("suffix", "place"),
    [("las", 96), ("las", 100), ("las", 107), ("laz", 96), ("laz", 100)],
    ids=lambda value: {96: "where points begin", 100: "records", 107: "points"}.get(value, value),
)
def test_a_las_header_that_promises_too_much(tmp_path, las, suffix, place):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(patch(las[suffix], place, HUGE))
    with pytest.raises(InputError, match="its header declares"):
        read_cloud(path)


def test_a_laz_file_with_pieces_without_number_does_not_end_the_process(tmp_path, las):
    data = las["laz"]
    (begin,) = struct.unpack_from("<I", data, 96)
    (table,) = struct.unpack_from("<q", data, begin)
    path = tmp_path / "a.laz"
    for changed in (patch(data, table + 4, HUGE), patch(data, begin, struct.pack("<q", len(data) + 1))):
        path.write_bytes(changed)
        with pytest.raises(InputError, match="its header declares"):
            read_cloud(path)


def test_a_laz_file_that_makes_its_reader_panic(tmp_path, las, monkeypatch):
    """What a reader written in Rust raises is no Exception. No file is known any more that does it."""
    path = tmp_path / "a.laz"
    path.write_bytes(las["laz"])
    assert len(read_cloud(path)) == len(POINTS)

    def panic(*_, **__):
        raise type("PanicException", (BaseException,), {})("index out of range")

    monkeypatch.setattr("laspy.open", panic)
    with pytest.raises(InputError, match="cannot be read as laz: it is damaged"):
        read_cloud(path)


@pytest.mark.parametrize(("place", "value", "parts"), [(32, 0, 0), (36, 65535, 65535)])
def test_a_laz_file_whose_points_are_not_the_sum_of_their_parts(tmp_path, las, place, value, parts):
    """Its reader would make room for the parts: gigabytes for a file of 423 bytes, found by fuzzing."""
    (header,) = struct.unpack_from("<H", las["laz"], 94)
    path = tmp_path / "a.laz"
    path.write_bytes(patch(las["laz"], header + 54 + place, struct.pack("<H", value)))
    with pytest.raises(InputError, match=f"points have 20 bytes, but their compressed parts have {parts};"):
        read_cloud(path)


def test_which_record_of_a_laz_file_counts_is_what_its_reader_thinks(tmp_path, las):
    """The first whose author is the name up to the first zero byte, whatever follows."""
    data = las["laz"]
    (header,) = struct.unpack_from("<H", data, 94)
    name = header + 2
    path = tmp_path / "a.laz"
    path.write_bytes(patch(data, name + 15, b"x"))
    assert len(read_cloud(path)) == len(POINTS)
    path.write_bytes(patch(patch(data, name + 15, b"x"), header + 54 + 36, b"\xff\xff"))
    with pytest.raises(InputError, match=r"compressed parts have 65535;"):
        read_cloud(path)
    path.write_bytes(patch(data, name, b"L"))
    with pytest.raises(InputError, match="does not say how its points are compressed"):
        read_cloud(path)


@pytest.mark.parametrize("data", [b"", b"DATA !scii\n"])
def test_a_pcd_header_without_a_line_that_says_how_its_numbers_are_written(tmp_path, data):
    """It would be taken for compressed numbers, of which the next bytes say how many gigabytes."""
    path = tmp_path / "a.pcd"
    start = b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 12\nHEIGHT 1\nPOINTS 12\n"
    path.write_bytes(start + data + b"1.25 2.25 3.25\n" * 12)
    with pytest.raises(InputError, match="no line DATA"):
        read_cloud(path)


def test_a_truncated_las_file_is_not_read_as_what_is_left(tmp_path, las):
    path = tmp_path / "a.las"
    path.write_bytes(las["las"][:-200])
    with pytest.raises(InputError, match="truncated"):
        read_cloud(path)


def test_a_whole_las_file_is_read_in_pieces(tmp_path, las, monkeypatch):
    monkeypatch.setattr("plumbline.geometry.clouds._PIECE", 200)
    for suffix, data in las.items():
        (tmp_path / f"a.{suffix}").write_bytes(data)
        np.testing.assert_allclose(read_cloud(tmp_path / f"a.{suffix}"), POINTS, atol=0.006)


def npy(shape: tuple[int, ...], array: np.ndarray = POINTS) -> bytes:
    """An array whose header says another shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue() + array.tobytes()


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_an_array_of_more_numbers_than_its_file(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    data = npy((10**13, 3))
    if suffix == "npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("points.npy", data)
    else:
        path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_cloud(path)
    assert not isinstance(caught.value.__cause__, MemoryError)


def test_names_of_arrays_stay_on_one_line(tmp_path):
    np.savez(tmp_path / "a.npz", **{"a\nb": POINTS, "c": POINTS})
    with pytest.raises(InputError) as caught:
        read_cloud(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "rest"),
    [
        ("COUNT 1 2147483648 1\nPOINTS 12\nDATA binary\n", bytes(144)),
        ("COUNT 1 1 1\nPOINTS 99999999999\nDATA ascii\n", b"1 2 3\n" * 12),
        ("COUNT 1 1 1\nPOINTS 12\nDATA binary_compressed\n", HUGE + HUGE + bytes(99)),
    ],
    ids=["numbers of a point", "points", "compressed bytes"],
)
def test_a_pcd_header_that_promises_too_much(tmp_path, header, rest):
    path = tmp_path / "a.pcd"
    start = "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 12\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
    path.write_bytes((start + header).encode() + rest)
    with pytest.raises(InputError, match="its header declares"):
        read_cloud(path)


def test_a_glb_part_that_is_longer_than_the_file(tmp_path):
    path = tmp_path / "a.glb"
    path.write_bytes(b"glTF" + struct.pack("<II", 2, 100) + HUGE + b"JSON" + b"{}")
    with pytest.raises(InputError, match="a chunk of 4294967295 bytes is declared"):
        load_mesh(path, name="a")


@pytest.mark.parametrize("suffix", ["3mf", "zae", "npz"])
def test_an_archive_that_is_said_to_hold_more_than_it_can(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("points", bytes(99))
    data = path.read_bytes()
    path.write_bytes(patch(data, data.rindex(b"PK\x01\x02") + 20, struct.pack("<I", 2**31)))
    with pytest.raises(InputError, match="declared larger than the file"):
        read_cloud(path) if suffix == "npz" else load_mesh(path, name="a")


def test_a_flipped_bit_of_a_sample_is_not_read_as_another_number(tmp_path):
    """torch does not look at the checksums of the archives that it writes."""
    path = tmp_path / "a.pt"
    write_pt(path, random_sample(np.random.default_rng(0), target=np.array([1.5, 2.5, 3.5])))
    data = path.read_bytes()
    place = data.index(struct.pack("<ddd", 1.5, 2.5, 3.5))
    path.write_bytes(patch(data, place + 6, bytes([data[place + 6] ^ 1])))
    assert not torch.equal(torch.load(path)["target"], torch.tensor([1.5, 2.5, 3.5], dtype=torch.float64))
    with pytest.raises(InputError, match=r"the checksum of .* in it is wrong"):
        read_pt(path)


DEEP = "[" * 100_000


def test_a_number_that_is_larger_than_any_float(tmp_path):
    """It is a whole number like any other; to ask whether it is finite must not convert it."""
    (tmp_path / "config.yaml").write_text("batch_size: " + "1" * 2000)
    config = parse("train", ["--config", str(tmp_path / "config.yaml")])
    assert config.batch_size == int("1" * 2000)


def test_json_nested_too_deep(tmp_path):
    (tmp_path / "dataset_metadata.json").write_text(DEEP)
    with pytest.raises(InputError, match="is not JSON"):
        list_pt(tmp_path)
    (tmp_path / "manifest.json").write_text(DEEP)
    with pytest.raises(InputError, match="it is not JSON"):
        PackedStore.open(tmp_path)
    header = DEEP.encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match="its header is not JSON"):
        map_tensors(tmp_path / "a.safetensors")
    (tmp_path / "a.gltf").write_text(DEEP)
    assert companion_files(tmp_path / "a.gltf") == []
    with pytest.raises(InputError, match="its JSON cannot be read"):
        load_mesh(tmp_path / "a.gltf", name="a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr: " + DEEP[:3000], "line 1: write 'flag: value'"),
        ("max_epochs: " + "1" * 5000, "max_epochs|Exceeds the limit"),
        ("max_epochs: 2024-99-99", "must be a whole number"),
    ],
    ids=["lists within lists", "a very long number", "an impossible date"],
)
def test_yaml_that_its_reader_stumbles_over(tmp_path, capsys, text, said):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert main(["train", "--config", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --config")
    assert re.search(said, line)
