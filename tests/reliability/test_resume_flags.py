"""Flags that may and may not differ on resume; files that a resume never deletes; damaged files."""

import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from plumbline.config.train import TrainConfig
from plumbline.predictors.checkpoint import read_checkpoint
from plumbline.training.persistence.resume import _SAME_NETWORK, _SAME_TRAINING
from tests.helpers.training_fixtures import assert_same_end, saved, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

MAY_CHANGE = {
    "recipe": "best", "num_workers": 0, "loader": "workers", "max_epochs": 4, "early_stopping": 5,
    "skip_nonfinite": True, "max_time": "00:01:00:00", "accelerator": "auto", "stall_timeout": 7.0,
    "deterministic": True, "checkpoint_every_n_steps": 2, "logger": ["tensorboard"],
    "wandb_project": "other", "wandb_entity": "other", "wandb_name": "other", "wandb_tags": ["other"],
    "debug": True, "allow_mismatch": True,
}  # fmt: skip
"""Another value of each flag that says nothing about what is trained."""

ELSEWHERE = (
    "data_dir", "checkpoint_dir", "resume", "ensemble", "fast_dev_run", "devices", "num_nodes", "strategy",
    "use_compile", "use_wandb",
)  # fmt: skip
"""May change too, within their own rules: data are compared by their fingerprint; the rest needs more
devices, a compiler or a service, or is no training of its own."""

NETWORK: dict[str, Any] = {
    "model": "pointnet", "hidden_dim": 8, "num_layers": 3, "features": "none", "model_args": "num_tokens=8",
    "member": 1, "optimizer": "adamw", "schedule": "cosine", "precision": "64",
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "dropout": 0.3, "batch_size": 4, "val_split": 0.4, "split_by": "group", "seed": 3, "loss": "displacement",
    "warmup": 0.1, "lr": 0.5, "weight_decay": 0.1, "gradient_clip": 0.5, "ema": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def half(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs."""
    folder = tmp_path_factory.mktemp("half")
    assert train(tiny, folder, lr=1e-2).code == 0
    return folder


@pytest.fixture
def run(half: Path, tmp_path: Path) -> Path:
    """A copy of them to go on in."""
    return Path(shutil.copytree(half, tmp_path / "run"))


def test_every_flag_is_in_one_class() -> None:
    classes = [*MAY_CHANGE, *ELSEWHERE, *_SAME_NETWORK, *_SAME_TRAINING]
    assert sorted(classes) == sorted(item.name for item in fields(TrainConfig))
    assert (set(NETWORK), set(TRAINING)) == (set(_SAME_NETWORK), set(_SAME_TRAINING))


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
