"""Flags that may and may not differ on resume; files that a resume never deletes; damaged files."""

import json
import os
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from plumbline.cli import main
from plumbline.config.train import TrainConfig
from plumbline.predictors.checkpoint import read_checkpoint
from plumbline.training import phases
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.persistence.resume import _SAME_NETWORK, _SAME_START, _SAME_TRAINING
from tests.helpers.training_fixtures import assert_same_end, metric_rows, saved, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

MAY_CHANGE = {
    "recipe": "best", "num_workers": 0, "persistent_workers": True, "loader": "workers", "max_epochs": 4,
    "max_steps": 1000, "early_stopping": 5,
    "skip_nonfinite": True, "max_time": "00:01:00:00", "accelerator": "auto", "stall_timeout": 7.0,
    "deterministic": True, "checkpoint_every_n_steps": 2, "log_every_n_steps": 1, "logger": ["tensorboard"],
    "wandb_project": "other", "wandb_entity": "other", "wandb_name": "other", "wandb_tags": ["other"],
    "debug": True, "profile": True, "allow_mismatch": True,
}  # fmt: skip
"""Another value of each flag that says nothing about what is trained."""

ELSEWHERE = (
    "data_dir", "split_file", "checkpoint_dir", "resume", "ensemble", "fast_dev_run", "devices", "num_nodes",
    "strategy", "use_compile", "use_wandb", "save_top_k",
)  # fmt: skip
"""May change too, within their own rules: data and split are compared by their content;
``test_save_top_k.py`` says what stays; the rest needs more devices, a compiler or a service, or is no
training of its own."""

NETWORK: dict[str, Any] = {
    "model": "pointnet", "hidden_dim": 8, "num_layers": 3, "features": "none", "model_args": "num_tokens=8",
    "member": 1, "optimizer": "adamw", "schedule": "cosine", "precision": "64",
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "dropout": 0.3, "batch_size": 4, "val_split": 0.4, "split_by": "group", "seed": 3, "loss": "displacement",
    "warmup": 0.1, "plateau_patience": 0, "plateau_factor": 0.25, "min_lr": 1e-4, "lr": 0.5,
    "weight_decay": 0.1, "gradient_clip": 0.01, "ema": 0.5, "val_every_n_epochs": 2,
    "overfit_batches": 2, "batch_points": 70, "accumulate": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def half(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs."""
    folder = tmp_path_factory.mktemp("half")
    assert train(tiny, folder, lr=1e-2).code == 0
    return folder


@pytest.fixture
def run(half: Path, tmp_path: Path) -> Path:
    """A copy of them to resume."""
    return Path(shutil.copytree(half, tmp_path / "run"))


def test_every_flag_is_in_one_class() -> None:
    classes = [*MAY_CHANGE, *ELSEWHERE, *_SAME_NETWORK, *_SAME_START, *_SAME_TRAINING]
    assert sorted(classes) == sorted(item.name for item in fields(TrainConfig))
    assert set(NETWORK) == set(_SAME_NETWORK)
    assert {*TRAINING, "freeze"} == set(_SAME_TRAINING)  # which needs a checkpoint: test_init_from.py


@pytest.fixture(scope="module")
def straight(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four epochs at once."""
    folder = tmp_path_factory.mktemp("straight")
    assert train(tiny, folder, lr=1e-2, max_epochs=4).code == 0
    return folder


@pytest.fixture
def kernels_as_before() -> Iterator[None]:
    """``--deterministic`` is for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("kernels_as_before")
def test_what_says_nothing_about_the_training_may_change(tiny: Path, run: Path, straight: Path) -> None:
    """All of them at once; and nothing about the training does change."""
    fixed = dict(saved(run / "last.ckpt")["plumbline"]["config"].items())
    kept = {name: fixed[name] for name in (*_SAME_NETWORK, *_SAME_TRAINING) if name not in ("model_args",)}
    outcome = train(tiny, run, **{**kept, **MAY_CHANGE, "resume": ""})
    assert outcome.code == 0, outcome.text
    assert "--allow_mismatch:" not in outcome.text
    assert saved(run / "last.ckpt")["plumbline"]["epochs_done"] == 4
    assert_same_end(straight, run)


def test_another_folder_may_go_on(tiny: Path, run: Path, straight: Path, tmp_path: Path) -> None:
    """Its end is the same, and what it went on from stays as it was."""
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    other = tmp_path / "other"
    outcome = train(tiny, other, lr=1e-2, max_epochs=4, resume=str(run / "last.ckpt"))
    assert outcome.code == 0, outcome.text
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert_same_end(straight, other)


# No two values of model_args fit this network, which has none: tests/models/test_model_flags.py has them.
@pytest.mark.parametrize("name", [name for name in NETWORK if name != "model_args"])
def test_another_network_is_refused_whatever_is_allowed(tiny: Path, run: Path, name: str) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    changed = {"max_epochs": 3, "lr": 1e-2, "resume": "", "allow_mismatch": True, name: NETWORK[name]}
    outcome = train(tiny, run, **changed)
    assert outcome.code == 2
    assert f"--{name} " in outcome.text
    assert " in the checkpoint" in outcome.text
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


@pytest.mark.parametrize("name", TRAINING)
def test_another_training_is_refused_unless_it_is_allowed(tiny: Path, run: Path, name: str) -> None:
    changed = {"max_epochs": 3, "lr": 1e-2, "resume": "", name: TRAINING[name]}
    refused = train(tiny, run, **changed)
    assert refused.code == 2
    assert f"--{name} {TRAINING[name]} here, " in refused.text
    assert "--allow_mismatch to resume with the flags given here" in refused.text
    allowed = train(tiny, run, **changed, allow_mismatch=True)
    assert allowed.code == (2 if name == "split_by" else 0), allowed.text  # these data are one group
    assert f"--allow_mismatch: --{name} {TRAINING[name]} here, " in allowed.text


@pytest.fixture(scope="module")
def slow(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two epochs, and a third one with nothing changed; no unit of the network dies at this rate."""
    folder = tmp_path_factory.mktemp("slow") / "run"
    assert train(tiny, folder, lr=2e-3).code == 0
    longer = Path(shutil.copytree(folder, folder.with_name("longer")))
    assert train(tiny, longer, lr=2e-3, max_epochs=3, resume="").code == 0
    return folder, longer


@pytest.mark.parametrize("name", sorted(set(TRAINING) - {"split_by"}))
def test_what_is_allowed_to_change_acts_and_is_recorded(
    tiny: Path, slow: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    """The third epoch or its schedule is another one, or the training says that the flag has no effect."""
    run = Path(shutil.copytree(slow[0], tmp_path / "run"))
    changed = {"max_epochs": 3, "lr": 2e-3, "resume": "", "allow_mismatch": True, name: TRAINING[name]}
    outcome = train(tiny, run, **changed)
    (row, schedule), (usual_row, usual_schedule) = (
        (metric_rows(folder)[-1], saved(folder / "last.ckpt")["lr_schedulers"]) for folder in (run, slow[1])
    )
    same = (row, schedule) == (usual_row, usual_schedule)
    assert same == (f"--{name} has no effect" in outcome.text)
    assert same == (name == "warmup")
    assert saved(run / "last.ckpt")["plumbline"]["config"][name] == TRAINING[name]
    assert yaml.safe_load((run / "config.yaml").read_text())[name] == TRAINING[name]


@pytest.mark.usefixtures("kernels_as_before")
def test_what_may_change_reaches_the_part_that_it_controls(
    tiny: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    def watched(name: str) -> Callable[..., Any]:
        original = getattr(phases, name)

        def call(*args: Any, **settings: Any) -> Any:
            told[name] = (*args, *settings.values())
            told.update(settings)
            return original(*args, **settings)

        return call

    watched_ones = ("make_loaders", "make_trainer", "GracefulStop", "StallWatch", "StopEarly", "NonFinite")
    for name in (*watched_ones, "Recorder"):
        monkeypatch.setattr(phases, name, watched(name))
    outcome = train(tiny, run, **{**MAY_CHANGE, "recipe": "documented", "lr": 1e-2, "resume": ""})
    assert outcome.code == 0, outcome.text
    for name in ("num_workers", "persistent_workers", "loader", "max_epochs", "skip_nonfinite"):
        assert told[name] == MAY_CHANGE[name], name
    for name in ("deterministic", "checkpoint_every_n_steps"):
        assert told[name] == MAY_CHANGE[name], name
    assert told["max_time"] == 3600
    assert told["Recorder"][1] == MAY_CHANGE["log_every_n_steps"]
    assert told["StallWatch"] == (7.0,)
    assert told["StopEarly"] == (5, True)
    assert "debug  " in outcome.text
    recorded = yaml.safe_load((run / "config.yaml").read_text())
    for name in set(MAY_CHANGE) - {"recipe"}:
        assert recorded[name] == MAY_CHANGE[name], name


@pytest.fixture(scope="module")
def stopped(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A training that stopped early after three epochs, and what it printed."""
    folder = tmp_path_factory.mktemp("stopped")
    outcome = train(tiny, folder, lr=1e-30, max_epochs=50, early_stopping=2)
    assert outcome.code == 0
    return folder, outcome.text


def test_early_stopping_is_said_with_the_command_that_trains_longer(
    tiny: Path, stopped: tuple[Path, str], tmp_path: Path
) -> None:
    folder, text = stopped
    assert "stopped early after epoch 3: val_loss has not improved for 2 epochs" in text
    assert json.loads((folder / "result.json").read_text())["outcome"] == "stopped early"
    (line,) = [line for line in text.splitlines() if line.startswith("train longer")]
    words = shlex.split(line)[2:]
    assert words[:3] == ["plumbline", "train", "--config"]
    moved = Path(shutil.copytree(folder, tmp_path / "run"))
    config = yaml.safe_load((moved / "config.yaml").read_text()) | {"checkpoint_dir": str(moved)}
    (moved / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    assert main(["train", "--config", str(moved / "config.yaml"), *words[4:]]) == 0
    assert len(metric_rows(moved)) == 5


def test_a_training_that_stopped_early_waits_as_long_as_it_is_now_told(
    tiny: Path, stopped: tuple[Path, str], tmp_path: Path
) -> None:
    again = {"lr": 1e-30, "max_epochs": 50, "resume": ""}
    run = Path(shutil.copytree(stopped[0], tmp_path / "run"))
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    outcome = train(tiny, run, **again, early_stopping=2)
    assert "has stopped early after 3 epochs: val_loss had not improved for 2 epochs" in outcome.text
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert train(tiny, run, **again, early_stopping=6).code == 0
    assert len(metric_rows(run)) == 7
    assert train(tiny, run, **{**again, "max_epochs": 9}, early_stopping=0).code == 0
    assert len(metric_rows(run)) == 9
    assert json.loads((run / "result.json").read_text())["outcome"] == "finished"


def test_what_val_loss_meant_before_is_forgotten(tiny: Path, tmp_path: Path) -> None:
    """In data units the loss is larger than in radii: compared with that, no model would be better."""
    run, other = tmp_path / "run", tmp_path / "other"
    assert train(tiny, run, lr=1e-2, loss="displacement").code == 0
    (before,) = run.glob("best-model-*.ckpt")
    changed = {"max_epochs": 3, "lr": 1e-2, "allow_mismatch": True, "resume": str(run / "last.ckpt")}
    outcome = train(tiny, other, **changed, loss="l1", early_stopping=1)
    assert "val_loss is measured differently from here on: no earlier model counts as best" in outcome.text
    (best,) = other.glob("best-model-*.ckpt")
    now = saved(best)["plumbline"]["metrics"]
    assert now["epoch"] == 2
    assert now["val_loss"] > saved(before)["plumbline"]["metrics"]["val_loss"]
    assert saved(best)["lr_schedulers"][0]["best"] == now["val_loss"]
    assert "stopped early" not in outcome.text


def test_a_best_model_of_another_folder_stays_the_best(tiny: Path, run: Path, tmp_path: Path) -> None:
    """The third epoch is made worse than the first two."""
    (best,) = run.glob("best-model-*.ckpt")
    content, other = best.read_bytes(), tmp_path / "other"
    for resume in (best, run / "last.ckpt"):
        changed = {"max_epochs": 3, "lr": 10.0, "allow_mismatch": True, "resume": str(resume)}
        assert train(tiny, other, **changed).code == 0
        assert [path.read_bytes() for path in other.glob("best-model-*.ckpt")] == [content]
        told = json.loads((other / "result.json").read_text())
        assert told["best_checkpoint"] == str(other / best.name)
        assert told["metrics"] == saved(best)["plumbline"]["metrics"]
    assert best.read_bytes() == content


def test_without_the_best_model_the_best_one_from_here_on_is_kept(tiny: Path, tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    assert train(tiny, run, lr=1e-2).code == 0
    (best,) = run.glob("best-model-*.ckpt")
    best.unlink()
    changed = {"max_epochs": 3, "lr": 10.0, "allow_mismatch": True, "resume": str(run / "last.ckpt")}
    outcome = train(tiny, other, **changed)
    assert f"the best model so far, {best}, is missing" in outcome.text
    assert [path.name[:13] for path in other.glob("best-model-*.ckpt")] == ["best-model-02"]


def test_averaging_that_is_switched_off_resumes_from_the_trained_weights(tiny: Path, tmp_path: Path) -> None:
    """With a learning rate of nearly zero they are what the next epoch validates, not their average."""
    train(tiny, tmp_path / "run", lr=1e-2, ema=0.9)
    weights = saved(tmp_path / "run" / "last.ckpt")["training_weights"]
    changed = {"max_epochs": 3, "lr": 1e-30, "allow_mismatch": True, "resume": ""}
    assert train(tiny, tmp_path / "run", **changed).code == 0
    after = saved(tmp_path / "run" / "last.ckpt")
    assert "training_weights" not in after
    assert all(torch.equal(after["state_dict"][name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("early", [False, True])
def test_records_that_a_stop_prevented_are_written_by_resume(
    tiny: Path, tmp_path: Path, straight: Path, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes in the last epoch's validation: everything is trained, and nothing is measured."""
    settings: dict[str, Any] = {"lr": 1e-2, "max_epochs": 4}
    if early:
        settings = {"lr": 1e-30, "max_epochs": 50, "early_stopping": 3}
    original = CentreOfMassTask.on_validation_epoch_start

    def interrupted(task: CentreOfMassTask) -> None:
        if task.current_epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)
        original(task)

    monkeypatch.setattr(CentreOfMassTask, "on_validation_epoch_start", interrupted)
    assert train(tiny, tmp_path, **settings).code == 130
    assert not (tmp_path / "result.json").exists()
    done = train(tiny, tmp_path, **settings, resume="")
    assert done.code == 0
    assert ("has stopped early" if early else "has already finished 4 epochs") in done.text
    assert "miss / radius" in done.text
    assert (tmp_path / "curves.png").is_file()
    if not early:
        told, wanted = (json.loads((folder / "result.json").read_text()) for folder in (tmp_path, straight))
        assert {**told, "best_checkpoint": ""} == {**wanted, "best_checkpoint": ""}
    written = (tmp_path / "result.json").stat().st_mtime_ns
    assert "miss / radius" not in train(tiny, tmp_path, **settings, resume="").text
    assert (tmp_path / "result.json").stat().st_mtime_ns == written


@pytest.mark.parametrize("spelling", ["plain", "roundabout", "through a link"])
def test_what_it_went_on_from_is_never_deleted(tiny: Path, run: Path, spelling: str) -> None:
    """The best model of before is replaced by a better one, and stays because training went on from it."""
    link = run.with_name("link")
    link.symlink_to(run)
    way = {"plain": run, "roundabout": run / ".." / run.name, "through a link": link}[spelling]
    (start,) = run.glob("best-model-*.ckpt")
    content = start.read_bytes()
    outcome = train(tiny, run, lr=1e-2, max_epochs=8, resume=str(way / start.name))
    assert outcome.code == 0, outcome.text
    others = [path for path in run.glob("best-model-*.ckpt") if path != start]
    assert others, "no better model was found: the test says nothing"
    assert start.read_bytes() == content


DAMAGES: dict[str, Any] = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "flipped": lambda content: content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
    "end cut off": lambda content: content[:-1],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_checkpoint_is_passed_over(tiny: Path, run: Path, damage: str) -> None:
    (best,) = run.glob("best-model-*.ckpt")
    (run / "last.ckpt").write_bytes(DAMAGES[damage]((run / "last.ckpt").read_bytes()))
    outcome = train(tiny, run, lr=1e-2, max_epochs=3, resume="")
    assert outcome.code == 0, outcome.text
    assert f"skipped: {run / 'last.ckpt'} " in outcome.text
    assert f"resuming {best} after " in outcome.text
    assert read_checkpoint(run / "last.ckpt")["plumbline"]["epochs_done"] == 3


def test_without_a_last_checkpoint_the_best_model_is_gone_on_from(tiny: Path, run: Path) -> None:
    (best,) = run.glob("best-model-*.ckpt")
    (run / "last.ckpt").unlink()
    outcome = train(tiny, run, lr=1e-2, max_epochs=3, resume="")
    assert outcome.code == 0, outcome.text
    assert f"resuming {best} after " in outcome.text


def test_nothing_but_damaged_checkpoints_is_refused(tiny: Path, run: Path) -> None:
    for path in run.glob("*.ckpt"):
        path.write_bytes(b"")
    outcome = train(tiny, run, lr=1e-2, max_epochs=3, resume="")
    assert outcome.code == 2
    assert f"{run / 'last.ckpt'} is not a readable checkpoint" in outcome.text
