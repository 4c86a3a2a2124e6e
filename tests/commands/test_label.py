"""``plumbline label``: labels that ``prepare --labels`` reads, for scans whose pose is certain."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.data.store.reader import PackedStore
from plumbline.geometry.clouds import read_labels
from plumbline.geometry.solids import make_solid
from plumbline.records import Solid
from tests.geometry.test_registration import moved, place, seen
from tests.helpers.preparing import SMALL, prepare, write_off


@pytest.fixture(scope="module")
def solid() -> Solid:
    return make_solid(1, 0)


@pytest.fixture
def folder(tmp_path, solid) -> Path:
    """A CAD file in millimetres, and a scan of it in metres."""
    write_off(tmp_path / "part.off", 1000 * solid.vertices, solid.faces)
    save(tmp_path / "scans" / "good.npz", solid, 3)
    return tmp_path


def save(path: Path, solid: Solid, seed: int, scale: float = 1.0, shift=(0.1, 0.2, -0.3), **changed) -> None:
    scan = seen(solid, seed, 0.003, **changed)
    path.parent.mkdir(exist_ok=True)
    sensor = scan.sensor if changed else scan.sensor[0]
    np.savez(path, points=scale * (scan.points + shift), sensor=scale * (sensor + np.array(shift)))


def label(folder: Path, *words: object) -> int:
    return main(["label", "--cad", f"{folder / 'part.off'}", "--cad_scale", "0.001", *map(str, words)])


def test_labels_are_those_that_prepare_reads(folder, solid, capsys):
    out, poses, data = folder / "labels.csv", folder / "poses.jsonl", folder / "data"
    code = label(folder, folder / "scans", "--out", out, "--poses", poses, "--object_name", "bracket")
    assert code == 0, capsys.readouterr().err
    (row,) = read_labels(out)
    true = solid.com + (0.1, 0.2, -0.3)
    assert np.linalg.norm(row.com - true) < 0.005 * solid.bounding_radius
    assert row.path.resolve() == (folder / "scans" / "good.npz").resolve()
    assert row.object_name == "bracket"
    assert row.bounding_radius == pytest.approx(solid.bounding_radius, rel=1e-9)
    with np.load(row.path) as arrays:
        np.testing.assert_array_equal(row.sensor, arrays["sensor"])
    (line,) = map(json.loads, poses.read_text().splitlines())
    assert line["file"] == "scans/good.npz"
    np.testing.assert_array_equal(line["com"], row.com)
    pose = np.array(line["pose"])
    np.testing.assert_allclose(place(pose, solid.com[None])[0], row.com, atol=1e-12)
    assert np.abs(pose[:3, :3] - np.eye(3)).max() < 0.01

    prepare("--labels", out, "--out", data, *SMALL)
    sample = PackedStore.open(data).sample(0)
    np.testing.assert_allclose(sample.target * sample.scale + sample.origin, row.com, atol=1e-6)
    assert sample.bounding_radius * sample.scale == pytest.approx(row.bounding_radius, rel=1e-5)


def test_labels_move_with_scan_and_cad_model(folder, solid):
    """Both turned and moved, each in its own way: the pose leads from the new frame to the new frame."""
    found = []
    for name, scan_moved, cad_moved in (("here", np.eye(4), np.eye(4)), ("there", moved(5), moved(6))):
        with np.load(folder / "scans" / "good.npz") as arrays:
            points, sensor = (place(scan_moved, arrays[part].reshape(-1, 3)) for part in ("points", "sensor"))
        np.savez(folder / f"{name}.npz", points=points, sensor=sensor[0])
        write_off(folder / "part.off", 1000 * place(cad_moved, solid.vertices), solid.faces)
        out, poses = folder / f"{name}.csv", folder / f"{name}.jsonl"
        assert label(folder, folder / f"{name}.npz", "--out", out, "--poses", poses) == 0
        (row,) = read_labels(out)
        found.append((np.array(json.loads(poses.read_text())["pose"]), row.com))
    (pose, com), (other, its_com) = found
    np.testing.assert_allclose(other @ moved(6), moved(5) @ pose, rtol=0, atol=1e-12)
    np.testing.assert_allclose(its_com, place(moved(5), com[None])[0], rtol=0, atol=1e-12)
    assert np.abs(other @ moved(6) - moved(6) @ pose).max() > 0.1, "the control: motions that differ"


def test_a_scan_that_is_refused_gets_no_label(folder, solid, capsys):
    out, poses = folder / "labels.csv", folder / "poses.jsonl"
    save(folder / "scans" / "tilted.npz", make_solid(1, 3), 1)
    assert label(folder, folder / "scans", "--out", out, "--poses", poses) == 1
    shown, said = capsys.readouterr()
    assert [row.path.name for row in read_labels(out)] == ["good.npz"]
    assert len(poses.read_text().splitlines()) == 1
    assert "1 of 2 scans labelled" in shown
    assert "refused: " in said or "error: " in said
    assert "tilted.npz" in said
    only = folder / "none.csv"
    assert label(folder, folder / "scans" / "tilted.npz", "--out", only) == 2
    assert not only.exists()


def test_objects_are_added_to_one_file(folder, solid):
    out, poses = folder / "labels.csv", folder / "poses.jsonl"
    other = folder / "other.ply"
    other.write_bytes(b"")
    out.write_text(
        "file,com_x,com_y,com_z,object_name,remark\n"
        'other.ply,1,2,3,mug,"mine, kept"\nscans/good.npz,9,9,9,old,replaced\n'
    )
    poses.write_text('{"file": "other.ply", "mine": 1}\n{"file": "scans/../scans/good.npz"}\n')
    assert label(folder, folder / "scans" / "good.npz", "--out", out, "--poses", poses) == 0
    with out.open(newline="") as file:
        kept, new = csv.DictReader(file)
    assert (kept["file"], kept["com_y"], kept["object_name"], kept["remark"]) == (
        *("other.ply", "2", "mug"),
        "mine, kept",
    )
    assert (new["file"], new["object_name"], new["remark"]) == ("scans/good.npz", "part", "")
    assert np.abs(float(new["com_x"])) < 1
    first, second = poses.read_text().splitlines()
    assert first == '{"file": "other.ply", "mine": 1}'
    assert json.loads(second)["object_name"] == "part"


@pytest.mark.parametrize("refused", [["tilted.npz"], ["tilted.npz", "good.npz"]])
def test_a_refused_scan_keeps_its_earlier_label(folder, solid, capsys, refused):
    out, poses = folder / "labels.csv", folder / "poses.jsonl"
    save(folder / "scans" / "tilted.npz", make_solid(1, 3), 1)
    measured = "scans/tilted.npz,1,2,3,measured by hand"
    out.write_text(f"file,com_x,com_y,com_z,object_name\n{measured}\n")
    poses.write_text('{"file": "scans/tilted.npz", "mine": 1}\n')
    before = out.read_bytes(), poses.read_bytes()
    scans = [folder / "scans" / name for name in refused]
    assert label(folder, *scans, "--out", out, "--poses", poses) == (2 if len(scans) == 1 else 1)
    said = capsys.readouterr().err
    assert f"{out} keeps the earlier row of 1 refused scan; remove" in said
    assert f"{poses} keeps the earlier line of 1 refused scan; remove" in said
    if len(scans) == 1:
        assert before == (out.read_bytes(), poses.read_bytes())
    assert measured in out.read_text()
    assert poses.read_text().startswith(before[1].decode())
    label(folder, *scans, "--poses", poses)
    assert f"{poses} keeps the earlier line of 1 refused scan; remove" in capsys.readouterr().err


def test_labels_are_in_the_unit_of_the_scans_and_poses_in_metres(folder, solid, capsys):
    out, poses = folder / "labels.csv", folder / "poses.jsonl"
    save(folder / "mm.npz", solid, 3, scale=1000)
    assert label(folder, folder / "mm.npz", "--scale", 0.001, "--out", out, "--poses", poses) == 0
    (row,) = read_labels(out)
    com = np.array(json.loads(poses.read_text())["com"])
    np.testing.assert_allclose(row.com, 1000 * com, rtol=1e-12)
    assert np.linalg.norm(com - solid.com - (0.1, 0.2, -0.3)) < 0.005 * solid.bounding_radius
    with np.load(folder / "mm.npz") as arrays:
        np.testing.assert_allclose(row.sensor, arrays["sensor"], rtol=1e-12)
    assert row.bounding_radius == pytest.approx(1000 * solid.bounding_radius, rel=1e-9)
    assert "in the unit of the scans" in capsys.readouterr().err


def test_several_sensors_stay_in_the_file_of_the_scan(folder, solid):
    out = folder / "labels.csv"
    save(folder / "round.npz", solid, 3, views=3)
    assert label(folder, folder / "round.npz", "--out", out) == 0
    (row,) = read_labels(out)
    assert row.sensor is None
    prepare("--labels", out, "--out", folder / "data", *SMALL)
    assert PackedStore.open(folder / "data").sample(0).num_views == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no scans given"),
        (["missing.ply"], "missing.ply does not exist"),
        (["scans", "--out", "part.off"], "one of the files that are read"),
        (["scans", "--out", "bad.csv"], "no column com_x"),
        (["scans", "--poses", "bad.csv"], "line 1: this is not a line of poses"),
        (["scans", "--cad", "open.off"], "no inside"),
        (["scans", "--cad_scale", "1"], "give the unit of the model with --cad_scale"),
        (["scans", "--densities", "densities.csv"], "nothing"),
    ],
)
def test_bad_input_is_refused(folder, solid, words, said, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    Path("bad.csv").write_text("file\n1\n")
    Path("densities.csv").write_text("body,density\nnothing,3\n")
    write_off(Path("open.off"), 1000 * solid.vertices, solid.faces[:-1])
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    assert label(Path("."), *words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "--target" not in shown, "label has no such flag"
    assert before == {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_mesh_is_needed(capsys):
    assert main(["label", "scan.ply"]) == 2
    assert "--cad is missing" in capsys.readouterr().err
