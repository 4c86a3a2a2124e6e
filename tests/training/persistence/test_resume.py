"""Resuming a training is exact to the bit: weights, optimizer, schedule, random states, metrics."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from plumbline.console.text import counted
from plumbline.data.store.writer import write_store
from plumbline.models.answer import Answer
from plumbline.records import FEATURE_NAMES
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.show.metrics_file import COLUMNS
from tests.helpers.training_fixtures import (
    differences,
    flags,
    in_fresh_process,
    interrupt_at,
    metric_rows,
    random_samples,
    saved,
    train,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

# Lightning counts its own steps of the schedule there, of which this program takes none, and where the
# run folder is and how many epochs were asked for differs by design.
_MAY_DIFFER = ("/config/checkpoint_dir", "/config/max_epochs", "BestAndLast")


def unexplained(one: Path, other: Path) -> list[str]:
    found = differences(saved(one), saved(other))
    return [line for line in found if not any(part in line for part in _MAY_DIFFER)]


def assert_same_training(one: Path, other: Path) -> None:
    assert unexplained(one / "last.ckpt", other / "last.ckpt") == []
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    best, other_best = ([path.name for path in folder.glob("best-model-*")] for folder in (one, other))
    assert best == other_best
    assert unexplained(one / best[0], other / best[0]) == []


@pytest.fixture(scope="module")
def straight(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four epochs in one go, shuffled, with dropout."""
    folder = tmp_path_factory.mktemp("straight")
    train(tiny, folder, max_epochs=4)
    return folder


@pytest.fixture(scope="module")
def half(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two of them."""
    folder = tmp_path_factory.mktemp("half")
    train(tiny, folder, max_epochs=2)
    return folder


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def test_the_comparison_can_fail(straight: Path, half: Path) -> None:
    found = unexplained(straight / "last.ckpt", half / "last.ckpt")
    for part in ("/state_dict/model.head.6.bias", "/optimizer_states/0/state/0/exp_avg", "/rng/torch"):
        assert any(part in line for line in found), part


def test_two_epochs_and_two_in_a_fresh_process_are_four(
    tiny: Path,
    straight: Path,
    half: Path,
    tmp_path: Path,
) -> None:
    folder = copied(half, tmp_path / "run")
    done = in_fresh_process(flags(tiny, folder, max_epochs=4, resume=""))
    assert done.returncode == 0, done.stderr
    assert_same_training(straight, folder)
    assert "resuming" in done.stdout


@pytest.mark.parametrize(
    "changed",
    [
        {"ema": 0.9},
        {"loader": "workers", "num_workers": 2},
        {"precision": "bf16", "num_layers": 3},
        {"early_stopping": 3, "gradient_clip": 0.05, "val_split": 0.4},
    ],
    ids=["ema", "workers", "bf16", "early-stopping"],
)
def test_resuming_is_exact_with(tiny: Path, tmp_path: Path, changed: dict) -> None:
    train(tiny, tmp_path / "whole", max_epochs=3, **changed)
    train(tiny, tmp_path / "parts", max_epochs=1, **changed)
    torch.rand(7)  # whatever happens in between must not matter
    assert train(tiny, tmp_path / "parts", max_epochs=3, resume="", **changed).code == 0
    assert_same_training(tmp_path / "whole", tmp_path / "parts")


def test_a_plateau_ends_in_the_same_epoch(tiny: Path, tmp_path: Path) -> None:
    rigid = {"lr": 1.5e-6, "batch_size": 64}
    train(tiny, tmp_path / "whole", max_epochs=13, **rigid)
    train(tiny, tmp_path / "parts", max_epochs=11, **rigid)
    train(tiny, tmp_path / "parts", max_epochs=13, resume="", **rigid)
    assert metric_rows(tmp_path / "whole")[-1]["learning_rate"] == "1e-06"
    assert_same_training(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("step", [1, 7, 9], ids=["first-epoch", "mid-epoch", "last-batch"])
@pytest.mark.parametrize("loader", ["resident", "workers"])
def test_interrupted_anywhere_and_resumed_is_the_same_training(
    tiny: Path,
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    loader: str,
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(step, patch)
        outcome = train(tiny, tmp_path, max_epochs=4, loader=loader, num_workers=0)
    assert outcome.code == 130
    assert f"interrupted after {step + 1} steps" in outcome.text
    assert saved(tmp_path / "last.ckpt")["global_step"] == step + 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = train(tiny, tmp_path, max_epochs=4, loader=loader, num_workers=0, resume="")
    assert resumed.code == 0
    whole, within = divmod(step + 1, 5)
    stood = f"after {counted(whole, 'epoch')}" + (f" and {within} batches" if within else "")
    assert f"resuming {tmp_path / 'last.ckpt'} {stood}\n" in resumed.text
    assert (straight / "metrics.csv").read_bytes() == (tmp_path / "metrics.csv").read_bytes()
    one, other = saved(straight / "last.ckpt"), saved(tmp_path / "last.ckpt")
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert differences(one[part], other[part]) == [], part
    for part in ("rng", "metrics", "epochs_done", "batches_done"):
        assert differences(one["plumbline"][part], other["plumbline"][part]) == [], part


def test_resuming_drops_rows_that_the_checkpoint_does_not_know(
    tiny: Path,
    straight: Path,
    half: Path,
    tmp_path: Path,
) -> None:
    folder = copied(half, tmp_path / "run")
    with open(folder / "metrics.csv", "a") as file:
        file.write(",".join(["2", "15", *["0.25"] * (len(COLUMNS) - 2)]) + "\n3,20,0.1")
    train(tiny, folder, max_epochs=4, resume=str(folder / "last.ckpt"))
    assert (folder / "metrics.csv").read_bytes() == (straight / "metrics.csv").read_bytes()


def test_a_moved_run_keeps_its_best_model(tiny: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path / "here", max_epochs=2, lr=1e-2)
    (tmp_path / "here").rename(tmp_path / "there")
    best = next((tmp_path / "there").glob("best-model-*"))
    still = {"lr": 1e-2, "max_epochs": 3, "resume": ""}
    with pytest.MonkeyPatch.context() as patch:  # the third epoch must not be better
        patch.setattr(CentreOfMassTask, "_answer", lambda task, batch: Answer(task.forward_model(batch) + 9))
        assert train(tiny, tmp_path / "there", **still).code == 0
    assert [path.name for path in (tmp_path / "there").glob("best-model-*")] == [best.name]
    assert best.exists()


def test_bare_resume_takes_the_newest_last_checkpoint(tiny: Path, half: Path, tmp_path: Path) -> None:
    folder = copied(half, tmp_path / "run")
    shutil.copy(folder / "last.ckpt", folder / "last-v1.ckpt")
    os.utime(folder / "last.ckpt", (1, 1))
    outcome = train(tiny, folder, max_epochs=3, resume="")
    assert f"resuming {folder / 'last-v1.ckpt'} after 2 epochs" in outcome.text


def test_a_finished_training_says_so_and_changes_nothing(tiny: Path, half: Path, tmp_path: Path) -> None:
    folder = copied(half, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    outcome = train(tiny, folder, max_epochs=2, resume="")
    assert outcome.code == 0
    assert "has already finished 2 epochs: raise --max_epochs to resume" in outcome.text
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"batch_size": 4}, "--batch_size 4 here, 8 in the checkpoint"),
        ({"hidden_dim": 8}, "--hidden_dim 8 here, 16 in the checkpoint"),
        ({"seed": 3}, "--seed 3 here, 0 in the checkpoint"),
        ({"lr": 0.5}, "--lr 0.5 here, 0.001 in the checkpoint"),
        ({"resume": "elsewhere/last.ckpt"}, "--resume elsewhere/last.ckpt: there is no such checkpoint"),
    ],
)
def test_another_training_is_not_continued(
    tiny: Path,
    half: Path,
    tmp_path: Path,
    changed: dict,
    difference: str,
) -> None:
    folder = copied(half, tmp_path / "a run")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    outcome = train(tiny, folder, **{"max_epochs": 4, "resume": "", **changed})
    assert outcome.code == 2
    assert difference in outcome.text
    assert (f"--config '{folder / 'config.yaml'}'" in outcome.text) == ("resume" not in changed)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_other_data_are_refused(half: Path, tmp_path: Path) -> None:
    folder = copied(half, tmp_path / "run")
    write_store(tmp_path / "data", random_samples(seed=8), feature_names=list(FEATURE_NAMES))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    outcome = train(tmp_path / "data", folder, max_epochs=4, resume="")
    assert outcome.code == 2
    assert "holds other data" in outcome.text
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_to_resume_is_refused(tiny: Path, tmp_path: Path) -> None:
    outcome = train(tiny, tmp_path, resume="")
    assert outcome.code == 2
    assert f"there is no last.ckpt in {tmp_path}" in outcome.text
