"""Scan files that are truncated at any byte, and headers that declare too much."""

import tracemalloc

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.geometry.clouds import load_cloud
from plumbline.geometry.pcd import read_pcd
from plumbline.geometry.ply import read_ply
from tests.helpers.point_files import ORDERS, Column, pcd_bytes, ply_bytes, ply_camera, ply_points

POINTS = np.random.default_rng(0).uniform(1, 2, (4, 3)).round(3)
SIDES = [[2, 1, 0], [0, 1, 2, 3], [3, 0, 2]]
ELEMENTS = {
    "camera": ply_camera((1, 2, 3)),
    "vertex": [*ply_points(POINTS, "f8"), Column("label", "u1", [1, 2, 3, 4])],
    "face": [Column("vertex_indices", "i4", SIDES, "u1")],
}
FIELDS = [
    ("label", "u1", np.arange(4)),
    *((axis, "f4", column) for axis, column in zip("xyz", POINTS.T, strict=True)),
]
FORMS = sorted(ORDERS)
DATA = ("ascii", "binary", "binary_compressed")


def refuses(read, path):
    """Whether a reader refuses a file, in one sentence that names it; any other exception is an error."""
    said = ""
    try:
        read(path)
    except InputError as error:
        said = str(error)
    assert not said or (said.count(path.name) == 1 and "\n" not in said)
    return bool(said)


def cuts(whole, text):
    """Where to cut a file: everywhere, but in a text not within the last number, nor after it."""
    return range(len(whole.rstrip().rpartition(b" ")[0]) if text else len(whole))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_ply_file_that_ends_at_any_byte(tmp_path, form, end):
    whole, path = ply_bytes(ELEMENTS, form, end=end), tmp_path / "a.ply"
    path.write_bytes(whole)
    assert not refuses(read_ply, path)
    for size in cuts(whole, form == "ascii"):
        path.write_bytes(whole[:size])
        assert refuses(read_ply, path), whole[:size]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("after", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_a_pcd_file_that_ends_at_any_byte(tmp_path, data, after):
    whole, path = pcd_bytes(FIELDS, data, after=after), tmp_path / "a.pcd"
    path.write_bytes(whole)
    assert not refuses(read_pcd, path)
    for size in cuts(whole, data == "ascii"):
        path.write_bytes(whole[:size])
        assert refuses(read_pcd, path), whole[:size]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".las", ".laz"])
def test_other_binary_files_that_end_at_any_byte(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, POINTS)
    elif suffix == ".npz":
        np.savez_compressed(path, points=POINTS, sensor=np.zeros(3))
    else:
        laspy = pytest.importorskip("laspy")
        cloud = laspy.LasData(laspy.LasHeader(point_format=0, version="1.2"))
        cloud.x, cloud.y, cloud.z = POINTS.T
        cloud.write(path)
    whole = path.read_bytes()
    assert not refuses(load_cloud, path)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert refuses(load_cloud, path), size


@pytest.mark.parametrize("suffix", [".xyz", ".csv"])
def test_a_text_that_ends_at_any_byte_is_refused_or_has_its_first_points(tmp_path, suffix):
    head = "x,y,z,name\n"
    whole = head + "".join(",".join(map(str, row)) + ",café\n" for row in POINTS.tolist())
    path, data = tmp_path / f"a{suffix}", whole.encode()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        rows = data[:size].count(b"\n") - 1
        if not refuses(load_cloud, path):
            np.testing.assert_array_equal(load_cloud(path).points[:rows], POINTS[:rows])


HUGE = str(10**12)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("form", FORMS)
def test_counts_of_a_ply_file_reserve_no_memory(tmp_path, form, place):
    counts = ["element camera 1", "element vertex 4", "element face 3"]
    wrong = counts[place].rsplit(" ", 1)[0] + " " + HUGE
    path = tmp_path / "a.ply"
    path.write_bytes(ply_bytes(ELEMENTS, form).replace(counts[place].encode(), wrong.encode()))
    assert holds_little(lambda: refuses(read_ply, path))


@pytest.mark.parametrize("length", ["u4", "i4", "u2"])
@pytest.mark.parametrize("order", ["binary_little_endian", "binary_big_endian"])
def test_lengths_of_lists_reserve_no_memory(tmp_path, order, length):
    """All lengths are the largest of their type, or negative."""
    elements = {"vertex": ply_points(POINTS), "face": [Column("vertex_indices", "f8", [[]] * 3, length)]}
    whole, path = ply_bytes(elements, order), tmp_path / "a.ply"
    for sign in (b"\xff", b"\x7f"):
        bad = sign * 3 * int(length[1])
        path.write_bytes(whole[: -len(bad)] + bad)
        assert holds_little(lambda: refuses(read_ply, path))


@pytest.mark.parametrize("line", ["POINTS 4", "WIDTH 4", "COUNT 1 1 1 1", "HEIGHT 1"])
@pytest.mark.parametrize("data", DATA)
def test_counts_of_a_pcd_file_reserve_no_memory(tmp_path, data, line):
    without = () if line.startswith(("POINTS", "COUNT")) else ("POINTS",)
    path = tmp_path / "a.pcd"
    path.write_bytes(
        pcd_bytes(FIELDS, data, without=without).replace(
            line.encode(), f"{line.rpartition(' ')[0]} {HUGE}".encode()
        )
    )
    assert holds_little(lambda: refuses(read_pcd, path))


def holds_little(action):
    """Whether an action returns true and has never held more than 4 MB."""
    tracemalloc.start()
    try:
        return action() and tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()
