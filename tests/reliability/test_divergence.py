"""Trainings that really diverge, from an absurd learning rate or from data that float32 cannot represent."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plumbline.data.batches.order import epoch_order
from plumbline.data.split import split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.records import FEATURE_NAMES
from tests.helpers.training_fixtures import (
    assert_same_end,
    flags,
    in_fresh_process,
    random_samples,
    saved,
    train,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

HUGE = 7
"""The graph whose target is a number in float64 and none in float32; not in the first epoch of seed 0."""


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set with one such target."""
    samples = random_samples()
    samples[HUGE] = replace(samples[HUGE], target=np.array([1e200, 0.0, 0.0]))
    folder = tmp_path_factory.mktemp("huge")
    write_store(folder, samples, feature_names=list(FEATURE_NAMES))
    return folder


def steps_with(row: int, data: Path, epochs: int) -> list[int]:
    """In which steps (from 0) a graph is seen, by whole batches of 8, five in an epoch."""
    store = PackedStore.open(data)
    train_idx, _ = split_by_object(store.object_idx, store.object_names, 0.1, 0)
    (place,) = np.flatnonzero(train_idx == row)
    order = np.concatenate([epoch_order(0, epoch, len(train_idx))[:40] for epoch in range(epochs)])
    return [int(seen) // 8 for seen in np.flatnonzero(order == place)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.ckpt")}


@pytest.mark.parametrize("every", [0, 1], ids=["each-epoch", "each-step"])
def test_an_absurd_learning_rate_leaves_the_checkpoints_of_before(
    tiny: Path, tmp_path: Path, every: int
) -> None:
    """At 3e38 the loss of the first step is finite, and the weights after it are not."""
    assert train(tiny, tmp_path, max_epochs=1).code == 0
    before = contents(tmp_path)
    absurd = {"max_epochs": 3, "lr": 3e38, "resume": "", "allow_mismatch": True}
    done = in_fresh_process(flags(tiny, tmp_path, checkpoint_every_n_steps=every, **absurd))
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "error: a weight is not finite in epoch 1, by step 6"
        if every
        else "error: the loss is not finite at step 7"
    )
    assert "the last good checkpoint is untouched" in line
    assert contents(tmp_path) == before
    resumed = train(tiny, tmp_path, max_epochs=3, resume="")
    assert resumed.code == 0, resumed.text
    assert train(tiny, tmp_path / "whole", max_epochs=3).code == 0
    assert_same_end(tmp_path / "whole", tmp_path)


def test_data_beyond_float32_stop_the_training_and_name_the_object(huge: Path, tmp_path: Path) -> None:
    first = steps_with(HUGE, huge, 4)[0]
    assert first >= 5, "the first epoch is to be a good one"
    assert train(huge, tmp_path, max_epochs=first // 5).code == 0
    before = contents(tmp_path)
    done = in_fresh_process(flags(huge, tmp_path, max_epochs=4, resume=""))
    assert done.returncode == 2, done.stdout
    line = done.stderr.splitlines()[-1]
    told = re.match(r"error: the loss is not finite at step (\d+): objects random/001, ", line)
    assert told, line
    assert int(told[1]) == first + 1
    assert "largest target inf" in line
    assert contents(tmp_path) == before


def test_steps_left_out_are_counted(huge: Path, tmp_path: Path) -> None:
    steps = steps_with(HUGE, huge, 4)
    settings = {"max_epochs": 4, "skip_nonfinite": True}
    done = in_fresh_process(flags(huge, tmp_path / "whole", **settings))
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if " skipped, " in line]
    assert len(said) == len(steps) > 1
    assert all(f"{number} so far" in line for number, line in enumerate(said, start=1))
    assert f"skipped {len(steps)} steps: the loss was not finite" in done.stdout
    assert train(huge, tmp_path / "parts", **settings | {"max_epochs": 2}).code == 0
    assert train(huge, tmp_path / "parts", **settings, resume="").code == 0
    assert_same_end(tmp_path / "whole", tmp_path / "parts")
    for folder in ("whole", "parts"):
        counted = saved(tmp_path / folder / "last.ckpt")["plumbline"]["nonfinite"]
        assert counted == {"skipped": len(steps)}, folder
