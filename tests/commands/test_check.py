"""``plumbline check`` says whether a data set is whole and what is in it."""

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from plumbline.commands import check
from plumbline.console.text import folded
from plumbline.data.pt.cache import open_data
from plumbline.data.pt.samples import write_pt
from plumbline.data.store import verify
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError
from plumbline.records import Rejected
from tests.helpers.random_samples import FEATURES, random_sample, random_samples


def run(path, *, deep=False, as_json=False, **options):
    """The exit code and what was printed."""
    stream = io.StringIO()
    console = Console(file=stream, width=120, soft_wrap=True, color_system=None, highlight=False, **options)
    code = check.run(SimpleNamespace(path=path, deep=deep, json=as_json, equivariance=None), console)
    return code, stream.getvalue()


@pytest.fixture
def samples():
    return random_samples(0, 60)


@pytest.fixture
def packed(tmp_path, samples):
    refused = [Rejected(f"mesh{i}.obj", f"has [red]{i}[/red] holes") for i in range(25)]
    write_store(
        tmp_path / "a", samples, feature_names=FEATURES, rejected=refused, shard_bytes=12_000, k=4,
        edge_attr="sh", sh_degree=2, normalise="unit",
    )  # fmt: skip
    return tmp_path / "a"


def test_numbers_are_those_of_the_samples(packed, samples, monkeypatch):
    monkeypatch.setattr(verify, "_CHUNK_ROWS", 250)
    code, text = run(packed, as_json=True, deep=True)
    report = json.loads(text)
    assert code == 0
    assert report["ok"]
    assert report["num_graphs"] == 60
    assert report["num_objects"] == len({sample.object_name for sample in samples})
    nodes = [len(sample.in_degree) for sample in samples]
    edges = [len(sample.edge_source) for sample in samples]
    assert report["nodes_per_graph"] == {"min": min(nodes), "mean": np.mean(nodes), "max": max(nodes)}
    assert report["edges_per_graph"] == {"min": min(edges), "mean": np.mean(edges), "max": max(edges)}
    offsets = [
        np.linalg.norm(sample.target - sample.pos.astype(np.float64).mean(axis=0)) / sample.bounding_radius
        for sample in samples
    ]
    assert report["target_from_point_mean_in_radii"]["mean"] == pytest.approx(np.mean(offsets), rel=1e-12)
    assert report["target_from_point_mean_in_radii"]["max"] == pytest.approx(np.max(offsets), rel=1e-12)
    groups = dict.fromkeys(sorted({sample.object_name.split("/")[0] for sample in samples}), 0)
    for sample in samples:
        groups[sample.object_name.split("/")[0]] += 1
    assert {name: amount["graphs"] for name, amount in report["groups"].items()} == groups
    assert sum(amount["objects"] for amount in report["groups"].values()) == report["num_objects"]
    assert report["edge_attr"] == {"kind": "sh", "sh_degree": 2, "dim": 9}
    assert (report["k"], report["normalise"], report["bounding_radius"]["of"]) == (4, "unit", "object")
    sides = report["split"]["train"], report["split"]["val"]
    assert sum(side["graphs"] for side in sides) == 60
    assert sum(side["objects"] for side in sides) == report["num_objects"]
    assert len(report["rejected"]) == 25
    assert report["fingerprint"] == PackedStore.open(packed).fingerprint


def test_tables_are_plain_and_say_everything(packed):
    code, text = run(packed)
    assert code == 0
    for part in (
        "60 of ", "group0", "group1", "group2", "spherical harmonics to degree 2", "unit", "of the object",
        "--val_split 0.1", "25 inputs were rejected", "mesh0.obj ", "has [red]0[/red] holes", "and 5 more",
    ):  # fmt: skip
        assert part in text
    assert "mesh20.obj" not in text
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("as_json", [False, True])
def test_damage_is_named_and_gives_one(packed, as_json):
    shard = packed / "shard-00002.safetensors"
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    assert run(packed, as_json=as_json)[0] == 0
    code, text = run(packed, deep=True, as_json=as_json)
    assert code == 1
    assert "shard-00002.safetensors" in text
    assert "shard-00001.safetensors" not in text
    shard.write_bytes(data[:-1])
    code, text = run(packed, as_json=as_json)
    assert code == 1
    assert "shard-00002.safetensors" in text


def test_folder_of_sample_files_shows_its_rejects(tmp_path, samples):
    for i, sample in enumerate(samples[:8]):
        write_pt(tmp_path / f"{i}.pt", sample)
    (tmp_path / "8.pt").write_bytes(b"junk")
    code, text = run(tmp_path, deep=True)
    assert code == 0
    assert "folder of .pt files" in text
    assert "8.pt   is not a readable .pt file" in text
    assert run(tmp_path, as_json=True, force_terminal=True)[0] == 0


def test_a_damaged_packed_copy_is_named_and_made_again_unless_it_is_in_use(tmp_path, samples):
    for i, sample in enumerate(samples[:8]):
        write_pt(tmp_path / f"{i}.pt", sample)
    sound = [store.target.tobytes() for store in [open_data(tmp_path)]]
    (shard,) = tmp_path.glob(".plumbline-cache/*/shard-00000.safetensors")
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    assert run(tmp_path)[0] == 0
    user = open_data(tmp_path)
    code, text = run(tmp_path, deep=True)
    assert code == 1
    assert f"{shard} is damaged" in text
    assert f"in use by another program: end that program and check again, or delete {shard.parent}." in text
    assert bytes(data) == shard.read_bytes()
    del user
    code, text = run(tmp_path, deep=True)
    assert code == 0, text
    assert f"made again: {shard} is damaged" in text
    assert bytes(data) != shard.read_bytes()
    assert [store.target.tobytes() for store in [open_data(tmp_path)]] == sound
    assert "made again" not in run(tmp_path, deep=True)[1]


def test_a_bar_is_shown_only_on_a_terminal(tmp_path, samples):
    write_pt(tmp_path / "a.pt", samples[0])
    assert "reading files" not in run(tmp_path)[1]
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes())
    assert "reading files" in run(tmp_path, force_terminal=True)[1]


def test_a_folded_path_is_not_changed():
    """It breaks between words only, and a tab within a line stays one."""
    value = "/data/objects-scanned-in-the-laboratory-2025 holds\ta b (packed)"
    lines = folded(value, 24)
    assert lines == ["/data/objects-scanned-in-the-laboratory-2025", "holds\ta b (packed)"]


def test_single_object_says_why_it_cannot_be_split(tmp_path):
    write_store(tmp_path / "a", random_samples(0, 3, object_name="mug"), feature_names=FEATURES)
    code, text = run(tmp_path / "a")
    assert code == 0
    assert "at least two" in text


def test_no_data_set_is_the_users_mistake(tmp_path):
    with pytest.raises(InputError, match="plumbline prepare"):
        run(tmp_path / "nothing")


def report_on(path, samples, **fields):
    write_store(path, samples, feature_names=FEATURES, **fields)
    code, text = run(path, as_json=True)
    assert code == 0
    return json.loads(text), run(path)[1]


def sized(radii, **given):
    """Samples of given bounding radii in metres, stored at other scales; targets near the points."""
    rng = np.random.default_rng(0)
    samples = []
    for number, radius in enumerate(radii):
        scale = float(rng.uniform(0.1, 2))
        near = {"target": np.zeros(3), "bounding_radius": radius / scale, "scale": scale, "num_nodes": 20}
        near["node_features"] = (rng.normal(size=(20, 9)) * 0.1 * radius / scale).astype(np.float32)
        samples.append(random_sample(rng, object_name=f"a/{number}", **{**near, **given}))
    return samples


@pytest.mark.parametrize(
    ("radii", "said"),
    [
        ([0.05, 0.1, 30.0], None),
        ([0.05, 50.0, 60.0], "above 50 m: is --scale correct?"),
        ([1e-5, 2e-5, 3.0], "below 2e-05 m: is --scale correct?"),
        ([20.0, 20.0, 20.0], None),
        ([0.001, 0.001, 0.001], None),
    ],
)
def test_sizes_in_metres_show_a_forgotten_scale(tmp_path, radii, said):
    report, text = report_on(tmp_path / "a", sized(radii), normalise="unit")
    expected = {"min": min(radii), "median": np.median(radii), "max": max(radii)}
    assert report["size_in_metres"] == pytest.approx(expected)
    assert f"{max(radii):.3g} m, median" in text or len(set(radii)) == 1
    warnings = [line for line in text.splitlines() if line.startswith("warning: ")]
    assert warnings == [f"warning: {each}" for each in report["warnings"]]
    assert len(warnings) == (said is not None)
    assert said is None or said in warnings[0]


def test_sizes_that_nobody_recorded_are_not_made_up(tmp_path):
    report, text = report_on(tmp_path / "a", sized([50.0, 60.0], scale=1.0), normalise="unit")
    assert report["size_in_metres"] is None
    assert "size in metres" in text
    assert "not recorded" in text
    assert "warning" not in text


def test_targets_far_from_the_points_are_counted_and_named(tmp_path):
    samples = sized([1.0] * 4)
    for number, radii in ((1, 3.5), (2, 2.5), (3, 4.0)):
        samples[number] = replace(
            samples[number], target=np.array([radii * samples[number].bounding_radius, 0, 0])
        )
    report, text = report_on(tmp_path / "a", samples, normalise="unit")
    [warning] = report["warnings"]
    assert warning.startswith("the target of 2 graphs lies more than 3 bounding radii from")
    assert "(the first is a/1):" in warning
    assert f"warning: {warning}" in text
    report, _ = report_on(tmp_path / "b", [*samples[:3], samples[2]], normalise="unit")
    assert report["warnings"][0].startswith("the target of 1 graph lies")


def test_one_is_not_plural(tmp_path):
    store = {"rejected": [Rejected("a.obj", "is open")], "normalise": "unit"}
    _, text = report_on(tmp_path / "a", sized([1.0]), **store)
    assert "1 of 1 object\n" in text
    assert "\n1 input was rejected:" in text
    assert "shows only one object, and" in text
    assert "1 input\n" in text
