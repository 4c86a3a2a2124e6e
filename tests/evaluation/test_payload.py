"""Errors of volume and inertia: by hand, in the table, in every output; nothing without a prediction."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from plumbline.cli import main
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError
from plumbline.evaluation.benchmark_tables import page
from plumbline.evaluation.conditions import MAIN
from plumbline.evaluation.payload import (
    PayloadErrors,
    PayloadTable,
    figures,
    network_payload,
    notes,
    payload_errors,
    print_payload,
    summarise_payload,
)
from plumbline.predictors.answers import Answers
from plumbline.predictors.untrained_payload import NAMES, Payload, untrained_payloads
from plumbline.records import Sample
from tests.helpers import scanned
from tests.helpers.preparing import prepare, write_meshes
from tests.helpers.training_fixtures import saved

TRUE = Payload(np.array([2.0, 3.0, 4.0]), np.array([np.diag([3.0, 4.0, 0]), np.eye(3), 2 * np.eye(3)]))
PRODUCT = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
"""A product of inertia lies on both sides of the diagonal, so it counts twice."""
FOUND = Payload(np.array([4.0, 1.5, 4.0]), np.array([np.diag([3.0, 4.0, 1.0]), PRODUCT, 2 * np.eye(3)]))
OFF = [0.2, 0.5 * np.sqrt(2) / np.sqrt(3), 0.0]
OBJECTS = np.array(["a", "a", "b"], dtype=object)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data set of real truths, and a checkpoint trained on it."""
    folder = tmp_path_factory.mktemp("payload")
    scanned.make_checkpoint(folder, "gcn")
    return folder


@pytest.fixture
def store(folder) -> PackedStore:
    return PackedStore.open(folder / "data")


def truth(store: PackedStore, *, volume: float = 1.0, inertia: float = 1.0) -> Payload:
    return Payload(volume * store.volume, inertia * store.inertia)


def table(store: PackedStore, **off: float) -> PayloadTable:
    return summarise_payload(store, np.arange(len(store)), {"net": truth(store, **off)})


def changed(store: PackedStore, path: Path, change) -> PackedStore:
    """The same data set with the samples that ``change(sample, number)`` returns."""
    samples: list[Sample] = [change(store.sample(i, edge_attr=False), i) for i in range(len(store))]
    write_store(path, samples, feature_names=list(store.feature_names), vector_names=list(store.vector_names))
    return PackedStore.open(path)


def printed(found: PayloadTable, width: int = 140) -> str:
    stream = io.StringIO()
    print_payload(Console(file=stream, width=width), found)
    return stream.getvalue()


class TestErrors:
    def test_by_hand_on_three_scans(self):
        found = payload_errors(FOUND, TRUE, OBJECTS)
        np.testing.assert_allclose(found.volume, [np.log(2), np.log(2), 0], atol=1e-15)
        np.testing.assert_allclose(found.inertia, OFF, atol=1e-15)
        volume, inertia = found.volume_factor(), found.inertia_rel()
        assert (volume.n, inertia.n) == (3, 3)
        assert volume.median == pytest.approx(2)
        assert volume.mean == pytest.approx(4 ** (1 / 3)), "the geometric mean of 2, 2 and 1"
        assert inertia.mean == pytest.approx(sum(OFF) / 3)
        assert inertia.median == pytest.approx(0.2)
        assert inertia.p90 == pytest.approx(0.2 + 0.8 * (OFF[1] - 0.2))

    def test_intervals_are_over_objects(self):
        """Of two objects, both draws may be of one: the interval spans the two objects' means."""
        found = payload_errors(FOUND, TRUE, OBJECTS)
        assert (found.volume_factor().low, found.volume_factor().high) == pytest.approx((1, 2))
        assert (found.inertia_rel().low, found.inertia_rel().high) == pytest.approx(
            (0, (OFF[0] + OFF[1]) / 2)
        )

    def test_no_answers_count_as_wholly_wrong(self):
        zero = payload_errors(Payload(TRUE.volume, 0 * TRUE.inertia), TRUE, OBJECTS)
        np.testing.assert_allclose(zero.inertia, 1)


class TestTable:
    def test_the_truth_has_no_error_and_errors_are_as_made(self, store):
        exact, off = table(store), table(store, volume=0.5, inertia=1.3)
        assert list(exact.errors) == ["net", *NAMES]
        assert exact.errors["net"].volume_factor().p90 == 1
        assert exact.errors["net"].inertia_rel().p90 == 0
        assert off.errors["net"].volume_factor().mean == pytest.approx(2)
        assert off.errors["net"].inertia_rel().mean == pytest.approx(0.3)
        for name in NAMES:
            assert off.errors[name].volume_factor() == exact.errors[name].volume_factor()

    def test_untrained_errors_are_those_of_the_untrained_answers(self, store):
        answers = untrained_payloads(store, np.arange(len(store))).answers
        for name, found in answers.items():
            volume = np.abs(np.log(found.volume / store.volume))
            summary = table(store).errors[name].volume_factor()
            assert summary.median == pytest.approx(np.exp(np.median(volume)))
            assert 1.02 < summary.median < 20

    def test_one_row_per_method_with_its_figures(self):
        errors = {
            "net": payload_errors(FOUND, TRUE, OBJECTS),
            "convex hull": PayloadErrors(np.log([3.0, 3, 3]), np.array([0.1, 0.1, 0.7]), OBJECTS),
        }
        shown = printed(PayloadTable(errors, unknown=1, flat=2, left_out=("carve",)))
        rows = {line.split("×")[0].strip(): " ".join(line.split()) for line in shown.splitlines()}
        assert rows["net"] == "net × 1.59 1.00 – 2.00 × 2.00 20.3 % 0.00 – 30.4 % 20.0 % 36.7 %"
        hull = "convex hull × 3.00 3.00 – 3.00 × 3.00 30.0 % 10.0 – 70.0 % 10.0 % 58.0 %"
        assert rows["convex hull"] == hull
        best = {column.head: column.best for column in figures(PayloadTable(errors, 0, 0, ()))}
        assert best["volume\nmean"] == best["inertia\nmean"] == 0
        assert best["inertia\nmedian"] == 1
        words = " ".join(shown.split())
        for said in ("3 scans of 2 objects", "of 1 scan are not known", "of 2 scans span no volume",
                     "carve needs the directions"):  # fmt: skip
            assert said in words

    def test_columns_give_way_and_none_is_cut(self, store):
        shown = printed(table(store), width=40)
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= 40

    def test_only_scans_whose_truth_is_known_count(self, store, tmp_path):
        def forget(sample: Sample, number: int) -> Sample:
            unknown = [{"volume": float("nan")}, {"inertia": None}, {"volume": 0.0}]
            return replace(sample, **(unknown[number] if number < 3 else {}))

        some = changed(store, tmp_path / "some", forget)
        everything = np.arange(len(store))
        found = summarise_payload(some, everything, {"net": truth(store, volume=2)})
        rest = summarise_payload(store, everything[3:], {"net": truth(store, volume=2).take(everything[3:])})
        assert found.unknown == 3
        assert found.to_dict()["num_graphs"] == len(store) - 3
        assert found.to_dict()["methods"] == rest.to_dict()["methods"]

    def test_scans_without_volume_are_left_out_for_every_method(self, store, tmp_path):
        def flatten(sample: Sample, number: int) -> Sample:
            if number != 1:
                return sample
            features = sample.node_features.copy()
            features[:, 2] = 0
            return replace(sample, node_features=features)

        found = table(changed(store, tmp_path / "flat", flatten))
        assert found.flat == 1
        assert {len(one.volume) for one in found.errors.values()} == {len(store) - 1}
        assert np.isfinite(found.errors["carve"].volume).all()

    def test_nothing_to_compare_with(self, store, tmp_path):
        none = changed(store, tmp_path / "none", lambda sample, _: replace(sample, inertia=None))
        found = summarise_payload(none, np.arange(len(none)), {"net": truth(store)})
        assert found.errors == {}
        assert found.to_dict()["methods"] == {}
        assert f"of {len(store)} scans are not known" in " ".join(printed(found).split())
        assert len(notes(found)) == 1

    @pytest.mark.parametrize("broken", [{"volume": -1.0}, {"volume": np.nan}, {"inertia": np.inf}])
    def test_impossible_predictions_are_refused(self, store, broken):
        with pytest.raises(
            InputError, match=f"net predicts for {len(store)} of {len(store)} scans is not fin"
        ):
            table(store, **broken)


class TestOfANetwork:
    def test_what_has_no_volume_or_inertia_predicts_none(self):
        com = np.zeros((2, 3))
        assert network_payload(Answers(com)) is None
        assert network_payload(Answers(com, volume=np.ones(2))) is None

    def test_what_has_both_is_taken(self):
        volume, inertia = np.ones(2), np.ones((2, 3, 3))
        found = network_payload(Answers(np.zeros((2, 3)), volume=volume, inertia=inertia))
        assert (found.volume is volume, found.inertia is inertia) == (True, True)


class TestEvaluate:
    def evaluate(self, folder: Path, out: Path, capsys) -> tuple[dict, str, str]:
        """``evaluation.json``, what is printed, the report."""
        (best,) = (folder / "gcn").glob("best-model-*.ckpt")
        capsys.readouterr()
        assert main(["evaluate", str(best), "--split", "all", "--out", str(out)]) == 0
        numbers = json.loads((out / "evaluation.json").read_text())
        return numbers, capsys.readouterr().out, (out / "report.html").read_text(encoding="utf-8")

    def test_a_network_without_payload_shows_nothing_of_it(self, folder, tmp_path, capsys):
        numbers, shown, report = self.evaluate(folder, tmp_path, capsys)
        assert "payload" not in numbers
        for text in (shown, report):
            assert "inertia" not in text.lower()

    def test_a_network_with_payload_is_compared_everywhere(
        self, folder, store, tmp_path, capsys, monkeypatch
    ):
        found = truth(store, volume=1.25, inertia=0.9)
        monkeypatch.setattr("plumbline.evaluation.evaluate.network_payload", lambda answers: found)
        numbers, shown, report = self.evaluate(folder, tmp_path, capsys)
        rows = numbers["payload"]["methods"]
        assert list(rows) == ["gcn", *NAMES]
        assert rows["gcn"]["volume_factor"]["median"] == pytest.approx(1.25)
        assert rows["gcn"]["inertia_rel"]["p90"] == pytest.approx(0.1)
        assert numbers["payload"]["num_graphs"] == len(store)
        assert "× 1.25" in shown
        assert "<h2>Volume and inertia</h2>" in report
        assert '<td class="best">× 1.25</td>' in report
        assert '<td class="best">10.0 %</td>' in report


class TestBenchmark:
    def benchmark(self, folder: Path, out: Path) -> dict:
        """With two checkpoints, whose graphs are in different frames."""
        (best,) = (folder / "gcn").glob("best-model-*.ckpt")
        content = saved(best)
        content["plumbline"]["data"]["normalise"] = "centre"
        torch.save(content, out.parent / "centred.ckpt")
        write_meshes(out.parent / "meshes")
        assert main(["benchmark", str(out.parent / "meshes"), "--checkpoint", str(best),
                     str(out.parent / "centred.ckpt"), "--out", str(out), "--workers", "1",
                     "--samples", "1"]) == 0  # fmt: skip
        return json.loads((out / "scancom.json").read_text())

    @pytest.fixture(autouse=True)
    def few_conditions(self, monkeypatch):
        for module in ("benchmark", "benchmark_tables"):
            monkeypatch.setattr(f"plumbline.evaluation.{module}.CONDITIONS", MAIN)

    def test_a_payload_appears_with_a_network_that_predicts_one(self, folder, tmp_path, capsys, monkeypatch):
        without = self.benchmark(folder, tmp_path / "out")
        assert "inertia" not in (tmp_path / "out" / "scancom.md").read_text().lower()
        assert "inertia" not in capsys.readouterr().out.lower()

        def wrong(answers: Answers) -> Payload:
            return Payload(np.full(len(answers.com), 1.0), np.tile(np.eye(3), (len(answers.com), 1, 1)))

        monkeypatch.setattr("plumbline.evaluation.benchmark.network_payload", wrong)
        found = self.benchmark(folder, tmp_path / "out")
        name, other = (one["name"] for one in without["checkpoints"])
        for condition in MAIN:
            payload = found["conditions"][condition.name].pop("payload")
            made = PackedStore.open(tmp_path / "out" / "scans" / condition.name)
            assert list(payload["methods"]) == [name, other, *NAMES]
            volume = np.exp(np.abs(np.log(made.volume)).mean())
            assert payload["methods"][name]["volume_factor"]["mean"] == pytest.approx(volume)
            metres = np.exp(np.abs(np.log(made.volume * made.scale**3)).mean())
            assert payload["methods"][other]["volume_factor"]["mean"] == pytest.approx(metres)
            hull = untrained_payloads(made, np.arange(len(made))).answers["convex hull"].inertia
            off = np.linalg.norm(hull - made.inertia, axis=(1, 2)) / np.linalg.norm(made.inertia, axis=(1, 2))
            assert payload["methods"]["convex hull"]["inertia_rel"]["mean"] == pytest.approx(off.mean())
        assert found == without, "all else is as it was"
        assert "Volume and inertia, 256 points" in (tmp_path / "out" / "scancom.md").read_text()
        assert "Volume and inertia, 256 points" in capsys.readouterr().out

    def test_its_table(self):
        def row(value: float) -> dict:
            return {"volume_factor": {"mean": 1 + value, "median": 1 + value / 2},
                    "inertia_rel": {"mean": value, "median": value / 2, "p90": 2 * value}}  # fmt: skip

        def part(sign: int) -> dict:
            methods = {"ept": {"mean": 0.1, "median": 0.1, "p90": 0.1, "sources": {}}}
            return {"scans": 2, "methods": methods,
                    "payload": {"methods": {"ept": row(0.2), "carve": row(0.2 + 0.1 * sign)}}}  # fmt: skip

        result = {
            "benchmark": "ScanCoM 1", "seed": 0, "objects": 1, "rejected": [], "best_baseline": "ept",
            "checkpoints": [{"name": "ept", "objects_seen": 0}],
            "conditions": {MAIN[0].name: part(1), MAIN[1].name: part(-1)},
        }  # fmt: skip
        shown = page(result)
        grid = shown.grids[1]
        assert grid.rows[0] == ["ept", *["× 1.20", "× 1.10", "20.0 %", "10.0 %", "40.0 %"] * 2]
        assert grid.rows[1][:6] == ["carve", "× 1.30", "× 1.15", "30.0 %", "15.0 %", "60.0 %"]
        assert grid.best == {(0, column) for column in range(1, 6)} | {(1, column) for column in range(6, 11)}
        assert grid.heads[1] == "1 view,\nvolume"
        assert "Frobenius" in " ".join(shown.notes)


def test_shells_have_no_inertia(tmp_path):
    """Their data sets say so, and nothing is compared."""
    write_meshes(tmp_path / "meshes")
    prepare(tmp_path / "meshes", "--target", "shell", "--samples", 1, "--out", tmp_path / "data")
    store = PackedStore.open(tmp_path / "data")
    found = summarise_payload(
        store,
        np.arange(len(store)),
        {"net": Payload(np.ones(len(store)), np.tile(np.eye(3), (len(store), 1, 1)))},
    )
    assert (found.unknown, found.errors) == (len(store), {})
