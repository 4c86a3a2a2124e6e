"""``plumbline evaluate`` from the checkpoint to the report, and each way it refuses."""

import html
import json
import re
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import plumbline
from plumbline.cli import main
from plumbline.data.pt.cache import open_data
from plumbline.data.pt.samples import write_pt
from plumbline.data.split import group_of, mark_objects, object_sizes, split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError
from plumbline.evaluation.evaluate import choose_graphs
from plumbline.models import build_model
from plumbline.predictors.calibration import Calibration, Usual
from plumbline.predictors.checkpoint import FORMAT, load_checkpoint
from plumbline.predictors.inference import answers_for, predict
from plumbline.records import FEATURE_NAMES, Sample
from plumbline.reporting import Event
from tests.helpers import scanned
from tests.helpers.preparing import prepare
from tests.helpers.refusals import refused

OBJECTS, SCANS = 20, 3


def make_store(folder, *, seed: int = 0, features=FEATURE_NAMES, **fields) -> PackedStore:
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(OBJECTS * SCANS):
        points = int(rng.integers(10, 30))
        values = rng.normal(size=(points, len(features))).astype(np.float32)
        samples.append(
            Sample(
                node_features=values,
                in_degree=np.ones(points, np.int32),
                edge_source=np.roll(np.arange(points, dtype=np.int32), 1),
                target=rng.normal(size=3) * 0.2,
                object_name=f"kind{number // SCANS % 2}/{number // SCANS:04d}",
                bounding_radius=2.0,
                scale=0.1,
            )
        )
    write_store(folder, samples, feature_names=list(features), **fields)
    return PackedStore.open(folder)


def make_checkpoint(path, store: PackedStore, **changes) -> torch.nn.Module:
    torch.manual_seed(0)
    arguments = {"input_dim": len(store.feature_names), "hidden_dim": 8, "num_layers": 2, "dropout": 0.5}
    model = build_model("gcn", **arguments)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "data_dir": str(store.path),
        "fingerprint": store.fingerprint,
        "feature_names": list(store.feature_names),
        "vector_names": [],
        "leaders": 0,
        "k": None,
        "edge_attr": "none",
        "sh_degree": None,
        "normalise": store.normalise,
        "num_train": 48,
        "num_val": 12,
        "objects": None,
        "val_split": 0.2,
        "split_by": "object",
        "seed": 3,
    }
    described = {
        "format": FORMAT,
        "model": "gcn",
        "model_args": arguments,
        "config": {"lr": 1e-3, "wandb_tags": [], "resume": None},
        "data": {**data, **changes},
        "metrics": {"val_loss": 0.5},
        "calibration": Calibration().to_dict(),
        "epochs_done": 1,
    }
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "plumbline": described}, path)
    return model


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PackedStore:
    return make_store(tmp_path_factory.mktemp("evaluate") / "data")


@pytest.fixture
def run_folder(tmp_path, store):
    folder = tmp_path / "run"
    make_checkpoint(folder / "best-model-00-0.500.ckpt", store)
    (folder / "metrics.csv").write_text("epoch,step,val_loss\n0,1,0.5\n1,2,0.4\n")
    return folder


def held_back(store: PackedStore) -> np.ndarray:
    return split_by_object(store.object_idx, store.object_names, 0.2, 3)[1]


class TestWhole:
    def test_numbers_are_those_of_the_model_on_the_objects_kept_back(self, run_folder, store, capsys):
        assert main(["evaluate", str(run_folder)]) == 0
        written = json.loads((run_folder / "evaluation.json").read_text())
        model = make_checkpoint(run_folder / "copy.ckpt", store)
        graphs = held_back(store)
        answers = predict(model, store, graphs, batch_size=5)
        errors = np.linalg.norm(answers - store.target[graphs], axis=1) / 2.0
        assert 0 < len(graphs) < len(store)
        assert written["methods"]["gcn"]["error_rel"]["mean"] == pytest.approx(errors.mean(), rel=1e-5)
        assert written["methods"]["gcn"]["error_m"]["p90"] == pytest.approx(
            np.quantile(errors, 0.9) * 0.2, rel=1e-5
        )
        assert (written["num_graphs"], written["split"], written["objects_are"]) == (
            len(graphs),
            "val",
            "unseen",
        )
        shown = capsys.readouterr().out
        assert written["sentence"] in shown
        assert str(run_folder / "report.html") in shown
        assert str(run_folder / "evaluation.json") in shown

    def test_the_report_is_complete(self, run_folder, store):
        main(["evaluate", str(run_folder), "--split", "all"])
        page = (run_folder / "report.html").read_text(encoding="utf-8")
        for part in ("By group", "kind1", "Training", "sensor_x", store.fingerprint[:16], "--split all"):
            assert part in page
        assert "include those it was trained on" in page

    def test_json_prints_json_and_nothing_else(self, run_folder, tmp_path, capsys):
        out = tmp_path / "elsewhere" / "deep"
        assert main(["evaluate", str(run_folder), "--json", "--out", str(out)]) == 0
        shown = capsys.readouterr().out
        assert json.loads(shown) == json.loads((out / "evaluation.json").read_text())
        assert (out / "report.html").is_file()
        assert not (run_folder / "report.html").exists()

    def test_a_second_evaluation_replaces_the_first(self, run_folder, tmp_path):
        for split in ("val", "train"):
            assert main(["evaluate", str(run_folder), "--split", split, "--out", str(tmp_path)]) == 0
            assert json.loads((tmp_path / "evaluation.json").read_text())["split"] == split

    def test_another_data_set(self, run_folder, tmp_path, capsys):
        other = make_store(tmp_path / "other", seed=1)
        assert main(["evaluate", str(run_folder), "--data_dir", str(other.path), "--json"]) == 0
        numbers = json.loads(capsys.readouterr().out)
        assert (numbers["num_graphs"], numbers["split"], numbers["objects_are"]) == (60, "all", "other")
        assert "not seen" not in numbers["sentence"]
        assert json.loads((run_folder / "other" / "evaluation.json").read_text()) == numbers
        assert (run_folder / "other" / "report.html").is_file()
        assert not (run_folder / "report.html").exists(), "an evaluation on other data stands by itself"

    @pytest.mark.parametrize("known", [0, 7])
    def test_objects_of_another_data_set_that_were_trained_on_are_counted(
        self, tmp_path, store, capsys, known
    ):
        other = make_store(tmp_path / "other", seed=1)
        sizes = object_sizes(other, np.arange(len(other)))
        some = {name: size if i < known else 2 * size for i, (name, size) in enumerate(sizes.items())}
        make_checkpoint(tmp_path / "run" / "last.ckpt", store, objects=mark_objects(some))
        assert main(["evaluate", str(tmp_path / "run"), "--data_dir", str(other.path)]) == 0
        told = f"was trained on 7 of these {len(sizes)} objects; it may do worse on the others."
        shown = " ".join(capsys.readouterr().out.split())
        report = (tmp_path / "run" / "other" / "report.html").read_text(encoding="utf-8")
        assert (told in shown, told in report) == (known > 0, known > 0)
        assert ("this data set, some of which it was trained on" in shown) == (known > 0)
        numbers = json.loads((tmp_path / "run" / "other" / "evaluation.json").read_text())
        assert numbers["objects_trained_on"] == known

    def test_the_command_in_the_report_names_the_folder(self, run_folder, tmp_path):
        assert main(["evaluate", str(run_folder), "--out", str(tmp_path / "mine")]) == 0
        report = html.unescape((tmp_path / "mine" / "report.html").read_text(encoding="utf-8"))
        assert f"--out {shlex.quote(str(tmp_path / 'mine'))}" in report

    def test_a_copy_of_the_data_set_is_the_same_data_set(self, run_folder, tmp_path, capsys):
        copy = make_store(tmp_path / "copy")
        assert main(["evaluate", str(run_folder), "--data_dir", str(copy.path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["split"] == "val"

    def test_a_run_without_metrics(self, tmp_path, store):
        make_checkpoint(tmp_path / "lone" / "any name.ckpt", store)
        assert main(["evaluate", str(tmp_path / "lone" / "any name.ckpt")]) == 0
        assert "Training</h2>" not in (tmp_path / "lone" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("known", [{"0.5": 1.2, "0.9": 3.0}, {"0.5": 1.0}])
def test_a_model_that_knows_its_errors_is_held_to_it(tmp_path, capsys, monkeypatch, known):
    """With few validation scans, no radius for nine in ten is known."""
    best = scanned.make_checkpoint(tmp_path, "ept")
    trained, store = load_checkpoint(best), PackedStore.open(tmp_path / "data")
    knowing = replace(trained, calibration=Calibration(known))
    monkeypatch.setattr("plumbline.evaluation.evaluate.load_checkpoint", lambda path, model: knowing)
    capsys.readouterr()
    assert main(["evaluate", str(best), "--split", "all", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)["held_by_expected_error"]
    found = answers_for(trained.model, store, np.arange(len(store)))
    error = np.linalg.norm(found.com - store.target, axis=1)
    assert held == {share: np.mean(error <= factor * found.expected_error) for share, factor in known.items()}
    said = "of the true centres of mass" in (best.parent / "report.html").read_text()
    assert said == ("0.9" in known)


def test_scans_are_refused_by_what_the_model_says_of_them(tmp_path, capsys, monkeypatch):
    best = scanned.make_checkpoint(tmp_path, "ept")
    trained, store = load_checkpoint(best), PackedStore.open(tmp_path / "data")
    found = answers_for(trained.model, store, np.arange(len(store)))
    mean, width = found.features.mean(axis=0), found.features.shape[1]
    distance = np.linalg.norm(found.features - mean, axis=1)
    usual = Usual(mean, np.eye(width), float(np.median(distance)))
    knowing = replace(trained, calibration=Calibration({}, usual=usual))
    monkeypatch.setattr("plumbline.evaluation.evaluate.load_checkpoint", lambda path, model: knowing)
    capsys.readouterr()
    assert main(["evaluate", str(best), "--split", "all", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["refusal"]
    error = np.linalg.norm(found.com - store.target, axis=1) / store.bounding_radius
    clouds = [store.gather(np.array([graph])).pos for graph in range(len(store))]
    relative = found.expected_error / [np.ptp(cloud, axis=0).max() for cloud in clouds]
    novelty = distance / np.median(distance)
    for name, score in {"novelty": novelty, "expected error": relative, "best possible": error}.items():
        curve = np.cumsum(error[np.argsort(score)]) / np.arange(1, len(error) + 1)
        assert written["area"][name] == pytest.approx(curve.mean(), rel=1e-6), name
        assert written["miss"][name][-1] == pytest.approx(error.mean(), rel=1e-6)
    assert written["area"]["random"] == pytest.approx(error.mean(), rel=1e-6)
    assert written["unusual"] == 0.5
    assert "If scans are refused" in (best.parent / "report.html").read_text(encoding="utf-8")


class TestRefusals:
    @pytest.mark.parametrize("split", ["val", "train"])
    def test_no_part_of_a_foreign_data_set(self, run_folder, tmp_path, capsys, split):
        other = make_store(tmp_path / "other", seed=1)
        said = refused(capsys, "evaluate", run_folder, "--data_dir", other.path, "--split", split)
        assert f"--split {split}" in said
        assert "use --split all" in said

    def test_other_features(self, run_folder, tmp_path, capsys):
        narrow = make_store(tmp_path / "narrow", features=("x", "y", "z"))
        said = refused(capsys, "evaluate", run_folder, "--data_dir", narrow.path)
        assert "the model reads 12 features per point (x, y, z, sensor_x" in said
        assert "has 3 (x, y, z)" in said
        renamed = make_store(tmp_path / "renamed", features=("u", *FEATURE_NAMES[1:]))
        assert "has 12 (u, y, z" in refused(capsys, "evaluate", run_folder, "--data_dir", renamed.path)

    def test_no_table_for_a_model_that_uses_one(self, tmp_path, capsys):
        prepare("--solids", 2, "--samples", 1, "--views", 1, "--points", 64, "--workers", 1,
                "--out", tmp_path / "data")  # fmt: skip
        words = ("evaluate", "pretrained", "--data_dir", tmp_path / "data", "--out", tmp_path / "out")
        said = refused(capsys, *words)
        assert said == (
            f"error: the model reads vectors of each scan that {tmp_path / 'data'} does not have (table): "
            "prepare it like the training data, that of a table with --sensor_model depth\n"
        )

    def test_points_in_another_frame(self, run_folder, tmp_path, capsys):
        other = make_store(tmp_path / "other", normalise="centre")
        said = refused(capsys, "evaluate", run_folder, "--data_dir", other.path)
        assert "another frame" in said
        assert "--normalise centre" in said

    def test_the_training_data_has_gone(self, tmp_path, store, capsys):
        make_checkpoint(tmp_path / "a.ckpt", store, data_dir=str(tmp_path / "gone"))
        said = refused(capsys, "evaluate", tmp_path / "a.ckpt")
        assert str(tmp_path / "gone") in said
        assert "--data_dir" in said

    def test_no_checkpoint(self, tmp_path, capsys):
        assert "there is no such file" in refused(capsys, "evaluate", tmp_path / "none")
        assert "neither best-model" in refused(capsys, "evaluate", tmp_path)

    def test_a_folder_that_cannot_be_made(self, run_folder, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert "cannot write to" in refused(
            capsys, "evaluate", run_folder, "--out", tmp_path / "file" / "out"
        )

    def test_a_data_set_is_no_place_for_a_report(self, run_folder, store, capsys):
        assert "is a data set" in refused(capsys, "evaluate", run_folder, "--out", store.path)
        assert not (store.path / "report.html").exists()

    @pytest.mark.parametrize("name", ["report.html", "evaluation.json"])
    def test_a_file_of_the_users_own(self, run_folder, tmp_path, capsys, name):
        out = tmp_path / "out"
        out.mkdir()
        (out / name).write_text('{"mine": 1}')
        assert f"{name} is not from an evaluation" in refused(capsys, "evaluate", run_folder, "--out", out)
        assert (out / name).read_text() == '{"mine": 1}'
        assert len(list(out.iterdir())) == 1

    def test_a_full_gpu(self, run_folder, capsys, monkeypatch):
        def full(*_, **__):
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr("plumbline.models.gcn.GCN.forward", full)
        said = refused(capsys, "evaluate", run_folder)
        batch = "--batch_size 64 (a batch of 24 graphs, 430 points, 430 edges)"
        assert f"the GPU's memory does not hold {batch}: try --batch_size 12\n" in said

    def test_a_full_machine(self, run_folder, capsys, monkeypatch):
        def full(*_, **__):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

        monkeypatch.setattr("plumbline.models.gcn.GCN.forward", full)
        said = refused(capsys, "evaluate", run_folder, "--batch_size", 1)
        whose = r"(this machine's memory|the memory [a-z -]+) \([\d.]+ [GM]iB, [\d.]+ [GM]iB free\)"
        batch = r"--batch_size 1 \(a batch of 1 graph, [\d,]+ points, [\d,]+ edges\)"
        assert re.search(f"{whose} does not hold {batch}: make smaller graphs\n", said)

    def test_a_model_that_diverged(self, tmp_path, store, capsys):
        make_checkpoint(tmp_path / "a.ckpt", store)
        content = torch.load(tmp_path / "a.ckpt", weights_only=True)
        content["state_dict"]["model.head.6.bias"][:] = float("nan")
        torch.save(content, tmp_path / "a.ckpt")
        assert "are not finite" in refused(capsys, "evaluate", tmp_path / "a.ckpt")
        assert not (tmp_path / "report.html").exists()


class TestChoices:
    @pytest.mark.parametrize("split_by", ["object", "group"])
    def test_train_and_val_share_no_object_and_make_up_all(self, tmp_path, store, split_by):
        make_checkpoint(tmp_path / "a.ckpt", store, split_by=split_by)
        data = load_checkpoint(tmp_path / "a.ckpt").data
        parts = {split: choose_graphs(store, data, split, store.path) for split in ("train", "val", "all")}
        objects = {name: set(store.object_idx[part.indices].tolist()) for name, part in parts.items()}
        assert not objects["train"] & objects["val"]
        assert objects["train"] | objects["val"] == objects["all"]
        assert [part.relation for part in parts.values()] == ["seen", "unseen", "seen"]
        groups = {side: {group_of(store.object_names[i]) for i in objects[side]} for side in ("train", "val")}
        assert bool(groups["train"] & groups["val"]) == (split_by == "object")


class TestPredict:
    def test_order_and_batches_do_not_matter(self, tmp_path, store):
        model = make_checkpoint(tmp_path / "a.ckpt", store)
        whole = predict(model, store, np.arange(60), batch_size=60)
        order = np.random.default_rng(0).permutation(60)
        np.testing.assert_allclose(predict(model, store, order, batch_size=7), whole[order], atol=1e-6)
        assert (whole.dtype, whole.shape) == (np.float64, (60, 3))

    def test_dropout_is_off_and_the_mode_is_kept(self, tmp_path, store):
        model = make_checkpoint(tmp_path / "a.ckpt", store).train()
        first, second = (predict(model, store, np.arange(9)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert model.training

    def test_no_graphs(self, tmp_path, store):
        model = make_checkpoint(tmp_path / "a.ckpt", store)
        assert predict(model, store, np.array([], dtype=int)).shape == (0, 3)


class TestFromPython:
    def test_the_record_is_what_the_command_writes_and_nothing_is_printed(self, run_folder, tmp_path, capsys):
        found = plumbline.evaluate(run_folder, out=tmp_path / "out")
        assert capsys.readouterr() == ("", "")
        written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
        assert found.to_dict() == written
        assert (tmp_path / "out" / "report.html").is_file()
        assert main(["evaluate", str(run_folder)]) == 0
        assert json.loads((found.folder / "evaluation.json").read_text()) == written
        page = (run_folder / "report.html").read_text(encoding="utf-8")
        own = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        out = html.escape(shlex.quote(str(tmp_path / "out")))
        assert own.replace(f" --out {out}", "") == page

    def test_without_a_folder_nothing_is_written(self, run_folder):
        before = sorted(run_folder.iterdir())
        found = plumbline.evaluate(str(run_folder), split="train", batch_size=7)
        assert sorted(run_folder.iterdir()) == before
        assert (found.split, found.table.relation) == ("train", "seen")

    def test_files_that_are_read_are_counted(self, tmp_path, store):
        (tmp_path / "pt").mkdir()
        for number in range(6):
            write_pt(tmp_path / "pt" / f"{number}.pt", store.sample(9 * number))
        made = PackedStore.open(open_data(tmp_path / "pt").path)
        make_checkpoint(tmp_path / "a.ckpt", made)
        shutil.rmtree(tmp_path / "pt" / ".plumbline-cache")
        events: list[Event] = []
        plumbline.evaluate(tmp_path / "a.ckpt", data_dir=tmp_path / "pt", split="all", report=events.append)
        assert [(event.kind, event.text, event.total) for event in events] == [("progress", "file", 6)] * len(
            events
        )
        assert [event.done for event in events] == sorted({event.done for event in events})
        assert events[-1].done == 6

    def test_a_split_that_there_is_not(self, run_folder):
        with pytest.raises(InputError, match="split must be auto, val, train, test, all, got 'half'"):
            plumbline.evaluate(run_folder, split="half")
        with pytest.raises(InputError, match="--split test: the model was trained without objects for test"):
            plumbline.evaluate(run_folder, split="test")
