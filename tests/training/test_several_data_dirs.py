"""Training on several data sets."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import plumbline
from plumbline.cli import main
from plumbline.data.store.writer import write_store
from plumbline.evaluation.evaluate import evaluate
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.records import FEATURE_NAMES
from tests.helpers.training_fixtures import (
    assert_same_end,
    differences,
    interrupt_at,
    metric_rows,
    random_samples,
    saved,
    train,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SETTINGS: dict[str, Any] = {"max_epochs": 3, "lr": 1e-2, "val_split": 0.3}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A data set cut within an object: the scans of random/005 are in both."""
    folder = tmp_path_factory.mktemp("parts")
    samples = random_samples()
    for name, some in {"a": samples[:22], "b": samples[22:], "whole": samples}.items():
        write_store(folder / name, some, feature_names=list(FEATURE_NAMES))
    return [folder / "a", folder / "b"]


@pytest.fixture(scope="module")
def straight(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    assert train(parts, folder, **SETTINGS).code == 0  # type: ignore[arg-type]
    return folder


def train_on(parts: list[Path], out: Path, **changed: Any) -> Any:
    return train(parts, out, **SETTINGS | changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("loader", ["resident", "workers"])
def test_it_has_the_bits_of_a_training_on_the_whole(
    parts: list[Path], straight: Path, tmp_path: Path, loader: str
) -> None:
    assert train(parts[0].parent / "whole", tmp_path / "whole", **SETTINGS).code == 0
    assert train_on(parts, tmp_path / "parts", loader=loader, num_workers=2).code == 0
    for folder in (straight, tmp_path / "parts"):
        assert_same_end(folder, tmp_path / "whole")


def test_it_resumes_with_the_same_bits(
    parts: list[Path], straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        assert train_on(parts, tmp_path).code == 130
    for wrong in (parts[::-1], parts[:1]):
        outcome = train_on(wrong, tmp_path, resume="")
        assert outcome.code == 2
        told = f"was trained on {parts[0]} and {parts[1]} ("
        assert told in outcome.text
        assert f"and {' and '.join(map(str, wrong))} (" in outcome.text
    assert train_on(parts, tmp_path, resume="").code == 0
    assert_same_end(straight, tmp_path)


def test_config_and_checkpoint_name_all_and_evaluate_uses_them(
    parts: list[Path], straight: Path, tmp_path: Path
) -> None:
    names = [str(part) for part in parts]
    assert yaml.safe_load((straight / "config.yaml").read_text())["data_dir"] == names
    assert saved(straight / "last.ckpt")["plumbline"]["data"]["data_dir"] == names
    run = Path(shutil.copytree(straight, tmp_path / "run"))
    found = evaluate(run, out=tmp_path)
    assert found.split == "val"
    metrics = load_checkpoint(next(run.glob("best-*"))).metrics
    assert found.table.errors["gcn"].error.mean() == pytest.approx(metrics["val_error"], rel=1e-5)
    assert json.loads((tmp_path / "evaluation.json").read_text())["data_dir"] == names
    assert " and ".join(names) in (tmp_path / "report.html").read_text()
    alone = evaluate(run, data_dir=parts[0])
    assert (alone.split, alone.table.relation) == ("all", "other")
    assert 0 < alone.table.trained_on < 6
    assert (
        main(["train", "--config", str(run / "config.yaml"), "--checkpoint_dir", str(tmp_path / "again")])
        == 0
    )
    assert_same_end(straight, tmp_path / "again")


def test_an_object_in_both_is_on_one_side(parts: list[Path]) -> None:
    store = plumbline.open_data(parts)
    for seed in range(20):
        _, train_loader, val_loader = plumbline.lightning_parts(
            data_dir=parts,
            seed=seed,
            val_split=0.4,
            batch_size=4,
            hidden_dim=8,
            num_layers=2,
            accelerator="cpu",
        )
        sides = [
            {store.object_names[store.object_idx[i]] for batch in loader for i in batch.index}
            for loader in (train_loader, val_loader)
        ]
        assert not sides[0] & sides[1]


def test_one_is_written_and_read_as_ever(tiny: Path, tmp_path: Path) -> None:
    """As a scalar: earlier programs read it."""
    file = tmp_path / "config.yaml"
    runs = []
    for number, written in enumerate([str(tiny), [str(tiny)]]):
        file.write_text(yaml.safe_dump({"data_dir": written, "accelerator": "cpu", "max_epochs": 1}))
        run = tmp_path / str(number)
        assert main(["train", "--config", str(file), "--checkpoint_dir", str(run)]) == 0
        assert yaml.safe_load((run / "config.yaml").read_text())["data_dir"] == str(tiny)
        ours = saved(run / "last.ckpt")["plumbline"]
        assert (ours["config"]["data_dir"], ours["data"]["data_dir"]) == (str(tiny), str(tiny))
        runs.append(ours)
    assert {name for name in differences(*runs) if "checkpoint_dir" not in name} == set()
    assert plumbline.train_settings(data_dir=[tiny]).data_dir == tiny
    assert plumbline.train_settings(data_dir=[tiny, tmp_path]).data_dir == (tiny, tmp_path)


def test_each_folder_is_looked_at_before_anything_is_imported(tiny: Path, tmp_path: Path) -> None:
    outcome = train([tiny, tmp_path / "nowhere"], tmp_path / "run")  # type: ignore[arg-type]
    assert outcome.text == "error: the data folder " + outcome.text.partition("the data folder ")[2]
    assert "nowhere does not exist" in outcome.text
    outcome = train([tmp_path, tiny], tiny)  # type: ignore[arg-type]
    assert f"--checkpoint_dir {tiny} is the data set" in outcome.text


def test_rejected_inputs_are_named_with_their_folder(tiny: Path, parts: list[Path], tmp_path: Path) -> None:
    outcome = train([tiny, *parts], tmp_path, max_epochs=1)  # type: ignore[arg-type]
    assert outcome.code == 0
    assert (tmp_path / "rejected.txt").read_text().startswith(f"{tiny}/meshes/open_cup.off: ")
    assert f"96 graphs of 12 objects, 2,126 nodes, 8,504 edges in {tiny} and {parts[0]} and " in outcome.text
    assert len(metric_rows(tmp_path)) == 1
    assert np.isfinite(float(metric_rows(tmp_path)[0]["val_loss"]))
