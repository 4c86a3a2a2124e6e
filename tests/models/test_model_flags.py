"""Networks by name: their own flags, read without importing them, and networks in files of the user's own."""

import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest

from plumbline.cli import main, parse
from plumbline.config.parts import own_options
from plumbline.config.train import TrainConfig
from plumbline.errors import InputError
from plumbline.models import MODELS, arguments_for, build_model, load_model_class
from plumbline.models.arguments import FILLED, own_arguments, read_arguments
from plumbline.own_parts import loaded, source_of
from tests.helpers.training_fixtures import in_fresh_process, saved, train

SMALL = {"model": "ept", "hidden_dim": 8, "num_layers": 1}
MINE = '''"""Mine."""
import torch
from torch import nn
from plumbline.models.ept import EPT

PI = 3.14


class Base(nn.Module):
    """A base class.

    Args:
        width: channels.
        gain: what the answer is multiplied with,
            a number.
    """

    symmetry = "translation"
    needs = frozenset()

    def __init__(self, *, input_dim: int, hidden_dim: int, width: int = 4, gain: float = 1, seed: int = 0,
                 bias: "bool" = True, words: str = "a", pi=PI, scale: float | None = None, sizes=(1, 2),
                 lr: float = 0.5):
        """Make one.

        Args:
            words: said.
        """
        super().__init__()
        self.net = nn.Linear(input_dim, 3, bias=bias)
        self.given = (width, gain, seed, bias, words, scale, lr)

    def forward(self, batch):
        votes = batch.pos + self.net(batch.node_features.to(self.net.weight.dtype))
        sums = votes.new_zeros(batch.num_graphs, 3).index_add(0, batch.graph_idx, votes)
        return sums / torch.bincount(batch.graph_idx, minlength=batch.num_graphs)[:, None]


class Mine(Base):
    pass


class Tokens(EPT):
    pass


class Needy(Base):
    def __init__(self, rings: int, **others):
        super().__init__(**others)


class Undeclared(nn.Module):
    pass


class NoNeeds(nn.Module):
    symmetry = "none"


no_class = 3
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my nets" / "mine.py"
    path.parent.mkdir()
    path.write_text(MINE, encoding="utf-8")
    return path


def config(**flags: object) -> TrainConfig:
    return parse("train", [f"--{name}={value}" for name, value in flags.items()])


def refusal(*argv: str) -> str:
    with pytest.raises(InputError) as caught:
        parse("train", argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- flags of our networks ---------------------------------------------------------------------------------


def test_what_the_source_says_is_what_the_constructor_takes() -> None:
    """Of every network."""
    data = {"feature_names": ["x"], "vector_names": [], "features": ["none"]}
    sizes = {"hidden_dim": 8, "num_layers": 2, "dropout": 0.0, "covariance": True, "payload": True}
    assert {key for model in MODELS for key in arguments_for(model, **data, **sizes)} == FILLED
    for model in MODELS:
        real = {
            name: parameter.default
            for name, parameter in signature(load_model_class(model)).parameters.items()
            if name not in FILLED
        }
        read = own_arguments(model)
        assert {name: item.default for name, item in read.items()} == real
        assert all(item.help and item.kind.read(str(item.default)) == item.default for item in read.values())


def test_they_are_flags_and_keys_of_files(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: ept\nnum_tokens: 16\nnum-heads: 2\n")
    assert config(config=file).model_args == ["num_tokens=16", "num_heads=2"]
    assert config(config=file, num_tokens=8).model_args == ["num_tokens=8", "num_heads=2"]
    assert config(config=file, patch_dim=8).model_args[-1] == "patch_dim=8"
    assert config(config=file, model_args="patch_dim=8").model_args == ["patch_dim=8"]
    file.write_text("model: ept\nmodel_args: [num_tokens=16, num_heads=2]\n")
    assert config(config=file, num_tokens=8).model_args == ["num_tokens=8", "num_heads=2"]
    assert config(recipe="best", num_tokens="1e1").model_args == ["num_tokens=10"]


def test_they_belong_to_their_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = "--num_tokens belongs to --model ept: leave it out, or choose that network"
    assert refusal("--num_tokens", "8") == said
    file = tmp_path / "run.yaml"
    file.write_text("model: ept\nnum_tokens: 16\n")
    assert refusal("--config", str(file), "--model", "gcn") == f"--config {file}: {said}"
    assert main(["train", "--help"]) == 0
    assert "--num_tokens" not in capsys.readouterr().out
    for words in (["--model", "ept"], ["--config", str(file)], ["--recipe", "best"]):
        assert main(["train", *words, "--help"]) == 0
        page = " ".join(capsys.readouterr().out.split())
        assert "model ept: --num_tokens N patches per graph (T), at most 64 (default: 32)" in page


@pytest.mark.parametrize("name", ["num_tokens", "num_neighbours", "num_heads", "patch_dim"])
def test_no_whole_number_is_below_one(name: str) -> None:
    for value in (0, -4):
        assert refusal("--model", "ept", f"--{name}", str(value)) == f"--{name} {value}: must be at least 1"
        with pytest.raises(InputError, match=rf"^--{name} {value}: must be at least 1$"):
            config(model="ept", model_args=f"{name}={value}")
    assert read_arguments("ept", config(model="ept", **{name: 1}).model_args) == {name: 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("num_tokens=many", "--num_tokens many: must be a whole number"),
        ("colour=red", r"ept has no such argument of its own \(it has num_tokens=32, .*patch_dim=64\)"),
        ("hidden_dim=3", "ept has no such argument"),
    ],
)
def test_other_model_args_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        config(model="ept", model_args=text)


def test_a_training_has_them(tiny: Path, tmp_path: Path) -> None:
    outcome = train(tiny, tmp_path, **SMALL, max_epochs=1, num_tokens=8, num_neighbours=3)
    assert outcome.code == 0, outcome.text
    ours = saved(tmp_path / "last.ckpt")["plumbline"]
    assert ours["config"]["model_args"] == ["num_tokens=8", "num_neighbours=3"]
    assert ours["model_args"].items() >= {"num_tokens": 8, "num_neighbours": 3}.items()
    outcome = train(tiny, tmp_path, **SMALL, num_neighbours=100_000)
    assert "error: --num_neighbours 100000: the data set joins each point to " in outcome.text


# -- networks in files of the user's own -------------------------------------------------------------------


def test_a_file_is_read_and_not_run(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine.write_text("raise SystemExit('run')\n" + MINE)
    options = own_options(f"{mine}:Mine")
    assert {name: (item.default, item.help) for name, item in options.items()} == {
        "width": (4, "channels"), "gain": (1, "what the answer is multiplied with, a number"),
        "seed": (0, ""),
        "bias": (True, ""), "words": ("a", "said"), "scale": (None, ""), "lr": (0.5, ""),
    }  # fmt: skip
    assert main(["train", "--model", f"{mine}:Mine", "--help"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert f"model {mine}:Mine: --width N channels (default: 4) --gain X what" in page
    assert "--bias, --no_bias" in page
    assert page.count("--lr X") == page.count("--seed N") == 1, "these are the training's"
    made = parse(
        "train", ["--model", f"{mine}:Mine", "--no_bias", "--gain", "2", "--scale", "0.5", "--words", "b c"]
    )
    own = {"bias": False, "gain": 2.0, "scale": 0.5, "words": "b c"}
    assert read_arguments(made.model, made.model_args) == own
    assert refusal("--model", f"{mine}:Needy") == f"--rings is missing: {mine}:Needy has no default for it"
    assert config(model=f"{mine}:Needy", rings=3).model_args == ["rings=3"]
    assert read_arguments(f"{mine}:Mine", config(model=f"{mine}:Mine", model_args="seed=-3").model_args) == {
        "seed": -3
    }
    assert own_options(f"{mine}:Tokens").keys() == own_options("ept").keys()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine.py:Nobody", "mine.py defines no class Nobody at its top level; it has Base, Mine, Tokens"),
        ("mine.py:no_class", "mine.py defines no class no_class at its top level"),
        ("none.py:Net", "none.py cannot be read: No such file or directory"),
        (":Net", ": choose one of gcn, pointnet"),
        ("broken.py:Net", "broken.py is not valid Python: invalid syntax"),
        ("folder.py:Net", "folder.py cannot be read: Is a directory"),
    ],
)
def test_what_is_no_class_is_refused(
    mine: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(mine.parent)
    Path("broken.py").write_text("class Net(:\n")
    Path("folder.py").mkdir()
    assert refusal("--model", name).startswith(f"--model {name}: ")
    assert said in refusal("--model", name)


@pytest.mark.parametrize(
    ("class_name", "line", "said"),
    [
        ("Undeclared", "", "lacks a class attribute symmetry, one of none, translation"),
        ("NoNeeds", "", "lacks a class attribute needs"),
        ("no_class", "", "is not a class derived from torch.nn.Module"),
        ("Mine", "import nowhere_at_all", "cannot be imported (ModuleNotFoundError: No module named"),
        ("Mine", "raise SystemExit(3)", "cannot be imported (SystemExit: 3)"),
    ],
)
def test_what_is_no_network_is_refused(mine: Path, class_name: str, line: str, said: str) -> None:
    mine.write_text(MINE + line)
    before = set(sys.modules)
    with pytest.raises(InputError) as caught:
        load_model_class(f"{mine}:{class_name}")
    assert said in str(caught.value)
    assert not {name for name in set(sys.modules) - before if "mine" in name} or not line


def test_a_changed_file_is_another_class(mine: Path) -> None:
    name = f"{mine}:Mine"
    first, source = load_model_class(name), source_of(name)
    assert load_model_class(name) is first
    mine.write_text(MINE + "\n")
    assert source_of(name) == source, "what was loaded"
    assert load_model_class(name) is not first
    assert source_of(name) != source
    assert source_of("gcn") is None
    assert (source.path, source.name) == (mine, "Mine")


def test_no_file_is_run_because_a_checkpoint_names_it(mine: Path) -> None:
    with pytest.raises(KeyError):
        build_model(f"{mine}:Mine", input_dim=3, hidden_dim=4)
    with pytest.raises(KeyError):
        build_model("ensemble", members=[{"model": f"{mine}:Mine", "model_args": {}}])
    assert loaded(f"{mine}:Mine") is None


@pytest.mark.parametrize("recipe", ["documented", "best"])
def test_it_trains_and_resumes(tiny: Path, tmp_path: Path, mine: Path, recipe: str) -> None:
    own = {"model": f"{mine}:Mine", "recipe": recipe, "width": 6, "gain": 0.5, "no_bias": True}
    outcome = train(tiny, tmp_path / "run", **own, max_epochs=1)
    assert outcome.code == 0, outcome.text
    ours = saved(tmp_path / "run" / "last.ckpt")["plumbline"]
    assert ours["config"]["model_args"] == ["width=6", "gain=0.5", "bias=False"]
    assert ours["model_args"].items() >= {"width": 6, "gain": 0.5, "bias": False, "hidden_dim": 16}.items()
    more = {"max_epochs": 1 if recipe == "best" else 2, "resume": ""}
    done = in_fresh_process(["--config", str(tmp_path / "run" / "config.yaml"), *_words(more)])
    assert done.returncode == 0, done.stderr
    assert "after 1 epoch" in done.stdout
    other = train(tiny, tmp_path / "run", **{**own, "width": 7}, **more)
    assert "--model_args ['width=7', " in other.text


def _words(flags: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" if value != "" else f"--{name}" for name, value in flags.items()]


def test_help_loads_no_torch(mine: Path) -> None:
    words = ["train", "--model", f"{mine}:Tokens", "--num_tokens", "3", "--help"]
    code = f"import sys; from plumbline.cli import main; main({words!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
