"""The untrained guesses: closed forms, symmetry, and what happens where a cloud spans no volume."""

import numpy as np
import pytest

from plumbline.evaluation.baselines import (
    BASELINES,
    baseline_predictions,
    bounding_box,
    convex_hull,
    point_mean,
    segment_baselines,
)

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)


def random_motion(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """A rotation or rotary reflection, a shift and a change of size."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return turn, rng.normal(size=3), float(rng.uniform(0.2, 5))


def cloud(rng: np.random.Generator, num: int = 60) -> np.ndarray:
    return rng.normal(size=(num, 3)) * (1.0, 0.6, 0.3) + (0, 0, 0.2)


class Store:
    """As much of a store as the baselines read."""

    def __init__(self, clouds: list[np.ndarray]) -> None:
        self.clouds = clouds

    def gather(self, indices):
        chosen = [self.clouds[i] for i in indices]
        ptr = np.cumsum([0, *map(len, chosen)])
        return type("Gathered", (), {"pos": np.concatenate(chosen), "node_ptr": ptr})


class TestClosedForms:
    def test_hull_of_a_pyramid_is_a_quarter_up(self):
        pyramid = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.2, 0.3, 2.0]])
        expected = 0.75 * np.array([0.5, 0.5, 0]) + 0.25 * pyramid[-1]
        np.testing.assert_allclose(convex_hull(pyramid), expected, atol=1e-14)
        assert np.linalg.norm(point_mean(pyramid) - expected) > 0.05

    def test_points_crowded_on_one_face_pull_the_mean_and_not_the_hull(self):
        rng = np.random.default_rng(0)
        crowd = np.column_stack([rng.random((500, 2)), np.zeros(500)])
        points = np.concatenate([CORNERS, crowd])
        np.testing.assert_allclose(convex_hull(points), [0.5, 0.5, 0.5], atol=1e-12)
        np.testing.assert_allclose(bounding_box(points), [0.5, 0.5, 0.5], atol=1e-15)
        assert point_mean(points)[2] < 0.05

    def test_hull_of_a_sampled_cube_surface(self):
        rng = np.random.default_rng(1)
        points = rng.random((4000, 3))
        side = rng.integers(0, 3, 4000)
        points[np.arange(4000), side] = rng.integers(0, 2, 4000)
        points = np.concatenate([points, CORNERS]) * (2, 3, 4)
        np.testing.assert_allclose(convex_hull(points), [1, 1.5, 2], atol=1e-12)

    def test_hull_of_a_half_ball_lies_three_eighths_up(self):
        rng = np.random.default_rng(2)
        shell = rng.normal(size=(6000, 3))
        shell /= np.linalg.norm(shell, axis=1, keepdims=True)
        shell[:, 2] = np.abs(shell[:, 2])
        rim = np.linspace(0, 2 * np.pi, 400)
        points = np.concatenate([shell, np.column_stack([np.cos(rim), np.sin(rim), 0 * rim])])
        np.testing.assert_allclose(convex_hull(points), [0, 0, 3 / 8], atol=3e-3)


class TestSymmetry:
    @pytest.mark.parametrize("name", ["point mean", "convex hull"])
    @pytest.mark.parametrize("seed", range(8))
    def test_moves_turns_mirrors_and_grows_with_the_points(self, name, seed):
        rng = np.random.default_rng(seed)
        points = cloud(rng)
        turn, shift, size = random_motion(rng)
        moved = BASELINES[name](size * points @ turn.T + shift)
        np.testing.assert_allclose(moved, size * BASELINES[name](points) @ turn.T + shift, atol=1e-10)

    def test_the_bounding_box_does_not_turn_with_the_points(self):
        rng = np.random.default_rng(0)
        points = cloud(rng)
        turn, shift, size = random_motion(rng)
        np.testing.assert_allclose(
            bounding_box(size * points + shift), size * bounding_box(points) + shift, atol=1e-12
        )
        assert np.linalg.norm(bounding_box(points @ turn.T) - bounding_box(points) @ turn.T) > 0.05


class TestDegenerateClouds:
    @pytest.mark.parametrize("num", [1, 2, 3])
    def test_too_few_points_for_a_volume(self, num):
        points = np.random.default_rng(num).normal(size=(num, 3))
        np.testing.assert_array_equal(convex_hull(points), point_mean(points))

    @pytest.mark.parametrize("far", [0.0, 1e3])
    def test_points_in_a_plane_or_on_a_line_or_in_one_place(self, far):
        rng = np.random.default_rng(3)
        flat = np.column_stack([rng.random((50, 2)), np.zeros(50)]) + far
        line = np.outer(np.arange(20.0), [1, 2, 3]) + far
        same = np.full((10, 3), far)
        for points in (flat, line, same):
            np.testing.assert_array_equal(convex_hull(points), point_mean(points))

    def test_fall_backs_are_counted(self):
        rng = np.random.default_rng(4)
        clouds = [cloud(rng), cloud(rng, 3), cloud(rng) * (1, 1, 0), cloud(rng)]
        answers = baseline_predictions(Store(clouds), np.arange(4))
        assert answers.flat == 2
        for graph in (1, 2):
            np.testing.assert_allclose(answers.predictions["convex hull"][graph], clouds[graph].mean(axis=0))
        assert not np.allclose(answers.predictions["convex hull"][0], clouds[0].mean(axis=0))


class TestManyGraphs:
    def test_segments_equal_one_graph_at_a_time(self, monkeypatch):
        monkeypatch.setattr("plumbline.evaluation.baselines.CHUNK", 7)
        rng = np.random.default_rng(5)
        clouds = [cloud(rng, int(num)).astype(np.float32) for num in rng.integers(1, 90, size=40)]
        indices = rng.permutation(40)[:30]
        answers = baseline_predictions(Store(clouds), indices)
        assert list(answers.predictions) == list(BASELINES)
        for name, baseline in BASELINES.items():
            expected = np.stack([baseline(clouds[i]) for i in indices])
            np.testing.assert_allclose(answers.predictions[name], expected, atol=1e-12)

    def test_only_the_named_ones(self):
        rng = np.random.default_rng(6)
        answers = segment_baselines(cloud(rng), np.array([0, 20, 60]), ["bounding box"])
        assert list(answers.predictions) == ["bounding box"]
        assert answers.predictions["bounding box"].shape == (2, 3)

    def test_no_graphs(self):
        answers = baseline_predictions(Store([]), np.array([], dtype=int))
        assert {name: array.shape for name, array in answers.predictions.items()} == dict.fromkeys(
            BASELINES, (0, 3)
        )

    def test_an_unknown_name(self):
        with pytest.raises(KeyError, match="crystal ball"):
            segment_baselines(np.zeros((4, 3)), np.array([0, 4]), ["crystal ball"])
