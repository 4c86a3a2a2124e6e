"""The same seed gives the same bits on the same machine, and the same numbers up to rounding on others."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from plumbline.models import MODELS
from plumbline.training.loop.task import CentreOfMassTask
from tests.golden.losses import FILE, SEED, SETTINGS, STEPS, losses, machine
from tests.helpers.training_fixtures import ROOT, flags, fresh_environment, in_fresh_process, write_seeded

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

ELSEWHERE = 1e-6
"""Relative; other kernels add up in another order (the widest against none: 5e-7 after twenty steps)."""


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fresh() -> dict[str, Any]:
    """The same computed now, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.golden.losses"],
        cwd=ROOT, env=fresh_environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeded(tmp_path_factory.mktemp("seeded") / "data")


# -- golden losses -----------------------------------------------------------------------------------------


def test_golden_losses_are_there_for_every_listed_network(
    golden: dict[str, Any], fresh: dict[str, Any]
) -> None:
    assert set(golden["losses"]) == set(SETTINGS) <= set(MODELS)
    assert {len(values) for values in golden["losses"].values()} == {STEPS}
    assert golden["fingerprint"] == fresh["fingerprint"], "the data are other ones, whatever the losses are"


@pytest.mark.parametrize("model", SETTINGS)
def test_golden_losses(golden: dict[str, Any], fresh: dict[str, Any], model: str) -> None:
    found, wanted = fresh["losses"][model], golden["losses"][model]
    if fresh["machine"] == golden["machine"]:
        assert found == wanted
    else:
        assert found == pytest.approx(wanted, rel=ELSEWHERE, abs=0)


@pytest.mark.parametrize("model", SETTINGS)
def test_this_process_and_a_fresh_one_agree_to_the_bit(data: Path, fresh: dict[str, Any], model: str) -> None:
    if machine()["threads"] != fresh["machine"]["threads"]:
        pytest.skip("this process has more threads, which add up in another order")
    assert losses(data, model) == fresh["losses"][model]


@pytest.mark.parametrize("model", SETTINGS)
def test_another_seed_changes_every_loss(data: Path, fresh: dict[str, Any], model: str) -> None:
    other = losses(data, model, seed=SEED + 1)
    assert [step for step in range(STEPS) if other[step] == fresh["losses"][model][step]] == []


# -- all bits of a training --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["gcn", "ept"])
def test_two_fresh_processes_write_the_same_bytes(data: Path, tmp_path: Path, model: str) -> None:
    """Weights, optimizer, schedule, random states, metrics, and all that the checkpoint says of itself."""
    run, before = tmp_path / "run", tmp_path / "before"
    for number in range(2):
        done = in_fresh_process(flags(data, run, **SETTINGS[model] | {"model": model, "max_epochs": 2}))
        assert done.returncode == 0, done.stderr
        if not number:
            run.rename(before)
    names = sorted(path.name for path in run.glob("*.ckpt"))
    assert names == sorted(path.name for path in before.glob("*.ckpt"))
    for name in [*names, "metrics.csv", "config.yaml", "result.json", "curves.png"]:
        assert (run / name).read_bytes() == (before / name).read_bytes(), name


@pytest.mark.parametrize("model", ["gcn", "ept"])
@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_neither_loader_nor_workers_matter(data: Path, model: str, num_workers: int) -> None:
    resident = losses(data, model, loader="resident")
    assert losses(data, model, loader="workers", num_workers=num_workers) == resident


@pytest.mark.parametrize("model", SETTINGS)
def test_deterministic_kernels_change_nothing_on_a_cpu(
    data: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    start = CentreOfMassTask.on_train_start

    def watched(task: CentreOfMassTask) -> None:
        seen.append(torch.are_deterministic_algorithms_enabled())
        start(task)

    monkeypatch.setattr(CentreOfMassTask, "on_train_start", watched)
    usual = losses(data, model)
    assert losses(data, model, deterministic=True) == usual
    assert seen == [False, True]
    assert not torch.are_deterministic_algorithms_enabled(), "it is for one training only"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("model", SETTINGS)
def test_deterministic_on_cuda(data: Path, tmp_path: Path, model: str) -> None:
    """Two processes, each with the kernels that it loads and warms up itself."""
    chosen = SETTINGS[model] | {"model": model, "accelerator": "cuda", "deterministic": True}
    found = []
    for _ in range(2):
        done = in_fresh_process(flags(data, tmp_path / "run", **chosen))
        assert done.returncode == 0, done.stderr
        found.append({path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.ckpt")})
        shutil.rmtree(tmp_path / "run")
    assert found[0] == found[1]
