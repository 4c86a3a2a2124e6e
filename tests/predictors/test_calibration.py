"""What is learnt from held-out graphs: reach of the errors, size of the ellipsoids, usual scans."""

import io
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from plumbline.predictors import calibration
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import (
    GAUSSIAN_90,
    Calibration,
    Usual,
    calibrate,
    conformal_factors,
    ellipsoids,
    mahalanobis,
    usual_features,
)
from plumbline.records import Float


def calibrated(error: np.ndarray, *, expected: Any, covariance: Any, features: Any) -> Calibration:
    answers = Answers(np.zeros_like(error), expected, covariance, features=features)
    return calibrate(error, answers)


def covariances(rng: np.random.Generator, number: int) -> Float:
    """``[number, 3, 3]`` of all sizes and shapes."""
    factor = rng.normal(size=(number, 3, 3)) * rng.uniform(0.01, 3, size=(number, 1, 3))
    found: Float = factor @ factor.transpose(0, 2, 1)
    return found


def errors(rng: np.random.Generator, covariance: Float, kind: str) -> Float:
    """Errors ``[G, 3]`` of these shapes: Gaussian, or elliptical with heavy tails."""
    way = rng.normal(size=(len(covariance), 3))
    if kind == "heavy tails":
        way *= rng.pareto(2.5, size=(len(covariance), 1)) + 0.1
    found: Float = (np.linalg.cholesky(covariance) @ way[:, :, None])[:, :, 0]
    return found


class TestEllipsoids:
    def test_the_constant_is_the_quantile_of_chi_squared(self) -> None:
        assert pytest.approx(chi2.ppf(0.9, 3), rel=1e-14) == GAUSSIAN_90

    def test_distances_by_hand(self) -> None:
        covariance = np.stack([np.diag([4.0, 9.0, 16.0]), np.diag([1.0, 1.0, 0.25])])
        error = np.array([[2.0, 3.0, 4.0], [0.0, 0.0, 3.0]])
        np.testing.assert_allclose(mahalanobis(error, covariance), [math.sqrt(3), 6], rtol=1e-14)
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        np.testing.assert_allclose(mahalanobis(error @ turn.T, turn @ covariance @ turn.T), [math.sqrt(3), 6])

    @pytest.mark.parametrize("size", [1.0, 0.2, 30.0])
    @pytest.mark.parametrize("kind", ["Gaussian", "heavy tails"])
    def test_nine_tenths_of_fresh_errors_are_inside(self, kind: str, size: float) -> None:
        """Whatever the size of the predicted covariances, and whatever the distribution of the errors."""
        rng = np.random.default_rng(3)
        true = covariances(rng, 40_000)
        error, predicted = errors(rng, true, kind), size**2 * true
        found = calibrated(error[:20_000], expected=None, covariance=predicted[:20_000], features=None)
        distances = mahalanobis(error[20_000:], predicted[20_000:])
        for share, factor in found.ellipsoid_factors.items():
            inside = np.count_nonzero(distances <= factor)
            assert inside / 20_000 == pytest.approx(float(share), abs=0.015), share
        assert found.error_factors == {}
        scale = found.covariance_scale
        assert scale is not None
        if kind == "Gaussian":
            assert scale == pytest.approx(1 / size**2, rel=0.05), "it is the true covariance"
        held = mahalanobis(error[20_000:], scale * predicted[20_000:]) ** 2 <= chi2.ppf(0.9, 3)
        assert held.mean() == pytest.approx(0.9, abs=0.01)

    def test_factors_have_the_rank_of_split_conformal_prediction(self) -> None:
        """On few graphs, coverage is exact only with it: the mean over many calibrations is 55 / 61."""
        rng = np.random.default_rng(1)
        error = np.zeros((60, 3))
        inside = []
        for _ in range(400):
            error[:, 0] = rng.normal(size=60)
            reach = calibrated(error, expected=None, covariance=np.tile(np.eye(3), (60, 1, 1)), features=None)
            inside.append(math.erf(reach.ellipsoid_factors["0.9"] / math.sqrt(2)))
        assert np.mean(inside) == pytest.approx(55 / 61, abs=0.006)

    def test_what_is_not_predicted_is_not_calibrated(self) -> None:
        error = np.ones((20, 3))
        assert calibrated(error, expected=None, covariance=None, features=None) == Calibration()
        known = calibrated(error, expected=np.full(20, 2.0), covariance=None, features=None)
        assert known.error_factors == {"0.5": math.sqrt(3) / 2, "0.9": math.sqrt(3) / 2}
        assert known.covariance_scale is None

    def test_too_few_graphs_give_no_scale(self) -> None:
        one = np.tile(np.eye(3), (3, 1, 1))
        found = calibrated(np.ones((3, 3)), expected=None, covariance=one, features=None)
        assert found.ellipsoid_factors == {"0.5": pytest.approx(math.sqrt(3))}
        assert found.covariance_scale is None

    def test_the_table_states_what_holds_and_how_large_it_is(self) -> None:
        """Of four errors along the long axis, three lie within; the ellipsoid is 3 * 1 * 1 of a ball of 2."""
        error = np.array([[2.9, 0, 0], [0, 0.9, 0], [0, 0, -0.9], [0, 0, 1.1]])
        found = ellipsoids(
            error,
            Answers(
                np.zeros((4, 3)),
                expected_error=np.full(4, 4.0),
                covariance=np.tile(np.diag([9, 1, 1.0]), (4, 1, 1)),
            ),
            Calibration({"0.9": 0.5}, {"0.9": 1.0}),
        )
        assert found is not None
        assert found.held == 0.75
        assert found.volume_ratio == pytest.approx(3 / 8)
        assert ellipsoids(error, Answers(error), Calibration({"0.9": 0.5}, {"0.9": 1.0})) is None


class TestUsual:
    @pytest.mark.parametrize(("number", "width"), [(99, 5), (150, 12), (100, 130)])
    def test_the_threshold_is_from_leaving_each_graph_out(
        self, monkeypatch: pytest.MonkeyPatch, number: int, width: int
    ) -> None:
        """Against fits to all other graphs, one by one, with the same ridge."""
        rng = np.random.default_rng(number)
        features = rng.normal(size=(number, width)) @ rng.normal(size=(width, width)) + 3
        seen: list[float] = []
        original = calibration._conformal
        monkeypatch.setattr(
            calibration, "_conformal", lambda values, share: (seen.extend(values), original(values, share))[1]
        )
        usual = usual_features(features)
        ridge = 1e-3 * ((features - features.mean(0)) ** 2).sum() / width
        expected = []
        for i, one in enumerate(features):
            others = np.delete(features, i, axis=0)
            away = others - others.mean(0)
            covariance = (away.T @ away + ridge * np.eye(width)) / (number - 2)
            off = one - others.mean(0)
            expected.append(math.sqrt(off @ np.linalg.solve(covariance, off)))
        np.testing.assert_allclose(seen, expected, rtol=1e-6)
        assert usual is not None
        assert usual.threshold == pytest.approx(sorted(expected)[math.ceil((number + 1) * 0.99) - 1])

    def test_distances_are_those_of_the_gaussian(self) -> None:
        rng = np.random.default_rng(0)
        features = rng.normal(size=(5000, 4)) * [1, 2, 3, 0.5] + [7, 0, -2, 1]
        usual = usual_features(features)
        assert usual is not None
        covariance = np.cov(features.T)
        ridge = 1e-3 * np.trace(covariance) / 4
        fresh = rng.normal(size=(10, 4))
        off = fresh - features.mean(0)
        squares = (off * np.linalg.solve(covariance + ridge * np.eye(4), off.T).T).sum(1)
        np.testing.assert_allclose(usual.novelty(fresh) * usual.threshold, np.sqrt(squares))

    @pytest.mark.parametrize("width", [3, 30])
    def test_one_percent_of_fresh_scans_is_unusual_and_shifted_ones_are(self, width: int) -> None:
        rng = np.random.default_rng(width)
        mixed = rng.normal(size=(width, width))
        usual = usual_features(rng.normal(size=(20_000, width)) @ mixed)
        assert usual is not None
        fresh = rng.normal(size=(20_000, width))
        assert np.mean(usual.novelty(fresh @ mixed) > 1) == pytest.approx(0.01, abs=0.003)
        shift = 3 * chi2.ppf(0.99, width) ** 0.5 * np.eye(width)[0]
        assert (usual.novelty((fresh[:100] + shift) @ mixed) > 1).all()

    def test_with_few_graphs_and_many_features_it_still_holds(self) -> None:
        """With distances from a Gaussian fitted to the same graphs, many fresh ones would exceed 1."""
        rng = np.random.default_rng(5)
        unusual = fitted = 0
        for _ in range(200):
            features = rng.normal(size=(110, 60))
            usual = usual_features(features)
            assert usual is not None
            unusual += int((usual.novelty(rng.normal(size=(20, 60))) > 1).sum())
            inner = usual.novelty(features).max()
            fitted += int((usual.novelty(rng.normal(size=(20, 60))) > inner).sum())
        assert unusual / 4000 == pytest.approx(1 / 111, abs=0.006)
        assert fitted / 4000 > 0.2, "the control"

    @pytest.mark.parametrize("number", [0, 1, 2, 98])
    def test_too_few_graphs(self, number: int) -> None:
        assert usual_features(np.random.default_rng(0).normal(size=(number, 4))) is None
        assert (usual_features(np.random.default_rng(0).normal(size=(99, 4))) is None) is False

    def test_features_that_do_not_vary(self) -> None:
        """One constant column counts for little more than nothing; nothing but constants says nothing."""
        rng = np.random.default_rng(0)
        features = np.column_stack([rng.normal(size=(200, 3)), np.full(200, 1 / 3)])
        usual = usual_features(features)
        assert usual is not None
        assert np.isfinite(usual.whitening).all()
        assert usual.novelty(features).max() < 1.5
        assert usual.novelty(features[:1] + [0, 0, 0, 10.0]) > 1
        assert usual_features(np.full((200, 4), 0.5)) is None

    def test_more_features_than_graphs(self) -> None:
        rng = np.random.default_rng(0)
        usual = usual_features(rng.normal(size=(120, 400)))
        assert usual is not None
        assert np.isfinite(usual.whitening).all()
        assert 0 < usual.threshold < np.inf
        assert np.isfinite(usual.novelty(rng.normal(size=(50, 400)))).all()
        assert usual.novelty(20 * rng.normal(size=(50, 400))).min() > 1

    def test_the_unit_of_the_features_does_not_matter(self) -> None:
        rng = np.random.default_rng(0)
        features, fresh = rng.normal(size=(200, 6)), rng.normal(size=(10, 6))
        one, other = usual_features(features), usual_features(1e-6 * features + 4)
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one.novelty(fresh), other.novelty(1e-6 * fresh + 4), rtol=1e-6)


class TestInACheckpoint:
    @pytest.mark.parametrize("usual", [True, False])
    def test_it_is_read_as_it_was_written(self, usual: bool) -> None:
        rng = np.random.default_rng(0)
        number = 120 if usual else 20
        found = calibrated(
            rng.normal(size=(number, 3)),
            expected=rng.uniform(1, 2, size=number),
            covariance=covariances(rng, number),
            features=rng.normal(size=(number, 5)),
        )
        assert (found.usual is not None) == usual
        buffer = io.BytesIO()
        torch.save(found.to_dict(), buffer)
        buffer.seek(0)
        again = Calibration.from_dict(torch.load(buffer, weights_only=True))
        assert again.error_factors == found.error_factors
        assert again.ellipsoid_factors == found.ellipsoid_factors
        assert again.covariance_scale == found.covariance_scale
        if found.usual is None:
            assert again == found
            assert json.dumps(found.to_dict()), "plain values"
            return
        assert again.usual is not None
        fresh = rng.normal(size=(9, 5))
        np.testing.assert_array_equal(again.usual.novelty(fresh), found.usual.novelty(fresh))
        assert type(again.usual.threshold) is float

    @pytest.mark.parametrize("broken", ["usual", "error_factors", "ellipsoid_factors"])
    def test_a_part_that_is_missing_is_noticed(self, broken: str) -> None:
        values = Calibration({"0.9": 1.0}, {"0.9": 2.0}, Usual(np.zeros(2), np.eye(2), 1.0)).to_dict()
        del values[broken]
        with pytest.raises(KeyError):
            Calibration.from_dict(values)


def test_factors_of_ellipsoids_and_balls_agree_for_balls() -> None:
    rng = np.random.default_rng(0)
    error, expected = rng.normal(size=(50, 3)), rng.uniform(1, 2, size=50)
    balls = expected[:, None, None] ** 2 * np.eye(3)
    found = calibrated(error, expected=expected, covariance=balls, features=None)
    assert found.ellipsoid_factors == pytest.approx(found.error_factors)
    assert found.error_factors == conformal_factors((np.linalg.norm(error, axis=1) / expected).tolist())
