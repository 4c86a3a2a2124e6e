"""Intrinsics as cameras and libraries write them, depth images as TIFF."""

import json

import numpy as np
import pytest
from PIL import Image

from plumbline.errors import InputError
from plumbline.geometry.depth_files import read_view
from plumbline.geometry.intrinsics import (
    CameraFile,
    Intrinsics,
    camera_info,
    lens_notes,
    read_camera,
)

CAMERA = Intrinsics(615.5, 616.25, 319.5, 241.75)
MATRIX = [615.5, 0.0, 319.5, 0.0, 616.25, 241.75, 0.0, 0.0, 1.0]
COLUMNS = [615.5, 0.0, 0.0, 0.0, 616.25, 0.0, 319.5, 241.75, 1.0]
SIZE = (640, 480)
ROS1 = """\
header:
  seq: 1203
  stamp:
    secs: 1577836800
    nsecs: 250000000
  frame_id: "camera_depth_optical_frame"
height: 480
width: 640
distortion_model: "plumb_bob"
D: [0.0, 0.0, 0.0, 0.0, 0.0]
K: [615.5, 0.0, 319.5, 0.0, 616.25, 241.75, 0.0, 0.0, 1.0]
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
P: [615.5, 0.0, 319.5, 0.0, 0.0, 616.25, 241.75, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
binning_y: 0
roi:
  x_offset: 0
  do_rectify: False
---
"""
ROS2 = """\
header:
  stamp:
    sec: 1700000000
    nanosec: 12345678
  frame_id: camera_depth_optical_frame
height: 480
width: 640
distortion_model: plumb_bob
d:
- 0.1
- -0.25
- 0.0
- 0.0
- 0.0
k:
- 615.5
- 0.0
- 319.5
- 0.0
- 616.25
- 241.75
- 0.0
- 0.0
- 1.0
p:
- 615.5
- 0.0
binning_x: 0
---
header:
  stamp:
    sec: 1700000001
k: [1.0]
---
"""
CALIBRATION = f"""\
image_width: 640
image_height: 480
camera_name: depth
camera_matrix:
  rows: 3
  cols: 3
  data: {MATRIX}
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.05, 0.0, 0.0, 0.0, 0.0]
"""


@pytest.mark.parametrize(("text", "distorted"), [(ROS1, False), (ROS2, True), (CALIBRATION, True)])
def test_yaml_of_ros(tmp_path, text, distorted):
    (tmp_path / "info.yaml").write_text(text)
    assert read_camera(tmp_path / "info.yaml") == CameraFile(CAMERA, SIZE, None, distorted)


RAW = [600.0, 0.0, 310.0, 0.0, 601.0, 240.0, 0.0, 0.0, 1.0]
RECTIFIED = [615.5, 0.0, 319.5, -40.0, 0.0, 616.25, 241.75, 0.0, 0.0, 0.0, 1.0, 0.0]
RAW_CAMERA = Intrinsics(600.0, 601.0, 310.0, 240.0)


@pytest.mark.parametrize("d", [[0.0] * 5, [0.1, -0.25, 0.0, 0.0, 0.0], [], None])
@pytest.mark.parametrize(("k", "p", "camera", "rectified"), [
    (RAW, RECTIFIED, CAMERA, True),
    (MATRIX, RECTIFIED, CAMERA, False),
    (RAW, [0.0] * 12, RAW_CAMERA, False),
    ([0.0] * 9, RECTIFIED, CAMERA, False),
])  # fmt: skip
def test_p_is_the_matrix_of_rectified_images(k, p, camera, rectified, d):
    """K and D are those of raw images; where they are the same camera, or P is 0, nothing is to be chosen."""
    found = camera_info(np.array(k), tuple(p), d, *SIZE, where="m")
    assert found == CameraFile(camera, SIZE, None, bool(d and d[0]), rectified)
    said = " ".join(lens_notes(found, "m"))
    assert ("taken for rectified: the intrinsics are those of P in m, and K" in said) == rectified
    assert bool(said) == (rectified or found.distorted)


def test_a_camera_that_is_not_calibrated_is_refused():
    said = r"^m: K and P are 0, so the camera is not calibrated; give --intrinsics with fx,fy,cx,cy in pixels"
    with pytest.raises(InputError, match=said):
        camera_info([0.0] * 9, [0.0] * 12, [], *SIZE, where="m")
    assert camera_info(MATRIX, RECTIFIED, [], 0, 0, where="m").size is None


def test_files_of_ros_with_both_matrices(tmp_path):
    lines = {"k": RAW, "p": RECTIFIED, "d": [0.1, 0.0, 0.0, 0.0, 0.0], "width": 640, "height": 480}
    (tmp_path / "info.json").write_text(json.dumps(lines))
    found = read_camera(tmp_path / "info.json")
    assert found == CameraFile(CAMERA, SIZE, None, True, True)
    text = ROS1.replace("K: [615.5", "K: [600.0")
    (tmp_path / "info.yaml").write_text(text)
    assert read_camera(tmp_path / "info.yaml") == CameraFile(CAMERA, SIZE, None, False, True)
    matrix = f"projection_matrix:\n  rows: 3\n  cols: 4\n  data: {RECTIFIED}\n"
    (tmp_path / "calibration.yaml").write_text(CALIBRATION.replace("615.5", "600.0") + matrix)
    assert read_camera(tmp_path / "calibration.yaml") == CameraFile(CAMERA, SIZE, None, True, True)


OPEN3D = {"width": 640, "height": 480, "intrinsic_matrix": COLUMNS}
REALSENSE = {
    "width": 640, "height": 480, "ppx": 319.5, "ppy": 241.75, "fx": 615.5, "fy": 616.25,
    "model": "distortion.brown_conrady", "coeffs": [0.0, 0.0, 0.0, 0.0, 0.0],
}  # fmt: skip


@pytest.mark.parametrize(("content", "scale", "distorted"), [
    (OPEN3D, None, False),
    ({"color_format": "RS2_FORMAT_RGB8", "depth_scale": 1000.0, **OPEN3D}, 1e-3, False),
    ({"class_name": "PinholeCameraParameters", "extrinsic": [1.0] * 16, "intrinsic": OPEN3D,
      "version_major": 1, "version_minor": 0}, None, False),
    ({"intrinsic": OPEN3D, "depth_scale": 4000}, 0.00025, False),
    (REALSENSE, None, False),
    ({**REALSENSE, "coeffs": [0.1, 0, 0, 0, 0], "depth_scale": 0.00025}, 0.00025, True),
    ({"serial": "f123", "depth_scale": 0.001, "depth": REALSENSE, "color": {"fx": 9}}, 1e-3, False),
])  # fmt: skip
def test_json_of_open3d_and_realsense(tmp_path, content, scale, distorted):
    (tmp_path / "camera.json").write_text(json.dumps(content))
    assert read_camera(tmp_path / "camera.json") == CameraFile(CAMERA, SIZE, scale, distorted)


# ----------------------------------------------------------------------------------------------------- tiff


@pytest.fixture
def depth():
    return np.random.default_rng(0).uniform(0.5, 1.5, (480, 640)).astype(np.float32)


@pytest.mark.parametrize("name", ["d.tif", "d.tiff", "d.TIFF"])
def test_tiff_of_floats_is_in_metres_and_of_whole_numbers_in_millimetres(tmp_path, depth, name):
    depth[7, :9] = np.nan
    depth[8, :9] = 0
    Image.fromarray(depth).save(tmp_path / name, format="TIFF")
    view = read_view(tmp_path / name, CAMERA)
    np.testing.assert_array_equal(view.frame.metres, depth.astype(float))
    assert view.frame.known.sum() == depth.size - 18
    Image.fromarray((1000 * np.nan_to_num(depth)).astype(np.uint16)).save(tmp_path / name, format="TIFF")
    found = read_view(tmp_path / name, CAMERA).frame.metres
    np.testing.assert_allclose(found, np.nan_to_num(depth), atol=1e-3)


def test_a_stated_scale_and_a_stated_distortion_are_said(tmp_path, depth):
    Image.fromarray((4000 * depth).astype(np.uint16)).save(tmp_path / "d.png")
    camera = tmp_path / "camera.json"
    camera.write_text(json.dumps({**REALSENSE, "coeffs": [0.1, 0, 0, 0, 0], "depth_scale": 0.00025}))
    view = read_view(tmp_path / "d.png", camera)
    np.testing.assert_allclose(view.frame.metres, depth, atol=3e-4)
    assert view.notes == (
        f"0.00025 metres per unit of the image, as {camera} says",
        f"{camera} states lens distortion, which is left out: give a rectified image",
    )


def test_intrinsics_as_text_are_checked(tmp_path, depth):
    np.save(tmp_path / "d.npy", depth)
    assert read_view(tmp_path / "d.npy", CAMERA).frame.camera == CAMERA
    for camera, said in (
        (Intrinsics(0.6, 0.6, 3, 2), "--intrinsics 0.6,0.6,3,2: focal lengths of 0.6 and 0.6; they"),
        (Intrinsics(600, 600, 800, 200), "--intrinsics 600,600,800,200: the principal point 800, 200 lies"),
    ):
        with pytest.raises(InputError) as caught:
            read_view(tmp_path / "d.npy", camera)
        assert str(caught.value).startswith(said)


def test_all_missing_numbers_of_a_camera_are_named(tmp_path):
    (tmp_path / "half.json").write_text('{"fx": 600, "fy": 600}')
    with pytest.raises(InputError, match=r"half\.json: it has no cx, cy; give JSON"):
        read_camera(tmp_path / "half.json")
