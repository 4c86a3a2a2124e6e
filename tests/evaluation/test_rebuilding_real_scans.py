"""Real scans rebuilt from git checkouts: registration, masks, and a set that can be measured."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from benchmarks.real import build
from benchmarks.real.registration import View, register, start_pose
from plumbline.evaluation.real_scans import RealSet
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.geometry.meshes import make_solid_record
from tests.helpers.checkouts import commit
from tests.helpers.preparing import BOX_FACES
from tests.helpers.real_set import COLUMNS, CORNERS, FOCAL, ROWS, K, Shot

SHOT = Shot((0.16, 0.1, 0.13), 0.6, 0.5, 0.5)
SOLID = make_solid_record("box", CORNERS * SHOT.size + (0.3, 0.1, -0.2), np.array(BOX_FACES))
CAMERA = Intrinsics(FOCAL, FOCAL, COLUMNS / 2, ROWS / 2)
TURN = Rotation.from_matrix(SHOT.pose[:3, :3]).as_rotvec()


def depth_image() -> np.ndarray:
    """The box before a wall, a strip of it hidden by a bar in front."""
    points, mask = SHOT.seen()
    depth = np.full(mask.shape, 0.9)
    depth[mask] = points[:, 2]
    depth[:, 34:37] = 0.35
    depth[3, 5] = 0
    return depth


def test_a_mesh_is_registered_from_a_rough_start():
    noise = 0.0005 * np.random.default_rng(0).normal(size=(ROWS, COLUMNS))
    start = start_pose(SOLID, np.round(TURN, 1), np.round(SHOT.com, 2) + (0.005, -0.005, 0.005))
    found = register(SOLID, View(depth_image() + noise, CAMERA), start)
    com = found.pose @ np.append(SOLID.com, 1)
    assert np.linalg.norm(start @ np.append(SOLID.com, 1) - com) > 0.005
    assert np.linalg.norm(com[:3] - SHOT.com) < 0.01 * SHOT.radius
    assert found.spread < 0.01 * SHOT.radius
    assert 0.0002 < found.residual < 0.0005, "the noise, across tilted faces"
    np.testing.assert_allclose(np.sqrt(np.square(found.pose[:3, :3]).sum(axis=0)), 1, atol=1e-12)


def obj() -> bytes:
    """The box, and a stray triangle, as some of the meshes have."""
    vertices = [*SOLID.vertices.tolist(), [0, 0, 0], [0.01, 0, 0], [0, 0.01, 0]]
    faces = [*SOLID.faces.tolist(), [8, 9, 10]]
    lines = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
    return "\n".join(lines).encode()


def test_a_set_is_rebuilt_and_can_be_measured(tmp_path, monkeypatch, capsys):
    picture, labels = io.BytesIO(), io.BytesIO()
    Image.fromarray((depth_image() * 10_000).round().astype(np.uint16)).save(picture, "png")
    Image.fromarray(np.where(SHOT.seen()[1], 7, 3).astype(np.uint8)).save(labels, "png")
    files = {"d.png": picture.getvalue(), "l.png": labels.getvalue()}
    scans = commit(tmp_path / "git/some/scans", files)
    meshes = commit(tmp_path / "git/some/meshes", {build.MESH.format("box"): obj()})
    source = {
        "group": "lab", "repository": "some/scans", "commit": scans, "sensor": "made up",
        "truth": "registered mesh",
        "K": f"{FOCAL} {FOCAL} {COLUMNS / 2} {ROWS / 2}", "depth_scale": "0.0001", "rebuilt": "yes",
        "licence": "CC0.",
    }  # fmt: skip
    row = {
        "group": "lab", "object": "box", "kind": "box", "depth": "d.png", "in_training_pool": "no",
        "hollow_vessel": "no", "turn": " ".join(map(str, np.round(TURN, 1))),
        "centre": " ".join(map(str, np.round(SHOT.com, 2))),
    }  # fmt: skip
    rows = [
        {**row, "scan": "scans/one.npz", "mask": "l.png:7"},
        {**row, "scan": "scans/two.npz", "mask": "silhouette"},
    ]
    left = {**source, "group": "other", "rebuilt": "no: for a reason"}
    monkeypatch.setattr(build, "MESHES", ("some/meshes", meshes))
    monkeypatch.setattr(build, "table", {"sources.csv": [source, left], "scans.csv": rows}.get)
    monkeypatch.setattr("sys.argv", ["build", str(tmp_path / "git"), str(tmp_path / "out")])
    assert build.main() == 0
    assert "other: no: for a reason" in capsys.readouterr().out
    real = RealSet(tmp_path / "out")
    known = [real.load(scan) for scan in real.scans]
    assert [scan.name for scan in real.scans] == ["scans/one.npz", "scans/two.npz"]
    labelled, silhouette = (one.cloud.points for one in known)
    assert len(labelled) == SHOT.seen()[1].sum()
    assert silhouette[:, 2].min() > 0.37, "without the bar"
    assert (silhouette[:, 2] > 0.8).any(), "with two pixels of the wall"
    for one in known:
        assert np.linalg.norm(one.com - SHOT.com) < 0.01 * SHOT.radius
        assert one.radius == pytest.approx(SHOT.radius)
        np.testing.assert_allclose(one.camera_matrix, K)

    monkeypatch.setattr("sys.argv", ["build", str(tmp_path / "none"), str(tmp_path / "out")])
    assert build.main() == 2
    assert "scans is missing: git clone https://github.com/some/scans" in capsys.readouterr().err
