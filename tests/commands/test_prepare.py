"""`plumbline prepare`: true labels, honest refusals, and objects that do not disturb each other."""

import csv
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from plumbline.commands.prepare import settings_of
from plumbline.config.prepare import PrepareConfig
from plumbline.data.store.reader import PackedStore
from plumbline.geometry.meshes import load_mesh
from plumbline.geometry.surfaces import open_reason
from plumbline.records import GraphSettings, Range, ScanSettings
from tests.helpers.preparing import (
    BOX,
    BOX_FACES,
    SMALL,
    assert_same,
    by_object,
    digest,
    prepare,
    write_meshes,
    write_off,
)


@pytest.fixture
def meshes(tmp_path) -> Path:
    return write_meshes(tmp_path / "meshes")


def test_adding_an_object_leaves_the_others_as_they_are(meshes, tmp_path):
    prepare(meshes, "--out", tmp_path / "before", *SMALL)
    write_off(meshes / "another.off", BOX)
    prepare(meshes, "--solids", 2, "--out", tmp_path / "after", *SMALL, "--samples", 3)
    before, after = by_object(tmp_path / "before"), by_object(tmp_path / "after")
    assert len(before) == 3
    assert len(after) == 6
    for name, samples in before.items():
        assert len(after[name]) == 3, "more scans were asked for"
        for one, other in zip(samples, after[name], strict=False):
            assert_same(one, other)
        assert not np.array_equal(samples[0].pos, samples[1].pos), "every scan has chance of its own"


# ------------------------------------------------------------------------------------- what is in it


def test_targets_are_the_true_centres_of_mass_in_metres(meshes, tmp_path):
    prepare(meshes, "--out", tmp_path / "out", *SMALL, "--no_rotate", "--scale", 0.01, "--normalise", "unit")
    samples = by_object(tmp_path / "out")
    assert sorted(samples) == ["Möbel alt/wedge", "box/train/box_0001", "crate/train/sheared"]
    for name, scans in samples.items():
        solid = load_mesh(meshes / f"{name}.off", name=name, scale=0.01)
        assert len(scans) == 2
        for scan in scans:
            com = scan.origin + scan.scale * scan.target
            np.testing.assert_allclose(com, solid.com, atol=1e-6 * solid.bounding_radius)
            assert scan.bounding_radius * scan.scale == pytest.approx(solid.bounding_radius, rel=1e-9)
            points = scan.origin + scan.scale * scan.pos.astype(float)
            away = np.linalg.norm(points - solid.bounding_centre, axis=1)
            assert away.max() < 1.1 * solid.bounding_radius
    box = samples["box/train/box_0001"][0]
    np.testing.assert_allclose(box.origin + box.scale * box.target, [0.055, 0.06, 0.065], rtol=1e-12)


@pytest.mark.parametrize("edge_attr", ["sh", "displacement", "none"])
def test_documented_files_equal_the_packed_store(meshes, tmp_path, edge_attr):
    from plumbline.data.pt.samples import read_pt

    flags = [meshes, "--edge_attr", edge_attr, "--views", "1-2", *SMALL]
    prepare(*flags, "--out", tmp_path / "packed")
    prepare(*flags, "--out", tmp_path / "pt", "--format", "pt")
    metadata = json.loads((tmp_path / "pt" / "dataset_metadata.json").read_text())
    assert {file["filename"] for file in metadata["files"]} == {
        p.name for p in (tmp_path / "pt").glob("*.pt")
    }
    assert "Möbel alt__wedge_sample1.pt" in {file["filename"] for file in metadata["files"]}
    packed = by_object(tmp_path / "packed")
    for file in metadata["files"]:
        number = int(file["filename"].rpartition("_sample")[2].removesuffix(".pt"))
        sample = read_pt(tmp_path / "pt" / file["filename"])
        assert sample.object_name == file["object_name"]
        assert_same(sample, packed[file["object_name"]][number])


def test_names_that_would_collide_as_files_are_kept_apart(tmp_path):
    from plumbline.data.pt.samples import read_pt

    write_off(tmp_path / "m" / "a" / "b.off", BOX)
    write_off(tmp_path / "m" / "a__B.off", BOX)
    prepare(tmp_path / "m", "--out", tmp_path / "pt", "--format", "pt", *SMALL)
    files = json.loads((tmp_path / "pt" / "dataset_metadata.json").read_text())["files"]
    assert len({file["filename"].casefold() for file in files}) == 4
    for file in files:
        assert read_pt(tmp_path / "pt" / file["filename"]).object_name == file["object_name"]


def test_every_setting_is_a_flag_with_the_same_default():
    flags = {item.name for item in fields(PrepareConfig)}
    settings = {item.name for record in (ScanSettings, GraphSettings) for item in fields(record)}
    # What is not among the settings does not change the data, or is part of the inputs' own record.
    others = {"paths", "out", "solids", "labels", "densities", "format", "workers", "scheduler", "debug"}
    assert flags - settings == others
    assert settings_of(PrepareConfig(), ScanSettings) == ScanSettings()
    assert settings_of(PrepareConfig(), GraphSettings) == GraphSettings()


def test_every_flag_reaches_the_record():
    config = PrepareConfig(
        target="shell", scale=0.5, density="parts", samples=3, solid_samples=4, views=Range(2, 4),
        points=Range(99, 120),
        sampling="mixed", pattern="lidar", rays=777, distance=Range(1.5), noise=Range(0, 0.2), grazing=60.0,
        pose_error=3.0, sensor_model="depth", sensor_share=0.25, clean=False, rotate=False,
        k=5, edge_attr="displacement", sh_degree=4,
        normalise="none", seed=8,
    )  # fmt: skip
    scan, graph = settings_of(config, ScanSettings), settings_of(config, GraphSettings)
    assert scan == ScanSettings(
        target="shell", scale=0.5, density="parts", samples=3, solid_samples=4, views=Range(2, 4),
        points=Range(99, 120),
        sampling="mixed", pattern="lidar", rays=777, distance=Range(1.5), noise=Range(0, 0.2), grazing=60.0,
        pose_error=3.0, sensor_model="depth", sensor_share=0.25, clean=False, rotate=False,
        seed=8,
    )  # fmt: skip
    assert graph == GraphSettings(k=5, edge_attr="displacement", sh_degree=4, normalise="none")
    default = settings_of(PrepareConfig(), ScanSettings)
    assert not [item.name for item in fields(scan) if getattr(scan, item.name) == getattr(default, item.name)]


def test_views_are_drawn_from_the_range(tmp_path):
    prepare("--solids", 12, "--views", "1-3", "--out", tmp_path / "out", *SMALL)
    assert set(PackedStore.open(tmp_path / "out").num_views.tolist()) == {1, 2, 3}


def test_points_noise_and_sampling_differ_from_scan_to_scan(tmp_path):
    flags = ["--solids", 6, *SMALL, "--points", "20-60", "--noise", "0-0.03", "--sampling", "mixed"]
    for workers in (1, 3):
        prepare(*flags, "--workers", workers, "--out", tmp_path / str(workers))
    assert digest(tmp_path / "1") == digest(tmp_path / "3"), "whoever did the work"
    sizes = np.diff(PackedStore.open(tmp_path / "1").node_ptr)
    assert 20 <= sizes.min() < 30
    assert 50 < sizes.max() <= 60
    prepare(*flags, "--samples", 3, "--out", tmp_path / "more")
    few, many = by_object(tmp_path / "1"), by_object(tmp_path / "more")
    for name, scans in few.items():
        for one, other in zip(scans, many[name], strict=False):
            assert_same(one, other)


def test_a_range_is_recorded_as_written_and_one_number_as_a_number(tmp_path):
    def recorded(folder, *flags):
        prepare("--solids", 1, *SMALL, *flags, "--out", folder)
        settings = PackedStore.open(folder).manifest["provenance"]["settings"]
        return [settings[name] for name in ("points", "noise", "sampling")]

    assert recorded(tmp_path / "a", "--noise", "0.010") == [48, 0.01, "farthest"]
    assert recorded(tmp_path / "a", "--noise", "0.01-0.01", "--points", "48-48") == [48, 0.01, "farthest"]
    ranges = ("--noise", "0-0.03", "--points", "30-40", "--sampling", "mixed")
    assert recorded(tmp_path / "b", *ranges) == ["30-40", "0-0.03", "mixed"]


def test_open_meshes_are_listed_with_the_reason_and_left_out(meshes, tmp_path, capsys):
    write_off(meshes / "open.off", BOX, BOX_FACES[:-1])
    (meshes / "broken.ply").write_text("ply\nthis is no mesh\n")
    prepare(meshes, "--out", tmp_path / "out", *SMALL)
    store = PackedStore.open(tmp_path / "out")
    assert set(store.object_names) == {"Möbel alt/wedge", "box/train/box_0001", "crate/train/sheared"}
    reasons = {item.source: item.reason for item in store.rejected}
    assert set(reasons) == {"open.off", "broken.ply"}
    assert open_reason(BOX_FACES[:-1]) in reasons["open.off"]
    said = capsys.readouterr().out
    assert f"open.off: {reasons['open.off']}" in said
    assert "rejected  2" in said
    prepare(meshes, "--out", tmp_path / "shell", "--target", "shell", *SMALL)
    shell = PackedStore.open(tmp_path / "shell")
    assert "open" in shell.object_names
    assert [item.source for item in shell.rejected] == ["broken.ply"]


def test_nothing_left_is_refused_and_leaves_nothing(tmp_path, capsys):
    write_off(tmp_path / "m" / "open.off", BOX, BOX_FACES[:-1])
    assert prepare(tmp_path / "m", "--out", tmp_path / "out", *SMALL, ok=False) == 2
    assert "the only input was rejected" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------ real scans


@pytest.mark.parametrize("sampling", ["farthest", "mixed"])
def test_real_scans_with_labels(tmp_path, capsys, sampling):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 3)) * [0.1, 0.2, 0.3] + [0, 0, 2]
    np.save(tmp_path / "view a.npy", points)
    np.save(tmp_path / "few.npy", points[:40])
    np.save(tmp_path / "none.npy", points[:5])
    (tmp_path / "labels.csv").write_text(
        "file,com_x,com_y,com_z,object_name,sensor_x,sensor_y,sensor_z,bounding_radius\n"
        "view a.npy,0.01,0.02,2.03,cup,0,0,-1,0.9\n"
        "few.npy,0.01,0.02,2.03,cup,,,,\n"
        "none.npy,0,0,0,,,,,\n"
    )
    flags = ["--points", "20-48", "--noise", "0-1", "--sampling", sampling]  # thinned to the upper end
    prepare("--labels", tmp_path / "labels.csv", "--out", tmp_path / "out", *SMALL, *flags)
    said = capsys.readouterr().out
    assert "  scans     2 of 1 object (1 view each)\n" in said
    assert "inputs" not in said
    store = PackedStore.open(tmp_path / "out")
    assert store.object_names == ["cup"]
    assert [item.source for item in store.rejected] == ["none.npy"]
    assert "5 points" in store.rejected[0].reason
    first, second = store.sample(0), store.sample(1)
    assert (len(first.pos), len(second.pos)) == (48, 40)
    for sample, sensor in ((first, [0, 0, -1]), (second, [0, 0, 0])):
        np.testing.assert_allclose(
            sample.origin + sample.scale * sample.target, [0.01, 0.02, 2.03], atol=1e-12
        )
        world = sample.origin + sample.scale * sample.pos.astype(float)
        nearest = np.linalg.norm(world[:, None] - points, axis=2).min(axis=1)
        assert nearest.max() < 1e-6
        towards = sensor - world
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        np.testing.assert_allclose(sample.node_features[:, 3:6], towards, atol=1e-5)
    assert first.bounding_radius * first.scale == pytest.approx(0.9)


def test_scans_without_names_of_objects_are_pointed_out(tmp_path, capsys):
    """The split cannot know that two files show one object."""
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).normal(size=(60, 3)) + [0, 0, 5])
    for cells, said in ((("", ""), True), (("cup", "jar"), True), (("cup", "cup"), False)):
        lines = [f"{name}.npy,0,0,5,{cell}" for name, cell in zip(("one", "two"), cells, strict=True)]
        (tmp_path / "labels.csv").write_text("\n".join(["file,com_x,com_y,com_z,object_name", *lines]))
        prepare("--labels", tmp_path / "labels.csv", "--out", tmp_path / "_".join(cells), *SMALL)
        assert ("them the same object_name" in capsys.readouterr().out) == said


def test_real_sensors(shared_meshes, tmp_path):
    with open(shared_meshes / "real_scans" / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:6]
    with open(tmp_path / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "com_x", "com_y", "com_z", "object_name", "bounding_radius"])
        for row in rows:
            path = shared_meshes / "real_scans" / row["scan"]
            values = [row[name] for name in ("com_x", "com_y", "com_z", "object", "bounding_radius")]
            writer.writerow([path, *values])
    prepare("--labels", tmp_path / "labels.csv", "--out", tmp_path / "out")
    store = PackedStore.open(tmp_path / "out")
    assert len(store) == len(rows)
    for i, row in enumerate(rows):
        sample = store.sample(i)
        com = [float(row[name]) for name in ("com_x", "com_y", "com_z")]
        np.testing.assert_allclose(sample.origin + sample.scale * sample.target, com, atol=1e-9)
        assert np.linalg.norm(sample.target) < 2 * sample.bounding_radius
        towards, normal = sample.node_features[:, 3:6], sample.node_features[:, 6:9]
        assert (np.einsum("nd,nd->n", towards, normal) >= -1e-6).all()
        assert len(sample.pos) == 256


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["--solids", "3", "--views", "3-1"], "--views 3-1"),
        (["--solids", "3", "--views", "1.5"], "--views 1.5"),
        (["--solids", "3", "--distance", "0.5"], "--distance 0.5: must be above 1"),
        (["--solids", "3", "--k", "300"], "k 300"),
        (["--solids", "3", "--points", "3"], "--points 3: must be at least 16"),
        (["--solids", "3", "--target", "shel"], "did you mean shell?"),
        (["--solids", "3", "--vews", "2"], "did you mean --views?"),
        (["--labels", "nowhere.csv"], "nowhere.csv does not exist"),
        (["--labels", "."], "is a folder"),
        ([], "nothing to prepare"),
    ],
)
def test_bad_flags_are_refused_in_a_sentence(tmp_path, capsys, flags, said):
    assert prepare("--out", tmp_path / "out", *flags, ok=False) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
