"""What ``plumbline serve`` answers: the same as ``plumbline predict --json``, for every kind of input."""

import json
import tempfile
from functools import partial

import numpy as np
import pytest

from plumbline import __version__, load_predictor
from tests.helpers import scanned
from tests.helpers import table_scene as scene
from tests.helpers.depth_files import write_mask
from tests.helpers.scanned import simulate, write_scan
from tests.helpers.serving import parts, serving, write_scene


@pytest.fixture(scope="module")
def client():
    with serving(load_predictor()) as started:
        yield started


@pytest.fixture
def ask(capsys, tmp_path, monkeypatch):
    """``plumbline predict`` in the folder of the files, so that their names are the last parts of paths."""
    monkeypatch.chdir(tmp_path)
    return partial(scanned.predict, capsys, "--checkpoint", "pretrained")


@pytest.fixture
def held(tmp_path, monkeypatch):
    """The temporary folder, which must be empty afterwards."""
    folder = tmp_path / "held"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize("flags", [{}, {"mass": 0.4, "scale": 0.001}, {"density": 700}, {"clean": "off"},
                                   {"points": 60, "draws": 2}, {"sensor": "0,0,9"}])  # fmt: skip
def test_a_cloud_is_answered_as_by_the_command(client, ask, tmp_path, held, flags):
    file = write_scan(tmp_path / "a b.npz", simulate(4, points=700))
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    code, lines, _ = ask("a b.npz", *words)
    assert code == 0
    answer = client.post("/predict", **parts(cloud=file, **flags))
    assert (answer.status_code, answer.json()) == (200, lines)
    assert answer.headers["cache-control"] == "no-store"


def test_a_size_that_no_payload_has_is_refused_if_no_warning_is_wanted(client, tmp_path, held):
    scan = simulate(4)
    file = tmp_path / "mm.npz"
    np.savez(file, points=1000 * scan.points, sensor=1000 * scan.sensor)
    (line,) = client.post("/predict", **parts(cloud=file, mass=0.4)).json()
    assert "check the unit" in line["warnings"][0]
    refused = client.post("/predict", **parts(cloud=file, mass=0.4, strict="true"))
    assert (refused.status_code, "check the unit" in refused.text) == (422, True)
    assert client.post("/predict", **parts(cloud=file, strict="true")).status_code == 200


def test_a_frame_moves_the_answer_and_gives_its_name(client, ask, tmp_path, held):
    file = write_scan(tmp_path / "a.npz", simulate(1))
    turned = np.eye(4)[[1, 2, 0, 3]]
    turned[:3, 3] = 1, 2, 3
    (tmp_path / "flange.json").write_text(json.dumps(turned.tolist()))
    _, lines, _ = ask("a.npz", "--mass", 2, "--frame", "flange.json")
    answer = client.post("/predict", **parts(cloud=file, mass=2, frame=tmp_path / "flange.json")).json()
    assert answer == lines
    assert answer[0]["payload"]["frame"] == "flange"


def test_one_object_has_no_number(client, ask, tmp_path, held):
    files = write_scene(tmp_path)
    _, labels = scene.see_scene()
    write_mask(files["mask"], 255 * (labels == scene.CAN))
    _, lines, _ = ask(*[f"--{name}={path.name}" for name, path in files.items()])
    answer = client.post("/predict", **parts(**files)).json()
    assert answer == lines
    assert [line.get("object") for line in answer] == [None]


@pytest.mark.parametrize("table", [None, "auto"])
@pytest.mark.parametrize("with_mask", [True, False])
def test_a_depth_image_has_an_answer_for_each_object(client, ask, tmp_path, held, table, with_mask):
    files = write_scene(tmp_path)
    if not with_mask:
        del files["mask"]
    flags = {} if table is None else {"table": table}
    words = [f"--{name}={path.name}" for name, path in files.items()]
    code, lines, _ = ask(*words, *[f"--{name}={value}" for name, value in flags.items()])
    assert code == 0
    answer = client.post("/predict", **parts(**files, **flags))
    assert (answer.status_code, answer.json()) == (200, lines)
    if with_mask:
        assert [line["object"] for line in answer.json()] == [scene.BOX, scene.CAN]


def test_the_number_of_an_image_chooses_its_camera_as_in_the_command(client, ask, tmp_path, held):
    files = write_scene(tmp_path)
    files["depth"] = files["depth"].rename(tmp_path / "000012.png")
    cameras = {"7": [100, 0, 9, 0, 100, 9, 0, 0, 1], "12": [262.5, 0, 159.5, 0, 262.5, 119.5, 0, 0, 1]}
    content = {number: {"cam_K": matrix, "depth_scale": 1.0} for number, matrix in cameras.items()}
    files["intrinsics"].write_text(json.dumps(content))
    _, lines, _ = ask(*[f"--{name}={path.name}" for name, path in files.items()])
    answer = client.post("/predict", **parts(**files)).json()
    assert answer == lines
    assert answer[0]["notes"] == ["0.001 metres per unit of the image, as K.json says"]


def test_intrinsics_may_be_four_numbers(client, tmp_path, held):
    files = write_scene(tmp_path)
    wanted = client.post("/predict", **parts(**files)).json()
    numbers = parts(**files | {"intrinsics": "262.5,262.5,159.5,119.5"})
    assert client.post("/predict", **numbers).json() == wanted


def test_points_in_json_are_answered_as_a_file_of_them(client, ask, tmp_path, held):
    scan = simulate(2)
    points = scan.points - scan.sensor[0]
    np.save(tmp_path / "cloud.npy", points)
    _, (line,), _ = ask("cloud.npy", "--mass", 0.4, "--sensor", "0,0,0", "--clean", "off", "--points", 60)
    body = {"cloud": points.tolist(), "mass": 0.4, "sensor": [0, 0, 0], "clean": False, "points": 60}
    answer = client.post("/predict", json=body | {"strict": False, "scale": None})
    assert (answer.status_code, answer.json()) == (200, [line | {"file": "cloud"}])
    moved = client.post("/predict", json=body | {"frame": {"frame": "tool0", "matrix": np.eye(4).tolist()}})
    assert moved.json()[0]["payload"]["frame"] == "tool0"


def test_an_object_without_an_answer_does_not_stop_the_others(client, ask, tmp_path, held):
    depth, labels = scene.see_scene()
    files = write_scene(tmp_path)
    scanned_depth = np.where(labels == scene.BOX, 0, 1000 * np.nan_to_num(depth)).astype(np.uint16)
    np.save(tmp_path / "d.npy", scanned_depth)
    files["depth"] = tmp_path / "d.npy"
    code, lines, _ = ask(*[f"--{name}={path.name}" for name, path in files.items()])
    answer = client.post("/predict", **parts(**files))
    assert (code, answer.status_code, answer.json()) == (1, 200, lines)
    said = f"d.npy, object {scene.BOX}: no pixel of the object has a depth; check that"
    assert answer.json()[0]["error"].startswith(said)


def test_the_view_is_the_page_of_the_command(client, ask, tmp_path, held):
    file = write_scan(tmp_path / "a.npz", simulate(5, points=900))
    ask("a.npz", "--html", "page.html")
    view = client.post("/view", **parts(cloud=file))
    assert view.status_code == 200
    assert view.text == (tmp_path / "page.html").read_text("utf-8")
    assert "frame-ancestors 'self'" in view.headers["content-security-policy"]
    matrix = np.array([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    (tmp_path / "T.json").write_text(json.dumps({"frame": "tool0", "matrix": matrix.tolist()}))
    ask("a.npz", "--html", "payload.html", "--mass", 0.4, "--frame", "T.json")
    view = client.post("/view", **parts(cloud=file, mass=0.4, frame=tmp_path / "T.json"))
    assert view.text == (tmp_path / "payload.html").read_text("utf-8")
    assert "0.4 kg" in view.text
    assert "in the frame tool0" in view.text


def test_a_name_of_a_file_is_shown_and_never_a_path(client, tmp_path, held):
    content = write_scan(tmp_path / "a.npz", simulate(0)).read_bytes()
    names = {
        **{"../../etc/x.npz": "x.npz", "C:\\scans\\y.NPZ": "y.NPZ", " z.npz": "z.npz"},
        **{"\x1b[2Jé.npz": "\\x1b[2Jé.npz", "n" * 300 + ".npz": "n" * 251 + ".npz"},
    }
    for given, shown in names.items():
        answer = client.post("/predict", files={"cloud": (given, content)})
        assert answer.json()[0]["file"] == shown, answer.text


def test_fields_that_a_page_leaves_empty_do_not_count(client, tmp_path, held):
    file = write_scan(tmp_path / "a.npz", simulate(0))
    wanted = client.post("/predict", **parts(cloud=file)).json()
    empty = {"depth": ("", b""), "intrinsics": (None, ""), "sensor": (None, "")}
    answer = client.post("/predict", files=parts(cloud=file)["files"] | empty)
    assert answer.json() == wanted


def test_health_says_which_model(client):
    answer = client.get("/healthz")
    assert answer.json() == {
        "status": "ready", "model": "ensemble", "checkpoint": "pretrained", "version": __version__
    }  # fmt: skip


def test_a_checkpoint_is_named_without_its_folder(trained, tmp_path):
    file = write_scan(tmp_path / "a.npz", simulate(0))
    with serving(load_predictor(trained["gcn"])) as client:
        said = [client.get("/healthz").text, client.post("/predict", **parts(cloud=file)).text,
                client.post("/view", **parts(cloud=file)).text,
                client.post("/predict", **parts(cloud=file, table="0,0,1,-3")).text]  # fmt: skip
    assert all(trained["gcn"].name in text for text in said[:3])
    assert [text for text in said if str(trained["gcn"].parent) in text] == []


OWN = """
from pathlib import Path

def middle(scans):
    if Path(__file__).with_name("broken").exists():
        raise ValueError
    return scans.mean
"""


def test_a_guess_of_ones_own_is_named_without_its_folder(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    file = write_scan(tmp_path / "a.npz", simulate(2))
    with serving(load_predictor(f"{tmp_path}/own.py:middle")) as client:
        said = [client.get("/healthz")]
        for more in ({}, {"table": "0,0,1,-3"}):
            said += [client.post(path, **parts(cloud=file, **more)) for path in ("/predict", "/view")]
        (tmp_path / "broken").touch()
        said += [client.post(path, **parts(cloud=file)) for path in ("/predict", "/view")]
    assert [answer.status_code for answer in said] == [200, 200, 200, 422, 422, 422, 422]
    assert all("own.py:middle" in answer.text for answer in said)
    assert [answer.text for answer in said if str(tmp_path) in answer.text] == []
