"""The journal of a sweep: what is drawn, when a trial is pruned, and what a half-written line does."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from plumbline.cli import parse
from plumbline.commands.sweep import settings_of
from plumbline.errors import InputError
from plumbline.locks import LockedError, sole_owner
from plumbline.sweeping.records import SweepSettings
from plumbline.sweeping.study import JOURNAL, Study
from tests.helpers.processes import running


def settings(tiny: Path, out: Path, *space: str, **own: Any) -> SweepSettings:
    words = [f"--{name}={value}" if value is not False else f"--no_{name}" for name, value in own.items()]
    shared = ["--data_dir", str(tiny), "--max_epochs", "10"]
    out.mkdir(exist_ok=True)
    return settings_of(parse("sweep", [*space, f"--out={out}", *words, "--", *shared]))


def drawn(study: Study, number: int) -> list[dict[str, str]]:
    """The values of the next trials, each of which ends with an error that depends on them."""
    found = []
    for _ in range(number):
        trial = study.add()
        assert trial is not None
        found.append(dict(trial.values))
        study.complete(trial.number, 1.0 + abs(float(trial.values["lr"]) - 1e-3))
    return found


def test_what_is_drawn_depends_on_the_seed_and_the_trials_alone(tiny: Path, tmp_path: Path) -> None:
    """A command that was stopped after any trial is followed by one that draws what it would have drawn."""
    space = ("lr=1e-4-1e-1", "dropout=0-0.3", "num_layers=2-4", "optimizer=adam,adamw")
    whole = drawn(Study(settings(tiny, tmp_path / "whole", *space)), 14)
    broken = [drawn(Study(settings(tiny, tmp_path / "broken", *space)), 1)[0] for _ in range(14)]
    assert whole == broken
    assert len({tuple(values.items()) for values in whole}) == 14
    assert drawn(Study(settings(tiny, tmp_path / "other", *space, seed=1)), 3) != whole[:3]
    for values in whole:
        assert list(values) == ["lr", "dropout", "num_layers", "optimizer"]
        assert 1e-4 <= float(values["lr"]) <= 1e-1
        assert all(len(values[name].lstrip("0.").replace("e-05", "")) <= 5 for name in ("lr", "dropout"))
        assert values["num_layers"] in "234"


def test_every_combination_of_lists_is_drawn_once(tiny: Path, tmp_path: Path) -> None:
    chosen = settings(tiny, tmp_path / "out", "lr=1e-3,1e-2", "model=gcn,ept", "num_tokens=8-9")
    assert chosen.count == 6
    found = drawn(Study(chosen), 6)
    assert Study(chosen).add() is None
    wanted = [
        *({"model": "gcn", "lr": lr} for lr in ("1e-3", "1e-2")),
        *({"model": "ept", "lr": lr, "num_tokens": n} for lr in ("1e-3", "1e-2") for n in ("8", "9")),
    ]
    assert sorted(map(str, found)) == sorted(map(str, wanted))


def test_a_trial_is_pruned_if_it_is_worse_than_the_median(tiny: Path, tmp_path: Path) -> None:
    """From the fifth complete trial on, and after a fifth of the epochs."""
    study = Study(settings(tiny, tmp_path / "out", "lr=1e-4-1e-1"))
    for number in range(6):
        assert study.add() is not None
        worse = [study.report(number, epoch, 0.1 * (number + 1)) for epoch in range(10)]
        assert worse == [number == 5 and epoch >= 2 for epoch in range(10)]
        if number < 5:
            study.complete(number, 0.1 * (number + 1))
    study.pruned(5)
    last = study.trials()[5]
    assert (last.state, last.error, len(last.errors)) == ("pruned", 0.1 * 6, 10)
    off = Study(settings(tiny, tmp_path / "out", "lr=1e-4-1e-1", prune=False))
    assert off.add() is not None
    assert not any(off.report(6, epoch, 9.0) for epoch in range(10))


def test_a_better_trial_is_not_pruned(tiny: Path, tmp_path: Path) -> None:
    study = Study(settings(tiny, tmp_path / "out", "lr=1e-4-1e-1"))
    for number in range(6):
        assert study.add() is not None
        assert not any(study.report(number, epoch, 0.1 * (9 - number)) for epoch in range(10))
        study.complete(number, 0.1 * (9 - number))


def test_a_line_that_was_cut_off_spoils_nothing(tiny: Path, tmp_path: Path) -> None:
    chosen = settings(tiny, tmp_path / "out", "lr=1e-4-1e-1")
    before = drawn(Study(chosen), 2)
    journal = tmp_path / "out" / JOURNAL
    with open(journal, "ab") as file:
        file.write(b'{"op_code":4,"worker_id":"x","study_')
    assert [trial.values for trial in Study(chosen).trials()] == before
    drawn(Study(chosen), 1)
    assert [trial.values for trial in Study(chosen).trials()][:2] == before
    assert len(Study(chosen).trials()) == 3


def test_a_line_cut_off_while_two_commands_are_open_spoils_nothing(tiny: Path, tmp_path: Path) -> None:
    chosen = settings(tiny, tmp_path / "out", "lr=1e-4-1e-1")
    one, other = Study(chosen), Study(chosen)
    before = drawn(one, 1)
    with open(tmp_path / "out" / JOURNAL, "ab") as file:  # a third one, whose disk is full
        file.write(b'{"op_code":4,"worker_id":"x","study_')
    before += drawn(other, 1)
    before += drawn(one, 1)
    for study in (one, other, Study(chosen)):
        assert [trial.values for trial in study.trials()] == before


@pytest.mark.skipif(os.name != "posix", reason="needs locks of the system")
def test_a_writer_that_was_killed_keeps_nobody_out(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where --out is relative: nothing but the process holds the lock."""
    monkeypatch.chdir(tmp_path)
    chosen = settings(tiny, Path("out"), "lr=1e-4-1e-1")
    before = drawn(Study(chosen), 1)
    code = (
        "import sys; from pathlib import Path; from plumbline.sweeping.study import _JournalLock; "
        "lock = _JournalLock(Path('out/journal.log')); print(lock.acquire(), flush=True); sys.stdin.read()"
    )
    with running("-c", code, stdin=subprocess.PIPE, cwd=tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with pytest.raises(LockedError), sole_owner(Path("out/.journal.lock")):
            pass
        holder.kill()
    drawn(Study(chosen), 1)
    assert [trial.values for trial in Study(chosen).trials()][:1] == before
    assert not [path for path in Path("out").rglob("*") if path.is_symlink()]


def test_a_damaged_journal_is_refused(tiny: Path, tmp_path: Path) -> None:
    chosen = settings(tiny, tmp_path / "out", "lr=1e-4-1e-1")
    drawn(Study(chosen), 2)
    journal = tmp_path / "out" / JOURNAL
    content = journal.read_bytes()
    for damaged in (b"nonsense\n" + content, content.replace(b'"op_code"', b'"op"'), b"[]\n"):
        journal.write_bytes(damaged)
        with pytest.raises(
            InputError, match=r"journal.log cannot be read .*: restore it, or name another --out"
        ):
            Study(chosen)


def test_the_journal_is_one_of_optuna(tiny: Path, tmp_path: Path) -> None:
    """Any program of Optuna's shows it."""
    import optuna

    drawn(Study(settings(tiny, tmp_path / "out", "lr=1e-4-1e-1")), 2)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "out" / JOURNAL))
    study = optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    assert study.best_value == min(trial.value for trial in study.trials)
