"""Several stores are read like one that holds the samples of all."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plumbline.data.pt.cache import open_data, sample_files
from plumbline.data.pt.samples import write_pt
from plumbline.data.store.joined import JoinedStore
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import merge_parts, write_part, write_store
from plumbline.errors import DamagedStoreError, InputError
from plumbline.records import FEATURE_NAMES, Rejected, Sample
from tests.helpers.training_fixtures import random_samples

FIELDS: dict[str, Any] = {"feature_names": list(FEATURE_NAMES), "k": 4, "normalise": "unit"}
FIRST = random_samples(5, 2, seed=1)
SECOND = [replace(one, bounding_radius=float("nan")) for one in random_samples(7, 2, seed=2)[::-1]]
"""Five objects have the same names as those of the first, and come in another order."""


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """The second one in several shards."""
    write_store(tmp_path / "a", FIRST, **FIELDS, rejected=[Rejected("cup.off", "open")])
    for number, some in enumerate((SECOND[:5], SECOND[5:])):
        write_part(tmp_path / f"part-{number}", some)
    parts = [tmp_path / "part-0", tmp_path / "part-1"]
    merge_parts(tmp_path / "b", parts, manifest_fields=FIELDS, shard_bytes=1)
    return [tmp_path / "a", tmp_path / "b"]


def assert_same(one: Any, other: Any) -> None:
    for name, value in one._asdict().items():
        np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def test_it_reads_like_one_store_of_all_samples(folders: list[Path], tmp_path: Path) -> None:
    write_store(tmp_path / "all", [*FIRST, *SECOND], **FIELDS)
    whole, joined = PackedStore.open(tmp_path / "all"), open_data(folders)
    assert isinstance(joined, JoinedStore)
    per_graph = ("target", "origin", "scale", "bounding_radius", "radius_known", "vectors", "num_views")
    for name in (*per_graph, "node_ptr", "edge_ptr", "object_idx"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name), err_msg=name)
        assert getattr(joined, name).dtype == getattr(whole, name).dtype, name
    for name in (
        "object_names",
        "num_objects",
        "num_nodes",
        "num_edges",
        "radius_source",
        "feature_names",
        "k",
    ):
        assert getattr(joined, name) == getattr(whole, name), name
    assert (len(joined), joined.num_objects, joined.radius_source) == (24, 7, "mixed")
    order = np.random.default_rng(0).permutation(len(whole))
    assert_same(whole.gather(order), joined.gather(order))
    assert joined.sample(-1).object_name == whole.sample(-1).object_name
    assert [item.source for item in joined.rejected] == [f"{folders[0]}/cup.off"]


def test_graphs_without_a_size_are_left_out_of_each_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores of an earlier version may hold them; what is joined is what each of them has kept."""
    parts = ([*FIRST[:4], *FIRST[5:]], [*FIRST[:2], *FIRST[3:]])
    write_store(tmp_path / "all", [*parts[0], *parts[1]], **FIELDS)
    whole = PackedStore.open(tmp_path / "all")
    monkeypatch.setattr("plumbline.data.store.writer.scan_radius", lambda sample: 0.0)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, place in zip(folders, (4, 2), strict=True):
        some = list(FIRST)
        some[place] = replace(some[place], bounding_radius=float("nan"))
        write_store(folder, some, **FIELDS, shard_bytes=1)
    joined = open_data(folders)
    order = np.random.default_rng(0).permutation(len(whole))
    for store in (joined, pickle.loads(pickle.dumps(joined))):  # noqa: S301 - it is our own
        assert (len(store), store.num_nodes, store.num_edges) == (18, whole.num_nodes, whole.num_edges)
        assert [store.sample(i).object_name for i in range(18)] == [
            whole.sample(i).object_name for i in range(18)
        ]
        assert_same(whole.gather(order), store.gather(order))
    assert [item.source for item in joined.rejected] == [
        f"{folders[0]}/graph 4 ({FIRST[4].object_name})", f"{folders[1]}/graph 2 ({FIRST[2].object_name})"
    ]  # fmt: skip


def test_the_arrays_of_the_shards_stay_where_they_are(folders: list[Path]) -> None:
    joined = open_data(folders)
    assert isinstance(joined, JoinedStore)
    places = [(part, i) for part in joined.parts for i in range(len(part.manifest["shards"]))]
    assert len(places) > 2
    for number, (part, own) in enumerate(places):
        assert joined.shard(number) is part.shard(own)


def test_it_opens_again_in_another_process(folders: list[Path]) -> None:
    joined = open_data(folders)
    again = pickle.loads(pickle.dumps(joined))  # noqa: S301
    assert again.fingerprint == joined.fingerprint
    assert again.object_names == joined.object_names
    everything = np.arange(len(joined))
    assert_same(joined.gather(everything), again.gather(everything))


def test_the_fingerprint_is_that_of_the_parts_in_their_order(folders: list[Path], tmp_path: Path) -> None:
    joined = open_data(folders)
    (tmp_path / "elsewhere").mkdir()
    moved = [folder.rename(tmp_path / "elsewhere" / folder.name) for folder in folders]
    assert open_data(moved).fingerprint == joined.fingerprint
    others = {open_data(some).fingerprint for some in (moved[::-1], moved[:1], moved[1:])}
    assert len(others | {joined.fingerprint}) == 4
    assert type(open_data(moved[:1])) is type(open_data(moved[0])) is PackedStore


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"feature_names": [*FEATURE_NAMES[:-1], "other"]}, "differ in the features of a point (x, y, z, "),
        ({"normalise": "none"}, "differ in the frame, --normalise (unit; none): prepare both alike"),
        ({"k": 5}, "differ in the number of neighbours, --k (4; 5)"),
        ({"edge_attr": "sh", "sh_degree": 2}, "differ in --edge_attr (none, 0 numbers; sh, "),
        ({"leaders": 3}, "differ in the number of points in farthest-point order (0; 3)"),
    ],
)
def test_data_sets_that_are_not_made_alike_are_refused(
    folders: list[Path], tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    write_store(tmp_path / "c", FIRST, **{**FIELDS, **fields})
    with pytest.raises(InputError) as caught:
        open_data([*folders, tmp_path / "c"])
    assert str(caught.value).startswith(f"--data_dir: {folders[0]} and {tmp_path / 'c'} {said}")


def test_other_vectors_and_the_same_folder_twice_are_refused(folders: list[Path], tmp_path: Path) -> None:
    samples = [replace(one, vectors=np.zeros((1, 3), np.float32)) for one in FIRST]
    write_store(tmp_path / "c", samples, **FIELDS, vector_names=["view"])
    with pytest.raises(InputError, match=r"differ in the vectors of a scan \(none; view\)"):
        open_data([folders[0], tmp_path / "c"])
    with pytest.raises(InputError, match=f"{folders[0].name} is given twice"):
        open_data([*folders, folders[1] / ".." / folders[0].name])


def test_folders_of_files_are_joined_by_their_caches(tmp_path: Path) -> None:
    def write(folder: Path, samples: list[Sample]) -> None:
        folder.mkdir()
        for number, sample in enumerate(samples):
            write_pt(folder / f"{number}.pt", sample)

    write(tmp_path / "a", FIRST[:3])
    write(tmp_path / "b", FIRST[3:7])
    folders = [tmp_path / "a", tmp_path / "b"]
    joined = open_data(folders)
    np.testing.assert_array_equal(joined.target, [sample.target for sample in FIRST[:7]])
    names = [*(f"a/{i}.pt" for i in range(3)), *(f"b/{i}.pt" for i in range(4))]
    assert sample_files(folders, joined) == [str(tmp_path / name) for name in names]


def test_a_damaged_part_is_named(folders: list[Path]) -> None:
    shard = next(folders[1].glob("shard-00001*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DamagedStoreError, match=str(shard)):
        open_data(folders)
