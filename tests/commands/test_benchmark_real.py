"""``plumbline benchmark --real``: columns by hand, the stated radius, vessels, parts, seeds, refusals."""

import json
import re
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

import plumbline
from plumbline.cli import main
from plumbline.data.split import mark_objects
from plumbline.data.store.reader import PackedStore
from plumbline.evaluation import real_benchmark
from plumbline.evaluation.grids import print_page
from plumbline.evaluation.real_benchmark import Method, benchmark_real
from plumbline.evaluation.real_tables import page
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import Calibration
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.predictor import Predictor
from plumbline.predictors.untrained import BASELINES
from tests.commands.test_benchmark import make_checkpoint
from tests.helpers.real_set import BOX, CRATE, HIGHER, TUB, RealFolder, Shot, kept, strays, three_scans
from tests.helpers.refusals import refused

FACTOR, EXPECTED = 1.5, 0.42


@pytest.fixture
def made(tmp_path) -> RealFolder:
    return three_scans(tmp_path / "real")


def run(real: RealFolder, *flags: object) -> int:
    return main([*map(str, words(real, *flags))])


def words(real: RealFolder, *flags: object) -> list[object]:
    return ["benchmark", "--real", real.path, "--out", real.path.parent / "out", *flags]


def result_of(real: RealFolder) -> dict:
    return json.loads((real.path.parent / "out" / "scancom-real.json").read_text())


def miss(points: np.ndarray, shot: Shot, truth: np.ndarray | None = None) -> float:
    return float(np.linalg.norm(points.mean(axis=0) - (shot.com if truth is None else truth)) / shot.radius)


class TestColumns:
    def test_are_those_computed_by_hand(self, made):
        """All points of so small a scan are used, so the mean of the points is known."""
        assert run(made) == 0
        result = result_of(made)
        box, crate, tub = (scan["miss"]["point mean"] for scan in result["scans"])
        whole, clean = miss(BOX.seen()[0], BOX), miss(kept(BOX), BOX)
        assert abs(whole - clean) > 0.02
        raw = miss(np.concatenate([kept(BOX), strays(BOX)]), BOX)
        assert box == pytest.approx([raw, clean, clean, whole], abs=1e-6)
        assert crate == pytest.approx([miss(CRATE.seen()[0], CRATE)] * 4, abs=1e-6)
        assert tub[:3] == pytest.approx([miss(kept(TUB), TUB)] * 3, abs=1e-6)
        # The camera's roll is not known, so that its pixels are others.
        assert tub[3] == pytest.approx(miss(TUB.seen()[0], TUB), abs=0.02)
        found = result["methods"]["point mean"]["all"]
        assert found["raw"]["mean"] == pytest.approx(np.mean([box[0], crate[0], tub[0]]))
        assert found["twin"]["median"] == pytest.approx(np.median([box[3], crate[3], tub[3]]))
        assert (found["scans"], found["objects"], found["raw"]["holds"]) == (3, 3, None)
        assert found["cleaned"]["low"] < found["cleaned"]["mean"] < found["cleaned"]["high"]

    def test_stray_points_cost_a_guess_from_the_hull_most(self, made):
        assert run(made) == 0
        raw, cleaned, oracle, twin = result_of(made)["scans"][0]["miss"]["hull pushed"]
        assert raw > 3 * cleaned
        assert cleaned == pytest.approx(oracle, abs=1e-9)
        assert twin != pytest.approx(oracle, abs=1e-3)

    def test_every_view_of_the_twin_has_its_own_sensor(self, made):
        """A second camera, far to the side of the first: its part of the twin is in its own cone."""
        points = kept(TUB)
        turn = Shot((1, 1, 1), 0.8, 0.0).pose[:3, :3]
        moved = TUB.com - turn @ TUB.com
        other = Shot(TUB.size)
        other.pose = TUB.pose.copy()
        other.pose[:3, :3], other.pose[:3, 3] = turn.T @ TUB.pose[:3, :3], turn.T @ (TUB.com - moved)
        second = other.seen()[0] @ turn.T + moved
        made.add(
            "two", TUB,
            {"points": np.concatenate([points, second]), "K": None,
             "sensor": np.concatenate([np.zeros_like(points), np.broadcast_to(moved, second.shape)])},
        )  # fmt: skip
        real = real_benchmark.RealSet(made.path)
        twin = real.load(real.scans[-1]).twin
        assert {tuple(place) for place in twin.sensor.round(9).tolist()} == {(0, 0, 0), tuple(moved.round(9))}
        for place, whole in ((np.zeros(3), TUB.seen()[0]), (moved, second)):
            mine = twin.points[np.abs(twin.sensor - place).max(axis=1) < 1e-9]
            assert len(mine) == pytest.approx(len(whole), rel=0.15)
            np.testing.assert_allclose(mine.mean(axis=0), whole.mean(axis=0), atol=2e-3)


class TestParts:
    def test_vessels_are_measured_against_solid_and_shell(self, made):
        assert run(made) == 0
        parts = result_of(made)["methods"]["point mean"]
        clean = kept(TUB)
        assert parts["vessels, solid truth"]["cleaned"]["mean"] == pytest.approx(miss(clean, TUB), abs=1e-6)
        shell = miss(clean, TUB, TUB.com + HIGHER)
        assert parts["vessels, shell truth"]["cleaned"]["mean"] == pytest.approx(shell, abs=1e-6)
        assert abs(shell - miss(clean, TUB)) > 0.01
        assert parts["without vessels"]["scans"] == 2
        assert parts["kind vessel"]["cleaned"]["low"] is None

    def test_are_groups_kinds_and_the_training(self, made):
        assert run(made, "--without", "yard") == 0
        parts = result_of(made)["methods"]["carve"]
        scans = {name: part["scans"] for name, part in parts.items()}
        assert scans == {
            "all": 3, "all but yard": 2, "group lab": 2, "group yard": 1, "kind box": 2, "kind vessel": 1,
            "in training": 1, "not in training": 2, "without vessels": 2, "vessels, solid truth": 1,
            "vessels, shell truth": 1,
        }  # fmt: skip


def stating(name: str = "known") -> Method:
    """A method that says the mean of the points, and states FACTOR * EXPECTED rms distances around it."""

    def answer(store):
        return Answers(np.zeros((len(store), 3)), np.full(len(store), EXPECTED))

    known = Calibration({"0.9": FACTOR})
    return Method(name, Predictor(name, "E(3)", GraphForm(), answer, calibration=known))


def test_the_stated_radius_holds_the_truths_that_lie_within(made, monkeypatch):
    methods = [stating(), Method("carve", Predictor.untrained("carve"))]
    monkeypatch.setattr(real_benchmark, "_methods", lambda *_: methods)
    result = benchmark_real(made.path, out=made.path.parent / "out").to_dict()

    def radius(points: np.ndarray, shot: Shot) -> float:
        rms = np.sqrt(np.square(points - points.mean(axis=0)).sum(axis=1).mean())
        return FACTOR * EXPECTED * rms / shot.radius

    clean = [(kept(BOX), BOX), (CRATE.seen()[0], CRATE), (kept(TUB), TUB)]
    radii = [radius(*one) for one in clean]
    held = [miss(*one) <= size for one, size in zip(clean, radii, strict=True)]
    assert 0 < sum(held) < 3, "the test is to see both"
    found = result["methods"]["known"]["all"]["cleaned"]
    assert found["holds"] == pytest.approx(np.mean(held))
    assert found["radius"] == pytest.approx(np.median(radii), abs=1e-6)
    stated = page(result).grids[2]
    assert stated.rows[0][0] == "known"
    assert len(stated.rows) == 1, "guesses state no radius"
    assert stated.rows[0][2] == f"{100 * np.mean(held):.1f} / {100 * np.median(radii):.1f}"


class TestModels:
    @pytest.fixture
    def store(self, tmp_path) -> PackedStore:
        plumbline.make_dataset(tmp_path / "data", solids=4, scan=plumbline.ScanSettings(samples=1), workers=1)
        return PackedStore.open(tmp_path / "data")

    def test_seeds_of_one_method_have_a_mean_and_objects_of_the_training_are_marked(
        self, made, store, tmp_path, capsys
    ):
        seen = mark_objects({"ycb/crate": CRATE.radius})
        make_checkpoint(tmp_path / "a" / "last.ckpt", store)
        make_checkpoint(tmp_path / "b" / "last.ckpt", store, seed=1)
        make_checkpoint(tmp_path / "c" / "last.ckpt", store, seed=2, objects=seen, fingerprint="other")
        make_checkpoint(tmp_path / "d" / "last.ckpt", store, seed=2, objects=None, fingerprint="old")
        assert run(made, "--checkpoint", *(tmp_path / name for name in "abcd")) == 0
        result, shown = result_of(made), capsys.readouterr().out
        assert [one["objects_seen"] for one in result["checkpoints"]] == [0, 0, 1, None]
        assert result["seeds"] == {"gcn (mean of 2)": ["gcn (a)", "gcn (b)"]}
        names = ["gcn (a)", "gcn (b)", "gcn (c)", "gcn (d)"]
        assert list(result["methods"]) == ["gcn (mean of 2)", *names, *BASELINES]
        one, other, mean = (
            result["methods"][name]["all"]["cleaned"] for name in (*names[:2], "gcn (mean of 2)")
        )
        assert one["mean"] != other["mean"]
        assert mean["mean"] == pytest.approx((one["mean"] + other["mean"]) / 2)
        assert mean["n"] == 6
        parts = [{name: part["scans"] for name, part in result["methods"][name].items()} for name in names]
        assert "in training" not in parts[0]
        assert (parts[2]["in training"], parts[2]["not in training"]) == (1, 2)
        (crate,) = (scan for scan in result["scans"] if scan["object"] == "crate")
        marked = result["methods"]["gcn (c)"]["in training"]["cleaned"]["mean"]
        assert marked == pytest.approx(crate["miss"]["gcn (c)"][1])
        assert parts[3]["in training"] == 1, "by the manifest"
        assert "gcn (c) was trained on 1 of these 3 objects" in shown
        assert "gcn (d): its checkpoint does not say" in shown


class TestShown:
    def test_terminal_and_markdown_show_the_figures(self, made, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "120")
        assert run(made, "--without", "yard") == 0
        shown, result = capsys.readouterr().out, result_of(made)
        written = (made.path.parent / "out" / "scancom-real.md").read_text()
        found = result["methods"]["carve"]["all"]
        cells = [f"{100 * found[c]['mean']:.1f} / {100 * found[c]['median']:.1f}" for c in ("raw", "cleaned")]
        assert re.search(rf"^carve +{cells[0]} +{cells[1]}", shown, re.MULTILINE)
        assert re.search(rf"^\| carve \| (\*\*)?{cells[0]}", written, re.MULTILINE)
        for text in (shown, written):
            assert "all: 3 scans of 3 objects" in text
            assert "all but yard: 2 scans of 2 objects" in text
            assert "vessels, shell truth" in text
        assert str(made.path.parent / "out" / "scancom-real.md") in shown

    def test_at_80_columns_every_column_is_shown_under_one_name(self, made):
        assert run(made) == 0
        result, stream = result_of(made), StringIO()
        print_page(Console(file=stream, width=80), page(result))
        shown = stream.getvalue()
        assert max(map(len, shown.splitlines())) <= 80
        found = result["methods"]["carve"]["all"]
        for column in real_benchmark.COLUMNS:
            assert f"{100 * found[column]['mean']:.1f} / {100 * found[column]['median']:.1f}" in shown
        words = " ".join(shown.split())
        for explained in ("oracle inliers: only", "simulated twin: what", "vessels: hollow", "in training:"):
            assert explained in words
        assert "shell truth" in words[words.index("vessels: hollow") :]

    def test_json_prints_json_and_nothing_else(self, made, capsys):
        assert run(made, "--json") == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out) == result_of(made)


class TestRefusals:
    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            (["--solids", 3], "leave out --solids"),
            (["--samples", 3], "leave out --samples"),
            (["--without", "attic"], "--without attic: there is no such group; the set has lab, yard"),
            (["--checkpoint", "none"], "there is no such file"),
        ],
    )
    def test_flags_that_do_not_fit(self, made, capsys, flags, said):
        assert said in refused(capsys, *words(made, *flags))

    def test_meshes_next_to_real_scans(self, made, capsys):
        assert main(["benchmark", str(made.path), "--real", str(made.path), "--out", "out"]) == 2
        assert "leave out MESHES" in capsys.readouterr().err

    def test_groups_without_real_scans(self, capsys):
        assert main(["benchmark", "--solids", "1", "--without", "APC", "--out", "out"]) == 2
        assert "give their folder with --real" in capsys.readouterr().err

    def test_no_manifest(self, made, capsys):
        (made.path / "manifest.csv").unlink()
        assert "has no manifest.csv" in refused(capsys, *words(made))
        made.path = made.path / "none"
        assert "is not a folder" in refused(capsys, *words(made))

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("hollow_vessel", "vessel", r"manifest.csv, line 1: no column hollow_vessel; add it"),
            ("scans/crate.npz", "scans/crat.npz", r"manifest.csv, line 3: no file .*crat.npz"),
            ("yard,1,no,no", "yard,1,no", r"line 3: more or fewer cells than the header"),
            ("yard,1,no,no", "yard,1,maybe,no", r"line 3: in_training_pool is 'maybe'; give yes or no"),
            ("yard,1,no,no", ",1,no,no", r"line 3: group is empty; fill the cell"),
            ("yard,1,no,no", "yard,1,no,yes", r"line 3: .*crate.npz: no array 'com_shell'"),
        ],
    )
    def test_a_manifest_with_mistakes(self, made, capsys, old, new, said):
        path = made.path / "manifest.csv"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        assert re.search(said, refused(capsys, *words(made)))

    def test_a_manifest_without_rows(self, made, capsys):
        made.rows = []
        made.write()
        assert "has no rows below its header" in refused(capsys, *words(made))

    @pytest.mark.parametrize(
        ("arrays", "said"),
        [
            ({"com": None}, "no array 'com'"),
            ({"com": np.zeros(2)}, r"com is float64 of shape \[2\]; give numbers \[3\]"),
            ({"com": np.full(3, np.nan)}, "com holds values that are not finite"),
            ({"pose": None}, "no array 'pose'"),
            ({"pose": np.diag([2.0, 2, 2, 1])}, "pose is no rigid motion"),
            ({"pose": np.linalg.inv(CRATE.pose)}, "the mesh, placed by pose, lies .* radii from com"),
            ({"mesh": None}, "no array 'mesh'"),
            (
                {"mesh": "meshes/none.off"},
                r"its reference mesh .*none.off does not exist; put it there: the path .* relative to",
            ),
            ({"points": None}, "no array 'points'"),
            ({"points": np.zeros((0, 3))}, "no points"),
            ({"sensor": np.zeros((7, 3))}, "positions of the sensor"),
            ({"bounding_radius": 0.0}, "bounding_radius 0; give metres above 0"),
            ({"points": CRATE.seen()[0] * 1.5}, "fewer than two points lie within 12 mm"),
            ({"K": np.eye(3)[::-1]}, "a camera matrix is"),
        ],
    )
    def test_a_scan_with_mistakes(self, made, capsys, arrays, said):
        whole = {"points": CRATE.seen()[0]}
        made.add("crate2", CRATE, {**whole, **arrays})
        error = refused(capsys, *words(made))
        assert re.search(said, error)
        assert "manifest.csv, line 5: " in error

    def test_a_damaged_scan(self, made, capsys):
        (made.path / "scans" / "crate.npz").write_bytes(b"PK nothing")
        error = refused(capsys, *words(made))
        assert re.search(r"manifest.csv, line 3: .*crate.npz cannot be read: it is damaged", error)

    def test_nowhere_to_write(self, made, capsys):
        (made.path.parent / "out").write_text("a file")
        assert "out is a file: give a folder" in refused(capsys, *words(made))

    def test_a_manifest_in_another_encoding(self, made, capsys):
        path = made.path / "manifest.csv"
        path.write_bytes(path.read_text().replace("yard", "Höfe").encode("cp1252"))
        error = refused(capsys, *words(made))
        assert "manifest.csv is not in UTF-8; save it as UTF-8" in error
        assert "codec" not in error
