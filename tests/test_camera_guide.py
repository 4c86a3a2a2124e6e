"""The commands of docs/from-camera-to-payload.md, run in their order on a made-up scene."""

import ast
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.geometry.rotations import random_rotation
from tests.helpers import table_scene as scene
from tests.helpers.depth_files import write_camera, write_depth, write_mask

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "from-camera-to-payload.md"


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The commands by their number in the page, where its files are; and the pose of the camera."""
    monkeypatch.chdir(tmp_path)
    depth, labels = scene.see_scene()
    write_depth(tmp_path / "depth.png", depth)
    write_camera(tmp_path / "camera.json", scene.CAMERA)
    write_mask(tmp_path / "mask.png", labels == scene.CAN)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = random_rotation(np.random.default_rng(2)), [0.1, 0.2, -0.3]
    (tmp_path / "flange.json").write_text(json.dumps(pose.tolist()))
    lines = re.findall(r"^    plumbline (.*)$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines], pose


def test_the_guide_leads_to_the_payload(commands, tmp_path, capsys):
    (look, table, load), pose = commands
    truth = scene.centre(scene.CAN_MIDDLE, scene.CAN_SIZE)
    radius = np.linalg.norm(scene.CAN_SIZE) / 2
    assert main(look) == 0
    assert "<canvas" in (tmp_path / "answer.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main([*table, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 2
    assert min(np.linalg.norm(line["com"] - truth) for line in found) < 0.25 * radius
    assert main(load) == 0
    call = re.fullmatch(r"set_target_payload\((.*)\)\n", capsys.readouterr().out)
    mass, com, moments = ast.literal_eval(f"[{call[1]}]")
    expected = pose[:3, :3] @ truth + pose[:3, 3]
    assert mass == 0.4
    assert np.linalg.norm(com - expected) < 0.25 * radius
    assert np.linalg.norm(com - truth) > radius, "the control: it is in the frame of the flange"
    across, along = scene.CAN_SIZE[0] / 2, scene.CAN_SIZE[2]
    trace = 0.4 * (across**2 / 2 + 2 * (across**2 / 4 + along**2 / 12))
    assert sum(moments[:3]) == pytest.approx(trace, rel=0.35)
