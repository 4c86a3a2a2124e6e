"""Risk-coverage curves by hand: orders, ties, areas, what is known."""

import json

import numpy as np
import pytest

from plumbline.evaluation.risk_coverage import refusal, risk_coverage

MISSES = np.array([0.4, 0.1, 0.3, 0.2])


def test_a_curve_is_the_mean_miss_of_those_answered():
    """Answered first, second, ...: 0.1, 0.4, 0.2, 0.3."""
    curve = risk_coverage(MISSES, np.array([2.0, 1.0, 9.0, 3.0]))
    np.testing.assert_allclose(curve, [0.1, 0.25, 0.7 / 3, 0.25], rtol=1e-12)
    np.testing.assert_allclose(risk_coverage(MISSES, MISSES), [0.1, 0.15, 0.2, 0.25], rtol=1e-12)
    np.testing.assert_allclose(risk_coverage(MISSES, -MISSES), [0.4, 0.35, 0.3, 0.25], rtol=1e-12)


def test_equal_scores_are_the_mean_over_all_orders():
    """0.1 is answered first, then 0.4 and 0.2 in any order, then 0.3."""
    score = np.array([5.0, 1.0, 7.0, 5.0])
    np.testing.assert_allclose(risk_coverage(MISSES, score), [0.1, 0.2, 0.7 / 3, 0.25], rtol=1e-12)
    np.testing.assert_allclose(risk_coverage(MISSES, np.zeros(4)), [0.25] * 4, rtol=1e-12)
    for order in ([3, 1, 0, 2], [2, 3, 1, 0]):
        np.testing.assert_allclose(risk_coverage(MISSES[order], score[order]), risk_coverage(MISSES, score))


def test_areas_and_shares():
    found = refusal(MISSES, novelty=np.array([2.0, 1.0, 9.0, 3.0]), relative=-MISSES)
    assert found.area("best possible") == pytest.approx(0.7 / 4)
    assert found.area("expected error") == pytest.approx(1.3 / 4), "the worst order"
    assert found.area("random") == pytest.approx(0.25)
    assert found.area("novelty") == pytest.approx((0.1 + 0.25 + 0.7 / 3 + 0.25) / 4)
    assert found.unusual == 0.75, "1 is not above 1"
    assert found.at("best possible", 0.5) == pytest.approx(0.15)
    assert found.at("best possible", 0.51) == pytest.approx(0.2)
    assert found.at("best possible", 0.01) == pytest.approx(0.1)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["answered"] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert plain["miss"]["best possible"] == pytest.approx(
        [0.1, 0.1, 0.15, 0.15, 0.15, 0.2, 0.2, 0.25, 0.25, 0.25]
    )
    assert plain["area"].keys() == plain["miss"].keys() == found.curves.keys()


def test_only_what_a_model_knows_is_an_order():
    assert refusal(MISSES, novelty=None, relative=None) is None
    found = refusal(MISSES, novelty=None, relative=MISSES)
    assert list(found.curves) == ["expected error", "best possible", "random"]
    assert found.unusual is None
    np.testing.assert_array_equal(found.curves["expected error"], found.curves["best possible"])
