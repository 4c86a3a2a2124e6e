"""What docs/serve.md shows works as it stands there."""

import json
import re
import shlex

import numpy as np
import pytest
import requests

from plumbline import load_predictor
from plumbline.config.serve import ServeConfig
from plumbline.geometry.ply_writing import write_ply
from tests.helpers import ROOT, table_scene
from tests.helpers.scanned import simulate
from tests.helpers.serving import serving, write_scene

GUIDE = (ROOT / "docs" / "serve.md").read_text("utf-8")
CURL = re.findall(r"^    curl (.*) http://127.0.0.1:8000(/\S+)$", GUIDE, re.MULTILINE)


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A server; the files that the guide names are in the current folder."""
    monkeypatch.chdir(tmp_path)
    scan = simulate(1)
    points = scan.points - scan.sensor[0]
    write_ply(tmp_path / "scan.ply", points, np.zeros((len(points), 3)))
    np.savetxt(tmp_path / "scan.xyz", 1000 * points)
    for name, path in write_scene(tmp_path).items():
        path.rename(tmp_path / {"intrinsics": "camera.json"}.get(name, f"{name}.png"))
    (tmp_path / "flange.json").write_text(json.dumps(np.eye(4).tolist()))
    (tmp_path / "points.json").write_text(*re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL))
    with serving(load_predictor()) as started:
        yield started


@pytest.mark.parametrize(("words", "path"), CURL)
def test_the_lines_of_curl_are_answered(client, tmp_path, words, path):
    flag, *given = shlex.split(words)
    if flag == "--json":
        content = (tmp_path / given[0].removeprefix("@")).read_bytes()
        answer = client.post(path, content=content, headers={"content-type": "application/json"})
    else:
        fields = dict(word.split("=", 1) for word in given if word != "-F")
        sent = {name: (value[1:], (tmp_path / value[1:]).read_bytes()) if value[0] == "@" else (None, value)
                for name, value in fields.items()}  # fmt: skip
        answer = client.post(path, files=sent)
    assert answer.status_code == 200, answer.text
    assert all("com" in line for line in answer.json())
    assert ("payload" in answer.json()[0]) == ("mass" in words or flag == "--json")
    if "mask" in words:
        assert [line["object"] for line in answer.json()] == [table_scene.BOX, table_scene.CAN]


def test_there_are_lines_of_curl():
    assert len(CURL) == 5


def test_the_lines_of_python_run(client, monkeypatch, capsys):
    monkeypatch.setattr(requests, "post", client.post)
    (lines,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    exec(lines, {})
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_the_defaults_of_the_limits_are_told():
    rows = dict(re.findall(r"^\| `--(\w+)` \| ([\d,]+) \|", GUIDE, re.MULTILINE))
    told = {name: float(value.replace(",", "")) for name, value in rows.items()}
    assert told == {name: getattr(ServeConfig(), name) for name in told}
    assert len(told) == 4
