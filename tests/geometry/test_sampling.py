"""Farthest-point and random sampling."""

import numpy as np
import pytest

from plumbline.errors import InputError
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.sampling import choose_points, farthest_points, thin_scan
from plumbline.records import Scan


def cloud(num=400, seed=0):
    return np.random.default_rng(seed).standard_normal((num, 3))


def test_equals_the_plain_definition():
    points = cloud()
    chosen = [int(np.argmax(np.linalg.norm(points - points.mean(0), axis=1)))]
    while len(chosen) < 50:
        distance = np.linalg.norm(points[:, None] - points[chosen], axis=2).min(axis=1)
        chosen.append(int(distance.argmax()))
    assert farthest_points(points, 50).tolist() == chosen


def test_invariant_to_rotation_mirror_shift_and_scale():
    points, rng = cloud(), np.random.default_rng(1)
    expected = farthest_points(points, 100)
    for sign in (1, -1):
        moved = 3.0 * points @ (sign * random_rotation(rng)).T + [10, -20, 30]
        np.testing.assert_array_equal(farthest_points(moved, 100), expected)


def test_a_prefix_is_a_smaller_sample_and_all_is_a_permutation():
    points = cloud(100)
    everything = farthest_points(points, 100)
    assert sorted(everything) == list(range(100))
    np.testing.assert_array_equal(farthest_points(points, 30), everything[:30])
    assert everything[0] == np.linalg.norm(points - points.mean(axis=0), axis=1).argmax()


def test_covers_better_than_chance():
    points = cloud(2000)

    def gap(kept):
        return np.linalg.norm(points[:, None] - points[kept], axis=2).min(axis=1).max()

    assert gap(farthest_points(points, 64)) < 0.7 * gap(np.random.default_rng(0).permutation(2000)[:64])


def test_duplicates_are_chosen_once_each_and_ties_by_index():
    points = np.repeat(np.array([[0.0, 0, 0], [1, 0, 0]]), 5, axis=0)
    assert sorted(farthest_points(points, 10)) == list(range(10))
    assert farthest_points(points, 3).tolist() == [0, 5, 1]
    assert farthest_points(np.zeros((4, 3)), 4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("sampling", ["farthest", "random"])
def test_choosing_gives_different_points_and_all_where_there_are_few(sampling):
    points, order = cloud(1000), np.random.default_rng(5).permutation(1000)
    kept = choose_points(points, 64, sampling=sampling, order=order)
    assert len(set(kept.tolist())) == 64
    assert set(kept.tolist()) <= set(order[:256].tolist())
    assert sorted(choose_points(points, 5000, sampling=sampling, order=order)) == list(range(1000))


def test_thinning_a_scan_keeps_rows_together():
    points = cloud(500)
    scan = Scan(points, 2 * points, np.arange(500), np.ones(3), 4.0)
    thin = thin_scan(scan, 50, sampling="farthest", rng=np.random.default_rng(6))
    assert len(thin.points) == 50
    np.testing.assert_array_equal(thin.points, points[thin.view])
    np.testing.assert_array_equal(thin.sensor, 2 * thin.points)
    assert thin.bounding_radius == 4.0


@pytest.mark.parametrize("num", [0, 401])
def test_impossible_numbers_are_refused(num):
    with pytest.raises(InputError, match="of 400 points"):
        farthest_points(cloud(), num)
