"""Scans from text files: which columns are x, y and z, separators, encodings, and refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plumbline.errors import InputError
from plumbline.geometry.clouds import load_cloud, read_cloud
from plumbline.geometry.column_names import find_axes

POINTS = np.random.default_rng(0).uniform(1, 2, (60, 3)).round(4)
TIME, COLOURS = np.arange(60.0)[:, None] / 10, np.random.default_rng(1).integers(0, 256, (60, 3))

RNG = np.random.default_rng(3)
COUNT = np.arange(60.0)[:, None]
NORMALS = np.random.default_rng(2).normal(size=(60, 3))
NORMALS /= np.linalg.norm(NORMALS, axis=1, keepdims=True)


def table(rows, separator=" ", end="\n"):
    return "".join(separator.join(map(repr, row)) + end for row in np.asarray(rows, float).tolist())


def write(folder, text, suffix=".xyz"):
    path = folder / f"a{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        ("# t x y z\n", np.c_[TIME, POINTS]),
        ("# t x y z intensity\n", np.c_[TIME, POINTS, TIME]),
        ("//R G B X Y Z\n", np.c_[COLOURS, POINTS]),
        ("//R G B X Y Z\n60\n", np.c_[COLOURS, POINTS]),  # CloudCompare
        ("# a scan\n# t, x, y, z\n# of a box\n\n", np.c_[TIME, POINTS]),
        ("# columns: t x y z\n", np.c_[TIME, POINTS]),
        ("% t [s] z [m] y [m] x [m]\n", np.c_[TIME, POINTS[:, ::-1]]),
        ("# x y z\n", np.c_[POINTS, COLOURS]),
        ("# x y z in metres\n", POINTS),
        ("# made on 2024-05-01 by a scanner\n", np.c_[POINTS, TIME]),
        ("t x y z\n", np.c_[TIME, POINTS]),
        ("60\n", POINTS),
        ("60\nt x y z\n", np.c_[TIME, POINTS]),
        ("t x y z\n60\n", np.c_[TIME, POINTS]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_columns_are_those_that_the_lines_above_name(tmp_path, head, rows, end):
    path = write(tmp_path, (head + table(rows)).replace("\n", end))
    np.testing.assert_array_equal(read_cloud(path), POINTS)


@pytest.mark.parametrize("mark", ["# ", "%", "//", ""])
@pytest.mark.parametrize("separator", [" ", ",", ";", "\t"])
@pytest.mark.parametrize(
    "names",
    [
        "time field.x field.y field.z",
        "stamp pose.x pose.y pose.z",
        "time field.points0.x field.points0.y field.points0.z",  # rostopic echo -p
        "intensity Field.X Field.Y Field.Z",
    ],
)
def test_names_with_one_common_prefix(tmp_path, names, separator, mark):
    text = mark + names.replace(" ", separator) + "\n" + table(np.c_[TIME, POINTS], separator)
    cloud = load_cloud(write(tmp_path, text, ".csv"))
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.notes == ()


@pytest.mark.parametrize("mark", ["# ", "%", ""])
def test_rows_that_begin_with_text_below_the_names(tmp_path, mark):
    names = "time,field.header.frame_id,field.point.x,field.point.y,field.point.z"
    rows = "".join(f"1,cam,{row}\n" for row in table(POINTS, ",").splitlines())
    np.testing.assert_array_equal(read_cloud(write(tmp_path, f"{mark}{names}\n{rows}", ".csv")), POINTS)


@pytest.mark.parametrize("mark", ["# ", "%", "//", ""])
@pytest.mark.parametrize("separator", [" ", ","])
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            "a.x a.y a.z b.x b.y b.z",
            "has x, y and z of 'a' and of 'b'; call the columns of the points x, y and z",
        ),
        ("x y z x y z", "names x, y or z twice; name one column each"),
        ("normal.x normal.y normal.z r g b", "has no column x, y, z; name x, y and z"),
        ("stamp rgb u v depth i", "has no column x, y, z; name x, y and z"),
        ("r theta phi", "has no column x, y, z; name x, y and z"),
    ],
)
def test_names_without_one_x_y_z_are_refused_in_comments_too(tmp_path, names, said, separator, mark):
    rows = np.c_[POINTS, NORMALS][:, : len(names.split())]
    for above, count in (("", ""), ("# a scan\n", ""), ("", "60\n")):
        text = count + above + mark + names.replace(" ", separator) + "\n" + table(rows, separator)
        with pytest.raises(InputError, match=said) as caught:
            read_cloud(write(tmp_path, text))
        assert "name the columns" not in str(caught.value)
        assert ("or remove the comment" in str(caught.value)) == bool(mark)


@pytest.mark.parametrize(
    "comment", ["made by CloudCompare", "scan of cup", "3 nice cups", "a scan of a cup", "Scanner: Leica BLK"]
)
def test_a_sentence_above_the_numbers_names_no_columns(tmp_path, comment):
    for rows in (POINTS, np.c_[POINTS, TIME]):
        path = write(tmp_path, f"# {comment}\n" + table(rows))
        np.testing.assert_array_equal(read_cloud(path), POINTS)


@pytest.mark.parametrize("delimiter", [" ", ",", ";", "\t"])
def test_headers_of_numpy_savetxt(tmp_path, delimiter):
    for header in ("t x y z".replace(" ", delimiter), "scan\nt, x, y, z"):
        np.savetxt(tmp_path / "a.txt", np.c_[TIME, POINTS], delimiter=delimiter, header=header)
        np.testing.assert_array_equal(read_cloud(tmp_path / "a.txt"), POINTS)


@pytest.mark.parametrize(
    "names",
    [
        "X(m),Y(m),Z(m)", "x_m,y_m,z_m", "x[m],y[m],z[m]", "X (mm),Y (mm),Z (mm)",
        "pos_x,pos_y,pos_z",
        "//X,Y,Z", '"Points:0","Points:1","Points:2"', "Points_0,Points_1,Points_2",
        "point.x,point.y,point.z", "px,py,pz", "Points_m_XYZ:0,Points_m_XYZ:1,Points_m_XYZ:2",
        "x-coordinate,y-coordinate,z-coordinate", "Coord. X,Coord. Y,Coord. Z",
    ],
)  # fmt: skip
def test_names_of_coordinates_that_other_programs_write(tmp_path, names):
    first, *rest = names.split(",")
    mark = "//" if first.startswith("//") else ""
    names = ",".join([mark + "t", first.removeprefix("//"), *rest, "normals:0", "intensity"])
    text = names + "\n" + table(np.c_[TIME, POINTS, TIME, TIME], ",")
    np.testing.assert_array_equal(read_cloud(write(tmp_path, text, ".csv")), POINTS)


def test_names_that_mean_something_else():
    for names in (["sensor_x", "sensor_y", "sensor_z"], ["nx", "ny", "nz"], ["vx", "vy", "vz"]):
        assert find_axes(names) is None
    assert find_axes(["x_m", "x_mm", "y", "z"]) is None, "it is unclear which of two is meant"
    assert find_axes(["x_m", "X", "y", "z"]) == [1, 2, 3]
    assert find_axes(["x", "y", "X", "Y", "Z"]) == [2, 3, 4], "the pixel and the point"
    assert find_axes(["x", "y", "z", "X", "Y", "Z"]) is None
    assert find_axes(["x", "y", "z", "x"]) is None
    assert find_axes(["a.x", "a.y", "b.z"]) is None
    assert find_axes(["a.x", "a.x", "a.y", "a.z"]) is None
    assert find_axes([f"pose.{part}.{axis}" for part in ("orientation", "position") for axis in "xyzw"]) == [
        4,
        5,
        6,
    ]


@pytest.mark.parametrize(("separator", "head"), [(";", "t;x;y;z\n"), ("\t", ""), (" ", "# t x y z\n")])
def test_decimal_commas_are_read_and_reported(tmp_path, separator, head):
    rows = np.c_[TIME, POINTS] if head else POINTS
    cloud = load_cloud(write(tmp_path, head + table(rows, separator).replace(".", ",")))
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.notes == ("its commas are read as decimal commas",)


@pytest.mark.parametrize("separator", [",", ", "])
@pytest.mark.parametrize("head", ["", "x,y,z\n", "# a scan\n"])
def test_commas_for_both_columns_and_decimals_are_refused(tmp_path, separator, head):
    rows = POINTS.copy()
    rows[7] = 1.0625
    path = write(tmp_path, head + table(rows, separator).replace(".", ","), ".csv")
    with pytest.raises(InputError, match=r"a.csv: commas separate the columns and seem to be decimal commas"):
        read_cloud(path)


@pytest.mark.parametrize(
    ("head", "row", "refusal"),
    [
        ("x y z note\n", "1 2 3 4\n", ""),
        ("x y z\n", "1 2 3 4 5 6\n", ""),  # names of the first columns
        ("x y z scan position\n", "1 2 3 4\n", ""),  # a name of two words
        ("X [m] Y [m] Z [m]\n", "1 2 3\n", ""),
        ("x,y,z\n", "1,2,3,\n", ""),
        ("x,y,z,\n", "1,2,3\n", ""),
        ("x,y,z,note\n", "1,2,3,\n", ""),
        ("id,x,y,z\n", "0001,1,2,3\n", ""),
        ("id,x,y,z,r,g,b\n", "0001,1,2,3,0,0,255\n", ""),
        (",x,y,z\n", "0,1,2,3\n", ""),  # pandas
        ("name\tx\ty\tz\tr\n", "\t1\t2\t3\t9\n", ""),  # an empty cell
        ("name\tx\ty\tz\tr\n", "a cup\t1\t2\t3\t9\n", ""),
        ("x y z\n", "0 1 2 3\n", "names 3 columns, but the row below has 4"),
        ("x|y|z\n", "1|2|3\n", r"the header 'x\|y\|z' has no column x, y, z"),
        ("x,y,z,x,y,z\n", "1,2,3,4,5,6\n", "names x, y or z twice; name one column each"),
        ("x,y,z,X,Y,Z\n", "1,2,3,4,5,6\n", "names x, y or z twice"),
        ("x,y,X,Y,Z\n", "320,240,1,2,3\n", ""),  # the pixel of a depth image, and the point
        ("x,y,z\n", "7,1,2,3\n", "names 3 columns, but the row below has 4; name each column"),
        ("t,x,y,z,i\n", "1,2,3,4\n", "names 5 columns, but the row below has 4"),
        ("! x y z\n", "1 2 3\n", "names 4 columns, but the row below has 3"),
    ],
)
def test_a_header_names_each_column(tmp_path, head, row, refusal):
    path = write(tmp_path, head + 3 * row)
    if not refusal:
        np.testing.assert_array_equal(read_cloud(path), np.tile([1, 2, 3], (3, 1)))
        return
    with pytest.raises(InputError, match=refusal):
        read_cloud(path)


@pytest.mark.parametrize("separator", [",", ", ", " , ", ";", "; ", "\t", "  "])
def test_points_and_separators_are_not_confused(tmp_path, separator):
    cloud = load_cloud(write(tmp_path, table(POINTS, separator)))
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.notes == ()
    whole = np.arange(1, 31).reshape(10, 3)
    text = "".join(separator.join(map(str, row)) + "\n" for row in whole)
    np.testing.assert_array_equal(read_cloud(write(tmp_path, text)), whole)


@pytest.mark.parametrize(
    "text",
    [
        ("x,y,z,Intensität\n" + table(np.c_[POINTS, TIME], ",")).encode("latin-1"),
        ("# Scanner: Müller…\n" + table(POINTS)).encode("cp1252"),  # … is a line end in Unicode
        ("# 点群\n" + table(POINTS)).encode("shift-jis"),
        table(POINTS).encode("utf-8-sig"),
        ("x y z\n" + table(POINTS)).encode("utf-8-sig"),
        ("# x y z\r\n" + table(POINTS, end="\r\n")).encode("utf-16"),  # PowerShell
    ],
)
def test_names_and_comments_in_any_encoding(tmp_path, text):
    np.testing.assert_array_equal(read_cloud(write(tmp_path, text)), POINTS)


@pytest.mark.parametrize("head", ["x y z\n", '"x" "y" "z"\n', "0 1 2\n"])
@pytest.mark.parametrize("first", ["{}", '"{}"', "row{}"])
def test_row_names_without_a_header(tmp_path, head, first):
    """As R writes tables, and pandas with blanks or tabs between the columns."""
    rows = [f"{first.format(n + 1)} {row}\n" for n, row in enumerate(table(POINTS).splitlines())]
    for separator in " ", "\t":
        text = (head + "".join(rows)).replace(" ", separator)
        if head == "0 1 2\n" and first != "{}":
            continue  # only whole numbers of rows go with numbers of columns
        cloud = load_cloud(write(tmp_path, text))
        np.testing.assert_array_equal(cloud.points, POINTS)
        assert cloud.notes == ("the first column, which the header does not name, is left out",)
    write(tmp_path, ",0,1,2\n" + "".join(rows).replace(" ", ","), ".csv")
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.csv"), POINTS)


@pytest.mark.parametrize(
    "head",
    [
        "sep=,\nx,y,z\n",  # Excel
        "A scan of a cup\nby a scanner, indoors\nx,y,z\n",
        "x,y,z\nmm,mm,mm\n",
        "Points: 60\nX,Y,Z\n[m],[m],[m]\n",
    ],
)
def test_titles_and_units_around_the_names_of_columns(tmp_path, head):
    np.testing.assert_array_equal(read_cloud(write(tmp_path, head + table(POINTS, ","), ".csv")), POINTS)


def test_a_row_below_the_names_that_is_not_of_units(tmp_path):
    for row, said in (
        ("NA,NA,NA", "line 2 has 'NA'"),
        (",,", "line 2 has ''"),
        ("nan,nan,nan", "not finite"),
    ):
        path = write(tmp_path, "x,y,z\n" + row + "\n" + table(POINTS, ","), ".csv")
        with pytest.raises(InputError, match=said):
            read_cloud(path)


@pytest.mark.parametrize("separator", [" ", ",", ";"])
@pytest.mark.parametrize(
    ("before", "said"),
    [
        (COUNT + 1, "the first column rises by equal steps"),
        (1.7e9 + COUNT / 30, "the first column rises by equal steps"),
        (COLOURS.astype(float), "the first three columns seem to be colours"),
        (NORMALS, "the first three columns seem to be normals"),
    ],
)
def test_columns_before_the_points_must_have_names(tmp_path, before, said, separator):
    rows = table(np.c_[before, POINTS], separator)
    with pytest.raises(InputError, match=f"a.xyz: {said}.*; name the columns in a line above the numbers"):
        read_cloud(write(tmp_path, rows))
    names = separator.join("tuv"[: before.shape[1]] + "xyz")
    for mark in "", "# ":
        np.testing.assert_array_equal(read_cloud(write(tmp_path, mark + names + "\n" + rows)), POINTS)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (RNG.uniform(0.5, 0.9, (48, 64)), "48 rows of 64 numbers look like a depth image"),
        (RNG.integers(500, 900, (15, 20)), "15 rows of 20 numbers look like a depth image"),
        (POINTS.T, "3 rows of 60 numbers are a row for each of x, y and z; write a row for each point"),
        (np.c_[POINTS, 1 + 0 * COUNT].T[:, :12], "4 rows of 12 numbers are a row for each of x, y and z"),
        (np.eye(4), "4 rows of 4 numbers look like a matrix; points are needed"),
        (np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), "3 rows of 3 numbers look like a matrix"),
        (np.c_[POINTS, NORMALS[:, np.arange(30) % 3]], "33 columns have no names; name them in a line above"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("separator", [" ", ","])
def test_images_and_matrices_are_refused(tmp_path, rows, said, separator):
    with pytest.raises(InputError, match=f"a.xyz: its {said}"):
        read_cloud(write(tmp_path, table(rows, separator)))


@pytest.mark.parametrize(
    ("name", "head", "noted"),
    [("a.txt", "", True), ("a.txt", "# x y z\n", False), ("a.txt", "x y z r g b\n", False),
     ("a.pts", "60\n", False), ("a.xyzrgb", "", False), ("a.asc", "", True)],
)  # fmt: skip
def test_a_note_says_what_columns_without_names_are_taken_for(tmp_path, name, head, noted):
    (tmp_path / name).write_text(head + table(np.c_[POINTS, COLOURS]))
    cloud = load_cloud(tmp_path / name)
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.notes == noted * ("its columns have no names, and the first three are taken for x, y and z",)


def test_decimal_commas_below_rows_without_commas(tmp_path):
    rows = table(np.r_[np.zeros((2000, 3)), POINTS], ";").replace("0.0", "0").replace(".", ",")
    np.testing.assert_array_equal(read_cloud(write(tmp_path, rows, ".csv")), POINTS)
    rows = "0,0,0\n" * 2
    rows += "".join(",".join(f'"{cell}"'.replace(".", ",") for cell in row) + "\n" for row in POINTS.tolist())
    np.testing.assert_array_equal(read_cloud(write(tmp_path, rows, ".csv")), POINTS)


def test_decimal_commas_in_quotes(tmp_path):
    rows = "".join(",".join(f'"{cell}"'.replace(".", ",") for cell in row) + "\n" for row in POINTS.tolist())
    for head in "", "x,y,z\n", '"x","y","z"\n':
        cloud = load_cloud(write(tmp_path, head + rows, ".csv"))
        np.testing.assert_array_equal(cloud.points, POINTS)
        assert cloud.notes == ("its commas are read as decimal commas",)


def test_column_numbers_of_pandas_are_a_header(tmp_path):
    path = write(tmp_path, "0,1,2\n" + table(POINTS, ","), ".csv")
    np.testing.assert_array_equal(read_cloud(path), POINTS)
    path = write(tmp_path, "0,1,2\n3,4,5\n", ".csv")
    np.testing.assert_array_equal(read_cloud(path), [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("61\n" + table(POINTS), "it declares 61 points, but has 60 rows"),
        (2 * ("60\n" + table(POINTS)), "has several scans; give one scan per file"),
        (table(POINTS, "|"), "the first line .* neither names the columns nor has only numbers"),
        ("v " + table(POINTS), "the first line 'v .* neither names the columns"),
        (2 * "[1.5 2.5 3.5]\n", "the first line '.1.5 2.5 3.5.' neither names the columns"),
        (2 * "1.5D0 2.5D0 3D0\n", "the first line '1.5D0 2.5D0 3D0' neither names the columns"),
        (
            "# order x y z\n" + table(np.c_[POINTS, COLOURS]),
            "among 4 words, but there are 6",
        ),
        ("# t x y z intensity\n" + table(np.c_[TIME, POINTS]), "among 5 words, but there are 4 columns"),
        ("1 2 3\n4 5 six\n", "cannot be read as xyz: line 2 has 'six' where a number is needed"),
        ("# a\nx y z\n1 2 3\n\n4 5\n", "cannot be read as xyz: line 5 has 2 of the 3 columns needed"),
        ("a,b,c\n1,2,3\n", "the header 'a,b,c' has no column x, y, z; name x, y and z"),
        ("x y z\n", "is empty"),
        ("6\n", "cannot be read as xyz: line 1 has 1 of the 3 columns needed"),
        ("1 2 3\0", "it is not a text file"),
        (b"\xff\xfe\x00", "it is not a text file"),
        (bytes(range(1, 256)), "a.xyz"),
    ],
)
def test_refusals_name_the_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as caught:
        read_cloud(write(tmp_path, text))
    assert str(caught.value).count("a.xyz") == 1
    assert "\n" not in str(caught.value)
    assert "Error" not in str(caught.value)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_order_of_named_columns(tmp_path_factory, data):
    names = data.draw(st.permutations(["x", "y", "z", *data.draw(st.sets(st.sampled_from("trgb")))]))
    separator = data.draw(st.sampled_from([" ", ",", ";", "\t", ", "]))
    mark = data.draw(st.sampled_from(["", "# ", "#", "//", "// "]))
    rows = np.random.default_rng(0).uniform(1, 2, (5, len(names)))
    path = write(
        tmp_path_factory.mktemp("text"), mark + separator.join(names) + "\n" + table(rows, separator)
    )
    np.testing.assert_array_equal(read_cloud(path), rows[:, [names.index(axis) for axis in "xyz"]])
