"""A disk that is full, read-only, failing or gone: the last good checkpoint stays, and a message says so."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plumbline.errors import InputError
from plumbline.training.persistence.saving import write_durably
from plumbline.training.show.metrics_file import COLUMNS, CsvFile
from plumbline.training.show.recorder import Recorder
from plumbline.training.show.tracking import Trackers
from tests.helpers.training_fixtures import (
    differences,
    flags,
    in_fresh_process,
    metric_rows,
    saved,
    telling,
    train,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="mounts file systems as Linux does"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"this user may not mount a file system ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def after_epoch(epoch: int, monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Does something after the metrics of an epoch are recorded and before its checkpoint is written."""
    original = Recorder.on_validation_end

    def acting(self: Recorder, trainer: Any, task: Any) -> None:
        original(self, trainer, task)
        if trainer.current_epoch == epoch:
            action()

    monkeypatch.setattr(Recorder, "on_validation_end", acting)


def fill(folder: Path) -> None:
    """Writes until nothing more fits."""
    with open(folder / "ballast", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def make_read_only(folder: Path) -> None:
    """Lays a read-only view of the folder over it, until it is unmounted; open files stay writable."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_real_disk_in_trouble_keeps_the_last_good_state(
    tiny: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    run = small_disk / "run"
    with monkeypatch.context() as patch:
        after_epoch(1, patch, lambda: fill(small_disk) if fault == "full" else make_read_only(small_disk))
        outcome = train(tiny, run, max_epochs=3, lr=1e-2)
    reason = "No space left on device" if fault == "full" else "Read-only file system"
    assert outcome.code != 0, outcome.text
    assert outcome.text.count(f"cannot write the checkpoint {run / 'last.ckpt'} ({reason})") >= 2
    assert "is untouched; training continues" in outcome.text
    assert "Traceback" not in outcome.text
    assert saved(run / "last.ckpt")["plumbline"]["epochs_done"] == 1
    if fault == "full":
        (small_disk / "ballast").unlink()
    else:
        subprocess.run(["umount", "--lazy", str(small_disk)], check=True)
    assert train(tiny, run, max_epochs=3, lr=1e-2, resume="").code == 0
    assert train(tiny, tmp_path / "straight", max_epochs=3, lr=1e-2).code == 0
    ends = [saved(folder / "last.ckpt")["state_dict"] for folder in (tmp_path / "straight", run)]
    assert differences(*ends) == []


def test_room_that_comes_back_is_used(tiny: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small_disk / "run"
    after_epoch(1, monkeypatch, lambda: fill(small_disk))
    after_epoch(2, monkeypatch, (small_disk / "ballast").unlink)
    outcome = train(tiny, run, max_epochs=4, lr=1e-2)
    assert outcome.code == 0, outcome.text
    assert "No space left on device" in outcome.text
    assert saved(run / "last.ckpt")["plumbline"]["epochs_done"] == 4


def test_a_folder_that_is_deleted_is_made_again(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        after_epoch(1, patch, lambda: shutil.rmtree(run))
        outcome = train(tiny, run, max_epochs=3, lr=1e-2)
    assert "Traceback" not in outcome.text
    assert outcome.code == 0, outcome.text
    assert saved(run / "last.ckpt")["plumbline"]["epochs_done"] == 3
    assert (run / "config.yaml").is_file()
    rewritten = f"{run / 'metrics.csv'} was removed or replaced: it was rewritten with all its rows"
    assert outcome.text.count(rewritten) == 1
    assert train(tiny, tmp_path / "straight", max_epochs=3, lr=1e-2).code == 0
    assert metric_rows(run) == metric_rows(tmp_path / "straight")


def test_a_best_model_that_is_deleted_is_replaced_by_the_next(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the next is worse: the learning rate drives every later epoch away."""
    run = tmp_path / "run"

    def spoil(trainer: Any) -> None:
        (first,) = run.glob("best-model-00-*.ckpt")
        first.unlink()
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = 1e3

    original = Recorder.on_train_epoch_start

    def acting(self: Recorder, trainer: Any, task: Any) -> None:
        original(self, trainer, task)
        if trainer.current_epoch == 1:
            spoil(trainer)

    monkeypatch.setattr(Recorder, "on_train_epoch_start", acting)
    outcome = train(tiny, run, max_epochs=3, lr=1e-2)
    assert outcome.code == 0, outcome.text
    (best,) = run.glob("best-model-*.ckpt")
    assert not best.name.startswith("best-model-00"), "the later epochs were not worse: the test says nothing"
    scores = [float(row["val_loss"]) for row in metric_rows(run) if row["val_loss"]]
    assert scores[0] < min(scores[1:])
    assert float(best.stem.rsplit("-", 1)[1]) == pytest.approx(min(scores[1:]), abs=1e-3)
    assert "was removed: the best model from here on is kept" in outcome.text


@pytest.mark.parametrize("fault", ["short write", "EIO", "read-only", "folder is a file"])
def test_whatever_the_system_answers_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    path = tmp_path / "run" / "last.ckpt"
    write_durably(path, b"old")

    def failing(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS if fault == "read-only" else errno.EIO, "refused")

    if fault == "short write":
        flush = os.fsync
        monkeypatch.setattr(os, "fsync", lambda handle: (os.ftruncate(handle, 1), flush(handle))[1])
    elif fault == "folder is a file":
        path.unlink()
        path.parent.rmdir()
        path.parent.write_text("in the way")
    elif fault == "EIO":
        monkeypatch.setattr(os, "fsync", failing)
    else:
        monkeypatch.setattr("builtins.open", failing)
        monkeypatch.setattr(Path, "unlink", failing)  # as the kernel does, also for files that are not there
    with pytest.raises(InputError, match="cannot write the checkpoint"):
        write_durably(path, b"new")
    monkeypatch.undo()
    if fault != "folder is a file":
        assert path.read_bytes() == b"old"
        assert os.listdir(path.parent) == ["last.ckpt"]


def test_the_temporary_folder_is_not_needed(tiny: Path, tmp_path: Path) -> None:
    arguments = flags(tiny, tmp_path / "run", loader="resident")
    done = in_fresh_process(arguments, TMPDIR=str(tmp_path / "missing"))
    assert done.returncode == 0, done.stderr
    assert saved(tmp_path / "run" / "last.ckpt")["plumbline"]["epochs_done"] == 2


# -- metrics -----------------------------------------------------------------------------------------------


def row(step: int) -> dict[str, float]:
    return {name: step + 0.1 for name in COLUMNS if name != "step"}


def test_rows_wait_for_room(small_disk: Path) -> None:
    said: list[str] = []
    trackers = Trackers(CsvFile(small_disk / "metrics.csv"), telling(said))
    fill(small_disk)
    for step in range(100):
        trackers.log(row(step), step)
    assert len(said) > 50
    assert said[0] == (
        "cannot write metrics.csv (No space left on device); its rows are kept, and training continues"
    )
    (small_disk / "ballast").unlink()
    trackers.finish(0)
    assert [int(line["step"]) for line in metric_rows(small_disk)] == list(range(100))
    assert not any("lost" in line for line in said)


def test_a_file_that_is_removed_is_written_again_as_soon_as_it_can_be(small_disk: Path) -> None:
    said: list[str] = []
    run = small_disk / "run"
    run.mkdir()
    trackers = Trackers(CsvFile(run / "metrics.csv"), telling(said))
    for step in range(30):
        trackers.log(row(step), step)
    shutil.rmtree(run)
    fill(small_disk)
    for step in range(30, 60):
        trackers.log(row(step), step)
    assert len(said) == 30
    assert set(said) == {
        "cannot write metrics.csv (No space left on device); its rows are kept, and training continues"
    }
    (small_disk / "ballast").unlink()
    trackers.log(row(60), 60)
    (run / "metrics.csv").unlink()
    trackers.finish(0)
    again = f"{run / 'metrics.csv'} was removed or replaced: it was rewritten with all its rows"
    assert said[30:] == [again, again]
    assert [int(line["step"]) for line in metric_rows(run)] == list(range(61))


def test_rows_that_never_find_room_are_told(small_disk: Path) -> None:
    said: list[str] = []
    trackers = Trackers(CsvFile(small_disk / "metrics.csv"), telling(said))
    fill(small_disk)
    for step in range(100):
        trackers.log(row(step), step)
    trackers.finish(0)
    assert said[-1] == "cannot write metrics.csv (No space left on device): its last rows are lost"


@pytest.mark.parametrize("moment", ["before the rows are written", "before the file has its name"])
def test_a_kill_at_the_start_of_a_resumed_run_leaves_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "metrics.csv"
    file = CsvFile(path)
    file.log(row(5), 5)
    file.finish(0)
    before = path.read_bytes()

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    module = "plumbline.training.show.metrics_file"
    name = "os.replace" if moment == "before the file has its name" else f"{module}.atomic_file"
    monkeypatch.setattr(name, killed)
    with pytest.raises(KeyboardInterrupt):
        CsvFile(path, resume_step=5)
    monkeypatch.undo()
    assert path.read_bytes() == before
    CsvFile(path, resume_step=5).finish(0)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["metrics.csv"]
