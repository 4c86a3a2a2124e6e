"""``plumbline benchmark`` from meshes to tables: figures by hand, resumption, reuse, models, refusals."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from plumbline.cli import main
from plumbline.data.prepare import dataset
from plumbline.data.prepare.pool import Workers
from plumbline.data.split import mark_objects, num_marked
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.evaluation.benchmark import Asked, AsTrained, figures, measure
from plumbline.evaluation.benchmark_tables import warnings
from plumbline.evaluation.conditions import CONDITIONS, MAIN, Condition
from plumbline.geometry.graphs import LEADERS, build_sample
from plumbline.models import build_model
from plumbline.predictors.answers import Answers
from plumbline.predictors.calibration import Calibration
from plumbline.predictors.checkpoint import FORMAT
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.inference import predict
from plumbline.predictors.untrained import BASELINES
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Scan
from plumbline.training.show.facts import data_identity
from tests.helpers.preparing import BOX_FACES, write_meshes, write_off
from tests.helpers.refusals import refused

FEW = (*MAIN, Condition(1, 0.01, 64, "random"))


@pytest.fixture(autouse=True, scope="module")
def few_conditions():
    """The main conditions and a third: all twenty differ only in numbers."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("benchmark", "benchmark_tables"):
            patch.setattr(f"plumbline.evaluation.{module}.CONDITIONS", FEW)
        yield


@pytest.fixture(scope="module")
def meshes(tmp_path_factory) -> Path:
    """Three closed meshes and an open one."""
    folder = write_meshes(tmp_path_factory.mktemp("benchmark") / "meshes")
    write_off(folder / "box" / "train" / "open.off", np.eye(4)[:, :3], BOX_FACES[:1])
    return folder


def benchmark(meshes: Path, out: Path, *flags: object) -> int:
    arguments = [meshes, "--solids", 5, "--out", out, "--workers", 1, *flags]
    return main(["benchmark", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(meshes, tmp_path_factory) -> Path:
    """The folder of a whole run without models; no test writes here."""
    folder = tmp_path_factory.mktemp("benchmark") / "out"
    assert benchmark(meshes, folder) == 0
    return folder


@pytest.fixture
def out(finished, tmp_path) -> Path:
    """A test's own copy of it."""
    return shutil.copytree(finished, tmp_path / "finished")


def result_of(out: Path) -> dict:
    return json.loads((out / "scancom.json").read_text())


def stores(out: Path) -> dict[str, PackedStore]:
    return {path.name: PackedStore.open(path) for path in sorted((out / "scans").iterdir())}


def make_checkpoint(path: Path, store: PackedStore, *, seed: int = 0, **changes: object) -> torch.nn.Module:
    """A GCN that says that it was trained on the graphs of a store's first three objects."""
    torch.manual_seed(seed)
    arguments = {"input_dim": len(store.feature_names), "hidden_dim": 8, "num_layers": 2, "dropout": 0.0}
    model = build_model("gcn", **arguments)
    train = np.flatnonzero(store.object_idx < 3)
    said = data_identity(
        store, {"data_dir": "there", "val_split": 0.1, "split_by": "object", "seed": 0}, train, train[:0]
    )
    described = {
        "format": FORMAT, "model": "gcn", "model_args": arguments, "config": {}, "metrics": {},
        "calibration": Calibration().to_dict(), "data": {**said, **changes}, "epochs_done": 1,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "plumbline": described}, path)
    return model


class TestConditions:
    def test_are_the_twenty_that_are_stated(self):
        expected = {
            (views, noise, points, "farthest")
            for views in (1, 3) for noise in (0, 0.01, 0.03) for points in (128, 256, 512)
        } | {(views, 0.01, 256, "random") for views in (1, 3)}  # fmt: skip
        assert len(CONDITIONS) == 20
        assert {tuple(condition) for condition in CONDITIONS} == expected
        assert set(MAIN) == {(1, 0.01, 256, "farthest"), (3, 0.01, 256, "farthest")}
        assert len({condition.name for condition in CONDITIONS}) == 20
        assert Condition(3, 0.0, 128, "random").title == "3 views, no noise, 128 random points"


class TestWhole:
    def test_scans_are_those_that_the_conditions_state(self, out):
        assert set(stores(out)) == {condition.name for condition in FEW}
        for condition in FEW:
            store = stores(out)[condition.name]
            assert len(store) == 16
            assert set(store.num_views) == {condition.views}
            assert set(np.diff(store.node_ptr)) == {condition.points}
            assert store.manifest["provenance"]["settings"]["noise"] == condition.noise

    def test_figures_are_those_computed_by_hand(self, out):
        result = result_of(out)
        for name, store in stores(out).items():
            graphs = [store.sample(i) for i in range(len(store))]
            vectors = {key: store.vectors[:, VECTOR_NAMES.index(key)] for key in ("hull", "carve")}
            means = np.array([graph.pos.astype(float).mean(axis=0) for graph in graphs])
            box = np.array([(graph.pos.min(axis=0) + graph.pos.max(axis=0)) / 2 for graph in graphs])
            by_hand = {
                "point mean": means, "bounding box": box,
                "convex hull": means + vectors["hull"], "carve": means + vectors["carve"],
            }  # fmt: skip
            groups = np.array([graph.object_name.rpartition("/")[0] for graph in graphs])
            assert result["conditions"][name]["scans"] == len(graphs)
            for method, answer in by_hand.items():
                miss = np.linalg.norm(answer - store.target, axis=1) / store.bounding_radius
                found = result["conditions"][name]["methods"][method]
                assert found["n"] == len(graphs)
                assert found["mean"] == pytest.approx(miss.mean(), rel=1e-5)
                assert found["median"] == pytest.approx(np.median(miss), rel=1e-5)
                assert found["p90"] == pytest.approx(np.quantile(miss, 0.9), rel=1e-5)
                assert found["low"] < found["mean"] < found["high"]
                assert found["below_0.05"] == np.mean(miss < 0.05)
                assert found["below_0.1"] == np.mean(miss < 0.1)
                assert set(found["sources"]) == set(groups)
                for group, part in found["sources"].items():
                    assert part["mean"] == pytest.approx(miss[groups == group].mean(), rel=1e-5)
                    assert (part["n"], part["objects"]) == (
                        (groups == group).sum(),
                        (groups == group).sum() / 2,
                    )

    def test_the_json_says_what_was_measured(self, out):
        result = result_of(out)
        assert list(result) == [
            "benchmark", "version", "libraries", "caster", "seed", "settings", "inputs_sha256", "objects",
            "rejected", "checkpoints", "best_baseline", "conditions",
        ]  # fmt: skip
        assert (result["benchmark"], result["objects"], result["checkpoints"]) == ("ScanCoM 1", 8, [])
        assert result["settings"] == {"samples": 2, "meshes": 4, "solids": 5}
        assert [item["source"] for item in result["rejected"]] == ["box/train/open.off"]
        assert "python" in result["libraries"]
        for condition in FEW:
            part = result["conditions"][condition.name]
            assert {key: part[key] for key in Condition._fields} == condition._asdict()
            assert list(part["methods"]) == list(BASELINES)
        means = {
            name: sum(result["conditions"][c.name]["methods"][name]["mean"] for c in MAIN)
            for name in BASELINES
        }
        assert result["best_baseline"] == min(means, key=means.get)

    def test_the_terminal_and_the_markdown_show_the_figures(self, meshes, out, capsys):
        assert benchmark(meshes, out) == 0
        shown = capsys.readouterr().out
        written = (out / "scancom.md").read_text()
        mean = result_of(out)["conditions"][MAIN[0].name]["methods"]["carve"]["mean"]
        assert re.search(rf"^carve +{100 * mean:.1f} %", shown, re.MULTILINE)
        assert re.search(rf"^\| carve \| (\*\*)?{100 * mean:.1f} %", written, re.MULTILINE)
        for text in (shown, written):
            for part in (
                "Möbel alt",
                "1 view, 1 % noise, 64 random points",
                "1 input was rejected",
                "seed 20231",
            ):
                assert part in text
        assert str(out / "scancom.json") in shown

    def test_json_prints_json_and_nothing_else(self, meshes, out, capsys):
        assert benchmark(meshes, out, "--json") == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out) == result_of(out)
        assert "3 of 3" in captured.err


class TestAgain:
    def test_a_second_run_makes_no_scan_and_writes_the_same_bytes(self, meshes, out, monkeypatch):
        before = (out / "scancom.json").read_bytes()
        monkeypatch.setattr(Workers, "write", None)
        assert benchmark(meshes, out) == 0
        assert (out / "scancom.json").read_bytes() == before

    def test_a_run_that_was_stopped_goes_on_where_it_was(self, meshes, out, tmp_path, monkeypatch, capsys):
        made = []

        def write(self, chunks, *rest):
            made.append(len(chunks))
            return original(self, chunks, *rest)

        def finish(folder, *rest, **options):
            if folder.name == FEW[1].name and len(made) == 2:
                raise KeyboardInterrupt
            dataset_finish(folder, *rest, **options)

        original, dataset_finish = Workers.write, dataset.finish
        monkeypatch.setattr(Workers, "write", write)
        monkeypatch.setattr(dataset, "finish", finish)
        assert benchmark(meshes, tmp_path / "out") == 130
        assert "again to resume" in capsys.readouterr().out
        assert not (tmp_path / "out" / "scancom.json").exists()
        parts = sorted((tmp_path / "out" / "scans" / FEW[1].name / ".parts").glob("*.part"))
        parts[0].unlink()
        assert benchmark(meshes, tmp_path / "out") == 0
        assert made == [9, 9, 1, 9], "of the second condition one part was missing, of the first none"
        assert (tmp_path / "out" / "scancom.json").read_bytes() == (out / "scancom.json").read_bytes()

    def test_other_settings_or_objects_are_refused(self, meshes, out, capsys):
        assert benchmark(meshes, out, "--samples", 3) == 2
        assert "samples 2 there, 3 now" in capsys.readouterr().err
        assert benchmark(meshes / "crate", out) == 2
        assert "4 meshes there, 1 now" in capsys.readouterr().err


@pytest.fixture
def store(out) -> PackedStore:
    return stores(out)[MAIN[0].name]


class TestMethods:
    def test_an_oracle_never_misses_and_a_bad_guess_misses_by_what_it_is_wrong(self, store):
        def oracle(graphs, indices):
            return Answers(graphs.gather(indices).target.astype(float))

        def bad(graphs, indices):
            found = graphs.gather(indices)
            return Answers(found.target + found.bounding_radius[:, None] * [0, 0.18, 0.24])

        asked = [Asked("oracle", GraphForm(), oracle), Asked("bad", GraphForm(), bad)]
        errors = measure(store, asked, ["carve"])
        assert list(errors) == ["oracle", "bad", "carve"]
        best, worst = figures(errors["oracle"]), figures(errors["bad"])
        assert best["p90"] < 1e-6
        assert (best["below_0.05"], best["below_0.1"]) == (1, 1)
        for key in ("mean", "median", "p90", "low", "high"):
            assert worst[key] == pytest.approx(0.3, abs=1e-6)
        assert (worst["below_0.05"], worst["below_0.1"]) == (0, 0)
        assert all(part["mean"] == pytest.approx(0.3, abs=1e-6) for part in worst["sources"].values())

    def test_a_model_that_knows_of_tables_is_told_of_none(self, store):
        """Scans of the benchmark are without a sensor model, so their stores have no vector to the table."""
        assert "table" not in store.vector_names

        def ask(graphs, indices):
            found = graphs.gather(indices)
            assert list(graphs.vector_names) == ["table", "view", "carve"]
            assert not found.vectors[:, 0].any()
            np.testing.assert_allclose(np.linalg.norm(found.vectors[:, 1], axis=1).max(), 1, atol=0.1)
            return Answers(found.target.astype(float))

        form = GraphForm(vector_names=("table", "view", "carve"))
        assert figures(measure(store, [Asked("asks", form, ask)], [])["asks"])["p90"] < 1e-6

    def test_answers_that_are_no_numbers_are_refused(self, store):
        def broken(graphs, indices):
            return Answers(np.where(indices[:, None] == 3, np.nan, np.zeros(3)))

        with pytest.raises(Exception, match="the predictions of broken for 1 of 16 scans are not finite"):
            measure(store, [Asked("broken", GraphForm(), broken)], [])

    @pytest.mark.parametrize("points", [12, 30])
    def test_graphs_are_as_in_training(self, tmp_path, points):
        rng = np.random.default_rng(points)
        stored = []
        for k in (16, 5):
            rng = np.random.default_rng(points)
            samples = []
            for i in range(4):
                place = rng.normal(size=(points + i, 3))
                scan = Scan(
                    points=place, sensor=np.full(place.shape, 9.0), view=np.zeros(len(place), int),
                    com=np.zeros(3), bounding_radius=2.0,
                )  # fmt: skip
                graph = {"edge_attr": "none", "sh_degree": 0, "normalise": "unit"}
                samples.append(build_sample(scan, k=k, object_name=f"o{i}", **graph))
            names = {"feature_names": FEATURE_NAMES, "vector_names": VECTOR_NAMES, "leaders": LEADERS}
            write_store(tmp_path / str(k), samples, **names, k=k, edge_attr="displacement")
            stored.append(PackedStore.open(tmp_path / str(k)))
        features = ("x", "y", "z", "depth", "normal_x")
        form = GraphForm(feature_names=features, vector_names=("view", "hull"), k=5)
        chosen = np.array([2, 0, 3])
        found = AsTrained(stored[0], form).gather(chosen)
        expected = stored[1].gather(chosen)
        for name in ("in_degree", "edge_source", "edge_ptr", "node_ptr", "pos", "target"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        columns = [FEATURE_NAMES.index(name) for name in features]
        np.testing.assert_array_equal(found.node_features, expected.node_features[:, columns])
        np.testing.assert_array_equal(found.vectors, expected.vectors[:, [2, 0]])


class TestModels:
    def test_are_measured_beside_the_baselines_and_told_apart(self, meshes, out, store, tmp_path, capsys):
        model = make_checkpoint(tmp_path / "one" / "last.ckpt", store)
        make_checkpoint(tmp_path / "two" / "last.ckpt", store, seed=1, objects=mark_objects({"other": 1.0}))
        assert benchmark(meshes, out, "--checkpoint", tmp_path / "one", tmp_path / "two" / "last.ckpt") == 0
        shown, result = capsys.readouterr().out, result_of(out)
        names = ["gcn (one)", "gcn (two)"]
        assert [one["name"] for one in result["checkpoints"]] == names
        assert [one["objects_seen"] for one in result["checkpoints"]] == [3, 0]
        assert result["checkpoints"][0]["parameters"] == sum(w.numel() for w in model.parameters())
        answers = predict(model, store, np.arange(len(store)))
        miss = np.linalg.norm(answers - store.target, axis=1) / store.bounding_radius
        methods = result["conditions"][MAIN[0].name]["methods"]
        assert list(methods) == [*names, *BASELINES]
        assert methods["gcn (one)"]["mean"] == pytest.approx(miss.mean(), rel=1e-6)
        assert methods["gcn (two)"]["mean"] != methods["gcn (one)"]["mean"]
        said = "gcn (one) was trained on 3 of these 8 objects"
        assert f"warning: {said}" in shown
        assert "gcn (two) was" not in shown
        assert f"**Warning:** {said}" in (out / "scancom.md").read_text()

    def test_get_graphs_as_in_their_training(self, meshes, out, store, tmp_path):
        make_checkpoint(tmp_path / "few" / "last.ckpt", store, k=8)
        make_checkpoint(tmp_path / "many" / "last.ckpt", store, k=20)
        make_checkpoint(tmp_path / "metres" / "last.ckpt", store, normalise="centre")
        paths = [tmp_path / name for name in ("few", "many", "metres")]
        assert benchmark(meshes, out, "--checkpoint", *paths) == 0
        found = stores(out)
        assert {name.removeprefix(MAIN[0].name) for name in found if name.startswith(MAIN[0].name)} == {
            "", "-unit-k20", "-centre-k16",
        }  # fmt: skip
        assert found[f"{MAIN[0].name}-unit-k20"].k == 20
        assert found[f"{MAIN[0].name}-centre-k16"].normalise == "centre"
        means = [part["mean"] for part in result_of(out)["conditions"][MAIN[0].name]["methods"].values()]
        assert len(set(means)) == 3 + len(BASELINES)

    def test_that_do_not_say_what_they_were_trained_on(self):
        result = {"checkpoints": [{"name": "old", "objects_seen": None}], "objects": 8}
        assert "does not say which objects" in warnings(result)[0]

    def test_objects_are_known_by_their_names_whatever_their_unit(self):
        marks = mark_objects({"a/1": 0.5, "b/2": 2.0})
        assert len(marks) == 4 * 16
        assert num_marked(marks, {"b/2": 1.0, "c/3": 0.5, "a/1": 0.5}) == 2
        assert num_marked("", {"a/1": 0.5}) == 0

    def test_objects_of_a_folder_within_are_known_by_file_name_and_size(self):
        marks = mark_objects({"cups/a/mug": 0.5 * (1 + 1e-15)})
        assert num_marked(marks, {"a/mug": 0.5}) == num_marked(marks, {"mug": 0.5}) == 1
        assert num_marked(marks, {"mug": 0.6, "a/jug": 0.5}) == 0

    def test_built_in_solids_of_another_seed_have_the_same_names_and_are_others(self):
        marks = mark_objects({"solids/bolt/000001": 0.069})
        assert num_marked(marks, {"solids/bolt/000001": 0.058}) == 0
        assert num_marked(marks, {"solids/bolt/000001": 0.069}) == 1


class TestRefusals:
    def test_nothing_to_measure_on_and_nowhere_to_write(self, meshes, tmp_path, capsys):
        assert "--out is missing" in refused(capsys, "benchmark", meshes)
        assert "nothing to measure on" in refused(capsys, "benchmark", "--out", tmp_path)
        assert "does not exist" in refused(capsys, "benchmark", tmp_path / "none", "--out", tmp_path / "out")

    def test_a_data_set_as_the_folder(self, meshes, out, capsys):
        said = refused(capsys, "benchmark", meshes, "--out", out / "scans" / MAIN[0].name)
        assert "is a data set" in said

    def test_meshes_that_are_all_rejected(self, tmp_path, capsys):
        write_off(tmp_path / "in" / "open.off", np.eye(4)[:, :3], BOX_FACES[:1])
        said = refused(capsys, "benchmark", tmp_path / "in", "--out", tmp_path / "out", "--workers", 1)
        assert "there is nothing to measure: all 1 inputs were rejected (the first is open.off:" in said

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [({"feature_names": ["x", "y", "z", "colour"]}, "other features"), ({"k": None}, "neighbours")],
    )
    def test_models_of_other_graphs(self, meshes, out, tmp_path, capsys, changes, reason):
        make_checkpoint(tmp_path / "a.ckpt", stores(out)[MAIN[0].name], **changes)
        said = refused(capsys, "benchmark", meshes, "--out", out, "--checkpoint", tmp_path / "a.ckpt")
        assert reason in said
        assert "a.ckpt" in said

    def test_no_checkpoint(self, meshes, tmp_path, capsys):
        said = refused(capsys, "benchmark", meshes, "--out", tmp_path, "--checkpoint", tmp_path / "none")
        assert "there is no such file" in said
        assert not (tmp_path / "scans").exists()
