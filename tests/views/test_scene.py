"""What is drawn of a prediction: which points, which bodies, from where."""

from dataclasses import replace

import numpy as np
import pytest

from plumbline.geometry.rotations import random_rotation
from plumbline.predictors.predictor import load_predictor
from plumbline.records import Cloud
from plumbline.views.scene import first_view, principal_axes, scene_of, uncertainty
from tests.helpers.drawn import SENSOR, SHAPE, dirty_cloud, known, scene


def test_what_is_drawn_as_left_out_is_what_the_predictor_left_out():
    cloud = dirty_cloud()
    for clean in (True, False):
        answer = load_predictor("convex_hull").predict(cloud, clean=clean)
        drawn = scene_of(cloud, answer, name="a", sensor=None, clean=clean)
        assert len(drawn.left_out) == round(answer.left_out * answer.num_points) == (90 if clean else 0)
        assert len(drawn.kept) + len(drawn.left_out) == answer.num_points
    cleaned = scene_of(cloud, answer, name="a", sensor=None, clean=True)
    assert (np.abs(cleaned.left_out[:, 2] - 4) < 1e-12).all(), "the wall"
    assert (np.linalg.norm(cleaned.kept, axis=1) < 1.001).all(), "the ball"
    np.testing.assert_array_equal(cleaned.sensors, [SENSOR])


def test_a_mask_that_the_cloud_brings_along_decides():
    cloud = dirty_cloud()
    mask = np.arange(len(cloud.points)) % 3 > 0
    given = replace(cloud, on_object=mask)
    answer = load_predictor("convex_hull").predict(given)
    drawn = scene_of(given, answer, name="a", sensor=None, clean=True)
    np.testing.assert_array_equal(drawn.left_out, cloud.points[~mask])
    assert answer.left_out == pytest.approx(1 - mask.mean())


def test_a_given_sensor_takes_precedence():
    cloud = dirty_cloud()
    drawn = scene_of(cloud, known(), name="a", sensor=(1, 2, -9), clean=True)
    np.testing.assert_array_equal(drawn.sensors, [[1, 2, -9]])


def test_the_ellipsoid_holds_what_the_covariance_says():
    body = uncertainty(known())
    inverse = np.linalg.inv(SHAPE)
    np.testing.assert_allclose(np.einsum("ki,ij,kj->k", body, inverse, body), 6.251388631, rtol=1e-9)
    np.testing.assert_allclose(body.T @ body, 6.251388631 * SHAPE, rtol=1e-9, atol=1e-12)
    lengths = np.linalg.norm(body, axis=1)
    assert (np.diff(lengths) < 0).all()
    ball = uncertainty(replace(known(), covariance=None))
    np.testing.assert_array_equal(ball, 0.4 * np.eye(3))
    assert uncertainty(replace(known(), covariance=None, radius_90=None)) is None


def test_principal_axes_are_those_of_the_ellipsoid_with_this_inertia():
    """A solid ellipsoid of semi-axes a, b, c has the moments (b^2 + c^2) / 5 and so on."""
    turn = random_rotation(np.random.default_rng(5))
    semi = np.array([3.0, 2.0, 0.5])
    inertia = turn @ np.diag(((semi**2).sum() - semi**2) / 5) @ turn.T
    found = principal_axes(replace(known(), inertia=inertia))
    np.testing.assert_allclose(np.abs(found @ turn), np.diag(semi), atol=1e-10)
    assert principal_axes(replace(known(), inertia=None)) is None


def test_bodies_turn_with_the_object():
    turn = random_rotation(np.random.default_rng(6)) @ np.diag([1, 1, -1.0])
    moved = replace(known(), covariance=turn @ SHAPE @ turn.T)
    here, there = uncertainty(known()), uncertainty(moved)
    np.testing.assert_allclose(
        np.abs(np.sum(there * (here @ turn.T), axis=1)), np.sum(here**2, axis=1), atol=1e-10
    )
    assert np.abs(there.T @ there - here.T @ here).max() > 1e-2


@pytest.mark.parametrize("sensor", [[0, 0, -4.0], [0, 0, 5.0], [3, 0, 0], [0, -7, 0.1]])
def test_the_first_view_is_from_the_side_of_the_sensor(sensor):
    view, lens = first_view(replace(scene(), sensors=np.array([sensor])))
    for axes in (view, lens):
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) > 0
    towards = sensor - scene().middle
    towards = towards / np.linalg.norm(towards)
    assert lens[2] @ towards == pytest.approx(1)
    assert 0.6 < view[2] @ towards < 0.9


def test_a_camera_looks_at_its_scene_the_right_way_up():
    points = dirty_cloud().points + [0, 0, 4]
    drawn = scene_of(Cloud(points, np.zeros(3)), known(), name="a", sensor=None, clean=True)
    assert first_view(drawn)[1][1] @ [0, -1, 0] > 0.9, "y points down"
    beside = replace(scene(), sensors=np.array([[6.0, 0, 1]]))
    assert first_view(beside)[1][1] @ [0, 0, 1] > 0.9, "z points up"


def test_few_points_are_drawn_of_many_and_the_same_ones_each_time():
    whole = scene()
    part, again = whole.thinned(400), whole.thinned(400)
    assert (len(part.kept), len(part.left_out)) == (360, 40), "strays are few, and have a tenth"
    np.testing.assert_array_equal(part.kept, again.kept)
    assert {*map(tuple, part.kept)} < {*map(tuple, whole.kept)}
    roomy = whole.thinned(1000)
    assert (len(roomy.kept), len(roomy.left_out)) == (910, 90), "all of them"
    swapped = replace(whole, kept=whole.left_out, left_out=whole.kept).thinned(400)
    assert (len(swapped.kept), len(swapped.left_out)) == (12, 388), "their share"
    same = whole.thinned(10_000)
    np.testing.assert_array_equal(same.kept, whole.kept)
