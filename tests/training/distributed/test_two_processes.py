"""Two processes train as one does, and resume to the bit."""

from pathlib import Path

import pytest
import torch

from tests.helpers.training_fixtures import (
    differences,
    metric_rows,
    saved,
    step_rows,
    train,
    write_seeded,
)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeded(tmp_path_factory.mktemp("seeded"), payload=True)


def worst(one: list[dict[str, str]], other: list[dict[str, str]]) -> float:
    """Largest difference of two tables of numbers."""
    assert len(one) == len(other) > 0
    pairs = [(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in a]
    assert all(bool(a) == bool(b) for a, b in pairs)
    return max(abs(float(a) - float(b)) for a, b in pairs if a)


@pytest.mark.parametrize("flags", [
    {"model": "ept", "ema": 0.9},
    {"model": "gcn", "batch_size": 64, "loader": "workers", "num_workers": 1},
])  # fmt: skip
def test_loss_metrics_and_weights_are_those_of_one_process(seeded, tmp_path, flags):
    """In float64. 64 graphs are more than there are: the two parts of the one batch are not equal."""
    common = {"precision": "64", "dropout": 0, "log_every_n_steps": 1, "val_split": 0.4} | flags
    size = common.pop("batch_size", 8)
    alone = train(seeded, tmp_path / "alone", batch_size=2 * size, **common)
    both = train(seeded, tmp_path / "both", batch_size=size, devices=2, **common)
    assert (alone.code, both.code) == (0, 0), both.text
    for rows in (metric_rows, step_rows):
        assert worst(rows(tmp_path / "alone"), rows(tmp_path / "both")) < 1e-10
    one, other = (saved(tmp_path / name / "last.ckpt") for name in ("alone", "both"))
    for name, weights in one["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], weights, rtol=0, atol=1e-10)
    calibration = one["plumbline"]["calibration"]
    assert repr(calibration)[:40] == repr(other["plumbline"]["calibration"])[:40]
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("alone", "both")]
    assert names[0] == names[1], "the files of one process, written once"


def test_a_stopped_training_resumes_with_the_same_bits_and_by_one_process_with_the_next_graph(
    seeded, tmp_path
):
    """With dropout, whose masks differ between the processes."""
    common = {"model": "ept", "dropout": 0.2, "batch_size": 4, "log_every_n_steps": 1}
    whole = train(seeded, tmp_path / "whole", devices=2, **common)
    assert whole.code == 0, whole.text
    steps = int(step_rows(tmp_path / "whole")[-1]["step"])
    stopped = train(seeded, tmp_path / "parts", devices=2, max_steps=steps // 2 + 2, **common)
    assert stopped.code == 0, stopped.text
    (tmp_path / "one").mkdir()
    for path in (tmp_path / "parts").iterdir():
        (tmp_path / "one" / path.name).write_bytes(path.read_bytes())
    assert train(seeded, tmp_path / "parts", devices=2, resume="last", **common).code == 0
    one, other = (saved(tmp_path / name / "last.ckpt") for name in ("whole", "parts"))
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert differences(one[part], other[part]) == [], part
    for part in ("rng", "rng_of_others", "metrics", "train_sums", "calibration"):
        assert differences(one["plumbline"][part], other["plumbline"][part]) == [], part
    (theirs,) = one["plumbline"]["rng_of_others"]
    assert differences(theirs["torch"], one["plumbline"]["rng"]["torch"]), "they drop out different units"
    alone = train(seeded, tmp_path / "one", resume="last", **common)
    assert alone.code == 0
    assert "by 1 process instead of 2" in " ".join(alone.text.split())
    left = saved(tmp_path / "one" / "last.ckpt")["plumbline"]["global_step"]
    assert steps == 10, "44 graphs, 8 in a batch"
    assert left == 7 + (44 - 2 * 8) // 4, "two batches of the second epoch were done"
