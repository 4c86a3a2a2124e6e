"""The smallest, largest and oddest inputs: each is processed correctly or refused in one sentence."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plumbline.cli import main
from plumbline.data.pt.cache import open_data
from plumbline.data.pt.samples import read_pt, write_pt
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError
from plumbline.geometry.clouds import read_cloud
from plumbline.geometry.graphs import build_sample
from plumbline.geometry.meshes import load_mesh
from plumbline.geometry.neighbours import nearest_neighbours
from plumbline.records import Sample, Scan
from tests.helpers.preparing import BOX, write_off
from tests.helpers.random_samples import assert_same, random_sample
from tests.reliability.readers import check_sample

FINITE32 = st.floats(-(2.0**40), 2.0**40, width=32) | st.sampled_from([0.0, 2.0**-40, -(2.0**-149)])
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Graphs with any numbers and any name, also of one node and without edges."""
    nodes = draw(st.integers(1, 6))
    in_degree = draw(arrays(np.int32, nodes, elements=st.integers(0, 3)))
    num_edges = int(in_degree.sum())
    return Sample(
        node_features=draw(arrays(np.float32, (nodes, 4), elements=FINITE32)),
        in_degree=in_degree,
        edge_source=draw(arrays(np.int32, num_edges, elements=st.integers(0, nodes - 1))),
        target=draw(arrays(np.float64, 3, elements=st.floats(-1e12, 1e12))),
        object_name=draw(NAMES),
        edge_attr=draw(arrays(np.float32, (num_edges, 2), elements=FINITE32)),
        bounding_radius=draw(st.floats(1e-12, 1e9)),
        origin=tuple(draw(st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=3))),
        scale=draw(st.floats(1e-12, 1e9)),
        num_views=draw(st.integers(0, 9)),
    )


@settings(max_examples=60, deadline=None)
@given(graphs=st.lists(samples(), min_size=1, max_size=3))
def test_whatever_is_written_is_read(tmp_path_factory, graphs):
    folder = tmp_path_factory.mktemp("round")
    for sample in graphs:
        write_pt(folder / "a.pt", sample, edge_attr="stored")
        assert_same(read_pt(folder / "a.pt"), sample)
    write_store(folder / "store", graphs, feature_names="abcd", edge_attr="stored", shard_bytes=100)
    store = PackedStore.open(folder / "store")
    for number, sample in enumerate(graphs):
        assert_same(store.sample(number), sample)


@settings(max_examples=150, deadline=None)
@given(
    points=arrays(
        np.float64, st.tuples(st.integers(1, 40), st.just(3)), elements=st.sampled_from([0, 1, 1, 2, -0.5])
    ),
    size=st.sampled_from([1e-12, 1e-6, 1.0, 1e6, 1e12]),
    far=st.sampled_from([0.0, 1.0, 1e6]),
    k=st.sampled_from([1, 4, 16, 100]),
    normalise=st.sampled_from(["unit", "centre", "none"]),
)
def test_any_scan_becomes_a_sound_graph_or_is_refused(points, size, far, k, normalise):
    """Duplicates, one place, lines, planes and two points; as small as 1e-12 and as large as 1e12 metres."""
    points = points * size + far
    sensor = np.broadcast_to(far + size * np.array([5.0, 4.0, 3.0]), points.shape).copy()
    scan = Scan(points, sensor, np.zeros(len(points), np.int64), points.mean(axis=0), size)
    try:
        sample = build_sample(scan, k=k, edge_attr="sh", sh_degree=2, normalise=normalise, object_name="scan")
    except InputError:
        spread = np.ptp(points, axis=0).max()
        assert len(points) < 2 or spread == 0 or spread < 1e-3 * np.abs(points).max()
        return
    check_sample(sample)
    assert normalise != "unit" or np.ptp(points, axis=0).any()
    assert (sample.in_degree == min(k, len(points) - 1)).all()


@pytest.mark.parametrize("place", [0.0, 1.0, 0.1, 1e6 / 3])
def test_points_at_one_place_have_no_unit(place):
    """The mean of twenty times 0.1 is not 0.1: what is left would be scaled up to a scan."""
    points = np.full((20, 3), place)
    scan = Scan(points, points + [5.0, 4.0, 3.0], np.zeros(20, np.int64), points[0], 1.0)
    with pytest.raises(InputError, match="all points of the scan coincide"):
        build_sample(scan, k=4, edge_attr="none", sh_degree=2, normalise="unit", object_name="scan")


@settings(max_examples=100, deadline=None)
@given(
    points=arrays(np.float64, st.tuples(st.integers(2, 12), st.just(3)), elements=st.sampled_from([0, 1, 2])),
    k=st.integers(1, 40),
)
def test_nearest_neighbours_among_duplicates_are_those_of_all_distances(points, k):
    found = nearest_neighbours(points, k)
    square = ((points[:, None] - points) ** 2).sum(axis=-1)
    np.fill_diagonal(square, np.inf)
    np.testing.assert_array_equal(
        found, np.argsort(square, axis=1, kind="stable")[:, : min(k, len(points) - 1)]
    )


PLACES = ["mit Leerzeichen", "Größe-日本-🙂", "a'b\"c", "per%20cent", "/".join(["long" * 40] * 4)]


@pytest.mark.parametrize("place", PLACES, ids=["blank", "unicode", "quotes", "percent", "long"])
def test_files_are_read_wherever_they_lie(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    write_off(folder / f"{folder.name[:40]}.off", BOX)
    assert load_mesh(folder / f"{folder.name[:40]}.off", name="box").volume == pytest.approx(1)
    np.savetxt(folder / "scan.xyz", BOX)
    np.testing.assert_allclose(read_cloud(folder / "scan.xyz"), BOX)
    sample = random_sample(np.random.default_rng(0), object_name=place)
    (folder / "data").mkdir()
    write_pt(folder / "data" / "a b.pt", sample)
    assert open_data(folder / "data").sample(0).object_name == place
    (folder / "config.yaml").write_text("deep: true\n", encoding="utf-8")
    assert main(["check", str(folder / "data"), "--config", str(folder / "config.yaml")]) == 0
    capsys.readouterr()


def test_a_data_set_of_one_graph_without_edges(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    empty = {"in_degree": np.zeros(3, np.int32), "edge_source": np.zeros(0, np.int32)}
    sample = random_sample(np.random.default_rng(0), num_nodes=3, **empty)
    (tmp_path / "data").mkdir()
    write_pt(tmp_path / "data" / "a.pt", sample)
    assert main(["check", str(tmp_path / "data"), "--deep"]) == 0
    capsys.readouterr()
    assert (
        main(["train", "--data_dir", str(tmp_path / "data"), "--checkpoint_dir", str(tmp_path / "run")]) == 2
    )
    (_,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
