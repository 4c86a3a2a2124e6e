"""Every way a training can end, compilation that fails, and the examples of the document."""

import gc
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch

from plumbline.cli import main
from plumbline.console.text import command
from plumbline.data.batches.loader import Loader
from plumbline.training.loop.graceful_stop import STOPPING
from plumbline.training.loop.task import CentreOfMassTask
from tests.helpers.processes import DEADLINE, running
from tests.helpers.training_fixtures import (
    ROOT,
    fresh_environment,
    metric_rows,
    saved,
    telling,
    train,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


# -- ways to end -------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = CentreOfMassTask.training_step

    def poisoned(task: CentreOfMassTask, batch, batch_idx: int) -> torch.Tensor:
        if task.current_epoch == 1:
            batch.target = batch.target * float("nan")
        return step(task, batch, batch_idx)

    monkeypatch.setattr(CentreOfMassTask, "training_step", poisoned)
    outcome = train(tiny, tmp_path, max_epochs=4)
    assert outcome.code == 2
    told = (
        r"the loss is not finite at step 6: objects random/\d+, .* and \d more, learning rate 0.001, norm of"
    )
    assert re.search(told, outcome.text), outcome.text
    assert saved(tmp_path / "last.ckpt")["plumbline"]["epochs_done"] == 1


def test_a_full_gpu_is_one_sentence(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(CentreOfMassTask, "training_step", full)
    outcome = train(tiny, tmp_path)
    assert outcome.code == 2
    assert "does not hold --batch_size 8" in outcome.text


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("stopped", [False, True])
def test_a_training_leaves_nothing_of_itself(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """Neither its handlers of signals, which would make the program deaf to them, nor data in memory."""
    alive = weakref.WeakSet()
    original = Loader.__init__

    def remembered(self, *arguments):
        alive.add(self)
        original(self, *arguments)

    def stop(self, batch, number):
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, number)

    step = CentreOfMassTask.training_step
    monkeypatch.setattr(Loader, "__init__", remembered)
    if stopped:
        monkeypatch.setattr(CentreOfMassTask, "training_step", stop)
    before = {signum: signal.getsignal(signum) for signum in STOPPING}
    assert train(tiny, tmp_path, max_epochs=1).code == (143 if stopped else 0)
    assert {signum: signal.getsignal(signum) for signum in STOPPING} == before
    gc.collect()
    assert len(alive) == 0


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_in_a_real_process_saves_and_says_how_to_go_on(tiny: Path, tmp_path: Path) -> None:
    from tests.helpers.training_fixtures import flags

    seen = []
    endless = flags(tiny, tmp_path, max_epochs=100_000)
    with running("-u", "-m", "plumbline", "train", *endless) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line)
            if re.match(r"epoch +3/", line):
                process.send_signal(signal.SIGINT)
                break
        rest, _ = process.communicate(timeout=DEADLINE)
    text = "".join(seen) + rest
    assert process.returncode == 130, text
    assert f"the state is in {tmp_path / 'last.ckpt'}" in text
    again = command("plumbline", "train", "--config", tmp_path / "config.yaml", "--resume")
    assert f"resume with: {again}" in text
    assert "Traceback" not in text
    content = saved(tmp_path / "last.ckpt")
    stopped = int(re.search(r"interrupted after ([\d,]+) steps", text)[1].replace(",", ""))  # type: ignore[index]
    assert content["global_step"] == stopped >= 15


def test_the_data_set_is_no_folder_for_a_run(tiny: Path) -> None:
    """`plumbline prepare` would no longer know its own folder."""
    before = sorted(tiny.iterdir())
    outcome = train(tiny, tiny / ".." / tiny.name)
    assert outcome.code == 2
    assert "is the data set: name another folder" in outcome.text
    assert sorted(tiny.iterdir()) == before


def test_what_is_printed_at_the_end_is_a_command_that_works(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with a space in its name; a cosine schedule cannot be made longer: it starts again."""
    monkeypatch.setenv("COLUMNS", "40")
    folder = tmp_path / "a run"
    outcome = train(tiny, folder, max_epochs=1, recipe="best", model_args="num_tokens=4")
    (longer,) = re.findall("^train longer +(.*)$", outcome.text, re.MULTILINE)
    (report,) = re.findall("^report +(.*)$", outcome.text, re.MULTILINE)
    assert shlex.split(longer) == [
        "plumbline",
        "train",
        "--config",
        str(folder / "config.yaml"),
        "--max_epochs",
        "2",
    ]
    assert main(shlex.split(report)[1:]) == 0
    refused = train(tiny, folder, max_epochs=1, recipe="best", model_args="num_tokens=4", resume="last")
    assert refused.code == 0
    assert "its schedule ends there; for more --max_epochs, train from scratch" in refused.text
    assert main(shlex.split(longer)[1:]) == 0
    assert saved(folder / "last.ckpt")["plumbline"]["epochs_done"] == 2


# -- compilation -------------------------------------------------------------------------------------------


def test_compilation_that_fails_falls_back_and_changes_nothing(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = train(tiny, tmp_path / "plain")

    def at_once(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler")

    def at_first_call(*_: object, **__: object):
        def broken(batch):
            raise torch._dynamo.exc.Unsupported("graph break")

        return broken

    for name, compile_ in (("once", at_once), ("later", at_first_call)):
        monkeypatch.setattr(torch, "compile", compile_)
        outcome = train(tiny, tmp_path / name, use_compile=True)
        assert outcome.code == plain.code == 0
        assert outcome.text.count("the network cannot be compiled and runs uncompiled") == 1
        files = [folder / "metrics.csv" for folder in (tmp_path / "plain", tmp_path / name)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_why_the_compiler_failed_is_said_in_full(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first line of such an error only names the compiler's stage."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(
            "backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler in (None, 'g++')\n\n"
            'Set TORCHDYNAMO_VERBOSE=1 for the internal stack trace. For even more, TORCH_LOGS="+dynamo"\n'
        )

    monkeypatch.setattr(torch, "compile", broken)
    outcome = train(tiny, tmp_path, use_compile=True, max_epochs=1)
    assert (
        "runs uncompiled (backend='inductor' raised: InvalidCxxCompiler: No working C++ compiler in "
        "(None, 'g++'))"
    ) in " ".join(outcome.text.split())
    assert "TORCH" not in outcome.text


@pytest.mark.parametrize("flags", [{}, {"fast_dev_run": 2}])
def test_copies_that_torchrun_started_are_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: dict[str, int]
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    outcome = train(tiny, tmp_path / "run", **flags)
    assert outcome.code == 2
    assert "torchrun has started 2 copies of this training" in outcome.text
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert train(tiny, tmp_path / "run", max_epochs=1).code == 0


def test_a_compiled_network_that_answers_or_learns_otherwise_is_not_used(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(tiny, tmp_path / "plain", dropout=0)

    def wrong_answer(forward, **_: object):
        return lambda batch: 1.1 * forward(batch)

    def wrong_gradient(forward, **_: object):
        def changed(batch):
            answer = forward(batch)
            return answer.detach() + 2 * (answer - answer.detach())

        return changed

    def right(forward, **_: object):
        return lambda batch: 1.0 * forward(batch)

    for name, compile_, reason in (
        ("answer", wrong_answer, "its training step gives a different result"),
        ("gradient", wrong_gradient, "its training step gives a different result"),
        ("right", right, None),
    ):
        monkeypatch.setattr(torch, "compile", compile_)
        outcome = train(tiny, tmp_path / name, use_compile=True, dropout=0)
        assert outcome.code == plain.code == 0
        assert outcome.text.count("the network cannot be compiled and runs uncompiled") == (
            reason is not None
        )
        assert reason is None or reason in " ".join(outcome.text.split())
        files = [folder / "metrics.csv" for folder in (tmp_path / "plain", tmp_path / name)]
        assert files[0].read_bytes() == files[1].read_bytes()
    # With dropout only the answers in validation can be compared.
    monkeypatch.setattr(torch, "compile", wrong_answer)
    outcome = train(tiny, tmp_path / "dropout", use_compile=True, dropout=0.5, hidden_dim=64)
    assert "its predictions differ" in " ".join(outcome.text.split())


def test_an_error_of_the_network_is_not_taken_for_the_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    from plumbline.training.loop.compiling import CompiledForward

    monkeypatch.setattr(torch, "compile", lambda function, **_: function)

    class Broken(torch.nn.Module):
        def forward(self, batch):
            raise ValueError("a shape does not fit")

    said: list[str] = []
    with pytest.raises(ValueError, match="a shape does not fit"):
        CompiledForward(Broken(), telling(said))(None)
    assert said == []


# -- the document's examples -------------------------------------------------------------------------------

EXAMPLES = (
    "python train_gnn_optimized.py --fast_dev_run 10 --debug",
    "python train_gnn_optimized.py --precision 16-mixed --use_wandb --max_epochs 200",
    """python train_gnn_optimized.py \\
    --data_dir "data/my_dataset" \\
    --checkpoint_dir "experiments/run_1" \\
    --batch_size 32 \\
    --hidden_dim 256 \\
    --wandb_name "large_model_experiment\"""",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the documented program and very small data sets where the examples look for them."""
    from plumbline.data.store.writer import write_store
    from plumbline.records import FEATURE_NAMES
    from tests.helpers.training_fixtures import random_samples

    shutil.copy(ROOT / "train_gnn_optimized.py", tmp_path)
    for name in ("processed_sh", "my_dataset"):
        samples = random_samples(num_objects=4, per_object=3)
        write_store(tmp_path / "data" / name, samples, feature_names=list(FEATURE_NAMES))
    return tmp_path


def test_the_first_example_runs_verbatim(project: Path) -> None:
    done = subprocess.run(
        EXAMPLES[0].replace("python", shlex.quote(sys.executable), 1),
        shell=True, cwd=project, env=fresh_environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "trial run finished" in done.stdout
    assert "symmetry none" in done.stdout


def test_the_other_examples_run_verbatim(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for example in EXAMPLES[1:]:
        arguments = shlex.split(example.replace("\\\n", " "))
        assert arguments[:2] == ["python", "train_gnn_optimized.py"]
        assert main(["train", *arguments[2:]]) == 0
    assert len(metric_rows(Path("checkpoints"))) >= 200
    assert list(Path("checkpoints/wandb").glob("offline-run-*"))
    assert len(metric_rows(Path("experiments/run_1"))) >= 100
    assert saved(Path("experiments/run_1/last.ckpt"))["plumbline"]["model_args"]["hidden_dim"] == 256
