"""The documentation says what is true: flags, defaults, commands and links."""

import re
import shlex
from pathlib import Path

import pytest

from docs.build import flags_page
from plumbline import cli
from plumbline.config.train import TrainConfig
from plumbline.geometry.solids import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(
    r"^ +(?:\.venv/bin/)?(?:python )?((?:plumbline|train_gnn_optimized\.py)(?: .*)?)$", re.MULTILINE
)


def commands() -> list[list[str]]:
    """Every command line of the README's indented blocks that calls the program."""
    lines = COMMAND.findall(README.replace("\\\n", " ").replace(".venv/bin/python", "python"))
    return [shlex.split(line, comments=True) for line in lines if not line.endswith("program: a few lines")]


def test_the_flag_table_is_what_the_program_says():
    assert (ROOT / "docs" / "flags.md").read_text(encoding="utf-8") == flags_page(), "run make docs"


def test_the_readme_shows_every_verb():
    shown = {words[1] if words[0] == "plumbline" else "train" for words in commands()}
    assert shown == set(cli.VERBS)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_of_the_readme_are_understood(words):
    verb, *flags = words[1:] if words[0] == "plumbline" else ["train", *words[1:]]
    cli.parse(verb, flags)


def test_defaults_in_the_readme_are_the_defaults():
    defaults = TrainConfig()
    rows = re.findall(r"^\| (`--.*?) \| (.*?) \|", README, re.MULTILINE)
    assert len(rows) >= 8
    for names, shown in rows:
        values = [value.strip(" `") for value in shown.split(",")]
        flags = re.findall(r"--(\w+)", names)
        if len(values) < len(flags):
            values += [""] * (len(flags) - len(values))
        for flag, value in zip(flags, values, strict=True):
            default = getattr(defaults, flag)
            if value in ("", "off"):
                continue
            assert str(default) == value or float(value) == default, flag


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_number_of_families_is_told_right():
    assert re.findall(r"(\d+) families", README) == [str(len(FAMILIES))]
