"""An object becomes its samples, each with chance of its own."""

from pathlib import Path

import numpy as np
import pytest

from plumbline.data.prepare import samples
from plumbline.data.prepare.samples import make_samples
from plumbline.data.prepare.sources import Source
from plumbline.geometry.clouds import Label
from plumbline.records import GraphSettings
from tests.helpers.scans import scan_settings


@pytest.fixture
def drawn(monkeypatch):
    """What every scan was made with, and the state of its generator before; nothing is cast."""
    asked = []

    def scan_solid(solid, caster, settings, *, rng, rest):
        asked.append({"name": solid.name, "settings": settings, "state": rng.bit_generator.state})

    monkeypatch.setattr(samples, "scan_solid", scan_solid)
    monkeypatch.setattr(samples, "_sample", lambda scan, *_: scan)
    return asked


def make(**changed):
    settings = scan_settings(**{"samples": 1, "points": 48} | changed)
    return make_samples(Source("solid", "a solid", "a solid", index=3), settings, GraphSettings(k=6))


def test_every_scan_has_chance_of_its_own(drawn):
    make(samples=2)
    make(samples=5)
    make(samples=2, seed=1)
    states = [each["state"]["state"]["state"] for each in drawn]
    assert states[:2] == states[2:4], "more scans leave the first ones as they are"
    assert len(set(states)) == 7


def test_real_scans_are_thinned_to_the_upper_end_by_either_way(tmp_path):
    points = np.random.default_rng(0).standard_normal((200, 3)) + [0, 0, 9]
    np.save(tmp_path / "a.npy", points)
    label = Label(tmp_path / "a.npy", "thing", (0.0, 0.0, 9.0), (0.0, 0.0, 0.0), 1.0)
    found = {}
    for way in ("farthest", "random", "mixed"):
        settings = scan_settings(points=(20, 64), noise=(0.0, 1.0), sampling=way)
        samples = [
            make_samples(Source("scan", f"{i}", "thing", label=label), settings, GraphSettings(k=6))[0]
            for i in range(12)
        ]
        assert {len(sample.pos) for sample in samples} == {64}
        found[way] = [frozenset(np.round(s.origin + s.scale * s.pos, 4)[:, 0].tolist()) for s in samples]
    (farthest,) = set(found["farthest"])
    assert farthest not in found["random"]
    assert 0 < found["mixed"].count(farthest) < 12


def test_solids_may_have_a_number_of_scans_of_their_own(drawn, monkeypatch):
    make(samples=2, solid_samples=5)
    assert len(drawn) == 5
    drawn.clear()
    monkeypatch.setattr(samples, "load_mesh", lambda path, **_: samples.make_solid(0, 3))
    mesh = Source("mesh", "m", "m", Path("m.ply"))
    make_samples(mesh, scan_settings(samples=2, solid_samples=5), GraphSettings())
    assert len(drawn) == 2
