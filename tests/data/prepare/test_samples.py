"""What is drawn for each scan, and what each draw takes from the scan's own chance."""

import copy
from pathlib import Path

import numpy as np
import pytest

from plumbline.data.prepare import samples
from plumbline.data.prepare.samples import make_samples
from plumbline.data.prepare.sources import Source
from plumbline.geometry.clouds import Label

SETTINGS = {
    "target": "solid", "scale": 1.0, "samples": 1, "views": (1, 1), "points": (48, 48), "noise": (0.01, 0.01),
    "sampling": "farthest", "k": 6, "normalise": "unit", "seed": 0,
}  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """What every scan was asked for, and the state of its generator; nothing is scanned."""
    asked = []

    def scan_solid(solid, caster, *, rng, **given):
        asked.append(given | {"name": solid.name, "state": copy.deepcopy(rng.bit_generator.state)})

    monkeypatch.setattr(samples, "scan_solid", scan_solid)
    monkeypatch.setattr(samples, "build_sample", lambda scan, **_: scan)
    return asked


def make(**changed):
    return make_samples(Source("solid", "a solid", "a solid", index=3), **SETTINGS | changed)


def values(asked, name):
    return np.array([each[name] for each in asked])


def test_points_are_drawn_evenly_on_a_logarithmic_scale(drawn):
    make(samples=400, points=(128, 512))
    points = values(drawn, "points")
    assert points.dtype.kind == "i"
    assert 128 <= points.min() < 133
    assert 495 < points.max() <= 512
    for share in (0.25, 0.5, 0.75):
        assert np.mean(points < 128 * 4**share) == pytest.approx(share, abs=0.08)
    drawn.clear()
    make(samples=300, points=(16, 18))
    assert np.bincount(values(drawn, "points"), minlength=19)[16:].min() > 70


def test_noise_is_drawn_evenly(drawn):
    make(samples=400, noise=(0.0, 0.03))
    noise = values(drawn, "noise")
    assert 0 <= noise.min() < 0.001
    assert 0.029 < noise.max() <= 0.03
    assert np.quantile(noise, [0.25, 0.5, 0.75]) == pytest.approx([0.0075, 0.015, 0.0225], abs=0.002)


def test_mixed_sampling_is_either_way_half_the_time(drawn):
    make(samples=400, sampling="mixed")
    assert np.mean(values(drawn, "sampling") == "random") == pytest.approx(0.5, abs=0.08)
    assert set(values(drawn, "sampling")) == {"farthest", "random"}


def test_draws_are_independent_of_each_other(drawn):
    make(samples=400, views=(1, 3), points=(128, 512), noise=(0.0, 0.03), sampling="mixed")
    columns = np.array([
        values(drawn, "views"), np.log(values(drawn, "points")), values(drawn, "noise"),
        values(drawn, "sampling") == "random",
    ], float)  # fmt: skip
    assert np.abs(np.corrcoef(columns) - np.eye(4)).max() < 0.15


def test_what_is_one_value_takes_nothing_from_the_generator(drawn):
    """So a data set of single values keeps its bytes."""
    for views in ((2, 2), (1, 3)):
        drawn.clear()
        make(samples=3, views=views, sampling="random")
        for i, asked in enumerate(drawn):
            rng = samples._rng(0, asked["name"], i)
            assert asked["views"] == rng.integers(*views, endpoint=True)
            assert asked["state"] == rng.bit_generator.state
            assert (asked["points"], asked["noise"], asked["sampling"]) == (48, 0.01, "random")


def test_every_scan_has_chance_of_its_own(drawn):
    ranges = {"points": (20, 500), "noise": (0.0, 0.5), "sampling": "mixed"}
    make(samples=2, **ranges)
    make(samples=5, **ranges)
    make(samples=2, **ranges | {"seed": 1})
    assert drawn[:2] == drawn[2:4], "more scans leave the first ones as they are"
    assert len({each["noise"] for each in drawn}) == 7


def test_real_scans_are_thinned_to_the_upper_end_by_either_way(tmp_path):
    points = np.random.default_rng(0).standard_normal((200, 3)) + [0, 0, 9]
    np.save(tmp_path / "a.npy", points)
    label = Label(tmp_path / "a.npy", "thing", (0.0, 0.0, 9.0), (0.0, 0.0, 0.0), 1.0)
    found = {}
    for way in ("farthest", "random", "mixed"):
        changed = {"points": (20, 64), "noise": (0.0, 1.0), "sampling": way, "k": 6}
        samples = [
            make_samples(Source("scan", f"{i}", "thing", label=label), **SETTINGS | changed)[0]
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
    make_samples(Source("mesh", "m", "m", Path("m.ply")), **SETTINGS | {"samples": 2, "solid_samples": 5})
    assert len(drawn) == 2
