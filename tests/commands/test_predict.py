"""``plumbline predict``: the answers of models for files, each in its own frame and unit."""

import csv
import io
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from plumbline.cli import VERBS, main, parse
from plumbline.commands import predict as command
from plumbline.config.predict import PredictConfig
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError
from plumbline.geometry.carving import convex_hull
from plumbline.geometry.graphs import LEADERS, build_sample
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.sampling import thin_scan
from plumbline.geometry.scan_files import list_scans
from plumbline.predictors.looking import draw
from plumbline.predictors.prediction import Prediction
from plumbline.predictors.prediction_table import ScanName, print_predictions
from plumbline.predictors.predictor import UNTRAINED, load_predictor
from plumbline.predictors.untrained import BASELINES
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Scan
from tests.helpers import scanned
from tests.helpers.scanned import K, box_points, simulate, write_scan

CARVE = ("--model", "carve")


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


def moved(scan: Scan, turn, shift, factor: float) -> Scan:
    return Scan(
        factor * scan.points @ turn.T + shift, factor * scan.sensor @ turn.T + shift, scan.view, None, None
    )


# ------------------------------------------------------------------------------------------ right answers


@pytest.mark.parametrize("model", ["gcn", "ept"])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_answers_are_those_of_the_same_scans_in_a_data_set(trained, ask, tmp_path, model, batch_size):
    from plumbline.predictors.checkpoint import load_checkpoint
    from plumbline.predictors.inference import predict

    scans = [simulate(number) for number in range(7)]
    files = [write_scan(tmp_path / f"{number}.npz", scan) for number, scan in enumerate(scans)]
    samples = []
    for scan in scans:
        thin = thin_scan(scan, 120, sampling="farthest", rng=np.random.default_rng(0))
        samples.append(
            build_sample(thin, k=K, edge_attr="none", sh_degree=0, normalise="unit", object_name="a")
        )
    write_store(
        tmp_path / "store", samples, feature_names=FEATURE_NAMES, vector_names=VECTOR_NAMES, leaders=LEADERS,
        k=K, normalise="unit",
    )  # fmt: skip
    store = PackedStore.open(tmp_path / "store")
    stored = predict(load_checkpoint(trained[model]).model, store, np.arange(7))
    wanted = store.origin + store.scale[:, None] * stored
    code, lines, err = ask(
        *files, "--checkpoint", trained[model], "--points", 120, "--draws", 1, "--batch_size", batch_size
    )
    assert (code, err) == (0, "")
    com = np.array([line["com"] for line in lines])
    assert np.abs(com - wanted).max() < 1e-6 * store.scale.min()
    assert np.abs(com - store.origin).max() > 1e-4 * store.scale.min(), "the network was asked"
    assert [line["file"] for line in lines] == [str(file) for file in files]
    for line, scan in zip(lines, scans, strict=True):
        assert line["points"] == len(scan.points)
        assert line["points_used"] == 120
        assert line["views"] == len(np.unique(scan.view))
        assert (line["model"], line["checkpoint"]) == (model, str(trained[model]))
        assert (line["unit"], line["sensor"]) == ("as in the file", "from the file")
        assert ("expected_error" in line) == (model == "ept")


@pytest.mark.parametrize("name", ["convex_hull", "point_mean", "carve"])
def test_untrained_answers_are_those_of_the_points(ask, tmp_path, name):
    scan = simulate(1, points=400)
    code, (line,), _ = ask(write_scan(tmp_path / "a.npz", scan), "--model", name)
    if name == "carve":
        sample = build_sample(scan, k=4, edge_attr="none", sh_degree=0, normalise="none", object_name="a")
        wanted = scan.points.mean(axis=0) + sample.vectors[VECTOR_NAMES.index("carve")]
    else:
        wanted = scan.points.mean(axis=0) if name == "point_mean" else convex_hull(scan.points).centre
    assert code == 0
    np.testing.assert_allclose(line["com"], wanted, atol=1e-5 * np.ptp(scan.points))
    assert line["model"] == name
    assert "checkpoint" not in line


@pytest.mark.parametrize("name", ["point_mean", "bounding_box", "convex_hull"])
def test_the_centre_of_a_box_that_is_seen_from_all_sides(ask, tmp_path, name):
    """Every point is used, so symmetry says what each of these answers is, wherever the box stands."""
    shifts = np.array([[0.0, 0.0, 0.0], [3.0, -5.0, 11.0], [-250.0, 40.0, 7.0]])
    files = [tmp_path / f"{number}.npz" for number in range(3)]
    for file, shift in zip(files, shifts, strict=True):
        np.savez(file, points=box_points() + shift, sensor=shift + [0, 0, 4])
    code, lines, _ = ask(*files, "--model", name, "--points", 10_000)
    assert code == 0
    found = np.array([line["com"] for line in lines])
    assert np.abs(found - shifts).max() < 1e-6, "positions are float32 in units of the scan's size"
    assert {line["points_used"] for line in lines} == {len(box_points())}


@pytest.mark.parametrize("model", ["ept", "carve", "hull_pushed", "gcn"])
def test_the_answer_moves_with_the_file(trained, ask, tmp_path, model):
    scan, rng = simulate(4, points=600), np.random.default_rng(3)
    turn, shift, factor = random_rotation(rng) @ np.diag([1, -1, 1]), np.array([30.0, -7, 900]), 1000.0
    chosen = ("--model", model) if model not in trained else ("--checkpoint", trained[model])
    _, (here, there), _ = ask(
        write_scan(tmp_path / "metres.npz", scan),
        write_scan(tmp_path / "millimetres.npz", moved(scan, turn, shift, factor)),
        *chosen,
    )
    gap = np.linalg.norm(np.array(there["com"]) - (factor * turn @ here["com"] + shift))
    gap /= factor * scan.bounding_radius
    assert gap > 1e-3 if model == "gcn" else gap < 1e-5
    if model == "ept":
        assert there["expected_error"] == pytest.approx(factor * here["expected_error"], rel=1e-4)
        assert 0 < here["expected_error"] < 2 * scan.bounding_radius


def test_several_draws_are_averaged(trained, ask, tmp_path):
    scans = [simulate(1, points=500), simulate(2, points=60), simulate(3, points=300)]
    files = [write_scan(tmp_path / f"{i}.npz", scan) for i, scan in enumerate(scans)]
    predictor = load_predictor(trained["ept"])
    _, lines, _ = ask(*files, "--checkpoint", trained["ept"], "--points", 120, "--draws", 3)
    for line, scan in zip(lines, scans, strict=True):
        thin = [draw(scan, 120, number) for number in range(3 if len(scan.points) > 120 else 1)]
        found = predictor.locate([predictor.form.sample(some, "a") for some in thin])
        np.testing.assert_allclose(line["com"], found.com.mean(axis=0), atol=1e-6 * np.ptp(scan.points))
        assert line["expected_error"] == pytest.approx(found.expected_error.mean(), rel=1e-5)
    single = ask(*files, "--checkpoint", trained["ept"], "--points", 120, "--draws", 1)[1]
    apart = [np.abs(np.subtract(a["com"], b["com"])).max() for a, b in zip(lines, single, strict=True)]
    assert apart[0] > 1e-6 < apart[2]
    assert apart[1] < 1e-7, "a scan with fewer points has one choice"


def test_a_hundred_files_alone_and_together(trained, ask, tmp_path):
    rng = np.random.default_rng(0)
    files, scans = [], []
    for number in range(100):
        scans.append(moved(simulate(number % 5), random_rotation(rng), 50 * rng.normal(size=3), 2.0))
        files.append(write_scan(tmp_path / f"{number:03d}.npz", scans[-1]))
    _, together, _ = ask(tmp_path, "--checkpoint", trained["ept"], "--points", 64)
    assert [line["file"] for line in together] == [str(file) for file in files]
    for line, scan in zip(together, scans, strict=True):
        gap = np.linalg.norm(line["com"] - scan.points.mean(axis=0))
        assert gap < np.ptp(scan.points), "each answer is near its own object"
    for number in (0, 63, 64, 99):
        _, (alone,), _ = ask(files[number], "--checkpoint", trained["ept"], "--points", 64)
        np.testing.assert_allclose(alone["com"], together[number]["com"], rtol=1e-6, atol=1e-5)
    assert ask(tmp_path, "--checkpoint", trained["ept"], "--points", 64)[1] == together, "no chance in it"


def test_the_sensor_matters_and_comes_from_where_it_is_said(ask, tmp_path):
    scan = simulate(3)
    whole = write_scan(tmp_path / "whole.npz", scan)
    one, far = scan.sensor[0], scan.sensor[0] - 9
    np.savez(tmp_path / "three.npz", points=scan.points, sensor=one)
    np.savez(
        tmp_path / "rows.npz", points=scan.points, sensor_positions=np.stack([far, one]),
        view=np.ones(len(scan.points), np.uint8),
    )  # fmt: skip
    np.save(tmp_path / "bare.npy", scan.points)
    np.savetxt(tmp_path / "bare.xyz", scan.points)
    others = [tmp_path / name for name in ("three.npz", "rows.npz")]
    bare = [tmp_path / "bare.npy", tmp_path / "bare.xyz"]
    text = ",".join(map(repr, one.tolist()))
    _, (first, *same), err = ask(whole, *others, *CARVE)
    assert err == ""
    assert [line["com"] for line in same] == [first["com"]] * 2
    code, given, err = ask(*bare, *CARVE, "--sensor", text)
    assert (code, err) == (0, "")
    for line in given:
        np.testing.assert_allclose(line["com"], first["com"], atol=1e-9)
        assert line["sensor"] == "given"
    code, (assumed, _), err = ask(*bare, *CARVE, "--sensor", ",".join(map(repr, far.tolist())))
    assert np.linalg.norm(np.subtract(assumed["com"], first["com"])) > 1e-3
    code, inside, _ = ask(*bare, *CARVE)
    assert code == 2, "the origin lies among the points"
    assert all("0,0,0" in line["error"] for line in inside)
    np.save(bare[0], scan.points - one)
    np.savetxt(bare[1], scan.points - one)
    code, assumed, err = ask(*bare, *CARVE)
    assert (code, [line["sensor"] for line in assumed]) == (0, ["assumed at the origin"] * 2)
    np.testing.assert_allclose(assumed[0]["com"] + one, first["com"], atol=1e-6)
    assert err.count("\n") == 1
    assert (
        "2 scans do not say where the sensor stood: it is assumed at 0,0,0, the origin of the frame of each"
        in err
    )


def test_two_views_are_counted(ask, tmp_path):
    scan = simulate(2)
    assert len(np.unique(scan.view)) == 3
    _, (line,), _ = ask(write_scan(tmp_path / "a.npz", scan), *CARVE)
    assert line["views"] == 3


def test_the_best_checkpoint_of_a_folder_is_the_default(trained, ask, tmp_path, monkeypatch):
    file = write_scan(tmp_path / "a.npz", simulate(0))
    _, (named,), _ = ask(file, "--checkpoint", trained["gcn"])
    _, (folder,), _ = ask(file, "--checkpoint", trained["gcn"].parent)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").symlink_to(trained["gcn"].parent)
    _, (default,), _ = ask(file)
    assert named["com"] == folder["com"] == default["com"]
    assert Path(default["checkpoint"]).name == trained["gcn"].name


# -------------------------------------------------------------------------------------------------- output


def test_the_table_is_calm_and_names_its_columns(trained, tmp_path, capsys):
    folder = tmp_path / "Möbel [bold] 木"
    folder.mkdir()
    scan = simulate(2)
    write_scan(folder / "stück.npz", scan)
    write_scan(folder / "zwei.npz", moved(scan, np.eye(3), np.array([5e5, 0, 0]), 1000))
    assert main(["predict", str(folder), "--checkpoint", str(trained["ept"]), "--points", "100"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    head, _, first, second, _, said = out.splitlines()
    assert head.split("  ")[0].startswith("file")
    assert head.split()[1:4] == ["x", "y", "z"]
    assert "expected error" in head
    assert str(folder / "stück.npz") in first
    assert "100 of 300" in first
    assert first.split()[-4:] == ["3", "from", "the", "file"]
    assert abs(float(second.split(".npz")[1].split()[0]) - 5e5) < 5e3
    assert said == f"centres of mass by ept ({trained['ept']}), in the frame and unit of each file"
    assert main(["predict", str(folder), *CARVE]) == 0
    out = capsys.readouterr().out
    assert "expected error" not in out
    assert "carve, untrained" in out


def narrow_table(width: int) -> tuple[str, list[str]]:
    """A table of two predictions on a terminal, and the numbers of its rows."""
    answer = Prediction(
        np.array([-0.2154, -0.1057, -0.0318]), expected_error=0.0174, radius_90=0.0301, extent=0.9,
        num_points=3000, num_points_used=512, left_out=0.016, num_views=3, sensor="given",
    )  # fmt: skip
    files = [ScanName(Path(f"scans/of a room/{name}.npz")) for name in "ab"]
    console = Console(width=width, force_terminal=True, color_system=None, file=io.StringIO())
    print_predictions(console, files, [answer, answer], load_predictor("carve"))
    return console.file.getvalue(), ["-0.2154", "-0.1057", "-0.0318", "0.0174", "0.0301"]


DROPPED = {
    "views": " 3 ",
    "sensor": "given",
    "points": "512 of 3,000",
    "left out": "1.6 %",
    "90 % within": "0.0301",
}
"""Cells of the columns in the order in which these give way; how far off the answer may be never does."""


@pytest.mark.parametrize(
    ("width", "lost"), [(140, 0), (110, 0), (105, 1), (95, 2), (80, 3), (70, 4), (62, 5)]
)
def test_a_narrow_terminal_drops_columns_but_no_name_and_says_so(width, lost):
    shown, numbers = narrow_table(width)
    assert [name for name, cell in DROPPED.items() if shown.count(cell) != 2] == list(DROPPED)[:lost]
    head = shown.partition("\n───")[0]
    assert {"file", "x", "y", "z", "expected", "error"} <= set(head.split())
    assert max(map(len, head.splitlines())) <= width
    for name in "ab":
        assert f"{name}.npz" in shown
    assert all(shown.count(number) == 2 for number in numbers[:4])
    said = " ".join(" ".join(shown.splitlines()[-2:]).split())
    if lost:
        names = ", ".join(list(DROPPED)[:lost])
        assert said.endswith(f"the terminal is too narrow for {names}: widen it, or use --json")
    else:
        assert "too narrow" not in shown


@pytest.mark.parametrize("width", [40, 30, 12])
def test_where_no_table_fits_every_answer_has_lines_of_its_own(width):
    shown, numbers = narrow_table(width)
    for name in "ab":
        assert f"scans/of a room/{name}.npz" in shown.splitlines()
    assert all(shown.count(f"{number}\n") + shown.count(f"{number}  ") == 2 for number in numbers)
    assert "too narrow" not in shown


def test_out_holds_the_lines_of_json(ask, tmp_path, capsys):
    files = [write_scan(tmp_path / f"{n} ü.npz", simulate(n)) for n in range(2)] + [tmp_path / "gone.npz"]
    code, lines, _ = ask(*files, *CARVE, "--out", tmp_path / "answers.jsonl")
    assert code == 1
    written = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert list(map(json.loads, written)) == lines
    assert [line["file"] for line in lines] == list(map(str, files))
    assert not list(tmp_path.glob(".*"))


def test_folders_are_searched_for_scans_and_texts_are_named(tmp_path):
    for name in ("b/two.PLY", "one.npz", "notes.txt", "labels.csv", ".hidden.npy", "mesh.off"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_scans([tmp_path / "notes.txt", tmp_path])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["notes.txt", "b/two.PLY", "one.npz"]


def test_negative_positions_may_follow_a_blank(ask, tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(1).normal(size=(30, 3)))
    for words in (["--sensor", "-9,0,0"], ["--sensor=-9,0,0"]):
        code, (line,), _ = ask(tmp_path / "a.npy", *CARVE, *words)
        assert (code, line["sensor"]) == (0, "given")
    assert parse("predict", ["--sensor", " -9, 0,1e-3"]).sensor == (-9, 0, 1e-3)
    for words in ("9", "1,2,3,4", "1,2,inf", "1,2,x"):
        with pytest.raises(InputError, match="write three numbers"):
            parse("predict", ["--sensor", words])


def test_every_untrained_guess_can_be_named():
    assert set(UNTRAINED) == {name.replace(" ", "_") for name in BASELINES}
    assert set(PredictConfig.options()["model"].kind.choices) == set(UNTRAINED)
    assert VERBS["predict"].summary == PredictConfig.__doc__
    assert "uniform density" in VERBS["predict"].summary


@pytest.mark.parametrize(
    ("chosen", "absent"), [(CARVE, {"torch", "lightning"}), (("--checkpoint", ""), {"lightning"})]
)
def test_nothing_large_is_imported_in_vain(trained, tmp_path, chosen, absent):
    file = write_scan(tmp_path / "a.npz", simulate(0))
    words = ["predict", str(file), *(word or str(trained["ept"]) for word in chosen)]
    code = (
        f"import sys; from plumbline.cli import main; main({words!r}); "
        f"print(sorted({absent | {'trimesh', 'matplotlib'}!r} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert result.stdout.splitlines()[-1] == "[]"


# --------------------------------------------------------------------------------------------- real scans


def test_real_scans_are_answered_in_their_frame(ask, shared_meshes):
    folder = shared_meshes / "real_scans"
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(io.StringIO(file.read())))
    lines = []
    for row in rows:  # the laser looked along -z from far away, the camera stood at the origin
        far = ("--sensor", "0,0.1,1") if row["object"] == "bunny" else ()
        code, (line,), _ = ask(folder / row["scan"], "--model", "hull_pushed", *far)
        lines.append(line)
        assert code == 0
    misses = [
        np.linalg.norm(np.subtract(line["com"], [float(row[f"com_{axis}"]) for axis in "xyz"]))
        / float(row["bounding_radius"])
        for line, row in zip(lines, rows, strict=True)
    ]
    assert np.mean(misses) < 0.3


def test_many_files_are_read_in_several_processes(tmp_path, monkeypatch):
    """The rows are those of one process, in the order of the files, with a sentence for each bad one."""
    for number in range(9):
        write_scan(tmp_path / f"{number}.npz", simulate(number))
    (tmp_path / "5.npz").write_bytes(b"nothing")
    asked = []
    for files, cores in ((64, 8), (4, 2)):
        monkeypatch.setattr(command, "_FILES_PER_WORKER", files)
        monkeypatch.setattr(command, "num_cores", lambda cores=cores: cores)
        asked.append((command.num_workers(9), tmp_path / f"{files}.jsonl"))
        assert main(["predict", str(tmp_path), "--out", str(asked[-1][1]), "--model", "carve"]) == 1
    assert [workers for workers, _ in asked] == [1, 2]
    one, two = ([json.loads(line) for line in out.read_text().splitlines()] for _, out in asked)
    assert [line["file"] for line in two] == [line["file"] for line in one]
    assert "error" in two[5]
    assert two[5] == one[5]
    for here, there in zip(one[:5] + one[6:], two[:5] + two[6:], strict=True):
        np.testing.assert_allclose(here["com"], there["com"], atol=1e-9)


def test_a_process_is_started_for_64_files_each(monkeypatch):
    monkeypatch.setattr(command, "num_cores", lambda: 8)
    assert [command.num_workers(files) for files in (1, 127, 128, 256, 1000)] == [1, 1, 2, 4, 8]
