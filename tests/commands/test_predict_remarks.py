"""What ``plumbline predict`` says of several objects or messages: once in the terminal, in each JSON line."""

import json

import numpy as np

from plumbline.cli import main
from plumbline.commands import predict as command
from tests.helpers import table_scene as scene
from tests.helpers.depth_files import write_depth, write_mask
from tests.helpers.ros_messages import START, camera_message, image_message, write_bag

STEP = 33_000_000
DEPTH, INFO, MASK = "/camera/depth/image_rect_raw", "/camera/depth/camera_info", "/masks"


def images() -> tuple[np.ndarray, np.ndarray]:
    """Depths in metres and the numbers of the objects, without the table."""
    depth, labels = scene.see_scene()
    return depth, np.where(labels == scene.TABLE, 0, labels)


def test_what_is_said_of_several_messages_is_printed_once(tmp_path, capsys):
    """With the number of the messages; JSON has it in each line."""
    metres, labels = images()
    depth = (1000 * np.nan_to_num(metres)).round().astype(np.uint16)
    shapes = (np.where(labels == scene.BOX, 0, depth), depth, np.where(labels == scene.BOX, 0, depth))
    messages = []
    for i, shape in enumerate(shapes):
        at, mask = START + i * STEP, labels.copy()
        mask[: 90 + 5 * i] = 7
        far = np.where(mask == 7, 2000, shape).astype(np.uint16)
        messages += [
            (DEPTH, at + 5, image_message(far, "16UC1", stamp=at)),
            (INFO, at + 6, camera_message(scene.CAMERA._replace(fx=100.0), depth.shape, stamp=at)),
            (MASK, at + 7, image_message(mask.astype(np.uint8), "mono8", stamp=at)),
        ]
    bag = write_bag(tmp_path / "rec", messages)
    argv = ["predict", "--bag", str(bag), "--mask_topic", MASK, "--model", "convex_hull"]
    assert main(argv) == 1
    lines = capsys.readouterr().err.splitlines()
    square = "the focal lengths 100 and 262.5 differ by more than 20 %"
    first = f"{bag}, {DEPTH} at {START // 10**9}.{START % 10**9:09d}"
    said = [f"error: {bag}, object {scene.BOX}: no pixel of the object has a depth; "]
    said += [f"warning: {bag}, object {number}: {square}" for number in (7, scene.CAN)]
    for start in said:
        (line,) = (line for line in lines if line.startswith(start))
        assert line.endswith(f" (in {2 if 'error' in start else 3} of 3 messages)")
    (line,) = (line for line in lines if line.startswith(f"warning: {bag}, object 7: the mask covers "))
    assert line.endswith(" (in 3 of 3 messages, with other numbers)")
    (line,) = (line for line in lines if f"object {scene.BOX}: {square}" in line)
    assert line.startswith(f"warning: {first.replace('.123', '.156')}"), "a single one names its message"
    assert main([*argv, "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [sum(square in one for one in line.get("warnings", ())) for line in found] == [
        1,
        0,
        1,
        1,
        1,
        1,
        1,
        0,
        1,
    ]


def test_what_is_said_of_several_objects_is_printed_once(tmp_path, capsys):
    depth, labels = images()
    image, mask = write_depth(tmp_path / "d.png", depth), write_mask(tmp_path / "m.png", labels)
    argv = ["predict", "--depth", str(image), "--mask", str(mask), "--intrinsics", "100,262.5,159.5,119.5"]
    assert main([*argv, "--model", "convex_hull"]) == 0
    lines = capsys.readouterr().err.splitlines()
    both = f"warning: {image}, objects {scene.BOX}, {scene.CAN}: the focal lengths 100 and 262.5 differ"
    assert [line.startswith(both) for line in lines if "focal" in line] == [True]


def test_sentences_with_other_numbers_are_told_from_other_sentences():
    """A plane is written in several ways."""
    said = ("table -0.1,1.2e-05,0.5,3,000 found", "table 1e+20,-0.7,-0.5,-2 found", "table 7,7,7,7 found")
    assert {command._NUMBERS.sub("#", text) for text in said} == {"table # found"}
    assert command._NUMBERS.sub("#", "no 5, no table") == "no # no table"
