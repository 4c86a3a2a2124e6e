"""Every figure is finite for every data set that is accepted: in JSON, in metrics.csv and on the screen."""

import csv
import json
import math
import pickle
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plumbline.cli import main
from plumbline.data.pt.cache import open_data
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.verify import verify
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError
from plumbline.models.answer import Answer
from plumbline.records import FEATURE_NAMES, Sample
from plumbline.training.loop.task import CentreOfMassTask
from tests.helpers.training_fixtures import metric_rows, random_samples, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def write(
    folder: Path, points: np.ndarray, target: np.ndarray, name: str, radius: float | None = None
) -> None:
    """A file of the documented layout: every point is joined to the next."""
    num = len(points)
    positions = torch.tensor(points, dtype=torch.float32)
    metadata = {} if radius is None else {"bounding_radius": radius}
    content = {
        "node_features": positions,
        "edge_index": torch.tensor([list(range(num)), [(i + 1) % num for i in range(num)]]),
        "target": torch.tensor(target, dtype=torch.float32),
        "metadata": metadata,
    }
    torch.save(content, folder / f"{name}.pt")


def sound_files(folder: Path, num: int = 12) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(num):
        write(folder, rng.normal(size=(8, 3)), rng.normal(size=3) * 0.1, f"sound{number:02d}")


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        return [n for item in (value.values() if isinstance(value, dict) else value) for n in numbers(item)]
    return [value] if isinstance(value, int | float) else []


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def assert_finite(run: Path, *texts: str) -> None:
    files = list(run.rglob("*.json"))
    assert {"startup.json", "result.json"} <= {file.name for file in files}
    for file in files:
        found = numbers(json.loads(file.read_text(), parse_constant=refuse))
        assert all(map(math.isfinite, found)), file
    with open(run / "metrics.csv", newline="") as table:
        for row in csv.DictReader(table):
            assert all(math.isfinite(float(cell)) for cell in row.values() if cell), row
    for text in texts:
        assert not re.search(r"\b(inf|nan|infinity)\b", text, re.IGNORECASE), text


def evaluated(run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["evaluate", str(run), "--out", str(run / "report")]) == 0
    return capsys.readouterr().out


@st.composite
def scans(draw: st.DrawFn) -> dict[str, Any]:
    """A scan of any size, that may be a single point, or points that coincide or all but coincide."""
    kind = draw(st.sampled_from(["cloud", "cloud", "single", "coincident", "nearly"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    points = rng.normal(size=(1 if kind == "single" else 6, 3))
    if kind == "coincident":
        points[:] = points[0]
    if kind == "nearly":
        points[1:] = points[0] + 1e-7 * points[1:]
    exponent = st.sampled_from([0, 0, -30, -20, -14, -12, -5, 5, 12, 14, 20, 30]) | st.integers(-45, 38)
    scale, at, far = (10.0 ** draw(exponent) for _ in range(3))
    radius = draw(st.sampled_from([None, None, 1.0, 10.0 ** draw(st.integers(-20, 9))]))
    return {"points": points * scale, "target": (rng.normal(size=3) - 0.5) * min(at, far), "radius": radius}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd=st.lists(scans(), min_size=1, max_size=6), best=st.booleans(), alone=st.booleans())
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_whatever_is_accepted_gives_finite_figures(tmp_path_factory, capsys, odd, best, alone):
    base = tmp_path_factory.mktemp("any")
    sound_files(base / "data", 2 if alone else 12)
    for number, scan in enumerate(odd):
        write(base / "data", name=f"odd{number}", **scan)
    recipe = {"recipe": "best"} if best else {}
    outcome = train(
        base / "data", base / "run", max_epochs=1, batch_size=4, val_split=0.3, hidden_dim=8, **recipe
    )
    if outcome.code == 2:  # refused in one line, not with a traceback
        assert re.findall(r"^error: .*$", outcome.text, re.MULTILINE)
        assert not (base / "run" / "result.json").exists()
    else:
        assert outcome.code == 0, outcome.text
        assert_finite(base / "run", outcome.text, evaluated(base / "run", capsys))
    shutil.rmtree(base)


@pytest.mark.parametrize("recipe", ["documented", "best"])
def test_a_scan_without_a_size_is_named_and_left_out(tmp_path, capsys, recipe):
    data = tmp_path / "data"
    sound_files(data)
    for number, points in enumerate([np.zeros((1, 3)), np.ones((5, 3)), 1e-30 * np.eye(3), 1e30 * np.eye(3)]):
        write(data, points, np.zeros(3), f"odd{number}")
    write(data, np.ones((5, 3)), np.zeros(3), "known", radius=1.0)
    write(data, np.eye(3), np.full(3, 1e30), "target")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        outcome = train(data, tmp_path / "run", max_epochs=2, batch_size=4, recipe=recipe)
    assert outcome.code == 0, outcome.text
    assert "13 graphs of 13 objects" in outcome.text
    assert "5 rejected, the first: odd0.pt: it has one point and no bounding_radius" in outcome.text
    assert (tmp_path / "run" / "rejected.txt").read_text().splitlines() == [
        "odd0.pt: it has one point and no bounding_radius: there is no size to measure errors by",
        "odd1.pt: its 5 points coincide, and it has no bounding_radius: "
        "there is no size to measure errors by",
        "odd2.pt: the radius of its scan is 8.16e-31, and 1e-13 to 1e+13 can be used",
        "odd3.pt: node_features holds numbers as large as 1e+30, and at most 1e+13 can be used",
        "target.pt: target holds numbers as large as 1e+30, and at most 1e+13 can be used",
    ]
    assert_finite(tmp_path / "run", outcome.text, evaluated(tmp_path / "run", capsys))
    for deep in ([], ["--deep"]):
        assert main(["check", str(data), *deep]) == 0
        assert "odd0.pt" in capsys.readouterr().out


def old_store(folder: Path) -> list[Sample]:
    """A store as an earlier version wrote it: two graphs without a size, each an object of its own."""
    samples = random_samples()
    write_store(folder, samples, feature_names=list(FEATURE_NAMES), shard_bytes=4000)
    return samples


@pytest.mark.parametrize("radius", [0.0, 1e-40, np.nan, np.inf])
def test_a_store_of_an_earlier_version_is_read_without_them(tmp_path, capsys, monkeypatch, radius):
    samples = old_store(tmp_path / "sound")
    monkeypatch.setattr("plumbline.data.store.writer.scan_radius", lambda sample: radius)
    bad = {5: "random/first", 17: "random/001"}
    for place, name in bad.items():
        sample = samples[place]
        samples[place] = Sample(
            sample.node_features, sample.in_degree, sample.edge_source, sample.target, name
        )
    data = tmp_path / "data"
    write_store(data, samples, feature_names=list(FEATURE_NAMES), shard_bytes=4000)
    store, sound = open_data(data), PackedStore.open(tmp_path / "sound")
    kept = [i for i in range(48) if i not in bad]
    assert (len(store), store.num_objects) == (46, 12)
    assert [item.source for item in store.rejected] == [f"graph {i} ({name})" for i, name in bad.items()]
    assert all("and 1e-13 to 1e+13 can be used" in item.reason for item in store.rejected)
    assert (store.num_nodes, store.num_edges) == (
        np.diff(sound.node_ptr)[kept].sum(),
        np.diff(sound.edge_ptr)[kept].sum(),
    )
    assert set(store.object_names) == set(sound.object_names)
    order = np.random.default_rng(0).permutation(46)
    for one, other in zip(store.gather(order), sound.gather(np.array(kept)[order]), strict=True):
        assert one is other is None or np.array_equal(one, other, equal_nan=True)
    assert [store.sample(i).object_name for i in range(46)] == [samples[i].object_name for i in kept]
    assert bool(verify(store)) == (not np.isfinite(radius))
    assert np.array_equal(pickle.loads(pickle.dumps(store)).target, store.target)  # noqa: S301 - ours
    outcome = train(data, tmp_path / "run", max_epochs=1)
    again = train(data, tmp_path / "again", max_epochs=1, loader="workers", num_workers=1)
    assert (outcome.code, again.code) == (0, 0), outcome.text + again.text
    assert metric_rows(tmp_path / "run") == metric_rows(tmp_path / "again")
    assert "2 rejected, the first: graph 5 (random/first): its bounding radius is" in outcome.text
    assert_finite(tmp_path / "run", outcome.text, evaluated(tmp_path / "run", capsys))
    if np.isfinite(radius):
        assert main(["check", str(data), "--json"]) == 0
        report = json.loads(capsys.readouterr().out, parse_constant=refuse)
        assert (report["num_graphs"], len(report["rejected"])) == (46, 2)


def test_a_store_without_a_single_usable_graph_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("plumbline.data.store.writer.scan_radius", lambda sample: 0.0)
    (sample, *_) = random_samples()
    plain = Sample(sample.node_features, sample.in_degree, sample.edge_source, sample.target, "a")
    write_store(tmp_path / "data", [plain], feature_names=list(FEATURE_NAMES))
    with pytest.raises(
        InputError, match=r"no graph of .* can be used; the first: its bounding radius is 0, and"
    ):
        open_data(tmp_path / "data")


def test_a_metric_that_overflows_stops_the_training(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A loss of 1e30 is finite, and its square is not."""
    answer = CentreOfMassTask._answer
    monkeypatch.setattr(
        CentreOfMassTask, "_answer", lambda self, batch: Answer(answer(self, batch).com * 0 + 1e30)
    )
    outcome = train(tiny, tmp_path / "run", max_epochs=1)
    assert outcome.code == 2
    assert re.search(
        r"^error: \w*mse\w* is not finite in epoch 0, by step \d+: the training diverged",
        outcome.text,
        re.MULTILINE,
    )
    assert not list((tmp_path / "run").glob("*.ckpt"))
