"""The reader of pcd files: every variant that people have, and damage."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline.errors import InputError
from plumbline.geometry.clouds import load_cloud, read_cloud
from plumbline.geometry.pcd import read_pcd, read_pcd_images
from tests.helpers.point_files import lzf, pcd_bytes

POINTS = np.random.default_rng(0).uniform(1, 2, (600, 3)).astype(np.float32).astype(np.float64)
XYZ = [(axis, "f4", column) for axis, column in zip("xyz", POINTS.T, strict=True)]
DATA = ("ascii", "binary", "binary_compressed")


def write(folder, data):
    path = folder / "a.pcd"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("version", [".5", ".6", ".7", "0.7", "0.5"])
def test_every_version(tmp_path, data, version):
    cloud = load_cloud(write(tmp_path, pcd_bytes(XYZ, data, version=version)))
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_array_equal(cloud.sensor, [0.4, -0.6, 0.9])
    assert (cloud.dropped, cloud.notes) == (0, ())


LEFT_OUT = [
    lines
    for size in range(4)
    for lines in itertools.combinations(["VERSION", "COUNT", "VIEWPOINT", "POINTS", "HEIGHT"], size)
] + [("WIDTH", "HEIGHT"), ("WIDTH",), ("SIZE", "TYPE", "COUNT", "VERSION")]


@pytest.mark.parametrize("without", LEFT_OUT, ids=" ".join)
@pytest.mark.parametrize("data", ["ascii", "binary"])
def test_headers_without_optional_lines(tmp_path, data, without):
    cloud = load_cloud(write(tmp_path, pcd_bytes(XYZ, data, without=without)))
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert (cloud.sensor is None) == ("VIEWPOINT" in without)


def test_old_files_name_columns(tmp_path):
    data = pcd_bytes(XYZ, "ascii", without=("VERSION", "COUNT", "VIEWPOINT")).replace(b"FIELDS", b"COLUMNS")
    np.testing.assert_array_equal(read_cloud(write(tmp_path, data)), POINTS)


@pytest.mark.parametrize("between", [" ", "    ", "\t", " \t "])
@pytest.mark.parametrize("after", ["\n", " \n", "\r\n", "\t \r\n", "\r"])
def test_blanks_and_line_ends_of_text(tmp_path, between, after):
    data = pcd_bytes(XYZ, "ascii", between=between, after=after)
    np.testing.assert_array_equal(read_cloud(write(tmp_path, data)), POINTS)


@pytest.mark.parametrize("text", ["Gerät".encode("latin-1"), b"\xff\xfe"])
def test_comments_in_any_encoding(tmp_path, text):
    data = pcd_bytes(XYZ).replace(b"VERSION", b"# " + text + b"\nVERSION")
    np.testing.assert_array_equal(read_cloud(write(tmp_path, data)), POINTS)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, 0.0])
def test_missing_returns_of_organised_clouds_are_left_out_and_counted(tmp_path, data, missing):
    """The kinds of 25_zero_rows and 36_inf_in_organised_pcd: 600 points and 200 rows without one."""
    hit = np.random.default_rng(1).permutation(800) < 600
    rows = np.full((800, 3), missing)
    rows[hit] = POINTS
    fields = [(axis, "f4", column) for axis, column in zip("xyz", rows.T, strict=True)]
    cloud = load_cloud(write(tmp_path, pcd_bytes(fields, data, height=8)))
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.dropped == 200
    written = "0 0 0" if missing == 0 else "NaN or infinite"
    assert cloud.loss == f"200 of 800 rows are missing returns ({written}), left out"
    path = write(tmp_path, pcd_bytes(fields, data))  # the same, not organised
    if missing == 0:
        np.testing.assert_array_equal(read_cloud(path), POINTS)
    else:
        with pytest.raises(InputError, match="200 points are not finite"):
            read_cloud(path)


@pytest.mark.parametrize("data", DATA)
def test_fields_of_organised_clouds_are_read_as_images(tmp_path, data):
    label = np.arange(600).astype("<u4")
    path = write(tmp_path, pcd_bytes([("label", "u4", label), *XYZ], data, height=20))
    depth, labels = read_pcd_images(path, ["z", "label"])
    np.testing.assert_array_equal(depth, POINTS[:, 2].reshape(20, 30))
    np.testing.assert_array_equal(labels, label.reshape(20, 30))
    with pytest.raises(InputError, match="no field curvature"):
        read_pcd_images(path, ["z", "curvature"])


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_fields_of_any_type_in_any_order(tmp_path_factory, data):
    num = data.draw(st.integers(1, 9))
    kinds = st.sampled_from(["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
    rng, fields = np.random.default_rng(data.draw(st.integers(0, 99))), []
    extras = data.draw(st.lists(st.sampled_from(["_", "rgb", "normal_x", "label"]), max_size=3))
    for name in data.draw(st.permutations(["x", "y", "z", *extras])):
        kind = data.draw(kinds)
        count = 1 if name in "xyz" else data.draw(st.integers(1, 3))
        fields.append((name, kind, (rng.integers(1, 99, (num, count)) + 0.5).astype(kind)))
    form, cut = data.draw(st.sampled_from(DATA)), data.draw(st.booleans())
    whole = pcd_bytes(fields, form)
    path = write(tmp_path_factory.mktemp("pcd"), whole)
    wanted = {name: values[:, 0] for name, _, values in fields}
    found = read_pcd(path)
    np.testing.assert_array_equal(found.points, np.stack([wanted[axis] for axis in "xyz"], axis=1))
    assert found.viewpoint.tolist() == [0.4, -0.6, 0.9]
    place = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:place] if cut else whole[:place] + b"\xff" + whole[place + 1 :])
    said = "a.pcd"
    try:
        load_cloud(path)
    except InputError as error:
        said = str(error)
    assert "a.pcd" in said
    assert "\n" not in said


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=400), st.integers(1, 40))
def test_compressed_points_with_repetitions_are_unpacked(tmp_path_factory, words, times):
    values = np.array(words * times, "<f4") + 1
    data = pcd_bytes([(axis, "f4", values * (i + 1)) for i, axis in enumerate("xyz")], "binary_compressed")
    if len(values) > 1000:
        assert len(data) < 6 * len(values), "copies are in it"
    points = read_cloud(write(tmp_path_factory.mktemp("pcd"), data))
    np.testing.assert_array_equal(points, np.outer(values, [1, 2, 3]))


@pytest.mark.parametrize("data", DATA)
def test_other_readers_read_the_same(tmp_path, data):
    fields = [("intensity", "u2", np.arange(600)), *XYZ, ("_", "u1", np.zeros((600, 5)))]
    path = write(tmp_path, pcd_bytes(fields[: 4 if data != "binary" else 5], data))
    open3d = pytest.importorskip("open3d")
    other = open3d.io.read_point_cloud(str(path)).points
    np.testing.assert_array_equal(read_cloud(path), np.asarray(other))


def test_a_compressed_file_of_another_program(tmp_path):
    pypcd4 = pytest.importorskip("pypcd4")
    cloud = pypcd4.PointCloud.from_xyz_points(POINTS.round(2).astype(np.float32))
    for encoding in list(pypcd4.Encoding)[:3]:
        cloud.save(tmp_path / "a.pcd", encoding=encoding)
        np.testing.assert_allclose(read_cloud(tmp_path / "a.pcd"), POINTS.round(2), atol=1e-6)


# ------------------------------------------------------------------------------------------------ damage

TEXT = pcd_bytes([(name, kind, values[:3]) for name, kind, values in XYZ], "ascii")
SOUND = pcd_bytes([(name, kind, values[:3]) for name, kind, values in XYZ])
PACKED = pcd_bytes(XYZ, "binary_compressed")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty; export it again"),
        (b"hello\n" * 99, "no line DATA"),
        (SOUND.replace(b"DATA binary", b"DATA binary_big"), "no line DATA"),
        (SOUND.replace(b"FIELDS x", b"FIELDS u"), "has no field x"),
        (SOUND.replace(b"FIELDS x y z\n", b""), "names 0 FIELDS, but 3 SIZE, 3 TYPE and 3 COUNT"),
        (SOUND.replace(b"COUNT 1 1 1", b"COUNT 2 1 1"), "its header declares"),
        (SOUND.replace(b"COUNT 1 1 1", b"COUNT 0 1 1"), "COUNT 0"),
        (SOUND.replace(b"SIZE 4", b"SIZE 3"), "TYPE F, SIZE 3 and COUNT 1"),
        (SOUND.replace(b"POINTS 3", b"POINTS many"), "POINTS of its header is many"),
        (SOUND.replace(b"POINTS 3\n", b"").replace(b"WIDTH 3\n", b""), "WIDTH of its header is missing"),
        (SOUND.replace(b"POINTS 3", b"POINTS 99999999999"), "it has 3 of the 99,999,999,999 points"),
        (SOUND[:-1], "truncated: it has 2 of the 3 points its header declares"),
        (SOUND.replace(b"POINTS 3", b"POINTS 0"), "has no points"),
        (TEXT.replace(b"POINTS 3", b"POINTS 4"), "truncated: it has 3 of the 4 points its header declares"),
        (TEXT.replace(b"POINTS 3", b"POINTS 2"), "declares 2 points of 3 numbers each, but it has 9"),
        (TEXT + b"1 2 3x\n", "'3x' where a number is needed"),
        (PACKED[:-1], "is truncated or damaged: its header declares 600 points of 12 bytes"),
        (PACKED.replace(b"POINTS 600", b"POINTS 900"), "its header declares 900 points of 12 bytes"),
        (PACKED[:-7200] + b"\xff" * 7200, "its compressed points cannot be unpacked"),
    ],
)
def test_damage_is_refused_in_one_sentence(tmp_path, data, said):
    with pytest.raises(InputError) as caught:
        read_cloud(write(tmp_path, data))
    assert said in str(caught.value)
    assert str(caught.value).count("a.pcd") == 1
    assert "\n" not in str(caught.value)


def test_a_copy_from_before_the_first_point(tmp_path):
    begin = PACKED.index(b"compressed\n") + len(b"compressed\n") + 8
    with pytest.raises(InputError, match="its compressed points cannot be unpacked"):
        read_cloud(write(tmp_path, PACKED[:begin] + b"\x3f" + PACKED[begin + 1 :]))


def test_the_compression_of_these_tests_makes_copies_of_every_kind():
    packed = lzf(b"abc" * 200 + bytes(range(256)) + b"abcd")
    assert len(packed) < 300
