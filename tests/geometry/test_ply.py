"""The reader of ply files: every variant that people have, and damage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline.errors import InputError
from plumbline.geometry.clouds import load_cloud, read_cloud
from plumbline.geometry.headers import is_ply_of_points
from plumbline.geometry.ply import Lists, read_ply
from tests.helpers.point_files import ORDERS, Column, ply_bytes, ply_camera, ply_points

POINTS = np.random.default_rng(0).uniform(1, 2, (600, 3)).astype(np.float32).astype(np.float64)
FORMS = sorted(ORDERS)
PYRAMID = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]])
SIDES = [[3, 2, 1, 0], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]


def write(folder, data):
    path = folder / "a.ply"
    path.write_bytes(data)
    return path


# --------------------------------------------------------------------------------------------- variants


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_every_form_and_line_end(tmp_path, form, end):
    data = ply_bytes({"vertex": ply_points(POINTS)}, form, end=end)
    np.testing.assert_array_equal(read_cloud(write(tmp_path, data)), POINTS)


def test_after_a_header_of_carriage_returns_a_line_feed_is_content(tmp_path):
    first = np.frombuffer(b"\n\n\n?" * 3, "<f4").astype(np.float64)
    points = np.stack([first, first + 1, first * 2])
    for end in (b"\r", b"\n"):
        data = ply_bytes({"vertex": ply_points(points)}, end=end)
        np.testing.assert_array_equal(read_cloud(write(tmp_path, data)), points.astype(np.float32))


@pytest.mark.parametrize("form", FORMS)
def test_a_byte_order_mark_is_skipped(tmp_path, form):
    """Editors and .NET write it before text."""
    path = write(tmp_path, b"\xef\xbb\xbf" + ply_bytes({"vertex": ply_points(POINTS)}, form))
    np.testing.assert_array_equal(read_cloud(path), POINTS)
    assert is_ply_of_points(path)


def test_types_of_numpy_that_the_format_lacks(tmp_path):
    """As pyntcloud writes a table with a mask."""
    rows = np.zeros(600, [("seen", "?"), ("weight", "<f2"), ("xyz", "<f4", 3)])
    rows["xyz"] = POINTS
    head = (
        "ply\nformat binary_little_endian 1.0\nelement vertex 600\nproperty bool seen\n"
        "property float16 weight\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    np.testing.assert_array_equal(read_cloud(write(tmp_path, head.encode() + rows.tobytes())), POINTS)


@pytest.mark.parametrize("name", ["vertices", "point", "Points"])
def test_other_names_of_the_element_of_positions(tmp_path, name):
    elements = {"camera_path": ply_points(POINTS[:5] + 9), name: ply_points(POINTS)}
    np.testing.assert_array_equal(read_cloud(write(tmp_path, ply_bytes(elements))), POINTS)


@pytest.mark.parametrize("form", FORMS)
def test_files_of_pcl(tmp_path, form):
    """An element face without a property, then the camera."""
    elements = {"vertex": ply_points(POINTS), "face": [], "camera": ply_camera((0.4, -0.6, 0.9))}
    cloud = load_cloud(write(tmp_path, ply_bytes(elements, form, comments=[b"comment PCL generated"])))
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_allclose(cloud.sensor, [0.4, -0.6, 0.9], atol=1e-7)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", ["u1", "i4", "u2"])
def test_range_grids_have_lists_of_no_or_one_point(tmp_path, form, length):
    holes = np.random.default_rng(1).permutation(1000) < 600
    grid = [[int(i)] if hit else [] for i, hit in zip(np.cumsum(holes) - 1, holes, strict=True)]
    elements = {
        "vertex": ply_points(POINTS),
        "range_grid": [Column("vertex_indices", "i4", grid, length)],
        "camera": ply_camera((1, 2, 3)),
    }
    ply = read_ply(write(tmp_path, ply_bytes(elements, form, comments=[b"obj_info num_cols 50"])))
    np.testing.assert_array_equal(ply.vertices(), POINTS)
    np.testing.assert_array_equal(ply.elements["range_grid"]["vertex_indices"].values, np.arange(600))
    np.testing.assert_array_equal(ply.positions("camera", ("view_px", "view_py", "view_pz")), [[1, 2, 3]])


@pytest.mark.parametrize("form", FORMS)
def test_texture_coordinates_of_face_corners(tmp_path, form):
    """MeshLab's: a second list in each face. No vertex is split, none is looked for in an image."""
    faces = [
        Column("vertex_indices", "i4", SIDES, "u1"),
        Column("texcoord", "f4", [np.arange(2 * len(side)) / 8 for side in SIDES], "u1"),
        Column("texnumber", "i4", range(5)),
    ]
    elements = {"vertex": ply_points(PYRAMID + 1), "face": faces}
    data = ply_bytes(elements, form, comments=[b"comment TextureFile lost.png"])
    ply = read_ply(write(tmp_path, data))
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.ply"), PYRAMID + 1)
    face = ply.elements["face"]
    np.testing.assert_array_equal(face["vertex_indices"].values, np.concatenate(SIDES))
    np.testing.assert_array_equal(face["texcoord"].lengths, [8, 6, 6, 6, 6])
    np.testing.assert_array_equal(face["texnumber"], range(5))


def test_nothing_is_printed_for_a_lost_texture(tmp_path, capfd):
    vertices = [*ply_points(PYRAMID + 1), Column("s", "f4", [0.5] * 5), Column("t", "f4", [0.5] * 5)]
    faces = [Column("vertex_indices", "i4", SIDES, "u1")]
    data = ply_bytes({"vertex": vertices, "face": faces}, "ascii", comments=[b"comment TextureFile no.png"])
    np.testing.assert_array_equal(read_cloud(write(tmp_path, data)), PYRAMID + 1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "text", ["Gerät".encode("latin-1"), "テクスチャ.png".encode("shift-jis"), b"\xff\x00"]
)
@pytest.mark.parametrize("form", FORMS)
def test_comments_in_any_encoding(tmp_path, form, text):
    comments = [b"comment " + text, b"obj_info " + text, b"comment"]
    data = ply_bytes({"vertex": ply_points(POINTS)}, form, comments=comments)
    np.testing.assert_array_equal(read_cloud(write(tmp_path, data)), POINTS)


def test_missing_values_as_c_libraries_write_them(tmp_path):
    head = ply_bytes({"vertex": ply_points(np.zeros((0, 3)))}, "ascii").replace(b"vertex 0", b"vertex 2")
    path = write(tmp_path, head + b"1 2 3\n-nan(ind) 1.#QNAN -1.#INF\n")
    np.testing.assert_array_equal(read_ply(path).vertices(), [[1, 2, 3], [np.nan, np.nan, -np.inf]])


# ------------------------------------------------------------------------------------------ round trips

KINDS = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
NUMBERS = {kind: st.integers(np.iinfo(kind).min, np.iinfo(kind).max) for kind in KINDS[:6]} | {
    "f4": st.floats(width=32, allow_nan=False), "f8": st.floats(allow_nan=False),
}  # fmt: skip


@st.composite
def elements(draw):
    """Elements in any order, each with properties of any type, and lists of any lengths."""
    found = {}
    for name in draw(st.permutations(["vertex", "edge", "material", "tristrips"]))[: draw(st.integers(1, 4))]:
        num, columns = draw(st.integers(0, 6)), []
        for number in range(draw(st.integers(1, 4))):
            kind, length = draw(st.sampled_from(KINDS)), draw(st.sampled_from(["", "", "u1", "i2", "u4"]))
            one = st.lists(NUMBERS[kind], max_size=4) if length else NUMBERS[kind]
            alike = draw(st.booleans()) and length
            values = [draw(one)] * num if alike else draw(st.lists(one, min_size=num, max_size=num))
            columns.append(Column(f"p{number}", kind, values, length))
        found[name] = columns
    return found


@settings(deadline=None, max_examples=150)
@given(elements(), st.sampled_from(FORMS), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.integers(0, 1))
def test_what_is_written_is_read(tmp_path_factory, content, form, end, spelling):
    path = write(tmp_path_factory.mktemp("ply"), ply_bytes(content, form, end=end, spelling=spelling))
    ply = read_ply(path)
    assert list(ply.elements) == list(content)
    for name, columns in content.items():
        for column in columns:
            read = ply.elements[name][column.name]
            assert isinstance(read, Lists) == bool(column.length)
            if isinstance(read, Lists):
                assert read.lengths.tolist() == [len(one) for one in column.values]
                read, wanted = read.values, [item for one in column.values for item in one]
            else:
                wanted = column.values
            np.testing.assert_array_equal(read, np.array(wanted, column.kind))


@settings(deadline=None, max_examples=100)
@given(elements(), st.sampled_from(FORMS), st.data())
def test_what_is_cut_or_overwritten_is_refused_or_read(tmp_path_factory, content, form, data):
    whole = ply_bytes(content, form)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = data.draw(st.sampled_from([whole[:place], whole[:place] + b"\xff" + whole[place + 1 :]]))
    said = "a.ply"
    try:
        read_ply(write(tmp_path_factory.mktemp("ply"), changed))
    except InputError as error:
        said = str(error)
    assert "a.ply" in said
    assert "\n" not in said


@pytest.mark.parametrize("form", ["binary_little_endian", "binary_big_endian", "ascii"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_other_readers_read_the_same(tmp_path, form, kind):
    faces = [Column("vertex_indices", "i4", SIDES * 100, "u1")]
    extra = [
        Column("intensity", "u2", range(600)),
        *ply_points(POINTS, kind),
        Column("label", "i1", [3] * 600),
    ]
    path = write(tmp_path, ply_bytes({"vertex": extra, "face": faces}, form))
    plyfile = pytest.importorskip("plyfile")
    other = plyfile.PlyData.read(path)
    np.testing.assert_array_equal(
        read_cloud(path), np.stack([other["vertex"][axis] for axis in "xyz"], axis=1)
    )
    lists = read_ply(path).elements["face"]["vertex_indices"].values
    np.testing.assert_array_equal(lists, np.concatenate(list(other["face"]["vertex_indices"])))


def test_open3d_reads_the_same(tmp_path):
    open3d = pytest.importorskip("open3d")
    for form in FORMS:
        path = write(
            tmp_path, ply_bytes({"vertex": ply_points(POINTS), "camera": ply_camera((1, 2, 3))}, form)
        )
        np.testing.assert_array_equal(
            read_cloud(path), np.asarray(open3d.io.read_point_cloud(str(path)).points)
        )


# ------------------------------------------------------------------------------------------------ damage

SOUND = ply_bytes({"vertex": ply_points(POINTS[:3])}, "ascii")
HUGE = str(10**15).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty; export it again"),
        (b"plywood\n", "does not start like a ply file"),
        (b"ply\nformat ascii 1.0\n", "no line end_header"),
        (b"ply\n" + b"comment\n" * 200_000, "no line end_header"),
        (SOUND.replace(b"format ascii 1.0\n", b""), "no line format"),
        (SOUND.replace(b"ascii", b"binary"), "line 2 of its header is 'format binary 1.0'"),
        (SOUND.replace(b"vertex 3", b"vertex three"), "line 3 of its header is 'element vertex three'"),
        (SOUND.replace(b"float x", b"quad x"), "has type 'quad'"),
        (SOUND.replace(b"float x", b"float y"), "two properties of vertex have the same name"),
        (SOUND.replace(b"float x", b"float u"), "element vertex has no x"),
        (SOUND.replace(b"element vertex", b"element thing"), "has no element vertex"),
        (SOUND.replace(b"vertex 3", b"vertex 4"), "truncated: it has 3 of the 4 points its header declares"),
        (SOUND.replace(b"vertex 3", b"vertex 2"), "has 9 numbers, but its header declares 6"),
        (SOUND.replace(b"vertex 3", b"vertex " + HUGE), "truncated: it has 3 of the 1,000,000,000,000,000"),
        (SOUND + b"four", "'four' where a number is needed"),
        (ply_bytes({"vertex": ply_points(POINTS[:3])})[:-1], "it has 2 of the 3 points its header declares"),
        (ply_bytes({"vertex": []}, counts={"vertex": 5}), "element vertex has no x, y, z"),
        (ply_bytes({"vertex": ply_points(np.zeros((0, 3)))}, "ascii"), "has no points"),
        (ply_bytes({"vertex": ply_points(POINTS[:3]), "face": [Column("v", "i4", SIDES, "u1")]})[:-9],
         "it has 4 of the 5 faces its header declares"),
        (ply_bytes({"vertex": ply_points(POINTS[:1]), "a": [Column("b", "i4", [[1], [1, 2]], "i4")]})[:-12]
         + b"\xff\xff\xff\xff" + bytes(8), "row 2 of a has a list of length -1"),
    ],
)  # fmt: skip
def test_damage_is_refused_in_one_sentence(tmp_path, data, said):
    with pytest.raises(InputError) as caught:
        read_cloud(write(tmp_path, data))
    assert said in str(caught.value)
    assert str(caught.value).count("a.ply") == 1
    assert "\n" not in str(caught.value)
