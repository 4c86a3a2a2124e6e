"""A sensor model from the data to the answer: ``prepare --sensor_model``, training, ``predict --table``."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from plumbline.cli import main
from plumbline.data.store.reader import PackedStore
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.predictor import find_best, load_predictor
from plumbline.records import USUAL_VECTORS, VECTOR_NAMES
from tests.helpers import scanned
from tests.helpers.preparing import SMALL, digest, prepare
from tests.helpers.scanned import simulate, write_scan


@pytest.fixture
def ask(capsys):
    return partial(scanned.predict, capsys)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sensor") / "data"
    prepare("--solids", 12, "--sensor_model", "depth", "--sensor_share", 1, "--out", folder, *SMALL)
    return folder


@pytest.fixture(scope="module")
def checkpoint(data) -> Path:
    """A network that looks at the table, barely trained."""
    folder = data.parent / "run"
    flags = ["--recipe", "best", "--hidden_dim", 16, "--num_layers", 1, "--max_epochs", 1, "--batch_size", 4]
    more = ["--num_neighbours", 4, "--num_tokens", 8, "--data_dir", data, "--checkpoint_dir", folder]
    assert main(["train", *map(str, [*flags, *more])]) == 0
    return folder


def test_data_of_a_sensor_model_know_some_tables(data, tmp_path):
    store = PackedStore.open(data)
    assert store.vector_names == VECTOR_NAMES
    table = store.vectors[:, VECTOR_NAMES.index("table")]
    known = np.linalg.norm(table, axis=1) > 0
    assert 0 < known.sum() < len(store), "of some scans only"
    # The centre of mass lies between the table and the points, or near: above the table in any case.
    down = table[known] / np.linalg.norm(table[known], axis=1, keepdims=True)
    below = np.einsum("gd,gd->g", table[known], down)
    assert (np.einsum("gd,gd->g", store.target[known], down) < below).all()
    settings = store.manifest["provenance"]["settings"]
    assert (settings["sensor_model"], settings["sensor_share"]) == ("depth", 1.0)
    prepare("--solids", 2, "--out", tmp_path / "plain", *SMALL)
    plain = PackedStore.open(tmp_path / "plain")
    assert plain.vector_names == USUAL_VECTORS
    assert "sensor_model" not in plain.manifest["provenance"]["settings"]


def test_the_number_of_processes_does_not_matter(data, tmp_path):
    flags = ["--solids", 12, "--sensor_model", "depth", "--sensor_share", 1, *SMALL, "--workers", 1]
    prepare(*flags, "--out", tmp_path / "one")
    assert digest(tmp_path / "one") == digest(data)


def test_a_known_table_changes_the_answer_and_moves_with_the_scan(checkpoint, ask, tmp_path):
    scan = simulate(1)
    file = write_scan(tmp_path / "a.npz", scan)
    low = float(scan.points[:, 2].min())
    _, (without,), _ = ask(file, "--checkpoint", checkpoint)
    code, (given,), err = ask(file, "--checkpoint", checkpoint, "--table", f"0,0,2,{low}")
    assert (code, err) == (0, "")
    assert np.linalg.norm(np.subtract(given["com"], without["com"])) > 1e-6
    predictor = load_predictor(checkpoint)
    found = predictor.predict(scan.points, sensor=scan.sensor, table=[0, 0, 1, low]).com
    np.testing.assert_allclose(found, given["com"], atol=1e-6)
    turn, shift = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), np.array([1.0, -2, 3])
    normal = turn @ [0, 0, 1]
    moved = predictor.predict(
        scan.points @ turn.T + shift,
        sensor=scan.sensor @ turn.T + shift,
        table=[*normal, low + normal @ shift],
    )
    np.testing.assert_allclose(moved.com, turn @ found + shift, atol=1e-5)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("0,0,1", "write four numbers with commas between them, such as 0,0,1,0.2"),
        ("0,0,0,1", "the normal, the first three numbers, must not be 0"),
    ],
)
def test_what_is_no_plane_is_refused(checkpoint, tmp_path, capsys, table, said):
    file = write_scan(tmp_path / "a.npz", simulate(1))
    assert main(["predict", str(file), "--checkpoint", str(checkpoint), "--table", table]) == 2
    assert said in capsys.readouterr().err


def test_a_table_above_the_object_is_refused(checkpoint, ask, tmp_path):
    scan = simulate(1)
    file, high = write_scan(tmp_path / "a.npz", scan), float(scan.points[:, 2].max()) + 1
    code, (line,), _ = ask(file, "--checkpoint", checkpoint, "--table", f"0,0,1,{high}")
    assert code == 2
    assert (
        "its points lie below the table; the normal must point from the table to the object" in line["error"]
    )


def test_the_checkpoint_says_which_vectors_it_takes(checkpoint):
    assert load_checkpoint(find_best(checkpoint)).data.vector_names == VECTOR_NAMES
