"""What the package says of itself: its name, its version in one place, its types."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import plumbline

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXTS = [
    path
    for pattern in ("*.md", "docs/*.md", "examples/**/*", "src/**/*.py", "pyproject.toml", "Makefile")
    for path in sorted(ROOT.glob(pattern))
    if path.suffix in (".md", ".py", ".toml", "") and path.is_file()
]


def test_the_version_stands_in_one_place():
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "plumbline.__version__"}
    assert "\nversion:" not in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_version_is_read_without_importing_anything():
    """setuptools takes a plain assignment from the source; anything else it would have to import."""
    body = ast.parse((ROOT / "src" / "plumbline" / "__init__.py").read_text(encoding="utf-8")).body
    values = [
        ast.literal_eval(item.value)
        for item in body
        if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "__version__"
    ]
    assert values == [plumbline.__version__]


def test_the_changelog_has_the_version():
    heads = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heads[:2] == ["Unreleased", plumbline.__version__]


def test_types_reach_the_user():
    assert (ROOT / "src" / "plumbline" / "py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["plumbline"]


def test_what_is_no_python_is_packaged_too():
    """The script and the style sheet of a page, the shipped weights."""
    package = ROOT / "src" / "plumbline"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["plumbline"]
    packaged = {path for pattern in patterns for path in package.glob(pattern)}
    others = {
        path for path in package.rglob("*") if path.suffix in (".js", ".css", ".html", ".typed", ".ckpt")
    }
    assert packaged == others
    assert {path.name for path in packaged} >= {"viewer.js", "viewer.css", "py.typed"}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_is_told_to_install_another_project(path):
    """``plumbline`` on the public index belongs to somebody else, and ours need not be on an index."""
    told = re.findall(r"pip install[^\n`]*\bplumbline\b", path.read_text(encoding="utf-8"))
    assert told == []


def test_what_installs_an_extra_is_right_with_and_without_a_clone():
    """Packages are told by their names, and all of an extra: ``.[ros]`` works in a clone alone."""
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = {name: [re.match(r"[\w-]+", item)[0] for item in extras[name]] for name in ("ros", "serve")}
    told = {name: set() for name in wanted}
    for path in TEXTS:
        for line in re.findall(r"pip install ([^\n`)\"]*)", path.read_text(encoding="utf-8")):
            assert "[" not in line or path.name in ("Makefile", "fuzz.py"), (path.name, line)
            for name, packages in wanted.items():
                if packages[0] in line.split():
                    assert line.split() == packages, path.name
                    told[name].add(path.name)
    assert told["ros"] >= {"README.md", "predict.md", "bags.py"}
    assert told["serve"] >= {"README.md", "serve.md", "serve.py"}
