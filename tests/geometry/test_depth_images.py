"""Depth images: pixels become points in front of the camera, and what is not the object is known."""

import json

import numpy as np
import pytest
from PIL import Image

from plumbline.errors import InputError
from plumbline.geometry.depth_files import read_view
from plumbline.geometry.depth_images import depth_to_cloud, depth_to_clouds
from plumbline.geometry.intrinsics import CameraFile, Intrinsics, matrix_intrinsics, read_camera


def read_depth_image(*files, **options):
    (cloud,) = read_view(*files, **options).clouds().values()
    return cloud


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
    value = 7 if unit == 1 else 700
    depth = np.full((8, 8), value, dtype)
    np.testing.assert_allclose(depth_to_cloud(depth, CAMERA, depth_scale=scale).points[:, 2], value * unit)


@pytest.mark.parametrize(("depth", "options", "said"), [
    (np.ones((4, 4, 3)), {}, "a depth image is [H, W] numbers, this is float64 of shape [4, 4, 3]; give the"),
    (np.ones((4, 4), np.uint8), {}, "8 bits per pixel are too few for depths"),
    (np.ones((4, 4), bool), {}, "this is bool of shape [4, 4]"),
    (np.zeros((4, 4)), {}, "no pixel of the image has a depth: all are 0 or not finite; give another one"),
    (np.full((4, 4), np.nan), {"mask": np.eye(4)}, "no pixel of the image has a depth"),
    (np.eye(4), {"mask": 1 - np.eye(4)}, "no pixel of the mask has a depth; check that the mask is that of"),
    (np.ones((4, 4)), {"mask": np.ones((4, 5))}, "the depth image has shape [4, 4], the mask [4, 5]"),
    (np.ones((8, 8)), {"mask": np.arange(64).reshape(8, 8) // 24}, "the mask has 2 objects (1, 2); give the"),
    (np.full((4, 4), 3e-4), {}, "half of the depths are nearer than 0.3 mm, as metres that are read"),
    (np.full((4, 4), 650.0), {}, "half of the depths are beyond 650 m; set --depth_scale"),
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
    assert read_camera(tmp_path / "K.json").intrinsics == CAMERA


def test_intrinsics_as_text_and_arrays(tmp_path):
    np.savetxt(tmp_path / "K.txt", MATRIX)
    np.savetxt(tmp_path / "commas.txt", MATRIX, delimiter=",")
    np.save(tmp_path / "K.npy", MATRIX.astype(np.float32))
    for name in ("K.txt", "commas.txt", "K.npy"):
        assert read_camera(tmp_path / name).intrinsics == CAMERA


@pytest.mark.parametrize(("name", "content", "said"), [
    ("K.json", "{", "cannot be read; give JSON with fx, fy, cx, cy"),
    ("K.json", '{"f": 1}', "no fx, fy, cx, cy and no matrix K in it"),
    ("K.json", '{"fx": 60, "f_y": 60, "cx": 3}', "it has no fy, cy"),
    ("K.json", '{"fx": "six hundred", "fy": 2, "cx": 3, "cy": 4}', "fx is 'six hundred', not a number"),
    ("K.json", '{"fx": 6, "fy": 60, "cx": 3, "cy": 4}', "focal lengths of 6 and 60 pixels differ too much"),
    ("K.json", '{"0": {"cam_K": [1]}, "7": {"cam_K": [1]}}', "the cameras of 2 images; call the depth image"),
    ("K.yaml", "camera_name: left", "no fx, fy, cx, cy and no matrix K in it"),
    ("K.yaml", "a: [1", "cannot be read"),
    ("K.json", '{"K": [1, 2, 3]}', "a camera matrix is"),
    ("K.txt", "1 2\n3", "cannot be read"),
    ("K.txt", "", "a camera matrix is"),
    ("K.npy", "", "cannot be read"),
    ("K.json", "[" * 100_000, "cannot be read"),
])  # fmt: skip
def test_intrinsics_that_are_refused(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read_camera(tmp_path / name)
    assert str(caught.value).startswith(f"--intrinsics {tmp_path / name}")
    assert said in str(caught.value)
    with pytest.raises(InputError, match="does not exist"):
        read_camera(tmp_path / "gone")


def test_yaml_of_ros_and_opencv(tmp_path):
    data = ", ".join(map(str, MATRIX.ravel()))
    (tmp_path / "ros.yaml").write_text(
        f"image_width: 32\nimage_height: 20\ncamera_matrix:\n  rows: 3\n  cols: 3\n  data: [{data}]\n"
    )
    assert read_camera(tmp_path / "ros.yaml") == CameraFile(CAMERA, (32, 20))
    (tmp_path / "opencv.yml").write_text(
        f"%YAML:1.0\n---\nK: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [ {data} ]\n"
    )
    assert read_camera(tmp_path / "opencv.yml") == CameraFile(CAMERA)


def test_the_camera_of_an_image_among_many(files):
    """BOP has a camera for each image, by its number, and depths in tenths of a millimetre."""
    other = (2 * MATRIX).ravel().tolist()
    cameras = {"0": {"cam_K": other}, "12": {"cam_K": MATRIX.ravel().tolist(), "depth_scale": 0.1}}
    (files / "scene_camera.json").write_text(json.dumps(cameras))
    (files / "000012.png").write_bytes((files / "depth.png").read_bytes())
    usual = read_depth_image(files / "depth.png", files / "camera.json", files / "mask.png")
    found = read_depth_image(files / "000012.png", files / "scene_camera.json", files / "mask.png")
    np.testing.assert_allclose(found.points, usual.points / 10)
    assert found.notes == (f"0.0001 metres per unit of the image, as {files / 'scene_camera.json'} says",)
    given = read_depth_image(
        files / "000012.png", files / "scene_camera.json", files / "mask.png", depth_scale=1e-3
    )
    np.testing.assert_allclose(given.points, usual.points)
    assert given.notes == ()


@pytest.mark.parametrize(("changed", "said"), [
    ({"cx": 32}, "the principal point 32, 9.5 lies outside of the depth image of 32 x 20 pixels"),
    ({"cy": -1}, "the principal point 15.5, -1 lies outside"),
    ({"width": 64, "height": 40}, "is for images of 64 x 40 pixels, and the depth image has 32 x 20"),
])  # fmt: skip
def test_intrinsics_of_another_image_are_refused(files, changed, said):
    (files / "other.json").write_text(json.dumps({**CAMERA._asdict(), **changed}))
    with pytest.raises(InputError, match="--intrinsics") as caught:
        read_depth_image(files / "depth.png", files / "other.json", files / "mask.png")
    assert said in str(caught.value)


@pytest.mark.parametrize(("camera", "said"), [
    ((60, 49.9, 15.5, 9.5), "the focal lengths 60 and 49.9 differ by more than 20 %, and depth cameras have"),
    ((50, 60.1, 15.5, 9.5), "the focal lengths 50 and 60.1 differ by more than 20 %"),
    ((7.4, 7.4, 15.5, 9.5), "the image of 32 x 20 would show 130 degrees, and depth cameras see 15 to 130"),
    ((122, 122, 15.5, 9.5), "the image of 32 x 20 would show 15 degrees"),
    ((60, 60, 9, 9.5), "the principal point 9, 9.5 is far from the middle of the image of 32 x 20 pixels"),
    ((60, 60, 15.5, 13.6), "the principal point 15.5, 13.6 is far from the middle"),
    ((60, 60, 40, 9.5), "the principal point 40, 9.5 is far from the middle"),
    ((60, 50, 15.5, 9.5), None),
    ((7.6, 7.6, 15.5, 9.5), None),
    ((121, 121, 15.5, 9.5), None),
    ((60, 60, 9.2, 13.4), None),
])  # fmt: skip
def test_intrinsics_that_no_depth_camera_has_are_doubted(camera, said):
    depth, mask = picture()
    labels = mask + np.uint8(0)
    labels[0, 0] = 2
    for clouds in (
        [depth_to_cloud(depth, Intrinsics(*camera), mask)],
        depth_to_clouds(depth, Intrinsics(*camera), labels).values(),
    ):
        for cloud in clouds:
            assert len(cloud.warnings) == (said is not None)
            assert all(said in warning and "(--intrinsics)" in warning for warning in cloud.warnings)


def test_a_whole_scene_is_no_object():
    depth, mask = picture()
    cloud = depth_to_cloud(depth, CAMERA, mask)
    assert (cloud.notes, cloud.warnings, cloud.place) == ((), (), "the camera")
    whole = depth_to_cloud(depth, CAMERA)
    assert whole.notes == ("no mask: all pixels with a depth are taken for the object",)
    (warning,) = whole.warnings
    assert warning.startswith(
        "the points cover 100 % of the image and 100 % of its border, so they may show the background; give "
        "the pixels of one object as a mask"
    )
    (warning,) = depth_to_cloud(depth, CAMERA, ~mask).warnings
    assert warning.startswith(
        "the mask covers 80 % of the image and 100 % of its border, so it may show the background; give "
        "a mask of one object"
    )
    millimetres = (1000 * np.random.default_rng(0).uniform(0.5, 2, depth.shape)).astype(np.uint16)
    with pytest.raises(InputError, match="different numbers, as a depth image has"):
        depth_to_cloud(millimetres, CAMERA, millimetres)


@pytest.mark.parametrize("matrix", [MATRIX * 2, MATRIX[:2], np.full((3, 3), np.nan), -MATRIX])
def test_no_camera_matrix(matrix):
    with pytest.raises(InputError):
        matrix_intrinsics(matrix, "here")


@pytest.mark.parametrize(("what", "said"), [
    ("mask.png", "a picture of 8 bits (mode L), and a depth image has one channel of 16 bits; give"),
    ("green.png", "a picture of colours (mode RGB), and a"),
    ("camera.json", "not an image, .npy or .npz file"),
    ("gone.png", "gone.png does not exist; give a 16-bit PNG, a TIFF, .npy or .npz"),
    ("", "is a folder; give a 16-bit PNG"),
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
