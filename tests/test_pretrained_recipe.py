"""The recipe of the shipped weights: which meshes, how they are found, and what is packed."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from plumbline import cli
from plumbline.errors import InputError
from plumbline.geometry.mesh_files import find_meshes
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.find_checkpoint import find_best
from plumbline.predictors.predictor import load_predictor
from pretrained import pack as packing
from pretrained.join import OUT as JOINED
from pretrained.join import join
from pretrained.link import OUT, link
from pretrained.pack import pack
from pretrained.sources import HELD_OUT, may_be_used, read_sources
from tests.helpers import ROOT
from tests.helpers.scanned import simulate
from tests.helpers.training_fixtures import saved, train

RECIPE = ROOT / "pretrained"


# ------------------------------------------------------------------------------------------------- sources


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("CC0-1.0", True), ("CC0-1.0 (Kenney)", True), ("CC-BY-2.0 (LDraw)", True), ("CC-BY-4.0", True),
        ("Apache-2.0", True), ("Apache-2.0/BSD", True), ("MIT", True), ("MIT-0", True), ("BSD", True),
        ("BSD-3-Clause-Clear", True),
        ("CC-BY-SA-4.0", False), ("CC-BY-NC-4.0", False), ("CC-BY-ND-4.0", False), ("zlib", False),
        ("GPL-2.0", False), ("LGPL-2.1", False), ("Apache-2.0/GPL-3.0", False), ("MIT; CC-BY-NC-4.0", False),
        ("public domain (NIST)", False), ("", False), ("unknown (MIT)", False),
    ],
)  # fmt: skip
def test_which_licences_allow_weights_to_be_given_away(licence, allowed):
    assert may_be_used(licence) == allowed


def test_every_mesh_of_the_list_may_be_used_and_is_not_held_out():
    meshes = read_sources()
    assert [mesh.file for mesh in meshes if not may_be_used(mesh.licence)] == []
    assert {mesh.source for mesh in meshes} & HELD_OUT == set()
    assert len({mesh.file for mesh in meshes}) == len(meshes) > 1000
    for mesh in meshes:
        assert mesh.file == f"{mesh.source}/{mesh.name}.ply"
        assert mesh.repository
        assert mesh.path
        assert not mesh.path.startswith("/")


# --------------------------------------------------------------------------------------------------- links


@pytest.fixture
def collected(tmp_path):
    """The first meshes of each set, lying as they do where they were collected, and their rows."""
    rows = [next(mesh for mesh in read_sources() if mesh.set == name) for name in ("dev", "dev2")]
    for mesh in rows:
        place = tmp_path / "meshes" / mesh.set / mesh.file
        place.parent.mkdir(parents=True)
        place.write_text(mesh.name)
    return tmp_path, rows


def test_meshes_are_found_in_sets_and_without_and_keep_their_names(collected):
    folder, rows = collected
    link(rows, folder / "meshes", folder / "links")
    for mesh in rows:
        shutil.move(folder / "meshes" / mesh.set / mesh.source, folder / "meshes" / mesh.source)
    link(rows, folder / "meshes", folder / "links")  # again, and the meshes have moved
    found = find_meshes([folder / "links"])
    assert [one.name for one in found] == sorted(f"{mesh.source}/{mesh.name}" for mesh in rows)
    assert {one.path.read_text() for one in found} == {mesh.name for mesh in rows}
    link(rows[:1], folder / "meshes", folder / "links")
    assert len(find_meshes([folder / "links"])) == 1


def test_missing_meshes_are_counted_and_the_first_is_named(collected):
    folder, rows = collected
    rows += [replace(rows[0], file=f"nowhere/{i}.ply") for i in range(3)]
    with pytest.raises(InputError, match=r"3 of the 5 meshes of sources\.csv are missing, the first is nowh"):
        link(rows, folder / "meshes", folder / "links")
    assert not (folder / "links").exists()
    with pytest.raises(InputError, match="there is no such folder"):
        link(rows, folder / "elsewhere", folder / "links")


# ------------------------------------------------------------------------------------------------ settings


def test_each_step_reads_what_the_one_before_it_writes(monkeypatch):
    monkeypatch.chdir(ROOT)
    data = cli.parse("prepare", ["--config", "pretrained/prepare.yaml"])
    training = cli.parse("train", ["--config", "pretrained/train.yaml"])
    assert data.paths == [OUT]
    more, camera = Path("data/pretrained-scans-2"), Path("data/pretrained-scans-camera")
    assert training.data_dir == [data.out, more]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert makefile.count("prepare --config pretrained/prepare.yaml") == 3
    assert f"--out {more}\n" in makefile
    assert f"--sensor_share 1 --out {camera}\n" in makefile
    assert f"train.yaml --data_dir {data.out} {camera} \\\n" in makefile
    runs = training.checkpoint_dir, Path("runs/pretrained-camera")
    for run in runs:
        assert f"$(wildcard {run}/last.ckpt)" in makefile
    assert f"pretrained.join {data.out} {runs[0]} {runs[1]}\n" in makefile
    assert f"pretrained.pack {JOINED}\n" in makefile


# ------------------------------------------------------------------------------------------------- joining


def test_a_joined_model_predicts_the_mean_and_knows_its_validation_error(trained, tmp_path):
    data, longer = trained["ept"].parent.parent / "data", tmp_path / "longer"
    assert train(data, longer, model="ept", max_epochs=3, lr=0.05).code == 0
    runs = [trained["ept"], longer]
    join(data, runs, tmp_path / "joined")
    pack(tmp_path / "joined", tmp_path / "a.ckpt")
    joined, *members = (load_predictor(path) for path in (tmp_path / "a.ckpt", *runs))
    scan = simulate(3)
    found = joined.predict(scan.points, sensor=scan.sensor)
    apart = [member.predict(scan.points, sensor=scan.sensor).com for member in members]
    np.testing.assert_allclose(found.com, np.mean(apart, axis=0), atol=1e-6)
    assert np.abs(apart[0] - apart[1]).max() > 1e-4
    assert 0 < load_checkpoint(tmp_path / "a.ckpt").metrics["val_error_rel"] < 1


def test_runs_that_saw_each_others_validation_objects_are_not_joined(tiny, tmp_path):
    runs = [tmp_path / "one", tmp_path / "two"]
    for run, seed in zip(runs, (1, 2), strict=True):
        assert train(tiny, run, model="ept", max_epochs=1, seed=seed).code == 0
    with pytest.raises(InputError, match=r"two.* was trained on \d+ of the \d+ objects .*one --seed"):
        join(tiny, runs, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


# ------------------------------------------------------------------------------------------------- packing


@pytest.mark.parametrize("model", ["ept", "gcn"])
def test_a_packed_run_predicts_with_the_same_bits(trained, tmp_path, model):
    pack(trained[model].parent, tmp_path / "new" / "a.ckpt")
    before, after = load_predictor(trained[model]), load_predictor(tmp_path / "new" / "a.ckpt")
    for number in range(3):
        scan = simulate(number)
        one, other = (some.predict(scan.points, sensor=scan.sensor) for some in (before, after))
        np.testing.assert_array_equal(other.com, one.com)
        assert (other.expected_error, other.radius_90) == (one.expected_error, one.radius_90)


def test_the_averaged_weights_are_packed_and_nothing_else(tiny, tmp_path):
    outcome = train(tiny, tmp_path / "run", model="ept", ema=0.9, max_epochs=2)
    assert outcome.code == 0, outcome.text
    pack(tmp_path / "run", tmp_path / "a.ckpt")
    before, packed = saved(find_best(tmp_path / "run")), saved(tmp_path / "a.ckpt")
    assert set(packed) == {"state_dict", "plumbline"}
    moved = 0
    for name, value in packed["state_dict"].items():
        assert torch.equal(value, before["state_dict"][name])
        moved += not torch.equal(value, before["training_weights"][name])
    assert moved, "the average is not what was trained last"
    assert str(tmp_path).encode() not in (tmp_path / "a.ckpt").read_bytes()
    described = packed["plumbline"]
    assert described["data"]["data_dir"] == described["config"]["data_dir"] == tiny.name
    assert described["config"]["checkpoint_dir"] == "run"
    assert (tmp_path / "a.ckpt").stat().st_size < find_best(tmp_path / "run").stat().st_size / 2


def test_what_must_not_be_shipped_is_refused(trained, tmp_path, monkeypatch):
    content = saved(trained["ept"])
    for change, said in (
        ({"serial": 7}, "describes serial: add it to _KEPT or _LEFT_OUT"),
        ({"model": "mine.py:Mine"}, "mine.py:Mine, which is not part of plumbline"),
    ):
        changed = {**content, "plumbline": {**content["plumbline"], **change}}
        torch.save(changed, tmp_path / "run.ckpt")
        with pytest.raises(InputError, match=said):
            pack(tmp_path / "run.ckpt", tmp_path / "out.ckpt")
    monkeypatch.setattr(packing, "LARGEST", 10_000)
    with pytest.raises(InputError, match=r"as a file of weights; 10,000 may be"):
        pack(trained["ept"], tmp_path / "out.ckpt")
    assert not (tmp_path / "out.ckpt").exists()


def test_packing_again_gives_the_same_bytes(trained, tmp_path):
    files = [tmp_path / name for name in ("a.ckpt", "b.ckpt")]
    for file in files:
        pack(trained["ept"], file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert load_checkpoint(files[0]).epochs_done == load_checkpoint(trained["ept"]).epochs_done
