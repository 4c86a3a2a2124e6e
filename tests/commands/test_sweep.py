"""``plumbline sweep``: its trials are trainings, its records tell them, and what it prints can be copied."""

import json
import re
import shlex
import shutil
import signal
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

import plumbline
from plumbline.cli import main, parse
from plumbline.commands.sweep import settings_of
from plumbline.locks import LockedError, sole_owner
from plumbline.sweeping import run as sweep_run
from plumbline.sweeping.records import SweepSettings, Trial
from plumbline.sweeping.study import Study
from tests.helpers.processes import running
from tests.helpers.sweeps import arrived, gated, open_gate, shared, table, wait_for
from tests.helpers.training_fixtures import ROOT, Outcome, assert_same_end, metric_rows, train, write_tiny

SPACE = ["lr=1e-3,1e30,1e-2"]
LAST_STEP = 12
"""The last step of the second epoch of the tiny trainings."""


def sweep(*words: str) -> Outcome:
    """A sweep of this process."""
    stream = StringIO()
    with redirect_stdout(stream), redirect_stderr(stream):
        code = main(["sweep", *words])
    return Outcome(code, stream.getvalue())


class Swept(NamedTuple):
    """A sweep that has ended: its folder, the words after ``plumbline sweep``, and what it printed."""

    out: Path
    words: list[str]
    done: Outcome


@pytest.fixture(scope="module")
def swept(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Three learning rates, of which one is far too large."""
    out = tmp_path_factory.mktemp("swept") / "out"
    words = [*SPACE, "--out", str(out), "--", *shared(tiny)]
    return Swept(out, words, sweep(*words))


def test_every_trial_is_the_training_with_these_flags(swept: Swept, tiny: Path, tmp_path: Path) -> None:
    assert swept.done.code == 0, swept.done.text
    rows = table(swept.out)
    assert sorted(row["lr"] for row in rows) == sorted(["1e-3", "1e30", "1e-2"])
    for row in rows:
        if row["state"] == "complete":
            alone = tmp_path / row["lr"]
            assert train(tiny, alone, lr=row["lr"]).code == 0
            assert_same_end(alone, swept.out / row["folder"])
            result = json.loads((alone / "result.json").read_bytes())
            assert float(row["val_error_rel"]) == result["metrics"]["val_error_rel"]
            assert int(row["epochs"]) == len(metric_rows(alone)) == 2


def test_a_trial_that_fails_is_recorded_and_told(swept: Swept) -> None:
    (failed,) = [row for row in table(swept.out) if row["state"] == "failed"]
    assert failed["lr"] == "1e30"
    assert failed["trouble"].startswith("the loss is not finite at step")
    assert f"failed   trial {failed['trial']}: {failed['trouble']}" in swept.done.text
    assert "trials   3 of 3: 2 complete, 0 pruned, 1 failed" in swept.done.text


def test_the_best_trial_leads_and_its_command_repeats_it(
    swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = [row for row in table(swept.out) if row["state"] == "complete"]
    best = min(complete, key=lambda row: float(row["val_error_rel"]))
    heads, _, first = re.findall(r"(?m)^(?:trial +val|──|\d).*", swept.done.text)[:3]
    assert heads.split() == ["trial", "val_error_rel", "lr", "epochs"]
    assert (first.split()[0], first.split()[3]) == (best["trial"], best["lr"])
    (command,) = re.findall(r"(?m)^train    (plumbline .*)$", swept.done.text)
    (report,) = re.findall(r"(?m)^report   (plumbline .*)$", swept.done.text)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0
    assert_same_end(tmp_path / "checkpoints", swept.out / best["folder"])
    assert shlex.split(report) == ["plumbline", "evaluate", str(swept.out / best["folder"])]
    with Image.open(swept.out / "sweep.png") as picture:
        assert picture.size == (1520, 980)


def test_lines_fit_a_terminal_but_for_what_is_copied(swept: Swept) -> None:
    copied = r"(train|report|failed|best|table|picture|trials)   |trial \d+ +failed "
    long = [line for line in swept.done.text.splitlines() if len(line) > 80]
    assert long
    assert [line for line in long if not re.match(copied, line)] == []
    shown = re.search(r"(?ms)^trial +val_error_rel.*?\n\n", swept.done.text)
    assert shown is not None
    lines = shown[0].splitlines()[:-1]
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80


def test_the_same_command_again_trains_nothing(swept: Swept) -> None:
    before = {path: path.stat().st_mtime_ns for path in swept.out.rglob("*.ckpt")}
    again = sweep(*swept.words)
    assert again.code == 0
    assert {path: path.stat().st_mtime_ns for path in swept.out.rglob("*.ckpt")} == before
    assert again.text.split("\n\n")[1:] == swept.done.text.split("\n\n")[1:]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lr=1e-3,1e30", "--", "--data_dir", "DATA"], "lr 1e-3,1e30 here, 1e-3,1e30,1e-2 there"),
        (
            [*SPACE, "dropout=0-0.3", "--", "--data_dir", "DATA"],
            "dropout 0-0.3 here, 0.1 there",
        ),
        ([*SPACE, "--seed", "1", "--", "--data_dir", "DATA"], "seed of the sweep 1 here, 0 there"),
        ([*SPACE, "--", "--data_dir", "DATA", "--hidden_dim", "8"], "hidden_dim 8 here, 16 there"),
        (
            [*SPACE, "--", "--data_dir", "DATA", "--model", "ept", "--num_tokens", "8"],
            "model_args ['num_tokens=8'] here, [] there",
        ),
    ],
)
def test_another_sweep_in_its_folder_is_refused(
    swept: Swept, tiny: Path, words: list[str], said: str
) -> None:
    before = (swept.out / "sweep.json").read_bytes()
    place = words.index("--")
    given = [str(tiny) if word == "DATA" else word for word in words]
    done = sweep(*given[:place], "--out", str(swept.out), *given[place:])
    assert done.code == 2
    assert said in done.text
    assert done.text.startswith(f"error: --out {swept.out} holds another sweep (")
    assert (swept.out / "sweep.json").read_bytes() == before


def test_table_and_picture_are_written_while_no_other_command_writes_them(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def write(settings: SweepSettings, trials: Sequence[Trial]) -> None:
        with pytest.raises(LockedError), sole_owner(swept.out / ".deciding.lock"):
            pass
        tried.append(len(trials))

    monkeypatch.setattr(sweep_run, "write_files", write)
    assert sweep(*swept.words).code == 0
    assert tried == [3]


def test_a_folder_that_begins_with_a_dash(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = sweep("lr=0.001-0.001", "--out=-x", "--", *shared(tiny))
    assert done.code == 0, done.text
    (report,) = re.findall(r"(?m)^report   plumbline (.*)$", done.text)
    assert main(shlex.split(report)) == 0


CAUSES = {
    "full": ("raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))", "o space left"),
    "read-only": ("raise OSError(errno.EROFS, os.strerror(errno.EROFS))", "ead-only"),
    "no data": ("os.rename(DATA, DATA + '-away'); raise OSError('gone')", "does not exist"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_trial_that_fails_for_other_causes_than_its_values_is_resumed(
    cause: str, tiny: Path, tmp_path: Path
) -> None:
    data, out, trouble = tmp_path / "data", tmp_path / "out", tmp_path / "trouble"
    shutil.copytree(tiny, data)
    trouble.touch()
    (tmp_path / "own.py").write_text(
        f"import errno, os\nDATA = {str(data)!r}\n\n\ndef loss(error, bounding_radius):\n"
        f"    if os.path.exists({str(trouble)!r}):\n        {CAUSES[cause][0]}\n"
        "    return error.abs().mean()\n"
    )
    words = ["lr=1e-3,1e-2", "--out", str(out), "--", *shared(data, loss=f"{tmp_path}/own.py:loss")]
    done = sweep(*words)
    assert done.code == 2
    assert CAUSES[cause][1] in done.text
    assert "the trials were stopped, and the same command again resumes them\n" in done.text
    if cause == "no data":
        Path(f"{data}-away").rename(data)
    assert [trial.state for trial in Study(settings_of(parse("sweep", words))).trials()] == ["running"]
    trouble.unlink()
    assert sweep(*words).code == 0
    assert [row["state"] for row in table(out)] == ["complete", "complete"]


def test_refusals_come_before_anything_is_trained(tiny: Path, tmp_path: Path) -> None:
    out, data = str(tmp_path / "out"), ["--data_dir", str(tiny)]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    for words, said in {
        ("lr=1,2", "--out", out, "--", "--data_dir", "nowhere"): "the data folder nowhere does not exist",
        ("lr=1,2", "--out", str(tmp_path / "full"), "--", *data): "holds other files (mine.txt): name a new",
        ("lr=1,2", "--", *data): "--out is missing",
    }.items():
        done = sweep(*words)
        assert (done.code, done.text.count("\n")) == (2, 1)
        assert said in done.text
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "mine.txt"]


def test_a_sweep_whose_trials_all_fail_ends_with_1(tiny: Path, tmp_path: Path) -> None:
    result = plumbline.sweep({"lr": [1e30]}, {"data_dir": tiny, "accelerator": "cpu"}, out=tmp_path / "out")
    assert (result.exit_code, result.best, [trial.state for trial in result.trials]) == (1, None, ["failed"])
    words = [
        "lr=1e+30",
        "--out",
        str(tmp_path / "out"),
        "--",
        "--data_dir",
        str(tiny),
        "--accelerator",
        "cpu",
    ]
    again = sweep(*words)
    assert again.code == 1
    assert "best" not in again.text


def test_the_lines_of_the_guide_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (lines,) = re.findall(r"```python sweep\n(.*?)```", (ROOT / "docs" / "sweep.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    write_tiny(Path("data/demo"))
    known: dict[str, Any] = {}
    exec(lines, known)
    rows = table(Path("sweeps/width"))
    best = min(rows, key=lambda row: float(row["val_error_rel"]))
    assert [row["state"] for row in rows] == ["complete"] * 2
    said = f"{{'hidden_dim': '{best['hidden_dim']}'}} {best['val_error_rel']} sweeps/width/{best['folder']}\n"
    assert capsys.readouterr().out == said


def before_pruning(tiny: Path, folder: Path, step: int) -> tuple[list[str], Study]:
    """A sweep with five complete trials that are said to have no error at all: any training is worse."""
    words = shared(tiny, max_epochs=6, loss=gated(folder, step=step))
    words = ["dropout=0-0.3", "--out", str(folder / "out"), "--trials", "6", "--", *words]
    settings = settings_of(parse("sweep", words))
    settings.out.mkdir()
    (settings.out / "sweep.json").write_text(json.dumps(settings.record()))
    study = Study(settings)
    for number in range(5):
        assert study.add() is not None
        assert not any(study.report(number, epoch, 0.0) for epoch in range(6))
        study.complete(number, 0.0)
    return words, study


def test_a_decision_that_was_not_reached_comes_before_the_next_epoch(tiny: Path, tmp_path: Path) -> None:
    """The command before stored the error of the last epoch, and was killed."""
    words, study = before_pruning(tiny, tmp_path, step=16)
    assert study.add() is not None
    study.report(5, 0, 1.0)
    study.report(5, 1, 1.0)
    open_gate(tmp_path)
    done = sweep(*words)
    assert done.code == 0, done.text
    assert (table(tmp_path / "out")[5]["state"], table(tmp_path / "out")[5]["epochs"]) == ("pruned", "2")
    assert not (tmp_path / "out" / "trial-005" / "output.txt").exists()


def test_no_epoch_after_the_decision_is_recorded(tiny: Path, tmp_path: Path) -> None:
    """Here the process is fast: the training is complete when the sweep looks."""
    words, study = before_pruning(tiny, tmp_path, step=1000)
    new = study.add()
    assert new is not None
    folder = tmp_path / "out" / "trial-005"
    assert train(tiny, folder, dropout=new.values["dropout"], max_epochs=6).code == 0
    done = sweep(*words)
    assert done.code == 0, done.text
    assert (table(tmp_path / "out")[5]["state"], table(tmp_path / "out")[5]["epochs"]) == ("pruned", "2")


def test_a_decision_is_recorded_though_the_sweep_is_being_stopped(tiny: Path, tmp_path: Path) -> None:
    words, _ = before_pruning(tiny, tmp_path, step=LAST_STEP)
    output = tmp_path / "out" / "trial-005" / "output.txt"
    with running("-m", "plumbline", "sweep", *words) as process:
        wait_for(lambda: arrived(tmp_path), "the last step of the second epoch")
        process.send_signal(signal.SIGINT)
        wait_for(lambda: "stopping after this step" in output.read_text(), "stopping")
        open_gate(tmp_path)
        text = process.communicate()[0]
    assert process.returncode == 130, text
    assert (table(tmp_path / "out")[5]["state"], table(tmp_path / "out")[5]["epochs"]) == ("pruned", "2")


def test_a_trial_worse_than_the_median_is_pruned(tiny: Path, tmp_path: Path) -> None:
    words, _ = before_pruning(tiny, tmp_path, step=16)
    output = tmp_path / "out" / "trial-005" / "output.txt"
    with running("-m", "plumbline", "sweep", *words) as process:
        wait_for(lambda: output.is_file() and "stopping after this step" in output.read_text(), "pruning")
        open_gate(tmp_path)
        text = process.communicate()[0]
    assert process.returncode == 0, text
    rows = table(tmp_path / "out")
    assert [row["state"] for row in rows] == ["complete"] * 5 + ["pruned"]
    assert rows[5]["epochs"] == "2"
    assert float(rows[5]["val_error_rel"]) == float(metric_rows(output.parent)[1]["val_error_rel"])
    assert "trial 5    pruned    dropout" in text
    assert "6 of 6: 5 complete, 1 pruned, 0 failed" in text
