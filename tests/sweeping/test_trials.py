"""A trial before its process starts, what its failure means, and what is written about all trials."""

import errno
import os
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from plumbline.locks import sole_owner
from plumbline.spaces import Parameter, Space
from plumbline.sweeping import trials
from plumbline.sweeping.files import with_copies
from plumbline.sweeping.plot import draw
from plumbline.sweeping.records import Trial
from plumbline.sweeping.trials import RunningTrial, is_taken, lacks_room
from tests.sweeping.test_study import settings


def trial(**values: str) -> Trial:
    return Trial(number=0, values=values, state="running", errors={})


def test_metrics_are_read_again_only_if_the_file_has_changed(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    running = RunningTrial(settings(tiny, out, "lr=1e-3,1e-2"), trial(lr="1e-3"), 0)
    read, errors = list[Path](), trials.errors
    monkeypatch.setattr(trials, "errors", lambda folder: (read.append(folder), errors(folder))[1])
    metrics = out / "trial-000" / "metrics.csv"
    assert running.new_errors() == {}
    metrics.write_text("epoch,val_error_rel\n0,0.5\n")
    assert [running.new_errors() for _ in range(3)] == [{0: 0.5}, {}, {}]
    with open(metrics, "a") as file:
        file.write("1,0.25\n")
    assert running.new_errors() == {1: 0.25}
    assert len(read) == 2
    running.close()


def test_a_trial_with_several_gpus_is_not_limited_to_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    chosen = settings(tiny, tmp_path / "out", "devices=1,2", workers=2)
    for devices, seen in {"1": "5", "2": "4,5"}.items():
        running = RunningTrial(chosen, trial(devices=devices), 1)
        assert running._environment["CUDA_VISIBLE_DEVICES"] == seen
        running.close()


def test_a_locked_trial_is_taken(tmp_path: Path) -> None:
    assert not is_taken(tmp_path / "missing")
    with sole_owner(tmp_path / ".sweep.lock"):
        assert is_taken(tmp_path)
    assert not is_taken(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_training_that_could_not_write_is_told_from_one_with_bad_values(code: int) -> None:
    assert lacks_room(f"cannot write metrics.csv ({os.strerror(code)})")
    assert not lacks_room("the loss is not finite at step 3")


def test_an_edited_file_of_flags_changes_no_later_trial(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("hidden_dim: 8\n")
    for words in (["--config", str(file)], [f"--config={file}"]):
        chosen = replace(
            settings(tiny, tmp_path / "out", "lr=1e-3,1e-2"), flags=("--hidden_dim", "3", *words, "--debug")
        )
        flags = with_copies(chosen).flags
        assert (flags[:2], flags[-1], len(flags)) == (("--hidden_dim", "3"), "--debug", 4)
        copy = Path(flags[2].removeprefix("--config="))
        assert copy.parent == tmp_path / "out"
        assert copy.read_text() == "hidden_dim: 8\n"
    file.write_text("hidden_dim: 16\n")
    assert copy.read_text() == "hidden_dim: 8\n"


def test_a_range_of_one_value_is_drawn_without_a_warning() -> None:
    space = Space((Parameter("lr", "0.1:log", low=0.1, high=0.1, log=True),))
    done = Trial(number=0, values={"lr": "0.1"}, state="complete", error=0.5, errors={0: 0.5})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw(space, [done]).startswith(b"\x89PNG")
