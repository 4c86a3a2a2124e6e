"""Sample files: what is written is read, everything wrong is refused with its reason, nothing is executed."""

import errno
import json
import os
import random

import numpy as np
import pytest
import torch

from plumbline.data.pt.samples import list_pt, read_pt, read_pt_metadata, write_dataset_metadata, write_pt
from plumbline.errors import InputError, SampleError
from plumbline.geometry.mesh_files import find_meshes
from tests.helpers.random_samples import assert_same, random_sample, random_samples


def content(**changes):
    """The smallest useful file, changed; None takes a key away."""
    values = {
        "node_features": torch.arange(12, dtype=torch.float32).reshape(4, 3),
        "edge_index": torch.tensor([[3, 0, 1, 2, 2], [1, 1, 0, 1, 0]]),
        "target": torch.tensor([1.0, 2.0, 3.0]),
    }
    return {key: value for key, value in {**values, **changes}.items() if value is not None}


def save(tmp_path, value, name="cup_sample1.pt"):
    torch.save(value, tmp_path / name)
    return tmp_path / name


# --- reading and writing


@pytest.mark.parametrize("edge_dim", [None, 9])
def test_round_trip_is_exact(tmp_path, edge_dim):
    for i, sample in enumerate(random_samples(0, 20, edge_dim=edge_dim)):
        write_pt(
            tmp_path / f"{i}.pt", sample, edge_attr="none" if edge_dim is None else "sh", sh_degree=2, k=4
        )
        assert_same(read_pt(tmp_path / f"{i}.pt"), sample)


def test_point_cloud_and_unknown_radius_come_back(tmp_path):
    cloud = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    sample = random_sample(
        np.random.default_rng(1), num_nodes=5, point_cloud=cloud, bounding_radius=float("nan"), edge_dim=0
    )
    write_pt(tmp_path / "a.pt", sample)
    assert_same(read_pt(tmp_path / "a.pt"), sample)


def test_vectors_come_back(tmp_path):
    rng = np.random.default_rng(3)
    sample = random_sample(rng, vectors=rng.normal(size=(3, 3)).astype(np.float32))
    write_pt(tmp_path / "a.pt", sample)
    assert_same(read_pt(tmp_path / "a.pt"), sample)
    for wrong, reason in ((torch.ones(3, 2), r"\[any, 3\]"), (torch.full((1, 3), torch.nan), "NaN")):
        with pytest.raises(SampleError, match=f"vectors .*{reason}"):
            read_pt(save(tmp_path, content(vectors=wrong)))


def test_volume_and_inertia_come_back(tmp_path):
    rng = np.random.default_rng(3)
    sample = random_sample(rng, volume=0.5, inertia=rng.normal(size=(3, 3)))
    write_pt(tmp_path / "a.pt", sample)
    assert_same(read_pt(tmp_path / "a.pt"), sample)
    for wrong in ([1.0, 2.0], [[np.nan] * 3] * 3, "none", [[1, 2, 3], [4, 5], [6]]):
        with pytest.raises(SampleError, match="metadata inertia is not three rows of three finite numbers"):
            read_pt(save(tmp_path, content(metadata={"inertia": wrong})))
    with pytest.raises(SampleError, match=r"metadata volume is -1\.0, which is no possible value"):
        read_pt(save(tmp_path, content(metadata={"volume": -1.0})))


def test_written_file_has_the_documented_layout(tmp_path):
    sample = random_sample(np.random.default_rng(0), num_nodes=6, edge_dim=9)
    write_pt(tmp_path / "a.pt", sample, edge_attr="sh", sh_degree=2, normalise="unit", k=16)
    stored = torch.load(tmp_path / "a.pt", weights_only=True)
    num_edges = len(sample.edge_source)
    shapes = {key: tuple(value.shape) for key, value in stored.items() if isinstance(value, torch.Tensor)}
    assert shapes == {
        "node_features": (6, 9),
        "edge_index": (2, num_edges),
        "edge_attr": (num_edges, 9),
        "point_cloud": (6, 3),
        "target": (3,),
    }
    assert stored["edge_index"].dtype == torch.int64
    assert (stored["num_nodes"], stored["num_edges"]) == (6, num_edges)
    assert stored["metadata"] == {
        "k_neighbors": 16,
        "use_spherical_harmonics": True,
        "max_sh_degree": 2,
        "edge_attr_dim": 9,
        "normalized_pointcloud": True,
        "object_name": sample.object_name,
        "bounding_radius": sample.bounding_radius,
        "origin": list(sample.origin),
        "scale": sample.scale,
        "num_views": sample.num_views,
    }
    assert read_pt_metadata(tmp_path / "a.pt")[1] == stored["metadata"]


def test_edges_are_sorted_by_target_and_take_their_attributes_along(tmp_path):
    attributes = torch.arange(10, dtype=torch.float32).reshape(5, 2)
    sample = read_pt(save(tmp_path, content(edge_attr=attributes)))
    assert sample.edge_index.tolist() == [[1, 2, 3, 0, 2], [0, 0, 1, 1, 1]]
    assert sample.in_degree.tolist() == [2, 3, 0, 0]
    assert np.array_equal(sample.edge_attr, attributes[[2, 4, 0, 1, 3]])


def test_smallest_file_gets_the_defaults(tmp_path):
    sample = read_pt(save(tmp_path, content()))
    assert sample.object_name == "cup"
    assert np.isnan(sample.bounding_radius)
    assert (sample.origin, sample.scale, sample.num_views) == ((0.0, 0.0, 0.0), 1.0, 0)
    assert sample.edge_attr is sample.point_cloud is None
    assert sample.target.dtype == np.float64


def test_other_types_of_the_same_values_are_accepted(tmp_path):
    plain = read_pt(save(tmp_path, content()))
    other = content(metadata={}, num_nodes=torch.tensor(4), num_edges=5)
    other["node_features"] = other["node_features"].double().requires_grad_()
    other["edge_index"] = other["edge_index"].int()
    other["target"] = other["target"].half().reshape(1, 3)
    other["point_cloud"] = other["node_features"].detach().clone()
    assert_same(read_pt(save(tmp_path, other)), plain)


def test_a_graph_without_edges_is_accepted(tmp_path):
    sample = read_pt(save(tmp_path, content(edge_index=torch.zeros(2, 0, dtype=torch.int64))))
    assert sample.in_degree.tolist() == [0, 0, 0, 0]


# --- object names


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("mug_12_sample3", "mug_12"),
        ("mug_view2", "mug"),
        ("a-scan1", "a"),
        ("chair_0001", "chair_0001"),
        ("sample3", "sample3"),
        ("mug_sample", "mug_sample"),
    ],
)
def test_object_name_from_the_file_name(tmp_path, stem, name):
    assert read_pt(save(tmp_path, content(), f"{stem}.pt")).object_name == name


def test_object_name_from_metadata_wins_over_the_file_name(tmp_path):
    path = save(tmp_path, content(metadata={"object_name": "mug/1"}))
    assert read_pt(path).object_name == "mug/1"
    assert read_pt(path, object_name="mug/2").object_name == "mug/2"


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    original = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for look in (list_pt, lambda path: find_meshes([path])):
        with pytest.raises(InputError, match="locked cannot be read: Permission denied"):
            look(tmp_path)


def test_files_are_listed_with_their_names(tmp_path):
    for name in ("b_sample1.pt", "a.pt", "sub/c.pt", ".hidden/d.pt", ".e.pt", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    write_dataset_metadata(
        tmp_path, [{"filename": "sub/c.pt", "object_name": "C"}, {"filename": "a.pt"}], seed=1
    )
    listed = [(path.relative_to(tmp_path).as_posix(), name) for path, name in list_pt(tmp_path)]
    assert listed == [("a.pt", None), ("b_sample1.pt", None), ("sub/c.pt", "C")]
    assert json.loads((tmp_path / "dataset_metadata.json").read_text())["seed"] == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}'])
def test_unreadable_dataset_metadata_is_refused(tmp_path, text):
    (tmp_path / "dataset_metadata.json").write_text(text)
    with pytest.raises(SampleError, match=r"dataset_metadata\.json"):
        list_pt(tmp_path)


# --- rejects

NAN, INF = float("nan"), float("inf")
REJECTS = {
    "no node_features": ({"node_features": None}, "lacks node_features"),
    "no edge_index, no target": ({"edge_index": None, "target": None}, "lacks edge_index, target"),
    "array for tensor": ({"node_features": [[1.0, 2.0, 3.0]]}, "node_features is a list"),
    "integer features": ({"node_features": torch.ones(4, 3, dtype=torch.int64)}, "node_features is int64"),
    "flat features": ({"node_features": torch.ones(4)}, r"node_features has shape \[4\]"),
    "no nodes": ({"node_features": torch.ones(0, 3)}, "node_features is empty"),
    "no features": ({"node_features": torch.ones(4, 0)}, "node_features is empty"),
    "NaN features": ({"node_features": torch.full((4, 3), NAN)}, "node_features holds NaN"),
    "too large for float32": ({"node_features": torch.full((4, 3), 1e300, dtype=torch.float64)}, "infinite"),
    "sparse features": ({"node_features": torch.eye(4).to_sparse()}, "not an ordinary dense tensor"),
    "no position": ({"node_features": torch.ones(4, 2)}, "no point_cloud"),
    "cloud of another length": ({"point_cloud": torch.ones(5, 3)}, r"point_cloud has shape \[5, 3\]"),
    "flat cloud": ({"point_cloud": torch.ones(4, 2)}, r"point_cloud has shape \[4, 2\] where \[4, 3\]"),
    "infinite cloud": ({"point_cloud": torch.full((4, 3), INF)}, "point_cloud holds NaN or infinite"),
    "real edges": ({"edge_index": torch.zeros(2, 3)}, "edge_index is float32"),
    "transposed edges": (
        {"edge_index": torch.zeros(5, 2, dtype=torch.int64)},
        r"edge_index has shape \[5, 2\]",
    ),
    "edge beyond": ({"edge_index": torch.tensor([[0], [4]])}, "edge_index names node 4, and there are 4"),
    "edge before": ({"edge_index": torch.tensor([[-1], [0]])}, "edge_index names node -1"),
    "edge_attr rows": ({"edge_attr": torch.ones(4, 2)}, r"edge_attr has shape \[4, 2\] where \[5, any\]"),
    "flat edge_attr": ({"edge_attr": torch.ones(5)}, r"edge_attr has shape \[5\]"),
    "NaN edge_attr": ({"edge_attr": torch.full((5, 2), NAN)}, "edge_attr holds NaN"),
    "short target": ({"target": torch.ones(2)}, r"target has shape \[2\]"),
    "two targets": ({"target": torch.ones(2, 3)}, r"target has shape \[2, 3\]"),
    "integer target": ({"target": torch.ones(3, dtype=torch.int64)}, "target is int64"),
    "NaN target": ({"target": torch.tensor([0.0, NAN, 0.0])}, "target holds NaN"),
    "wrong num_nodes": ({"num_nodes": 5}, "num_nodes says 5, and there are 4"),
    "odd num_edges": ({"num_edges": torch.ones(2)}, "num_edges says"),
    "metadata list": ({"metadata": [1]}, "metadata is a list"),
    "text radius": ({"metadata": {"bounding_radius": "1"}}, "bounding_radius is a str"),
    "negative radius": ({"metadata": {"bounding_radius": -1.0}}, "bounding_radius is -1.0"),
    "zero scale": ({"metadata": {"scale": 0.0}}, "scale is 0.0"),
    "NaN scale": ({"metadata": {"scale": NAN}}, "scale is nan"),
    "huge views": ({"metadata": {"num_views": 10**400}}, "num_views is 1000"),
    "short origin": ({"metadata": {"origin": [0.0, 1.0]}}, "origin is not a list of three"),
    "infinite origin": ({"metadata": {"origin": [0.0, 1.0, INF]}}, "origin is not three finite"),
}


@pytest.mark.parametrize("case", REJECTS)
def test_every_fault_is_refused_with_its_reason(tmp_path, case):
    changes, reason = REJECTS[case]
    with pytest.raises(SampleError, match=reason):
        read_pt(save(tmp_path, content(**changes)))


@pytest.mark.parametrize("value", [[1, 2], torch.ones(3), 7, None, {}])
def test_what_is_no_sample_is_refused(tmp_path, value):
    with pytest.raises(SampleError, match=r"dictionary is expected|lacks node_features, edge_index, target"):
        read_pt(save(tmp_path, value))


@pytest.mark.parametrize("data", [b"", b"hello", b"junk", b"PK\x03\x04" + bytes(50), b"\x80\x02."])
def test_what_is_no_pt_file_is_refused(tmp_path, data):
    path = tmp_path / "a.pt"
    path.write_bytes(data)
    with pytest.raises(SampleError, match=r"not a readable \.pt file"):
        read_pt(path)
    path.unlink()
    with pytest.raises(SampleError, match="does not exist"):
        read_pt(path)


def test_random_damage_gives_a_reason_or_a_sound_sample(tmp_path):
    sound = save(tmp_path, content(metadata={"origin": [1.0, 2.0, 3.0]})).read_bytes()
    path = tmp_path / "damaged.pt"
    refused = 0
    for seed in range(300):
        rng = random.Random(seed)
        data = bytearray(sound)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        if seed % 7 == 0:
            data = rng.randbytes(40)
        path.write_bytes(data[: rng.randrange(len(data))] if seed % 5 == 0 else data)
        try:
            assert np.isfinite(read_pt(path).node_features).all()
        except SampleError:
            refused += 1
    assert 100 < refused < 300
