"""Scans from numpy files: which arrays are points, and which are something else."""

import warnings
from contextlib import suppress

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.geometry.clouds import load_cloud, read_cloud

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(1, 2, (600, 3)).astype(np.float32).astype(np.float64)


def save(folder, array):
    np.save(folder / "a.npy", array, allow_pickle=True)
    return folder / "a.npy"


def surface(rows, columns):
    """An image of points whose neighbours are near each other."""
    x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
    return np.stack([x, y, 3 + np.sin(x) * y], axis=-1)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((60, 80), "f4"), ((60, 80), "u2"), ((480, 640), "f8"), ((24, 32), "u2"), ((1, 60, 80), "f4"),
     ((60, 80, 1), "u2"), ((32, 21), "i4"), ((128, 128), "f2")],
)  # fmt: skip
def test_depth_images_are_refused(tmp_path, shape, kind):
    depth = RNG.uniform(500, 900, shape).astype(kind)
    with pytest.raises(InputError, match=r"looks like a depth image; .*--depth and --intrinsics"):
        read_cloud(save(tmp_path, depth))
    np.savez(tmp_path / "a.npz", depth=depth, K=np.eye(3))
    with pytest.raises(InputError, match=r"'depth': a depth image is given with --depth and --intrinsics"):
        read_cloud(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "depth",
    [
        RNG.uniform(0.5, 0.9, (8, 8)),  # a small time-of-flight sensor
        RNG.integers(500, 900, (15, 20)).astype("u2"),
        np.where(RNG.random((40, 16)) < 0.4, 0, RNG.uniform(0.5, 0.9, (40, 16))),
    ],
)
def test_small_depth_images_are_refused(tmp_path, depth):
    with pytest.raises(InputError, match=r"looks like a depth image; .*--depth and --intrinsics"):
        read_cloud(save(tmp_path, depth))


@pytest.mark.parametrize(
    "matrix", [np.eye(4), np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]), np.diag([2, 2, 2, 1])]
)
def test_matrices_are_refused(tmp_path, matrix):
    with pytest.raises(InputError, match=r"a.npy: the array of shape \[\d, \d\] looks like a matrix"):
        read_cloud(save(tmp_path, matrix))


COUNT = np.arange(600.0)[:, None]
COLOURS = RNG.integers(0, 256, (600, 3)).astype(float)
NORMALS = RNG.normal(size=(600, 3))
NORMALS /= np.linalg.norm(NORMALS, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (COUNT, "the first column rises by equal steps"),
        (1.7e9 + COUNT / 30, "the first column rises by equal steps"),
        (COUNT + np.cumsum(COLOURS[:, :1], axis=0), "the first column seems to be a point number"),
        (COLOURS, "the first three columns seem to be colours"),
        (NORMALS.round(3), "the first three columns seem to be normals"),
    ],
)
def test_columns_before_the_points_are_refused(tmp_path, before, said):
    for table in (np.c_[before, POINTS], np.c_[before, POINTS, COUNT]):
        with pytest.raises(InputError, match=f"a.npy: in the array {said}.*; put x, y and z into its first"):
            read_cloud(save(tmp_path, table))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, -1e308, 0.0])
@pytest.mark.parametrize("shape", [(20, 4), (20, 6), (20, 9), (5, 6, 3)])
def test_nothing_is_printed_of_damaged_or_missing_numbers(tmp_path, value, shape):
    for share in (0.1, 0.5, 1):
        array = RNG.normal(size=shape)
        array[RNG.random(shape) < share] = value
        for some in (array, np.sort(array, axis=0), np.abs(array)):
            with warnings.catch_warnings(record=True) as warned, suppress(InputError):
                warnings.simplefilter("always")
                read_cloud(save(tmp_path, some))
            assert not warned


def test_profiles_of_a_line_scanner_have_equal_steps(tmp_path):
    """x rises evenly along each of them, as a point number does along the table."""
    x, y = np.meshgrid(np.linspace(-1, 1, 3000), np.linspace(-1, 1, 7))
    points = np.stack([x, y, 2 + x * y], axis=2).reshape(-1, 3)
    np.testing.assert_array_equal(read_cloud(save(tmp_path, np.c_[points, y.ravel()])), points)
    np.savetxt(tmp_path / "a.txt", np.c_[points, y.ravel()])
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.txt"), points)
    number = np.arange(len(points))
    for path in (save(tmp_path, np.c_[number, points]), tmp_path / "a.txt"):
        np.savetxt(tmp_path / "a.txt", np.c_[number / 30, points])
        with pytest.raises(InputError, match="the first column rises by equal steps"):
            read_cloud(path)


@pytest.mark.parametrize("missing", [0.0, np.nan])
def test_columns_before_missing_returns(tmp_path, missing):
    lost = RNG.random((600, 1)) < 0.5
    points = np.where(lost, missing, POINTS)
    for first in (COLOURS, NORMALS, np.where(lost, missing, NORMALS), COUNT):
        with pytest.raises(InputError, match=r"the first .*; put x, y and z into its first three"):
            read_cloud(save(tmp_path, np.c_[first, points]))


@pytest.mark.parametrize(
    "points", [POINTS, COLOURS, COUNT + [[0, 1, 2]], NORMALS, POINTS[np.argsort(POINTS[:, 0])]]
)
def test_columns_after_the_points_do_not_matter(tmp_path, points):
    for behind in (COUNT, COLOURS, NORMALS):
        np.testing.assert_array_equal(read_cloud(save(tmp_path, np.c_[points, behind])), points)


@pytest.mark.parametrize("columns", [3, 4, 6, 7, 20])
def test_tables_of_points_have_up_to_20_columns(tmp_path, columns):
    array = np.concatenate([POINTS, RNG.normal(size=(600, columns - 3))], axis=1)
    np.testing.assert_array_equal(read_cloud(save(tmp_path, array)), POINTS)


@pytest.mark.parametrize("rows", [3, 4])
@pytest.mark.parametrize("num", [12, 20, 600])
def test_a_row_for_each_coordinate(tmp_path, rows, num):
    array = np.concatenate([POINTS, np.ones((600, 1))], axis=1).T[:rows, :num]
    cloud = load_cloud(save(tmp_path, array))
    np.testing.assert_array_equal(cloud.points, POINTS[:num])
    assert cloud.notes == (f"the array of shape [{rows}, {num}] has a row for each of x, y and z",)
    np.savez(tmp_path / "a.npz", points=array, sensor=np.full((3, num), 9.0))
    np.testing.assert_array_equal(load_cloud(tmp_path / "a.npz").sensor, np.full((num, 3), 9))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1)])
def test_one_position_of_the_sensor_in_any_shape(tmp_path, shape):
    np.savez(tmp_path / "a.npz", points=POINTS, sensor=np.array([4.0, 5, 6]).reshape(shape))
    np.testing.assert_array_equal(load_cloud(tmp_path / "a.npz").sensor, [4, 5, 6])


@pytest.mark.parametrize("shape", [(6, 600), (2, 600), (600, 2), (600,), (2, 3, 4, 5), ()])
def test_other_shapes_are_refused(tmp_path, shape):
    with pytest.raises(InputError, match=r"the array has shape .*rows of x, y, z are needed"):
        read_cloud(save(tmp_path, np.ones(shape)))


@pytest.mark.parametrize("missing", [np.nan, np.inf, 0.0])
def test_images_of_points(tmp_path, missing):
    image = surface(24, 32)
    lost = RNG.random((24, 32)) < 0.3
    wanted = image[~lost]
    image[lost] = missing
    cloud = load_cloud(save(tmp_path, image))
    np.testing.assert_array_equal(cloud.points, wanted)
    assert cloud.dropped == lost.sum()
    # With the position of the sensor, for all or for each.
    for sensor in (np.array([0.0, 0, 9]), np.broadcast_to([0.0, 0, 9], image.shape)):
        np.savez(tmp_path / "a.npz", points=image, sensor=sensor)
        cloud = load_cloud(tmp_path / "a.npz")
        np.testing.assert_array_equal(np.broadcast_to(cloud.sensor, wanted.shape)[:, 2], 9)
        np.testing.assert_array_equal(cloud.points, wanted)


@pytest.mark.parametrize("shape", [(10, 1024), (4, 60), (2, 100), (1000, 16)])
def test_several_scans_in_an_array_are_not_an_image(tmp_path, shape):
    scans = RNG.normal(size=(*shape, 3))
    with pytest.raises(InputError, match=rf"of shape \[{shape[0]}, {shape[1]}, 3\] seems to have .* scans"):
        read_cloud(save(tmp_path, scans))
    np.testing.assert_array_equal(read_cloud(save(tmp_path, scans[:1])), scans[0])
    np.testing.assert_array_equal(
        read_cloud(save(tmp_path, surface(64, 1024))), surface(64, 1024).reshape(-1, 3)
    )


def test_an_image_of_each_coordinate_is_refused(tmp_path):
    for size in ((12, 16), (48, 64)):
        with pytest.raises(InputError, match=r"a.npy: the array has shape \[3, .*so transpose it"):
            read_cloud(save(tmp_path, np.moveaxis(surface(*size), 2, 0)))


def test_pictures_are_refused(tmp_path):
    with pytest.raises(InputError, match="looks like a picture"):
        read_cloud(save(tmp_path, np.ones((48, 64, 3), np.uint8)))


@pytest.mark.parametrize("names", [("x", "y", "z"), ("z", "y", "x"), ("X", "Y", "Z"), ("px", "py", "pz")])
@pytest.mark.parametrize("points", [POINTS, surface(20, 30)], ids=["table", "image"])
def test_structured_arrays(tmp_path, names, points):
    kinds = [("intensity", "u2"), *((name, "f8") for name in names), ("_", "V3")]
    array = np.zeros(points.shape[:-1], kinds)
    for name in names:
        array[name] = points[..., "xyz".index(name.lower()[-1])]
    wanted = points.reshape(-1, 3)
    np.testing.assert_array_equal(read_cloud(save(tmp_path, array)), wanted)
    np.savez(tmp_path / "a.npz", points=array)
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.npz"), wanted)
    with pytest.raises(InputError, match="has no fields x, y and z, but 'intensity', '_'"):
        read_cloud(save(tmp_path, array[["intensity", "_"]]))


@pytest.mark.parametrize("inner", [("f4", 3), ([("x", "f4"), ("y", "f4"), ("z", "f4")],)])
def test_structured_arrays_with_one_field_of_points(tmp_path, inner):
    array = np.zeros(600, [("rgb", "u1", 3), ("position", *inner)])
    for axis, name in enumerate("xyz"):
        array["position"][name if len(inner) == 1 else (slice(None), axis)] = POINTS[:, axis]
    np.testing.assert_array_equal(read_cloud(save(tmp_path, array)), POINTS)


@pytest.mark.parametrize("content", [{"pc": POINTS}, [POINTS, None]])
def test_pickles_are_named_and_never_opened(tmp_path, content):
    array = np.array(content, dtype=object)
    np.savez(tmp_path / "a.npz", points=array)
    for path in (save(tmp_path, array), tmp_path / "a.npz"):
        with pytest.raises(InputError, match="pickled Python objects, which are never opened; save"):
            read_cloud(path)


@pytest.mark.parametrize("name", ["xyz", "pc", "pts", "arr_0", "vertices", "XYZ", "Points"])
def test_arrays_of_points_with_other_usual_names(tmp_path, name):
    np.savez(tmp_path / "a.npz", **{name: POINTS, "rgb": POINTS, "sensor": np.ones(3)})
    cloud = load_cloud(tmp_path / "a.npz")
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_array_equal(cloud.sensor, [1, 1, 1])
    assert cloud.notes == (f"its points are read from the array {name!r}",)


def test_the_only_array_is_that_of_the_points(tmp_path):
    np.savez(tmp_path / "a.npz", mug_view_3=POINTS, sensor=np.ones(3))
    cloud = load_cloud(tmp_path / "a.npz")
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.notes == ("its points are read from the array 'mug_view_3'",)
    np.savez(tmp_path / "a.npz", K=np.diag([600.0, 600, 1]))
    with pytest.raises(InputError, match=r"K of shape .* looks like a matrix"):
        read_cloud(tmp_path / "a.npz")


def test_unclear_names_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=POINTS, b=POINTS)
    with pytest.raises(
        InputError, match="no array 'points'; the file has 'a', 'b': give the points that name"
    ):
        read_cloud(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", xyz=POINTS, pc=POINTS)
    with pytest.raises(InputError, match="'pc' and 'xyz' may both be 'points'; the file has 'xyz', 'pc'"):
        read_cloud(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", xyz=POINTS, points=2 * POINTS)
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.npz"), 2 * POINTS)


def test_a_damaged_header(tmp_path):
    path = save(tmp_path, POINTS)
    path.write_bytes(path.read_bytes().replace(b"descr", b"d\xffscr"))
    with pytest.raises(InputError, match="is damaged: the header of the array cannot be read"):
        read_cloud(path)
