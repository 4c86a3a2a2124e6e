"""The scripts in examples/ run as they stand, in a folder of their own, and do what their page says."""

import ast
import json
import re
import runpy
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plumbline.cli import main
from tests.helpers import ROOT
from tests.helpers.processes import running

SCRIPT = ROOT / "examples" / "from_meshes_to_a_prediction.py"
SAMPLE = ROOT / "examples" / "sample"
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


def commands(page: str) -> list[list[str]]:
    """The commands of the program on a page that take the sample's depth image."""
    lines = re.findall(
        r"^    plumbline (.*--depth depth.png.*)$", (ROOT / page).read_text("utf-8"), re.MULTILINE
    )
    return [shlex.split(line) for line in lines]


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """A copy of the sample as the current folder; the true centre of mass, as the page states it."""
    shutil.copytree(SAMPLE, tmp_path / "sample")
    monkeypatch.chdir(tmp_path / "sample")
    (told,) = re.findall(r"at \((.*)\) metres", (ROOT / "examples" / "README.md").read_text("utf-8"))
    return [float(word) for word in told.split(",")]


def test_the_sample_is_small_and_is_what_its_script_makes(sample):
    made = runpy.run_path(str(ROOT / "examples" / "make_sample.py"))["make"]()
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 60_000
    np.testing.assert_allclose(made.com, sample, atol=6e-5)
    for name, array in (("depth", made.depth), ("mask", made.mask)):
        stored = np.asarray(Image.open(SAMPLE / f"{name}.png"))
        assert (stored.dtype, stored.shape) == (array.dtype, array.shape)
        assert np.abs(stored.astype(int) - array).mean() < 0.01, "rounding may differ between machines"
    assert json.loads((SAMPLE / "camera.json").read_text("utf-8")) == made.camera
    np.testing.assert_allclose(
        json.loads((SAMPLE / "flange.json").read_text("utf-8")), made.flange, atol=2e-6
    )


@pytest.mark.parametrize("page", ["README.md", "examples/README.md", "docs/from-camera-to-payload.md"])
def test_the_commands_of_the_page_find_the_centre_of_the_sample(page, sample, capsys):
    first, *others = commands(page)
    assert main([*first, "--json"]) == 0
    (found,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert np.linalg.norm(np.subtract(found["com"], sample)) < found["radius_90"]
    assert "warnings" not in found
    flange = np.array(json.loads(Path("flange.json").read_text("utf-8")))
    in_flange = flange[:3, :3] @ sample + flange[:3, 3]
    for words in others:
        assert main(words) == 0
        out = capsys.readouterr().out
        if "ur" in words:
            mass, com, _ = ast.literal_eval(f"[{out.strip().removeprefix('set_target_payload(')[:-1]}]")
            assert mass == 0.4
            assert np.linalg.norm(com - in_flange) < found["radius_90"]
    assert any("ur" in words for words in others) == (page != "examples/README.md")


def test_what_the_page_says_of_the_sample(sample, capsys):
    assert main([*commands("examples/README.md")[0], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    page = (ROOT / "examples" / "README.md").read_text("utf-8")
    (told,) = re.findall(r"prediction is (\d+) mm away; the stated 90 % radius is (\d+) mm", page)
    lengths = (np.linalg.norm(np.subtract(found["com"], sample)), found["radius_90"])
    assert [int(word) for word in told] == [round(1000 * length) for length in lengths]


def test_the_page_lists_every_example() -> None:
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"python examples/(\w+\.py)", page))
    assert named == {path.name for path in (ROOT / "examples").glob("*.py")}
