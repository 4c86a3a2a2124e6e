"""`plumbline prepare --density parts`: other labels of composite solids, and nothing else."""

import numpy as np
import pytest

from plumbline.data.store.reader import PackedStore
from plumbline.geometry.solids import make_solid
from tests.helpers.preparing import SMALL, by_object, digest, prepare, write_meshes

SOLIDS = ("--solids", 30, "--no_rotate", "--normalise", "none", *SMALL)


@pytest.fixture(scope="module")
def uniform(tmp_path_factory):
    out = tmp_path_factory.mktemp("density") / "uniform"
    prepare(*SOLIDS, "--out", out)
    return out


@pytest.fixture(scope="module")
def in_parts(tmp_path_factory):
    out = tmp_path_factory.mktemp("density") / "parts"
    prepare(*SOLIDS, "--density", "parts", "--out", out)
    return out


def test_the_label_is_the_true_centre_of_mass_and_the_scan_is_the_same(uniform, in_parts):
    before, after = by_object(uniform), by_object(in_parts)
    assert list(before) == list(after)
    moved = 0
    for name, samples in after.items():
        index = int(name.split("/")[-1])
        com = make_solid(0, index, "parts").com
        moved += not np.allclose(com, make_solid(0, index).com, atol=1e-3)
        for one, other in zip(before[name], samples, strict=True):
            np.testing.assert_allclose(other.target, com, rtol=0, atol=1e-6)
            for part in ("node_features", "in_degree", "edge_source", "edge_attr", "vectors"):
                np.testing.assert_array_equal(getattr(one, part), getattr(other, part), err_msg=part)
            assert one.bounding_radius == other.bounding_radius
    assert moved > 8


def test_densities_do_not_depend_on_workers_or_on_other_solids(in_parts, tmp_path):
    prepare(*SOLIDS, "--density", "parts", "--workers", 1, "--out", tmp_path / "one")
    assert digest(tmp_path / "one") == digest(in_parts)
    prepare(*SOLIDS, "--solids", 7, "--density", "parts", "--out", tmp_path / "few")
    all_of_them = by_object(in_parts)
    for name, samples in by_object(tmp_path / "few").items():
        np.testing.assert_array_equal(samples[0].target, all_of_them[name][0].target)


def test_only_what_is_not_the_default_is_recorded(uniform, in_parts):
    settings = [PackedStore.open(out).manifest["provenance"]["settings"] for out in (uniform, in_parts)]
    assert "density" not in settings[0]
    assert settings[1] == settings[0] | {"density": "parts"}


def test_meshes_stay_uniform(tmp_path):
    meshes = write_meshes(tmp_path / "meshes")
    prepare(meshes, "--solids", 1, *SMALL, "--out", tmp_path / "uniform")
    prepare(meshes, "--solids", 1, *SMALL, "--density", "parts", "--out", tmp_path / "parts")
    after = by_object(tmp_path / "parts")
    for name, samples in by_object(tmp_path / "uniform").items():
        if not name.startswith("solids/"):
            np.testing.assert_array_equal(samples[0].target, after[name][0].target)


def test_parts_without_built_in_solids_are_refused(tmp_path, capsys):
    meshes = write_meshes(tmp_path / "meshes")
    assert prepare(meshes, "--density", "parts", "--out", tmp_path / "out", ok=False) == 2
    assert "only built-in solids have known parts" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
