"""The recipes of CONTRIBUTING.md work as they stand there: each is carried out in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from plumbline.testing import ModelTests
from tests.helpers.training_fixtures import saved, write_seeded

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GEOMETRY = Path("src") / "plumbline" / "geometry"


def block(name: str) -> str:
    """The code of a recipe; its fence is marked ``python NAME``."""
    (code,) = re.findall(rf"```python {name}\n(.*?)```", CONTRIBUTING, re.DOTALL)
    return code


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that may be changed."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignored)
    return tmp_path


def run(copy: Path, *arguments: str) -> str:
    """What Python prints in the copy, where ``plumbline`` is the changed package."""
    env = os.environ | {"PYTHONPATH": str(copy / "src")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_solid(copy: Path) -> None:
    file = copy / GEOMETRY / "solids" / "toys.py"
    text = file.read_text(encoding="utf-8")
    start = text.index("FAMILIES: ")
    families = text[start:].rstrip().removesuffix(")").rstrip(", \n")
    file.write_text(f"{text[:start]}{block('solid')}\n\n{families}, top)\n", encoding="utf-8")
    check = """
import json
import numpy as np
from plumbline.geometry.surfaces import open_reason
from plumbline.geometry.solids import FAMILIES, make_solid
mesh = FAMILIES["top"](np.random.default_rng(0)).to_mesh64()
names = [make_solid(0, index).name for index in range(300)]
print(json.dumps([list(FAMILIES), open_reason(mesh.tri_verts.astype(int)), names]))
"""
    families_then, reason, names = json.loads(run(copy, "-c", check))
    assert "top" in families_then
    assert reason is None, "not a closed body"
    assert any(name.startswith("solids/top/") for name in names), "a seed never draws it"


def test_a_scan_format(copy: Path) -> None:
    file = copy / GEOMETRY / "clouds.py"
    text = file.read_text(encoding="utf-8")
    start = "_READERS = {\n"
    assert text.count(start) == 1
    changed = block("scan format") + "\n\n" + start + block("scan format line")
    file.write_text(text.replace(start, changed), encoding="utf-8")
    points = np.random.default_rng(0).standard_normal((100, 3)) * [0.1, 0.2, 0.3] + [0, 0, 2]
    scan = copy / "thing.pts"
    scan.write_text("100\n" + "\n".join(" ".join(map(repr, row)) for row in points.tolist()) + "\n")
    check = "import sys, plumbline; print(plumbline.read_cloud(sys.argv[1]).tolist())"
    assert json.loads(run(copy, "-c", check, str(scan))) == points.tolist()
    # Its suffix is looked for in folders, too.
    answer = json.loads(run(copy, "-m", "plumbline", "predict", str(copy), "--model", "point_mean", "--json"))
    assert answer["file"] == str(scan)
    np.testing.assert_allclose(answer["com"], points.mean(axis=0), rtol=0, atol=1e-6)


@pytest.fixture
def checkout(copy: Path) -> Path:
    """A copy of all that the tests look at."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("tests", "docs", "examples", "benchmarks", "pretrained"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ("pyproject.toml", "train_gnn_optimized.py", *(path.name for path in ROOT.glob("*.md"))):
        shutil.copy(ROOT / file, copy)
    return copy


def insert(file: Path, before: str, text: str) -> None:
    """Put a text in front of what stands in a file once."""
    content = file.read_text(encoding="utf-8")
    assert content.count(before) == 1, before
    file.write_text(content.replace(before, text + before), encoding="utf-8")


def run_tests(checkout: Path, *arguments: str) -> str:
    """The tests of the copy, as few of them as are named."""
    return run(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments)


WRITE_FLAGS = """
from pathlib import Path
from docs.build import flags_page
Path("docs/flags.md").write_text(flags_page(), encoding="utf-8")
"""
"""What ``make docs`` does, without the pictures."""


def test_a_model(checkout: Path, tmp_path: Path) -> None:
    models = checkout / "src" / "plumbline" / "models"
    (models / "voting.py").write_text(block("model"), encoding="utf-8")
    insert(models / "__init__.py", "}\n\nENSEMBLE", block("model line"))
    # Without the line in the tree and ``make docs`` the tests say what is missing.
    unlisted = "test_the_tree_in_the_design_equals_the_files"
    with pytest.raises(AssertionError):
        run_tests(checkout, "tests/test_architecture.py", "-k", unlisted)
    insert(checkout / "docs" / "design.md", "  payload/  ", "    voting.py    a weighted mean\n")
    run(checkout, "-c", WRITE_FLAGS)
    said = run_tests(checkout, "tests/models/test_models.py", "-k", "voting")
    suite = [name for name in dir(ModelTests) if name.startswith("test_")]
    assert int(re.findall(r"(\d+) passed", said)[0]) > len(suite), said
    run_tests(
        checkout, "tests/test_architecture.py", "tests/test_docs.py", "tests/models/test_model_flags.py",
        "tests/training/test_recipes.py", "-k",
        "what_the_source_says or layer or import or tree or flag_table or knows_every_network",
    )  # fmt: skip
    page = run(checkout, "-m", "plumbline", "train", "--model", "voting", "--help")
    assert re.search(r"model voting:\n\s+--reach X\s+factor of all distances \(default: 1\.0\)", page)
    data = write_seeded(tmp_path / "data")
    train = ("-m", "plumbline", "train", "--data_dir", str(data), "--max_epochs", "1", "--hidden_dim", "8")
    run(checkout, *train, "--model", "voting", "--reach", "0.5", "--checkpoint_dir", str(tmp_path / "run"))
    assert saved(tmp_path / "run" / "last.ckpt")["plumbline"]["model_args"]["reach"] == 0.5


def test_a_baseline(checkout: Path) -> None:
    file = checkout / "src" / "plumbline" / "predictors" / "untrained.py"
    heading = re.findall(r"^# -+ all baselines$", file.read_text(encoding="utf-8"), re.MULTILINE)
    insert(file, heading[0], block("baseline") + "\n\n")
    insert(file, "}\nUSUAL = ", block("baseline line"))
    named = ("tests/predictors/test_predictor.py", "tests/commands/test_predict.py", "tests/test_docs.py")
    chosen = "guess_can_be_named or guess_has_a_name or flag_table"
    with pytest.raises(AssertionError):
        run_tests(checkout, *named, "-k", chosen)
    (name,) = re.findall(r"its name, `(\w+)`", CONTRIBUTING)
    run(checkout, "-c", WRITE_FLAGS)
    assert "3 passed" in run_tests(checkout, *named, "-k", chosen)
    run_tests(checkout, "tests/predictors/test_untrained.py")
    points = np.random.default_rng(0).standard_normal((100, 3)) + [0, 0, 5]
    np.save(checkout / "scan.npy", points)
    coms = [
        json.loads(run(checkout, "-m", "plumbline", "predict", "scan.npy", "--json", "--model", model))["com"]
        for model in ("point_mean", "convex_hull", name)
    ]
    np.testing.assert_allclose(coms[2], np.mean(coms[:2], axis=0), atol=1e-6)


def test_a_flag(checkout: Path) -> None:
    package = checkout / "src" / "plumbline"
    name = block("flag").split(":")[0].strip()
    insert(package / "config" / "train.py", "    max_time: Duration", block("flag"))
    insert(package / "training" / "records.py", "    max_time: Duration", block("flag setting"))
    checks = ("tests/test_cli.py", "tests/test_docs.py", "tests/test_api.py")
    chosen = f"({name} and reaches) or committed_ones or flag_table or settings_are_the_flags"
    with pytest.raises(AssertionError):
        run_tests(checkout, *checks, "-k", chosen)
    (line,) = re.findall(rf"`(train {name} = .*?)`", CONTRIBUTING)
    insert(checkout / "tests" / "golden" / "flags.txt", "train max_time", line + "\n")
    run(checkout, "-c", WRITE_FLAGS)
    assert "4 passed" in run_tests(checkout, *checks, "-k", chosen)
    check = f"import plumbline; print(plumbline.train_settings({name}=7).{name})"
    assert run(checkout, "-c", check) == "7\n"
