"""The documentation says what is true: flags, defaults, commands, figures and links."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plumbline
from docs.build import flags_page
from docs.model_card import with_facts
from plumbline import cli
from plumbline.config.train import TrainConfig
from plumbline.data.pt.cache import open_data
from plumbline.data.split_file import read_split
from plumbline.geometry.raycast import Caster
from plumbline.geometry.scans import scan_solid
from plumbline.geometry.solids import FAMILIES, make_solid
from plumbline.records import Range, ScanSettings
from tests.helpers.preparing import write_meshes
from tests.helpers.training_fixtures import write_tiny

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS]
COMMAND = re.compile(
    r"^ +(?:\.venv/bin/)?(?:python )?((?:plumbline|train_gnn_optimized\.py)(?: .*)?)$", re.MULTILINE
)
MOST_WORDS = 900


def read(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Every command line of the indented blocks that calls the program, once."""
    pages = [ROOT / "README.md", *DOCS]
    text = "\n".join(page.read_text(encoding="utf-8").replace("\\\n", " ") for page in pages)
    lines = dict.fromkeys(re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines())
    found = [match[1] for line in lines if (match := COMMAND.match(line))]
    return [shlex.split(line, comments=True) for line in found]


def verb_of(words: list[str]) -> tuple[str, list[str]]:
    return (words[1], words[2:]) if words[0] == "plumbline" else ("train", words[1:])


def test_the_readme_is_short():
    assert len(read("README.md").split()) <= MOST_WORDS


def test_the_demo_is_said_to_take_the_same_time_everywhere():
    said = re.findall(r"(\S+ to \S+ minutes) on two CPU cores", read("README.md") + read("Makefile"))
    assert said == ["3 to 6 minutes"] * 2


def test_the_flag_table_is_what_the_program_says():
    assert read("docs", "flags.md") == flags_page(), "run make docs"


def test_the_model_card_is_what_the_shipped_file_and_the_list_of_meshes_say():
    assert read("docs", "model-card.md") == with_facts(read("docs", "model-card.md")), "run make docs"


def test_every_verb_is_shown():
    assert {verb_of(words)[0] for words in commands()} == set(cli.VERBS)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_are_understood(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verb, flags = verb_of(words)
    if "--config" in flags:  # the file of a run
        config = Path(flags[flags.index("--config") + 1])
        config.parent.mkdir()
        config.write_text("seed: 1\n")
    cli.parse(verb, flags)


def test_defaults_in_the_table_are_the_defaults():
    defaults = TrainConfig()
    rows = re.findall(r"^\| (`--.*?) \| (.*?) \|", read("docs", "train.md"), re.MULTILINE)
    assert len(rows) >= 8
    for names, shown in rows:
        values = [value.strip(" `") for value in shown.split(",")]
        flags = re.findall(r"--(\w+)", names)
        if len(values) < len(flags):
            values += [""] * (len(flags) - len(values))
        for flag, value in zip(flags, values, strict=True):
            default = getattr(defaults, flag)
            default = " ".join(default) if isinstance(default, list) else default
            if value in ("", "off"):
                continue
            if isinstance(default, bool):
                assert default == (value == "on"), flag
            else:
                assert str(default) == value or float(value) == default, flag


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([\w-]+))?\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        there = page.parent / target if target else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


def test_the_index_leads_to_every_page():
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", read("docs", "index.md")))
    assert linked | {"index.md"} == {page.name for page in DOCS}


def test_targets_that_are_mentioned_exist():
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    for page in PAGES:
        mentioned = re.findall(r"(?:^    |`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(mentioned) <= targets, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_use_the_words_of_the_word_list(page):
    """Some of what CONTRIBUTING.md advises against. flags.md is written by the program."""
    if page.name in ("CONTRIBUTING.md", "flags.md"):
        return
    unwanted = r"\b(?:beside|anew|mend(?:s|ed)?|go(?:es)? on|gone on|so many)\b"
    assert re.findall(unwanted, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", ["README.md", "docs/predict.md"])
def test_python_lines_run(page, tmp_path, monkeypatch):
    """On a mug in its sensor's frame; ``carve`` is closer to the truth than the mean of the points."""
    *others, lines = re.findall(r"```python\n(.*?)```", read(page), re.DOTALL)
    solid = make_solid(1, 93)
    caster = Caster(solid.vertices, solid.faces)
    scan = scan_solid(solid, caster, ScanSettings(points=Range(512)), rng=np.random.default_rng(2))
    sensor = scan.sensor[0]
    (tmp_path / "scans").mkdir()
    np.savez(tmp_path / "scans" / "mug.npz", points=scan.points - sensor, sensor=np.zeros(3))
    forces = 0.3 * np.array([[0, 0, 9.81], [9.81, 0, 0]])
    torques = np.cross(scan.com - sensor, forces)
    np.savetxt(tmp_path / "lifts.csv", np.concatenate([forces, torques], axis=1), delimiter=",")
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    for block in others:
        exec(block, known)
        missed = np.linalg.norm(known["payload"].com + sensor - scan.com)
        assert missed < 0.2 * np.linalg.norm(known["prediction"].com + sensor - scan.com)
        assert known["payload"].mass == pytest.approx(0.3, abs=1e-3)
    exec(lines, known)
    miss, naive = (
        np.linalg.norm(point + sensor - scan.com)
        for point in (known["prediction"].com, (scan.points - sensor).mean(axis=0))
    )
    assert miss < naive < solid.bounding_radius


def test_python_lines_make_a_data_set(tmp_path, monkeypatch):
    (lines,) = re.findall(r"```python\n(.*?)```", read("docs", "prepare.md"), re.DOTALL)
    write_meshes(tmp_path / "meshes")
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    exec(lines, known)
    assert (known["made"].scans, known["made"].rejected) == (10, ())
    assert len(open_data(tmp_path / "data" / "from_python")) == 10


@pytest.mark.slow
def test_python_lines_find_a_part(capsys):
    (lines,) = re.findall(r"```python\n(.*?)```", read("docs", "label.md"), re.DOTALL)
    known: dict[str, Any] = {}
    exec(lines, known)
    found, scan, mesh = known["found"], known["scan"], known["mesh"]
    assert found.reason is None
    assert np.linalg.norm(found.com - scan.com) < 0.01 * mesh.bounding_radius
    assert np.linalg.norm(found.com - scan.points.mean(axis=0)) > 0.1 * mesh.bounding_radius, "the control"
    assert str(found.com) in capsys.readouterr().out


def test_python_lines_predict_from_batches(tmp_path, monkeypatch, capsys):
    (lines,) = re.findall(r"```python\n(.*?)```", read("docs", "train.md"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    solid = make_solid(1, 93)
    Path("meshes").mkdir()
    write_stl(Path("meshes/mug.stl"), solid.vertices[solid.faces])
    write_tiny(tmp_path / "data" / "processed_sh")
    assert plumbline.train(max_epochs=1, accelerator="cpu").exit_code == 0
    known: dict[str, Any] = {}
    exec(lines, known)
    np.testing.assert_allclose(known["solid"].com, solid.com, atol=1e-5 * solid.bounding_radius)
    assert str(known["solid"].com) in capsys.readouterr().out
    assert tuple(known["com"].shape) == (4, 3)
    truth = known["store"].target[:4]
    assert np.linalg.norm(known["com"].detach().numpy() - truth, axis=1).max() < 2


def write_stl(path: Path, corners: np.ndarray) -> None:
    """Triangles ``[F, 3, 3]`` as a binary STL file."""
    rows = np.zeros(len(corners), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("colour", "<u2")])
    rows["corners"] = corners
    path.write_bytes(bytes(80) + np.uint32(len(corners)).tobytes() + rows.tobytes())


def test_the_split_and_the_job_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (split,) = re.findall(r"```yaml\n(.*?)```", read("docs", "train.md"), re.DOTALL)
    Path("split.yaml").write_text(split)
    assert read_split(Path("split.yaml"))["train"] == ["chairs/", "lamps/0001", "tables/"]
    (job,) = re.findall(r"```bash\n(.*?)```", read("docs", "train.md"), re.DOTALL)
    words = shlex.split(job, comments=True)
    options = dict(word.split("=") for word in re.search("^#SBATCH (.*)$", job, re.MULTILINE)[1].split())
    flags = words[words.index("train") + 1 :]
    config = cli.parse("train", flags)
    assert (config.num_nodes, config.devices) == (int(options["--nodes"]), int(options["--ntasks-per-node"]))


def test_every_block_of_code_is_run_by_a_test():
    """Blocks without a name in this file and, of the server, in tests/serve/test_guide.py; the others in the
    tests of what they show: own networks, losses and baselines, Lightning, sweeps, trackers."""
    found = {
        page.name: sorted(
            re.findall(r"^```(python.*|bash|yaml|json)$", page.read_text("utf-8"), re.MULTILINE)
        )
        for page in [ROOT / "README.md", *DOCS]
    }
    assert {page: blocks for page, blocks in found.items() if blocks} == {
        "README.md": ["python"],
        "label.md": ["python"],
        "predict.md": ["python", "python"],
        "prepare.md": ["python"],
        "serve.md": ["json", "python"],
        "sweep.md": ["python sweep"],
        "train.md": ["bash", "python", "python baseline", "python lightning", "python loss", "python network",
                     "python network tests", "python tracker", "yaml"],
    }  # fmt: skip


def test_results_in_the_readme_are_those_of_the_page_on_accuracy():
    figures = re.findall(r"[\d.]+ %", "".join(re.findall(r"^\|.*\|$", read("README.md"), re.MULTILINE)))
    assert len(figures) >= 8
    assert set(figures) <= set(re.findall(r"[\d.]+ %", read("docs", "accuracy.md")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_figures_of_the_real_scans_say_that_five_are_left_out(page):
    text = page.read_text(encoding="utf-8")
    if re.search(r"\b62 (?:real |single-view )*scans", text):
        assert re.search(
            r"without APC|group APC, five|[Ff]ive more scans|five of a flat box left out|five of APC", text
        )


def test_the_number_of_families_is_told_right():
    told = [re.findall(r"(\d+) families", page.read_text(encoding="utf-8")) for page in PAGES]
    assert {number for page in told for number in page} == {str(len(FAMILIES))}
