"""The commands of docs/finetune.md, run in their order on made-up scans."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

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
def test_the_guide_leads_to_a_model_of_the_camera(capsys: pytest.CaptureFixture[str]) -> None:
    label, label_test, before, simulated, tune, after, predict = COMMANDS
    for words in (label, label_test, before):
        assert main(words) == 0
    few = simulated.index("--solids") + 1
    assert main([*simulated[:few], "12", *simulated[few + 1 :]]) == 0
    capsys.readouterr()
    assert main(tune) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "starts from pretrained, network 1 of 2: 90 tensors" in said
    assert "dropped" not in said, "the table has a place"
    assert "kept as they are" not in said, "simulated scans train the heads of volume and inertia"
    assert "novelty needs 99" in said
    assert main(after) == 0
    capsys.readouterr()
    assert main([*predict, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["file"]).name for line in lines] == [f"{n}-{i}.npz" for n in range(7) for i in range(2)]
    for number, line in enumerate(lines):
        scan = simulate(number // 2)
        assert np.linalg.norm(np.array(line["com"]) - scan.com) < 0.5 * scan.bounding_radius
    assert main(["train", "--config", "runs/mine/config.yaml", "--resume"]) == 0
