"""``plumbline predict --poses``: several depth images of one scene, answered in one frame."""

import json
import re
from functools import partial

import numpy as np
import pytest
from PIL import Image

from plumbline.cli import main
from plumbline.geometry.clouds import load_cloud
from tests.helpers import scanned
from tests.helpers import table_scene as scene
from tests.helpers.depth_files import write_camera, write_depth, write_mask

HULL = ("--model", "convex_hull")
STANDS = ((0.05, -0.55, 0.5), (-0.5, 0.5, 0.45))


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    for i, stand in enumerate(STANDS):
        depth, labels = scene.see_scene(stand=stand)
        write_depth(folder / f"{i}.png", depth)
        shown = np.where((labels == scene.TABLE) | ((labels == scene.CAN) & (i == 0)), 0, labels)
        write_mask(folder / f"m{i}.png", shown)
    write_camera(folder / "K.json", scene.CAMERA)
    poses = [np.linalg.inv(scene.table_pose(stand)).tolist() for stand in STANDS]
    (folder / "poses.json").write_text(json.dumps(poses))
    return folder


def words(folder, depths="01", masks="01", cameras=1):
    return [
        "--depth", *(str(folder / f"{i}.png") for i in depths),
        "--intrinsics", *[str(folder / "K.json")] * cameras,
        *(("--mask", *(str(folder / f"m{i}.png") for i in masks)) if masks else ()),
    ]  # fmt: skip


def test_objects_are_answered_in_the_frame_of_the_poses(folder, ask, capsys):
    argv = [*words(folder, cameras=2), "--poses", folder / "poses.json", *HULL]
    code, (box, can), err = ask(*argv, "--points", 4000, "--table", "auto")
    assert (code, err) == (0, "")
    assert (box["object"], can["object"]) == (scene.BOX, scene.CAN)
    assert (box["views"], can["views"]) == (2, 1), "the can is masked in one view"
    assert box["sensor"] == "from the poses"
    truth = [*scene.BOX_MIDDLE, scene.BOX_SIZE[2] / 2]
    assert np.linalg.norm(np.subtract(box["com"], truth)) < 0.006
    assert main(["predict", *map(str, argv)]) == 0
    assert capsys.readouterr().out.endswith("in metres, in the frame of the poses\n")


@pytest.mark.parametrize(("argv", "said"), [
    ({"masks": "01"}, ") are views of one scene and need the poses of their cameras: give"),
    ({"masks": "0", "poses": 1}, ") for 2 depth images; give one for each, in their order"),
    ({"cameras": 3, "poses": 1}, ") for 2 depth images; give one, or one for each"),
    ({"depths": "0", "masks": "0", "poses": 1}, "the number of poses is 2, that of depth images 1"),
    ({"masks": "", "poses": 1, "table": 1}, "--table auto finds the objects of one image"),
])  # fmt: skip
def test_numbers_of_files_that_do_not_fit(folder, capsys, argv, said):
    more = ["--poses", str(folder / "poses.json")] if argv.pop("poses", 0) else []
    more += ["--table", "auto"] if argv.pop("table", 0) else []
    assert main(["predict", *words(folder, **argv), *more, *HULL]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_poses_need_a_depth_image(capsys):
    assert main(["predict", "a.npz", "--poses", "b.json", *HULL]) == 2
    assert "--poses describes a depth image: give one with --depth" in capsys.readouterr().err


def test_masks_in_colours_and_in_grey_levels_do_not_name_the_same_objects(folder, tmp_path, capsys):
    coloured = np.zeros((scene.ROWS, scene.COLUMNS, 3), np.uint8)
    coloured[100:140, 100:140] = (255, 0, 0)
    Image.fromarray(coloured).save(tmp_path / "m.png")
    argv = words(folder)
    argv[-1] = str(tmp_path / "m.png")
    assert main(["predict", *argv, "--poses", str(folder / "poses.json"), *HULL]) == 2
    assert "some masks are in colours and some in grey levels" in capsys.readouterr().err


def test_the_table_is_named_in_the_frame_of_the_poses(folder, ask):
    argv = [*words(folder), "--poses", folder / "poses.json", *HULL, "--table", "auto"]
    _, (box, can), _ = ask(*argv)
    for line, views in ((box, 2), (can, 1)):
        (said,) = line["notes"]
        found = re.fullmatch(
            r"--table auto found the table (\S+) \(normal and distance in metres, frame of the poses\)", said
        )
        np.testing.assert_allclose(np.array(found[1].split(","), float), [0, 0, 1, 0], atol=0.005)
        assert line["views"] == views


def test_the_cleaned_points_of_merged_views_keep_their_sensors(folder, ask, tmp_path):
    argv = [*words(folder), "--poses", folder / "poses.json", *HULL, "--points", 2000]
    _, lines, _ = ask(*argv, "--write_cleaned", tmp_path)
    for line in lines:
        path = tmp_path / f"0_object_{line['object']}.ply"
        cloud = load_cloud(path)
        stations = np.unique(np.reshape(cloud.sensor, (-1, 3)), axis=0)
        wanted = STANDS if line["views"] == 2 else STANDS[1:]
        np.testing.assert_allclose(stations, np.unique(wanted, axis=0), atol=1e-9)
        _, (again,), _ = ask(path, *HULL, "--points", 2000, "--clean", "off")
        assert again["views"] == line["views"]
        assert again["sensor"] == "from the file"
        np.testing.assert_allclose(again["com"], line["com"], atol=1e-12)
