"""The commands of docs/finetune.md, run in their order on made-up scans."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import plumbline
from plumbline.cli import main
from tests.helpers.scanned import simulate, write_scan

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "finetune.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^    plumbline (.*)$", GUIDE, re.MULTILINE)]


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten labelled scans of five objects, and four of two others."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    (header,) = re.findall(r"^```text\n(file,.*)$", GUIDE, re.MULTILINE)
    for name, numbers in (("labels", range(5)), ("test", range(5, 7))):
        rows = [header]
        for number in numbers:
            for i, points in enumerate((300, 400)):
                scan = simulate(number, points)
                assert scan.com is not None
                path = write_scan(tmp_path / "scans" / f"{number}-{i}.npz", scan)
                rows.append(",".join([f"scans/{path.name}", f"object {number}", *map(str, scan.com)]))
        (tmp_path / f"{name}.csv").write_text("\n".join(rows), encoding="utf-8")


@pytest.mark.usefixtures("scans")
def test_the_guide_leads_to_a_model_of_the_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label, label_test, before, tune, after, simulated, mixed = COMMANDS
    for words in (label, label_test, before):
        assert main(words) == 0
    capsys.readouterr()
    assert main(tune) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "starts from pretrained, network 1 of 2: 90 tensors" in said
    assert "dropped" not in said, "the table kept its place"
    assert "radius_90 needs 9, novelty needs 99" in said
    assert main(after) == 0
    few = simulated[: simulated.index("--solids") + 1] + ["12"] + simulated[simulated.index("--solids") + 2 :]
    assert main(few) == 0
    capsys.readouterr()
    assert main(mixed) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "kept as they are" not in said, "simulated scans train the heads of volume and inertia"
    plain, stated = (plumbline.load_predictor(tmp_path / "runs" / name) for name in ("mine", "mixed"))
    scan = simulate(5)
    answers = [each.predict(scan.points, sensor=scan.sensor) for each in (plain, stated)]
    assert all(np.linalg.norm(answer.com - scan.com) < 0.3 * answer.extent for answer in answers)
    config = tmp_path / "runs" / "mine" / "config.yaml"
    assert main(["train", "--config", str(config), "--resume"]) == 0, "the guide says how"
    assert "`plumbline train --config runs/mine/config.yaml --resume`" in GUIDE
