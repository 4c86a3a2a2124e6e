"""``plumbline inertia``: exact for closed meshes and bodies with densities, predicted for open ones."""

import json

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.geometry.meshes import load_mesh
from plumbline.geometry.ply_writing import write_ply
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rotations import random_rotation
from plumbline.geometry.scans import scan_around
from plumbline.payload.forms import FORMS, write
from plumbline.payload.frames import make_frame
from plumbline.payload.record import Payload
from tests.helpers.preparing import BOX_FACES, write_off

SIZE = np.array([0.2, 0.1, 0.06])
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)
SHIFT = np.array([0.3, -0.2, 0.1])


@pytest.fixture
def ask(capsys):
    def run(*words: object) -> tuple[int, list[dict], str]:
        capsys.readouterr()
        code = main(["inertia", *map(str, words), "--json"])
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


@pytest.fixture
def box(tmp_path):
    path = tmp_path / "a box.off"
    write_off(path, CORNERS * SIZE + SHIFT)
    return path


@pytest.fixture
def open_box(tmp_path):
    path = tmp_path / "open.off"
    write_off(path, CORNERS * SIZE + SHIFT, BOX_FACES[:-1])
    return path


def box_inertia(mass: float, size: np.ndarray) -> np.ndarray:
    squares = size**2
    return mass / 12 * np.diag(squares.sum() - squares)


def test_a_closed_mesh_is_exact(ask, box):
    code, (line,), err = ask(box, "--mass", 0.4)
    payload = line["payload"]
    assert (code, err, line["exact"], payload["mass"]) == (0, "", True, 0.4)
    np.testing.assert_allclose(payload["com"], SHIFT + SIZE / 2, atol=1e-12)
    np.testing.assert_allclose(payload["inertia"], box_inertia(0.4, SIZE), atol=1e-14)
    assert line["volume"] == pytest.approx(SIZE.prod(), rel=1e-12)
    _, (line,), _ = ask(box, "--density", 700, "--scale", 0.5)
    assert line["payload"]["mass"] == pytest.approx(700 * SIZE.prod() / 8, rel=1e-12)
    np.testing.assert_allclose(line["payload"]["com"], (SHIFT + SIZE / 2) / 2, atol=1e-12)


def test_bodies_have_densities_of_their_own(ask, tmp_path):
    """A rod of two halves, one of which is four times as dense."""
    faces = [[corner + 1 for corner in face] for face in BOX_FACES]
    lines = []
    for number, name in enumerate(("light", "heavy")):
        corners = CORNERS * SIZE + number * np.array([SIZE[0], 0, 0])
        lines += [f"o {name}", *("v " + " ".join(map(str, corner)) for corner in corners)]
        lines += ["f " + " ".join(str(corner + 8 * number) for corner in face) for face in faces]
    mesh, table = tmp_path / "rod.obj", tmp_path / "d.csv"
    mesh.write_text("\n".join(lines) + "\n")
    table.write_text("body,density\nlight,500\nheavy,2000\n")
    _, (line,), _ = ask(mesh, "--densities", table)
    light, heavy = 500 * SIZE.prod(), 2000 * SIZE.prod()
    payload = line["payload"]
    assert payload["mass"] == pytest.approx(light + heavy, rel=1e-12)
    com = (light * 0.5 + heavy * 1.5) / (light + heavy) * SIZE[0]
    np.testing.assert_allclose(payload["com"], [com, *SIZE[1:] / 2], atol=1e-12)
    away = np.array([0.5, 1.5]) * SIZE[0] - com
    moved = light * away[0] ** 2 + heavy * away[1] ** 2
    expected = box_inertia(light + heavy, SIZE) + np.diag([0, moved, moved])
    np.testing.assert_allclose(payload["inertia"], expected, atol=1e-14)
    table.write_text("body,density\nlight,500\n")
    code, lines, _ = ask(mesh, "--densities", table)
    assert (code, lines) == (2, [])


def test_an_open_mesh_is_predicted_and_said_to_be(ask, open_box, capsys):
    code, (line,), _ = ask(open_box, "--mass", 0.4)
    assert (code, line["exact"]) == (0, False)
    off = np.linalg.norm(np.subtract(line["payload"]["com"], SHIFT + SIZE / 2))
    assert off < line["radius_90"] < 0.02
    assert 1 / 1.6 < line["volume"] / SIZE.prod() < 1.6
    truth = box_inertia(0.4, SIZE)
    assert np.linalg.norm(line["payload"]["inertia"] - truth) < 0.25 * np.linalg.norm(truth)
    (said,) = line["remarks"]
    assert "open at" in said
    assert said.endswith("so this is predicted from scans of its surface, and not exact")
    assert main(["inertia", str(open_box), "--mass", "0.4"]) == 0
    out, err = capsys.readouterr()
    assert "+- " in out
    assert err == f"warning: {open_box}: {said.removeprefix('warning: ')}\n"


def test_the_inside_is_not_seen_through_a_hole(open_box):
    """Every point is seen from the outer side of its face; a mesh turned inside out gives the same points."""
    surface = load_mesh(open_box, name="a", target="shell")
    scan = scan_around(surface, Caster(surface.vertices, surface.faces), 500)
    local = (scan.points - SHIFT) / SIZE
    side = np.abs(local - 0.5).argmax(axis=1)
    outward = np.sign(local - 0.5)[np.arange(len(local)), side]
    towards = (scan.sensor - scan.points)[np.arange(len(local)), side]
    assert (outward * towards > 0).all()
    assert len(np.unique(scan.view)) == 4
    inverted = scan_around(surface, Caster(surface.vertices, surface.faces[:, ::-1]), 500)
    np.testing.assert_array_equal(inverted.points, scan.points)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_printed_in_the_frame(box, tmp_path, capsys, form):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = random_rotation(np.random.default_rng(1)), [0.1, 0.2, 0.3]
    (tmp_path / "T.json").write_text(json.dumps(matrix.tolist()))
    solid = load_mesh(box, name="a")
    expected = Payload(0.4, solid.com, 0.4 * solid.inertia).moved(make_frame(matrix, "T"))
    words = ["inertia", str(box), "--mass", "0.4", "--frame", str(tmp_path / "T.json"), "--format", form]
    assert main(words) == 0
    assert capsys.readouterr().out == write(expected, form) + "\n"


@pytest.mark.parametrize(("form", "warned"), [("ur", True), ("franka", True), ("urdf", False)])
def test_a_payload_for_an_arm_without_a_frame_is_warned_of(box, tmp_path, capsys, form, warned):
    (tmp_path / "T.json").write_text(json.dumps(np.eye(4).tolist()))
    said = (
        f"warning: --format {form}: the robot reads a payload in the frame of its flange, and this one is in "
        "the frame of the mesh; give --frame with the motion from the mesh to the flange"
    )
    for frame, expected in (([], warned), (["--frame", str(tmp_path / "T.json")], False)):
        assert main(["inertia", str(box), "--mass", "1", "--format", form, *frame]) == 0
        assert (said in capsys.readouterr().err.splitlines()) == expected


def test_several_payloads_stand_below_their_names(box, tmp_path, capsys):
    payload = write(Payload(1, load_mesh(box, name="a").com, load_mesh(box, name="a").inertia), "urdf")
    words = [box, tmp_path / "none.stl", box, "--mass", 1, "--format", "urdf"]
    assert main(["inertia", *map(str, words)]) == 1
    out, err = capsys.readouterr()
    assert out == "\n\n".join([f"<!-- {box} -->\n{payload}"] * 2) + "\n"
    assert err.startswith("error: ")
    assert main(["inertia", str(tmp_path / "none.stl"), "--mass", "1", "--format", "urdf"]) == 2
    assert capsys.readouterr().out == ""


def test_what_cannot_be_weighed_is_refused_and_the_rest_is_weighed(ask, box, tmp_path, capsys):
    (tmp_path / "broken.off").write_text("OFF\n1 1 0\n0 0 0\n3 0 1 2\n")
    code, (good, bad), _ = ask(box, tmp_path / "broken.off", "--mass", 1)
    assert (code, good["exact"], bad.keys()) == (1, True, {"file", "error"})
    assert ask(tmp_path / "none.stl", "--mass", 1)[0] == 2
    for words, said in (
        ([box], "a mesh has no mass of its own: give --mass, --density or --densities"),
        ([box, "--mass", 1, "--density", 2], "--mass and --density exclude each other: keep one"),
        (["--mass", 1], "no meshes given"),
    ):
        assert main(["inertia", *map(str, words)]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err


def test_in_a_pipe_every_mesh_has_one_row(tmp_path, capsys):
    """Nothing wraps or is dropped there, however long the names are."""
    folder = tmp_path / ("a long name " * 12)
    folder.mkdir()
    paths = [folder / f"{name}.off" for name in "ab"]
    for path in paths:
        write_off(path, CORNERS * SIZE + SHIFT)
    assert main(["inertia", *map(str, paths), "--mass", "0.4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = next(line.split() for line in lines if "ixx" in line)
    for path in paths:
        (row,) = (line for line in lines if str(path) in line)
        assert len(row.removeprefix(str(path)).split()) == len(heads) - 3, (
            "but mesh, and two spaces in a head"
        )


@pytest.mark.parametrize("closed", [True, False])
def test_a_mesh_in_millimetres_that_is_taken_for_metres_is_warned_of(ask, tmp_path, closed):
    mesh = tmp_path / "mm.off"
    write_off(mesh, 1000 * CORNERS * SIZE, BOX_FACES if closed else BOX_FACES[:-1])
    _, (line,), _ = ask(mesh, "--mass", 0.4)
    said = "warning: the object is 200 m long if its lengths are in metres, which no payload is"
    assert [remark for remark in line["remarks"] if remark.startswith(said)]
    _, (line,), _ = ask(mesh, "--mass", 0.4, "--scale", 0.001)
    assert "m long" not in str(line.get("remarks"))


def test_a_scan_is_for_predict(ask, tmp_path):
    points = np.random.default_rng(0).normal(size=(20, 3))
    write_ply(tmp_path / "scan.ply", points, points)
    np.save(tmp_path / "scan.npy", points)
    for name, said in (("scan.ply", "has no faces; give a mesh ("), ("scan.npy", "is not a mesh; ")):
        code, (line,), _ = ask(tmp_path / name, "--mass", 1)
        assert code == 2
        assert line["error"].startswith(f"{tmp_path / name}: {said}scans are for plumbline predict, or")
