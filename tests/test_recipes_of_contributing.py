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
    assert done.returncode == 0, done.stderr
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
from plumbline.geometry.meshes import open_reason
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
