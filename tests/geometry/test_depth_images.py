"""Depth images: pixels become points in front of the camera, and what is not the object is known."""

import json

import numpy as np
import pytest
from PIL import Image

from plumbline.errors import InputError
from plumbline.geometry.depth_images import depth_to_cloud, read_depth_image
from plumbline.geometry.intrinsics import Intrinsics, matrix_intrinsics, read_intrinsics

CAMERA = Intrinsics(fx=60.0, fy=50.0, cx=15.5, cy=9.5)
MATRIX = np.array([[60.0, 0, 15.5], [0, 50, 9.5], [0, 0, 1]])


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A plate half a metre away before a wall at two, and a mask that is a pixel too wide on the right."""
    depth = np.full((20, 32), 2.0)
    depth[5:15, 8:20] = 0.5
    mask = np.zeros((20, 32), bool)
    mask[5:15, 8:21] = True
    return depth, mask


def test_points_project_onto_their_pixels():
    depth = np.random.default_rng(1).uniform(0.5, 0.6, (20, 32))
    cloud = depth_to_cloud(depth, CAMERA)
    row, column = np.indices(depth.shape).reshape(2, -1)
    x, y, z = cloud.points.T
    np.testing.assert_allclose(z, depth.ravel())
    np.testing.assert_allclose(60 * x / z + 15.5, column, atol=1e-12)
    np.testing.assert_allclose(50 * y / z + 9.5, row, atol=1e-12)
    assert cloud.sensor.tolist() == [0, 0, 0]
    assert cloud.unit == "metres"
    np.testing.assert_array_equal(depth_to_cloud(depth, MATRIX).points, cloud.points)


def test_the_wall_within_the_mask_is_not_the_object():
    depth, mask = picture()
    cloud = depth_to_cloud(depth, CAMERA, mask)
    assert len(cloud.points) == 130
    np.testing.assert_array_equal(cloud.on_object, cloud.points[:, 2] == 0.5)


@pytest.mark.parametrize(("step", "is_one"), [(3.8, True), (7, False)])
def test_neighbours_are_connected_up_to_a_step_of_some_pixels(step, is_one):
    """Along a row a pixel is z / fx wide, along a column z / fy."""
    depth = np.full((4, 13), 1.0)
    depth[:, 12] += np.sqrt(step**2 - 1) / 60
    kept = depth_to_cloud(depth, Intrinsics(60.0, 50.0, 12, 1.5)).on_object
    assert kept.reshape(4, 13)[:, 12].tolist() == [is_one] * 4
    depth = np.full((13, 4), 1.0)
    depth[12] += np.sqrt(step**2 - 1) / 20
    kept = depth_to_cloud(depth, Intrinsics(60.0, 20.0, 1.5, 12)).on_object
    assert kept.reshape(13, 4)[12].tolist() == [is_one] * 4


def test_an_image_with_gaps_between_its_pixels_does_not_tell_what_is_connected():
    for gaps in (np.s_[:, 1::2], np.s_[::2]):
        depth, _ = picture()
        assert depth_to_cloud(depth, CAMERA).on_object is not None
        depth[gaps] = np.nan
        assert depth_to_cloud(depth, CAMERA).on_object is None


@pytest.mark.parametrize("missing", [0, -1.0, np.nan, np.inf])
def test_pixels_without_a_depth_are_no_points(missing):
    depth, mask = picture()
    depth[6, 9] = missing
    assert len(depth_to_cloud(depth, CAMERA, mask).points) == 129


@pytest.mark.parametrize(("dtype", "scale", "unit"), [
    (np.uint16, None, 0.001), (np.int32, None, 0.001), (np.uint16, 0.0001, 0.0001),
    (np.float32, None, 1.0), (np.float64, 0.001, 0.001),
])  # fmt: skip
def test_units_of_the_image(dtype, scale, unit):
    depth = np.full((8, 8), 7, dtype)
    np.testing.assert_allclose(depth_to_cloud(depth, CAMERA, depth_scale=scale).points[:, 2], 7 * unit)


@pytest.mark.parametrize(("depth", "options", "said"), [
    (np.ones((4, 4, 3)), {}, "a depth image is [H, W] numbers, this is float64 of shape [4, 4, 3]"),
    (np.ones((4, 4), np.uint8), {}, "8 bits per pixel are too few for depths"),
    (np.ones((4, 4), bool), {}, "this is bool of shape [4, 4]"),
    (np.zeros((4, 4)), {}, "no pixel of the image has a depth"),
    (np.ones((4, 4)), {"mask": np.zeros((4, 4))}, "no pixel of the mask has a depth"),
    (np.ones((4, 4)), {"mask": np.ones((4, 5))}, "the depth image has shape [4, 4], the mask [4, 5]"),
    (np.ones((4, 4)), {"mask": np.arange(16).reshape(4, 4) % 3}, "the mask has 2 objects (1, 2)"),
    (np.full((4, 4), 650.0), {}, "half of the depths are beyond 650 m; give --depth_scale"),
    (np.ones((4, 4)), {"depth_scale": -1.0}, "depth_scale must be a number of metres per unit above 0"),
    (np.ones((4, 4)), {"intrinsics": np.eye(3)}, "focal lengths of 1 and 1; they are in pixels, above 1"),
    (np.ones((4, 4)), {"intrinsics": np.eye(4)}, "a camera matrix is [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"),
])  # fmt: skip
def test_what_cannot_be_an_image_is_refused(depth, options, said):
    with pytest.raises(InputError) as caught:
        depth_to_cloud(depth, **({"intrinsics": CAMERA} | options))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------- files


@pytest.fixture
def files(tmp_path):
    depth, mask = picture()
    Image.fromarray((1000 * depth).astype(np.uint16)).save(tmp_path / "depth.png")
    np.save(tmp_path / "depth.npy", depth.astype(np.float32))
    Image.fromarray((255 * mask).astype(np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray(np.stack([0 * mask, 200 * mask, 0 * mask], axis=2).astype(np.uint8)).save(
        tmp_path / "green.png"
    )
    Image.fromarray(mask).save(tmp_path / "bits.png")
    np.savez(tmp_path / "all.npz", depth=depth, mask=mask, K=MATRIX)
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA._asdict()))
    return tmp_path


@pytest.mark.parametrize("mask", ["mask.png", "green.png", "bits.png", "all.npz"])
@pytest.mark.parametrize("depth", ["depth.png", "depth.npy", "all.npz"])
def test_all_files_give_the_same_points(files, depth, mask):
    image, seen = picture()
    wanted = depth_to_cloud(image, CAMERA, seen)
    for camera in ("camera.json", "all.npz"):
        found = read_depth_image(files / depth, files / camera, files / mask)
        np.testing.assert_allclose(found.points, wanted.points)
        np.testing.assert_array_equal(found.on_object, wanted.on_object)
        assert found.name == str(files / depth)


@pytest.mark.parametrize("content", [
    CAMERA._asdict(),
    {"width": 32, "fx": 60, "fy": 50, "ppx": 15.5, "ppy": 9.5, "model": "brown"},
    {"K": MATRIX.ravel().tolist()},
    {"K": MATRIX.tolist()},
    {"camera_matrix": {"rows": 3, "cols": 3, "data": MATRIX.ravel().tolist()}},
    {"width": 32, "height": 20, "intrinsic_matrix": MATRIX.T.ravel().tolist()},
    {"intrinsic": {"intrinsic_matrix": MATRIX.T.ravel().tolist()}},
    {"cam_K": MATRIX.ravel().tolist(), "depth_scale": 0.1},
    MATRIX.tolist(),
])  # fmt: skip
def test_intrinsics_as_people_keep_them(tmp_path, content):
    (tmp_path / "K.json").write_text(json.dumps(content))
    assert read_intrinsics(tmp_path / "K.json") == CAMERA


def test_intrinsics_as_text_and_arrays(tmp_path):
    np.savetxt(tmp_path / "K.txt", MATRIX)
    np.savetxt(tmp_path / "commas.txt", MATRIX, delimiter=",")
    np.save(tmp_path / "K.npy", MATRIX.astype(np.float32))
    for name in ("K.txt", "commas.txt", "K.npy"):
        assert read_intrinsics(tmp_path / name) == CAMERA


@pytest.mark.parametrize(("name", "content", "said"), [
    ("K.json", "{", "cannot be read; give JSON with fx, fy, cx, cy"),
    ("K.json", '{"fx": 1}', "no fx, fy, cx, cy and no matrix K in it"),
    ("K.json", '{"fx": "a", "fy": 2, "cx": 3, "cy": 4}', "cannot be read"),
    ("K.json", '{"K": [1, 2, 3]}', "a camera matrix is"),
    ("K.txt", "1 2\n3", "cannot be read"),
    ("K.txt", "", "a camera matrix is"),
    ("K.npy", "", "cannot be read"),
    ("K.json", "[" * 100_000, "cannot be read"),
])  # fmt: skip
def test_intrinsics_that_are_refused(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read_intrinsics(tmp_path / name)
    assert str(caught.value).startswith(f"--intrinsics {tmp_path / name}")
    assert said in str(caught.value)
    with pytest.raises(InputError, match="does not exist"):
        read_intrinsics(tmp_path / "gone")


@pytest.mark.parametrize("matrix", [MATRIX * 2, MATRIX[:2], np.full((3, 3), np.nan), -MATRIX])
def test_no_camera_matrix(matrix):
    with pytest.raises(InputError):
        matrix_intrinsics(matrix, "here")


@pytest.mark.parametrize(("what", "said"), [
    ("mask.png", "a picture of mode L; a depth image has one channel of 16 bits"),
    ("green.png", "a picture of mode RGB"),
    ("camera.json", "not an image, .npy or .npz file"),
    ("gone.png", "does not exist"),
    ("", "is a folder"),
    ("cut.png", "it is damaged, or not an image"),
    ("objects.npy", "it is damaged, or not an image"),
    ("other.npz", "no array 'depth'; the file has a"),
])  # fmt: skip
def test_files_that_are_refused(files, what, said):
    (files / "cut.png").write_bytes((files / "depth.png").read_bytes()[:80])
    np.save(files / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(files / "other.npz", a=1)
    with pytest.raises(InputError) as caught:
        read_depth_image(files / what, files / "camera.json")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
