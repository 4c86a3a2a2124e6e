"""Joined models: what they predict together, and that they are calibrated together."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from plumbline.data.split import num_marked, object_sizes, split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.evaluation.evaluate import choose_graphs
from plumbline.models.answer import Answer
from plumbline.models.ensemble import Ensemble
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import usual_features
from plumbline.predictors.checkpoint import Trained, load_checkpoint
from plumbline.predictors.inference import answers_for
from plumbline.predictors.predictor import load_predictor
from plumbline.records import Float, Int
from plumbline.training.persistence.ensembles import validated_by_all, write_ensemble
from tests.helpers.preparing import prepare
from tests.helpers.scanned import predict, simulate, write_scan
from tests.helpers.training_fixtures import train, write_seeded

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

EPT: dict[str, Any] = {
    "recipe": "best", "hidden_dim": 8, "num_layers": 1, "max_epochs": 1, "batch_size": 8,
    "model_args": ["num_tokens=4", "num_neighbours=4", "patch_dim=8"], "val_split": 0.5,
}  # fmt: skip
GCN: dict[str, Any] = {"model": "gcn", "hidden_dim": 8, "num_layers": 2, "max_epochs": 1, "val_split": 0.5}


# -------------------------------------------------------------------------------------------- by hand


class Says(nn.Module):
    """A member that always predicts the same."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.said = answer

    def answer(self, batch: Any) -> Answer:
        return self.said


def together(*answers: Answer, own_errors: Sequence[float | None] | None = None) -> Answer:
    """Of a graph of size 2; the members themselves do not look at it."""
    ensemble = Ensemble(members=[])
    ensemble.members.extend(Says(answer) for answer in answers)
    ensemble.own_errors = [None] * len(answers) if own_errors is None else list(own_errors)
    return ensemble.answer(SimpleNamespace(size=torch.tensor([2.0])))  # type: ignore[arg-type]


def diagonal(*values: float) -> Tensor:
    return torch.diag(torch.tensor(values))[None]


@pytest.fixture(autouse=True)
def may_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ensemble of no members, to which some are added, is only as symmetric as it says."""
    monkeypatch.setattr("plumbline.models.ensemble.min", lambda *_, **__: "E(3)", raising=False)


ONE = Answer(
    torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0.0]), diagonal(1.0, 2.0, 3.0), torch.tensor([2.0]).log(),
    diagonal(1.0, 1.0, 1.0), torch.tensor([[1.0, 2.0]]),
)  # fmt: skip
TWO = Answer(
    torch.tensor([[-1.0, 0.0, 2.0]]), torch.tensor([3.0]).log(), diagonal(3.0, 2.0, 1.0),
    torch.tensor([8.0]).log(), diagonal(3.0, 2.0, 2.0), torch.tensor([[3.0]]),
)  # fmt: skip


class TestByHand:
    def test_the_law_of_total_covariance(self) -> None:
        """The mean of the members' covariances, plus the scatter of their centres."""
        found = together(ONE, TWO)
        assert found.com.tolist() == [[0.0, 0.0, 1.0]]
        assert found.covariance is not None
        assert found.covariance.tolist() == [[[3.0, 0.0, -1.0], [0.0, 2.0, 0.0], [-1.0, 0.0, 3.0]]]

    def test_it_is_that_of_a_mixture(self) -> None:
        """Against the scatter of samples: one of the members by chance, then an error of its covariance."""
        rng = np.random.default_rng(0)
        drawn = []
        for answer in (ONE, TWO):
            assert answer.covariance is not None
            shape = answer.covariance[0].numpy()
            drawn.append(rng.multivariate_normal(answer.com[0].numpy(), shape, 200_000))
        found = together(ONE, TWO).covariance
        assert found is not None
        np.testing.assert_allclose(found[0].numpy(), np.cov(np.concatenate(drawn).T), atol=0.03)

    def test_everything_else(self) -> None:
        found = together(ONE, TWO)
        assert found.log_scale is not None
        assert found.log_volume is not None
        assert found.inertia is not None
        assert found.features is not None
        assert math.exp(found.log_scale.item()) == pytest.approx(math.sqrt((1 + 9) / 2 + 2))
        assert math.exp(found.log_volume.item()) == pytest.approx(4)
        assert torch.equal(found.inertia, diagonal(2.0, 1.5, 1.5))
        assert found.features.tolist() == [[1.0, 2.0, 3.0]]

    def test_one_that_predicts_less_takes_it_from_all_but_the_expected_error(self) -> None:
        found = together(ONE, Answer(TWO.com))
        assert (found.covariance, found.log_volume, found.inertia) == (None, None, None)
        assert found.features is not None
        assert found.log_scale is not None
        assert found.features.tolist() == [[1.0, 2.0]]
        assert math.exp(found.log_scale.item()) == pytest.approx(math.sqrt(1 + 2))

    def test_a_member_without_a_covariance_has_one_of_the_size_of_its_expected_error(self) -> None:
        """Squared errors of 12 and (0.5 * 2)^2 = 1, a third along each axis; the first has a covariance."""
        told, silent = Answer(TWO.com, torch.tensor([12.0]).log() / 2), Answer(ONE.com)
        found = together(ONE, told, silent, own_errors=(None, None, 0.5))
        places = np.array([answer.com[0].numpy() for answer in (ONE, told, silent)])
        own = [np.diag([1.0, 2.0, 3.0]), 4 * np.eye(3), np.eye(3) / 3]
        assert found.covariance is not None
        assert found.log_scale is not None
        np.testing.assert_allclose(
            found.covariance[0].numpy(), np.mean(own, axis=0) + np.cov(places.T, bias=True), rtol=1e-6
        )
        off = np.square(places - places.mean(axis=0)).sum(axis=1).mean()
        assert math.exp(found.log_scale.item()) == pytest.approx(math.sqrt((1 + 12 + 1) / 3 + off))


# ---------------------------------------------------------------------------------------- of trainings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeded(tmp_path_factory.mktemp("seeded") / "data", payload=True)


def validation(data: Path) -> tuple[PackedStore, Int]:
    """The data set, and its graphs that the members were validated on."""
    store = PackedStore.open(data)
    val_idx = split_by_object(store.object_idx, store.object_names, 0.5, 0)[1]
    assert 10 < len(val_idx) < len(store)
    return store, val_idx


def on_validation(trained: Trained, data: Path) -> tuple[Float, Answers]:
    """Errors and predictions on these graphs."""
    store, val_idx = validation(data)
    answers = answers_for(trained.model, store, val_idx)
    return answers.com - store.target[val_idx], answers


def ranked(values: Float) -> dict[str, float]:
    """Split conformal prediction, written out."""
    ordered = np.sort(values)
    return {str(share): ordered[math.ceil((len(values) + 1) * share) - 1] for share in (0.5, 0.9)}


def test_factors_are_those_of_all_members_together(data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path, ensemble=2, **EPT).code == 0
    trained = load_checkpoint(tmp_path / "ensemble.ckpt")
    error, answers = on_validation(trained, data)
    assert answers.covariance is not None
    assert answers.expected_error is not None
    length = np.linalg.norm(error, axis=1)
    square = np.einsum("gi,gij,gj->g", error, np.linalg.inv(answers.covariance), error)
    wanted = (ranked(length / answers.expected_error), ranked(np.sqrt(square)))
    found = trained.calibration
    assert found.error_factors == pytest.approx(wanted[0], rel=1e-5)
    assert found.ellipsoid_factors == pytest.approx(wanted[1], rel=1e-5)
    assert found.usual is None, "too few graphs"
    for member in range(2):
        (best,) = (tmp_path / f"member-{member}").glob("best-model-*")
        alone = load_checkpoint(best)
        error, answers = on_validation(alone, data)
        assert answers.covariance is not None
        square = np.einsum("gi,gij,gj->g", error, np.linalg.inv(answers.covariance), error)
        assert alone.calibration.ellipsoid_factors == pytest.approx(ranked(np.sqrt(square)), rel=1e-4)
        assert alone.calibration.ellipsoid_factors != pytest.approx(found.ellipsoid_factors, rel=1e-3)


def test_networks_that_predict_no_error_have_that_of_the_validation(data: Path, tmp_path: Path) -> None:
    """The documented network: radius and ellipsoid from its errors and from the members' disagreement."""
    assert train(data, tmp_path, ensemble=2, **GCN).code == 0
    trained = load_checkpoint(tmp_path / "ensemble.ckpt")
    error, answers = on_validation(trained, data)
    store, val_idx = validation(data)
    clouds = [store.sample(i).pos.astype(float) for i in val_idx]
    size = np.sqrt([np.square(pos - pos.mean(axis=0)).sum(axis=1).mean() for pos in clouds])
    places, own = [], []
    for member in trained.model.members:  # type: ignore[union-attr]
        places.append(answers_for(member, store, val_idx).com)
        miss = np.linalg.norm(places[-1] - store.target[val_idx], axis=1)
        own.append((miss / size).mean())
    assert trained.model_args["own_errors"] == pytest.approx(own, rel=1e-5)
    off = np.array(places) - np.mean(places, axis=0)
    square = np.square(own).mean() * size**2 + np.square(off).sum(2).mean(0)
    assert answers.expected_error is not None
    assert answers.covariance is not None
    np.testing.assert_allclose(answers.expected_error, np.sqrt(square), rtol=1e-5)
    assert off.std() > 1e-4, "the members disagree"
    wanted = square[:, None, None] / 3 * np.eye(3)
    away = np.einsum("mgi,mgj->gij", off, off) / 2
    trace = np.square(off).sum(2).mean(0)[:, None, None] / 3 * np.eye(3)
    np.testing.assert_allclose(answers.covariance, wanted + away - trace, rtol=1e-4, atol=1e-7)
    distance = np.sqrt(np.einsum("gi,gij,gj->g", error, np.linalg.inv(answers.covariance), error))
    found = trained.calibration
    assert found.error_factors == pytest.approx(
        ranked(np.linalg.norm(error, axis=1) / np.sqrt(square)), rel=1e-4
    )
    assert found.ellipsoid_factors == pytest.approx(ranked(distance), rel=1e-4)


def test_with_a_network_that_predicts_less(data: Path, tmp_path: Path) -> None:
    members = []
    for name, flags in (("ept", EPT), ("gcn", GCN)):
        assert train(data, tmp_path / name, **flags).code == 0
        members += (tmp_path / name).glob("best-model-*")
    store, val_idx = validation(data)
    trained = load_checkpoint(write_ensemble(tmp_path, members, store, val_idx, batch_size=7))
    error, answers = on_validation(trained, data)
    assert answers.volume is answers.inertia is None
    assert answers.expected_error is not None
    assert answers.covariance is not None
    assert answers.features is not None
    first, second = trained.model_args["own_errors"]
    assert first is None
    assert second > 0
    wanted = ranked(np.linalg.norm(error, axis=1) / answers.expected_error)
    assert trained.calibration.error_factors == pytest.approx(wanted, rel=1e-5)
    assert trained.calibration.covariance_scale is not None


def test_only_graphs_that_all_members_were_validated_on_calibrate(data: Path, tmp_path: Path) -> None:
    members = []
    for seed in (0, 1):
        assert train(data, tmp_path / str(seed), **EPT | {"seed": seed}).code == 0
        members += (tmp_path / str(seed)).glob("best-model-*")
    store = PackedStore.open(data)
    sides = [split_by_object(store.object_idx, store.object_names, 0.5, seed)[1] for seed in (0, 1)]
    both = np.array(sorted(set(sides[0]) & set(sides[1])))
    assert 0 < len(both) < min(map(len, sides))
    np.testing.assert_array_equal(validated_by_all(members, store, data), both)
    joined = load_checkpoint(write_ensemble(tmp_path, members, store, both, batch_size=16)).data
    for side, graphs in (("val", both), ("train", np.setdiff1d(np.arange(len(store)), both))):
        np.testing.assert_array_equal(choose_graphs(store, joined, side, data).indices, graphs)
    assert (joined.num_train, joined.num_val) == (len(store) - len(both), len(both))
    assert num_marked(joined.objects or "", object_sizes(store, both)) == 0
    alone = load_checkpoint(write_ensemble(tmp_path, members[:1], store, sides[0], batch_size=16)).data
    assert alone == load_checkpoint(members[0]).data


def test_members_that_were_validated_on_nothing_in_common_are_not_joined(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(PackedStore.open(data).object_names)
    members = []
    for kept in names[:2]:
        split = tmp_path / f"{len(members)}.json"
        split.write_text(json.dumps({"train": [name for name in names if name != kept], "val": [kept]}))
        folder = tmp_path / split.stem
        flags = {key: value for key, value in EPT.items() if key != "val_split"}
        assert train(data, folder, split_file=split, **flags).code == 0
        members += folder.glob("best-model-*")
    with pytest.raises(InputError, match=r"no graph of .* was kept for validation by all members"):
        validated_by_all(members, PackedStore.open(data), data)


def test_few_common_graphs_are_said(data: Path, tmp_path: Path) -> None:
    outcome = train(data, tmp_path, ensemble=2, **GCN | {"val_split": 0.01})
    trained = load_checkpoint(tmp_path / "ensemble.ckpt")
    said = " ".join(outcome.text.split())
    assert re.search(r"ensemble calibrated on \d graphs? that all members were validated on", said)
    assert "radius_90 needs 9" in said
    assert "0.9" not in trained.calibration.error_factors
    assert trained.calibration.covariance_scale is None


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two barely trained networks, calibrated on all of 104 scans: enough to say which scans are usual."""
    folder = tmp_path_factory.mktemp("joined")
    prepare("--solids", 26, "--samples", 4, "--points", 48, "--k", 8, "--views", "1-3", "--workers", 1,
            "--out", folder / "data")  # fmt: skip
    members = []
    for seed in (0, 1):
        assert train(folder / "data", folder / str(seed), seed=seed, **EPT).code == 0
        members += (folder / str(seed)).glob("best-model-*")
    store = PackedStore.open(folder / "data")
    return write_ensemble(folder, members, store, np.arange(len(store)), batch_size=16)


def test_the_joined_file_states_radius_covariance_and_novelty(
    joined: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = simulate(3)
    file = write_scan(tmp_path / "scan.npz", scan)
    code, (line,), _ = predict(capsys, file, "--checkpoint", joined)
    assert code == 0
    assert line["radius_90"] > 0
    assert line["volume"] > 0
    covariance = np.array(line["covariance"])
    assert np.linalg.eigvalsh(covariance).min() > 0
    found = load_predictor(joined).predict(scan.points, sensor=scan.sensor)
    assert found.covariance is not None
    assert found.novelty is not None
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-6)
    assert line["novelty"] == pytest.approx(found.novelty, abs=1e-3)
    assert found.inertia is not None
    np.testing.assert_allclose(found.inertia, line["inertia"], rtol=1e-6)
    # The largest semi-axis of the ellipsoid is of the size of the radius; a unit that is off is not.
    reach = math.sqrt(6.25 * np.linalg.eigvalsh(covariance).max())
    assert 0.3 < reach / line["radius_90"] < 3


def test_its_features_are_those_of_all_members(joined: Path) -> None:
    trained = load_checkpoint(joined)
    store = PackedStore.open(joined.parent / "data")
    features = answers_for(trained.model, store, np.arange(len(store))).features
    wanted, found = usual_features(features), trained.calibration.usual  # type: ignore[arg-type]
    assert features is not None
    assert wanted is not None
    assert found is not None
    assert features.shape == (104, 32)
    novelty = found.novelty(features)
    np.testing.assert_allclose(novelty, wanted.novelty(features), rtol=1e-4)
    assert (novelty > 1).sum() <= 2
    assert found.novelty(features + 10 * features.std(0)).min() > 1
