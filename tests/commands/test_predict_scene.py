"""``plumbline predict --table auto``: the objects on the table of a depth image, and their points."""

import re
from functools import partial

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.geometry.clouds import load_cloud
from tests.helpers import scanned
from tests.helpers import table_scene as scene
from tests.helpers.depth_files import write_camera, write_depth, write_mask

HULL = ("--model", "convex_hull")


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


def words(folder, depth):
    image, camera = write_depth(folder / "d.png", depth), write_camera(folder / "K.json", scene.CAMERA)
    return ["--depth", str(image), "--intrinsics", str(camera), "--table", "auto"]


def test_the_objects_on_a_table_are_answered_and_written(ask, tmp_path):
    depth, labels = scene.see_scene()
    out = tmp_path / "a" / "objects"
    code, lines, err = ask(*words(tmp_path, depth), *HULL, "--points", 2000, "--write_cleaned", out)
    assert (code, err) == (0, f"objects  {out}\n")
    assert [line["object"] for line in lines] == [1, 2]
    truths = [scene.centre(scene.BOX_MIDDLE, scene.BOX_SIZE), scene.centre(scene.CAN_MIDDLE, scene.CAN_SIZE)]
    for line, truth in zip(lines, truths, strict=True):
        assert np.linalg.norm(line["com"] - truth) < 0.035
        said = re.fullmatch(
            r"--table auto found the table (\S+) \(normal and distance in metres, frame of the camera\)",
            line["notes"][0],
        )
        plane = np.array(said[1].split(","), np.float64)
        up, camera = scene.table_pose()[:3, 2], scene.table_pose()[:3, 3]
        np.testing.assert_allclose(plane, [*up, up @ camera], atol=0.005)
        assert re.match(
            r"of [\d,]+ pixels with a depth, --table auto removed [\d,]+ on the table", line["notes"][1]
        )
    assert sorted(path.name for path in out.iterdir()) == ["d_object_1.ply", "d_object_2.ply"]
    for line in lines:
        cloud = load_cloud(out / f"d_object_{line['object']}.ply")
        assert len(cloud.points) == round(line["points"] * (1 - line["left_out"]))
        _, (again,), _ = ask(
            out / f"d_object_{line['object']}.ply", *HULL, "--points", 2000, "--clean", "off"
        )
        np.testing.assert_allclose(again["com"], line["com"], atol=1e-12)
        assert again["sensor"] == "from the file"
    code, lines, _ = ask(
        *words(tmp_path, depth), "--mask", write_mask(tmp_path / "m.png", labels == scene.CAN), *HULL
    )
    assert (code, len(lines)) == (0, 1)
    assert lines[0]["points"] == np.count_nonzero(labels == scene.CAN)
    assert "--table auto found the table" in lines[0]["notes"][0]


def test_an_object_that_is_cut_off_does_not_stop_the_others(ask, tmp_path):
    depth, _ = scene.see_scene(scene.block((0.14, 0.1, 0.1), (-0.38, -0.05), 0, 0))
    code, lines, _ = ask(*words(tmp_path, depth), *HULL)
    assert code == 1
    (cut,) = (line for line in lines if "error" in line)
    assert cut["error"].startswith(f"{tmp_path / 'd.png'}, object {cut['object']}: it touches the border")
    assert sum("com" in line for line in lines) == 2


@pytest.mark.parametrize(("argv", "said"), [
    (["a.npz", "--table", "auto"], "--table auto looks for the table in a depth image: give one with"),
    (["a.npz", "--write_cleaned", "b"], "--write_cleaned writes objects of a depth image: give one with"),
    (["a.npz", "--table", "car"], "write four numbers with commas between them, such as 0,0,1,0.2; or auto"),
])  # fmt: skip
def test_flags_that_are_refused(argv, said, capsys):
    assert main(["predict", *argv, *HULL]) == 2
    assert said in capsys.readouterr().err


def test_a_scene_without_a_table_and_a_file_in_place_of_the_folder(tmp_path, capsys):
    depth, _ = scene.see_scene()
    (tmp_path / "file").touch()
    argv = words(tmp_path, depth)
    assert main(["predict", *argv, *HULL, "--write_cleaned", str(tmp_path / "file")]) == 2
    assert "is a file: give a folder" in capsys.readouterr().err
    argv = words(tmp_path, np.random.default_rng(1).uniform(0.5, 1.5, depth.shape))
    assert main(["predict", *argv, *HULL]) == 2
    err = capsys.readouterr().err
    assert "no table found" in err
    assert err.count("\n") == 1
