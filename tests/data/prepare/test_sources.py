"""Inputs are cut into chunks whose part files are named after all that decides their bytes."""

from importlib.metadata import version

import pytest

import plumbline
from plumbline.data.prepare import sources
from plumbline.data.prepare.sources import Source, cut
from plumbline.records import GraphSettings, Range
from tests.helpers.scans import scan_settings

GRAPH = GraphSettings()


def chunks_of(made, folder, *, caster="embree", graph=GRAPH, **changed):
    return cut(made, scan_settings(**{"samples": 1} | changed), graph, caster=caster, folder=folder)


def test_parts_are_those_of_their_settings(tmp_path):
    made = [Source("solid", "built-in solid 0", "solids/0")]
    changes = [
        {}, {"seed": 1}, {"views": 2}, {"noise": (0, 0.01)}, {"solid_samples": 3}, {"caster": "numpy"},
        {"graph": GraphSettings(k=17)}, {"graph": GraphSettings(normalise="none")}, {"target": "shell"},
    ]  # fmt: skip
    paths = [chunks_of(made, tmp_path, **change)[0].path for change in changes]
    assert len(set(paths)) == len(changes)
    edges = GraphSettings(edge_attr="none")
    assert chunks_of(made, tmp_path, graph=edges)[0].path == paths[0], "parts hold no edge attributes"
    written = Range(1, 1, "1.0")
    assert chunks_of(made, tmp_path, views=written)[0].path == paths[0], "the same range in other words"


def test_parts_of_another_version_are_used_and_those_of_another_generator_are_not(tmp_path, monkeypatch):
    made = [Source("solid", "built-in solid 0", "solids/0")]
    before = chunks_of(made, tmp_path)
    monkeypatch.setattr(plumbline, "__version__", "99")
    assert chunks_of(made, tmp_path) == before
    monkeypatch.setattr(sources, "GENERATOR", 99)
    assert chunks_of(made, tmp_path)[0].path != before[0].path


def test_parts_of_other_libraries_are_not_used(tmp_path, monkeypatch):
    made = [Source("solid", "built-in solid 0", "solids/0")]
    [before] = chunks_of(made, tmp_path)
    assert chunks_of(made, tmp_path) == [before]
    monkeypatch.setattr(sources, "version", lambda name: "99" if name == "manifold3d" else version(name))
    assert chunks_of(made, tmp_path)[0].path != before.path


@pytest.mark.parametrize(("samples", "points", "size"), [(10, 256, 8), (500, 1024, 4), (1000, 65536, 1)])
def test_chunks_of_large_scans_have_fewer_objects(tmp_path, samples, points, size):
    made = [Source("solid", f"{i}", f"{i}", index=i) for i in range(521)]
    chunks = chunks_of(made, tmp_path, samples=samples, points=(16, points))
    assert [source for chunk in chunks for source in chunk.sources] == made
    assert {len(chunk.sources) for chunk in chunks[:-1]} == {size}
    assert len({chunk.path for chunk in chunks}) == len(chunks)


@pytest.mark.parametrize(("num", "size"), [(1, 1), (18, 1), (127, 1), (128, 2), (511, 7), (9999, 8)])
def test_few_objects_are_many_chunks(tmp_path, num, size):
    made = [Source("solid", f"{i}", f"{i}", index=i) for i in range(num)]
    chunks = chunks_of(made, tmp_path)
    assert {len(chunk.sources) for chunk in chunks[:-1]} <= {size}
    assert len(chunks) == -(-num // size)
