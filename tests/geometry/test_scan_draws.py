"""What is drawn for each scan, and what each draw takes from the generator."""

import numpy as np
import pytest

from plumbline.geometry.scans import _draw
from tests.helpers.scans import scan_settings


def drawn(number=400, **settings):
    """A column for each thing that is drawn, of as many scans in a row."""
    rng = np.random.default_rng(0)
    draws = [_draw(scan_settings(**settings), rng) for _ in range(number)]
    return {name: np.array([getattr(each, name) for each in draws]) for name in draws[0]._fields}


def test_points_are_drawn_evenly_on_a_logarithmic_scale():
    points = drawn(points=(128, 512))["points"]
    assert points.dtype.kind == "i"
    assert 128 <= points.min() < 133
    assert 495 < points.max() <= 512
    for share in (0.25, 0.5, 0.75):
        assert np.mean(points < 128 * 4**share) == pytest.approx(share, abs=0.08)
    assert np.bincount(drawn(300, points=(16, 18))["points"], minlength=19)[16:].min() > 70


def test_noise_is_drawn_evenly():
    noise = drawn(noise=(0.0, 0.03))["noise"]
    assert 0 <= noise.min() < 0.001
    assert 0.029 < noise.max() <= 0.03
    assert np.quantile(noise, [0.25, 0.5, 0.75]) == pytest.approx([0.0075, 0.015, 0.0225], abs=0.002)


def test_views_are_drawn_evenly():
    views = drawn(views=(1, 3))["views"]
    assert np.bincount(views)[1:] == pytest.approx([133, 133, 133], abs=30)


def test_mixed_sampling_is_either_way_half_the_time():
    sampling = drawn(sampling="mixed")["sampling"]
    assert np.mean(sampling == "random") == pytest.approx(0.5, abs=0.08)
    assert set(sampling) == {"farthest", "random"}


def test_draws_are_independent_of_each_other():
    found = drawn(views=(1, 3), points=(128, 512), noise=(0.0, 0.03), sampling="mixed")
    columns = [found["views"], np.log(found["points"]), found["noise"], found["sampling"] == "random"]
    assert np.abs(np.corrcoef(np.array(columns, float)) - np.eye(4)).max() < 0.15


def test_what_is_one_value_takes_nothing_from_the_generator():
    """So a data set of single values keeps its bytes."""
    for views in ((2, 2), (1, 3)):
        ours, plain = np.random.default_rng(7), np.random.default_rng(7)
        for _ in range(3):
            settings = scan_settings(views=views, points=48, noise=0.01, sampling="random")
            assert _draw(settings, ours) == (plain.integers(*views, endpoint=True), 48, 0.01, "random")
            assert ours.bit_generator.state == plain.bit_generator.state
