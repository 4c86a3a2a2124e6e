"""Checkpoints of every format that was ever written: read, resumed and predicted with by today's program.

``tests/data_files/checkpoint-format-2`` was written by the last program of that format. How, and what it
answered, is in its README.md and expected.json.
"""

import csv
import json
import shutil
from pathlib import Path

import pytest

from plumbline.cli import main
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.evaluation.evaluate import evaluate
from plumbline.predictors.checkpoint import FORMAT, load_checkpoint, read_checkpoint
from plumbline.predictors.predictor import load_predictor
from plumbline.predictors.trained_on import TrainedOn
from tests.helpers import ROOT
from tests.helpers.training_fixtures import saved

OLD = ROOT / "tests" / "data_files" / "checkpoint-format-2"
EXPECTED = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-4
"""Processors round differently, and a training adds that up."""
MODELS = ("gcn", "ept")
FLAGS = (
    *("--batch_size", "4", "--hidden_dim", "8", "--num_layers", "2", "--lr", "0.003", "--val_split", "0.5"),
    *("--accelerator", "cpu", "--loader", "resident"),
)
OWN = {"gcn": (), "ept": ("--model_args", "num_neighbours=6", "num_tokens=8")}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, which is where the user stands."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


@pytest.mark.parametrize("model", MODELS)
def test_predictions_are_those_of_the_program_that_wrote_it(old, capsys, model):
    assert saved(old / model / "last.ckpt")["plumbline"]["format"] == 2
    assert (
        main(
            [
                "predict",
                "scans",
                "--checkpoint",
                f"{model}/last.ckpt",
                "--points",
                "32",
                "--draws",
                "1",
                "--json",
            ]
        )
        == 0
    )
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line, expected in zip(found, EXPECTED[model]["predictions"], strict=True):
        assert {key: line[key] for key in expected} == {
            key: pytest.approx(value, rel=TOLERANCE) if key in ("com", "expected_error") else value
            for key, value in expected.items()
        }


@pytest.mark.parametrize("model", MODELS)
def test_it_is_evaluated_on_its_own_data(old, model):
    found, expected = evaluate(Path(model, "last.ckpt")), EXPECTED[model]["evaluation"]
    assert (found.split, found.table.num_graphs) == ("val", expected["num_graphs"])
    assert found.table.summary(model).mean == pytest.approx(expected["error_rel"], rel=TOLERANCE)
    assert found.held == expected["held_by_expected_error"]
    assert not (old / model / "report.html").exists()


@pytest.mark.parametrize("model", MODELS)
def test_its_training_goes_on_as_it_would_have(old, model):
    command = ["train", "--model", model, "--data_dir", "data", "--checkpoint_dir", model, "--resume"]
    assert main([*command, "--max_epochs", "3", *FLAGS, *OWN[model]]) == 0
    with (old / model / "metrics.csv").open(newline="", encoding="utf-8") as file:
        *_, row = csv.DictReader(file)
    expected = EXPECTED[model]["next_epoch"]
    assert {key: float(row[key]) for key in expected} == pytest.approx(expected, rel=TOLERANCE)
    ended = saved(old / model / "last.ckpt")
    assert (ended["plumbline"]["format"], ended["global_step"]) == (FORMAT, 12)


def test_the_best_checkpoint_of_its_folder_is_found(old):
    assert load_predictor("gcn").checkpoint == Path("gcn/best-model-01-0.578.ckpt")
    assert load_predictor("ept").checkpoint == Path("ept/last.ckpt")


@pytest.mark.parametrize("model", MODELS)
def test_what_it_says_of_its_data_is_that_of_the_store(model):
    trained, store = load_checkpoint(OLD / model / "last.ckpt"), PackedStore.open(OLD / "data")
    assert trained.data.fingerprint == store.fingerprint
    assert trained.data.feature_names == store.feature_names
    assert trained.data.vector_names == store.vector_names
    assert (trained.data.k, trained.data.normalise, trained.data.val_split) == (6, "unit", 0.5)
    assert trained.data.to_dict() == saved(OLD / model / "last.ckpt")["plumbline"]["data"]
    assert TrainedOn.from_dict(trained.data.to_dict()) == trained.data


# ------------------------------------------------------------------------------------------- other formats


@pytest.fixture
def changed(tmp_path):
    def write(**changes) -> Path:
        import torch

        content = saved(OLD / "gcn" / "last.ckpt")
        content["plumbline"].update(changes)
        torch.save(content, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return write


def test_a_newer_format_says_to_upgrade(changed):
    path = changed(format=FORMAT + 1)
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == (
        f"{path} has checkpoint format {FORMAT + 1}, which a newer version of plumbline wrote (this one "
        f"reads up to {FORMAT}): upgrade plumbline"
    )


@pytest.mark.parametrize("number", [1, 0, True, 2.0, "2", None])
def test_a_format_that_never_was_is_refused(changed, number):
    with pytest.raises(InputError, match=f"has checkpoint format {number!r}, but this program reads 2 to"):
        read_checkpoint(changed(format=number))


def test_upgrades_follow_each_other(changed, monkeypatch):
    seen = []

    def step(number):
        def upgrade(content):
            seen.append((number, content["plumbline"]["format"]))
            content["plumbline"]["metrics"] = {"upgraded": number}

        return upgrade

    monkeypatch.setattr("plumbline.predictors.checkpoint.FORMAT", 6)
    monkeypatch.setattr("plumbline.predictors.checkpoint.UPGRADES", {n: step(n) for n in (3, 4, 5)})
    ours = read_checkpoint(changed(format=4))["plumbline"]
    assert seen == [(4, 4), (5, 5)]
    assert (ours["format"], ours["metrics"]) == (6, {"upgraded": 5})


@pytest.mark.parametrize("data", [{}, {"fingerprint": "f"}, {"feature_names": 3}, None, {"more": 1}])
def test_one_that_does_not_say_its_data_is_refused(changed, data):
    known = saved(OLD / "gcn" / "last.ckpt")["plumbline"]["data"]
    if data is not None and ("more" in data or "feature_names" in data):
        data = known | data
    with pytest.raises(InputError, match="does not describe its training data"):
        load_checkpoint(changed(data=data))
