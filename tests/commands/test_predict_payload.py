"""``plumbline predict --mass``: the payload, in another frame, in metres, and in every form."""

import io
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from plumbline.cli import main
from plumbline.geometry.clouds import load_cloud
from plumbline.geometry.rotations import random_rotation
from plumbline.payload.forms import FORMS, write
from plumbline.payload.frames import make_frame, read_frame
from plumbline.payload.record import Payload
from plumbline.predictors.prediction_table import ScanName, print_payloads
from plumbline.predictors.predictor import load_predictor
from tests.helpers import scanned
from tests.helpers.refusals import refused
from tests.helpers.scanned import simulate, write_scan

SHIPPED = ("--checkpoint", "pretrained")


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


@pytest.fixture
def file(tmp_path):
    return write_scan(tmp_path / "a scan.npz", simulate(3))


@pytest.fixture
def flange(tmp_path):
    matrix = np.eye(4)
    matrix[:3, :3] = random_rotation(np.random.default_rng(1))
    matrix[:3, 3] = [0.1, -0.2, 0.05]
    path = tmp_path / "T.json"
    path.write_text(json.dumps({"frame": "flange", "matrix": matrix.tolist()}))
    return path


def payload_in(line: dict) -> Payload:
    held = line["payload"]
    return Payload(
        held["mass"],
        np.array(held["com"]),
        np.array(held["inertia"]),
        np.array(held["covariance"]),
        frame=held.get("frame", ""),
    )


def test_the_mass_scales_the_inertia_and_density_gives_the_mass(ask, file):
    code, (line,), _ = ask(file, *SHIPPED, "--mass", 0.4)
    payload = payload_in(line)
    assert (code, payload.mass) == (0, 0.4)
    np.testing.assert_array_equal(payload.com, line["com"])
    np.testing.assert_array_equal(payload.covariance, line["covariance"])
    np.testing.assert_array_equal(payload.inertia, 0.4 * np.array(line["inertia"]))
    np.testing.assert_allclose(
        line["payload"]["inertia_at_origin"], payload.inertia_about(np.zeros(3)), rtol=1e-15
    )
    _, (line,), _ = ask(file, *SHIPPED, "--density", 700)
    assert line["payload"]["mass"] == 700 * line["volume"]
    assert line["notes"] == ["its coordinates are taken for metres; give --scale if they are not"]


def test_that_lengths_are_taken_for_metres_is_printed_once(file, capsys):
    assert main(["predict", *[str(file)] * 3, *SHIPPED, "--mass", "0.4"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "taken for metres" in line]
    assert lines == ["note: the coordinates of 3 scans are taken for metres; give --scale if they are not"]


def test_everything_moves_to_the_frame_of_the_flange(ask, file, flange):
    _, (here,), _ = ask(file, *SHIPPED, "--mass", 0.4)
    _, (there,), _ = ask(file, *SHIPPED, "--mass", 0.4, "--frame", flange)
    expected = payload_in(here).moved(read_frame(flange))
    found = payload_in(there)
    assert (there["frame"], found.frame) == ("flange", "flange")
    np.testing.assert_allclose(found.com, expected.com, atol=1e-12)
    np.testing.assert_allclose(found.inertia, expected.inertia, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-12)
    np.testing.assert_array_equal(there["com"], found.com)
    assert np.linalg.norm(found.com - payload_in(here).com) > 0.01, "the control"
    for same in ("radius_90", "volume", "points"):
        assert there[same] == here[same]


def test_a_scan_in_millimetres_has_the_payload_of_the_scan_in_metres(ask, tmp_path, file):
    with np.load(file) as held:
        points, sensor = held["points"], held["sensor"]
    small = tmp_path / "mm.npz"
    np.savez(small, points=1000 * points, sensor=1000 * sensor)
    _, (metres,), _ = ask(file, *SHIPPED, "--scale", 1, "--density", 700)
    _, (scaled,), _ = ask(small, *SHIPPED, "--scale", 0.001, "--density", 700)
    assert scaled["unit"] == "metres"
    assert "notes" not in scaled
    for name in ("com", "inertia", "inertia_at_origin", "covariance", "mass"):
        np.testing.assert_allclose(scaled["payload"][name], metres["payload"][name], rtol=1e-4)
    where = sensor if sensor.ndim == 1 else sensor[0]
    if (sensor == where).all():
        given = ",".join(map(repr, (1000 * where).tolist()))
        _, (again,), _ = ask(small, *SHIPPED, "--scale", 0.001, f"--sensor={given}")
        np.testing.assert_allclose(again["com"], scaled["com"], rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_printed_alone(ask, file, flange, form, capsys):
    _, (line,), _ = ask(file, *SHIPPED, "--mass", 0.4, "--frame", flange)
    words = ["predict", str(file), *SHIPPED, "--mass", "0.4", "--frame", str(flange), "--format", form]
    assert main(words) == 0
    assert capsys.readouterr().out == write(payload_in(line), form) + "\n"


def test_the_table_has_a_row_of_moments(file, flange, capsys):
    assert (
        main(["predict", str(file), *SHIPPED, "--mass", "0.4", "--frame", str(flange), "--scale", "1"]) == 0
    )
    out = capsys.readouterr().out
    assert "in metres, in the frame flange" in out
    assert "ixx" in out
    assert out.rstrip().endswith("payload: kg, and kg m2 about the centre of mass, in the frame flange")


@pytest.mark.parametrize(
    ("size", "moments"),
    [
        (1.0, ["0.088", "0.001", "0.000", "0.220", "0.000", "0.200"]),
        (1e-3, ["0.000000088", "0.000000001", "0.000000000", "0.000000220", "0.000000000", "0.000000200"]),
        (1e-4, ["8.79e-10", "6.00e-12", "0.00e+00", "2.20e-09", "0.00e+00", "2.00e-09"]),
    ],
)
def test_moments_have_the_decimals_of_the_largest(size, moments):
    """What is below a thousandth of it is rounding, and no zero is negative."""
    inertia = np.array([[0.0879, 6e-4, 0], [6e-4, 0.22, -3e-6], [0, -3e-6, 0.2]]) * size**2
    console = Console(width=200, file=io.StringIO())
    print_payloads(console, [ScanName(Path("a"))], [Payload(0.4, np.zeros(3), inertia)])
    assert console.file.getvalue().splitlines()[3].split()[2:] == moments


def test_a_model_without_inertia_has_mass_and_centre_alone(ask, file, capsys):
    code, (line,), _ = ask(file, "--model", "carve", "--mass", 2)
    assert code == 0
    assert line["payload"] == {"mass": 2.0, "com": line["com"]}
    assert main(["predict", str(file), "--model", "carve", "--mass", "2", "--format", "ur"]) == 0
    assert capsys.readouterr().out.startswith("set_target_payload(2.0, [")


@pytest.mark.parametrize(("words", "said"), [
    (["--mass", "2", "--format", "urdf"], "the inertia of this payload is not known"),
    (["--density", "700"], "this model predicts no volume, so a density gives no mass: give the mass"),
    (["--density", "700", "--json"], "this model predicts no volume"),
    (["--density", "700", "--format", "ur"], "this model predicts no volume"),
])  # fmt: skip
@pytest.mark.parametrize("model", ["carve", "gcn"])
def test_what_the_model_cannot_give_is_refused_before_anything_is_read(
    trained, model, words, said, capsys, monkeypatch
):
    monkeypatch.setattr("plumbline.commands.predict.read_scans", None)
    chosen = ("--model", model) if model == "carve" else ("--checkpoint", trained[model])
    assert said in refused(capsys, "predict", "nowhere.npz", *chosen, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mass", "0"], "--mass 0: must be above 0"),
        (["--mass", "1", "--density", "2"], "--mass and --density exclude each other"),
        (["--format", "urdf"], "--format urdf needs the mass"),
        (["--format", "urdv", "--mass", "1"], "did you mean urdf"),
        (["--format", "sdf", "--mass", "1", "--json"], "--format and --json exclude each other"),
        (["--frame", "nowhere.json"], "nowhere.json"),
        (["--scale", "0"], "--scale 0: must be above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(file, capsys, words, said):
    assert main(["predict", str(file), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("form", FORMS)
def test_several_payloads_stand_below_their_names(file, flange, tmp_path, capsys, form):
    """A name is one line of a comment, whatever is in it; a scan that is refused stops no other."""
    other = write_scan(tmp_path / "b -- c\nd.npz", simulate(2))
    (tmp_path / "bad.npz").write_bytes(b"no scan")
    words = [*SHIPPED, "--batch_size", "1", "--mass", "1", "--frame", str(flange), "--format", form]
    alone = []
    for one in (file, other):
        assert main(["predict", str(one), *words]) == 0
        alone.append(capsys.readouterr().out.rstrip("\n"))
    assert main(["predict", str(file), str(tmp_path / "bad.npz"), str(other), *words]) == 1
    out, err = capsys.readouterr()
    assert "error: " in err
    start, end = {"ur": ("# ", ""), "ros": ("# ", ""), "franka": ("// ", "")}.get(form, ("<!-- ", " -->"))
    dashes = "- -" if end else "--"
    names = [f"{start}{file}{end}", f"{start}{tmp_path}/b {dashes} c d.npz{end}"]
    between = "\n---\n" if form == "ros" else "\n\n"
    assert out == between.join(f"{name}\n{text}" for name, text in zip(names, alone, strict=True)) + "\n"


def test_a_lift_refines_the_prediction():
    """The mass is weighed, and the centre moves to the truth in all directions but that of gravity."""
    scan = simulate(3)
    prediction = load_predictor("pretrained").predict(scan.points, sensor=scan.sensor)
    gravity = np.array([[0, 0, 9.81], [9.81, 0, 0]])
    forces = 0.7 * gravity
    readings = np.concatenate([forces, np.cross(scan.com, forces)], axis=1)
    error = np.diag([0.01, 0.01, 0.01, 1e-5, 1e-5, 1e-5]) ** 2
    one, two = (prediction.update(readings[:n], gravity[:n], error) for n in (1, 2))
    missed = np.linalg.norm(prediction.com - scan.com)
    np.testing.assert_allclose(one.com[:2], scan.com[:2], atol=1e-4)
    np.testing.assert_allclose(two.com, scan.com, atol=1e-4)
    assert missed > 1e-3, "the control"
    assert two.mass == pytest.approx(0.7, abs=0.002)
    np.testing.assert_allclose(two.inertia, two.mass * prediction.inertia, rtol=1e-9)


@pytest.mark.parametrize(("form", "warned"), [("ur", True), ("franka", True), ("urdf", False)])
def test_a_payload_for_an_arm_without_a_frame_is_warned_of(tmp_path, capsys, form, warned):
    file = write_scan(tmp_path / "a.npz", simulate(0))
    (tmp_path / "T.json").write_text(json.dumps(np.eye(4).tolist()))
    for frame, expected in (([], warned), (["--frame", str(tmp_path / "T.json")], False)):
        assert main(["predict", str(file), "--mass", "1", "--format", form, *frame]) == 0
        assert ("the robot reads a payload in the frame of its flange" in capsys.readouterr().err) == expected


LENGTH = "m long if its lengths are in metres, which no payload is"


@pytest.fixture
def millimetres(tmp_path):
    scan = simulate(4)
    np.savez(tmp_path / "mm.npz", points=1000 * scan.points, sensor=1000 * scan.sensor)
    return tmp_path / "mm.npz"


@pytest.mark.parametrize("words", [("--mass", 0.4), ("--density", 700), ("--frame", "T.json")])
def test_a_size_that_no_payload_has_is_a_warning(ask, millimetres, flange, words, monkeypatch):
    """As of a scan in millimetres that is taken for metres; without a payload the unit does not matter."""
    monkeypatch.chdir(flange.parent)
    code, (line,), _ = ask(millimetres, *SHIPPED, *words)
    (warning,) = line["warnings"]
    assert LENGTH in warning
    assert "--scale is metres per unit, such as 0.001 for millimetres" in warning
    code, (line,), _ = ask(millimetres, *SHIPPED, *words, "--strict")
    assert code == 2
    assert line["error"] == f"{millimetres}: --strict refuses a scan with a warning: {warning}"
    for right in ((), (*words, "--scale", 0.001)):
        code, (line,), _ = ask(millimetres, *SHIPPED, *right, "--strict")
        assert (code, "warnings" in line) == (0, False)
    code, (line,), _ = ask(millimetres, *SHIPPED, *words, "--scale", 1e-7)
    assert LENGTH in line["warnings"][0]


def test_the_warning_is_printed_next_to_the_form(millimetres, capsys):
    words = ["predict", str(millimetres), *SHIPPED, "--mass", "0.4", "--format", "urdf"]
    assert main(words) == 0
    assert f"warning: {millimetres}: the object is" in capsys.readouterr().err
    assert main([*words, "--strict"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: {millimetres}: --strict refuses a scan with a warning: the object is" in err


def test_in_python_the_payload_has_the_warnings_of_the_prediction(millimetres):
    scan = load_cloud(millimetres)
    prediction = load_predictor("pretrained").predict(scan)
    assert prediction.warnings == ()
    (warning,) = prediction.payload(0.4).warnings
    assert LENGTH in warning
    doubted = replace(prediction, warnings=("flat",))
    frame = make_frame(np.eye(4))
    assert doubted.payload(density=7.0).moved(frame).warnings == ("flat", warning)
    assert doubted.moved(frame).payload(0.4).warnings == ("flat", warning)
    lifted = doubted.update(np.array([0, 0, -4.0, 0, 0, 0]), np.array([0, 0, -9.81]), np.eye(6))
    assert lifted.warnings == ("flat", warning)
