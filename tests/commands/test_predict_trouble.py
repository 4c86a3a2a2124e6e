"""``plumbline predict`` and what it is given that is no scan, no model, or next to nothing."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from plumbline.cli import main
from plumbline.errors import InputError
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.trained_on import TrainedOn
from plumbline.records import FEATURE_NAMES
from tests.helpers import scanned
from tests.helpers.refusals import refused
from tests.helpers.scanned import simulate, write_scan
from tests.helpers.training_fixtures import saved, train

CARVE = ("--model", "carve")


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


# ----------------------------------------------------------------------------------------------- bad files


def scan_points() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(30, 3))


BAD = {
    "text.npz": (b"hello", "cannot be read as npz: it does not start like"),
    "cut.npz": (b"PK\x03\x04 and no more", "cannot be read as npz"),
    "objects.npz": ({"points": np.array([{}]), "sensor": np.zeros(3)}, "pickled Python objects"),
    "texts.npz": ({"points": np.array([["1", "2", "3"]] * 9), "sensor": np.ones(3)}, "instead of numbers"),
    "complex.npz": ({"points": scan_points() + 1j, "sensor": np.ones(3)}, "contains complex128"),
    "other.npz": ({"normals": scan_points(), "sensor": np.ones(3)}, "no array 'points'"),
    "nosensor.npz": ({"points": scan_points()}, "no array 'sensor' next to points"),
    "nan.npz": ({"points": np.full((9, 3), np.nan), "sensor": np.ones(3)}, "not finite"),
    "huge.npz": ({"points": scan_points() * 1e200, "sensor": np.ones(3)}, "it has coordinates up to"),
    "flat.npz": ({"points": scan_points()[:, :2], "sensor": np.ones(3)}, "shape"),
    "empty.npz": ({"points": np.zeros((0, 3)), "sensor": np.ones(3)}, "has no points"),
    "short.npz": ({"points": scan_points(), "sensor": np.ones((29, 3))}, "3 for each point"),
    "lost.npz": ({"points": scan_points(), "sensor": [0, 0, np.inf]}, "3 finite numbers"),
    "one.npz": ({"points": scan_points()[:1], "sensor": np.ones(3)}, "there is 1 point"),
    "same.npz": ({"points": np.ones((50, 3)), "sensor": np.zeros(3)}, "all 50 points are at one position"),
    "spot.npz": ({"points": 1e-12 * scan_points(), "sensor": np.ones(3)}, "30 points are at one position"),
    "at.npz": ({"points": scan_points(), "sensor": scan_points()[7]}, "1 point lies at the sensor"),
    "view.npz": (
        {"points": scan_points(), "sensor_positions": np.ones((2, 3)), "view": np.full(30, 2)}, "0 to 1",
    ),
    "views.npz": ({"points": scan_points(), "sensor_positions": np.ones((2, 3))}, "needs an array 'view'"),
    "stations.npz": (
        {"points": scan_points(), "sensor_positions": np.ones(3), "view": np.zeros(30, int)}, "is needed",
    ),
    "scan.obj": (b"v 0 0 0", "unknown format"),
    "none.ply": (None, "does not exist"),
}  # fmt: skip


def write_bad(folder: Path, name: str) -> Path:
    content = BAD[name][0]
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    elif content is not None:
        np.savez(folder / name, **content, allow_pickle=True)
    return folder / name


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_answered_with_one_sentence(ask, tmp_path, name):
    code, (line,), err = ask(write_bad(tmp_path, name), *CARVE)
    assert (code, err) == (2, "")
    assert line.keys() == {"file", "error"}
    assert BAD[name][1] in line["error"]
    assert str(tmp_path / name) in line["error"]
    assert "\n" not in line["error"]


def test_good_files_are_answered_beside_bad_ones(trained, ask, tmp_path, capsys):
    files = []
    for number, name in enumerate(BAD):
        files += [write_bad(tmp_path, name), write_scan(tmp_path / f"good{number}.npz", simulate(0))]
    code, lines, _ = ask(*files, "--checkpoint", trained["ept"], "--batch_size", 3)
    assert code == 1
    assert [line["file"] for line in lines] == list(map(str, files))
    assert ["error" in line for line in lines] == [True, False] * len(BAD)
    assert len({tuple(line["com"]) for line in lines[1::2]}) <= 3, "up to the rounding of batches"
    capsys.readouterr()
    assert main(["predict", *map(str, files[:4]), *CARVE]) == 1
    out, err = capsys.readouterr()
    assert out.count(".npz") == 2
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 2


@pytest.mark.parametrize("points", [2, 3, 4, 17])
@pytest.mark.parametrize("shape", ["line", "plane", "pile", "space"])
@pytest.mark.filterwarnings("error")
def test_poor_scans_are_answered(trained, ask, tmp_path, points, shape):
    cloud = np.random.default_rng(points).normal(size=(points, 3)) + 5
    if shape == "pile":
        cloud[1:] = cloud[1]
    cloud = cloud * {"line": [1, 0, 0], "plane": [1, 1, 0]}.get(shape, [1, 1, 1])
    np.savez(tmp_path / "a.npz", points=cloud, sensor=np.array([0, 0, -3.0]))
    for chosen in (*(("--checkpoint", path) for path in trained.values()), CARVE):
        code, (line,), _ = ask(tmp_path / "a.npz", *chosen)
        assert code == 0, line
        assert np.linalg.norm(np.array(line["com"]) - cloud.mean(axis=0)) < 10 * np.ptp(cloud)


def test_answers_that_are_no_numbers_are_errors(trained, ask, tmp_path):
    content = torch.load(trained["gcn"], weights_only=True)
    content["state_dict"]["model.head.6.bias"][:] = float("nan")
    torch.save(content, tmp_path / "broken.ckpt")
    file = write_scan(tmp_path / "a.npz", simulate(0))
    code, (line,), _ = ask(file, "--checkpoint", tmp_path / "broken.ckpt")
    assert code == 2
    assert "the prediction of gcn is not finite" in line["error"]


def test_a_form_takes_its_columns_by_name():
    whole, part = (
        GraphForm(),
        GraphForm(("x", "y", "z", "depth", "normal_x"), ("view", "hull"), k=3, leaders=0),
    )
    full, few = (form.sample(simulate(1), "a") for form in (whole, part))
    columns = [FEATURE_NAMES.index(name) for name in part.feature_names]
    np.testing.assert_array_equal(few.node_features, full.node_features[:, columns])
    np.testing.assert_array_equal(few.vectors, full.vectors[[2, 0]])
    assert set(few.in_degree) == {3}
    store = part.store([few])
    assert (store.feature_names, store.vector_names) == (part.feature_names, ("view", "hull"))
    assert (store.k, store.leaders) == (3, 0)


@pytest.mark.parametrize(
    ("known", "needs", "said"),
    [
        ({}, {"gcn", "patches"}, None),
        ({"k": None}, {"patches"}, None),
        ({"k": None}, {"edge_index"}, "neighbours"),
        ({"normalise": "unknown"}, {"patches"}, "frame"),
        ({"vector_names": ["vector_0"]}, {"patches"}, "vectors vector_0"),
        ({"edge_attr": "stored"}, {"patches"}, None),
        ({"feature_names": ["depth", "x", "y", "z"]}, {"patches"}, "other features"),
    ],
)
def test_a_form_is_refused_where_nobody_knows_it(known, needs, said):
    data = TrainedOn.from_dict({
        "data_dir": "a", "fingerprint": "b", "feature_names": FEATURE_NAMES, "vector_names": ["hull"],
        "leaders": 64, "k": 9, "normalise": "unit", "edge_attr": "sh", "sh_degree": 2, "num_train": 1,
        "num_val": 1, "objects": None, "val_split": 0.1, "split_by": "object", "seed": 0, **known,
    })  # fmt: skip
    if said is None:
        form = GraphForm.of(data, needs=frozenset(needs), path=Path("a.ckpt"))
        assert form.k == data.k
        return
    with pytest.raises(InputError, match=said):
        GraphForm.of(data, needs=frozenset(needs), path=Path("a.ckpt"))


# ------------------------------------------------------------------------------------------------ refusals


def test_refusals(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write_scan(tmp_path / "a.npz", simulate(0))
    assert "no scans given" in refused(capsys, "predict", *CARVE)
    assert "exclude each other: remove one" in refused(
        capsys, "predict", file, *CARVE, "--checkpoint", trained["gcn"]
    )
    assert "there is no such file or folder" in refused(capsys, "predict", file, "--checkpoint", "none.ckpt")
    assert "did you mean carve?" in refused(capsys, "predict", file, "--model", "carv")
    assert "not a readable checkpoint" in refused(capsys, "predict", file, "--checkpoint", file)
    for text in ("1,2", "1,2,3,4", "a,b,c", "1,2,inf"):
        assert "write three numbers" in refused(capsys, "predict", file, *CARVE, f"--sensor={text}")
    assert "must not be empty" in refused(capsys, "predict", file, *CARVE, "--sensor=")
    (tmp_path / "c.json").mkdir()
    assert "is a folder; name a file" in refused(capsys, "predict", file, *CARVE, "--out", "c.json")
    (tmp_path / "frame.json").write_text("{}")
    assert "this is one of the files that are read" in refused(
        capsys, "predict", file, *CARVE, "--frame", "frame.json", "--out", "frame.json"
    )
    assert "there is no folder b; make it" in refused(capsys, "predict", file, *CARVE, "--out", "b/c.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr("plumbline.files.os.access", lambda folder, mode: False)
        said = refused(capsys, "predict", file, *CARVE, "--out", "c.jsonl")
    assert f"--out c.jsonl: the folder {tmp_path} cannot be written to; check its permissions" in said
    (tmp_path / "hollow").mkdir()
    assert "no scans in this folder" in refused(capsys, "predict", "hollow", *CARVE)


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_text_files_that_a_folder_also_holds_are_counted(tmp_path, capsys, flags):
    folder = tmp_path / "scans"
    (folder / "sub").mkdir(parents=True)
    write_scan(folder / "a.npz", simulate(0))
    capsys.readouterr()
    assert main(["predict", str(folder), *CARVE, *flags]) == 0
    assert "skipped" not in capsys.readouterr().err
    for name in ("b.csv", "sub/c.txt", "d.ASC"):
        (folder / name).write_text("1 2 3\n")
    assert main(["predict", str(folder), *CARVE, *flags]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert line == (
        f"note: {folder}: 3 text files were skipped (.asc, .csv, .txt); to include a scan among them, name "
        f"the file, such as {folder / 'b.csv'}"
    )


def test_a_checkpoint_whose_graphs_no_scan_gives(tiny, tmp_path, capsys):
    assert train(tiny, tmp_path / "run", max_epochs=1).code == 0
    file = write_scan(tmp_path / "a.npz", simulate(0))
    (path,) = (tmp_path / "run").glob("best*.ckpt")
    said = refused(capsys, "predict", file, "--checkpoint", path)
    assert "does not record how its graphs were made (neighbours (k); frame (--normalise))" in said
    content = saved(path)
    content["plumbline"]["data"]["feature_names"] = ["feature_0", "feature_1", "feature_2"]
    torch.save(content, path)
    assert "other features (feature_0, feature_1, feature_2)" in refused(
        capsys, "predict", file, "--checkpoint", path
    )
