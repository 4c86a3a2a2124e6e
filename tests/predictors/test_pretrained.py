"""The weights that plumbline ships: what they predict, what the file holds, and how it is named."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import plumbline
from plumbline.errors import InputError
from plumbline.predictors import find_checkpoint, predictor
from plumbline.predictors.checkpoint import FORMAT, load_checkpoint
from plumbline.predictors.find_checkpoint import PRETRAINED, SHIPPED, find_best
from plumbline.predictors.predictor import load_predictor
from tests.golden.pretrained import FILE, digest, predictions, scans
from tests.helpers.training_fixtures import saved

LARGEST = 5_000_000
ROUNDING = 1e-5


def strings(value: Any) -> list[str]:
    """Every text in plain values, names included."""
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in strings(one)]
    if isinstance(value, list | tuple):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


def test_the_shipped_weights_predict_what_was_recorded():
    recorded = json.loads(FILE.read_text(encoding="utf-8"))
    assert recorded["weights"] == digest(), "new weights: python -m tests.golden.pretrained --write"
    for name, found in predictions().items():
        np.testing.assert_allclose(found, recorded["predictions"][name], rtol=0, atol=ROUNDING, err_msg=name)


def test_the_predictions_are_near_the_truth():
    """The true centre of mass of the box is 0: the mean of its points is twice as far away, at least."""
    for name, scan in scans().items():
        found = load_predictor().predict(**scan)
        naive = np.linalg.norm(scan["points"].mean(axis=0))
        assert np.linalg.norm(found.com) < (naive / 2 if "box" in name else 0.05), name


def test_the_file_is_small_and_holds_nothing_of_a_training_or_a_machine():
    assert SHIPPED.stat().st_size <= LARGEST
    content = saved(SHIPPED)
    assert set(content) == {"state_dict", "plumbline"}
    assert all(name.startswith("model.") for name in content["state_dict"])
    described = content["plumbline"]
    assert not {"rng", "loader", "train_sums", "nonfinite", "tracking"} & set(described)
    assert [text for text in strings(described) if "/" in text or "\\" in text] == []
    assert described["config"]["data_dir"]
    assert described["calibration"]["error_factors"].keys() >= {"0.5", "0.9"}, "the radius of 90 %"


def test_the_file_is_sealed(tmp_path):
    whole = bytearray(SHIPPED.read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "changed.ckpt").write_bytes(whole)
    with pytest.raises(InputError, match="checksum"):
        load_checkpoint(tmp_path / "changed.ckpt")


def test_every_name_of_the_shipped_weights_leads_to_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = load_checkpoint(SHIPPED).model.state_dict()
    found = [load_predictor(), load_predictor(PRETRAINED), load_predictor(Path(PRETRAINED))]
    assert [one.checkpoint for one in found] == [SHIPPED] * 3
    for trained in (plumbline.load_checkpoint(PRETRAINED), plumbline.load_checkpoint(Path(PRETRAINED))):
        torch.testing.assert_close(trained.model.state_dict(), weights, rtol=0, atol=0)


def test_a_file_or_a_run_of_that_name_takes_precedence(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(PRETRAINED).mkdir()
    (tmp_path / PRETRAINED / "of another program.pth").touch()
    assert find_best(Path(PRETRAINED)) == SHIPPED
    shutil.copy(trained["gcn"], tmp_path / PRETRAINED / "last.ckpt")
    assert load_predictor(PRETRAINED).name == load_checkpoint(PRETRAINED).model_name == "gcn"
    shutil.rmtree(PRETRAINED)
    shutil.copy(trained["gcn"], PRETRAINED)
    assert load_predictor(PRETRAINED).name == load_checkpoint(PRETRAINED).model_name == "gcn"


def test_who_names_a_checkpoint_that_is_not_there_hears_of_the_shipped_one(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for given in (tmp_path / "missing", tmp_path / "checkpoints"):
        with pytest.raises(InputError, match=r"pretrained.*the one that plumbline ships"):
            find_best(given)


def test_weights_of_a_newer_plumbline_are_refused_in_a_sentence(tmp_path, monkeypatch):
    content = saved(SHIPPED)
    content["plumbline"]["format"] = FORMAT + 1
    torch.save(content, tmp_path / "newer.ckpt")
    monkeypatch.setattr(find_checkpoint, "SHIPPED", tmp_path / "newer.ckpt")
    monkeypatch.setattr(predictor, "SHIPPED", tmp_path / "newer.ckpt")
    for load in (load_predictor, lambda: load_predictor(PRETRAINED), lambda: load_checkpoint(PRETRAINED)):
        with pytest.raises(InputError, match=rf"format {FORMAT + 1}, which a newer version .*: upgrade plum"):
            load()
