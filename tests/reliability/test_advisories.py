"""No version that is pinned, allowed or installed is one of those that are known to be unsafe."""

import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from training_fixtures import ROOT

ADVISORIES = json.loads((Path(__file__).parent / "advisories.json").read_text(encoding="utf-8"))
PAIRS = [
    (package, affected, item["id"])
    for item in ADVISORIES
    for package in item["packages"]
    for affected in item["affected"]
]


def pins(text: str) -> dict[str, Version]:
    """Name to version of a constraints file."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return {canonicalize_name(name): Version(pin) for name, _, pin in (x.partition("==") for x in lines if x)}


def bounds(project: dict[str, Any]) -> list[Requirement]:
    """Everything that ``pyproject.toml`` asks for: to build, to run, and by extras."""
    extras = project["project"]["optional-dependencies"].values()
    groups = [project["build-system"]["requires"], project["project"]["dependencies"], *extras]
    return [Requirement(text) for group in groups for text in group]


def affected_pins(found: dict[str, Version]) -> list[str]:
    return [
        f"{package} {found[package]}: {identifier}"
        for package, affected, identifier in PAIRS
        if package in found and SpecifierSet(affected).contains(found[package], prereleases=True)
    ]


def affected_bounds(requirements: list[Requirement]) -> list[str]:
    """Requirements that some affected version meets; if one does, so does one that a bound is about."""
    found = []
    for requirement in requirements:
        for package, affected, identifier in PAIRS:
            if canonicalize_name(requirement.name) != package:
                continue
            both = SpecifierSet(affected) & requirement.specifier
            named = ["0", *(item.version.removesuffix(".*") for item in both)]
            named += [f"{text}.0.0.1" for text in named]  # the next after one that is excluded
            if any(both.contains(candidate, prereleases=True) for candidate in named):
                found.append(f"{requirement}: {identifier}")
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_list_is_well_formed() -> None:
    for item in ADVISORIES:
        assert set(item) - {"source"} == {"id", "packages", "affected", "fixed", "recorded", "what"}
        assert item.get("source", "https://").startswith("https://")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", item["recorded"])
        assert item["packages"] == [canonicalize_name(package) for package in item["packages"]]
        for affected in item["affected"]:
            assert not SpecifierSet(affected).contains(item["fixed"])


def test_no_pin_is_affected(project: dict[str, Any]) -> None:
    found = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert {canonicalize_name(item.name) for item in bounds(project)} - {
        "setuptools",
        "plumbline-com",
    } <= set(found)
    assert affected_pins(found) == []


def test_no_bound_allows_an_affected_version(project: dict[str, Any]) -> None:
    assert affected_bounds(bounds(project)) == []


def test_no_installed_version_is_affected(project: dict[str, Any]) -> None:
    found = {}
    for package in {package for package, _, _ in PAIRS}:
        try:
            found[package] = Version(version(package))
        except PackageNotFoundError:
            continue
    # The installer's own tool is no part of the program, and never builds anything in its environment.
    found.pop("setuptools", None)
    assert {"torch", "lightning", "pytorch-lightning"} <= set(found)
    assert affected_pins(found) == []


@pytest.mark.parametrize(
    ("pin", "identifier"),
    [
        ("lightning==2.6.2", "GHSA-w37p-236h-pfx3"),
        ("pytorch_lightning==2.6.3", "GHSA-w37p-236h-pfx3"),
        ("lightning==2.6.5", "CVE-2026-58659"),
        ("torch==2.9.1+cpu", "CVE-2026-24747"),
        ("lxml==6.0.4", "CVE-2026-41066"),
        ("urllib3==2.6.2", "CVE-2026-21441"),
    ],
)
def test_an_affected_pin_is_noticed(pin: str, identifier: str) -> None:
    assert any(identifier in line for line in affected_pins(pins(f"# pinned\n{pin}  # so\nrich==15.0.0\n")))


@pytest.mark.parametrize(
    "bound",
    ["lightning>=2.6", "lightning>=2.6.5,<3", "lightning", "pytorch-lightning!=2.6.2", "torch>=2.9",
     "lxml>=5", "lightning==2.6.*", "pytorch_lightning~=2.6.1", "protobuf>6.30,<6.31"],
)  # fmt: skip
def test_a_bound_that_allows_an_affected_version_is_noticed(bound: str) -> None:
    assert affected_bounds([Requirement(bound)]) != []


@pytest.mark.parametrize("bound", ["lightning>=2.6.6,<3", "torch>=2.10", "fonttools<4.33", "protobuf>=6.32"])
def test_a_bound_that_allows_none_is_not(bound: str) -> None:
    assert affected_bounds([Requirement(bound)]) == []
