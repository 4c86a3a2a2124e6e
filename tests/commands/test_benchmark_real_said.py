"""``plumbline benchmark --real``: ellipsoids, novelty and refusals of models that know them, by hand."""

import re

import numpy as np
import pytest

from plumbline.evaluation import real_benchmark
from plumbline.evaluation.real_benchmark import Method, benchmark_real
from plumbline.evaluation.real_tables import COLUMNS, page
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import Calibration, Usual
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.predictor import Predictor
from tests.commands.test_benchmark_real import EXPECTED, FACTOR, result_of, run, stating
from tests.helpers.real_set import BOX, CRATE, TUB, RealFolder, kept, three_scans


@pytest.fixture
def made(tmp_path) -> RealFolder:
    return three_scans(tmp_path / "real")


class TestWhatAModelSaysOfItsAnswers:
    """A model that says the mean of the points, knows a covariance, and whose features are ANGLE and 0."""

    SPREAD = np.diag([0.5, 0.1, 0.3]) ** 2
    REACH = 2.0
    """Mahalanobis distance within which nine tenths of the validation errors lay."""

    @pytest.fixture
    def knowing(self) -> Method:
        def answer(store):
            num = len(store)
            spread, size = np.tile(self.SPREAD, (num, 1, 1)), np.full(num, EXPECTED)
            longest = np.array([np.ptp(store.gather(np.array([i])).pos[:, 0]) for i in range(num)])
            features = np.column_stack([longest, np.zeros(num)])
            return Answers(np.zeros((num, 3)), size, covariance=spread, features=features)

        known = Calibration({"0.9": FACTOR}, {"0.9": self.REACH}, Usual(np.zeros(2), np.eye(2), 2.5))
        return Method("knowing", Predictor("knowing", "E(3)", GraphForm(), answer, calibration=known))

    @pytest.fixture
    def result(self, made, knowing, monkeypatch) -> dict:
        methods = [knowing, stating(), Method("carve", Predictor.untrained("carve"))]
        monkeypatch.setattr(real_benchmark, "_methods", lambda *_: methods)
        benchmark_real(made.path, out=made.path.parent / "out", without=["yard"])
        return result_of(made)

    CLEAN = ((kept(BOX), BOX), (CRATE.seen()[0], CRATE), (kept(TUB), TUB))

    def test_the_ellipsoid_by_hand(self, result):
        held = []
        for points, shot in self.CLEAN:
            away = points - points.mean(axis=0)
            off = (points.mean(axis=0) - shot.com) / np.sqrt(np.square(away).sum(axis=1).mean())
            held.append(np.sqrt(off @ np.linalg.solve(self.SPREAD, off)) <= self.REACH)
        assert 0 < sum(held) < 3, "the test is to see both"
        found = result["methods"]["knowing"]["all"]["cleaned"]
        assert found["ellipsoid_holds"] == pytest.approx(np.mean(held))
        ratio = 0.5 * 0.1 * 0.3 * self.REACH**3 / (FACTOR * EXPECTED) ** 3
        assert found["ellipsoid_volume"] == pytest.approx(ratio, rel=1e-5)
        tub = result["methods"]["knowing"]["vessels, solid truth"]["cleaned"]["ellipsoid_holds"]
        assert tub == held[2]

    def test_novelty_by_hand(self, result):
        for scan, (points, _) in zip(result["scans"], self.CLEAN, strict=True):
            away = points - points.mean(axis=0)
            longest = np.ptp(away[:, 0]) / np.sqrt(np.square(away).sum(axis=1).mean())
            assert list(scan["novelty"]) == ["knowing"], "the others do not know it"
            assert scan["novelty"]["knowing"][1] == pytest.approx(longest / 2.5, rel=1e-5)
        novelty = np.array([scan["novelty"]["knowing"] for scan in result["scans"]])
        for i, column in enumerate(COLUMNS):
            found = result["methods"]["knowing"]["all"][column]
            assert found["unusual"] == pytest.approx(np.mean(novelty[:, i] > 1))
        assert 0 < np.mean(novelty[:, 1] > 1) < 1, "the test is to see both"

    def test_refusals_by_hand(self, result):
        assert {name: list(found) for name, found in result["refusals"].items()} == {
            "knowing": ["all", "all but yard"],
            "known": ["all", "all but yard"],
        }
        miss, novelty = (
            np.array([scan[what]["knowing"][1] for scan in result["scans"]]) for what in ("miss", "novelty")
        )
        relative = [
            EXPECTED * np.sqrt(np.square(p - p.mean(axis=0)).sum(axis=1).mean()) / np.ptp(p, axis=0).max()
            for p, _ in self.CLEAN
        ]
        area = result["refusals"]["knowing"]["all"]["area"]
        for name, score in {"novelty": novelty, "expected error": relative, "best possible": miss}.items():
            first, second, third = miss[np.argsort(score)]
            expected = (first + (first + second) / 2 + (first + second + third) / 3) / 3
            assert area[name] == pytest.approx(expected), name
        assert area["random"] == pytest.approx(miss.mean())
        assert "novelty" not in result["refusals"]["known"]["all"]["area"]
        left = result["refusals"]["knowing"]["all but yard"]["area"]["random"]
        assert left == pytest.approx((miss[0] + miss[2]) / 2)

    def test_tables_have_only_methods_that_know(self, result):
        grids = {grid.title: grid for grid in page(result).grids}

        def rows(title: str) -> list[list[str]]:
            (found,) = (grid.rows for name, grid in grids.items() if re.match(title, name))
            return found

        found = result["methods"]["knowing"]["all"]
        (row,) = rows("90 % ellipsoid: .*; all:")
        assert row[0] == "knowing"
        cleaned = found["cleaned"]
        assert row[2] == f"{100 * cleaned['ellipsoid_holds']:.1f} / {100 * cleaned['ellipsoid_volume']:.1f}"
        (row,) = rows("Scans unlike those of the training .*; all$")
        assert row == ["knowing", *(f"{100 * found[column]['unusual']:.1f}" for column in COLUMNS)]
        knowing, known = rows("A fifth refused: .* all$")
        area = result["refusals"]["knowing"]["all"]["area"]
        assert knowing[1].endswith(f" / {100 * area['random']:.1f}")
        assert knowing[2].endswith(f" / {100 * area['novelty']:.1f}")
        assert known[2] == "–"
        assert any("best possible:" in note for note in page(result).notes)


def test_untrained_baselines_refuse_nothing_and_their_tables_stay_as_they_are(made):
    assert run(made) == 0
    result = result_of(made)
    assert result["refusals"] == {}
    assert all("novelty" not in scan for scan in result["scans"])
    assert len(page(result).grids) == 3
    assert not any("refused" in note for note in page(result).notes)
