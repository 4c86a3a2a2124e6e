"""What ``plumbline serve`` refuses, with which status and sentence; nothing is left behind by it."""

import io
import json
import socket
import struct
import tempfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from plumbline import load_predictor
from plumbline.serve.app import make_app
from tests.helpers.scanned import box_points, simulate, write_scan
from tests.helpers.serving import LIMITS, parts, serving, write_scene

POINTS = (box_points() + (0, 0, 9)).tolist()


@pytest.fixture(scope="module")
def client():
    with serving(load_predictor("convex_hull")) as started:
        yield started


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    folder = tmp_path / "held"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert [*folder.iterdir()] == []


@pytest.fixture
def files(tmp_path):
    return {**write_scene(tmp_path), "cloud": write_scan(tmp_path / "a.npz", simulate(0))}


def said(answer, status=422) -> str:
    """The one sentence of a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    sentence = answer.json()["error"]
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    assert tempfile.gettempdir() not in sentence
    return sentence


@pytest.mark.parametrize(("fields", "sentence"), [
    ("", "no scan given: send one (cloud), or a depth image and its camera (depth, intrinsics)"),
    ("depth", "--intrinsics is missing: a depth image needs the intrinsics of its camera"),
    ("cloud depth intrinsics", "--depth is a scan by itself: leave out the files or --depth"),
    ("cloud mask", "--mask describes a depth image: give one with --depth"),
    ("depth intrinsics sensor=0,0,0", "--sensor: in a depth image the sensor stands at 0,0,0; leave --sensor "
                                      "out"),
    ("cloud sensor=1,2", "--sensor 1,2: write three numbers with commas between them, such as 0,0,1.5"),
    ("cloud mass=0", "--mass 0: must be above 0"),
    ("cloud mass=1 density=2", "--mass and --density exclude each other: remove one"),
    ("cloud draws=1001", "--draws 1001: must be at least 1 and at most 1000"),
    ("cloud points=9000", "--points 9000 times --draws 2 are more than the 16,384 points that this server "
                          "uses of a scan; ask for fewer"),
    ("cloud table=auto", "--table auto looks for the table in a depth image: give one with --depth"),
    ("cloud table=0,0,1,2", "a table is given, but convex_hull does not use any: leave it out, or use a "
                            "model that was trained on data of prepare --sensor_model depth"),
    ("cloud sensors=1", "there is no field sensors; did you mean sensor?"),
    ("cloud html=x", "there is no field html; there are sensor, table, scale, depth_scale, mass, density, "
                     "clean, points, draws, strict, cloud, depth, intrinsics, mask, frame"),
    ("depth intrinsics=/etc/passwd", "intrinsics is a file, or fx,fy,cx,cy in pixels, such as "
                                     "600,600,319.5,239.5"),
    ("cloud mask=/etc/passwd", "mask is a file: send its content, with its name"),
    ("cloud frame=/etc/passwd", "frame is a file: send its content, with its name"),
])  # fmt: skip
def test_fields_are_refused_as_flags_are(client, files, fields, sentence):
    given = dict(word.split("=") if "=" in word else (word, files[word]) for word in fields.split())
    assert said(client.post("/predict", **parts(**given or {"strict": "on"}))) == sentence


def test_texts_and_files_are_not_mixed_up(client, files):
    answer = client.post("/predict", **parts(cloud=files["cloud"], mass=files["mask"]))
    assert said(answer) == "mass is a text, not a file: send its value"
    twice = [("cloud", ("a.npz", files["cloud"].read_bytes())), ("cloud", ("b.npz", b"x"))]
    assert said(client.post("/predict", files=twice)) == "cloud is given twice; send one"


@pytest.mark.parametrize(("name", "content", "sentence"), [
    ("a.ply", b"", "a.ply is empty; export it again"),
    ("a.ply", b"ply\nrubbish", "a.ply is truncated or damaged: its header has no line end_header"),
    ("a.npz", b"PK\x03\x04rubbish", "a.npz cannot be read as npz: it is damaged, or not a file of"),
    ("a.npz.gz", b"\x1f\x8b", "a.npz.gz is compressed or an archive; unpack it and give the scan in it"),
    ("a.stl", b"solid", "a.stl: unknown format; scans end in .asc, .csv, "),
    ("a", b"solid", "a: unknown format; scans end in .asc, .csv, "),
    (".ply", b"solid", ".ply: unknown format; scans end in "),
    ("..", b"solid", "cloud: unknown format; scans end in "),
    ("a.xyz", b"1 2 3\n", "a.xyz: there is 1 point; the scan of an object has points at several positions"),
])  # fmt: skip
def test_files_that_cannot_be_read_are_called_by_the_clients_name(client, name, content, sentence):
    assert said(client.post("/predict", files={"cloud": (name, content)})).startswith(sentence)


def test_a_depth_image_is_refused_as_by_the_command(client, files, tmp_path):
    image = {name: files[name] for name in ("depth", "intrinsics", "mask")}
    camera = tmp_path / "camera.yaml"
    camera.write_text("a: &a [1, 2]\ncamera_matrix: [*a, *a]\n")
    assert said(client.post("/predict", **parts(**image | {"intrinsics": camera}))) == (
        "--intrinsics camera.yaml has aliases (*), which are not read here; write them out"
    )
    camera.write_text("# " + "x" * 2**20)
    assert said(client.post("/predict", **parts(**image | {"intrinsics": camera})), 413).startswith(
        "--intrinsics camera.yaml is larger than 1 MB"
    )
    packed = {**parts(**image)["files"], "intrinsics": ("K.npz", unpacking("K", 2**20 + 1))}
    assert said(client.post("/predict", files=packed), 413).startswith(
        "--intrinsics K.npz is larger than 1 MB"
    )
    np.save(tmp_path / "small.npy", np.ones((3, 3), np.uint8))
    assert said(client.post("/predict", **parts(**image | {"mask": tmp_path / "small.npy"}))) == (
        "d.png: the depth image has shape [240, 320], the mask [3, 3]; give a mask of the same camera "
        "and size (resize one of the same view with nearest neighbour)"
    )
    assert said(client.post("/predict", **parts(**image | {"mask": files["intrinsics"]}))) == (
        "--mask K.json: not an image, .npy or .npz file"
    )


def test_frames_that_are_none_are_refused(client, files, tmp_path):
    frame = tmp_path / "T.json"
    for content, sentence in {
        "{": "--frame T.json: not JSON (",
        "[1, 2]": "--frame T.json: no rigid motion: ",
    }.items():
        frame.write_text(content)
        assert said(client.post("/predict", **parts(cloud=files["cloud"], frame=frame))).startswith(sentence)
    frame.write_text("[" + " " * 70_000)
    assert "too large" in said(client.post("/predict", **parts(cloud=files["cloud"], frame=frame)), 413)


@pytest.mark.parametrize(("body", "sentence"), [
    ("{", "the body is not JSON: "),
    ("[" * 100_000, "the body is not JSON: "),
    ("[]", 'the body must be a JSON object, such as {"cloud": [[x, y, z], ...]}'),
    ("{}", "no scan given: send its points as cloud, [[x, y, z], ...]"),
    ({"cloud": "a.ply"}, "cloud must be a list of points, [[x, y, z], ...]"),
    ({"cloud": []}, "cloud: points of shape [0]; rows of x, y, z are needed"),
    ({"cloud": [[1, 2, 3], [1, 2]]}, "cloud: points must be an array of numbers, with rows of equal length"),
    ({"cloud": [["1", "2", "3"]] * 9}, "cloud: points contains <U1 instead of numbers; convert it to"),
    ({"cloud": [[1, 2]] * 9}, "cloud: points of shape [9, 2]; rows of x, y, z are needed"),
    ('{"cloud": [[1, 2, NaN]]}', "the body is not JSON: NaN is not a number; leave out points"),
    ('{"cloud": [[1, 2, 1e999]]}', "cloud: 1 point is not finite, the first is number 1; remove such points"),
    ({"cloud": POINTS, "scale": 1e-300}, "cloud: the scan is only "),
    ({"cloud": POINTS, "scale": 1e300}, "cloud is damaged: it has coordinates up to "),
    ({"cloud": POINTS, "mass": "3"}, "mass must be a number"),
    ({"cloud": POINTS, "mass": True}, "mass must be a number"),
    ({"cloud": POINTS, "mass": -3}, "--mass -3: must be above 0"),
    ({"cloud": POINTS, "clean": "off"}, "clean must be true or false"),
    ({"cloud": POINTS, "sensor": [1, 2]}, "sensor must be a list of 3 numbers"),
    ({"cloud": POINTS, "frame": [1]}, "frame: no rigid motion: "),
    ('{"cloud": [[1, 2, 3]], "frame": [1e999]}', "frame: no rigid motion: "),
    ({"cloud": POINTS, "depth": "d.png"}, "there is no field depth; "),
])  # fmt: skip
def test_json_is_refused_in_a_sentence(client, body, sentence):
    text = body if isinstance(body, str) else json.dumps(body)
    answer = client.post("/predict", content=text, headers={"content-type": "application/json"})
    assert said(answer).startswith(sentence)


def test_bodies_of_other_kinds_are_refused(client):
    assert said(client.post("/predict")) == (
        "the body is of no type; send multipart/form-data with files, or application/json"
    )
    assert said(client.post("/predict", data={"a": "b"})).startswith(
        "the body is application/x-www-form-urlencoded"
    )
    for kind, body in {"multipart/form-data": b"x", "multipart/form-data; boundary=x": b"rubbish"}.items():
        refused = said(client.post("/predict", content=body, headers={"content-type": kind}))
        assert refused.startswith(("the form cannot be read: ", "no scan given: "))
    many = said(client.post("/predict", files=[("a", ("b", b"c"))] * 20))
    assert many == "the form cannot be read: Too many files. Maximum number of files is 15"
    long = said(client.post("/predict", **parts(sensor="1" * 5000)))
    assert long == "the form cannot be read: Part exceeded maximum size of 4KB"


def test_a_body_that_is_too_large_is_refused_whatever_its_header_says(client):
    large = {"cloud": ("a.npy", b"x" * LIMITS.body)}
    assert said(client.post("/predict", files=large), 413) == (
        "the body is larger than the 8 MB that this server takes"
    )
    claimed = {"content-type": "application/json", "content-length": str(LIMITS.body + 1)}
    assert said(client.post("/predict", content=b"{}", headers=claimed), 413).startswith("the body is larger")
    request = client.build_request("POST", "/predict", files=large)
    content = request.read()
    pieces = (content[at : at + 100_000] for at in range(0, len(content), 100_000))
    headers = {"content-type": request.headers["content-type"]}
    assert said(client.post("/predict", content=pieces, headers=headers), 413).startswith(
        "the body is larger"
    )


def unpacking(name: str, size: int) -> bytes:
    """An npz file whose array unpacks to some bytes; these are not written out."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", bytes(size))
    return held.getvalue()


def picture(mode: str, size: tuple[int, int]) -> bytes:
    held = io.BytesIO()
    Image.new(mode, size).save(held, "PNG")
    return held.getvalue()


LAS = struct.pack("<4s20xBB68xHIIBHI", b"LASF", 1, 2, 227, 227, 0, 0, 20, 200_001) + bytes(200)
PCD = b"FIELDS x y z\nSIZE 8 8 8\nTYPE F F F\nWIDTH 2000000\nHEIGHT 1\nDATA binary_compressed\n"


@pytest.mark.parametrize(("field", "name", "content", "sentence"), [
    ("cloud", "a.npz", unpacking("points", 32_000_128), "unpacks to 32 MB; this server takes 32 MB"),
    ("cloud", "a.las", LAS, "has 200,001 points; this server takes 200,000"),
    ("cloud", "a.pcd", PCD, "unpacks to 48 MB; this server takes 32 MB"),
    ("cloud", "a.xyz", b"1 2 3\n" * 200_001, "has 200,001 points; this server takes 200,000"),
    ("depth", "d.png", picture("I;16", (500, 401)), "has 200,500 pixels; this server takes 200,000"),
    ("depth", "d.npz", unpacking("depth", 1_600_128), "unpacks to 1.6 MB; this server takes 1.6 MB"),
    ("mask", "m.png", picture("L", (500, 401)), "has 200,500 pixels; this server takes 200,000"),
])  # fmt: skip
def test_files_that_unpack_to_too_much_are_refused_unread(
    client, files, field, name, content, sentence, monkeypatch
):
    for reader in ("read_view", "read_file") if not name.endswith("xyz") else ():
        monkeypatch.setattr(f"plumbline.serve.scans.{reader}", None)
    given = {} if field == "cloud" else {"depth": files["depth"], "intrinsics": files["intrinsics"]}
    sent = parts(**given)["files"] | {field: (name, content)}
    assert said(client.post("/predict", files=sent), 413) == f"{name} {sentence} (--max_points)"


def test_json_with_too_many_points_is_refused(client):
    body = json.dumps({"cloud": [[0, 0, 1]] * 200_001})
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert said(answer, 413) == "cloud has 200,001 points; this server takes 200,000 (--max_points)"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]:8000", "127.0.0.1:1", "LOCALHOST"])
def test_names_of_this_machine_are_answered(client, host):
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.1.0.7",
                                  "localhost@evil.example", "[::1", ""])  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere"])
def test_other_hosts_are_refused(client, host, path):
    assert said(client.get(path, headers={"host": host}), 403).startswith("the Host of the request is not")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_at_all_addresses_each_address_is_answered_and_no_name_of_others(host):
    app = make_app(load_predictor("convex_hull"), LIMITS, host=host, batch_size=1)
    with TestClient(app, base_url="http://192.0.2.7:8000") as open_to_all:
        answered = {name: open_to_all.get("/healthz", headers={"host": name}).status_code
                    for name in ("192.0.2.7:8000", "[2001:db8::1]:80", "localhost", socket.gethostname(),
                                 "evil.example")}  # fmt: skip
    assert [*answered.values()] == [200, 200, 200, 200, 403]


def test_pages_of_other_servers_are_refused(client, files):
    for origin, status in {
        "http://evil.example": 403,
        "null": 403,
        "http://[": 403,
        "http://127.0.0.1:8000": 200,
    }.items():
        headers = {"origin": origin, "host": "127.0.0.1:8000"}
        answer = client.post("/predict", headers=headers, **parts(cloud=files["cloud"]))
        assert answer.status_code == status, origin
        assert "access-control-allow-origin" not in answer.headers


def test_a_view_without_an_answer_says_why(client):
    answer = client.post("/view", files={"cloud": ("<b>.ply", b"ply\nrubbish")})
    assert answer.status_code == 422
    assert "&lt;b&gt;.ply is truncated or damaged" in answer.text
    assert "<b>" not in answer.text


def test_a_defect_is_said_without_its_traceback(client, files, monkeypatch):
    monkeypatch.setattr("plumbline.serve.service.look", lambda *_: 1 / 0)
    answer = client.post("/predict", **parts(cloud=files["cloud"]))
    assert said(answer, 500) == "the server failed at this request; its log says why"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    view = client.post("/view", **parts(cloud=files["cloud"]))
    assert (view.status_code, "the server failed at this request" in view.text) == (500, True)
    assert "frame-ancestors 'self'" in view.headers["content-security-policy"], "the page shows it"


def test_other_addresses_and_methods_have_sentences_too(client):
    assert said(client.get("/nowhere"), 404) == "Not Found"
    answer = client.delete("/predict")
    assert (said(answer, 405), answer.headers["allow"]) == ("Method Not Allowed", "POST")
