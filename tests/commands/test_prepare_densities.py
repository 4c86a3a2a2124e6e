"""`plumbline prepare --densities`: labels of meshes whose bodies have densities, and what is refused."""

import json

import numpy as np
import pytest

import plumbline
from plumbline.data.prepare.sources import cut, list_sources
from plumbline.data.store.reader import PackedStore
from plumbline.geometry.meshes import load_mesh
from plumbline.records import GraphSettings, ScanSettings
from tests.helpers.named_meshes import FORMATS, block, write_bodies
from tests.helpers.preparing import SMALL, assert_same, by_object, digest, prepare

HAMMER = {"handle": block((0, 0, 0), (1, 1, 8)), "head": block((-2, 0, 8), (3, 1, 10))}
MASS = {"handle": 700.0 * 8, "head": 7850.0 * 10}
COM = (0.5, 0.5, (4 * MASS["handle"] + 9 * MASS["head"]) / sum(MASS.values()))
ROWS = "body,density\nhandle,700\nhead,7850\n"


@pytest.fixture
def meshes(tmp_path):
    """A hammer, a mallet of the same names in a folder, and a brick without them."""
    write_bodies(tmp_path / "meshes", "o.obj", HAMMER, "hammer")
    write_bodies(tmp_path / "meshes" / "more", "glb", HAMMER, "mallet")
    write_bodies(tmp_path / "meshes", "dae", {"brick": block((0, 0, 0), (1, 2, 3))}, "brick")
    return tmp_path / "meshes"


def write(folder, text):
    path = folder / "densities.csv"
    path.write_text(text, encoding="utf-8")
    return path


def com_of(sample):
    return sample.origin + sample.scale * sample.target


def test_the_label_is_the_true_centre_of_mass_and_the_scan_is_the_same(meshes, tmp_path, capsys):
    flags = (meshes, "--no_rotate", *SMALL)
    prepare(*flags, "--out", tmp_path / "uniform")
    assert "densities" not in capsys.readouterr().out
    prepare(*flags, "--densities", write(tmp_path, ROWS), "--out", tmp_path / "weighed")
    assert "\n  densities 2 of 3 meshes, the others are uniform\n" in capsys.readouterr().out
    before, after = by_object(tmp_path / "uniform"), by_object(tmp_path / "weighed")
    assert list(before) == list(after) == ["brick", "hammer.o", "more/mallet"]
    for name, samples in after.items():
        for one, other in zip(before[name], samples, strict=True):
            if name == "brick":
                assert_same(one, other)
                continue
            np.testing.assert_allclose(com_of(other), COM, rtol=0, atol=1e-12)
            assert np.linalg.norm(com_of(one) - COM) > 1
            for part in ("node_features", "in_degree", "edge_source", "edge_attr", "vectors"):
                np.testing.assert_array_equal(getattr(one, part), getattr(other, part), err_msg=part)
            inertia = load_mesh(
                meshes / "hammer.o.obj", name="x", densities={"handle": 700, "head": 7850}
            ).inertia
            np.testing.assert_allclose(other.inertia * other.scale**2, inertia, rtol=1e-6)
            assert other.volume == pytest.approx(one.volume, rel=1e-12)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_label(form, tmp_path):
    write_bodies(tmp_path / "m", form, HAMMER)
    made = plumbline.make_dataset(
        tmp_path / "out",
        tmp_path / "m",
        densities=write(tmp_path, ROWS),
        scan=ScanSettings(samples=1, points=plumbline.Range(48), rotate=False),
        graph=GraphSettings(k=6),
        workers=1,
    )
    assert (made.meshes, made.with_densities) == (1, 1)
    np.testing.assert_allclose(com_of(PackedStore.open(made.out).sample(0)), COM, rtol=0, atol=1e-12)


def test_the_number_of_meshes_with_densities_is_recorded(meshes, tmp_path):
    densities = write(tmp_path, ROWS)
    prepare(meshes, *SMALL, "--out", tmp_path / "uniform")
    prepare(meshes, *SMALL, "--densities", densities, "--out", tmp_path / "packed")
    prepare(meshes, *SMALL, "--densities", densities, "--format", "pt", "--out", tmp_path / "pt")
    uniform, packed = (
        PackedStore.open(tmp_path / name).manifest["provenance"] for name in ("uniform", "packed")
    )
    metadata = json.loads((tmp_path / "pt" / "dataset_metadata.json").read_text())["provenance"]
    assert "meshes_with_densities" not in uniform["inputs"]
    assert packed["inputs"]["meshes_with_densities"] == 2
    assert metadata["inputs"] == packed["inputs"]
    assert packed["settings"] == uniform["settings"]
    assert packed["inputs"]["sha256"] != uniform["inputs"]["sha256"]


def test_other_densities_are_another_data_set(meshes, tmp_path, capsys):
    flags = (meshes, *SMALL, "--out", tmp_path / "out")
    prepare(*flags, "--densities", write(tmp_path, ROWS))
    before = digest(tmp_path / "out")
    assert prepare(*flags, "--densities", write(tmp_path, ROWS.replace("7850", "7800")), ok=False) == 2
    assert "the input files, or their densities, have changed" in capsys.readouterr().err
    assert prepare(*flags, ok=False) == 2
    assert "2 meshes with densities there, 0 now" in capsys.readouterr().err
    same = "density,file,body,source\n7.85e3,, head ,a table\n700.0,*,handle,\n"
    assert prepare(*flags, "--densities", write(tmp_path, same)) == 0
    assert "already complete" in capsys.readouterr().out
    assert digest(tmp_path / "out") == before


def test_parts_of_an_unfinished_data_set_are_used_with_the_same_densities_only(meshes, tmp_path):
    def parts(text):
        densities = None if text is None else write(tmp_path, text)
        sources = list_sources(meshes, 0, densities=densities)
        return [
            chunk.path.name
            for chunk in cut(sources, ScanSettings(), GraphSettings(), caster="x", folder=tmp_path)
        ]

    uniform, first, second = parts(None), parts(ROWS), parts(ROWS.replace("7850", "7800"))
    assert uniform[0] == first[0] == second[0], "the brick"
    for index in (1, 2):
        assert len({uniform[index], first[index], second[index]}) == 3
    assert parts("body,density\nhead,7850\nhandle,700\n") == first


def test_rows_about_one_mesh_go_before_those_about_every_mesh(meshes, tmp_path):
    text = "file,body,density\n*,head,1000\nmore/mallet.glb,head,3000\n,handle,500\n"
    sources = {one.title: one for one in list_sources(meshes, 0, densities=write(tmp_path, text))}
    assert sources["hammer.o.obj"].densities == (("handle", 500.0), ("head", 1000.0))
    assert sources["more/mallet.glb"].densities == (("handle", 500.0), ("head", 3000.0))
    assert sources["brick.dae"].densities == ()


@pytest.mark.parametrize("folder", ["", "./", "meshes/", "{meshes}/"])
def test_a_mesh_is_named_by_the_end_of_its_path(folder, meshes, tmp_path):
    file = f"{folder.format(meshes=meshes)}hammer.o.obj"
    text = f"file,body,density\n{file},head,1000\n{file},handle,500\n"
    sources = {one.title: one for one in list_sources(meshes, 0, densities=write(tmp_path, text))}
    assert [title for title, one in sources.items() if one.densities] == ["hammer.o.obj"]


def test_a_mesh_that_cannot_be_read_is_rejected_as_without_densities(meshes, tmp_path, capsys):
    (meshes / "broken.obj").write_text("f 1 2 3\n")
    text = "file,body,density\nbroken.obj,lid,500\n,head,1000\n,handle,500\n"
    prepare(meshes, *SMALL, "--densities", write(tmp_path, text), "--out", tmp_path / "out")
    assert "broken.obj: is damaged" in capsys.readouterr().out
    [rejected] = PackedStore.open(tmp_path / "out").rejected
    assert rejected.source == "broken.obj"


def test_bodies_that_overlap_are_rejected(tmp_path):
    write_bodies(tmp_path / "m", "o.obj", HAMMER, "hammer")
    crossed = HAMMER | {"head": block((-2, 0, 7), (3, 1, 10))}
    write_bodies(tmp_path / "m", "o.obj", crossed, "crossed")
    prepare(tmp_path / "m", *SMALL, "--densities", write(tmp_path, ROWS), "--out", tmp_path / "out")
    store = PackedStore.open(tmp_path / "out")
    assert store.object_names == ["hammer.o"]
    [rejected] = store.rejected
    assert rejected.source == "crossed.o.obj"
    assert rejected.reason.startswith("bodies 'handle' and 'head' overlap around (0.5, 0.5, 7.5) m")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("body,density\nhead,7850\n", "has no density for 'handle' of hammer.o.obj, whose bodies are "
         "'handle', 'head'; add a row for each body (the same for 1 other file)"),
        ("body,density\nhandle,700\nhaed,7850\n", "line 3: no mesh has a body 'haed'; did you mean head?"),
        ("file,body,density\nhammer.o.obj,haed,7850\n", "line 2: hammer.o.obj has no body 'haed', only "
         "'handle', 'head'; did you mean head?"),
        ("file,body,density\nhamer.o.obj,head,7850\n", "line 2: no mesh file hamer.o.obj among the inputs; "
         "did you mean hammer.o.obj?"),
        ("body,density\nhandle,700\nhandle,700\n", "line 3: line 2 gives a density for this body, too"),
        ("file,body,density\nhammer.o.obj,head,1\nmeshes/hammer.o.obj,head,1\n", "line 3: line 2 gives"),
        ("body,density\nhead,0\n", "line 2: density '0': must be above 0 (kg/m3)"),
        ("body,density\nhead,-5\n", "line 2: density '-5': must be above 0"),
        ("body,density\nhead,inf\n", "line 2: density 'inf': must be above 0"),
        ("body,density\nhead,nan\n", "line 2: density 'nan': must be above 0"),
        ("body,density\nhead,steel\n", "line 2: density 'steel': must be a finite number (kg/m3)"),
        ("body,density\nhead,\n", "line 2: density '': must be a finite number"),
        ("body,density\nhead,7,850\n", "line 2: more or fewer cells than the header"),
        ("body;density\nhead;7850\n", "semicolons separate the cells"),
        ("body,kg\nhead,7850\n", "line 1: no column density"),
        ("Body,density\nhead,7850\n", "line 1: no column body"),
        ("File,body,density\nx,head,7850\n", "unknown column 'File'; did you mean file?"),
        ("body,density\n", "has no rows below its header; add one row per body"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_in_a_sentence(text, said, meshes, tmp_path, capsys):
    path = write(tmp_path, text)
    assert prepare(meshes, "--densities", path, "--out", tmp_path / "out", ok=False) == 2
    error = capsys.readouterr().err
    assert said in error
    assert str(path) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_name_of_several_meshes_is_refused(meshes, tmp_path, capsys):
    write_bodies(meshes / "again", "glb", HAMMER, "mallet")
    path = write(tmp_path, "file,body,density\nmallet.glb,head,7850\n")
    assert prepare(meshes, "--densities", path, "--out", tmp_path / "out", ok=False) == 2
    said = capsys.readouterr().err
    assert (
        "line 2: mallet.glb may be 2 meshes (again/mallet.glb, more/mallet.glb); give more of its path"
        in said
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--solids", 2), "only meshes have named bodies"),
        (("meshes", "--target", "shell"), "a shell has none"),
        (
            ("meshes", "--densities", "nowhere.csv"),
            "nowhere.csv does not exist; give a CSV file with the columns body",
        ),
    ],
)
def test_densities_without_a_use_are_refused(flags, said, meshes, tmp_path, capsys):
    flags = [meshes if flag == "meshes" else flag for flag in flags]
    path = write(tmp_path, ROWS)
    assert prepare("--densities", path, *flags, "--out", tmp_path / "out", ok=False) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_share_without_a_sensor_model_has_no_effect_and_prepare_says_so(tmp_path, capsys):
    sentence = "--sensor_share has no effect without --sensor_model depth\n"
    prepare("--solids", 1, *SMALL, "--sensor_share", 0.3, "--out", tmp_path / "a")
    assert capsys.readouterr().out.count(sentence) == 1
    prepare("--solids", 1, *SMALL, "--out", tmp_path / "b")
    prepare("--solids", 1, *SMALL, "--sensor_share", 0.3, "--sensor_model", "depth", "--out", tmp_path / "c")
    assert "no effect" not in capsys.readouterr().out
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
