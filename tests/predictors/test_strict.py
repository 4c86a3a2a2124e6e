"""Scans that are refused when the user wants no answer with a warning, each for its own reason."""

import json

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.errors import InputError
from plumbline.geometry.camera_poses import merge_views
from plumbline.geometry.depth_images import depth_to_cloud
from plumbline.geometry.intrinsics import Intrinsics
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import Calibration, Usual
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.predictor import Prediction, Predictor, load_predictor
from plumbline.records import Cloud

AHEAD = np.array([0.0, 0, 4])
FAR_AT = 5.0


def plate(turn: float = 0.0) -> np.ndarray:
    """The front of a plate of 1 x 0.7, turned by some degrees about its long side, with noise of depth."""
    rng = np.random.default_rng(4)
    y = rng.uniform(-0.35, 0.35, 600)
    angle = np.radians(turn)
    noise = rng.normal(0, 0.004, 600)
    return (
        np.column_stack([rng.uniform(-0.5, 0.5, 600), y * np.cos(angle), y * np.sin(angle) + noise]) + AHEAD
    )


def ball(num: int = 600) -> np.ndarray:
    """The near half of a ball."""
    points = np.random.default_rng(5).normal(size=(num, 3))
    points /= 2 * np.linalg.norm(points, axis=1, keepdims=True)
    return points * np.where(points[:, 2:] < 0, [1, 1, 1], [1, 1, -1]) + AHEAD


def wall() -> np.ndarray:
    """Stray points far behind the ball, a fifth as many as its own."""
    return np.random.default_rng(6).uniform(-1, 1, (120, 3)) * [8, 8, 0.1] + [0, 0, 12]


def line() -> np.ndarray:
    return np.outer(np.linspace(0, 1, 300), [0.6, 0.1, 0.3]) + AHEAD


WARNED = {
    "flat": (plate(), "one flat face"),
    "turned": (plate(25), "one flat face"),
    "line": (line(), "lie on one line"),
    "strays": (np.concatenate([ball(), wall()]), "not connected to the object"),
    "few": (ball(40), "only 40 points are used, but the model was trained on scans of at least 64"),
}


def predictor_of(distance: float = 0.0) -> Predictor:
    """Trained on scans of at least 64 points; its features are this far from those of usual scans."""

    def answer(store):
        return Answers(np.zeros((len(store), 3)), features=np.tile([distance, 0.0], (len(store), 1)))

    usual = Usual(np.zeros(2), np.eye(2), FAR_AT)
    return Predictor(
        "made up", "E(3)", GraphForm(), answer, calibration=Calibration(usual=usual), fewest_points=64
    )


@pytest.mark.parametrize("name", WARNED)
def test_a_warning_without_strict_is_a_refusal_with_it(name):
    points, said = WARNED[name]
    predictor = predictor_of()
    (warning,) = predictor.predict(points).warnings
    assert said in warning
    with pytest.raises(InputError) as refused:
        predictor.predict(points, strict=True)
    assert str(refused.value) == f"the scan: --strict refuses a scan with a warning: {warning}"
    usual = predictor.predict(ball(), strict=True)
    assert usual.warnings == ()


def test_scans_unlike_those_of_the_training_are_refused():
    near, far = predictor_of(0.99 * FAR_AT), predictor_of(1.21 * FAR_AT)
    assert near.predict(ball(), strict=True).novelty == pytest.approx(0.99)
    answer = far.predict(ball())
    assert answer.novelty == pytest.approx(1.21)
    assert answer.warnings[0].startswith(
        "the scan is unlike those that the model was trained on (novelty 1.2; 99 % of the validation scans "
    )
    with pytest.raises(InputError, match="--strict refuses a scan with a warning: the scan is unlike those"):
        far.predict(ball(), strict=True)


def test_every_reason_is_said_and_the_other_scans_are_answered():
    (refused,) = predictor_of(1.5 * FAR_AT).predict_many([plate()[:50]], strict=True)
    assert isinstance(refused, InputError)
    assert [word in str(refused) for word in ("only 50 points", "one flat face", "unlike")] == [True] * 3
    scans = [ball(), plate(), ball()]
    first, refused, last = predictor_of().predict_many(scans, strict=True)
    assert isinstance(first, Prediction)
    assert isinstance(refused, InputError)
    np.testing.assert_array_equal(first.com, last.com)
    usual = list(predictor_of().predict_many(scans))
    assert all(isinstance(one, Prediction) for one in usual)
    np.testing.assert_array_equal(first.com, usual[0].com)


def test_the_command_refuses_the_file_and_its_exit_code_says_so(tmp_path, capsys):
    files = {"ball": tmp_path / "ball.npz", "flat": tmp_path / "flat.npz"}
    for name, points in {"ball": ball(), "flat": plate()}.items():
        np.savez(files[name], points=points, sensor=np.zeros(3))

    def ask(*names: str, flags: tuple[str, ...] = ("--strict",)) -> tuple[int, list[dict]]:
        capsys.readouterr()
        words = [str(files[name]) for name in names]
        code = main(["predict", *words, "--json", "--model", "convex_hull", *flags])
        return code, [json.loads(text) for text in capsys.readouterr().out.splitlines()]

    code, (flat, whole) = ask("flat", "ball")
    assert code == 1
    assert flat.keys() == {"file", "error"}
    assert flat["error"].startswith(
        f"{files['flat']}: --strict refuses a scan with a warning: the points lie"
    )
    assert "com" in whole
    assert ask("flat")[0] == 2
    code, (answered,) = ask("flat", flags=())
    assert code == 0
    assert "one flat face" in answered["warnings"][0]
    assert main(["predict", *map(str, files.values()), "--model", "convex_hull", "--strict"]) == 1
    out, err = capsys.readouterr()
    assert err.count("--strict refuses") == 1
    assert "ball.npz" in out


def flickering(focal: float) -> Cloud:
    """An image whose pixels are near and far by turns, as no object looks."""
    depth = np.where(np.indices((20, 32)).sum(axis=0) % 2, 0.5, 2.0)
    return depth_to_cloud(depth, Intrinsics(focal, focal, 15.5, 9.5))


@pytest.mark.parametrize("from_poses", [False, True])
def test_a_depth_image_is_not_told_to_give_another_sensor(from_poses):
    """Its sensor stands at the optical centre, and only the intrinsics or the mask can be wrong."""
    cloud = merge_views([flickering(60)], [np.eye(4)]) if from_poses else flickering(60)
    predict = load_predictor("convex_hull").predict
    said = [one for one in predict(cloud, clean=False).warnings if "can be seen from" in one]
    assert said == [
        "the camera is not where these points can be seen from: some would hide others; check its intrinsics "
        "(--intrinsics), and that the mask shows one object"
    ]
    said = [one for one in predict(cloud, clean=False, sensor=np.zeros(3)).warnings if "some would" in one]
    assert [one.endswith("give the true one, in the frame of the points (--sensor)") for one in said] == [
        True
    ]


def test_a_depth_image_of_half_a_sphere_is_told_to_check_the_intrinsics():
    with pytest.raises(InputError) as caught:
        load_predictor("convex_hull").predict(flickering(3), clean=False)
    assert str(caught.value) == (
        "the depth image: the camera stands at 0,0,0, but the points surround it; check its intrinsics "
        "(--intrinsics)"
    )
