"""Every damage to a packed store is noticed and named: on opening where it is cheap, else by verify."""

import json

import numpy as np
import pytest

from plumbline.data.batches.collate import GraphTables, make_batch
from plumbline.data.store import tensors
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.verify import verify
from plumbline.data.store.writer import SCHEMA, write_store
from plumbline.errors import DamagedStoreError, InputError
from tests.helpers.random_samples import FEATURES, random_samples


@pytest.fixture
def copy(tmp_path):
    folder = tmp_path / "store"
    samples = random_samples(0, 60, vectors=np.ones((1, 3), np.float32))
    write_store(folder, samples, feature_names=FEATURES, vector_names=["up"], shard_bytes=6000)
    return folder


def edit_manifest(folder, **changes):
    file = folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_sound_store_has_no_problems(copy):
    assert verify(PackedStore.open(copy)) == []


@pytest.mark.parametrize("file", ["index.safetensors", "shard-00001.safetensors"])
def test_any_flipped_byte_is_found_and_named(copy, file):
    path = copy / file
    sound = path.read_bytes()
    for place in np.linspace(8, len(sound) - 1, 12).astype(int):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 16]) + sound[place + 1 :])
        try:
            problems = verify(PackedStore.open(copy), deep=True)
        except DamagedStoreError as error:
            problems = [str(error)]
        assert problems
        assert file in problems[0]


@pytest.mark.parametrize("file", ["index.safetensors", "shard-00001.safetensors"])
@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_truncated_or_missing_file_is_found_on_opening(copy, file, length):
    path = copy / file
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedStoreError, match=file):
        PackedStore.open(copy)
    path.unlink()
    with pytest.raises(DamagedStoreError, match=f"{file} is missing"):
        PackedStore.open(copy)


def lying_header(entry):
    header = json.dumps({"a": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(24)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        (2**62).to_bytes(8, "little") + bytes(50),
        (40).to_bytes(8, "little") + b"not json" * 5,
        (2).to_bytes(8, "little") + b"[]",
        lying_header({"dtype": "F64", "shape": [2**60], "data_offsets": [0, 24]}),
        lying_header({"dtype": "F64", "shape": [3], "data_offsets": [0, 2**40]}),
        lying_header({"dtype": "F64", "shape": [3], "data_offsets": [-24, 0]}),
        lying_header({"dtype": "F64", "shape": [-3, -1], "data_offsets": [0, 24]}),
        lying_header({"dtype": "OBJECT", "shape": [3], "data_offsets": [0, 24]}),
        lying_header({"dtype": "F64", "shape": [2], "data_offsets": [0, 24]}),
        lying_header({"dtype": "F64", "data_offsets": [0, 24]}),
        lying_header({"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}),
    ],
)
def test_headers_that_lie_are_refused(tmp_path, data):
    path = tmp_path / "file.safetensors"
    path.write_bytes(data)
    with pytest.raises(DamagedStoreError, match=r"file\.safetensors"):
        tensors.map_tensors(path)


def test_shard_of_another_shape_is_refused(copy):
    store = PackedStore.open(copy)
    arrays = {name: [array.copy()] for name, array in store.shard(1).items()}
    arrays["edge_source"] = [arrays["edge_source"][0][:-1]]
    _, size = tensors.write_tensors(copy / "shard-00001.safetensors", arrays)
    store.manifest["shards"][1]["bytes"] = size
    edit_manifest(copy, shards=store.manifest["shards"])
    with pytest.raises(DamagedStoreError, match=r"shard-00001\.safetensors is damaged: edge_source"):
        PackedStore.open(copy).sample(store.shard_graphs(1).start)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("node_features", np.nan, "node_features holds NaN"),
        ("edge_source", 1000, "edge_source names a node"),
        ("edge_source", -1, "edge_source names a node"),
        ("in_degree", 77, "in_degree does not add up"),
    ],
)
def test_wrong_numbers_are_found_with_their_graph(copy, name, value, text):
    store = PackedStore.open(copy)
    arrays = {key: array.copy() for key, array in store.shard(1).items()}
    graph = store.shard_graphs(1).start + 2
    ptr = store.edge_ptr if name == "edge_source" else store.node_ptr
    while ptr[graph] == ptr[graph + 1]:
        graph += 1
    arrays[name].reshape(len(arrays[name]), -1)[ptr[graph] - ptr[store.shard_graphs(1).start]] = value
    tensors.write_tensors(copy / "shard-00001.safetensors", {key: [array] for key, array in arrays.items()})
    problems = [text for text in verify(PackedStore.open(copy)) if "SHA-256" not in text]
    assert len(problems) == 1
    assert text in problems[0]
    assert f"graph {graph}" in problems[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("edge_source", 10**6),
        ("edge_source", -1),
        ("in_degree", 77),
        ("in_degree", -1),
        ("in_degree", 2**31 - 1),
    ],
)
@pytest.mark.parametrize("build", ["batch", "tables"])
def test_indices_that_lead_out_of_the_data_are_refused_before_they_are_followed(copy, name, value, build):
    """Also without ``check --deep``: followed, they would read whatever lies in memory there."""
    arrays = {key: array.copy() for key, array in PackedStore.open(copy).shard(1).items()}
    if (name, value) == ("in_degree", -1):  # made up for by its neighbour, so that the sum is right
        arrays[name][3] += arrays[name][2] + 1
    arrays[name][2] = value
    tensors.write_tensors(copy / "shard-00001.safetensors", {key: [array] for key, array in arrays.items()})
    store = PackedStore.open(copy)
    graphs, needs = np.array(store.shard_graphs(1)), frozenset({"gcn"})
    with pytest.raises(DamagedStoreError, match=r"edges lead out of their graphs; run plumbline check"):
        make_batch(store, graphs, needs) if build == "batch" else GraphTables(store, graphs, needs)


@pytest.mark.parametrize("name", ["node_ptr", "edge_ptr"])
@pytest.mark.parametrize("value", ["first", "last"])
def test_a_graph_outside_its_shard_is_refused(copy, name, value):
    """Within the data as a whole, where its own shard has no such rows."""
    store = PackedStore.open(copy)
    graph = store.shard_graphs(1).start + 1
    arrays = {key: array.copy() for key, array in tensors.map_tensors(copy / "index.safetensors").items()}
    arrays[name][graph] = 0 if value == "first" else arrays[name][-1]
    tensors.write_tensors(copy / "index.safetensors", {key: [array] for key, array in arrays.items()})
    for graphs in ([graph], [graph, 0], [0, graph - 1]):
        if value == "last" or graphs[-1] != graph - 1:
            with pytest.raises(DamagedStoreError, match="its index points outside a shard"):
                PackedStore.open(copy).gather(np.array(graphs))


@pytest.mark.parametrize("value", [-1, 10**6])
def test_a_graph_of_no_object_is_refused(copy, value):
    arrays = {key: array.copy() for key, array in tensors.map_tensors(copy / "index.safetensors").items()}
    arrays["object_idx"][3] = value
    tensors.write_tensors(copy / "index.safetensors", {key: [array] for key, array in arrays.items()})
    with pytest.raises(DamagedStoreError, match="names objects that do not exist; run plumbline check"):
        _ = PackedStore.open(copy).object_names


@pytest.mark.parametrize("name", ["node_ptr", "edge_ptr"])
@pytest.mark.parametrize("value", [-1, 10**12])
def test_an_index_that_leads_out_of_the_data_is_refused_before_it_is_followed(copy, name, value):
    arrays = {key: array.copy() for key, array in tensors.map_tensors(copy / "index.safetensors").items()}
    arrays[name][3] = value
    tensors.write_tensors(copy / "index.safetensors", {key: [array] for key, array in arrays.items()})
    store = PackedStore.open(copy)
    for graphs in ([2], [3], range(len(store))):
        with pytest.raises(DamagedStoreError, match="its index points outside a shard; run plumbline check"):
            store.gather(np.array(graphs))


@pytest.mark.parametrize(
    ("name", "row", "value", "text"),
    [
        ("node_ptr", 3, 10**9, "node_ptr does not increase"),
        ("edge_ptr", 3, -1, "edge_ptr decreases"),
        ("target", 4, np.inf, "target of graph 4 is not finite"),
        ("bounding_radius", 5, np.nan, "bounding_radius of graph 5"),
        ("vectors", 6, np.nan, "vectors of graph 6 is not finite"),
        ("scale", 5, -1.0, "not positive"),
        ("object_idx", 5, 10**6, "object_idx names an object"),
    ],
)
def test_wrong_index_is_found_without_looking_at_shards(copy, name, row, value, text):
    arrays = {key: array.copy() for key, array in tensors.map_tensors(copy / "index.safetensors").items()}
    arrays[name][row] = value
    tensors.write_tensors(copy / "index.safetensors", {key: [array] for key, array in arrays.items()})
    problems = verify(PackedStore.open(copy), deep=False)
    assert any(text in problem and "index.safetensors" in problem for problem in problems)


def test_schema_from_the_future_is_refused_with_advice(copy):
    edit_manifest(copy, schema=SCHEMA + 1)
    with pytest.raises(InputError, match=rf"schema version {SCHEMA + 1}.*update the program"):
        PackedStore.open(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"shards": []},
        {"shards": [{"file": "../outside", "sha256": "", "bytes": 1, "num_graphs": 60}]},
        {"shards": None},
        {"num_graphs": 61},
        {"num_nodes": "many"},
        {"num_nodes": -1},
        {"num_graphs": 0, "num_objects": 0, "num_nodes": 0, "num_edges": 0, "shards": []},
        {"edge_attr": {"kind": "stored", "sh_degree": None, "dim": "wide"}},
        {"num_nodes": 3},
        {"num_objects": 10**7},
        {"index": {"file": "/etc/passwd", "sha256": "", "bytes": 1}},
        {"edge_attr": {"kind": "magic", "sh_degree": None, "dim": 0}},
        {"rejected": [{"source": 3}]},
    ],
)
def test_manifests_that_contradict_the_files_are_refused(copy, changes):
    edit_manifest(copy, **changes)
    with pytest.raises(DamagedStoreError):
        PackedStore.open(copy)


def test_folders_without_a_store_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no manifest\.json"):
        PackedStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="does not describe a packed data set"):
        PackedStore.open(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(DamagedStoreError, match="not JSON"):
        PackedStore.open(tmp_path)
