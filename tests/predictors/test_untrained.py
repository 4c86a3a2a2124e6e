"""The untrained guesses: closed forms, symmetry from scan to answer, and what happens without a volume."""

import subprocess
import sys

import numpy as np
import pytest

from plumbline.data.store.in_memory import MemoryStore
from plumbline.geometry.graphs import LEADERS, build_sample
from plumbline.predictors import untrained as baselines
from plumbline.predictors.untrained import BASELINES, USUAL, Scans, baseline_predictions
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Scan

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
FROM_POINTS = [name for name, baseline in BASELINES.items() if not baseline.needs]
EQUIVARIANT = [name for name, baseline in BASELINES.items() if baseline.symmetry == "E(3)"]


def answer(name: str, points: np.ndarray, **vectors: np.ndarray) -> np.ndarray:
    """Of one scan, as ``[3]``."""
    (found,) = BASELINES[name](Scans.of(points, **vectors))
    return found


def random_motion(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """A rotation or rotary reflection, a shift and a change of size."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return turn, rng.normal(size=3), float(rng.uniform(0.2, 5))


def cloud(rng: np.random.Generator, num: int = 60) -> np.ndarray:
    return rng.normal(size=(num, 3)) * (1.0, 0.6, 0.3) + (0, 0, 0.2)


def scan_of(rng: np.random.Generator, views: int) -> Scan:
    """Points on a lopsided body, each seen by the sensor it faces most."""
    points = rng.normal(size=(200, 3))
    points *= np.array([1.0, 0.7, 0.4]) / np.linalg.norm(points, axis=1, keepdims=True)
    points[:, 0] += 0.3 * points[:, 1] ** 2
    stations = 3 * np.array([[1.0, 0.2, 0.1], [-0.3, 1.0, 0.4], [0.1, -0.4, 1.0]])[:views]
    facing = points @ stations.T
    seen = facing.max(axis=1) > 0.4
    view = facing.argmax(axis=1)[seen]
    return Scan(points=points[seen], sensor=stations[view], view=view, com=None, bounding_radius=None)


def moved(scan: Scan, turn: np.ndarray, shift: np.ndarray, size: float) -> Scan:
    points, sensor = (size * part @ turn.T + shift for part in (scan.points, scan.sensor))
    return Scan(points=points, sensor=sensor, view=scan.view, com=None, bounding_radius=None)


def store_of(scans: list[Scan]) -> MemoryStore:
    """As a single scan is answered: graph and vectors computed from the points, float64, as scanned."""
    graph = {"k": 6, "edge_attr": "none", "sh_degree": 0, "normalise": "none", "dtype": np.float64}
    samples = [build_sample(scan, object_name="a", **graph) for scan in scans]
    names = {"feature_names": FEATURE_NAMES, "vector_names": VECTOR_NAMES}
    return MemoryStore(samples, **names, leaders=LEADERS, k=6)


class Store:
    """As much of a store without vectors as the baselines read."""

    vector_names = ()

    def __init__(self, clouds: list[np.ndarray]) -> None:
        self.clouds = clouds

    def gather(self, indices):
        chosen = [self.clouds[i] for i in indices]
        fields = {"pos": np.concatenate(chosen), "node_ptr": np.cumsum([0, *map(len, chosen)])}
        return type("Gathered", (), {**fields, "vectors": np.zeros((len(chosen), 0, 3))})


class TestClosedForms:
    def test_hull_of_a_pyramid_is_a_quarter_up(self):
        pyramid = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.2, 0.3, 2.0]])
        expected = 0.75 * np.array([0.5, 0.5, 0]) + 0.25 * pyramid[-1]
        np.testing.assert_allclose(answer("convex hull", pyramid), expected, atol=1e-14)
        assert np.linalg.norm(answer("point mean", pyramid) - expected) > 0.05

    def test_points_crowded_on_one_face_pull_the_mean_and_neither_hull_nor_box(self):
        crowd = np.column_stack([np.random.default_rng(0).random((500, 2)), np.zeros(500)])
        points = np.concatenate([CORNERS, crowd])
        np.testing.assert_allclose(answer("convex hull", points), [0.5, 0.5, 0.5], atol=1e-12)
        np.testing.assert_allclose(answer("bounding box", points), [0.5, 0.5, 0.5], atol=1e-15)
        assert answer("point mean", points)[2] < 0.05

    def test_hull_of_a_half_ball_lies_three_eighths_up(self):
        rng = np.random.default_rng(2)
        shell = rng.normal(size=(6000, 3))
        shell /= np.linalg.norm(shell, axis=1, keepdims=True)
        shell[:, 2] = np.abs(shell[:, 2])
        rim = np.linspace(0, 2 * np.pi, 400)
        points = np.concatenate([shell, np.column_stack([np.cos(rim), np.sin(rim), 0 * rim])])
        np.testing.assert_allclose(answer("convex hull", points), [0, 0, 3 / 8], atol=3e-3)

    def test_the_oriented_box_finds_the_middle_of_a_turned_box(self):
        rng = np.random.default_rng(1)
        turn, shift, _ = random_motion(rng)
        # Mirrored across and crowded at one end: the axes stay, the mean does not.
        inside = rng.uniform((0.1, -0.4, -0.4), 0.4, (30, 3))
        points = np.concatenate([CORNERS - 0.5, inside]) * (4, 2, 1)
        points = np.concatenate([points * (1, y, z) for y in (1, -1) for z in (1, -1)]) @ turn.T + shift
        np.testing.assert_allclose(answer("oriented box", points), shift, atol=1e-12)
        assert np.linalg.norm(answer("point mean", points) - shift) > 0.5
        assert np.linalg.norm(answer("bounding box", points) - shift) < 1e-12

    def test_the_alpha_shape_leaves_out_the_hollow_of_an_l(self, monkeypatch):
        axis = np.arange(0, 3.01, 0.25)
        x, y, z = (part.ravel() for part in np.meshgrid(axis, axis, axis[:5], indexing="ij"))
        keep = (x <= 1) | (y <= 1)
        points = np.column_stack([x, y, z])[keep]
        points += np.random.default_rng(0).normal(0, 1e-3, points.shape)
        # Two bars 3 x 1 and 2 x 1 in the plane: centre of mass (3 * 0.5 + 2 * 2) / 5 along x.
        np.testing.assert_allclose(answer("alpha shape", points), [1.1, 1.1, 0.5], atol=0.03)
        assert np.abs(answer("convex hull", points)[:2] - 1.1).min() > 0.1
        # Corners have their 4th nearest across a face: 0.354. Circumradii: cells 0.217, faces 0.177.
        monkeypatch.setattr(baselines, "ALPHA", 0.66)
        np.testing.assert_allclose(answer("alpha shape", points), [1.1, 1.1, 0.5], atol=0.03)
        monkeypatch.setattr(baselines, "ALPHA", 0.45)
        np.testing.assert_allclose(answer("alpha shape", points), answer("convex hull", points))

    def test_an_alpha_shape_without_tetrahedra_is_the_hull(self, monkeypatch):
        points = cloud(np.random.default_rng(3))
        assert np.linalg.norm(answer("alpha shape", points) - answer("convex hull", points)) > 1e-3
        monkeypatch.setattr(baselines, "ALPHA", 1e-6)
        np.testing.assert_array_equal(answer("alpha shape", points), answer("convex hull", points))
        monkeypatch.setattr(baselines, "ALPHA", 1e9)
        np.testing.assert_allclose(answer("alpha shape", points), answer("convex hull", points), atol=1e-12)

    def test_carve_and_hull_are_the_stored_vectors_from_the_mean(self):
        points = cloud(np.random.default_rng(4))
        hull, carved = np.array([0.1, 0.2, 0.3]), np.array([-1.0, 0, 2])
        np.testing.assert_allclose(answer("carve", points, carve=carved), points.mean(axis=0) + carved)
        np.testing.assert_allclose(answer("convex hull", points, hull=hull), points.mean(axis=0) + hull)

    @pytest.mark.parametrize(
        ("name", "base", "constants"),
        [("mean pushed", "point mean", baselines.MEAN_PUSH), ("carve pushed", "carve", baselines.CARVE_PUSH),
         ("hull pushed", "convex hull", baselines.HULL_PUSH)],
    )  # fmt: skip
    def test_pushed_away_from_the_sensors_and_less_where_they_surround_the_object(
        self, name, base, constants
    ):
        points = 2 * cloud(np.random.default_rng(5))
        size = np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean())
        most, power = constants
        for length in (1.0, 0.5):
            vectors = {"carve": np.ones(3), "view": length * np.array([0, 0.6, 0.8])}
            push = answer(name, points, **vectors) - answer(base, points, **vectors)
            np.testing.assert_allclose(push, -most * size * length**power * np.array([0, 0.6, 0.8]))
        assert 0.1 < most < 0.4
        assert power > 1


class TestSymmetry:
    def test_is_declared(self):
        assert {name for name in BASELINES if name not in EQUIVARIANT} == {"bounding box"}
        assert BASELINES["bounding box"].symmetry == "translation"

    @pytest.mark.parametrize("views", [1, 3])
    @pytest.mark.parametrize("seed", range(3))
    def test_answers_move_turn_mirror_and_grow_with_the_scan(self, seed, views):
        rng = np.random.default_rng(seed)
        scan = scan_of(rng, views)
        turn, shift, size = random_motion(rng)
        found = baseline_predictions(
            store_of([scan, moved(scan, turn, shift, size)]), np.arange(2), EQUIVARIANT
        ).predictions
        assert list(found) == EQUIVARIANT
        for name, (still, after) in found.items():
            np.testing.assert_allclose(after, size * turn @ still + shift, atol=1e-10 * size, err_msg=name)
        answers = np.stack([both[0] for both in found.values()])
        apart = np.linalg.norm(answers[:, None] - answers, axis=-1) + np.eye(len(answers))
        assert apart.min() > 1e-4, "two baselines are the same"

    def test_the_bounding_box_does_not_turn_with_the_points(self):
        rng = np.random.default_rng(0)
        points = cloud(rng)
        turn, shift, size = random_motion(rng)
        still = answer("bounding box", points)
        np.testing.assert_allclose(
            answer("bounding box", size * points + shift), size * still + shift, atol=1e-12
        )
        assert np.linalg.norm(answer("bounding box", points @ turn.T) - turn @ still) > 0.05


class TestDegenerateClouds:
    @pytest.mark.parametrize("name", ["convex hull", "alpha shape"])
    @pytest.mark.parametrize("num", [1, 2, 3])
    def test_too_few_points_for_a_volume(self, name, num):
        points = np.random.default_rng(num).normal(size=(num, 3))
        np.testing.assert_array_equal(answer(name, points), answer("point mean", points))

    @pytest.mark.parametrize("name", FROM_POINTS)
    @pytest.mark.parametrize("far", [0.0, 1e3])
    def test_points_in_a_plane_or_on_a_line_or_in_one_place(self, name, far):
        rng = np.random.default_rng(3)
        flat = np.column_stack([rng.random((50, 2)), np.zeros(50)]) + far
        line = np.outer(np.arange(20.0), [1, 2, 3]) + far
        same = np.full((10, 3), far)
        for points in (flat, line, same):
            found = answer(name, points)
            if "box" in name:
                assert np.isfinite(found).all()
            else:
                np.testing.assert_array_equal(found, answer("point mean", points))

    def test_fall_backs_are_counted(self):
        rng = np.random.default_rng(4)
        clouds = [cloud(rng), cloud(rng, 3), cloud(rng) * (1, 1, 0), cloud(rng)]
        answers = baseline_predictions(Store(clouds), np.arange(4), FROM_POINTS)
        assert answers.flat == 2
        for graph in (1, 2):
            np.testing.assert_allclose(answers.predictions["convex hull"][graph], clouds[graph].mean(axis=0))
        assert not np.allclose(answers.predictions["convex hull"][0], clouds[0].mean(axis=0))


class TestManyGraphs:
    def test_many_scans_equal_one_at_a_time(self, monkeypatch):
        monkeypatch.setattr("plumbline.predictors.untrained.CHUNK", 7)
        rng = np.random.default_rng(5)
        scans = [scan_of(rng, int(views)) for views in rng.integers(1, 4, size=20)]
        indices = rng.permutation(20)[:16]
        answers = baseline_predictions(store_of(scans), indices, tuple(BASELINES))
        assert list(answers.predictions) == list(BASELINES)
        assert (answers.flat, answers.left_out) == (0, ())
        for row, graph in enumerate(indices):
            one = baseline_predictions(store_of([scans[graph]]), np.array([0]), tuple(BASELINES))
            for name in BASELINES:
                np.testing.assert_allclose(
                    answers.predictions[name][row], one.predictions[name][0], atol=1e-12
                )

    def test_those_that_lack_their_vectors_are_left_out_by_name(self):
        clouds = [cloud(np.random.default_rng(6))]
        answers = baseline_predictions(Store(clouds), np.array([0]))
        assert list(answers.predictions) == ["point mean", "bounding box", "convex hull"]
        assert answers.left_out == ("carve", "carve pushed")
        assert set(USUAL) == {*answers.predictions, *answers.left_out}

    def test_no_graphs(self):
        answers = baseline_predictions(Store([]), np.array([], dtype=int))
        assert {name: array.shape for name, array in answers.predictions.items()} == dict.fromkeys(
            ["point mean", "bounding box", "convex hull"], (0, 3)
        )

    def test_an_unknown_name(self):
        with pytest.raises(KeyError, match="crystal ball"):
            baseline_predictions(Store([CORNERS]), np.array([0]), ["crystal ball"])

    def test_no_torch_is_loaded(self):
        code = (
            "import sys, plumbline.data.store.in_memory, plumbline.predictors.untrained; "
            "print('torch' in sys.modules)"
        )
        shown = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
        )
        assert shown.stdout.strip() == "False"
