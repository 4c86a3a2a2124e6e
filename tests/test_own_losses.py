"""A loss in the user's own file: trained with, resumed, recorded; no other command needs it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import plumbline
from plumbline.data.split import split_by_object
from plumbline.errors import InputError
from plumbline.own_parts import find, load
from plumbline.predictors.inference import predict
from plumbline.training.optim.losses import LOSSES
from tests.helpers import ROOT
from tests.helpers.training_fixtures import assert_same_end, differences, interrupt_at, saved, train

PAGE = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
(HUBER,) = re.findall(r"```python loss\n(.*?)```", PAGE, re.DOTALL)
LIKE_OURS = """

def l1(error, bounding_radius):
    return error.abs().mean()


def displacement(error, bounding_radius):
    return ((error.square().sum(1) + torch.finfo(error.dtype).tiny).sqrt() / bounding_radius).mean()
"""
WRONG = """
import torch
text = "text"
def plain(error, bounding_radius): return 3.0
def each(error, bounding_radius): return error.norm(dim=1)
def numpy(error, bounding_radius): return torch.tensor(error.detach().numpy()).abs().mean()
def others(error, bounding_radius): return torch.ones(3, requires_grad=True).sum()
def takes_one(error): return error.mean()
def raises(error, bounding_radius): raise KeyError("no\\nweights")
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my_loss.py"
    path.write_text(HUBER + LIKE_OURS, encoding="utf-8")
    return path


def test_the_metrics_are_those_of_the_loss(tiny: Path, tmp_path: Path, mine: Path) -> None:
    name = f"{mine}:huber"
    done = train(tiny, tmp_path / "run", loss=name, max_epochs=1)
    assert done.code == 0, done.text
    ours = saved(tmp_path / "run" / "last.ckpt")["plumbline"]
    assert (ours["config"]["loss"], ours["loss_sha256"]) == (name, find(name).sha256)
    store = plumbline.open_data(tiny)
    _, val = split_by_object(store.object_idx, store.object_names, 0.1, 0)
    model = plumbline.load_checkpoint(tmp_path / "run" / "last.ckpt").model
    error = predict(model, store, val) - store.target[val]
    expected = load(name)(torch.tensor(error), torch.tensor(store.bounding_radius[val]))
    assert ours["metrics"]["val_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert 0 < ours["metrics"]["train_loss_epoch"] < ours["metrics"]["train_mae_epoch"]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_copy_of_ours_trains_the_same_weights(tiny: Path, tmp_path: Path, mine: Path, loss: str) -> None:
    ends = []
    for name in (loss, f"{mine}:{loss}"):
        assert train(tiny, tmp_path / "run", loss=name).code == 0
        ends.append(saved(tmp_path / "run" / "last.ckpt"))
    assert differences(ends[0]["state_dict"], ends[1]["state_dict"]) == []
    metrics = [end["plumbline"]["metrics"] for end in ends]
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-6)


def test_it_resumes_within_an_epoch_with_the_same_bits(
    tiny: Path, tmp_path: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: dict[str, Any] = {"loss": f"{mine}:huber", "recipe": "best", "num_layers": 1, "loader": "resident"}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train(tiny, whole, **flags).code == 0
    with monkeypatch.context() as patch:
        interrupt_at(7, patch)
        assert train(tiny, stopped, **flags).code == 130
    assert saved(stopped / "last.ckpt")["plumbline"]["batches_done"] > 0
    assert train(tiny, stopped, **flags, resume="").code == 0
    assert_same_end(whole, stopped)


def test_a_changed_file_is_refused_and_no_other_command_needs_it(
    tiny: Path, tmp_path: Path, mine: Path
) -> None:
    run = tmp_path / "run"
    assert train(tiny, run, loss=f"{mine}:huber", max_epochs=1).code == 0
    mine.write_text(HUBER.replace("delta=0.1", "delta=0.2"))
    again: dict[str, Any] = {"loss": f"{mine}:huber", "resume": ""}
    done = train(tiny, run, **again)
    assert (done.code, "my_loss.py has changed since" in done.text) == (2, True), done.text
    done = train(tiny, run, **again, allow_mismatch=True)
    assert done.code == 0, done.text
    assert f"--allow_mismatch: {mine} has changed since" in done.text
    trace = tmp_path / "trace"
    mine.write_text(f"open({str(trace)!r}, 'w').close()")
    assert plumbline.evaluate(run, data_dir=tiny).table.num_graphs > 0
    assert plumbline.load_checkpoint(run / "last.ckpt").config["loss"] == f"{mine}:huber"
    assert not trace.exists()


@pytest.mark.parametrize("losses", [("l1", "huber"), ("huber", "displacement")])
def test_another_loss_may_take_over_within_an_epoch(
    tiny: Path, tmp_path: Path, mine: Path, monkeypatch: pytest.MonkeyPatch, losses: tuple[str, str]
) -> None:
    before, after = (name if name in LOSSES else f"{mine}:{name}" for name in losses)
    with monkeypatch.context() as patch:
        interrupt_at(2, patch)
        assert train(tiny, tmp_path / "run", loss=before).code == 130
    done = train(tiny, tmp_path / "run", loss=after, resume="", allow_mismatch=True)
    assert done.code == 0, done.text
    assert f"--allow_mismatch: --loss {after} here, {before} in the checkpoint" in done.text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "defines no function nothing at its top level; it has text, plain, each, numpy, "),
        ("text", "the loss FILE:text fails when it is called with the errors [2, 3] and the radii [2]"),
        ("plain", "the loss FILE:plain returns float: it must return a tensor of shape []"),
        ("each", "the loss FILE:each returns a tensor of shape [2]: it must return a tensor of shape []"),
        ("numpy", "the loss FILE:numpy has no gradient: compute it from error with torch alone"),
        ("others", "the loss FILE:others has no gradient"),
        ("takes_one", "(TypeError: takes_one() takes 1 positional argument but 2 were given)"),
        ("raises", r"(KeyError: 'no\nweights')"),
    ],
)
def test_what_is_no_loss_is_refused_before_training(tmp_path: Path, name: str, said: str) -> None:
    """Even before the data set is opened, which may take minutes."""
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    (tmp_path / "data").mkdir()
    done = train(tmp_path / "data", tmp_path / "run", loss=f"{file}:{name}")
    assert done.code == 2
    assert done.text.count("error: ") == 1
    assert said.replace("FILE", str(file)) in done.text
    assert not (tmp_path / "run").exists()


def test_other_names_are_refused(tmp_path: Path) -> None:
    for name, said in (
        ("l2", "--loss l2: choose one of l1, displacement, path/to/file.py:function"),
        (f"{tmp_path}/no.py:f", "no.py cannot be read: No such file or directory"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            plumbline.train_settings(loss=name)


def test_from_python_a_function_is_enough(tiny: Path, tmp_path: Path, mine: Path) -> None:
    results = [
        plumbline.train(
            loss=loss, data_dir=tiny, checkpoint_dir=tmp_path / "run", hidden_dim=8, max_epochs=1,
            accelerator="cpu",
        )
        for loss in (load(f"{mine}:huber"), f"{mine}:huber")
    ]  # fmt: skip
    assert results[0].metrics == results[1].metrics
    with pytest.raises(InputError, match=r"write it into a \.py file"):
        plumbline.train(loss=lambda error, bounding_radius: error.mean())
    assert np.isfinite(results[0].metrics["val_loss"])
