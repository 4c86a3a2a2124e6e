"""From Python: what answers for scans, and what it refuses."""

import asyncio
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

import plumbline
from plumbline.cli import main
from plumbline.errors import InputError
from plumbline.geometry.clouds import Cloud
from plumbline.predictors.calibration import Calibration
from plumbline.predictors.predictor import UNTRAINED, Prediction, Predictor, load_predictor
from plumbline.predictors.untrained import BASELINES
from tests.helpers.scanned import box_points, simulate, write_scan
from tests.helpers.training_fixtures import fresh_environment

SENSOR = np.array([0.0, 0.0, 4.0])


def tell(answers) -> list:
    return [answer.com.tolist() if isinstance(answer, Prediction) else str(answer) for answer in answers]


# ------------------------------------------------------------------------------------------ right answers


@pytest.mark.parametrize("name", ["point_mean", "bounding_box", "oriented_box", "convex_hull"])
@pytest.mark.parametrize("shift", [np.zeros(3), np.array([3.0, -5.0, 11.0])])
def test_the_centre_of_a_box_seen_from_all_sides(name, shift):
    """All of its points are used, so symmetry says where every one of these answers is; it moves along."""
    points = box_points() + shift
    found = load_predictor(name).predict(points, sensor=SENSOR + shift, max_points=len(points))
    assert np.abs(found.com - shift).max() < 1e-6, "positions are float32 in units of the scan's size"
    assert found.com.dtype == np.float64
    assert (found.num_points, found.num_points_used) == (len(points), len(points))


@pytest.mark.parametrize("name", sorted(UNTRAINED))
def test_answers_differ_from_scan_to_scan_and_move_with_the_scan(name):
    predictor = load_predictor(name)
    scans = [simulate(number) for number in range(4)]
    found = [predictor.predict(scan.points, sensor=scan.sensor) for scan in scans]
    shift, factor = np.array([7.0, -3.0, 5.0]), 250.0
    for scan, answer in zip(scans, found, strict=True):
        there = predictor.predict(factor * scan.points + shift, sensor=factor * scan.sensor + shift)
        gap = np.linalg.norm(there.com - (factor * answer.com + shift)) / (factor * scan.bounding_radius)
        assert gap < 1e-5
        assert np.linalg.norm(answer.com - scan.com) < scan.bounding_radius
    apart = [np.linalg.norm(a.com - b.com) for i, a in enumerate(found) for b in found[:i]]
    assert min(apart) > 1e-3, "a constant would not do"


@pytest.mark.parametrize("source", ["carve", "mean_pushed", "ept", "gcn"])
def test_answers_are_those_of_the_command(trained, capsys, tmp_path, source):
    scans = [simulate(number, points=200 + 300 * number) for number in range(3)]
    files = [write_scan(tmp_path / f"{number}.npz", scan) for number, scan in enumerate(scans)]
    chosen = ["--checkpoint", str(trained[source])] if source in trained else ["--model", source]
    capsys.readouterr()
    assert main(["predict", "--json", "--draws", "2", *map(str, files), *chosen]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    predictor = plumbline.load_predictor(str(trained.get(source, source)))
    clouds = [Cloud(scan.points, scan.sensor) for scan in scans]
    for line, answer in zip(lines, predictor.predict_many(clouds, draws=2), strict=True):
        named = {"file": line["file"], "model": predictor.name}
        if predictor.checkpoint is not None:
            named["checkpoint"] = str(predictor.checkpoint)
        assert {**answer.to_dict(), **named} == line
    assert capsys.readouterr() == ("", "")
    assert predictor.symmetry == {"gcn": "none"}.get(source, "E(3)")
    assert (predictor.checkpoint is None) == (source not in trained)


@pytest.mark.parametrize("source", ["carve", "ept", "gcn"])
def test_one_at_a_time_and_together(trained, source):
    predictor = load_predictor(trained.get(source, source), batch_size=4)
    scans = [simulate(number % 5, points=60 + 7 * number) for number in range(11)]
    clouds = [Cloud(scan.points, scan.sensor) for scan in scans]
    together = list(predictor.predict_many(clouds))
    for scan, answer in zip(scans, together, strict=True):
        alone = predictor.predict(scan.points, sensor=scan.sensor)
        if source == "carve":
            np.testing.assert_array_equal(alone.com, answer.com)
        np.testing.assert_allclose(alone.com, answer.com, atol=1e-5 * scan.bounding_radius)
        assert (alone.expected_error is None) == (source != "ept")
        assert answer.sensor == "from the file"
        assert alone.sensor == "given"
    assert tell(predictor.predict_many(clouds)) == tell(together)


def test_the_radius_is_the_expected_error_stretched(trained):
    predictor, scan = load_predictor(trained["ept"]), simulate(1)
    without = predictor.predict(scan.points, sensor=scan.sensor)
    known = Calibration({"0.5": 0.7, "0.9": 2.0})
    loaded = replace(plumbline.load_checkpoint(trained["ept"]), calibration=known)
    found = Predictor.trained(loaded).predict(scan.points, sensor=scan.sensor)
    assert without.expected_error > 0
    assert without.radius_90 is None
    assert found.radius_90 == 2.0 * found.expected_error == 2.0 * without.expected_error
    assert (found.to_dict()["expected_error"], found.to_dict()["radius_90"]) == (
        found.expected_error, found.radius_90,
    )  # fmt: skip


def test_points_may_be_lists_integers_and_float32():
    predictor, points = load_predictor("bounding_box"), [[0, 0, 0], [4, 0, 0], [0, 2, 0], [0, 0, 6]]
    for given in (points, np.array(points), np.array(points, np.float32), np.array(points, np.int16)):
        answer = predictor.predict(given, sensor=[9, 9, 9])
        np.testing.assert_allclose(answer.com, [2, 1, 3], atol=1e-6)


def test_what_is_not_known_of_the_sensor_is_assumed_and_said():
    scan, predictor = simulate(2), load_predictor("carve")
    assumed = predictor.predict(scan.points + 3)
    given = predictor.predict(scan.points + 3, sensor=(0, 0, 0))
    assert (assumed.sensor, given.sensor) == ("assumed", "given")
    assert assumed.to_dict()["sensor"] == "assumed at the origin"
    np.testing.assert_array_equal(assumed.com, given.com)
    elsewhere = predictor.predict(scan.points + 3, sensor=(9, 9, 9))
    assert np.abs(elsewhere.com - given.com).max() > 1e-3
    many = list(
        predictor.predict_many([scan.points + 3, Cloud(scan.points + 3, scan.sensor)], sensor=(0, 0, 0))
    )
    assert [answer.sensor for answer in many] == ["given", "given"]
    assert tell(many) == [given.com.tolist()] * 2


def test_a_file_says_where_its_sensor_stood(tmp_path):
    scan, predictor = simulate(2), plumbline.load_predictor("carve")
    cloud = plumbline.load_cloud(write_scan(tmp_path / "a.npz", scan))
    found = predictor.predict(cloud)
    assert (found.sensor, found.num_views) == ("from the file", 3)
    assert tell([found]) == tell([predictor.predict(scan.points, sensor=scan.sensor)])
    assert tell(predictor.predict_many([cloud])) == tell([found])


def test_a_line_shows_neither_width_nor_depth():
    rng = np.random.default_rng(0)
    line = np.outer(np.linspace(0, 1, 200), [0.3, 0.1, 0.2]) + [0, 0, 1] + 1e-4 * rng.normal(size=(200, 3))
    (warning,) = load_predictor("convex_hull").predict(line, sensor=[0, 0, 0]).warnings
    assert warning.startswith("the points lie on one line")
    thick = line + 0.02 * rng.normal(size=(200, 3))
    answer = load_predictor("convex_hull").predict(thick, sensor=[0, 0, 0])
    assert not any("line" in said for said in answer.warnings)


def test_fewer_points_than_in_training_are_warned_about(trained):
    """The checkpoint knows how many points its scans had; the user may ask for fewer, too."""
    predictor = load_predictor(trained["ept"])
    fewest = predictor.usual_points
    points = np.random.default_rng(0).normal(size=(fewest, 3)) + [0, 0, 9]
    said = "points are used, but the model was trained on scans of at least"
    assert not any(said in warning for warning in predictor.predict(points, sensor=[0, 0, 0]).warnings)
    for answer in (
        predictor.predict(points[1:], sensor=[0, 0, 0], clean=False),
        predictor.predict(points, sensor=[0, 0, 0], max_points=fewest - 1),
    ):
        assert any(warning.startswith(f"only {fewest - 1} {said} {fewest}") for warning in answer.warnings)


def test_a_table_is_used_only_by_models_that_know_of_tables(trained):
    points = np.random.default_rng(0).normal(size=(200, 3)) + [0, 0, 9]
    for source in (trained["ept"], "convex_hull"):
        with pytest.raises(InputError, match=r"a table is given, but .* does not use any: leave it out"):
            load_predictor(source).predict(points, sensor=[0, 0, 0], table=[0, 0, 1, -5])


def test_views_are_those_that_are_named():
    scan, predictor = simulate(2), load_predictor("carve")
    assert len(np.unique(scan.view)) == 3
    found = predictor.predict(scan.points, sensor=scan.sensor)
    named = predictor.predict(scan.points, sensor=scan.sensor, view=scan.view * 7 - 3)
    one = predictor.predict(scan.points, sensor=scan.sensor, view=np.zeros(len(scan.points), int))
    assert (found.num_views, named.num_views, one.num_views) == (3, 3, 1)
    np.testing.assert_allclose(named.com, found.com, atol=1e-12)
    assert np.abs(one.com - found.com).max() > 1e-4


def test_a_prediction_cannot_be_changed():
    answer = load_predictor("carve").predict(simulate(0).points, sensor=SENSOR)
    with pytest.raises(FrozenInstanceError):
        answer.com = np.zeros(3)


# ------------------------------------------------------------------------------------------------ refusals


def test_one_bad_scan_does_not_lose_the_others(trained):
    scan = simulate(1)
    good, spot = Cloud(scan.points, scan.sensor), np.ones((5, 3))
    bad = [
        np.full((4, 3), np.nan),
        good,
        [[1, 2]],
        good,
        Cloud(spot, SENSOR, "a.ply"),
        InputError("gone"),
        good,
    ]
    for source in ("carve", trained["ept"]):
        predictor = load_predictor(source, batch_size=3)
        found = list(predictor.predict_many(iter(bad)))
        assert [isinstance(answer, Prediction) for answer in found] == [False, True] * 2 + [
            False,
            False,
            True,
        ]
        assert "scan 1: 4 points are not finite" in str(found[0])
        assert "scan 3: points of shape [1, 2]" in str(found[2])
        assert "a.ply: all 5 points are at one position" in str(found[4])
        assert found[5] is bad[5]
        assert all(isinstance(answer, InputError | Prediction) for answer in found)
    assert list(predictor.predict_many([])) == []


@pytest.mark.parametrize(
    ("points", "options", "said"),
    [
        ([[0, 0, 0], [1, 1]], {}, "points must be an array of numbers"),
        ([["a", "b", "c"]], {}, "points contains <U1 instead of numbers"),
        (np.zeros((3, 3), complex), {}, "contains complex128"),
        (np.zeros((0, 3)), {}, "has no points"),
        (np.eye(3)[0], {}, "points of shape [3]"),
        ([[0, 0, np.inf], [1, 1, 1]], {}, "1 point is not finite, the first is number 1"),
        (np.ones((1, 3)), {}, "there is 1 point"),
        (1e-200 * np.random.default_rng(0).normal(size=(40, 3)), {}, "too small in any unit; check the unit"),
        (np.eye(3), {"sensor": [1, 2]}, "3 finite numbers, or 3 for each point"),
        (np.eye(3), {"sensor": [np.nan] * 3}, "3 finite numbers"),
        (np.eye(3), {"sensor": "door"}, "sensor contains <U4"),
        (np.eye(3), {"sensor": [1, 0, 0]}, "1 point lies at the sensor"),
        (np.eye(3), {"view": [0, 1]}, "view must be [N], one whole number for each of the 3 points"),
        (np.eye(3), {"view": [0, 0.5, 1]}, "view must be [N]"),
        (np.eye(3), {"max_points": 1}, "max_points must be at least 2, got 1"),
        (np.eye(3), {"draws": 0}, "draws must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_is_no_scan_is_refused_with_one_sentence(points, options, said):
    with pytest.raises(InputError) as caught:
        load_predictor("convex_hull").predict(points, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_refuses_its_options_at_once():
    with pytest.raises(InputError, match="draws must be at least 1"):
        load_predictor("carve").predict_many([], draws=0)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("carv", "did you mean 'carve'?"),
        ("point mean", "did you mean 'point_mean'?"),
        ("oracle", "no untrained baseline 'oracle': the baselines are point_mean, bounding_box"),
        (Path("carve"), "checkpoint carve: there is no such file or folder"),
        ("", "neither best-model"),
        ("pretraind", "did you mean 'pretrained'?"),
        (7, "from a path or the name of a baseline, got 7"),
    ],
)
def test_what_no_predictor_is_loaded_from(tmp_path, monkeypatch, source, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load_predictor(source)
    assert said in str(caught.value)


def test_a_guess_wins_over_a_folder_of_its_name_and_a_path_does_not(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "carve").symlink_to(trained["gcn"].parent)
    assert load_predictor("carve").checkpoint is None
    assert load_predictor(Path("carve")).name == load_predictor("./carve").name == "gcn"


def test_options_that_cannot_be_meant(trained):
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        load_predictor("carve", batch_size=0)
    with pytest.raises(InputError, match="accelerator must be auto, cpu, cuda or mps, got 'tpu'"):
        load_predictor(trained["gcn"], accelerator="tpu")


def test_every_guess_has_a_name_and_a_symmetry():
    assert set(UNTRAINED) == {name.replace(" ", "_") for name in BASELINES}
    assert {load_predictor(name).symmetry for name in UNTRAINED} == {"E(3)", "translation"}
    assert repr(load_predictor("carve")) == "<Predictor carve (untrained), symmetry E(3)>"


# -------------------------------------------------------------------------------------- in other programs


@pytest.mark.parametrize("source", ["carve", "ept"])
def test_several_threads_use_one_predictor(trained, source):
    predictor = load_predictor(trained.get(source, source), accelerator="cpu")
    scans = [simulate(number % 5, points=80 + number) for number in range(24)]

    def answer(scan) -> list[float]:
        return predictor.predict(scan.points, sensor=scan.sensor).com.tolist()

    alone = [answer(scan) for scan in scans]
    ready = threading.Barrier(6)

    def work(part: int) -> list[list[float]]:
        ready.wait()
        return [answer(scan) for scan in scans[part::6]]

    with ThreadPoolExecutor(6) as pool:
        for part, found in enumerate(pool.map(work, range(6))):
            assert found == alone[part::6]


def test_a_generator_that_is_left_leaves_no_thread(trained):
    predictor = load_predictor("carve", batch_size=1)
    scan, before = simulate(0), threading.active_count()
    answers = predictor.predict_many(Cloud(scan.points, scan.sensor) for _ in range(100))
    assert isinstance(next(iter(answers)), Prediction)
    answers.close()
    assert threading.active_count() == before


PROGRAM = """
import asyncio, os, random, signal, sys, threading, warnings
import numpy as np
source, folder = sys.argv[1:]
os.chdir(folder)
rng = np.random.default_rng(0)
points = rng.normal(size=(90, 3)) + [0, 0, 5]
handlers = [signal.getsignal(number) for number in sorted(signal.valid_signals())]
filters, hook = list(warnings.filters), sys.excepthook
random.seed(1); np.random.seed(1)

import plumbline
def ask():
    predictor = plumbline.load_predictor(source)
    one = predictor.predict(points).com
    (many,) = predictor.predict_many([points])
    assert np.abs(one - many.com).max() < 1e-5, "alone and among others; the radius is about 3"
    return one.tolist()

first = ask()
assert first == ask(), "twice"
found = []
thread = threading.Thread(target=lambda: found.append(ask()))
thread.start(); thread.join()
assert found == [first], "in a thread"
async def loop():
    return ask()
assert asyncio.run(loop()) == first, "under a running event loop"

assert os.getcwd() == os.path.realpath(folder)
assert handlers == [signal.getsignal(number) for number in sorted(signal.valid_signals())]
assert hook is sys.excepthook
assert threading.active_count() == 1, threading.enumerate()
assert random.random() == random.Random(1).random()
assert np.random.random() == np.random.RandomState(1).random_sample()
assert not {"lightning", "trimesh", "matplotlib", "rich"} & set(sys.modules)
assert ("torch" in sys.modules) == (source != "carve")
if "torch" in sys.modules:
    import torch
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.initial_seed() == torch.default_generator.initial_seed()
"""


@pytest.mark.parametrize("source", ["carve", "ept"])
def test_in_a_fresh_process_nothing_is_printed_and_nothing_left_behind(trained, tmp_path, source):
    command = [sys.executable, "-c", PROGRAM, str(trained.get(source, source)), str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=fresh_environment(OMP_NUM_THREADS="2"), timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr


def test_under_a_running_event_loop_beside_other_work(trained):
    """A notebook's loop runs while one asks; the predictor may also be handed to a thread of it."""
    predictor, scan = load_predictor("carve"), simulate(0)
    wanted = predictor.predict(scan.points, sensor=scan.sensor).com.tolist()

    async def notebook() -> list[list[float]]:
        here = predictor.predict(scan.points, sensor=scan.sensor)
        there = await asyncio.to_thread(predictor.predict, scan.points, sensor=scan.sensor)
        return [here.com.tolist(), there.com.tolist()]

    assert asyncio.run(notebook()) == [wanted, wanted]
