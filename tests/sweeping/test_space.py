"""What a sweep may vary: lists and ranges of any flag of train, refused before anything is trained."""

import os
import sys
from pathlib import Path

import pytest

from plumbline.cli import main, parse
from plumbline.config.space import read_sweep
from plumbline.errors import InputError
from plumbline.spaces import Parameter, Space
from plumbline.sweeping.trials import environment, errors, gpu
from tests.helpers.training_fixtures import run_python


def space(*words: str) -> Space:
    return read_sweep(words)[0]


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("dropout=0-0.3", Parameter("dropout", "0-0.3", low=0, high=0.3)),
        ("lr=1e-4-1e-2", Parameter("lr", "1e-4-1e-2", low=1e-4, high=1e-2, log=True)),
        ("lr=1e-4-1e-2:linear", Parameter("lr", "1e-4-1e-2:linear", low=1e-4, high=1e-2)),
        ("lr=1e-3-2e-3:log", Parameter("lr", "1e-3-2e-3:log", low=1e-3, high=2e-3, log=True)),
        ("lr=0.1:log", Parameter("lr", "0.1:log", low=0.1, high=0.1, log=True)),
        ("num_layers=2-4", Parameter("num_layers", "2-4", low=2, high=4, whole=True)),
        ("batch_size=8-128", Parameter("batch_size", "8-128", low=8, high=128, whole=True, log=True)),
        ("hidden_dim=64,128", Parameter("hidden_dim", "64,128", choices=("64", "128"))),
        ("precision=32,16-mixed", Parameter("precision", "32,16-mixed", choices=("32", "16-mixed"))),
        ("skip_nonfinite=on,off", Parameter("skip_nonfinite", "on,off", choices=("on", "off"))),
        (
            "features=all,sensor+normal",
            Parameter("features", "all,sensor+normal", choices=("all", "sensor+normal"), many=True),
        ),
    ],
)
def test_lists_and_ranges_are_read_by_the_kind_of_the_flag(word: str, wanted: Parameter) -> None:
    (found,) = space(word).parameters
    assert found == wanted
    assert type(found.low) is (int if wanted.whole else float) or found.choices


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "there is nothing to vary: write NAME=VALUES, such as lr=1e-4-1e-2 or hidden_dim=64,128"),
        (["lr"], "lr: write NAME=VALUES, such as"),
        (["=3"], "=3: write NAME=VALUES"),
        (["batchsize=3,4"], "there is no flag batchsize; did you mean --batch_size?"),
        (["lr=1,2", "lr=3,4"], "lr is varied twice"),
        (["lr=1,2", "--lr", "3"], "lr is varied, and --lr fixes it"),
        (
            ["deterministic=on,off", "--no_deterministic"],
            "deterministic is varied, and --deterministic fixes it",
        ),
        (["lr=0-1"], "lr=0-1: must be above 0"),
        (["lr=1e-2-1e-4"], "lr=1e-2-1e-4: give the smaller number first"),
        (["weight_decay=0-1e-3:log"], "weight_decay=0-1e-3:log: a logarithmic scale needs ends above 0"),
        (["lr=1-2:ln"], "lr=1-2:ln: after the range, write :log or :linear"),
        (["lr="], "lr=: "),
        (["batch_size=8,x"], "batch_size=8,x: --batch_size x: must be a whole number"),
        (["batch_size=8.5-9"], "batch_size=8.5-9: must be a whole number"),
        (["lr=1,1"], "lr=1,1: a value occurs twice"),
        (["optimizer=adam,adm"], "optimizer=adam,adm: --optimizer adm: choose one of adam, adamw, muon; did"),
        (["model=gcn,epd"], "did you mean ept?"),
        (["num_tokens=8,16"], "--num_tokens belongs to --model ept"),
        (["num_layers=1-3"], "with --num_layers=1: --num_layers 1: must be at least 2 for --model gcn"),
        (["model=ept,gcn", "num_layers=3,1"], "with --model=gcn --num_layers=1: --num_layers 1: must be"),
        (["lr=1,2", "--hidden_dimm", "3"], "^there is no flag --hidden_dimm; did you mean --hidden_dim?"),
        (
            ["checkpoint_dir=a,b"],
            "--checkpoint_dir has no place in a sweep: each trial has a folder of its own",
        ),
        (
            ["lr=1,2", "--resume"],
            "--resume has no place in a sweep: the same command again resumes the trials",
        ),
        (["lr=1,2", "--ensemble", "2"], "--ensemble has no place in a sweep: sweep single models"),
        (["fast_dev_run=1,2"], "--fast_dev_run has no place in a sweep"),
    ],
)
def test_what_train_would_refuse_is_refused_at_once(words: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_sweep(words)
    message = str(caught.value)
    assert message.startswith(said[1:]) if said[0] == "^" else said in message
    assert "\n" not in str(caught.value)


def test_a_file_of_a_run_may_say_what_the_trials_share(tmp_path: Path) -> None:
    """Except for what makes no trial."""
    file = tmp_path / "config.yaml"
    file.write_text("checkpoint_dir: elsewhere\nhidden_dim: 8\nlr: 0.5\n")
    assert space("lr=1,2", "--config", str(file)).parameters[0].name == "lr"
    for line in ("ensemble: 2", "resume: last", "allow_mismatch: true", "fast_dev_run: 3"):
        file.write_text(f"{line}\n")
        name, value = line.split(": ")
        with pytest.raises(InputError, match=f"--{name} (?i:{value}) has no place in a sweep"):
            space("lr=1,2", "--config", str(file))


def test_a_file_may_say_what_is_varied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["lr=1,2", "--out", "somewhere", "--", "--hidden_dim", "8"]
    assert main(["sweep", "--print_config", *words]) == 0
    file = tmp_path / "printed.yaml"
    file.write_text(capsys.readouterr().out)
    assert parse("sweep", ["--config", str(file)]) == parse("sweep", words)
    file.write_text("space: ['lr=1,2', --, --hidden_dim, 8]\nout: somewhere\n")
    found, flags = read_sweep(parse("sweep", ["--config", str(file)]).space)
    assert (found, flags) == (space("lr=1,2"), ["--hidden_dim", "8"])


def test_a_flag_of_train_among_those_of_the_sweep_is_told_where_it_belongs() -> None:
    with pytest.raises(
        InputError, match="--lr is a flag of train: write lr=VALUES to vary it, or give it at"
    ):
        parse("sweep", ["--lr", "1,2", "--out", "somewhere"])
    with pytest.raises(InputError, match="there is no flag --trails; did you mean --trials"):
        parse("sweep", ["lr=1,2", "--trails", "3", "--out", "somewhere"])


def test_without_optuna_it_says_what_to_install(tiny: Path, tmp_path: Path) -> None:
    words = ["sweep", "lr=1,2", "--out", str(tmp_path / "out"), "--", "--data_dir", str(tiny)]
    code = "import sys; sys.modules['optuna'] = None; from plumbline.cli import main; sys.exit(main({}))"
    done = run_python("-c", code.format(words))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: plumbline sweep needs optuna: pip install optuna\n"
    assert not (tmp_path / "out").exists()


def test_a_flag_of_one_network_is_varied_with_that_network_alone() -> None:
    found = space("num_tokens=8,16", "model=gcn,ept", "lr=1e-4-1e-2")
    assert [item.name for item in found.parameters] == ["model", "num_tokens", "lr"]
    assert [item.name for item in found.existing({"model": "gcn"})] == ["model", "lr"]
    assert found.words({"model": "gcn", "lr": "0.001"}) == ["--model=gcn", "--lr=0.001"]
    assert found.combinations() is None
    assert len(space("num_tokens=8,16", "model=gcn,ept").combinations() or []) == 3


def test_drawn_numbers_are_short_and_within_the_range() -> None:
    range_of = Parameter("dropout", "", low=0.0, high=0.99999)
    assert range_of.text(0.123456789) == "0.1235"
    assert range_of.text(0.999985) == "0.99999"
    assert Parameter("lr", "", low=1e-5, high=1.0, log=True).text(1.23456e-5) == "1.235e-05"


def test_errors_are_those_of_whole_rows_with_finite_numbers(tmp_path: Path) -> None:
    assert errors(tmp_path) == {}
    head = "epoch,step,val_error_rel\n"
    (tmp_path / "metrics.csv").write_text(head + "0,5,\n0,6,0.5\n1,12,nan\n2,18,0.25\n3,24,0.1")
    assert errors(tmp_path) == {0: 0.5, 2: 0.25}


def test_cores_and_gpus_are_divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plumbline.sweeping.trials.num_cores", lambda: 8)
    given = {"HOME": "/root", "SLURM_PROCID": "3", "TORCHELASTIC_RUN_ID": "1"}
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert environment(given, 1) == {"HOME": "/root", **path}
    assert environment(given, 3) == {"HOME": "/root", "OMP_NUM_THREADS": "2", **path}
    assert environment({"OMP_NUM_THREADS": "5"}, 3) == {"OMP_NUM_THREADS": "5", **path}
    assert [gpu({"CUDA_VISIBLE_DEVICES": "2,5"}, slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == [
        "2", "5", "2"
    ]  # fmt: skip
    assert gpu({"CUDA_VISIBLE_DEVICES": "2"}, 0) == gpu({}, 0, tmp_path / "none") == {}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert gpu({}, 1, tmp_path) == {"CUDA_VISIBLE_DEVICES": "1"}
