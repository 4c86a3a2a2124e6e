"""The packed store returns what was put in, in any order, and notices every damage."""

import mmap
import multiprocessing
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from plumbline.data.store import reader as packed
from plumbline.data.store import tensors
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import merge_parts, read_part, write_part, write_store
from plumbline.errors import InputError
from plumbline.geometry.harmonics import spherical_harmonics
from plumbline.records import Rejected
from tests.helpers.random_samples import FEATURES, assert_same, random_sample, random_samples

SMALL = 12_000
"""Shard size in bytes that makes several shards of a hundred small graphs."""


def store_of(folder, samples, **fields):
    write_store(folder, samples, **{"feature_names": FEATURES, "shard_bytes": SMALL, **fields})
    return PackedStore.open(folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def samples():
    return random_samples(0, 120)


@pytest.fixture(scope="module")
def store(samples, tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("store") / "a", samples)


# --- what goes in comes out


def test_round_trip_is_exact(samples, store):
    assert len(store) == len(samples)
    assert len(store.manifest["shards"]) > 5
    for i, sample in enumerate(samples):
        assert_same(store.sample(i), sample)
    assert_same(store.sample(-1), samples[-1])
    with pytest.raises(IndexError):
        store.sample(len(samples))


def test_volume_and_inertia_come_back_where_they_are_known(tmp_path):
    """As for a data set of solids and real scans; a store in which none is known has no such arrays."""
    rng = np.random.default_rng(4)
    known = random_sample(rng, volume=0.25, inertia=rng.normal(size=(3, 3)))
    samples = [random_sample(rng), known, random_sample(rng, volume=2.0)]
    store = store_of(tmp_path / "a", samples)
    for i, sample in enumerate(samples):
        assert_same(store.sample(i), sample)
    np.testing.assert_array_equal(store.volume, [np.nan, 0.25, 2.0])
    assert np.isnan(store.inertia[[0, 2]]).all()
    without = store_of(tmp_path / "b", samples[:1])
    assert np.isnan(without.volume).all()
    assert without.inertia.shape == (1, 3, 3)
    names = load_file(without.path / without.manifest["index"]["file"]).keys()
    assert not {"volume", "inertia"} & set(names)


@pytest.mark.parametrize("edge_dim", [0, 1, 4])
def test_stored_edge_attributes_come_back(tmp_path, edge_dim):
    samples = random_samples(1, 40, edge_dim=edge_dim)
    store = store_of(tmp_path / "a", samples, edge_attr="stored")
    assert (store.edge_attr_kind, store.edge_attr_dim) == ("stored", edge_dim)
    for i, sample in enumerate(samples):
        assert_same(store.sample(i), sample)


def test_point_clouds_that_are_not_the_features_come_back(tmp_path):
    rng = np.random.default_rng(2)
    samples = [
        random_sample(
            rng, num_nodes=9, point_cloud=rng.normal(size=(9, 3)).astype(np.float32) if i % 3 else None
        )
        for i in range(60)
    ]
    store = store_of(tmp_path / "a", samples)
    for i, sample in enumerate(samples):
        assert_same(store.sample(i), sample)
    indices = rng.integers(0, 60, 40)
    assert np.array_equal(store.gather(indices).pos, np.concatenate([samples[i].pos for i in indices]))


def test_computed_edge_attributes_are_not_stored(tmp_path):
    samples = random_samples(3, 30, edge_dim=9)
    sh = store_of(tmp_path / "sh", samples, edge_attr="sh", sh_degree=2)
    displacement = store_of(tmp_path / "displacement", samples, edge_attr="displacement")
    assert (sh.edge_attr_dim, displacement.edge_attr_dim) == (9, 3)
    assert "edge_attr" not in sh.shard(0)
    for i, sample in enumerate(samples):
        source, target = sample.edge_index
        vectors = sample.pos[source] - sample.pos[target]
        assert np.array_equal(displacement.sample(i).edge_attr, vectors)
        assert np.allclose(sh.sample(i).edge_attr, spherical_harmonics(vectors, 2), atol=1e-6)
    assert sh.gather(np.arange(3)).edge_attr is None


def test_vectors_of_the_scan_come_back(tmp_path):
    rng = np.random.default_rng(6)
    samples = [random_sample(rng, vectors=rng.normal(size=(2, 3)).astype(np.float32)) for _ in range(60)]
    store = store_of(tmp_path / "a", samples, vector_names=["up", "down"], leaders=64)
    assert (store.vector_names, store.leaders) == (("up", "down"), 64)
    for i, sample in enumerate(samples):
        assert_same(store.sample(i), sample)
    indices = rng.integers(0, 60, 40)
    gathered = store.gather(indices).vectors
    assert gathered.dtype == np.float32
    assert np.array_equal(gathered, np.stack([samples[i].vectors for i in indices]))
    none = store_of(tmp_path / "none", random_samples(7, 5))
    assert none.sample(0).vectors is None
    assert none.gather(np.arange(5)).vectors.shape == (5, 0, 3)
    assert (none.vector_names, none.leaders) == ((), 0)


def test_another_number_of_vectors_is_refused(tmp_path):
    with pytest.raises(InputError, match="0 vectors, but the data set has 1"):
        store_of(tmp_path / "a", random_samples(7, 5), vector_names=["up"])
    mixed = [*random_samples(8, 1, vectors=np.ones((2, 3), np.float32)), *random_samples(7, 1)]
    with pytest.raises(InputError, match="whose vectors differ in width"):
        store_of(tmp_path / "b", mixed, vector_names=["up", "down"])


def test_unknown_radius_is_replaced_and_said(tmp_path):
    samples = random_samples(4, 3, bounding_radius=float("nan"))
    store = store_of(tmp_path / "scan", samples)
    pos = samples[1].pos.astype(np.float64)
    assert store.bounding_radius[1] == np.linalg.norm(pos - pos.mean(axis=0), axis=1).max()
    assert store.radius_source == "scan"
    assert_same(store.sample(1), samples[1])
    mixed = store_of(tmp_path / "mixed", [*samples, *random_samples(5, 1)])
    assert mixed.radius_source == "mixed"
    assert mixed.radius_known.tolist() == [0, 0, 0, 1]
    assert store_of(tmp_path / "object", random_samples(5, 1)).radius_source == "object"


def test_names_in_any_script_and_manifest_fields(tmp_path):
    names = ["mug/ä", "日本", "mug/ä", "caf\udce9", "x" * 500]
    samples = [random_samples(i, 1, object_name=name)[0] for i, name in enumerate(names)]
    refused = [Rejected("open.obj", "has a hole")]
    store = store_of(tmp_path / "a", samples, rejected=refused, k=4, normalise="unit", provenance={"seed": 1})
    assert [store.object_names[i] for i in store.object_idx] == names
    assert store.num_objects == 4
    assert store.rejected == refused
    assert (store.k, store.normalise, store.manifest["provenance"]) == (4, "unit", {"seed": 1})


def test_files_are_plain_safetensors(samples, store):
    shard = load_file(store.path / "shard-00000.safetensors")
    assert np.array_equal(shard["node_features"], store.shard(0)["node_features"])
    assert np.array_equal(load_file(store.path / "index.safetensors")["target"], store.target)
    for array in (*store.shard(0).values(), store.node_ptr, store.target):
        assert array.flags.aligned
        assert not array.flags.writeable


# --- gathering


@settings(max_examples=60, deadline=None)
@given(indices=st.lists(st.integers(0, 119), max_size=40))
def test_gather_is_the_concatenation_of_samples(samples, store, indices):
    batch = store.gather(np.array(indices, np.int64))
    chosen = [samples[i] for i in indices]
    offsets = np.cumsum([0, *(len(s.in_degree) for s in chosen)])
    empty = np.zeros((0, 9), np.float32)
    assert np.array_equal(batch.node_features, np.concatenate([empty, *(s.node_features for s in chosen)]))
    assert np.array_equal(batch.pos, np.concatenate([empty[:, :3], *(s.pos for s in chosen)]))
    assert np.array_equal(batch.in_degree, np.concatenate([[], *(s.in_degree for s in chosen)]))
    expected = [s.edge_source + offset for s, offset in zip(chosen, offsets[:-1], strict=True)]
    assert np.array_equal(batch.edge_source, np.concatenate([[], *expected]))
    assert batch.edge_source.dtype == batch.node_ptr.dtype == batch.edge_ptr.dtype == np.int64
    assert np.array_equal(batch.node_ptr, offsets)
    assert np.array_equal(batch.edge_ptr, np.cumsum([0, *(len(s.edge_source) for s in chosen)]))
    assert np.array_equal(batch.target, np.array([s.target for s in chosen], np.float32).reshape(-1, 3))
    assert np.array_equal(batch.bounding_radius, np.array([s.bounding_radius for s in chosen], np.float32))
    assert np.array_equal(batch.num_views, np.array([s.num_views for s in chosen]))
    assert all(a.flags.c_contiguous for a in batch if a is not None)


@pytest.mark.parametrize("index", [-1, 120])
def test_gather_refuses_indices_out_of_range(store, index):
    with pytest.raises(IndexError):
        store.gather(np.array([0, index]))


# --- writing


def test_same_samples_give_the_same_bytes_however_they_are_grouped(samples, tmp_path):
    refused = [Rejected(f"{i}.obj", "bad") for i in range(3)]
    fields = {"feature_names": FEATURES, "k": 4}
    write_store(tmp_path / "whole", samples, rejected=refused, shard_bytes=SMALL, **fields)
    for number, size in enumerate((1, 7, 120)):
        parts = [tmp_path / f"{number}-{begin}" for begin in range(0, 120, size)]
        for part, begin in zip(parts, range(0, 120, size), strict=True):
            write_part(part, samples[begin : begin + size])
        write_part(tmp_path / "refused", [], refused)
        folder = tmp_path / f"merged{number}"
        merge_parts(folder, [*parts, tmp_path / "refused"], manifest_fields=fields, shard_bytes=SMALL)
        assert contents(folder) == contents(tmp_path / "whole")


def test_part_round_trip(samples, tmp_path):
    write_part(tmp_path / "part", samples[:5], [Rejected("a", "b")])
    part = read_part(tmp_path / "part")
    assert len(part) == 5
    assert part.rejected == (Rejected("a", "b"),)
    assert [part.object_names[i] for i in part.arrays["object_idx"]] == [s.object_name for s in samples[:5]]


def test_graph_larger_than_a_shard_gets_its_own(tmp_path):
    samples = random_samples(6, 5, num_nodes=400)
    store = store_of(tmp_path / "a", samples, shard_bytes=100)
    assert [shard["num_graphs"] for shard in store.manifest["shards"]] == [1] * 5
    assert_same(store.sample(3), samples[3])


def test_shards_are_filled_to_the_size_asked_for_and_no_further(samples, store):
    sizes = [shard["bytes"] for shard in store.manifest["shards"]]
    assert max(sizes) <= SMALL + 512
    assert min(sizes[:-1]) > SMALL - 4 * max(10 * len(s.in_degree) + len(s.edge_source) for s in samples)


def test_killed_while_writing_leaves_no_store_and_can_be_repeated(samples, tmp_path):
    def explode(samples):
        yield from samples[:100]
        raise KeyboardInterrupt

    folder = tmp_path / "a"
    with pytest.raises(KeyboardInterrupt):
        write_store(folder, explode(samples * 20), feature_names=FEATURES, shard_bytes=SMALL)
    (folder / "shard-00099.safetensors").write_bytes(b"left behind")
    (folder / ".shard-00003.safetensors.77.tmp").write_bytes(b"half")
    with pytest.raises(InputError, match=r"no manifest\.json"):
        PackedStore.open(folder)
    write_store(folder, samples, feature_names=FEATURES, shard_bytes=SMALL)
    write_store(tmp_path / "b", samples, feature_names=FEATURES, shard_bytes=SMALL)
    assert contents(folder) == contents(tmp_path / "b")


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(tensors.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        tensors.write_tensors(path, {"a": [np.zeros(3)]})
    assert contents(tmp_path) == {"file": b"old"}


def test_finished_store_is_never_overwritten(samples, store):
    with pytest.raises(InputError, match="already holds"):
        write_store(store.path, samples, feature_names=FEATURES)


def test_nothing_to_store_is_refused_with_the_first_reason(tmp_path):
    with pytest.raises(InputError, match=r"there is no sample to store.*a\.obj: has a hole"):
        write_store(tmp_path / "a", [], rejected=[Rejected("a.obj", "has a hole")], feature_names=FEATURES)


def test_widths_that_differ_are_refused(samples, tmp_path):
    narrow = random_sample(np.random.default_rng(0), num_nodes=2, node_features=np.zeros((2, 4), np.float32))
    with pytest.raises(InputError, match="whose node_features differ in width"):
        write_store(tmp_path / "a", [samples[0], narrow], feature_names=FEATURES)
    with pytest.raises(InputError, match="4 node features, but the data set has 9"):
        write_store(tmp_path / "b", [narrow], feature_names=FEATURES)
    with pytest.raises(InputError, match="edge_attr"):
        write_store(tmp_path / "c", random_samples(0, 2, edge_dim=2) + samples, feature_names=FEATURES,
                    edge_attr="stored")  # fmt: skip


# --- reading


def _sum_in_child(pickled, queue):
    store = pickle.loads(pickled)  # noqa: S301
    queue.put((store.fingerprint, float(store.gather(np.arange(len(store))).node_features.sum())))


def test_pickle_is_small_and_opens_in_a_spawned_process(store):
    pickled = pickle.dumps(store)
    assert len(pickled) < 10_000
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_sum_in_child, args=(pickled, queue))
    child.start()
    result = queue.get(timeout=60)
    child.join()
    assert result == (store.fingerprint, float(store.gather(np.arange(len(store))).node_features.sum()))


def test_fingerprint_follows_the_data(samples, store, tmp_path):
    assert store_of(tmp_path / "same", samples).fingerprint == store.fingerprint
    assert store_of(tmp_path / "other", samples[::-1]).fingerprint != store.fingerprint


def test_opening_maps_no_shard_and_decodes_no_name(store):
    fresh = PackedStore.open(store.path)
    assert not fresh._shards
    assert "object_names" not in vars(fresh)


# -- fetching ahead ----------------------------------------------------------------------------------------


class Noted(mmap.mmap):
    """A mapping that keeps what it is advised."""

    def madvise(self, option: int, start: int, length: int) -> None:
        self.__dict__.setdefault("advice", []).append((option, start, length))
        super().madvise(option, start, length)


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="this system takes no advice")
def test_exactly_the_pages_of_the_rows_are_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "file"
    path.write_bytes(bytes(64 + 12 * 40_000))
    with open(path, "rb") as file:
        memory = Noted(file.fileno(), 0, access=mmap.ACCESS_READ)
    array = np.frombuffer(memory, np.float32, 3 * 40_000, 64).reshape(-1, 3)
    ptr = np.concatenate([[0], np.cumsum(rng.integers(0, 900, 60))])
    graphs = np.array([7, 8, 9, 30, 2, 55, 30])
    tensors.will_need(array, ptr[graphs], ptr[graphs + 1])
    page = mmap.PAGESIZE
    touched = {(64 + 12 * row) // page for graph in graphs for row in range(ptr[graph], ptr[graph + 1])} | {
        (64 + 12 * (row + 1) - 1) // page for graph in graphs for row in range(ptr[graph], ptr[graph + 1])
    }
    asked = {
        number
        for option, start, length in memory.advice
        for number in range(start // page, -(-(start + length) // page))
        if option == mmap.MADV_WILLNEED
    }
    assert asked == touched
    assert len(memory.advice) <= 5, "7, 8 and 9 lie end to end"


def test_all_that_a_batch_reads_is_asked_for_first(store, monkeypatch):
    asked = set()

    def note(array, begin, end):
        rows = [row for pair in zip(begin, end, strict=True) for row in range(*pair)]
        asked.update((array.ctypes.data, int(row)) for row in rows)

    read = set()
    take = packed._take

    def taking(out, arrays, rows, ptr, mine):
        where = slice(None) if mine is None else np.repeat(mine, np.diff(ptr))
        read.update((arrays[name].ctypes.data, int(row)) for name in out for row in rows[where])
        take(out, arrays, rows, ptr, mine)

    monkeypatch.setattr(packed, "will_need", note)
    monkeypatch.setattr(packed, "_take", taking)
    store.gather(np.array([5, 0, 110, 5, 1, 60]), edge_attr=True)
    assert len(store.manifest["shards"]) > 1
    assert read
    assert read <= asked
