"""The first use: an installed wheel, an empty folder, no network, no flags."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from plumbline.cli import main
from tests.helpers import ROOT, scanned
from tests.helpers.scanned import simulate, write_scan

OFFLINE = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise SystemExit(f"{event}: the network is used")

sys.addaudithook(refuse)
import plumbline
print(plumbline.__file__, file=sys.stderr)
from plumbline.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """What a wheel of this checkout installs."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    made = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True)
    if "project.license" in made.stderr or "No module named 'setuptools'" in made.stderr:
        pytest.skip("setuptools is too old to build this project")
    assert made.returncode == 0, made.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def write_ply(path: Path, points: np.ndarray) -> Path:
    head = f"ply\nformat ascii 1.0\nelement vertex {len(points)}\n"
    columns = "".join(f"property double {axis}\n" for axis in "xyz")
    rows = "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in points.tolist())
    path.write_text(f"{head}{columns}end_header\n{rows}")
    return path


def test_a_wheel_predicts_in_an_empty_folder_without_network(installed, tmp_path):
    scan = simulate(0)
    write_ply(tmp_path / "scan.ply", scan.points - scan.sensor[0])
    environment = {**os.environ, "PYTHONPATH": str(installed), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "predict", "scan.ply", "--json"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(installed) in done.stderr.splitlines()[0], "the wheel is what runs"
    line = json.loads(done.stdout)
    assert line["checkpoint"] == "pretrained"
    assert scan.bounding_radius is not None
    assert np.linalg.norm(line["com"] + scan.sensor[0] - scan.com) < 0.5 * scan.bounding_radius
    assert line["radius_90"] > line["expected_error"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["scan.ply"], "nothing is left behind"


def test_the_terminal_says_that_the_shipped_model_predicts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(write_scan(tmp_path / "a.npz", simulate(0)))]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("centre of mass by the shipped model (plumbline ")


def test_the_folder_checkpoints_takes_precedence(trained, ask, tmp_path, monkeypatch):
    file = write_scan(tmp_path / "a.npz", simulate(0))
    monkeypatch.chdir(tmp_path)
    _, (shipped,), _ = ask(file)
    (tmp_path / "checkpoints").symlink_to(trained["gcn"].parent)
    _, (own,), _ = ask(file)
    _, (named,), _ = ask(file, "--checkpoint", "pretrained")
    assert (shipped["model"], own["model"]) == ("ensemble", "gcn")
    assert named == shipped


def test_an_empty_folder_checkpoints_is_refused_and_the_shipped_model_named(
    ask, tmp_path, monkeypatch, capsys
):
    file = write_scan(tmp_path / "a.npz", simulate(0))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert main(["predict", str(file)]) == 2
    assert "or pretrained, the one that plumbline ships" in capsys.readouterr().err


def test_a_network_of_the_users_own_needs_a_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = write_scan(tmp_path / "a.npz", simulate(0))
    Path("mine.py").write_text("class Mine:\n    def __init__(self, *, input_dim: int): ...\n")
    assert main(["predict", str(file), "--model", "mine.py:Mine"]) == 2
    assert "--model mine.py:Mine is the network of a checkpoint" in capsys.readouterr().err


def test_an_evaluation_of_it_needs_a_folder_for_the_report(tmp_path, monkeypatch, capsys, tiny):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "pretrained", "--data_dir", str(tiny)]) == 2
    assert "--out is missing: the shipped model has no run folder" in capsys.readouterr().err


def test_no_training_is_resumed_from_it(tmp_path, capsys, tiny):
    from plumbline.predictors.find_checkpoint import SHIPPED

    flags = ["--recipe", "best", "--data_dir", str(tiny), "--checkpoint_dir", str(tmp_path / "run")]
    assert main(["train", *flags, "--resume", str(SHIPPED)]) == 2
    assert "has no state of a training, only a model to predict with" in capsys.readouterr().err
