"""``plumbline predict --bag``: answers for the messages of a bag of ROS 2, and a bag of the answers."""

import json
from functools import partial

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.geometry.depth_images import depth_to_clouds
from plumbline.payload.forms.ros import INERTIA, MARKER, POINT
from plumbline.predictors.predictor import load_predictor
from tests.helpers import scanned
from tests.helpers import table_scene as scene
from tests.helpers.ros_messages import (
    FORMS,
    START,
    camera_message,
    cloud_message,
    image_message,
    plain,
    read_bag,
    write_bag,
)
from tests.helpers.scanned import simulate

SHIPPED = ("--checkpoint", "pretrained")
FRAME = "camera_depth_optical_frame"
STEP = 33_000_000
DEPTH, INFO, MASK = "/camera/depth/image_rect_raw", "/camera/depth/camera_info", "/masks"


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


def seen(number: int) -> np.ndarray:
    """What a sensor at the origin sees of an object, from one side."""
    scan = simulate(number)
    first = (scan.sensor == scan.sensor[0]).all(axis=1)
    return (scan.points - scan.sensor[0])[first].astype(np.float32).astype(float)


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def clouds(tmp_path, form):
    """Two clouds, one of them organised with pixels that saw nothing."""
    first, second = seen(3), seen(4)
    organised = np.full((2, len(second), 3), np.nan)
    organised[1] = second
    messages = [
        ("/object/points", START + 5, cloud_message(first)),
        ("/object/points", START + STEP + 5, cloud_message(organised, stamp=START + STEP, row_padding=6)),
    ]
    return write_bag(tmp_path / "rec", messages, form)


@pytest.fixture(scope="module")
def images():
    depth, labels = scene.see_scene()
    return (1000 * np.nan_to_num(depth)).round().astype(np.uint16), np.where(labels == scene.TABLE, 0, labels)


def recorded(images, count=3, masks=(0, 2), late=0):
    """A recording of depth images; some have a mask, whose stamp is ``late`` nanoseconds later."""
    depth, labels = images
    messages = []
    for i in range(count):
        at = START + i * STEP
        messages += [
            (DEPTH, at + 5, image_message(depth, "16UC1", stamp=at)),
            (INFO, at + 6, camera_message(scene.CAMERA, depth.shape, stamp=at)),
        ]
        if i in masks:
            mask = image_message(labels.astype(np.uint8), "mono8", stamp=at + late)
            messages.append((MASK, at + 7, mask))
    return messages


def stamp(number: int) -> dict[str, int]:
    at = START + number * STEP
    return {"sec": at // 10**9, "nanosec": at % 10**9}


def test_each_cloud_is_answered_with_the_prediction_of_its_points(ask, clouds, form):
    (file,) = clouds.glob(f"*.{form}")
    for path in (clouds, file):
        code, lines, err = ask("--bag", path, *SHIPPED)
        assert code == 0
        assert [(line["file"], line["topic"], line["stamp"]) for line in lines] == [
            (str(path), "/object/points", stamp(0)), (str(path), "/object/points", stamp(1))
        ]  # fmt: skip
        expected = load_predictor().predict_many([seen(3), seen(4)])
        for line, prediction in zip(lines, expected, strict=True):
            for name, value in prediction.to_dict().items():
                if name not in ("unit", "notes"):
                    assert line[name] == value, name
            assert (line["unit"], line["frame"]) == ("metres", FRAME)
            assert line["sensor"] == "assumed at the origin"
        missing = len(seen(4))
        assert lines[1]["notes"] == [
            f"{missing} of {2 * missing} rows are missing returns (NaN or infinite), left out"
        ]
        assert err == (
            "note: 2 messages do not say where the sensor stood: it is assumed at 0,0,0, the origin of the "
            "frame of each (give --sensor x,y,z if it stood elsewhere)\n"
        )


def test_the_objects_of_masks_are_answered_and_images_without_one_are_left_out(ask, tmp_path, images, form):
    bag = write_bag(tmp_path / "rec", recorded(images, late=15_000_000), form)
    code, lines, err = ask("--bag", bag, "--mask_topic", MASK, *SHIPPED)
    assert code == 0
    assert [(line["stamp"], line["object"]) for line in lines] == [
        (stamp(i), number) for i in (0, 2) for number in (scene.BOX, scene.CAN)
    ]
    assert err == (
        f"note: {bag}: 1 of 3 messages on {DEPTH} left out: no message on {MASK} has their stamp, "
        "within 20 ms\n"
    )
    depth, labels = images
    expected = load_predictor().predict_many(depth_to_clouds(depth, scene.CAMERA, labels).values())
    for line, prediction in zip(lines[2:], expected, strict=True):
        assert (line["com"], line["covariance"]) == (prediction.com.tolist(), prediction.covariance.tolist())
        assert (line["sensor"], line["frame"], line["topic"]) == ("the camera", FRAME, DEPTH)


def test_an_object_that_is_the_only_one_of_all_masks_has_no_number(ask, tmp_path, images):
    depth, labels = images
    one = recorded((depth, 255 * (labels == scene.BOX)), 2, (0, 1))
    bag = write_bag(tmp_path / "one", one)
    hull = ("--mask_topic", MASK, "--model", "convex_hull")
    code, lines, _ = ask("--bag", bag, *hull, "--bag_out", tmp_path / "out")
    assert code == 0
    assert [(line["stamp"], line.get("object")) for line in lines] == [(stamp(0), None), (stamp(1), None)]
    assert {topic for topic, *_ in read_bag(tmp_path / "out")} == {
        "/plumbline/centre_of_mass", "/plumbline/marker"
    }  # fmt: skip
    both = recorded((depth, labels), 1, (0,))
    others = [message for message in one if message[1] > START + STEP]
    _, known, _ = ask("--bag", write_bag(tmp_path / "both", [*both, *others]), *hull)
    assert [(line["stamp"], line["object"]) for line in known] == [
        (stamp(0), scene.BOX), (stamp(0), scene.CAN), (stamp(1), 255)
    ]  # fmt: skip
    assert lines[1]["com"] == known[2]["com"] == known[0]["com"]


def test_masks_that_are_not_asked_for_are_pointed_to(ask, tmp_path, images):
    depth, labels = images
    grey = np.random.default_rng(0).integers(0, 256, depth.shape).astype(np.uint8)
    infrared = ("/camera/infra/image", START + 8, image_message(grey, "mono8"))
    bag = write_bag(tmp_path / "rec", [*recorded(images, 1, (0,)), infrared])
    hull = ("--model", "convex_hull")
    said = f"note: {bag}: no masks are used, and {MASK} seems to hold some: give --mask_topic {MASK}\n"
    code, _, err = ask("--bag", bag, *hull)
    assert (code, err) == (0, said)
    for known in (("--mask_topic", MASK), ("--table", "auto")):
        code, _, err = ask("--bag", bag, *hull, *known)
        assert (code, err) == (0, "")
    wide = ("/masks", START + 9, image_message(labels.astype(np.uint16), "16UC1"))
    bag = write_bag(tmp_path / "wide", [*recorded(images, 1, ()), wide])
    code, _, err = ask("--bag", bag, *hull)
    assert code == 2
    assert err == (
        f"error: {bag} has 2 topics with clouds or depth images; choose one with --topic, and masks with "
        f"--mask_topic /masks: {DEPTH} (Image), /masks (Image)\n"
    )


def test_masks_that_were_recorded_at_once_are_told_apart(ask, tmp_path, images, form):
    _, labels = images
    masks = [
        image_message(np.where(labels == number, number, 0).astype(np.uint8), "mono8", stamp=START + i * STEP)
        for i, number in enumerate((scene.BOX, scene.CAN))
    ]
    late = START + 10 * STEP
    messages = [*recorded(images, 2, ()), *((MASK, late, mask) for mask in masks)]
    bag = write_bag(tmp_path / "rec", messages, form)
    code, lines, err = ask("--bag", bag, "--mask_topic", MASK, "--model", "convex_hull")
    assert (code, err) == (0, "")
    found = [(line["stamp"], line["object"]) for line in lines]
    assert found == [(stamp(0), scene.BOX), (stamp(1), scene.CAN)]


def test_the_same_depth_image_in_metres_has_the_same_answer(ask, tmp_path, images):
    depth, labels = images
    millimetres = write_bag(tmp_path / "mm", recorded(images, 1, (0,)))
    messages = [
        (DEPTH, START, image_message((depth / 1000).astype(np.float32), "32FC1", big=True, padding=12)),
        (INFO, START, camera_message(scene.CAMERA, depth.shape)),
        (MASK, START, image_message(labels.astype(np.uint16), "mono16", big=True)),
    ]
    metres = write_bag(tmp_path / "m", messages, "mcap")
    _, first, _ = ask("--bag", millimetres, "--mask_topic", MASK, *SHIPPED)
    code, second, _ = ask("--bag", metres, "--mask_topic", MASK, *SHIPPED)
    assert code == 0
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one["com"], other["com"], atol=1e-5)
    _, scaled, _ = ask("--bag", millimetres, "--mask_topic", MASK, "--depth_scale", 0.002, *SHIPPED)
    np.testing.assert_allclose(scaled[0]["com"], 2 * np.array(first[0]["com"]), rtol=1e-3)


def test_without_a_mask_objects_on_the_table_are_found_or_the_whole_image_is_one(
    ask, tmp_path, images, capsys
):
    bag = write_bag(tmp_path / "rec", recorded(images, 2, ()), "mcap")
    code, lines, _ = ask("--bag", bag, "--table", "auto", *SHIPPED)
    assert code == 0
    assert [(line["stamp"], line["object"]) for line in lines] == [
        (stamp(i), n) for i in (0, 1) for n in (1, 2)
    ]
    assert main(["predict", "--bag", str(bag), "--table", "auto", *SHIPPED]) == 0
    said = capsys.readouterr().err.splitlines()
    found = [line for line in said if "--table auto found the table" in line]
    assert [line.endswith(" (in 2 of 2 messages)") for line in found] == [True]
    code, lines, _ = ask("--bag", bag, *SHIPPED)
    assert code == 0
    assert [line["stamp"] for line in lines] == [stamp(0), stamp(1)]
    assert "object" not in lines[0]
    assert lines[0]["notes"] == ["no mask: all pixels with a depth are taken for the object"]


def test_a_camera_that_changes_is_that_of_the_same_moment(ask, tmp_path, images):
    """A zoom: the second image is of a camera with half the focal length, and so of things twice as wide."""
    depth, labels = images
    wide = scene.CAMERA._replace(fx=scene.CAMERA.fx / 2)
    messages = [
        (INFO, START + 1, camera_message(wide, depth.shape, stamp=START + STEP)),
        (INFO, START + 2, camera_message(scene.CAMERA, depth.shape, stamp=START)),
    ]
    for i in range(2):
        at = START + i * STEP
        messages += [
            (DEPTH, at + 5, image_message(depth, "16UC1", stamp=at)),
            (MASK, at + 7, image_message((labels == scene.CAN).astype(np.uint8), "mono8", stamp=at)),
        ]
    bag = write_bag(tmp_path / "rec", messages)
    hull = ("--model", "convex_hull")
    code, (first, second), err = ask("--bag", bag, "--mask_topic", MASK, *hull)
    assert (code, err) == (0, "")
    assert second["com"][0] == pytest.approx(2 * first["com"][0], rel=0.2)
    assert second["com"][1] == pytest.approx(first["com"][1], abs=0.01)
    _, (one, other), _ = ask(
        "--bag", bag, "--mask_topic", MASK, *hull, "--intrinsics=262.5,262.5,159.5,119.5"
    )
    assert one["com"] == first["com"] == other["com"]


def test_the_answers_are_written_into_a_bag_of_the_same_form(ask, clouds, form, tmp_path):
    out = tmp_path / "answers"
    code, lines, err = ask("--bag", clouds, "--mass", 0.4, "--bag_out", out, *SHIPPED)
    assert code == 0
    assert err.splitlines()[-1] == f"bag      {out}"
    assert len(list(out.glob(f"*.{form}"))) == 1
    found = read_bag(out)
    parts = {POINT: "centre_of_mass", MARKER: "marker", INERTIA: "inertia"}
    kinds = [POINT, MARKER, INERTIA]
    assert [(topic, at, message.__msgtype__) for topic, at, message in found] == [
        (f"/plumbline/{parts[kind]}", START + i * STEP + 5, kind) for i in range(2) for kind in kinds
    ]
    for i, line in enumerate(lines):
        point, marker, inertia = (plain(message) for *_, message in found[3 * i : 3 * i + 3])
        for message in (point, marker, inertia):
            assert message["header"] == {"stamp": stamp(i), "frame_id": FRAME}
        com = dict(zip("xyz", line["com"], strict=True))
        assert point["point"] == com
        assert marker["pose"]["position"] == com
        held, tensor = inertia["inertia"], np.array(line["payload"]["inertia"])
        assert (held["m"], held["com"]) == (0.4, com)
        assert [held[name] for name in ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")] == [
            tensor[at] for at in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
        ]
        lengths = np.sqrt(6.251388631170325 * np.linalg.eigvalsh(line["covariance"]))
        np.testing.assert_allclose(list(marker["scale"].values()), 2 * lengths, rtol=1e-9)
        assert (marker["type"], marker["id"], marker["action"]) == (2, 0, 0)
        assert marker["color"]["a"] > 0


def test_objects_have_topics_of_their_own_and_are_moved_with_the_frame(ask, tmp_path, images):
    bag = write_bag(tmp_path / "rec", recorded(images, 1, (0,)))
    flange = tmp_path / "T.json"
    matrix = np.eye(4)
    matrix[:3, 3] = 0.1, 0.2, 0.3
    flange.write_text(json.dumps({"frame": "tool0", "matrix": matrix.tolist()}))
    code, lines, _ = ask(
        "--bag", bag, "--mask_topic", MASK, "--frame", flange, "--bag_out", tmp_path / "out", *SHIPPED
    )
    assert code == 0
    found = read_bag(tmp_path / "out")
    assert [topic for topic, *_ in found] == [
        f"/plumbline/object_{number}/{part}"
        for number in (scene.BOX, scene.CAN)
        for part in ("centre_of_mass", "marker")
    ]
    for line, (*_, point), (*_, marker) in zip(lines, found[::2], found[1::2], strict=True):
        assert point.header.frame_id == line["frame"] == "tool0"
        assert [point.point.x, point.point.y, point.point.z] == line["com"]
        assert marker.id == line["object"]


def test_a_model_without_inertia_writes_the_rest(ask, clouds, tmp_path):
    code, _, err = ask("--bag", clouds, "--mass", 1, "--bag_out", tmp_path / "out", "--model", "carve")
    assert code == 0
    assert f"note: --bag_out {tmp_path / 'out'} has no inertia: the model predicts none\n" in err
    found = read_bag(tmp_path / "out")
    assert {topic for topic, *_ in found} == {"/plumbline/centre_of_mass", "/plumbline/marker"}
    assert found[1][2].scale.x == 0.01


def test_a_message_that_is_no_scan_does_not_stop_the_others(ask, tmp_path):
    messages = [
        ("/points", START, cloud_message(np.full((3, 3), np.nan))),
        ("/points", START + STEP, cloud_message(seen(3), stamp=START + STEP)),
    ]
    bag = write_bag(tmp_path / "rec", messages)
    code, lines, err = ask("--bag", bag, "--bag_out", tmp_path / "out", *SHIPPED)
    assert code == 1
    name = f"{bag}, /points at {START // 10**9}.{START % 10**9:09d}"
    assert lines[0]["error"] == f"{name} has no points: all 3 rows are missing returns; give another scan"
    assert "com" in lines[1]
    assert [at for _, at, _ in read_bag(tmp_path / "out")] == [START + STEP] * 2
    lost = write_bag(tmp_path / "lost", messages[:1])
    code, _, err = ask("--bag", lost, "--bag_out", tmp_path / "none", *SHIPPED)
    assert code == 2
    assert f"note: --bag_out {tmp_path / 'none'} is not written: no message has an answer\n" in err
    assert not (tmp_path / "none").exists()


def test_one_cloud_has_forms_and_a_sensor_of_its_own(ask, tmp_path, capsys):
    bag = write_bag(tmp_path / "rec", [("/points", START, cloud_message(seen(3)))])
    _, (line,), _ = ask("--bag", bag, "--sensor", "0.1,0.1,0.1", "--mass", 0.4, *SHIPPED)
    assert line["sensor"] == "given"
    assert main(["predict", "--bag", str(bag), "--mass", "0.4", "--format", "ros", *SHIPPED]) == 0
    assert f'frame_id: "{FRAME}"' in capsys.readouterr().out
    _, (metres,), _ = ask("--bag", bag, *SHIPPED)
    small = write_bag(tmp_path / "mm", [("/points", START, cloud_message(1000 * seen(3), types="f8"))])
    _, (scaled,), _ = ask("--bag", small, "--scale", 0.001, *SHIPPED)
    np.testing.assert_allclose(scaled["com"], metres["com"], rtol=1e-6)


def test_the_table_has_a_column_of_stamps(clouds, capsys):
    assert main(["predict", "--bag", str(clouds), *SHIPPED]) == 0
    out = capsys.readouterr().out
    assert f"in metres, in the frame {FRAME}" in out
    rows = [line.split()[:2] for line in out.splitlines() if line.startswith(str(clouds))]
    assert rows == [[str(clouds), f"{at // 10**9}.{at % 10**9:09d}"] for at in (START, START + STEP)]
