"""Messages that were serialised as ROS does become clouds, images and cameras; answers become messages."""

from array import array
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from plumbline.errors import InputError
from plumbline.geometry.intrinsics import Intrinsics, read_camera
from plumbline.payload.forms import ros
from plumbline.payload.frames import make_frame
from plumbline.predictors.predictor import load_predictor
from plumbline.ros.messages import INERTIA, MARKER, POINT, answer_fields, camera_of, cloud_of, fill, image_of
from tests.helpers.ros_messages import (
    START,
    STORE,
    camera_message,
    cloud_message,
    compressed_message,
    image_message,
    plain,
    through_cdr,
)
from tests.helpers.scanned import simulate

POINTS = np.random.default_rng(0).normal(size=(6, 4, 3)).round(3) + (0, 0, 5)
WHOLE = np.random.default_rng(0).integers(1, 100, (6, 4, 3)).astype(float)


@pytest.mark.parametrize("little", [True, False], ids=["little CDR", "big CDR"])
@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
@pytest.mark.parametrize(
    "layout",
    [
        {"types": "f8"},
        {"types": "f4", "order": "zyx"},
        {"types": "f8", "order": "ixrzyg", "gap": 3, "tail": 5},
        {"types": {"x": "f4", "y": "f8", "z": "f4"}, "row_padding": 11},
    ],
    ids=str,
)  # fmt: skip
def test_points_are_read_from_any_layout(layout, big, little):
    kinds = layout["types"]
    if not isinstance(kinds, dict):
        layout = layout | {"types": dict.fromkeys(layout.get("order", "xyz"), kinds)}
    cloud = cloud_of(through_cdr(cloud_message(POINTS, big=big, **layout), little), "c")
    expected = np.stack(
        [POINTS[..., i].astype(layout["types"][axis]) for i, axis in enumerate("xyz")], axis=-1
    )
    np.testing.assert_array_equal(cloud.points, expected.reshape(-1, 3).astype(float))
    assert cloud.points.dtype == np.float64
    assert (cloud.frame, cloud.unit) == ("camera_depth_optical_frame", "metres")
    assert cloud.sensor is None
    assert cloud.loss == ""


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4"])
def test_whole_numbers_are_points_too(kind):
    cloud = cloud_of(through_cdr(cloud_message(WHOLE, types=kind, big=True)))
    np.testing.assert_array_equal(cloud.points, WHOLE.reshape(-1, 3))


def test_missing_returns_are_left_out_and_said():
    held = POINTS.copy()
    held[0, 1], held[2, 3], held[4, 0] = np.nan, (1, np.inf, 1), 0
    cloud = cloud_of(through_cdr(cloud_message(held, types="f8", row_padding=8)))
    keep = np.ones((6, 4), bool)
    keep[[0, 2, 4], [1, 3, 0]] = False
    np.testing.assert_array_equal(cloud.points, held[keep])
    assert cloud.loss == "3 of 24 rows are missing returns (0 0 0 or NaN or infinite), left out"
    assert cloud.dropped == 3


def test_a_message_of_rclpy_has_its_bytes_in_an_array():
    """rclpy gives ``array.array`` for ``uint8[]``."""
    message = cloud_message(POINTS, types="f8")
    message.data = array("B", message.data.tobytes())
    np.testing.assert_array_equal(cloud_of(message).points, POINTS.reshape(-1, 3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fields": []}, "c: the point cloud has no field x, y, z (its fields: none)"),
        ({"data": np.zeros(100, np.uint8)}, "c: the data are damaged: 100 bytes for 6 rows of 48"),
        ({"row_step": 47}, "c: the data are damaged: 288 bytes for 6 rows of 48"),
        ({"point_step": 11}, "c: the fields of the point cloud are damaged: x, y or z lies in no point"),
        ({"height": 0}, "c: the point cloud has no points"),
        ({"width": 0, "row_step": 0}, "c: the point cloud has no points"),
        ({"data": np.full(288, 255, np.uint8)}, "c has no points: all 24 rows are missing returns"),
    ],
)
def test_damaged_clouds_are_refused(change, said):
    message = replace(cloud_message(POINTS), **change)
    with pytest.raises(InputError) as caught:
        cloud_of(message, "c")
    assert str(caught.value).startswith(said)


def test_unknown_types_of_fields_are_refused():
    message = cloud_message(POINTS)
    message.fields[1].datatype = 9
    with pytest.raises(InputError, match="x, y or z lies in no point"):
        cloud_of(message)


@pytest.mark.parametrize(
    ("kind", "encoding", "what"),
    [
        ("u2", "16UC1", "depth"), ("u2", "mono16", "depth"), ("f4", "32FC1", "depth"),
        ("u1", "mono8", "mask"), ("u1", "8UC1", "mask"), ("u2", "mono16", "mask"), ("u2", "16UC1", "mask"),
        ("i4", "32SC1", "mask"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("big", [False, True])
def test_images_are_read(kind, encoding, what, big):
    image = np.random.default_rng(1).integers(0, 250, (5, 7)).astype(kind)
    found = image_of(through_cdr(image_message(image, encoding, big=big, padding=3)), what)
    np.testing.assert_array_equal(found, image)
    assert found.dtype == image.dtype


@pytest.mark.parametrize(("encoding", "what"), [("rgb8", "depth"), ("mono8", "depth"), ("32FC1", "mask")])
def test_other_encodings_are_refused(encoding, what):
    message = image_message(np.zeros((5, 7), np.uint8), encoding)
    with pytest.raises(
        InputError, match=f"i: the encoding '{encoding}' cannot be used for a {what} image; use "
    ):
        image_of(message, what, "i")


def test_an_image_that_is_cut_short_is_refused():
    message = image_message(np.zeros((5, 7), np.uint16), "16UC1")
    with pytest.raises(InputError, match="i: the data are damaged: 69 bytes for 5 rows of 14"):
        image_of(replace(message, data=message.data[:-1]), "depth", "i")


def png(image: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


DEPTH = np.random.default_rng(2).integers(0, 3000, (5, 7)).astype(np.uint16)


@pytest.mark.parametrize(
    ("content", "how", "what", "expected"),
    [
        (png(DEPTH), "16UC1; png compressed ", "depth", DEPTH),
        (png(DEPTH), "png", "depth", DEPTH),
        (bytes(12) + png(DEPTH), "16UC1; compressedDepth png", "depth", DEPTH),
        (png(DEPTH.astype(np.uint8)), "mono8; png compressed ", "mask", DEPTH.astype(np.uint8)),
    ],
)
def test_compressed_images_are_read(content, how, what, expected):
    np.testing.assert_array_equal(image_of(through_cdr(compressed_message(content, how)), what), expected)


@pytest.mark.parametrize(
    ("content", "how", "said"),
    [
        (
            b"\xff\xd8\xff\xe0" + bytes(50),
            "jpeg",
            "i: the compression 'jpeg' cannot be read; of a depth it must",
        ),
        (
            bytes(40),
            "16UC1; compressedDepth rvl",
            "i: the compression '16UC1; compressedDepth rvl' cannot be",
        ),
        (bytes(12) + png(DEPTH), "32FC1; compressedDepth png", "cannot be read; record the image itself"),
        (png(DEPTH)[:60], "png", "i: the compressed image is damaged"),
        (
            png(DEPTH.astype(np.uint8)),
            "png",
            "i: a picture of 8 bits (mode L), and a depth image has one channel",
        ),
    ],
)
def test_other_compressions_are_refused(content, how, said):
    with pytest.raises(InputError) as caught:
        image_of(compressed_message(content, how), "depth", "i")
    assert said in str(caught.value)


@pytest.mark.parametrize("distortion", [0.0, 0.1])
def test_a_camera_is_that_of_the_file_of_the_same_message(tmp_path, distortion):
    message = through_cdr(camera_message(Intrinsics(262.5, 260, 159.5, 119.5), (240, 320), d=distortion))
    file = tmp_path / "camera.yaml"
    file.write_text(yaml.safe_dump(plain(message)))
    found = camera_of(message)
    assert found == read_camera(file)
    assert (found.size, found.distorted) == ((320, 240), distortion != 0)


def test_a_camera_that_is_not_calibrated_is_refused():
    message = camera_message(Intrinsics(9, 9, 2, 2), (4, 4))
    assert camera_of(replace(message, k=np.zeros(9))).intrinsics == Intrinsics(9, 9, 2, 2), "P says it"
    with pytest.raises(InputError, match=r"^/info: K and P are 0, so the camera is not calibrated"):
        camera_of(replace(message, k=np.zeros(9), p=np.zeros(12)), "/info")


@pytest.fixture(scope="module")
def prediction():
    scan = simulate(3)
    flange = make_frame(np.eye(4), "flange")
    return load_predictor("pretrained").predict(scan.points, sensor=scan.sensor).moved(flange)


STAMP = SimpleNamespace(sec=12, nanosec=345)


def test_an_answer_says_the_numbers_of_the_prediction(prediction):
    payload = prediction.payload(0.4)
    fields = answer_fields(prediction, STAMP, payload, number=3)
    assert list(fields) == [POINT, MARKER, INERTIA]
    for held in fields.values():
        assert held["header"] == {"stamp": {"sec": 12, "nanosec": 345}, "frame_id": "flange"}
    com = dict(zip("xyz", prediction.com.tolist(), strict=True))
    assert fields[POINT]["point"] == com
    assert fields[MARKER]["pose"]["position"] == com
    assert (fields[MARKER]["id"], fields[MARKER]["type"]) == (3, 2)
    held = fields[INERTIA]["inertia"]
    assert (held["m"], held["com"], held["ixy"]) == (0.4, com, payload.inertia[0, 1])


def test_the_yaml_has_the_same_fields(prediction):
    """All but the stamp, which a file does not have."""
    payload = prediction.payload(0.4)
    fields = answer_fields(prediction, None, payload)
    documents = list(yaml.safe_load_all(ros.write(payload)))
    assert documents == [fields[INERTIA], fields[POINT], fields[MARKER]]
    stamped = answer_fields(prediction, STAMP, payload)
    assert {kind: held | {"header": {"frame_id": "flange"}} for kind, held in stamped.items()} == fields


def test_without_a_covariance_the_marker_is_a_ball_and_without_a_radius_a_dot(prediction):
    ball = answer_fields(replace(prediction, covariance=None))[MARKER]
    assert ball["scale"] == dict.fromkeys("xyz", 2 * prediction.radius_90)
    assert ball["pose"]["orientation"] == {"x": 0, "y": 0, "z": 0, "w": 1}
    dot = answer_fields(replace(prediction, covariance=None, radius_90=None))[MARKER]
    assert dot["scale"] == dict.fromkeys("xyz", 0.01)


def test_there_is_no_inertia_without_a_payload_that_has_one(prediction):
    assert list(answer_fields(prediction)) == [POINT, MARKER]
    without = replace(prediction, inertia=None)
    assert list(answer_fields(without, None, without.payload(0.4))) == [POINT, MARKER]


def test_a_message_is_filled_and_keeps_what_is_not_named():
    message = cloud_message(POINTS)
    filled = fill(message, {"header": {"stamp": {"sec": 5}}, "width": 3})
    assert filled is message
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (5, START % 10**9)
    assert (message.width, message.height) == (3, 6)
    with pytest.raises(AttributeError):
        fill(message, {"widht": 3})


def test_messages_that_are_read_are_the_same_in_every_distribution():
    from rosbags.typesys import Stores, get_typestore

    read = ("PointCloud2", "Image", "CompressedImage", "CameraInfo")
    for store in Stores:
        if store.name.startswith("ROS2"):
            other = get_typestore(store)
            for name in read:
                kind = f"sensor_msgs/msg/{name}"
                assert other.hash_rihs01(kind) == STORE.hash_rihs01(kind)
