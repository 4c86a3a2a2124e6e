"""The command line: every flag and its default, precedence, spellings, and what is refused how."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import plumbline
from plumbline import cli
from plumbline.config.check import CheckConfig
from plumbline.config.evaluate import EvaluateConfig
from plumbline.config.parts import own_baseline, own_network
from plumbline.config.prepare import PrepareConfig
from plumbline.config.train import TrainConfig
from plumbline.errors import InputError
from plumbline.kinds import number, span, switch, whole
from plumbline.quantities import Duration, Range

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / "golden" / "flags.txt"
ADDED = {
    "resume": None, "split_file": None, "persistent_workers": True, "plateau_patience": 10,
    "plateau_factor": 0.5, "min_lr": 1e-6, "max_steps": 0, "val_every_n_epochs": 1, "save_top_k": 1,
    "clean": True, "density": "uniform", "densities": None, "sensor_model": "none", "sensor_share": 0.5,
    "log_every_n_steps": None, "logger": ["csv"], "wandb_entity": None, "overfit_batches": 0,
    "init_from": None, "init_from_sha256": None, "freeze": "none", "batch_points": 0, "accumulate": 1,
    "scheduler": None, "profile": False,
}  # fmt: skip
"""Flags that no file of the first release names, with their defaults."""
REQUIRED = {
    **{verb: {"out": "somewhere", "solids": "1"} for verb in ("prepare", "benchmark")},
    "label": {"cad": "part.stl"},
    "sweep": {"out": "somewhere"},
}
IMAGE = {"depth": "d.png", "intrinsics": "K.json"}
"""The flags of a depth image need each other."""
BAGS = ("bag", "topic", "intrinsics_topic", "mask_topic", "bag_out")
PIXELS = (*IMAGE, "mask", "poses", "depth_scale", "depth-scale", "write_cleaned", "write-cleaned")

# The documented flags with their documented defaults, written down here a second time on purpose.
DOCUMENTED = {
    "data_dir": Path("data/processed_sh"),
    "batch_size": 16,
    "hidden_dim": 128,
    "num_layers": 4,
    "max_epochs": 100,
    "lr": 1e-3,
    "weight_decay": 1e-5,
    "precision": "32",
    "checkpoint_dir": Path("checkpoints"),
    "num_workers": 4,
    "debug": False,
    "fast_dev_run": 0,
    "use_compile": False,
    "val_split": 0.1,
    "dropout": 0.1,
    "use_wandb": False,
    "wandb_project": "equivariant-center-of-mass",
    "wandb_name": None,
    "wandb_tags": [],
}


def parse(verb, *argv, without=""):
    needed = REQUIRED.get(verb, {})
    if verb == "predict" and any(word[2:].partition("=")[0] in PIXELS for word in (*argv, f"--{without}")):
        needed = IMAGE
    if verb == "predict" and any(
        word[2:].partition("=")[0].replace("-", "_") in BAGS for word in (*argv, f"--{without}")
    ):
        needed = {"bag": "recording"}
    if verb == "train" and any(
        word[2:].replace("-", "_").startswith(("freeze", "init_from_sha256"))
        for word in (*argv, f"--{without}")
    ):
        needed = {"init_from": "a.ckpt"}
    if verb == "predict" and any(word.startswith("--format") for word in (*argv, f"--{without}")):
        needed = {"mass": "2"}
    if verb == "inertia" and not any(word.startswith("--densit") for word in (*argv, f"--{without}")):
        needed = {"mass": "2"}
    if verb == "benchmark" and any(
        word.startswith(("--real", "--without")) for word in (*argv, f"--{without}")
    ):
        needed = {"out": "somewhere", "real": "folder"}
    if verb == "sweep" and without != "space" and not any(re.match(r"\w+=", word) for word in argv):
        argv = ("lr=1,2", *argv)
    required = [f"--{name}={value}" for name, value in needed.items() if name != without]
    return cli.parse(verb, [*required, *argv])


def refusal(verb, *argv) -> str:
    with pytest.raises(InputError) as caught:
        parse(verb, *argv)
    return str(caught.value)


def flags() -> str:
    lines = []
    for verb, entry in cli.VERBS.items():
        defaults = entry.config()
        lines += [f"{verb} {name} = {getattr(defaults, name)!s}" for name in entry.config.options()]
    return "\n".join(lines) + "\n"


def test_flags_and_defaults_are_the_committed_ones():
    """A flag that comes, goes or changes its default must show as a change of the golden list."""
    assert flags() == GOLDEN.read_text(encoding="utf-8")


def test_documented_defaults():
    config = parse("train")
    assert {name: getattr(config, name) for name in DOCUMENTED} == DOCUMENTED


def other_value(item):
    """Another value than the default, as the user writes it: a text, or several."""
    if item.kind.choices:
        return [*item.kind.choices[-2:]] if item.many else item.kind.choices[-1]
    special = {
        "views": "3-4",
        "distance": "3-4", "noise": "0-0.5", "points": "3" if item.default is None else "30-40",
        "max_time": "00:00:01:00", "sensor": "-1,0,2.5",
        "log_every_n_steps": "3", "depth_scale": "0.1", "table": "0,0,1,0.2", "mass": "0.4",
        **({"scale": "0.1", "density": "700"} if item.default is None else {"scale": "0.1"}),
        "space": ["lr=1-2", "dropout=0-0.3"],
        "depth": ["one"], "intrinsics": ["one"], "mask": ["one"], "scheduler": "tcp://node1:8786",
    }  # fmt: skip
    if item.name in special:
        return special[item.name]
    if item.kind is switch:
        return str(not item.default)
    if isinstance(item.default, int | float):
        return str(item.default + 1 if isinstance(item.default, int) else item.default * 0.5 + 0.001)
    if item.kind is own_network:
        return f"{ROOT}/src/plumbline/models/gcn.py:GCN"
    if item.kind is own_baseline:
        return [f"{ROOT}/src/plumbline/predictors/untrained.py:{name}" for name in ("carve", "hull")]
    if item.name == "model_args":
        return ["num_tokens=3", "num_heads=2"]
    if item.kind.suffixes:
        return f"elsewhere{item.kind.suffixes[-1]}"
    return ["one", "two"] if item.many else "elsewhere"


@pytest.mark.parametrize(
    ("verb", "item"),
    [(verb, item) for verb, entry in cli.VERBS.items() for item in entry.config.options().values()],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_flag_reaches_its_field(verb, item, tmp_path):
    text, more = other_value(item), ["--model=ept"] if item.name == "model_args" else []
    wanted = item.read(text)
    words = text if item.many else [text]
    if item.kind is switch:
        argv = [f"--{item.name}" if wanted else f"--no_{item.name}"]
    else:
        argv = words if item.positional else [f"--{item.name}", *words]
    assert wanted != item.default
    assert getattr(parse(verb, *more, *argv), item.name) == wanted
    file = tmp_path / "config.yaml"
    plain = parse(verb, *more, *argv).plain()[item.name]
    for content in (yaml.safe_dump({item.name: plain}), f"{item.name}: [{', '.join(words)}]"):
        file.write_text(content if item.many or content[-1] != "]" else f"{item.name}: {text}")
        assert getattr(parse(verb, *more, "--config", str(file), without=item.name), item.name) == wanted
    if not item.positional:
        dashed = [argv[0].replace("_", "-"), *argv[1:]]
        assert getattr(parse(verb, *more, *dashed), item.name) == wanted
        if item.kind is not switch and not item.many:
            assert getattr(parse(verb, f"{argv[0]}={text}"), item.name) == wanted


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("batch_size: 3\nlr: 0.5\n")
    for argv in (["--config", str(file), "--lr", "0.25"], ["--lr", "0.25", f"--config={file}"]):
        config = parse("train", *argv)
        assert (config.batch_size, config.lr, config.hidden_dim) == (3, 0.25, 128)


def test_print_config_is_a_config_file(tmp_path, capsys):
    assert cli.main(["train", "--batch_size", "3", "--wandb_tags", "a", "b", "--print-config"]) == 0
    file = tmp_path / "config.yaml"
    file.write_text(capsys.readouterr().out)
    assert parse("train", "--config", str(file)) == parse(
        "train", "--batch_size", "3", "--wandb_tags", "a", "b"
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--batchsize", "3"], "there is no flag --batchsize; did you mean --batch_size?"),
        (["--max-epoch", "3"], "did you mean --max_epochs?"),
        (["--batch", "3"], "there is no flag --batch"),
        (["--batch_size", "0"], "--batch_size 0: must be at least 1"),
        (["--batch_size", "x"], "--batch_size x: must be a whole number"),
        (["--batch_size", "9" * 5000], "--batch_size 999"),
        (["--lr", "9\n9"], "--lr 9 9: must be a finite number"),
        (["--batch_size", "1.5"], "--batch_size 1.5: must be a whole number"),
        (["--val_split", "1.5"], "--val_split 1.5: must be above 0 and below 1"),
        (["--val_split", "0"], "--val_split"),
        (["--num_layers", "1"], "--num_layers 1: must be at least 2"),
        (["--dropout", "1"], "--dropout"),
        (["--lr", "0"], "--lr"),
        (["--lr", "nan"], "--lr"),
        (["--lr", "inf"], "--lr"),
        (["--precision", "17"], "--precision 17: choose one of 32, 16"),
        (["--precision", "bf16-mix"], "did you mean bf16-mixed?"),
        (["--precision", "16,32"], "--precision 16,32: choose one of"),
        (["--logger", "csv,wandb"], "--logger csv,wandb: separate several with spaces: csv wandb"),
        (["--logger", "csv,wand"], "--logger csv,wand: choose one of"),
        (["--devices", "2", "--skip_nonfinite"], "--skip_nonfinite: the processes of --devices take every"),
        (["--seed", "-1"], "--seed -1: must be at least 0 and at most 4294967295"),
        (["--accelerator", "gpu"], "did you mean cuda?"),
        (["--max_time", "soon"], "--max_time soon: write days:hours:minutes:seconds"),
        (["--config", "nowhere.yaml"], "--config nowhere.yaml: there is no such file"),
        (
            ["stray"],
            "unexpected value stray: a value follows its flag, and a switch such as --debug takes none",
        ),
        (["--debug", "true"], "unexpected value true: "),
        (["--fast_dev_run"], "--fast_dev_run needs a value after it"),
        (["--data_dir", "--debug"], "--data_dir needs a value after it"),
        (["--wandb_tags"], "--wandb_tags needs a value after it"),
        (["--debug=perhaps"], "--debug perhaps: must be true or false"),
        (["--no_lr"], "there is no flag --no_lr"),
        (["--no_debug=true"], "there is no flag --no_debug"),
        (["-lr", "3"], "there is no flag -lr: flags begin with two dashes"),
        (["--num_tokens", "8"], "--num_tokens belongs to --model ept"),
        (["--model", "ept", "--num_token", "8"], "did you mean --num_tokens?"),
        (["--model", "ept", "--num_tokens", "0"], "--num_tokens 0: must be at least 1"),
        (["--model", "epd"], "--model epd: choose one of gcn, "),
        (["--model", "nowhere.py:Net"], "--model nowhere.py:Net: nowhere.py cannot be read: No such file"),
    ],
)
def test_bad_training_flags_are_refused_in_a_sentence(argv, said):
    message = refusal("train", *argv)
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("batch_sise: 3", "config.yaml: there is no flag --batch_sise; did you mean --batch_size?"),
        ("- 3", "must consist of lines 'flag: value'"),
        ("batch_size: [", "not readable as YAML"),
        ("batch_size: 0", "config.yaml: --batch_size 0: must be at least 1"),
        ("batch_size: x", "config.yaml: --batch_size x: must be a whole number"),
        ("batch_size: 3\nlr: 0.1\nbatch-size: 4", "batch_size occurs twice"),
        ("max_epochs: null", "max_epochs has no value; leave the line out for the default"),
        ("wandb_tags: one", "wandb_tags must be a list, such as [a, b]"),
        ("wandb_tags: null", "wandb_tags has no value"),
        ("wandb_tags: [a, null]", "an item of wandb_tags has no value"),
        ("debug: 3", "--debug 3: must be true or false"),
        ("debug: [true]", "debug takes one value, not a list"),
        ("views: 2", "there is no flag --views"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, said):
    file = tmp_path / "config.yaml"
    file.write_text(content)
    assert said in refusal("train", "--config", str(file))


def test_files_that_set_nothing_spell_with_dashes_or_leave_quotes_out(tmp_path):
    file = tmp_path / "config.yaml"
    for nothing in ("", "# only a remark\n", "{}\n"):
        file.write_text(nothing)
        assert parse("train", "--config", str(file)) == parse("train")
    file.write_text("batch-size: 3\nmax_time: null\nprecision: 16\n")
    config = parse("train", "--config", str(file))
    assert (config.batch_size, config.max_time, config.precision) == (3, None, "16")


def test_tags_may_be_numbers_and_aliases(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("wandb_project: &a 2.50\nwandb_name: *a\nwandb_tags: [&b 1, *b, '1e-3', 1e-3, *a]\n")
    config = parse("train", "--config", str(file))
    assert (config.wandb_project, config.wandb_name) == ("2.50", "2.50")
    assert config.wandb_tags == ["1", "1", "1e-3", "1e-3", "2.50"]


def test_a_config_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    assert f"--config {tmp_path}: cannot be read (Is a directory)" in refusal(
        "train", "--config", str(tmp_path)
    )
    assert "--config needs a value" in refusal("train", "--config")

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", forbidden)
    assert "--config f.yaml: cannot be read (Permission denied)" in refusal("train", "--config", "f.yaml")


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_error(words):
    command = [sys.executable, "-m", "plumbline", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("words", [["--help"], ["--version"]], ids=" ".join)
def test_output_that_finds_no_room_is_an_error_in_a_sentence(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "plumbline", *words], stdout=full, stderr=subprocess.PIPE, timeout=300
        )
    assert done.stderr == b"error: the output cannot be written: No space left on device\n"
    assert done.returncode == 2


def test_a_closed_output_is_none():
    code = "import sys; sys.stdout = sys.stderr = None; from plumbline.cli import main; sys.exit(main({}))"
    for arguments, status in ((["--help"], 0), (["train", "--data_dir", "nowhere"], 2)):
        assert (
            subprocess.run([sys.executable, "-c", code.format(arguments)], timeout=300).returncode == status
        )


def test_an_output_without_dashes_and_letters_shows_the_nearest():
    code = "from plumbline.console.terminal import make_console, make_writable, print_line; make_writable(); "
    code += "print_line(make_console(), '6.1 \u2013 7.2 %, M\u00f6bel \u6728')"
    for encoding, shown in (
        ("latin-1", "6.1 - 7.2 %, M\u00f6bel \\u6728"),
        ("ascii", "6.1 - 7.2 %, M\\xf6bel \\u6728"),
    ):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, timeout=300)
        assert done.stdout.decode(encoding) == shown + "\n", done.stderr


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_help_is_as_wide_as_the_terminal_and_80_columns_at_most(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in (["--help"], *([verb, "--help"] for verb in cli.VERBS)):
        assert cli.main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if len(line) > min(columns, 80)] == [], words
        assert max(map(len, lines)) > min(columns, 80) - 5, words
    for verb in ("predict", "serve"):
        assert cli.main([verb, "--help"]) == 0
        page = "".join(capsys.readouterr().out.split())
        assert f"--model{cli.VERBS[verb].config.options()['model'].kind.metavar}" in page


def test_help_speaks_of_flags_not_of_types(capsys):
    texts = ""
    for verb in cli.VERBS:
        assert cli.main([verb, "--help"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert not re.search(r"type:|class|\[\]|None", said)
        texts += said
    assert "--split {auto,val,train,test,all}" in texts
    assert "graphs per batch (default: 64)" in texts


def test_what_cannot_be_found_is_refused_without_torch(tmp_path):
    """And without a folder for the checkpoints."""
    (tmp_path / "data").mkdir()
    (tmp_path / "file").touch()
    cases = {
        "the data folder nowhere does not exist": ["--data_dir", "nowhere"],
        "file is a file: give a folder": ["--checkpoint_dir", "file"],
        "--checkpoint_dir file/sub: cannot write there": ["--checkpoint_dir", "file/sub"],
        "there is no last.ckpt in run": ["--checkpoint_dir", "run", "--resume"],
        "--resume none.ckpt: there is no such checkpoint": ["--resume", "none.ckpt"],
    }
    program = (
        "import sys\nfrom plumbline import cli\n"
        "for line in sys.stdin: assert cli.main(line.split()) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    lines = "".join(f"train --data_dir data {' '.join(argv)}\n" for argv in cases.values())
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=lines,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    for said, line in zip(cases, done.stderr.splitlines(), strict=True):
        assert said in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "file"]


def test_a_refused_training_leaves_no_empty_folder(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    flags = ["--data_dir", str(tmp_path / "data"), "--checkpoint_dir", str(tmp_path / "run")]
    assert cli.main(["train", *flags]) == 2
    assert "no data set in" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    assert cli.main(["train", *flags]) == 2
    assert (tmp_path / "run").is_dir(), "it was there before"


def test_the_package_lists_its_interface():
    assert dir(plumbline) == sorted([*plumbline.__all__, "__version__"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--views", "0"], "--views 0"),
        (["--views", "3-1"], "--views 3-1"),
        (["--views", "1.5"], "--views 1.5"),
        (["--distance", "0.5"], "--distance 0.5: must be above 1"),
        (["--points", "15-30"], "--points 15-30: must be at least 16 and at most 65536"),
        (["--points", "30-1e9"], "at most 65536"),
        (["--points", "40.5"], "--points 40.5: must be a whole number"),
        (["--noise", "-1"], "--noise -1: give a number or a range such as 0-0.03"),
        (["--noise", "0-2"], "--noise 0-2: must be at least 0 and at most 1"),
        (["--solids", "0"], "nothing to prepare"),
    ],
)
def test_bad_preparation_flags_are_refused(argv, said):
    assert said in refusal("prepare", *argv)


def test_missing_out_is_refused(capsys):
    with pytest.raises(InputError, match="--out is missing"):
        cli.parse("prepare", ["--solids", "3"])
    assert cli.main(["prepare", "--print_config"]) == 0, "a file may be written before the output is known"


def test_bare_resume_means_the_last_checkpoint():
    assert parse("train", "--resume").resume == "last"
    assert parse("train", "--resume", "--debug").resume == "last"
    assert parse("train", "--resume", "some.ckpt").resume == "some.ckpt"
    assert parse("train").resume is None


def test_a_range_is_read_and_written_as_the_user_does():
    read = span(number(at_least=0), "1-3", "X").read
    for text, ends in {"2.50-3": (2.5, 3), "0-1e-2": (0, 0.01), "0": (0, 0), "1 - 3": (1, 3)}.items():
        assert (read(text), str(read(text))) == (Range(*ends), text)
    ends = span(whole(at_least=1), "1-3", "N").read("1-2.0")
    assert [(end, type(end)) for end in (ends.low, ends.high)] == [(1, int), (2, int)]
    assert [str(Range(*ends)) for ends in ((1, 1), (2.0, 3.0), (0, 1e-05))] == ["1", "2-3", "0-1e-05"]
    for text in ("2-1", "1-2-3", "-1", "1-", "nan", "1-inf", "", "1-x", "1--2"):
        with pytest.raises(ValueError, match=r"such as 1-3|in 1-3"):
            read(text)


def test_durations_are_seconds():
    assert parse("train", "--max_time", "1:02:03:04").max_time == Duration(93784)
    assert str(Duration(93784)) == "01:02:03:04"
    for text in ("00:00:00:00", "1:2:3", "-1:0:0:0", "1:0:0:x", "\u00b2:0:0:0"):
        assert "write days:hours:minutes:seconds" in refusal("train", "--max_time", text)


@pytest.mark.parametrize("name", ["run.yaml", "train.yaml", "prepare.yaml"])
def test_files_that_earlier_programs_wrote_say_the_same(name, capsys):
    """``config.yaml`` of a training, and what ``--print_config`` printed."""
    file = GOLDEN.parent / "config" / name
    verb = "prepare" if name == "prepare.yaml" else "train"
    assert cli.main([verb, "--config", str(file), "--print_config"]) == 0
    said = yaml.safe_load(capsys.readouterr().out)
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name in said.keys() - given.keys():
        assert said.pop(name) == ADDED[name], name
    assert yaml.safe_dump(said, sort_keys=False) == file.read_text(encoding="utf-8")


def test_words_between_and_behind_flags_are_files():
    given = parse("predict", "a.npy", "--json", "b.npy", "--sensor", "-1,0,0", "c.npy", "--", "--d.npy")
    assert given.paths == [*map(Path, ("a.npy", "b.npy", "c.npy", "--d.npy"))]
    assert (given.json, given.sensor) == (True, (-1, 0, 0))
    assert "unexpected value b: " in refusal("check", "a", "b")
    assert "there is no flag --path" in refusal("check", "--path", "a")


@pytest.mark.parametrize(
    ("word", "on"), [("yes", True), ("On", True), ("TRUE", True), ("no", False), ("off", False)]
)
def test_switches_have_many_words(word, on, tmp_path):
    file = tmp_path / "config.yaml"
    for written in (word, f'"{word}"'):
        file.write_text(f"debug: {written}")
        assert parse("train", "--config", str(file)).debug is on
    assert parse("train", f"--debug={word}").debug is on


def test_the_usage_is_one_line(capsys):
    for verb, usage in {
        "train": "train [flags]",
        "predict": "predict [FILE ...] [flags]",
        "check": "check [DIR] [flags]",
    }.items():
        assert cli.main([verb, "--help"]) == 0
        assert capsys.readouterr().out.splitlines()[:2] == [f"usage: plumbline {usage}", ""]


def test_exit_codes_and_streams(capsys):
    assert cli.main(["trian"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no command 'trian'; did you mean train? (plumbline --help lists them)\n"
    )
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(verb in said for verb in cli.VERBS)
    assert cli.main(["--version"]) == 0
    capsys.readouterr()
    assert cli.main(["train", "--batchsize", "3", "--debug"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):")
    assert said.endswith("\nerror: there is no flag --batchsize; did you mean --batch_size?\n")


def test_root_script_is_the_train_command():
    def helped(*command):
        return subprocess.run(
            [sys.executable, *command, "--help"], capture_output=True, text=True, check=True, timeout=300
        ).stdout

    script = helped(str(ROOT / "train_gnn_optimized.py"))
    verb = helped("-m", "plumbline", "train")
    assert script.split("options:")[1] == verb.split("options:")[1]
    assert script.startswith("usage: train_gnn_optimized.py")


def test_configs_are_frozen_and_validated_defaults_are_valid():
    for kind in (TrainConfig, CheckConfig, EvaluateConfig, PrepareConfig):
        with pytest.raises(dataclasses.FrozenInstanceError):
            kind().debug = True
