"""Names are shown, never interpreted by a page or a terminal; environment secrets are never stored."""

import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.console.terminal import make_console
from plumbline.console.text import visible
from plumbline.data.store.writer import write_store
from plumbline.evaluation.benchmark_tables import page
from plumbline.evaluation.grids import markdown
from plumbline.records import FEATURE_NAMES, Rejected
from tests.evaluation.test_benchmark_tables import made_up
from tests.helpers.preparing import BOX, SMALL, write_off
from tests.helpers.training_fixtures import flags, fresh_environment, random_samples, train
from tests.reliability.malice import plumbline

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

TITLE = "\x1b]0;owned\x07"
CLEAR = "\x1b[2J\x9b31m\x08"
TURNED = "\u202egpj.exe\u2066"
EVIL = (
    f"<script>alert(1)</script><img src=x onerror='a'>\"&amp;|`**[x](javascript:a)[red]{TITLE}{CLEAR}{TURNED}"
)
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    return re.sub(r"[^/]", "x", text)


def write_named(folder: Path, name: str) -> Path:
    """A data set whose objects, groups and refused inputs bear the name."""
    samples = [
        replace(sample, object_name=sample.object_name.replace("random", name)) for sample in random_samples()
    ]
    samples = [
        replace(sample, object_name=f"other/{i}") if i % 3 else sample for i, sample in enumerate(samples)
    ]
    rejected = [Rejected(f"{name}.off", f"the mesh {name} is open")]
    write_store(folder, samples, rejected=rejected, feature_names=list(FEATURE_NAMES))
    return folder


# -- pages -------------------------------------------------------------------------------------------------


class Markup(HTMLParser):
    """Every element and attribute of a page, in order, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def report_of(tiny: Path, folder: Path, name: str) -> str:
    """The report of the same numbers, with the name wherever the user or the data set gives one."""
    run = folder / name.replace("/", "-") / "run"
    given = {"wandb_name": name, "wandb_tags": [name, "b"], "wandb_project": name}
    assert train(tiny, run, max_epochs=1, **given).code == 0
    data = write_named(folder / f"{name.replace('/', '-')} data", name.replace("/", "-"))
    assert main(["evaluate", str(run), "--data_dir", str(data), "--out", str(folder / "out")]) == 0
    return (folder / "out" / "report.html").read_text(encoding="utf-8")


def test_a_report_has_no_markup_but_its_own(tiny: Path, tmp_path: Path) -> None:
    page, plain = (
        Markup(report_of(tiny, tmp_path / str(i), name)) for i, name in enumerate((EVIL, harmless(EVIL)))
    )
    assert page.found == plain.found
    assert not {tag for tag, _ in page.found} & {"script", "img", "iframe", "object", "a", "link"}
    assert not [name for _, names in page.found for name in names if name.startswith("on")]
    # Of folders, tags, groups and examples.
    assert page.text.count("<script>alert(1)") > 8


def markdown_of(name: str) -> str:
    result: dict[str, Any] = made_up(
        {f"ept ({name})": (0.1, 0.3), "point mean": (0.4, 0.4), "carve": (0.2, 0.2)}
    )
    result["checkpoints"][0]["objects_seen"] = 1
    for condition in result["conditions"].values():
        for method in condition["methods"].values():
            method["sources"] = {f"{name}\n# heading": method["sources"]["s"]}
    return markdown(page(result))


def test_markdown_has_no_markup_but_its_own() -> None:
    text, plain = markdown_of(EVIL), markdown_of("x")
    assert not set("<>") & set(text)
    assert OBEYED.search(text.replace("\n", "")) is None
    assert _marks(text) == _marks(plain)
    assert not [line for line in text.splitlines() if line.startswith("# heading")]
    assert text.count("alert(1)") >= 4


def _marks(text: str) -> list[Counter[str]]:
    """What every line has of characters that mean something, without those that are escaped."""
    return [Counter(re.findall(r"[|`*_\[\]~#]", re.sub(r"\\.", "", line))) for line in text.splitlines()]


# -- terminals ---------------------------------------------------------------------------------------------


def test_control_characters_are_spelt_out() -> None:
    assert visible("größe 漢字 🙂 é\u200d\tx\ny") == "größe 漢字 🙂 é\u200d\tx\ny"
    assert visible(f"{TITLE}\r\x7f\x9b{TURNED}") == r"\x1b]0;owned\x07\x0d\x7f\x9b\u202egpj.exe\u2066"
    assert visible(os.fsdecode(b"caf\xe9") + "\ud800") == r"caf\xe9\ud800"


@pytest.mark.parametrize("terminal", [False, True])
def test_whatever_is_printed_is_shown(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """With the styles that the program itself puts in, which are control sequences too."""
    from rich.table import Table
    from rich.text import Text

    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    console = make_console()
    table = Table(title=Text(EVIL))
    table.add_column(Text(EVIL))
    table.add_row(Text(EVIL, "bold"))
    console.print(table)
    console.print(EVIL, markup=False, style="dim")
    console.print(Text(EVIL))
    printed = stream.getvalue()
    assert ("\x1b[2m" in printed) == terminal, "the program's own styles"
    assert OBEYED.search(re.sub(r"\x1b\[[0-9;]*m", "", printed)) is None
    assert "\x9b" not in printed
    assert printed.count(r"\x1b]0;owned") >= (2 if terminal else 5)


def test_every_command_shows_names_as_they_are(tiny: Path, tmp_path: Path) -> None:
    name = EVIL.replace("/", "-")
    meshes, data = tmp_path / "meshes", write_named(tmp_path / "data", name)
    write_off(meshes / name / f"open{name}.off", BOX, np.array([[0, 1, 2]]))
    write_off(meshes / name / f"box{name}.off", BOX)
    scan = tmp_path / f"{name}.npy"
    np.save(scan, np.random.default_rng(0).normal(size=(50, 3)))
    (tmp_path / f"broken{name}.npy").write_text("no scan")
    (tmp_path / "labels.csv").write_text(f"file,com_x,com_y,com_z\nnone{name},0,0,0\n".replace('"', ""))
    run = tmp_path / f"run {name}"
    commands: list[list[object]] = [
        ["prepare", meshes, "--out", tmp_path / f"out{name}", *SMALL],
        ["prepare", meshes / name / f"open{name}.off", "--out", tmp_path / "none", *SMALL],
        ["prepare", "--labels", tmp_path / "labels.csv", "--out", tmp_path / "none"],
        ["check", data], ["check", tmp_path / name],
        ["train", *flags(data, run, wandb_name=name, debug=True)],
        ["train", "--config", tmp_path / name], ["train", f"--{TITLE}"], ["train", "--lr", TITLE], [name],
        ["evaluate", run], ["evaluate", tmp_path / name],
        ["predict", scan, tmp_path / f"broken{name}.npy", "--model", "carve"],
        ["predict", scan, "--model", "carve", "--json"],
        ["check", "--equivariance", tmp_path / name, "--debug"],
    ]  # fmt: skip
    for command in commands:
        done = plumbline(*command)
        assert done.returncode in (0, 1, 2), done.stderr
        assert "Traceback" not in done.stderr or "--debug" in command, done.stderr
        assert OBEYED.search(done.stdout + done.stderr) is None, command
        shown = done.stdout + done.stderr
        assert r"\x1b]0;owned" in shown or r"\u001b]0;owned" in shown, (command, shown)


# -- secrets -----------------------------------------------------------------------------------------------

KEY, TOKEN = "abcd0123" * 5, "made-up-token-4711"


@pytest.mark.parametrize(
    ("tracking", "ends"),
    [("none", "well"), ("offline", "well"), ("unreachable", "well"), ("unreachable", "badly")],
)
def test_secrets_of_the_environment_are_kept_nowhere(
    tiny: Path, tmp_path: Path, tracking: str, ends: str
) -> None:
    chosen = flags(tiny, tmp_path / "run", debug=True, use_wandb=tracking != "none")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1\n  login user\n  password {KEY}\n")
    netrc.chmod(0o600)
    environment = {
        "WANDB_API_KEY": KEY, "SECRET_TOKEN": TOKEN, "AWS_SECRET_ACCESS_KEY": TOKEN, "NETRC": str(netrc),
        "WANDB_BASE_URL": "http://127.0.0.1:1",
    }  # fmt: skip
    if tracking == "offline":
        environment["WANDB_MODE"] = "offline"
    start = "from plumbline.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    if ends == "badly":
        start = (
            "from plumbline.training.loop.task import CentreOfMassTask as Task\n"
            "Task.on_validation_epoch_end = lambda self: 1 / 0\n" + start
        )
    done = subprocess.run(
        [sys.executable, "-c", start, "train", *chosen],
        env=fresh_environment(**environment), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode == 0) == (ends == "well"), done.stderr
    assert ("ZeroDivisionError" in done.stderr) == (ends == "badly")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) >= (5 if ends == "well" else 2)
    assert any("wandb" in path.parts for path in files) == (tracking != "none")
    for secret in (KEY, TOKEN):
        assert secret not in done.stdout + done.stderr
        assert [path for path in files if secret.encode() in path.read_bytes()] == []
    if ends == "well":  # the search finds what is there
        found = [path.name for path in files if str(tiny).encode() in path.read_bytes()]
        assert {"config.yaml", "last.ckpt"} <= set(found)
        assert json.loads((tmp_path / "run" / "startup.json").read_text())["total"] > 0
