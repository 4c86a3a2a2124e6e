"""Scans from numpy files: which arrays are points, and which are something else."""

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
def test_depth_images_are_no_points(tmp_path, shape, kind):
    depth = RNG.uniform(500, 900, shape).astype(kind)
    with pytest.raises(InputError, match=r"looks like a depth image; .*--depth and --intrinsics"):
        read_cloud(save(tmp_path, depth))
    np.savez(tmp_path / "a.npz", depth=depth, K=np.eye(3))
    with pytest.raises(InputError, match=r"'depth': a depth image is given with --depth and --intrinsics"):
        read_cloud(tmp_path / "a.npz")


@pytest.mark.parametrize("columns", [3, 4, 6, 7, 20])
def test_tables_of_points_have_up_to_20_columns(tmp_path, columns):
    array = np.concatenate([POINTS, RNG.normal(size=(600, columns - 3))], axis=1)
    np.testing.assert_array_equal(read_cloud(save(tmp_path, array)), POINTS)


@pytest.mark.parametrize("rows", [3, 4])
def test_a_row_for_each_coordinate(tmp_path, rows):
    array = np.concatenate([POINTS, np.ones((600, 1))], axis=1).T[:rows]
    cloud = load_cloud(save(tmp_path, array))
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.notes == (f"the array of shape [{rows}, 600] has a row for each of x, y and z",)


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


def test_several_scans_in_an_array_are_not_an_image(tmp_path):
    scans = RNG.normal(size=(10, 1024, 3))
    with pytest.raises(InputError, match=r"of shape \[10, 1024, 3\] seems to hold 10 scans"):
        read_cloud(save(tmp_path, scans))
    np.testing.assert_array_equal(read_cloud(save(tmp_path, scans[:1])), scans[0])
    np.testing.assert_array_equal(
        read_cloud(save(tmp_path, surface(64, 1024))), surface(64, 1024).reshape(-1, 3)
    )


def test_pictures_are_no_points(tmp_path):
    with pytest.raises(InputError, match="looks like a picture"):
        read_cloud(save(tmp_path, np.ones((48, 64, 3), np.uint8)))


@pytest.mark.parametrize("names", [("x", "y", "z"), ("z", "y", "x"), ("X", "Y", "Z")])
@pytest.mark.parametrize("shape", [(600,), (20, 30)])
def test_structured_arrays(tmp_path, names, shape):
    kinds = [("intensity", "u2"), *((name, "f4") for name in names), ("_", "V3")]
    array = np.zeros(shape, kinds)
    for name in names:
        array[name] = POINTS[:, "xyz".index(name.lower())].reshape(shape)
    np.testing.assert_array_equal(read_cloud(save(tmp_path, array)), POINTS)
    np.savez(tmp_path / "a.npz", points=array)
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.npz"), POINTS)
    with pytest.raises(InputError, match="has no fields x, y and z, but 'intensity', '_'"):
        read_cloud(save(tmp_path, array[["intensity", "_"]]))


@pytest.mark.parametrize("content", [{"pc": POINTS}, [POINTS, None]])
def test_pickles_are_named_and_never_opened(tmp_path, content):
    array = np.array(content, dtype=object)
    np.savez(tmp_path / "a.npz", points=array)
    for path in (save(tmp_path, array), tmp_path / "a.npz"):
        with pytest.raises(InputError, match="pickled Python objects, which are never opened; save"):
            read_cloud(path)


@pytest.mark.parametrize("name", ["xyz", "pc", "pts", "arr_0", "vertices", "XYZ"])
def test_arrays_of_points_with_other_usual_names(tmp_path, name):
    np.savez(tmp_path / "a.npz", **{name: POINTS, "rgb": POINTS, "sensor": np.ones(3)})
    cloud = load_cloud(tmp_path / "a.npz")
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_array_equal(cloud.sensor, [1, 1, 1])
    assert cloud.notes == (f"its points are those of the array {name!r}",)


def test_unclear_names_are_refused(tmp_path):
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
