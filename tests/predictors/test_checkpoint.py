"""Checkpoints: durable, self-describing, and safe to read from strangers."""

import errno
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plumbline.data.split import mark_objects, split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.predictors.checkpoint import FORMAT, load_checkpoint, read_checkpoint
from plumbline.predictors.inference import predict
from plumbline.reporting import Reporter
from plumbline.training.persistence.saving import BEST_NAME, BestAndLast, write_durably
from tests.helpers.training_fixtures import differences, metric_rows, saved, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(tiny, folder, max_epochs=3)
    return folder


def test_one_best_and_the_last_with_the_documented_name(run: Path) -> None:
    names = sorted(path.name for path in run.glob("*.ckpt"))
    losses = [float(row["val_loss"]) for row in metric_rows(run)]
    epoch = int(np.argmin(losses))
    assert names == [f"best-model-{epoch:02d}-{losses[epoch]:.3f}.ckpt", "last.ckpt"]
    assert saved(run / names[0])["epoch"] == epoch
    assert saved(run / "last.ckpt")["epoch"] == 2


def test_the_last_state_is_saved_also_when_it_is_not_the_best(tiny: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path, max_epochs=3, lr=1e-30)
    (best,) = tmp_path.glob("best-model-00-*.ckpt")
    assert saved(best)["epoch"] == 0
    assert (saved(tmp_path / "last.ckpt")["epoch"], saved(tmp_path / "last.ckpt")["global_step"]) == (2, 15)


def test_the_documented_settings(tmp_path: Path) -> None:
    policy = BestAndLast(tmp_path, Reporter())
    assert BEST_NAME == "best-model-{epoch:02d}-{val_loss:.3f}"
    assert (policy.filename, policy.monitor, policy.mode) == (BEST_NAME, "val_loss", "min")
    assert (policy.save_top_k, policy.save_last, policy.save_weights_only) == (1, True, False)
    assert (policy._save_on_train_epoch_end, policy.auto_insert_metric_name) == (False, False)


def test_it_describes_itself_in_plain_values(run: Path, tiny: Path) -> None:
    content = saved(run / "last.ckpt")
    ours = content["plumbline"]
    store = PackedStore.open(tiny)
    _, val_idx = split_by_object(store.object_idx, store.object_names, 0.1, 0)
    validating = set(store.object_idx[val_idx].tolist())
    assert ours["format"] == FORMAT
    assert ours["model"] == "gcn"
    assert ours["model_args"] == {"input_dim": 12, "hidden_dim": 16, "num_layers": 2, "dropout": 0.1}
    assert ours["config"]["batch_size"] == 8
    assert ours["config"]["data_dir"] == str(tiny)
    assert ours["data"] == {
        "data_dir": str(tiny),
        "fingerprint": store.fingerprint,
        "feature_names": list(store.feature_names),
        "vector_names": [],
        "leaders": 0,
        "k": None,
        "edge_attr": "none",
        "sh_degree": None,
        "objects": mark_objects(
            {store.object_names[i]: store.bounding_radius[4 * i] for i in range(12) if i not in validating}
        ),
        "num_train": 44,
        "num_val": 4,
        "num_points": [12, 29],
        "normalise": "unknown",
        "val_split": 0.1,
        "split_by": "object",
        "seed": 0,
    }
    assert set(ours["versions"]) >= {"plumbline", "torch", "lightning"}
    assert set(ours["rng"]) == {"python", "numpy", "torch", "cuda"}
    assert len(content["optimizer_states"]) == len(content["lr_schedulers"]) == 1


def test_a_loaded_model_answers_as_the_saved_one_did(run: Path, tiny: Path) -> None:
    trained = load_checkpoint(str(run / "last.ckpt"))
    weights = saved(run / "last.ckpt")["state_dict"]
    assert {f"model.{name}" for name in trained.model.state_dict()} == set(weights)
    store = PackedStore.open(tiny)
    before = torch.random.get_rng_state()
    answers = predict(trained.model, store, np.arange(len(store)))
    assert torch.equal(before, torch.random.get_rng_state())
    assert answers.shape == (48, 3)
    assert not trained.model.training
    assert (trained.model_name, trained.epochs_done) == ("gcn", 3)
    assert trained.metrics["val_loss"] == float(metric_rows(run)[-1]["val_loss"])


# -- writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["open", "fsync", "read_back", "replace"])
def test_whenever_writing_fails_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "last.ckpt"
    write_durably(path, b"old")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if fails == "open":
        monkeypatch.setattr("builtins.open", full)
    elif fails == "read_back":
        monkeypatch.setattr(Path, "read_bytes", lambda _: b"something else")
    else:
        monkeypatch.setattr(os, fails, full)
    with pytest.raises(InputError, match=r"cannot write the checkpoint .*is untouched"):
        write_durably(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_without_an_earlier_checkpoint_no_resuming_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="there is no earlier one to resume from") as caught:
        write_durably(tmp_path / "last.ckpt", b"new")
    assert "--resume" not in str(caught.value)


def test_the_bytes_are_on_the_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b))[1])
    write_durably(tmp_path / "last.ckpt", b"content")
    steps = [step for step, _ in itertools.groupby(order)]
    assert steps == (["fsync", "replace", "fsync"] if os.name == "posix" else ["fsync", "replace"])
    assert (tmp_path / "last.ckpt").read_bytes() == b"content"


def full_when(condition: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the disk be full for the writes, by number from 1, of which the condition says so."""
    replace, count = os.replace, itertools.count(1)

    def full(source: Any, target: Any) -> None:
        if str(target).endswith(".ckpt") and condition(next(count)):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)


def test_a_disk_that_is_full_for_a_while_costs_nothing(
    tiny: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_when(lambda number: number in (3, 4), monkeypatch)
    outcome = train(tiny, tmp_path, max_epochs=3)
    assert outcome.code == 0, outcome.text
    assert outcome.text.count("No space left on device") == 2
    assert outcome.text.count("is untouched; training continues") == 2
    names = [sorted(path.name for path in folder.glob("*.ckpt")) for folder in (run, tmp_path)]
    assert names[0] == names[1]
    one, other = saved(run / "last.ckpt"), saved(tmp_path / "last.ckpt")
    assert differences(one["state_dict"], other["state_dict"]) == []


def test_a_disk_that_stays_full_is_told_at_the_end_and_the_last_good_state_stays(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_when(lambda number: number > 2, monkeypatch)
    outcome = train(tiny, tmp_path, max_epochs=3)
    assert outcome.code == 1
    assert "the last state is not saved: cannot write the checkpoint" in outcome.text
    assert saved(tmp_path / "last.ckpt")["plumbline"]["epochs_done"] == 1
    assert len(list(tmp_path.glob("best-model-00-*.ckpt"))) == 1
    assert not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    assert train(tiny, tmp_path, max_epochs=3, resume="").code == 0
    assert saved(tmp_path / "last.ckpt")["plumbline"]["epochs_done"] == 3


def test_the_new_best_is_there_before_the_old_one_goes(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from plumbline.training.persistence.saving import DurableCheckpoints

    present: list[int] = []
    remove = DurableCheckpoints.remove_checkpoint

    def watched(self: DurableCheckpoints, path: Any) -> None:
        files = list(tmp_path.glob("best-model-*.ckpt"))
        for file in files:
            read_checkpoint(file)
        present.append(len(files))
        remove(self, path)

    monkeypatch.setattr(DurableCheckpoints, "remove_checkpoint", watched)
    train(tiny, tmp_path, max_epochs=3)
    assert present
    assert set(present) == {2}


# -- reading -----------------------------------------------------------------------------------------------


def test_a_damaged_file_is_refused(run: Path, tmp_path: Path) -> None:
    good = (run / "last.ckpt").read_bytes()
    middle = len(good) // 2
    damaged = {
        "empty": b"",
        "cut": good[:middle],
        "cut at the end": good[:-1],
        "text": b"not a checkpoint",
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="checkpoint"):
            load_checkpoint(tmp_path / name)


def test_a_flipped_bit_is_noticed(run: Path, tmp_path: Path) -> None:
    good = (run / "last.ckpt").read_bytes()
    original, path = read_checkpoint(run / "last.ckpt"), tmp_path / "flipped.ckpt"
    noticed = 0
    anywhere = np.linspace(0, len(good) - 1, 60).astype(int).tolist()
    for position in [*anywhere, *range(len(good) - 1500, len(good), 40)]:  # the end says where things lie
        path.write_bytes(good[:position] + bytes([good[position] ^ 16]) + good[position + 1 :])
        try:
            assert (
                differences(read_checkpoint(path), original) == []
            )  # the seal itself, which guards the rest
        except InputError:
            noticed += 1
    assert noticed > 90


def test_foreign_and_future_files_are_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(InputError, match="there is no checkpoint"):
        load_checkpoint(str(tmp_path / "missing.ckpt"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", forbidden)
        with pytest.raises(InputError) as caught:
            load_checkpoint(tmp_path / "closed.ckpt")
    assert str(caught.value) == f"cannot read the checkpoint {tmp_path / 'closed.ckpt'} (Permission denied)"
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(InputError, match="not a checkpoint of this program"):
        load_checkpoint(tmp_path / "foreign.ckpt")
    for key, value, match in (
        ("format", 99, "checkpoint format 99"),
        ("model", "oracle", "does not know"),
        ("model_args", {"input_dim": 9, "depth": 3}, "does not fit the model 'gcn'"),
        ("model_args", {"input_dim": 5}, "does not fit the model 'gcn'"),
    ):
        content = saved(run / "last.ckpt")
        content["plumbline"][key] = value
        torch.save(content, tmp_path / "other.ckpt")
        with pytest.raises(InputError, match=match):
            load_checkpoint(tmp_path / "other.ckpt")
