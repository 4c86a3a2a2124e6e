"""What a prediction says next to the centre of mass: units, draws, warning, JSON."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plumbline.data.store.in_memory import MemoryStore
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.payload.record import GAUSSIAN_90
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import Calibration, Usual, usual_features
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.inference import answers_for
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.predictor import Predictor
from plumbline.records import Cloud
from tests.helpers import scanned
from tests.helpers.scanned import simulate, write_scan

SHAPE = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 3.0]])
KNOWN = Calibration({"0.9": 2.0}, {"0.9": 3.0}, Usual(np.zeros(2), np.eye(2), 1.0))


def saying(answer: Any, **settings: Any) -> Predictor:
    """A predictor of a network that says this of G graphs in their stored frames."""

    def answers(store: MemoryStore) -> Answers:
        found: Answers = answer(len(store))
        return found

    return Predictor("net", "E(3)", GraphForm(), answers, **settings)


def usual_answer(number: int) -> Answers:
    """In the stored frame, where the scan has the size 1."""
    return Answers(
        com=np.tile([0.1, 0.2, 0.3], (number, 1)),
        expected_error=np.full(number, 0.5),
        covariance=np.tile(SHAPE, (number, 1, 1)),
        volume=np.full(number, 4.0),
        inertia=np.tile(SHAPE, (number, 1, 1)),
        features=np.tile([0.3, 0.4], (number, 1)),
    )


def drawn_answer(number: int) -> Answers:
    """The same, times 1, 2, 3, ... for one draw after the other."""
    factor = np.arange(1, number + 1)
    return usual_answer(number).changed(lambda part: part * factor.reshape(-1, *[1] * (part.ndim - 1)))


def predicted(predictor: Predictor, *, scale: float = 1.0, **how: Any) -> Prediction:
    scan = simulate(1)
    return predictor.predict(scale * scan.points, sensor=scale * scan.sensor, **how)


def stored_size(predictor: Predictor) -> float:
    """How long one stored unit is, from the expected error."""
    found = predicted(predictor).expected_error
    assert found is not None
    return found / 0.5


class TestUnits:
    def test_each_is_in_powers_of_the_unit_of_the_points(self) -> None:
        predictor = saying(usual_answer, calibration=KNOWN)
        size, found = stored_size(predictor), predicted(predictor)
        assert found.radius_90 == pytest.approx(2 * 0.5 * size)
        assert found.volume == pytest.approx(4 * size**3)
        np.testing.assert_allclose(found.inertia, SHAPE * size**2)  # type: ignore[arg-type]
        wanted = SHAPE * size**2 * 9 / GAUSSIAN_90
        np.testing.assert_allclose(found.covariance, wanted)  # type: ignore[arg-type]
        assert found.novelty == pytest.approx(0.5)

    def test_millimetres_and_metres(self) -> None:
        """Of a scan in thousands: millions, and thousand millions."""
        predictor = saying(usual_answer, calibration=KNOWN)
        metres, millimetres = predicted(predictor), predicted(predictor, scale=1000)
        for name, power in (("com", 1), ("radius_90", 1), ("covariance", 2), ("inertia", 2), ("volume", 3)):
            one, other = getattr(metres, name), getattr(millimetres, name)
            np.testing.assert_allclose(other, 1000.0**power * one, rtol=1e-6, atol=0, err_msg=name)
        assert metres.novelty == millimetres.novelty

    def test_of_a_network_too(self, trained: dict[str, Path]) -> None:
        loaded = load_checkpoint(trained["ept"])
        width = 2 * loaded.model.head.doubt[0].in_features
        known = replace(KNOWN, usual=Usual(np.zeros(width), np.eye(width), 1.0))
        predictor = Predictor.trained(replace(loaded, calibration=known))
        metres, millimetres = predicted(predictor), predicted(predictor, scale=1000)
        for name, power in (("covariance", 2), ("inertia", 2), ("volume", 3), ("novelty", 0)):
            one, other = getattr(metres, name), getattr(millimetres, name)
            assert np.linalg.norm(other / 1000.0**power - one) < 1e-3 * np.linalg.norm(one), name
        assert 0.01 < np.trace(metres.inertia) / metres.extent**2 < 1  # type: ignore[arg-type]

    def test_without_its_calibration_a_covariance_is_not_stated(self) -> None:
        found = predicted(saying(usual_answer, calibration=Calibration({"0.9": 2.0})))
        assert (found.covariance, found.novelty) == (None, None)
        assert found.radius_90 is not None
        assert found.volume is not None


class TestDraws:
    def test_the_mean_over_the_draws_of_each_scan(self) -> None:
        """The factors are 1, 2 and 3; a second scan in the batch has the next three."""
        predictor = saying(drawn_answer, calibration=KNOWN)
        size = stored_size(saying(usual_answer))
        alone = predicted(predictor, draws=3, max_points=100)
        assert alone.volume == pytest.approx(2 * 4 * size**3, rel=0.2)  # each draw has its own size
        assert alone.novelty == pytest.approx(2 * 0.5)
        scans = [simulate(number) for number in (1, 2)]
        clouds = [Cloud(scan.points, scan.sensor) for scan in scans]
        both = list(predictor.predict_many(clouds, draws=3, max_points=100))
        assert all(isinstance(one, Prediction) for one in both)
        assert both[0].novelty == pytest.approx(2 * 0.5)  # type: ignore[union-attr]
        assert both[1].novelty == pytest.approx(5 * 0.5)  # type: ignore[union-attr]
        for name in ("volume", "expected_error", "covariance", "inertia"):
            np.testing.assert_allclose(getattr(both[0], name), getattr(alone, name), err_msg=name)

    def test_tensors_are_averaged_and_not_one_of_them_taken(self) -> None:
        found = saying(drawn_answer, calibration=KNOWN)
        one = predicted(saying(usual_answer, calibration=KNOWN), draws=3, max_points=100)
        three = predicted(found, draws=3, max_points=100)
        for name in ("covariance", "inertia", "volume"):
            ratio = np.max(np.abs(getattr(three, name))) / np.max(np.abs(getattr(one, name)))
            assert 1.8 < ratio < 2.2, name


class TestNovelty:
    @pytest.mark.parametrize(("threshold", "warned"), [(0.41, True), (0.49, True), (0.51, False)])
    def test_above_one_it_is_warned_of(self, threshold: float, warned: bool) -> None:
        """The features are 0.5 from usual: the novelties are 1.22, 1.02 and 0.98."""
        known = replace(KNOWN, usual=Usual(np.zeros(2), np.eye(2), threshold))
        found = predicted(saying(usual_answer, calibration=known))
        assert found.novelty == pytest.approx(0.5 / threshold)
        said = [text for text in found.warnings if "unlike" in text]
        assert len(said) == warned
        if warned:
            assert f"(novelty {0.5 / threshold:.2g};" in said[0]
            assert found.to_dict()["warnings"][-1] == said[0]

    def test_other_warnings_stay(self) -> None:
        """Of a flat scan, whose predictions are uncertain for other reasons."""
        known = replace(KNOWN, usual=Usual(np.zeros(2), np.eye(2), 0.1))
        flat = simulate(1).points * [1, 1, 0]
        without = saying(usual_answer).predict(flat, sensor=[0, 0, 9]).warnings
        found = saying(usual_answer, calibration=known).predict(flat, sensor=[0, 0, 9]).warnings
        assert len(without) > 0
        assert found[:-1] == without

    def test_a_cloud_unlike_every_object_is_novel_to_a_network(self, trained: dict[str, Path]) -> None:
        """With features of its training's scans as usual: those of noise in a long thin box lie outside."""
        loaded = load_checkpoint(trained["ept"])
        store = PackedStore.open(trained["ept"].parent.parent / "data")
        features = answers_for(loaded.model, store, np.resize(np.arange(len(store)), 120)).features
        assert features is not None
        known = replace(KNOWN, usual=usual_features(features))
        predictor = Predictor.trained(replace(loaded, calibration=known))
        noise = np.random.default_rng(0).normal(size=(300, 3)) * [50, 1, 1]
        found = predictor.predict(noise, sensor=[0, 0, 100], clean=False)
        assert found.novelty is not None
        assert found.novelty > 1.5


class TestFields:
    def test_json_has_what_is_known(self) -> None:
        found = predicted(saying(usual_answer, calibration=KNOWN))
        fields = json.loads(json.dumps(found.to_dict()))
        np.testing.assert_array_equal(fields["covariance"], found.covariance)
        np.testing.assert_array_equal(fields["inertia"], found.inertia)
        assert (fields["volume"], fields["novelty"]) == (found.volume, 0.5)
        less = predicted(saying(lambda number: Answers(np.zeros((number, 3))))).to_dict()
        assert not {"covariance", "inertia", "volume", "novelty", "radius_90", "expected_error"} & set(less)

    def test_the_command_prints_them(
        self, trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """In the unit of the file: the same scan in millimetres."""
        scan = simulate(1)
        lines = []
        for scale in (1, 1000):
            large = replace(scan, points=scale * scan.points, sensor=scale * scan.sensor)
            file = write_scan(tmp_path / f"{scale}.npz", large)
            code, (line,), _ = scanned.predict(capsys, file, "--checkpoint", trained["ept"])
            assert code == 0
            lines.append(line)
        assert lines[1]["volume"] == pytest.approx(1e9 * lines[0]["volume"], rel=1e-2)
        assert np.trace(lines[1]["inertia"]) == pytest.approx(1e6 * np.trace(lines[0]["inertia"]), rel=1e-2)
        assert "novelty" not in lines[0], "too few graphs were validated on"

    @pytest.mark.parametrize("part", ["covariance", "volume", "inertia", "expected_error"])
    def test_what_is_not_finite_is_refused(self, part: str) -> None:
        def broken(number: int) -> Answers:
            whole = usual_answer(number)
            return replace(whole, **{part: getattr(whole, part) * np.nan})

        with pytest.raises(InputError, match="the prediction of net is not finite"):
            predicted(saying(broken, calibration=KNOWN))
