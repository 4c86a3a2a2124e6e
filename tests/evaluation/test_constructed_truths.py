"""Truths of boxes and cans on a table, constructed from one labelled depth image."""

import csv

import numpy as np
import pytest

from benchmarks.real import build
from benchmarks.real.registration import View
from benchmarks.real.upright import NoTruth, fit_table, stand
from plumbline.evaluation.real_scans import RealSet
from tests.helpers import table_scene as scene
from tests.helpers.checkouts import commit
from tests.helpers.point_files import pcd_bytes

BODIES = {
    "box": (scene.BOX, scene.BOX_SIZE, scene.centre(scene.BOX_MIDDLE, scene.BOX_SIZE)),
    "can": (scene.CAN, scene.CAN_SIZE, scene.centre(scene.CAN_MIDDLE, scene.CAN_SIZE)),
}


@pytest.fixture(scope="module")
def seen():
    return scene.see_scene()


def construct(depth, labels, kind="box"):
    view = View(np.nan_to_num(depth), scene.CAMERA)
    return *stand(view, labels, BODIES[kind][0], kind, "it"), view


def on_the_box(width: float):
    """A block that stands on the back edge of the box, in its middle."""
    turn = scene.BOX_TURN
    place = np.array(scene.BOX_MIDDLE) + 0.03 * np.array([-np.sin(turn), np.cos(turn)])
    return scene.block((width, 0.02, 0.05), tuple(place), scene.BOX_SIZE[2], turn)


def test_the_table_is_the_plane_of_most_points():
    """A floor below and points of objects are among them, two fifths of all."""
    rng = np.random.default_rng(0)
    places = rng.uniform(-0.3, 0.3, (5000, 3)) * (1, 1, 0) + 0.001 * rng.normal(size=(5000, 3))
    places[:1500] += (0.1, 0.2, -0.08)
    places[1500:2000, 2] += rng.uniform(0, 0.2, 500)
    pose = scene.table_pose()
    frame = fit_table(places @ pose[:3, :3].T + pose[:3, 3])
    assert frame[:3, 2] @ pose[:3, 2] > np.cos(np.radians(0.1))
    assert abs((frame[:3, 3] - pose[:3, 3]) @ pose[:3, 2]) < 0.0003


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_is_found_where_it_stands(seen, kind):
    label, size, com = BODIES[kind]
    solid, found, view = construct(*seen, kind)
    np.testing.assert_allclose(np.ptp(solid.vertices, axis=0), size, atol=0.001)
    assert np.linalg.norm(found.pose[:3, 3] - com) < 0.005 * np.linalg.norm(size) / 2
    assert found.pose[:3, 2] @ scene.table_pose()[:3, 2] > np.cos(np.radians(0.1))
    assert 0.0004 < found.residual < 0.001, "the noise, across tilted faces"
    assert found.spread < 0.02 * solid.bounding_radius
    np.testing.assert_array_equal(view.mask, seen[1] == label)
    if kind == "box":
        assert abs(found.pose[:3, 0] @ scene.table_pose()[:3, :3] @ scene.BOX_AXIS) > np.cos(np.radians(0.5))


def test_strips_that_another_object_hides_are_left_out():
    solid, found, _ = construct(*scene.see_scene(on_the_box(0.1)))
    np.testing.assert_allclose(np.ptp(solid.vertices, axis=0), scene.BOX_SIZE, atol=0.0015)
    assert np.linalg.norm(found.pose[:3, 3] - BODIES["box"][2]) < 0.01 * solid.bounding_radius


def test_scans_that_do_not_show_enough_give_no_truth(seen):
    with pytest.raises(NoTruth, match="another object hides an edge"):
        construct(*scene.see_scene(on_the_box(0.17)))
    depth, labels = seen
    parts = labels.copy()
    parts[labels == scene.CAN] = scene.BOX + 1
    with pytest.raises(NoTruth, match=r"further parts, with the labels \[21\]"):
        construct(depth, parts)
    parts[labels == scene.CAN] = scene.BOX
    with pytest.raises(NoTruth, match="% of the points are not those of a box"):
        construct(depth, parts)


def pcd(depth, labels) -> bytes:
    fields = [("label", "u4", labels.ravel()), ("z", "f4", depth.ravel())]
    return pcd_bytes(fields, "binary", height=scene.ROWS)


def test_a_set_is_rebuilt_measured_and_compared(tmp_path, monkeypatch, capsys, seen):
    parts = np.where(seen[1] == scene.CAN, scene.BOX + 1, seen[1])
    files = {"a.pcd": pcd(*seen), "b.pcd": pcd(seen[0], parts)}
    source = {
        "group": "lab", "repository": "some/scenes", "sensor": "made up", "truth": "constructed",
        "commit": commit(tmp_path / "git/some/scenes", files), "K": " ".join(map(str, scene.CAMERA)),
        "depth_scale": "1", "rebuilt": "yes", "licence": "CC0.",
    }  # fmt: skip
    row = {"group": "lab", "turn": "", "centre": "", "in_training_pool": "no", "hollow_vessel": "no"}
    rows = [
        {**row, "scan": f"scans/{name}.npz", "object": f"one_{kind}", "kind": kind, "depth": path,
         "mask": f"{path}:{BODIES[kind][0]}"}
        for name, kind, path in (("one", "box", "a.pcd"), ("two", "can", "a.pcd"), ("three", "box", "b.pcd"))
    ]  # fmt: skip
    tables = {"sources.csv": [source, {**source, "group": "absent"}], "scans.csv": rows}
    tables["scans.csv"].append({**rows[0], "group": "absent", "scan": "scans/four.npz"})
    monkeypatch.setattr(build, "table", tables.get)
    words = ["build", str(tmp_path / "git"), str(tmp_path / "out"), "--only", "lab"]
    monkeypatch.setattr("sys.argv", words)
    assert build.main() == 0
    assert "three.npz: left out, the object has further parts" in capsys.readouterr().out
    real = RealSet(tmp_path / "out")
    assert [scan.name for scan in real.scans] == ["scans/one.npz", "scans/two.npz"]
    for scan in real.scans:
        known, (label, size, com) = real.load(scan), BODIES[scan.kind]
        assert len(known.cloud.points) == (seen[1] == label).sum()
        assert len(known.inliers.points) == len(known.cloud.points)
        assert len(known.twin.points) == pytest.approx(len(known.cloud.points), rel=0.03)
        assert np.linalg.norm(known.com - com) < 0.005 * known.radius
        assert known.radius == pytest.approx(
            np.linalg.norm(size if scan.kind == "box" else size[1:]) / 2, rel=0.01
        )
    with (tmp_path / "out/manifest.csv").open(newline="") as file:
        assert [one["licence"] for one in csv.DictReader(file)] == ["CC0.", "CC0."], "no mesh is another's"

    (tmp_path / "other/scans").mkdir(parents=True)
    with np.load(tmp_path / "out/scans/one.npz") as one:
        moved = one["com"] + 0.01 * one["bounding_radius"] * np.array([0, 1, 0])
        np.savez(
            tmp_path / "other/scans/one.npz",
            com=moved, bounding_radius=one["bounding_radius"], organised_mask=one["mask"],
        )  # fmt: skip
    monkeypatch.setattr(build, "build", lambda *_: None)
    monkeypatch.setattr("sys.argv", [*words, "--compare", str(tmp_path / "other")])
    assert build.main() == 0
    said = capsys.readouterr().out
    assert "com  1.00 % of the radius apart, masks 100.0 % alike" in said
    assert "lab: 1 scans: mean 1.00 %, median 1.00 %, largest 1.00 %" in said


def test_only_takes_groups_of_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["build", str(tmp_path), str(tmp_path / "out"), "--only", "mosd"])
    assert build.main() == 2
    assert "--only mosd: the groups are YCBV, " in capsys.readouterr().err
