"""``plumbline predict``: stray points, warnings, depth images, and how many points are used by default."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from plumbline.cli import main, parse
from plumbline.data.store.reader import PackedStore
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.looking import USUAL_DRAWS
from plumbline.predictors.predictor import Predictor, load_predictor
from plumbline.training.show.facts import _usual_range
from tests.helpers import scanned
from tests.helpers.scanned import simulate

HULL = ("--model", "convex_hull")
SENSOR = np.array([0.0, 0, -4])


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


def ball(num: int = 3000) -> np.ndarray:
    """The half of a ball of radius 1 about the origin that the sensor sees."""
    points = np.random.default_rng(2).normal(size=(num, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points * np.where(points[:, 2:] > 0, [1, 1, -1], 1)


def strays(num: int) -> np.ndarray:
    """Points of a wall behind the ball, along its outline."""
    angle = np.linspace(0, 2 * np.pi, num, endpoint=False)
    return np.column_stack([2 * np.cos(angle), 2 * np.sin(angle), np.full(num, 4.0)])


def save(path, *points, sensor=SENSOR):
    np.savez(path, points=np.concatenate(points), sensor=sensor)
    return path


def test_stray_points_do_not_move_the_answer(ask, tmp_path):
    clean, dirty = save(tmp_path / "a.npz", ball()), save(tmp_path / "b.npz", ball(), strays(90))
    every = ("--points", 5000)
    code, (alone, cleaned), err = ask(clean, dirty, *HULL, *every)
    assert (code, err) == (0, "")
    np.testing.assert_allclose(cleaned["com"], alone["com"], atol=1e-9)
    assert alone["left_out"] == 0
    assert cleaned["left_out"] == pytest.approx(90 / 3090, abs=1e-4)
    assert cleaned["points"] == 3090
    assert "warnings" not in cleaned
    _, (raw,), _ = ask(dirty, *HULL, *every, "--clean", "off")
    assert np.linalg.norm(np.subtract(raw["com"], alone["com"])) > 0.5
    assert raw["left_out"] == 0


def test_many_stray_points_are_a_warning_and_show_in_the_table(ask, tmp_path, capsys):
    file = save(
        tmp_path / "a.npz", ball(1000), *(strays(70) * [1 + 0.3 * n, 1 + 0.3 * n, 1] for n in range(3))
    )
    _, (line,), err = ask(file, *HULL)
    share = line["left_out"]
    assert 0.15 < share < 0.18
    assert err == "", "JSON holds the warning"
    (warning,) = line["warnings"]
    assert warning.startswith("17 % of the points are not connected to the object")
    assert main(["predict", str(file), *HULL]) == 0
    out, err = capsys.readouterr()
    assert err == f"warning: {file}: {warning}\n"
    assert "left out" in out
    assert f"{100 * share:.1f} %" in out


def test_one_flat_face_is_a_warning(ask, tmp_path):
    face = np.random.default_rng(3).uniform(-1, 1, (400, 3)) * [1, 0.7, 0.01]
    flat, tilted = save(tmp_path / "a.npz", face), save(tmp_path / "b.npz", ball())
    both = save(tmp_path / "c.npz", face, face, sensor=np.repeat([SENSOR, -SENSOR], 400, axis=0))
    _, lines, _ = ask(flat, tilted, both, *HULL)
    assert ["warnings" in line for line in lines] == [True, False, False]
    assert "one flat face" in lines[0]["warnings"][0]


# ------------------------------------------------------------------------------------------------- points


def test_a_model_takes_the_fewest_points_of_its_training(trained, ask, tmp_path):
    file = save(tmp_path / "a.npz", ball())
    data = load_checkpoint(trained["ept"]).data
    assert data.num_points == (48, 48)
    _, (line,), _ = ask(file, "--checkpoint", trained["ept"])
    assert line["points_used"] == 48
    _, (line,), _ = ask(file, "--model", "carve")
    assert line["points_used"] == 512
    _, (line,), _ = ask(file, "--checkpoint", trained["ept"], "--points", 77)
    assert line["points_used"] == 77


def test_a_checkpoint_that_does_not_say_takes_128_points(trained):
    old = load_checkpoint(trained["ept"])
    plain = old.data.to_dict()
    del plain["num_points"]
    data = type(old.data).from_dict(plain)
    assert data.num_points is None
    assert Predictor.trained(replace(old, data=data)).usual_points == 128


def test_the_rarest_numbers_of_points_do_not_count():
    assert _usual_range(np.array([16] + [128] * 300 + [512] * 300 + [900])) == (128, 512)


def test_two_draws_are_the_default(trained):
    scan = simulate(1, points=500)
    assert parse("predict", ["a.npz"]).draws == USUAL_DRAWS == 2
    ept = load_predictor(trained["ept"])
    found = [
        ept.predict(scan.points, sensor=scan.sensor, **more).com for more in ({}, {"draws": 2}, {"draws": 1})
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1e-9


# ------------------------------------------------------------------------------------------- depth images


def test_a_depth_image_is_answered_like_its_points(ask, tmp_path, capsys):
    """A ball before a wall, with a mask that is a pixel too wide."""
    row, column = np.indices((120, 160))
    rays = np.stack([(column - 79.5) / 150, (row - 59.5) / 150, np.ones((120, 160))], axis=-1)
    along = rays @ [0.1, 0, 1.0]
    room = along**2 - (rays**2).sum(axis=-1) * (1.01 - 0.3**2)
    hit = room > 0
    depth = np.where(hit, (along - np.sqrt(np.maximum(room, 0))) / (rays**2).sum(axis=-1), 2.0)
    mask = np.zeros_like(hit)
    for down in range(-1, 2):
        for right in range(-1, 2):
            mask |= np.roll(hit, (down, right), (0, 1))
    Image.fromarray((1000 * depth).round().astype(np.uint16)).save(tmp_path / "d.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    (tmp_path / "K.json").write_text(json.dumps({"fx": 150, "fy": 150, "cx": 79.5, "cy": 59.5}))
    np.savez(tmp_path / "points.npz", points=(rays * depth[..., None])[hit], sensor=np.zeros(3))
    image = ["--depth", tmp_path / "d.png", "--intrinsics", tmp_path / "K.json", "--mask", tmp_path / "m.png"]
    more = (*HULL, "--points", 20_000)
    code, (line,), err = ask(*image, *more)
    _, (points,), _ = ask(tmp_path / "points.npz", *more)
    assert (code, err) == (0, "")
    np.testing.assert_allclose(line["com"], points["com"], atol=1e-3)
    assert (line["points"], line["sensor"], line["unit"]) == (int(mask.sum()), "the camera", "metres")
    assert line["left_out"] == pytest.approx(1 - hit.sum() / mask.sum(), abs=1e-3)
    assert line["file"] == str(tmp_path / "d.png")
    assert main(["predict", *map(str, image), *HULL]) == 0
    assert capsys.readouterr().out.endswith("in metres, in the frame of the camera\n")


@pytest.mark.parametrize(("words", "said"), [
    (["--mask", "m.png"], "--mask describes a depth image: give one with --depth"),
    (["a.npz", "--depth_scale", "1"], "--depth_scale describes a depth image"),
    (["--depth", "d.png"], "--intrinsics is missing"),
    (["a.npz", "--depth", "d.png", "--intrinsics", "K.json"], "--depth is a scan by itself"),
    (["--depth", "d.png", "--intrinsics", "K.json", "--sensor", "0,0,1"], "leave --sensor out"),
    (["--depth", "d.png", "--intrinsics", "K.json"], "--depth d.png does not exist"),
    (["a.npz", "--clean", "maybe"], "--clean maybe: must be on or off"),
])  # fmt: skip
def test_flags_that_contradict_each_other(words, said, capsys):
    assert main(["predict", *words, *HULL]) == 2
    assert said in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ training data


def test_prepare_cleans_real_scans_and_says_so(tmp_path, capsys):
    scans = {
        "clean": [ball()],
        "dirty": [ball(), strays(90)],
        "wrong": [ball(800), strays(75), 1.4 * strays(75)],
    }
    rows = ["file,com_x,com_y,com_z,object_name"]
    for name, points in scans.items():
        save(tmp_path / f"{name}.npz", *points)
        rows.append(f"{name}.npz,0,0,0,{name}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    sizes = {}
    for clean in ("on", "off"):
        out = tmp_path / clean
        words = [
            "--labels",
            tmp_path / "labels.csv",
            "--out",
            out,
            "--workers",
            1,
            "--points",
            4000,
            "--clean",
            clean,
        ]
        assert main(["prepare", *map(str, words)]) == 0
        said = capsys.readouterr().out
        store = PackedStore.open(out)
        sizes[clean] = np.diff(store.node_ptr).tolist()
        assert store.manifest["provenance"]["settings"]["clean"] == (clean == "on")
        assert ("2 real scans lost points" in said) == (clean == "on")
        assert ("warning: wrong.npz: 16 % of the points" in said) == (clean == "on")
    assert sizes == {"on": [3000, 3000, 800], "off": [3000, 3090, 950]}
