"""What cannot be meant or read with ``plumbline predict --bag`` is refused in one sentence."""

import sys
from functools import partial

import numpy as np
import pytest

from tests.helpers import refusals
from tests.helpers import table_scene as scene
from tests.helpers.ros_messages import (
    START,
    camera_message,
    cloud_message,
    compressed_message,
    image_message,
    write_bag,
)

CARVE = ("--model", "carve")
POINTS = np.random.default_rng(0).normal(size=(40, 3)) * 0.1 + (0, 0, 1)
CLOUD = ("/points", START, cloud_message(POINTS))
SHAPE = (scene.ROWS, scene.COLUMNS)
IMAGE = np.full(SHAPE, 800, np.uint16)
DEPTH = ("/depth/image", START, image_message(IMAGE, "16UC1"))
INFO = ("/depth/camera_info", START, camera_message(scene.CAMERA, SHAPE))
TWO = [("/a/camera_info", *INFO[1:]), ("/b/camera_info", *INFO[1:])]
FAR = ("/depth/image", START, image_message(IMAGE.astype(np.float32), "32FC1"))
YUV = ("/depth/image", START, image_message(IMAGE, "yuv422"))
JPEG = ("/depth/image", START, compressed_message(b"\xff\xd8\xff", "jpeg"))
LARGE = (INFO[0], START, camera_message(scene.CAMERA, (480, 640)))
BROKEN = (INFO[0], START, camera_message(scene.CAMERA._replace(fx=0), SHAPE))
OF_IMAGES, OF_MASKS = ["--topic", "/depth/image"], ["--mask_topic", "/mask"]
LATE = START + 21_000_000


def masked(encoding="mono8", *, stamp=START, value=1):
    """A depth image, its camera and a mask of one number."""
    mask = image_message(np.full(SHAPE, value, np.uint8), encoding, stamp=stamp)
    return [DEPTH, INFO, ("/mask", START, mask)]


@pytest.fixture
def refused(capsys):
    return partial(refusals.refused, capsys, "predict")


@pytest.mark.parametrize(
    ("messages", "flags", "said"),
    [
        ([CLOUD], ["--topic", "/nothing"], "{} has no topic /nothing; its topics: /points (Po"),
        ([CLOUD], ["--topic", "/empty"], "{}: there is no message on /empty; choose another topic\n"),
        ([CLOUD, DEPTH], [], "{} has 2 topics with clouds or depth images; choose one with --topic: /d"),
        (masked()[1:], [], "{} has no topic with clouds or depth images; its topics: /depth/camera_info (C"),
        ([INFO], ["--topic", INFO[0]], "/depth/camera_info has messages of sensor_msgs/msg/Ca"),
        ([DEPTH], [], "{} has no topic of CameraInfo, which depth images on /depth/image need: give --intr"),
        ([DEPTH, *TWO], [], "{} has 2 topics of CameraInfo; choose that of /depth/image with --intri"),
        ([DEPTH, INFO], ["--intrinsics_topic", "/depth/image"], "a topic of CameraInfo is needed"),
        ([DEPTH, INFO], ["--mask_topic", INFO[0]], "a topic of Image or CompressedImage is needed here\n"),
        (masked(stamp=LATE), OF_MASKS, "{}: no message on /mask has a stamp within 20 ms of one on /depth"),
        (masked(stamp=0), OF_MASKS, "{}: a message on /mask has no stamp, by which it is matched; record"),
        (masked(value=0), OF_MASKS, "the mask is empty, 0 everywhere"),
        (masked("rgb8"), OF_MASKS, "the encoding 'rgb8' cannot be used for a mask image; use mono8, 8UC1"),
        ([FAR, *masked()[1:]], OF_MASKS, "half of the depths are beyond 800 m; set --depth_scale"),
        ([YUV, INFO], OF_IMAGES, "the encoding 'yuv422' cannot be used for a depth image; use 16UC1, mono16"),
        ([JPEG, INFO], OF_IMAGES, "the compression 'jpeg' cannot be read; of a depth it must be PNG\n"),
        ([DEPTH, LARGE], [], f"--intrinsics_topic {INFO[0]} is for images of 640 x 480 pixels, and"),
        ([DEPTH, BROKEN], [], "{}, /depth/camera_info: focal lengths of 0 and 262.5"),
        ([DEPTH, INFO], ["--sensor", "1,2,3"], "--sensor is for clouds, and /depth/image has depth"),
        ([DEPTH, INFO], ["--scale", "0.1"], "--scale is for clouds, and /depth/image has depth images;"),
        ([CLOUD], ["--mask_topic", "/points"], "--mask_topic belongs to depth images, and /points"),
        ([CLOUD], ["--table", "auto"], "--table auto belongs to depth images, and /points has clouds;"),
        ([CLOUD], ["--intrinsics", "9,9,2,2"], "--intrinsics belongs to depth images, and /points"),
    ],
)  # fmt: skip
def test_what_the_bag_does_not_hold_is_one_sentence(refused, tmp_path, messages, flags, said):
    bag = write_bag(tmp_path / "rec", messages, empty=["/empty"] if "/empty" in flags else [])
    assert said.format(bag) in refused("--bag", bag, *flags, *CARVE)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["scan.ply", "--bag", "rec"], "--bag holds the scans: leave out the files and --depth"),
        (["--bag", "rec", "--depth", "d.png"], "--bag holds the scans: leave out"),
        (["--bag", "rec", "--mask", "m.png"], "--mask is a file; name the topic of the masks in"),
        (["--bag", "rec", "--poses", "p.json"], "--poses describes a depth image: give one with"),
        (["--bag", "rec", "--write_cleaned", "o"], "--write_cleaned writes objects of a depth"),
        (["--bag", "rec", "--intrinsics", "a", "b"], "--intrinsics: a bag has depth images of one camera;"),
        (["--bag", "rec", "--intrinsics", "a", "--intrinsics_topic", "/b"], "--intrinsics and --intrins"),
        (["scan.ply", "--topic", "/a"], "--topic belongs to a bag of ROS: give one with --bag"),
        (["scan.ply", "--mask_topic", "/a"], "--mask_topic belongs to a bag of ROS"),
        (["scan.ply", "--intrinsics_topic", "/a"], "--intrinsics_topic belongs to a bag of ROS"),
        (["scan.ply", "--bag_out", "a"], "--bag_out belongs to a bag of ROS"),
        (["--bag", "nowhere"], "nowhere does not exist; give the folder of a bag, or its .db3 or .mcap file"),
    ],
)  # fmt: skip
def test_flags_that_cannot_be_meant(refused, flags, said):
    assert said in refused(*flags, *CARVE)


@pytest.mark.parametrize("form", ["db3", "mcap"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("part", ["folder", "file"])
def test_a_bag_that_is_cut_short(refused, tmp_path, form, share, part):
    """SQLite itself takes a file without the end of its last page for one with zeros there."""
    bag = write_bag(tmp_path / "rec", [CLOUD] * 200, form)
    (file,) = bag.glob(f"*.{form}")
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    said = refused("--bag", bag if part == "folder" else file, *CARVE)
    if form == "db3" and share:
        part = f"{int(share * len(content)):,} of {len(content):,} bytes are there; copy it again"
        assert said == f"error: {file} is cut short: {part}\n"
    else:
        assert "cannot be read: it is damaged, cut short, or not a ROS 2 bag; if the recording was" in said


def test_a_recording_that_was_not_closed(refused, tmp_path):
    bag = write_bag(tmp_path / "rec", [CLOUD])
    (bag / "rec.db3-wal").write_bytes(b"more messages")
    assert f"{bag / 'rec.db3'} was not closed, and rec.db3-wal holds a part" in refused("--bag", bag, *CARVE)


def test_messages_that_the_metadata_promise_are_missed(refused, tmp_path):
    bag = write_bag(tmp_path / "rec", [CLOUD] * 3)
    meta = bag / "metadata.yaml"
    meta.write_text(meta.read_text().replace("message_count: 3", "message_count: 5"))
    assert f"{bag} is cut short: only 3 of 5 messages on /points are in it\n" in refused("--bag", bag, *CARVE)


@pytest.mark.parametrize("content", ["", "[", "a: 1", "rosbag2_bagfile_information: 3"])
def test_metadata_that_cannot_be_read(refused, tmp_path, content):
    bag = write_bag(tmp_path / "rec", [CLOUD])
    (bag / "metadata.yaml").write_text(content)
    assert f"{bag} cannot be read: it is damaged" in refused("--bag", bag, *CARVE)


def test_what_is_no_bag(refused, tmp_path):
    bag = write_bag(tmp_path / "rec", [CLOUD])
    (bag / "metadata.yaml").unlink()
    file = bag / "rec.db3"
    assert refused("--bag", bag, *CARVE) == (
        f"error: {bag}: there is no metadata.yaml in this folder; give {file} or run ros2 bag reindex\n"
    )
    file.unlink()
    assert "there is no metadata.yaml in this folder; give the folder of a bag" in refused(
        "--bag", bag, *CARVE
    )
    for name, said in {
        "old.bag": "is a bag of ROS 1; convert it: rosbags-convert",
        "a.ply": "is not a ROS 2 bag",
    }.items():
        (tmp_path / name).write_text("x")
        assert said in refused("--bag", tmp_path / name, *CARVE)


def test_an_existing_bag_is_not_written_over(refused, tmp_path):
    bag = write_bag(tmp_path / "rec", [CLOUD])
    before = {file: file.read_bytes() for file in bag.iterdir()}
    said = refused("--bag", bag, "--bag_out", bag, *CARVE)
    assert said == f"error: {bag} exists: a bag is never written over; choose another name\n"
    assert {file: file.read_bytes() for file in bag.iterdir()} == before


@pytest.mark.parametrize("form", ["db3", "mcap"])
def test_no_file_of_the_bag_is_written_over(refused, tmp_path, form):
    bag = write_bag(tmp_path / "rec", [CLOUD], form)
    before = {file: file.read_bytes() for file in bag.iterdir()}
    assert len(before) == 2
    for number, file in enumerate(before):
        same = tmp_path / f"{number}.jsonl"
        same.hardlink_to(file)
        said = refused("--bag", bag, "--out", same, *CARVE)
        assert said == f"error: --out {same}: this is one of the files that are read; choose another name\n"
    assert {file: file.read_bytes() for file in bag.iterdir()} == before


def test_without_rosbags_it_is_named_with_what_installs_it(refused, tmp_path, monkeypatch):
    bag = write_bag(tmp_path / "rec", [CLOUD])
    for name in [name for name in sys.modules if name.split(".")[0] == "rosbags"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rosbags", None)
    assert refused("--bag", bag, *CARVE) == (
        "error: reading bags of ROS needs rosbags: pip install rosbags\n"
    )
