"""``plumbline predict`` with a mask of instance numbers: an answer for each object of a depth image."""

from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from PIL import Image

from plumbline.cli import main
from plumbline.payload.forms.ros import Stamp
from plumbline.predictors.prediction_table import MessageName, ScanName
from tests.helpers import scanned
from tests.helpers import table_scene as scene
from tests.helpers.depth_files import write_camera, write_depth, write_mask

HULL = ("--model", "convex_hull")


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


@pytest.fixture(scope="module")
def seen():
    depth, labels = scene.see_scene()
    return depth, np.where(labels == scene.TABLE, 0, labels)


def words(folder, depth, mask):
    write_depth(folder / "d.png", depth)
    write_mask(folder / "m.png", mask)
    write_camera(folder / "K.json", scene.CAMERA, width=scene.COLUMNS, height=scene.ROWS)
    names = {"depth": "d.png", "intrinsics": "K.json", "mask": "m.png"}
    return [word for flag, name in names.items() for word in (f"--{flag}", str(folder / name))]


def test_each_object_is_answered_as_with_a_mask_of_it_alone(seen, ask, tmp_path, capsys):
    depth, labels = seen
    code, lines, err = ask(*words(tmp_path, depth, labels), *HULL)
    assert (code, err) == (0, "")
    assert [(line["file"], line["object"]) for line in lines] == [
        (str(tmp_path / "d.png"), scene.BOX), (str(tmp_path / "d.png"), scene.CAN)
    ]  # fmt: skip
    for line in lines:
        code, (alone,), _ = ask(*words(tmp_path, depth, labels == line["object"]), *HULL)
        assert alone | {"object": line["object"]} == line
    assert main(["predict", *words(tmp_path, depth, labels), *HULL]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "d.png" in line]
    assert [row[1] for row in rows] == [str(scene.BOX), str(scene.CAN)]


@pytest.mark.parametrize("number", [1, 255])
def test_one_object_has_no_number(seen, ask, tmp_path, capsys, number):
    """Which is 255 in usual masks."""
    depth, labels = seen
    argv = [*words(tmp_path, depth, number * (labels == scene.BOX)), *HULL]
    code, (line,), _ = ask(*argv, "--write_cleaned", tmp_path / "cleaned")
    assert code == 0
    assert "object" not in line
    assert [path.name for path in (tmp_path / "cleaned").iterdir()] == ["d.ply"]
    code, (found,), _ = ask(*argv, "--table", "auto")
    assert "object" not in found
    assert main(["predict", *argv]) == 0
    assert "object" not in capsys.readouterr().out.splitlines()[0].split()
    argv = words(tmp_path, np.where(labels == scene.BOX, np.nan, depth), number * (labels == scene.BOX))
    _, (line,), _ = ask(*argv, *HULL)
    assert line == {"file": str(tmp_path / "d.png"), "error": line["error"]}


def test_an_object_without_a_depth_does_not_stop_the_others(seen, ask, tmp_path, capsys):
    depth, labels = seen
    argv = words(tmp_path, np.where(labels == scene.BOX, np.nan, depth), labels)
    code, (box, can), _ = ask(*argv, *HULL)
    assert code == 1
    said = box["error"]
    assert said.startswith(f"{tmp_path / 'd.png'}, object {scene.BOX}: no pixel of the object has a depth; ")
    assert box == {"file": str(tmp_path / "d.png"), "object": scene.BOX, "error": said}
    assert "com" in can
    assert main(["predict", *argv, *HULL]) == 1
    assert capsys.readouterr().err == f"error: {said}\n"


def test_a_note_of_the_image_is_printed_once_and_a_warning_names_its_object(seen, tmp_path, capsys):
    depth, labels = (one.copy() for one in seen)
    argv = words(tmp_path, depth, labels)
    (tmp_path / "K.json").write_text(
        '{"cam_K": [262.5, 0, 159.5, 0, 262.5, 119.5, 0, 0, 1], "depth_scale": 1.0}'
    )
    labels[0, :] = 7
    write_mask(tmp_path / "m.png", labels)
    depth[0, :] = 1.0
    write_depth(tmp_path / "d.png", depth)
    assert main(["predict", *argv, *HULL]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        f"note: {tmp_path / 'd.png'}: 0.001 metres per unit of the image, as {tmp_path / 'K.json'} says"
    )
    assert len([line for line in lines if line.startswith("note")]) == 1
    assert [line for line in lines if line.startswith(f"warning: {tmp_path / 'd.png'}, object 7: ")]


@pytest.mark.parametrize(("change", "said"), [
    (lambda depth, mask: (depth, 0 * mask), "the mask is empty, 0 everywhere"),
    (lambda depth, mask: (depth, mask[:, 1:]), "the mask [240, 319]; give a mask of the same camera"),
    (lambda depth, mask: (0 * depth, mask), "no pixel of the image has a depth: all are 0 or not finite"),
    (lambda depth, mask: (depth[1:], mask[1:]), "is for images of 320 x 240 pixels, and"),
    (lambda depth, mask: (depth / 1000, mask), "half of the depths are nearer than 1 mm"),
])  # fmt: skip
def test_wrong_input_is_answered_with_one_sentence(seen, tmp_path, capsys, change, said):
    depth, mask = change(*seen)
    assert main(["predict", *words(tmp_path, depth, mask), *HULL]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_intrinsics_with_a_slip_are_told_how_they_are_written(seen, tmp_path, capsys):
    argv = words(tmp_path, *seen)
    argv[argv.index("--intrinsics") + 1] = "600,600,320,abc"
    assert main(["predict", *argv, *HULL]) == 2
    assert capsys.readouterr().err == (
        "error: --intrinsics 600,600,320,abc does not exist; give fx,fy,cx,cy in pixels, such as "
        "600,600,319.5,239.5, or the file of a camera\n"
    )


@pytest.mark.parametrize("flag", ["depth", "intrinsics", "mask"])
def test_a_scan_after_a_flag_that_takes_several_files_is_named(seen, tmp_path, capsys, flag):
    argv = words(tmp_path, *seen)
    at = argv.index(f"--{flag}")
    for given in ([*argv[: at + 2], "scan.ply", *argv[at + 2 :]], [f"--{flag}", "a.png", "scan.ply"]):
        assert main(["predict", *given, *HULL]) == 2
        assert capsys.readouterr().err == (
            f"error: --{flag} scan.ply: this is a scan, and --{flag} takes all files that follow it; name "
            "scans before the flags\n"
        )


def test_intrinsics_as_text_are_those_of_the_file(seen, ask, tmp_path):
    argv = words(tmp_path, *seen)
    _, lines, _ = ask(*argv, *HULL)
    argv[argv.index("--intrinsics") + 1] = "262.5,262.5,159.5,119.5"
    code, found, _ = ask(*argv, *HULL)
    assert (code, found) == (0, lines)


@pytest.mark.parametrize("text", ["262.5,262.5,159.5", "262.5,262.5,159.5,nan", "1,2,3,4,5"])
def test_text_that_is_not_four_numbers_is_refused(seen, tmp_path, capsys, text):
    argv = words(tmp_path, *seen)
    argv[argv.index("--intrinsics") + 1] = text
    assert main(["predict", *argv, *HULL]) == 2
    assert "write fx,fy,cx,cy in pixels, such as 600,600,319.5,239.5, or" in capsys.readouterr().err


def test_a_mask_in_colours_has_an_answer_for_each_and_a_note(seen, ask, tmp_path, capsys):
    depth, labels = seen
    argv = words(tmp_path, depth, labels)
    _, known, _ = ask(*argv, *HULL)
    colours = np.zeros((*labels.shape, 3), np.uint8)
    colours[labels == scene.BOX], colours[labels == scene.CAN] = (255, 0, 0), (0, 200, 0)
    Image.fromarray(colours).save(tmp_path / "m.png")
    code, lines, _ = ask(*argv, *HULL)
    assert code == 0
    said = (
        "each colour of the mask is an object, numbered R + 256 G + 65536 B: #ff0000 is 255, #00c800 is 51200"
    )
    assert lines == [
        line | {"object": number, "notes": [said]} for line, number in zip(known, (255, 51200), strict=True)
    ]
    assert main(["predict", *argv, *HULL]) == 0
    assert capsys.readouterr().err == f"note: {tmp_path / 'd.png'}: {said}\n"


def test_progress_names_what_it_counts(seen, tmp_path, monkeypatch):
    counted = []

    @contextmanager
    def bar(console, unit, phase):
        counted.append((unit, phase))
        yield None

    monkeypatch.setattr("plumbline.commands.predict.count_bar", bar)
    argv = words(tmp_path, *seen)
    for one in (argv, argv[:4], [str(scanned.write_scan(tmp_path / "a.npz", scanned.simulate(0)))]):
        assert main(["predict", *one, *HULL]) == 0
    assert counted == [("object", "predicting"), ("scan", "predicting"), ("scan", "predicting")]
    message = MessageName("/points", Stamp(1, 2), 3)
    assert ScanName(tmp_path, message=message).counts == "message"
    assert ScanName(tmp_path, object=3, message=message).counts == "object"
