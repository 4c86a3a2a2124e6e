"""No bound and no pin allows a release that is known to be malicious. ``make audit`` looks up all others."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.helpers import ROOT

MALICIOUS = {"lightning": ["2.6.2", "2.6.3"], "pytorch-lightning": ["2.6.2", "2.6.3"]}


@pytest.mark.parametrize("name", MALICIOUS)
def test_no_malicious_release_can_be_installed(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (wanted,) = [each for text in project["dependencies"] if (each := Requirement(text)).name == name]
    (pin,) = re.findall(rf"(?m)^{name}==(\S+)", (ROOT / "constraints.txt").read_text("utf-8"))
    assert wanted.specifier.contains(pin)
    for version in MALICIOUS[name]:
        assert not wanted.specifier.contains(version)
        assert pin != version
