"""What the document's troubleshooting names, and other trouble: one sentence each, and nothing lost."""

import multiprocessing
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from plumbline.data.batches import loader as loader_module
from plumbline.data.batches.loader import make_loaders
from plumbline.data.pt.samples import write_pt
from plumbline.data.split import split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.models import build_model
from plumbline.records import FEATURE_NAMES
from plumbline.reporting import Reporter
from plumbline.training.loop.compiling import CompiledForward
from plumbline.training.loop.error_messages import plain_words
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.trainer import End
from plumbline.training.persistence import run_folder
from tests.helpers.processes import DEADLINE
from tests.helpers.training_fixtures import (
    differences,
    metric_rows,
    saved,
    train,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX"),
]

WORKERS: dict[str, Any] = {"loader": "workers", "num_workers": 1}


# -- memory, disk, reader processes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            "the GPU's memory does not hold --batch_size 8: try --batch_size 4 (--accumulate makes up "
            "for it); --precision bf16-mixed and ",
        ),
        (MemoryError(), "this machine's memory does not hold --batch_size 8: try --batch_size 4"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
            "this machine's memory does not hold --batch_size 8: try --batch_size 4",
        ),
        (OSError(28, "No space left on device", "run/metrics.csv"), "no space left for run/metrics.csv"),
        (RuntimeError("Too many open files. Communication is over"), "--num_workers 3) has died: Too many"),
    ],
)
def test_trouble_of_the_machine_is_one_sentence(error: Exception, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)), plain_words(batch_size=8, num_workers=3):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("a defect"), PermissionError(13, "x"), InputError("clear")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, plain_words(batch_size=8, num_workers=3):
        raise error
    assert raised.value is error


def test_memory_may_be_short_in_every_phase(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    names = (
        "training.phases.make_loaders",
        "training.persistence.init_from.build_model",
        "training.show.final_report.predict",
    )
    for name in names:
        with monkeypatch.context() as patch:
            patch.setattr(f"plumbline.{name}", full)
            outcome = train(tiny, tmp_path, max_epochs=1)
        assert outcome.code == 2
        assert "memory does not hold --batch_size 8" in outcome.text


def dies(*_: object) -> None:
    os._exit(3)


def hangs(*_: object) -> None:
    time.sleep(DEADLINE)


def refuses(*_: object) -> None:
    raise InputError("shard-00000.safetensors is missing from the packed data set")


@pytest.mark.parametrize(
    ("worker", "sentence"),
    [
        (dies, r"a reader process \(--num_workers 1\) has died: DataLoader worker .* exited unexpectedly"),
        (hangs, r"the reader processes \(--num_workers 1\) hang: DataLoader timed out after 1.0 seconds"),
        (refuses, r"error: shard-00000.safetensors is missing from the packed data set$"),
    ],
)
def test_trouble_of_a_reader_process_is_one_sentence(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: Any, sentence: str
) -> None:
    monkeypatch.setattr(loader_module, "loose_batch", worker)
    outcome = train(tiny, tmp_path, stall_timeout=1.0 if worker is hangs else 20.0, **WORKERS)
    assert outcome.code == 2
    assert re.search(sentence, outcome.text, re.MULTILINE), outcome.text
    assert ("--num_workers 0, or --loader resident" in outcome.text) == (worker is not refuses)
    assert "Traceback" not in outcome.text


def test_a_folder_of_pt_files_is_trained_on_without_its_broken_files(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pt"
    folder.mkdir()
    store = PackedStore.open(tiny)
    for i in range(24):
        sample = store.sample(i)
        write_pt(folder / f"{sample.object_name.replace('/', '_')}_sample{i}.pt", sample)
    (folder / "broken.pt").write_bytes(b"not a file of torch")
    whole = (folder / "random_000_sample0.pt").read_bytes()
    (folder / "cut.pt").write_bytes(whole[: len(whole) // 2])
    trained = train(folder, tmp_path / "run", debug=True, max_epochs=1)
    assert trained.code == 0, trained.text
    assert "24 graphs of 6 objects" in trained.text
    assert "2 rejected, the first: broken.pt: " in trained.text
    assert "debug  data set: 24 loaded, 2 rejected" in trained.text
    for name in ("broken.pt", "cut.pt"):
        assert re.search(rf"^debug    rejected {name}: \S+", trained.text, re.MULTILINE)
    listed = (tmp_path / "run" / "rejected.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in listed] == ["broken.pt", "cut.pt"]
    assert "startup.json, rejected.txt)" in trained.text
    (cache,) = (path for path in (folder / ".plumbline-cache").iterdir() if path.is_dir())
    before = (cache / "manifest.json").stat()
    assert train(folder, tmp_path / "run", max_epochs=2, resume="").code == 0
    assert (cache / "manifest.json").stat().st_ino == before.st_ino, "the files are read once"


# -- run folders -------------------------------------------------------------------------------------------


def test_two_trainings_in_one_folder_are_refused(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_folder, "_PATIENCE", 0.0)
    assert train(tiny, tmp_path, max_epochs=1).code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with run_folder.sole_use(tmp_path):
        for resume in (None, ""):
            outcome = train(tiny, tmp_path, max_epochs=2, resume=resume)
            assert outcome.code == 2
            assert f"--checkpoint_dir {tmp_path}: another training is writing there" in outcome.text
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert train(tiny, tmp_path, max_epochs=2, resume="").code == 0


def _hold(folder: Path, held: Any, release: Any) -> None:
    with run_folder.sole_use(folder):
        held.set()
        release.wait(DEADLINE)


def test_a_folder_that_becomes_free_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held, release), daemon=True)
    process.start()
    assert held.wait(DEADLINE)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        release.set()
        sleep(seconds)

    sleep = time.sleep
    monkeypatch.setattr("plumbline.locks.time.sleep", pause)
    monkeypatch.setattr(run_folder, "_PATIENCE", float(DEADLINE))
    with run_folder.sole_use(tmp_path):
        assert pauses
    process.join()


def test_going_on_in_another_folder_takes_the_metrics_along(tiny: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path / "straight", max_epochs=3)
    train(tiny, tmp_path / "first", max_epochs=2)
    train(tiny, tmp_path / "second", max_epochs=1, seed=9)
    strange = (tmp_path / "second" / "metrics.csv").read_bytes()
    start = str(tmp_path / "first" / "last.ckpt")
    outcome = train(tiny, tmp_path / "second", max_epochs=3, resume=start)
    assert outcome.code == 0, outcome.text
    assert (tmp_path / "second" / "metrics.csv").read_bytes() == (
        tmp_path / "straight" / "metrics.csv"
    ).read_bytes()
    assert (tmp_path / "second" / "run-001" / "metrics.csv").read_bytes() == strange
    assert len(metric_rows(tmp_path / "first")) == 2


# -- Python's way of resuming ------------------------------------------------------------------------------


def test_trainer_fit_with_ckpt_path_resumes_exactly(tiny: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path / "straight", max_epochs=3)
    train(tiny, tmp_path / "first", max_epochs=1)
    (start,) = (tmp_path / "first").glob("best-model-*.ckpt")
    store = PackedStore.open(tiny)
    train_idx, val_idx = split_by_object(store.object_idx, store.object_names, 0.1, 0)
    loaders = make_loaders(store, train_idx=train_idx, val_idx=val_idx, batch_size=8)
    model = CentreOfMassTask(
        build_model("gcn", input_dim=len(FEATURE_NAMES), hidden_dim=16, num_layers=2, dropout=0.1),
        lr=1e-3,
        weight_decay=1e-5,
    )
    trainer = Trainer(
        max_epochs=3, gradient_clip_val=1.0, accelerator="cpu", logger=False, default_root_dir=tmp_path,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, loaders.train, loaders.val, ckpt_path=str(start))
    expected = saved(tmp_path / "straight" / "last.ckpt")
    assert trainer.global_step == expected["global_step"]
    assert differences(dict(model.state_dict()), dict(expected["state_dict"])) == []
    assert differences(model.epoch_row, expected["plumbline"]["metrics"]) == []


# -- compilation -------------------------------------------------------------------------------------------


def test_a_backward_pass_that_cannot_be_compiled_falls_back(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            raise torch._inductor.exc.InductorError(RuntimeError("no C++ compiler"), None)

    plain = train(tiny, tmp_path / "plain")
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda batch: Broken.apply(function(batch)))
    outcome = train(tiny, tmp_path / "compiled", use_compile=True)
    assert outcome.code == plain.code == 0, outcome.text
    assert outcome.text.count("the network cannot be compiled and runs uncompiled") == 1
    folders = (tmp_path / "plain", tmp_path / "compiled")
    assert len({(folder / "metrics.csv").read_bytes() for folder in folders}) == 1


def test_trying_out_runs_training_and_validation(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modes: list[tuple[bool, bool]] = []

    def watched(function: Any, **_: object) -> Any:
        def call(batch: Any) -> torch.Tensor:
            modes.append((function.__self__.training, batch.node_features.is_inference()))
            return function(batch)

        return call

    monkeypatch.setattr(torch, "compile", watched)
    monkeypatch.setattr("plumbline.training.run.run_fit", lambda *_, **__: End("interrupted", 130))
    train(tiny, tmp_path, use_compile=True)
    assert modes == [(True, False), (False, True)]
    assert CompiledForward(build_model("gcn", input_dim=9), Reporter()).failed is False
