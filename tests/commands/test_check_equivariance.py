"""``plumbline check --equivariance``: a checkpoint's symmetry, from raw points to the answer."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from plumbline.cli import main
from plumbline.console.check_report import print_equivariance
from plumbline.evaluation import equivariance
from plumbline.evaluation.equivariance import KEPT, LIMITS, MOVES, Deviation, keeps, measure, standard_scans
from plumbline.predictors.checkpoint import load_checkpoint
from tests.helpers.refusals import refused
from tests.helpers.training_fixtures import saved


@pytest.fixture
def few(monkeypatch):
    """Fewer scans, for speed: from one view and from three."""
    monkeypatch.setattr(equivariance, "SCANS", 4)


def check(capsys, *args) -> tuple[int, dict]:
    capsys.readouterr()
    code = main(["check", "--json", "--equivariance", *map(str, args)])
    return code, json.loads(capsys.readouterr().out)


def test_an_equivariant_checkpoint_keeps_what_it_declares(trained, capsys, few):
    code, report = check(capsys, trained["ept"])
    assert code == 0
    assert (report["ok"], report["declares"], report["model"], report["scans"]) == (True, "E(3)", "ept", 4)
    assert tuple(report["moves"]) == MOVES
    for kind, found in report["moves"].items():
        assert found["declared"], kind
        assert 0 <= found["float32"]["mean"] <= found["float32"]["largest"] <= 1e-5, kind
        assert 0 <= found["float64"]["mean"] <= found["float64"]["largest"] <= 1e-9, kind
    assert report["moves"]["together"]["float32"]["largest"] > 1e-12, "something was measured"


def test_the_gcn_declares_nothing_and_its_figure_is_shown(trained, capsys, few):
    code, report = check(capsys, trained["gcn"].parent)
    assert (code, report["ok"], report["declares"]) == (0, True, "none")
    assert not any(found["declared"] for found in report["moves"].values())
    for kind in ("rotation", "mirror", "together"):
        assert report["moves"][kind]["float64"]["mean"] > 1e-3, kind
    assert report["moves"]["translation"]["float64"]["largest"] < 1e-9


@pytest.mark.parametrize("width", [20, 50, 60, 120])
def test_no_terminal_is_too_narrow_for_numbers_and_verdicts(width):
    moves = {
        kind: {"declared": True, **{name: {"mean": 1.2e-3, "largest": 4.5e-3} for name in LIMITS}}
        for kind in MOVES
    }
    report = {"limits": LIMITS, "declares": "E(3)", "model": "gcn", "checkpoint": "a", "moves": moves}
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    print_equivariance(console, {**report, "scans": 4, "ok": False}, "it keeps still")
    shown = stream.getvalue()
    assert shown.count("BROKEN") == len(MOVES)
    assert shown.count("4.5e-03") == 2 * len(MOVES)
    assert shown.count("1.2e-03") == 2 * len(MOVES)
    assert "…" not in shown
    assert console.width == width


@pytest.mark.parametrize("symmetry", ["E(3)", "SE(3)", "translation"])
def test_a_model_that_declares_what_it_does_not_keep(trained, capsys, few, monkeypatch, symmetry):
    monkeypatch.setattr("plumbline.models.gcn.GCN.symmetry", symmetry)
    code, report = check(capsys, trained["gcn"])
    assert code == (0 if symmetry == "translation" else 1)
    assert report["ok"] == (symmetry == "translation")
    assert report["moves"]["mirror"]["declared"] == (symmetry == "E(3)")
    main(["check", "--equivariance", str(trained["gcn"])])
    out = capsys.readouterr().out
    assert out.count("BROKEN") == {"E(3)": 3, "SE(3)": 2, "translation": 0}[symmetry]
    assert ("The model breaks the symmetry that it declares." in out) == (symmetry != "translation")


def test_a_feature_that_does_not_turn_along_is_found(trained, few, monkeypatch):
    """The chain from raw points is what is measured: one wrong column breaks it."""
    loaded = load_checkpoint(trained["ept"])
    build = equivariance.GraphForm.sample

    def skewed(self, scan, name, dtype=np.float32):
        sample = build(self, scan, name, dtype)
        column = self.feature_names.index("normal_x")
        sample.node_features[:, column] = np.abs(sample.node_features[:, column])
        return sample

    monkeypatch.setattr(equivariance.GraphForm, "sample", skewed)
    found = measure(loaded)
    assert not keeps("E(3)", found)
    assert found["rotation"]["float64"].largest > 1e-6
    assert found["translation"]["float64"].largest < 1e-9


def test_limits_and_names():
    exact = {kind: {name: Deviation(0.0, limit) for name, limit in LIMITS.items()} for kind in MOVES}
    assert all(keeps(symmetry, exact) for symmetry in KEPT)
    for precision in LIMITS:
        for kind in MOVES:
            beyond = {**exact, kind: {**exact[kind], precision: Deviation(0.0, 1.01 * LIMITS[precision])}}
            assert [s for s in KEPT if not keeps(s, beyond)] == [s for s in KEPT if kind in KEPT[s]]
            broken = {**exact, kind: {**exact[kind], precision: Deviation(0.0, float("nan"))}}
            assert [s for s in KEPT if not keeps(s, broken)] == [s for s in KEPT if kind in KEPT[s]]


def test_the_scans_are_always_the_same_and_of_one_and_three_views(few):
    scans = standard_scans()
    assert [len(np.unique(scan.view)) for scan in scans] == [1, 3, 1, 3]
    for one, two in zip(scans, standard_scans(), strict=True):
        np.testing.assert_array_equal(one.points, two.points)


def test_the_model_is_left_as_it_was(trained, few):
    loaded = load_checkpoint(trained["ept"])
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    measure(loaded)
    after = loaded.model.state_dict()
    assert all(
        after[name].dtype == value.dtype and after[name].equal(value) for name, value in before.items()
    )


def test_the_table(trained, capsys, few):
    assert main(["check", "--equivariance", str(trained["ept"])]) == 0
    out = capsys.readouterr().out
    assert "declares E(3): the answer moves, turns and mirrors with the object" in out
    rows = [line for line in out.splitlines() if line.endswith("kept")]
    assert [row.split("  ")[0].strip() for row in rows] == list(MOVES)
    assert "The model keeps the symmetry that it declares." in out


def test_refusals(trained, tmp_path, capsys):
    import torch

    assert "there is no such file or folder" in refused(
        capsys, "check", "--equivariance", tmp_path / "none.ckpt"
    )
    assert "--equivariance tests a checkpoint only" in refused(
        capsys, "check", "--equivariance", trained["ept"], "--deep"
    )
    assert "--equivariance tests a checkpoint only" in refused(
        capsys, "check", "--equivariance", trained["ept"], tmp_path
    )
    assert "needs a value after it" in refused(capsys, "check", "--equivariance")
    content = saved(trained["gcn"])
    content["state_dict"]["model.head.6.bias"][:] = float("nan")
    torch.save(content, tmp_path / "broken.ckpt")
    assert "are not finite; its training diverged" in refused(
        capsys, "check", "--equivariance", tmp_path / "broken.ckpt"
    )
