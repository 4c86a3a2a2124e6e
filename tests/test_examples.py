"""The scripts in examples/ run as they stand, in a folder of their own, and do what their page says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import ROOT
from tests.helpers.processes import running

SCRIPT = ROOT / "examples" / "from_meshes_to_a_prediction.py"
REST = """
import json, runpy, sys
names = runpy.run_path(sys.argv[1], run_name="__main__")
print(json.dumps({
    "com": names["prediction"].com.tolist(),
    "guess": names["guess"].com.tolist(),
    "truth": names["truth"].tolist(),
    "radius_90": names["prediction"].radius_90,
    "bounding_radius": names["bracket"].bounding_radius,
    "rejected": [item.source for item in names["made"].rejected],
    "model": names["evaluation"].table.errors["ept"].error_rel.mean(),
    "point_mean": names["evaluation"].table.errors["point mean"].error_rel.mean(),
}))
"""


@pytest.mark.slow
def test_from_meshes_to_a_prediction(tmp_path: Path) -> None:
    with running("-c", REST, str(SCRIPT), cwd=tmp_path) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0, printed
    lines = printed.splitlines()
    found = json.loads(lines[-1])
    assert found["rejected"] == []
    for name in ("com", "guess"):
        # The sensor sees the bracket, so even the mean of its points is less than a radius away.
        assert np.linalg.norm(np.subtract(found[name], found["truth"])) < 0.5 * found["bounding_radius"]
    assert 0 < found["radius_90"] < 2 * found["bounding_radius"]
    assert 0 < found["model"] < found["point_mean"], "the training has learned nothing"

    assert lines[0].startswith("preparing 3 meshes, 200 built-in solids in example/data")
    assert "812 scans of 203 objects, 0 meshes rejected" in lines
    assert sum(line.startswith("epoch ") for line in lines) == 10
    shown = re.search(r"^predicted \[(.*)\], true \[(.*)\]$", printed, re.MULTILINE)
    assert shown, printed
    for text, name in zip(shown.groups(), ("com", "truth"), strict=True):
        np.testing.assert_allclose([float(word) for word in text.split()], found[name], atol=6e-5)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["example"]
    folder = tmp_path / "example"
    meshes = sorted(path.name for path in (folder / "meshes").iterdir())
    assert meshes == ["bracket.off", "slab.off", "wedge.off"]
    for name in ("data/manifest.json", "run/last.ckpt", "run/metrics.csv", "run/report.html", "scan.xyz"):
        assert (folder / name).stat().st_size > 0
    best = re.search(r"^finished; the best model is (.*)$", printed, re.MULTILINE)
    assert best, printed
    assert (tmp_path / best[1]).is_file()
    assert json.loads((folder / "run" / "evaluation.json").read_text(encoding="utf-8"))["split"] == "val"


def test_the_page_lists_every_example() -> None:
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"python examples/(\w+\.py)", page))
    assert named == {path.name for path in (ROOT / "examples").glob("*.py")}
