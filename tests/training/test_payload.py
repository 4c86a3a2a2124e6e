"""Networks predict volume and inertia where the data set has them, and nowhere else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plumbline.data.pt.samples import write_pt
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.evaluation.payload import Payload, payload_errors
from plumbline.predictors.calibration import mahalanobis
from plumbline.predictors.checkpoint import Trained, load_checkpoint
from plumbline.predictors.inference import answers_for
from plumbline.predictors.predictor import Predictor
from tests.helpers.preparing import prepare, write_meshes
from tests.helpers.scanned import simulate
from tests.helpers.training_fixtures import train, write_seeded

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SMALL: dict[str, Any] = {
    "recipe": "best", "hidden_dim": 8, "num_layers": 1, "max_epochs": 1, "batch_size": 4,
    "model_args": ["num_tokens=4", "num_neighbours=4", "patch_dim=8"], "val_split": 0.4,
}  # fmt: skip


def trained_on(data: Path | list[Path], out: Path) -> Trained:
    outcome = train(data, out, **SMALL)  # type: ignore[arg-type]
    assert outcome.code == 0, outcome.text
    (best,) = out.glob("best-model-*")
    return load_checkpoint(best)


def made(folder: Path, *flags: object) -> Path:
    prepare("--solids", 6, "--samples", 2, "--points", 48, "--k", 8, "--workers", 1, "--out", folder, *flags)
    return folder


def names(store: PackedStore) -> dict[str, Any]:
    return {"feature_names": list(store.feature_names), "vector_names": list(store.vector_names)}


def predicts(trained: Trained) -> bool:
    """Whether it predicts volume and inertia, of a scan from outside too."""
    scan = simulate(1)
    found = Predictor.trained(trained).predict(scan.points, sensor=scan.sensor)
    has = trained.model.side_heads.moments is not None
    assert (found.volume is not None) == (found.inertia is not None) == has
    assert ("volume" in found.to_dict()) == ("inertia" in found.to_dict()) == has
    assert found.com is not None
    return bool(has)


def test_scans_of_solids_have_them(tmp_path: Path) -> None:
    """The control of all that follows."""
    assert predicts(trained_on(made(tmp_path / "data"), tmp_path / "run"))


def test_shells_have_none(tmp_path: Path) -> None:
    data = tmp_path / "data"
    flags = ("--samples", 2, "--points", 48, "--k", 8, "--workers", 1, "--out", data)
    prepare(write_meshes(tmp_path / "meshes"), "--target", "shell", *flags)
    assert not PackedStore.open(data).has_payload
    assert not predicts(trained_on(data, tmp_path / "run"))


def test_a_data_set_that_does_not_know_them(tmp_path: Path) -> None:
    data = write_seeded(tmp_path / "data")
    trained = trained_on(data, tmp_path / "run")
    assert trained.model.side_heads.moments is None
    store = PackedStore.open(data)
    found = answers_for(trained.model, store, np.arange(len(store)))
    assert (found.volume, found.inertia) == (None, None)
    assert found.covariance is not None


def test_a_folder_of_pt_files_without_them(tmp_path: Path) -> None:
    store = PackedStore.open(write_seeded(tmp_path / "data"))
    (tmp_path / "pt").mkdir()
    for number in range(len(store)):
        write_pt(tmp_path / "pt" / f"{number:02d}.pt", store.sample(number))
    trained = trained_on(tmp_path / "pt", tmp_path / "run")
    assert trained.model.side_heads.moments is None


def test_a_volume_without_an_inertia_is_not_enough(tmp_path: Path) -> None:
    """Otherwise the network would answer with an inertia that it was never trained on."""
    store = PackedStore.open(write_seeded(tmp_path / "both", payload=True))
    samples = [replace(store.sample(number), inertia=None) for number in range(len(store))]
    write_store(tmp_path / "data", samples, leaders=12, k=4, **names(store))
    assert np.isfinite(PackedStore.open(tmp_path / "data").volume).all()
    assert trained_on(tmp_path / "data", tmp_path / "run").model.side_heads.moments is None


def test_some_of_the_graphs_are_enough(tmp_path: Path) -> None:
    """A data set of both kinds: what is unknown counts for nothing, and nothing becomes infinite."""
    parts = [PackedStore.open(write_seeded(tmp_path / str(known), payload=known)) for known in (True, False)]
    samples = [(parts[1] if number % 3 else parts[0]).sample(number) for number in range(len(parts[0]))]
    names: dict[str, Any] = {
        name: list(getattr(parts[0], name)) for name in ("feature_names", "vector_names")
    }
    write_store(tmp_path / "data", samples, **names, leaders=12, k=4)
    trained = trained_on(tmp_path / "data", tmp_path / "run")
    assert trained.model.side_heads.moments is not None
    assert all(weight.isfinite().all() for weight in trained.model.parameters())
    found = answers_for(trained.model, parts[1], np.arange(6))
    assert found.volume is not None
    assert np.isfinite(found.volume).all()


def test_they_are_learnt(tmp_path: Path) -> None:
    """Some epochs bring them nearer to the truth, and the covariance nearer to that of the errors."""
    data = made(tmp_path / "data", "--samples", 8)
    store = PackedStore.open(data)
    off = []
    for epochs in (1, 20):
        out = tmp_path / str(epochs)
        assert train(data, out, **SMALL | {"max_epochs": epochs, "ema": 0}).code == 0
        found = answers_for(load_checkpoint(out / "last.ckpt").model, store, np.arange(len(store)))
        assert found.volume is not None
        assert found.inertia is not None
        assert found.covariance is not None
        errors = payload_errors(
            Payload(found.volume, found.inertia), Payload(store.volume, store.inertia), np.zeros(0)
        )
        spread = mahalanobis(found.com - store.target, found.covariance)
        off.append((errors.volume.mean(), errors.inertia.mean(), abs(np.log(spread.mean() / 3))))
    assert (np.array(off[1]) < 0.7 * np.array(off[0])).all(), off
