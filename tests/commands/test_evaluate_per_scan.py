"""``plumbline evaluate --per_scan``: a row for each scan."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.data.pt.cache import open_data
from plumbline.data.pt.samples import write_pt
from plumbline.errors import InputError
from plumbline.evaluation import evaluate as evaluation
from plumbline.evaluation.evaluate import evaluate
from plumbline.predictors.calibration import Calibration
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.inference import answers_for
from tests.helpers.training_fixtures import random_samples, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("factors", [{"0.9": 2.5}, {}])
def test_every_scan_has_its_prediction_its_truth_and_its_errors(
    trained: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    factors: dict[str, float],
) -> None:
    knowing = replace(load_checkpoint(trained["ept"]), calibration=Calibration(factors))
    monkeypatch.setattr(evaluation, "load_checkpoint", lambda path, model: knowing)
    store = open_data(knowing.data.data_dir)
    found = answers_for(knowing.model, store, np.arange(len(store)))
    com, expected = found.com, found.expected_error
    assert expected is not None
    error = np.linalg.norm(com - store.target, axis=1)
    file = tmp_path / "scans.csv"
    words = ["evaluate", str(trained["ept"]), "--split", "all", "--out", str(tmp_path)]
    assert main([*words, "--per_scan", str(file)]) == 0
    assert f"scans    {file}" in capsys.readouterr().out
    assert np.ptp(store.scale) > 0 < np.ptp(store.origin)
    lengths = {
        "error": error,
        "expected_error": expected,
        **({"radius_90": 2.5 * expected} if factors else {}),
    }
    metres = {name: values * store.scale for name, values in lengths.items()}
    world = {
        name: [store.origin[i] + store.scale[i] * points[i] for i in range(len(store))]
        for name, points in (("prediction", com), ("truth", store.target))
    }
    wanted = {
        "graph": np.arange(len(store)),
        **{f"prediction_{axis}": com[:, i] for i, axis in enumerate("xyz")},
        **{f"truth_{axis}": store.target[:, i] for i, axis in enumerate("xyz")},
        **lengths,
        "error_rel": error / store.bounding_radius,
        **{f"{name}_{axis}_m": np.array(world[name])[:, i] for name in world for i, axis in enumerate("xyz")},
        **{f"{name}_m": values for name, values in metres.items()},
    }
    rows = rows_of(file)
    assert list(rows[0]) == ["graph", "object", *list(wanted)[1:]]
    for name, values in wanted.items():
        assert [float(row[name]) for row in rows] == pytest.approx(values.tolist(), rel=1e-5), name
    assert [row["object"] for row in rows] == [store.object_names[i] for i in store.object_idx]
    lines = tmp_path / "scans.jsonl"
    assert main([*words, "--json", "--per_scan", str(lines)]) == 0
    told = json.loads(capsys.readouterr().out)["methods"]["ept"]["error"]["mean"]
    plain = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [{name: str(value) for name, value in row.items()} for row in plain] == rows
    assert np.mean([row["error"] for row in plain]) == pytest.approx(told, rel=1e-12)


def test_samples_in_files_are_named(tmp_path: Path) -> None:
    """Two files are rejected; the others keep their names."""
    data = tmp_path / "data"
    data.mkdir()
    for number, sample in enumerate(random_samples(6, 2)):
        write_pt(data / f"a{number:02d}_sample{number % 2}.pt", replace(sample, object_name=None))
    (data / "a01_sample9.pt").write_bytes(b"broken")
    (data / "a03_sample1.pt").write_bytes(b"broken")
    assert train(data, tmp_path / "run", max_epochs=1).code == 0
    evaluate(tmp_path / "run", per_scan=tmp_path / "scans.csv")
    rows = rows_of(tmp_path / "scans.csv")
    store = open_data(data)
    assert 0 < len(rows) < len(store)
    for row in rows:
        assert row["file"].partition("_")[0] == row["object"]
        assert float(row["truth_x"]) == store.target[int(row["graph"]), 0]
    assert {"graph", "object", "file", "error", "error_rel"} < set(rows[0])
    assert not any(name.endswith("_m") for name in rows[0])
    assert "expected_error" not in rows[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scans.txt", "its name must end in .csv or .jsonl"),
        ("scans", "its name must end in .csv or .jsonl"),
        ("no/such/scans.csv", "there is no folder"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        evaluate(tmp_path / "no checkpoint", per_scan=tmp_path / name)
