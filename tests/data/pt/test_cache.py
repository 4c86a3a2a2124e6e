"""A folder of sample files becomes a packed store once: whole, current, and safe with many at once."""

import errno
import json
import multiprocessing
import os
import pickle
import shutil
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from plumbline import locks
from plumbline.data.pt import cache, samples
from plumbline.data.pt.cache import CACHE_FOLDER, open_data
from plumbline.data.pt.samples import write_dataset_metadata, write_pt
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.verify import verify
from plumbline.data.store.writer import write_store
from plumbline.errors import DamagedStoreError, InputError
from tests.helpers.random_samples import FEATURES, assert_same, random_sample, random_samples

RNG_SAMPLES = random_samples(0, 12)


@pytest.fixture
def folder(tmp_path):
    """Twelve sound files."""
    folder = tmp_path / "data"
    folder.mkdir()
    for i, sample in enumerate(RNG_SAMPLES):
        write_pt(folder / f"{i:02d}.pt", sample, k=4, normalise="unit")
    return folder


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that were read."""
    names = []
    original = samples.read_pt_metadata

    def read(path, **kwargs):
        names.append(path.name)
        return original(path, **kwargs)

    monkeypatch.setattr(samples, "read_pt_metadata", read)
    return names


def caches(folder):
    return sorted(path.name for path in (folder / CACHE_FOLDER).iterdir() if path.is_dir())


def touch_later(path):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


# --- opening


def test_folder_gives_the_same_samples_in_the_order_of_names(folder):
    store = open_data(folder)
    assert len(store) == 12
    for i, sample in enumerate(RNG_SAMPLES):
        assert_same(store.sample(i), sample)
    assert verify(store) == []
    assert (store.k, store.normalise, store.edge_attr_kind, store.rejected) == (4, "unit", "none", [])


def test_packed_store_is_opened_where_it_is(tmp_path):
    write_store(tmp_path / "a", RNG_SAMPLES, feature_names=FEATURES)
    assert open_data(tmp_path / "a").path == tmp_path / "a"
    assert not (tmp_path / "a" / CACHE_FOLDER).exists()


def test_files_are_read_once_and_progress_is_told(folder, reads):
    told = []
    first = open_data(folder, progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 12) for i in range(12)]
    assert open_data(str(folder)).fingerprint == first.fingerprint
    assert len(reads) == 12


def test_relative_path_is_the_same_folder(folder, reads, monkeypatch):
    open_data(folder)
    monkeypatch.chdir(folder)
    open_data(".")
    assert len(reads) == 12


def test_stored_edge_attributes_and_dataset_metadata_are_taken_over(tmp_path):
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    for i, sample in enumerate(random_samples(1, 4, edge_dim=9, vectors=vectors)):
        write_pt(tmp_path / f"{i}.pt", sample, edge_attr="sh", sh_degree=2)
    write_dataset_metadata(
        tmp_path,
        [{"filename": f"{i}.pt", "object_name": f"cup/{i // 2}"} for i in range(4)],
        feature_names=list(FEATURES),
        vector_names=["up", "down"],
        leaders=64,
        normalise="centre",
        provenance={"seed": 3},
        rejected=[{"source": "open.obj", "reason": "has a hole"}],
    )
    store = open_data(tmp_path)
    assert (store.edge_attr_kind, store.edge_attr_dim) == ("stored", 9)
    assert store.feature_names == FEATURES
    assert (store.vector_names, store.leaders) == (("up", "down"), 64)
    assert np.array_equal(store.vectors, np.stack([vectors] * 4))
    assert store.object_names == ["cup/0", "cup/1"]
    assert (store.normalise, store.manifest["provenance"]) == ("centre", {"seed": 3})
    assert [item.source for item in store.rejected] == ["open.obj"]


def test_many_files_go_through_several_parts(folder, monkeypatch):
    whole = open_data(folder).fingerprint
    written = Mock(side_effect=cache.write_part)
    monkeypatch.setattr(cache, "write_part", written)
    for name, amount, parts in (("_CHUNK", 5, 3), ("_CHUNK_BYTES", 1, 12)):
        shutil.rmtree(folder / CACHE_FOLDER)
        monkeypatch.setattr(cache, name, amount)
        written.reset_mock()
        assert open_data(folder).fingerprint == whole
        assert written.call_count == parts + 1  # and one for the rejected files


# --- changes


@pytest.mark.parametrize("change", ["content", "time", "size", "new", "gone", "renamed", "metadata"])
def test_any_change_of_the_files_makes_the_cache_again(folder, reads, change):
    open_data(folder)
    before = caches(folder)
    reads.clear()
    if change == "content":
        write_pt(folder / "03.pt", random_sample(np.random.default_rng(9)))
    elif change == "time":
        touch_later(folder / "03.pt")
    elif change == "size":
        stat = (folder / "03.pt").stat()
        write_pt(folder / "03.pt", random_sample(np.random.default_rng(9), num_nodes=99))
        os.utime(folder / "03.pt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif change == "new":
        write_pt(folder / "99.pt", RNG_SAMPLES[0])
    elif change == "gone":
        (folder / "03.pt").unlink()
    elif change == "renamed":
        (folder / "03.pt").rename(folder / "03b.pt")
    else:
        write_dataset_metadata(folder, [])
    open_data(folder)
    assert reads
    assert len(caches(folder)) == 1
    assert caches(folder) != before


def test_damaged_cache_is_made_again(folder, reads):
    store = open_data(folder)
    (store.path / "shard-00000.safetensors").write_bytes(b"")
    reads.clear()
    again = open_data(folder)
    assert len(reads) == 12
    assert verify(again) == []


def test_what_a_killed_process_left_is_neither_used_nor_kept(folder):
    left = folder / CACHE_FOLDER / ".building-0123-abc"
    (left / "store").mkdir(parents=True)
    (left / "store" / "shard-00000.safetensors").write_bytes(b"half")
    assert verify(open_data(folder)) == []
    assert len(caches(folder)) == 1


@pytest.mark.parametrize("after", [0, 1, 3])
def test_killed_at_any_write_leaves_no_cache(folder, monkeypatch, after):
    """The process dies at the n-th rename (part, shard, index, manifest)."""
    original, calls = os.replace, []

    def replace(*args):
        calls.append(args)
        if len(calls) > after:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        patch.setattr(cache.shutil, "rmtree", lambda *args, **kwargs: None)
        with pytest.raises(KeyboardInterrupt):
            open_data(folder)
    assert all(name.startswith(".building-") for name in caches(folder))
    assert verify(open_data(folder)) == []
    assert len(caches(folder)) == 1


def test_caches_in_use_stay_until_the_next_change(folder):
    """A training opens shards, and its workers the whole store, after others have packed anew."""
    store = open_data(folder)
    touch_later(folder / "03.pt")
    open_data(folder)
    assert len(caches(folder)) == 2
    assert_same(store.sample(3), RNG_SAMPLES[3])
    assert pickle.loads(pickle.dumps(store)).fingerprint == store.fingerprint  # noqa: S301
    del store
    touch_later(folder / "03.pt")
    open_data(folder)
    assert len(caches(folder)) == 1


def test_a_cache_in_use_by_another_process_stays(folder):
    code = (
        "import sys; from plumbline.data.pt.cache import open_data\n"
        "store = open_data(sys.argv[1]); print('open', flush=True); input()\n"
        "print(len(store.gather(range(12)).pos))"
    )
    with Popen([sys.executable, "-c", code, str(folder)], stdin=PIPE, stdout=PIPE, text=True) as child:
        assert child.stdout.readline() == "open\n"
        touch_later(folder / "03.pt")
        open_data(folder)
        said = child.communicate("\n", timeout=60)[0]
    assert int(said) == sum(len(sample.in_degree) for sample in RNG_SAMPLES)
    touch_later(folder / "03.pt")
    open_data(folder)
    assert len(caches(folder)) == 1


def test_a_cache_of_another_layout_is_made_again(folder, reads):
    manifest = open_data(folder).path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema": 0}))
    assert verify(open_data(folder)) == []
    assert len(reads) == 24


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no list of open files")
def test_opening_a_cache_leaves_no_file_open(folder):
    open_data(folder)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        open_data(folder)
    assert len(os.listdir("/proc/self/fd")) == before


# --- many at once


def _open_in_child(folder, locked, start, queue):
    if not locked:
        locks.fcntl = None
    start.wait(60)
    store = open_data(folder)
    queue.put((store.fingerprint, len(verify(store)), float(store.gather(np.arange(len(store))).pos.sum())))


@pytest.mark.parametrize("locked", [True, False])
def test_processes_that_start_together_all_get_the_whole(folder, locked):
    context = multiprocessing.get_context("fork")
    start, queue = context.Barrier(4), context.Queue()
    children = [context.Process(target=_open_in_child, args=(folder, locked, start, queue)) for _ in range(4)]
    for child in children:
        child.start()
    results = {queue.get(timeout=60) for _ in children}
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert len(results) == 1
    assert len([name for name in caches(folder) if not name.startswith(".")]) == 1
    assert verify(open_data(folder)) == []


def test_loser_of_the_race_uses_the_winners_cache(folder, monkeypatch):
    """Another process finishes between our look and our rename."""
    original = cache._pack

    def pack(*args):
        rejected = original(*args)
        with monkeypatch.context() as patch:
            patch.setattr(cache, "_pack", original)
            patch.setattr(locks, "fcntl", None)
            winner.append(open_data(folder))
        return rejected

    winner: list[PackedStore] = []
    monkeypatch.setattr(cache, "_pack", pack)
    monkeypatch.setattr(locks, "fcntl", None)
    store = open_data(folder)
    assert store.path == winner[0].path
    assert store.fingerprint == winner[0].fingerprint


# --- where


def test_read_only_folder_uses_the_users_cache(folder, tmp_path, monkeypatch, reads):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    original = Path.mkdir

    def mkdir(self, *args, **kwargs):
        if self.parent == folder:
            raise OSError(errno.EROFS, "Read-only file system")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    store = open_data(folder)
    assert store.path.is_relative_to(tmp_path / "home" / "plumbline")
    assert not (folder / CACHE_FOLDER).exists()
    assert_same(store.sample(3), RNG_SAMPLES[3])
    open_data(folder)
    assert len(reads) == 12


def test_existing_but_unwritable_cache_folder_uses_the_users_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (folder / CACHE_FOLDER).mkdir()
    original = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: folder not in Path(path).parents and original(path, mode)
    )
    assert open_data(folder).path.is_relative_to(tmp_path / "home")


def test_users_cache_without_xdg_is_in_the_home_folder(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache._user_cache(folder).parent == tmp_path / ".cache" / "plumbline"


def test_nowhere_to_write_is_one_sentence(folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="XDG_CACHE_HOME"):
        open_data(folder)


def test_full_disk_is_one_sentence_and_leaves_nothing(folder, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="no space in"):
        open_data(folder)
    assert caches(folder) == []


# --- rejects


def test_bad_files_are_listed_and_the_others_used(folder):
    torch.save([1], folder / "00.pt")
    (folder / "05.pt").write_bytes(b"junk")
    narrow = random_sample(np.random.default_rng(0), num_nodes=3, node_features=np.ones((3, 4), np.float32))
    write_pt(folder / "07.pt", narrow)
    write_pt(folder / "08.pt", random_sample(np.random.default_rng(0), edge_dim=2))
    store = open_data(folder)
    reasons = {item.source: item.reason for item in store.rejected}
    assert list(reasons) == ["00.pt", "05.pt", "07.pt", "08.pt"]
    assert "list where a dictionary" in reasons["00.pt"]
    assert "not a readable" in reasons["05.pt"]
    assert reasons["07.pt"] == "has 4 node features where most files have 9"
    assert reasons["08.pt"] == "has 2 edge features where most files have no"
    kept = [i for i in range(12) if i not in (0, 5, 7, 8)]
    for position, i in enumerate(kept):
        assert_same(store.sample(position), RNG_SAMPLES[i])
    assert open_data(folder).rejected == store.rejected


def test_majority_decides_the_widths_even_when_the_first_file_is_odd(tmp_path):
    for i in range(5):
        width = 4 if i < 2 else 9
        features = np.random.default_rng(i).normal(size=(3, width)).astype(np.float32)
        write_pt(
            tmp_path / f"{i}.pt", random_sample(np.random.default_rng(i), num_nodes=3, node_features=features)
        )
    store = open_data(tmp_path)
    assert len(store) == 3
    assert [item.source for item in store.rejected] == ["0.pt", "1.pt"]
    assert store.leaders == 0
    odd = random_sample(np.random.default_rng(9), num_nodes=3, vectors=np.zeros((2, 3), np.float32))
    write_pt(tmp_path / "5.pt", odd)
    assert open_data(tmp_path).rejected[-1].reason == "has 2 vectors where most files have 0"


def test_nothing_usable_is_refused_with_the_first_reasons(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.pt").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"none of the 5 .pt files.*0\.pt is not a readable.*and 2 more"):
        open_data(tmp_path)
    assert caches(tmp_path) == []


def test_damaged_packed_store_is_not_made_again(tmp_path):
    write_store(tmp_path / "a", RNG_SAMPLES, feature_names=FEATURES)
    manifest = tmp_path / "a" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "num_nodes": 1}))
    with pytest.raises(DamagedStoreError):
        open_data(tmp_path / "a")
