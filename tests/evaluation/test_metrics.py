"""Errors, their summaries and intervals, and the sentence that says who wins."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from plumbline.console.text import percent
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.errors import InputError
from plumbline.evaluation.metrics import (
    Errors,
    bootstrap_mean,
    displacement_errors,
    summarise_errors,
)
from plumbline.evaluation.table import OTHER, SEEN, UNSEEN, Table, print_table, sentence, summarise
from plumbline.predictors.calibration import coverage
from plumbline.records import FEATURE_NAMES, Sample


def some_errors(rng: np.random.Generator, num: int = 50, objects: int = 7) -> Errors:
    names = [f"group{i % 3}/{i % objects:03d}" for i in range(num)]
    return displacement_errors(
        rng.normal(size=(num, 3)),
        rng.normal(size=(num, 3)),
        bounding_radius=rng.uniform(0.5, 2, num),
        scale=rng.uniform(0.1, 3, num),
        objects=names,
    )


def make_store(
    folder, *, objects=12, scans=3, points=40, scale: float | None = 0.25, radius: float | None = 3.0, seed=0
) -> PackedStore:
    """A scale or radius of None differs from scan to scan."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(objects * scans):
        features = rng.normal(size=(points, len(FEATURE_NAMES))).astype(np.float32)
        samples.append(
            Sample(
                node_features=features,
                in_degree=np.ones(points, np.int32),
                edge_source=np.roll(np.arange(points, dtype=np.int32), 1),
                target=features[:, :3].mean(axis=0) + rng.normal(size=3) * 0.3,
                object_name=f"kind{number // scans % 2}/{number // scans:04d}",
                bounding_radius=1.0 + number if radius is None else radius,
                scale=1.0 / (1 + number) if scale is None else scale,
            )
        )
    write_store(folder, samples, feature_names=list(FEATURE_NAMES))
    return PackedStore.open(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PackedStore:
    return make_store(tmp_path_factory.mktemp("metrics") / "store")


def answers(store: PackedStore, miss: float, seed: int = 0) -> np.ndarray:
    """Answers that miss every target by exactly ``miss`` stored units."""
    step = np.random.default_rng(seed).normal(size=(len(store), 3))
    return store.target + miss * step / np.linalg.norm(step, axis=1, keepdims=True)


class TestErrors:
    def test_one_displacement_in_three_units(self):
        errors = displacement_errors(
            np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]),
            np.zeros((2, 3)),
            bounding_radius=np.array([10.0, 2.0]),
            scale=np.array([0.1, 3.0]),
            objects=["a", "b"],
        )
        np.testing.assert_allclose(errors.error, [5, 1])
        np.testing.assert_allclose(errors.error_rel, [0.5, 0.5])
        np.testing.assert_allclose(errors.error_m, [0.5, 3])

    def test_groups_per_graph(self):
        errors = some_errors(np.random.default_rng(1))
        assert list(errors.groups) == [name.rpartition("/")[0] for name in errors.objects]
        parts = errors.by_group()
        assert list(parts) == ["group0", "group1", "group2"]
        for number, part in enumerate(parts.values()):
            np.testing.assert_array_equal(part.error, errors.error[number::3])

    def test_an_object_of_no_folder_is_its_own_group_and_such_objects_alone_have_none(self):
        errors = some_errors(np.random.default_rng(1), num=4)
        mixed = replace(errors, objects=np.array(["mug", "a/b", "a/c", "mug"], object))
        assert {group: len(part) for group, part in mixed.by_group().items()} == {"a": 2, "mug": 2}
        assert replace(errors, objects=np.array(["mug", "cup", "pan", "mug"], object)).by_group() == {}


class TestSummary:
    @pytest.mark.parametrize("num", [1, 2, 10, 101])
    def test_equals_numpy(self, num):
        values = np.random.default_rng(num).gamma(2, size=num)
        summary = summarise_errors(values, np.arange(num).astype(str))
        expected = (num, np.mean(values), np.median(values), np.percentile(values, 90))
        np.testing.assert_allclose((summary.n, summary.mean, summary.median, summary.p90), expected)

    def test_unknown_interval_is_null_in_json(self):
        assert summarise_errors(np.ones(3), np.array(["a"] * 3)).to_dict()["low"] is None


class TestBootstrap:
    def test_deterministic_and_seeded(self):
        errors = some_errors(np.random.default_rng(2))
        first = bootstrap_mean(errors.error, errors.objects, seed=1)
        assert first == bootstrap_mean(errors.error, errors.objects, seed=1)
        assert first != bootstrap_mean(errors.error, errors.objects, seed=2)

    def test_order_of_graphs_does_not_matter(self):
        errors = some_errors(np.random.default_rng(3))
        shuffled = errors.take(np.random.default_rng(0).permutation(len(errors)))
        np.testing.assert_allclose(
            bootstrap_mean(errors.error, errors.objects), bootstrap_mean(shuffled.error, shuffled.objects)
        )

    def test_covers_the_truth_about_as_often_as_it_says(self):
        hits = 0
        for seed in range(200):
            rng = np.random.default_rng(seed)
            difficulty = rng.normal(1.0, 0.5, size=40)
            values = np.repeat(difficulty, 5) + rng.normal(0, 0.1, 200)
            low, high = bootstrap_mean(values, np.repeat(np.arange(40), 5).astype(str), resamples=300)
            hits += low <= 1.0 <= high
        assert 176 <= hits <= 198

    def test_scans_of_one_object_do_not_count_as_independent(self):
        rng = np.random.default_rng(4)
        values = np.repeat(rng.normal(size=10), 20)
        low, high = bootstrap_mean(values, np.repeat(np.arange(10), 20).astype(str))
        naive_low, naive_high = bootstrap_mean(values, np.arange(200).astype(str))
        assert high - low > 3 * (naive_high - naive_low)

    def test_a_single_object_has_no_interval(self):
        assert np.isnan(bootstrap_mean(np.ones(5), np.array(["a"] * 5))).all()

    def test_chunks_of_many_objects(self):
        values = np.random.default_rng(5).normal(3, 1, size=100_000)
        low, high = bootstrap_mean(values, np.arange(100_000).astype(str), resamples=50)
        assert low < values.mean() < high
        assert high - low < 0.05


class TestTable:
    def test_numbers(self, store):
        table = summarise(store, np.arange(len(store)), answers(store, 0.6), model="gcn")
        assert table.methods == ["gcn", "point mean", "bounding box", "convex hull"]
        assert table.summary("gcn").mean == pytest.approx(0.2)
        assert table.summary("gcn", "error").p90 == pytest.approx(0.6)
        assert table.summary("gcn", "error_m").median == pytest.approx(0.15)
        assert (table.num_graphs, table.num_objects) == (36, 12)

    def test_baselines_belong_to_the_right_graphs(self, store):
        chosen = np.array([5, 2, 17])
        table = summarise(store, chosen, store.target[chosen])
        for row, graph in enumerate(chosen):
            miss = np.linalg.norm(store.sample(int(graph)).pos.mean(axis=0) - store.target[graph])
            assert table.errors["point mean"].error[row] == pytest.approx(miss, abs=1e-6)
        assert table.summary("model").mean == 0

    def test_sizes_belong_to_the_right_graphs(self, tmp_path):
        varied = make_store(tmp_path / "varied", radius=None, scale=None)
        chosen = np.array([5, 2, 17])
        errors = summarise(varied, chosen, answers(varied, 0.6)[chosen]).errors["model"]
        np.testing.assert_allclose(errors.error_rel, 0.6 / (1 + chosen))
        np.testing.assert_allclose(errors.error_m, 0.6 / (1 + chosen))
        assert list(errors.objects) == [f"kind{i // 3 % 2}/{i // 3:04d}" for i in chosen]

    def test_groups(self, store):
        table = summarise(store, np.arange(len(store)), answers(store, 0.6), model="gcn")
        groups = table.group_summaries()
        assert list(groups) == ["kind0", "kind1"]
        assert sum(row["gcn"].n for row in groups.values()) == len(store)

    def test_json_has_no_nan(self, store):
        table = summarise(store, np.arange(3), answers(store, 0.6)[:3])
        text = json.dumps(table.to_dict(), allow_nan=False)
        assert json.loads(text)["methods"]["model"]["error_rel"]["low"] is None

    def test_refuses_answers_that_are_no_numbers(self, store):
        broken = answers(store, 0.1)
        broken[4, 1] = np.nan
        with pytest.raises(InputError, match=r"1 of 36 scans are not finite .*graph 4"):
            summarise(store, np.arange(len(store)), broken)

    def test_refuses_no_graphs(self, store):
        with pytest.raises(InputError, match="no graphs"):
            summarise(store, np.array([], int), np.empty((0, 3)))


class TestSentence:
    def table(self, store, miss: float, **changes) -> Table:
        table = summarise(store, np.arange(len(store)), answers(store, miss), model="gcn")
        return replace(table, **changes)

    def test_the_model_wins(self, store):
        text = sentence(self.table(store, 0.003))
        best = self.table(store, 0.003).best_baseline
        assert text.startswith(
            "The model misses by 0.100 % of the object's radius on objects it has not seen;"
        )
        assert f"the baseline {best}, which needs no training, by" in text
        assert "better" not in text

    def test_the_model_loses(self, store):
        text = sentence(self.table(store, 3.0))
        assert text.startswith("The model misses by 100 % of the object's radius")
        assert text.count("which needs no training, is better, with") == 1

    def test_a_difference_within_the_interval_is_called_open(self, store):
        table = self.table(store, 0.003)
        baseline = table.errors[table.best_baseline].error_rel
        noise = np.where(np.arange(len(baseline)) // 3 % 2, 0.01, -0.01)
        model = replace(table.errors["gcn"], error_rel=baseline + noise)
        assert "too close to call on 12 objects" in sentence(
            replace(table, errors={**table.errors, "gcn": model})
        )

    @pytest.mark.parametrize("objects", [1, 3, 9])
    def test_few_objects_decide_nothing(self, store, objects):
        for miss in (0.003, 3.0):
            table = summarise(store, np.arange(3 * objects), answers(store, miss)[: 3 * objects])
            assert sentence(table).endswith(f": too few objects ({objects}) to tell.")

    def test_says_what_the_objects_are(self, store):
        assert "on objects it has not seen" in sentence(self.table(store, 0.1, relation=UNSEEN))
        assert "include those it was trained on" in sentence(self.table(store, 0.1, relation=SEEN))
        assert "not seen" not in sentence(self.table(store, 0.1, relation=OTHER))

    def test_says_whose_radius(self, store):
        assert "of the scan's radius" in sentence(self.table(store, 0.1, radius_source="scan"))


class TestPrinting:
    def shown(self, table: Table, width: int = 120, **options) -> str:
        stream = io.StringIO()
        print_table(Console(file=stream, width=width, **options), table)
        return stream.getvalue()

    def test_rows_columns_and_notes(self, store):
        table = summarise(store, np.arange(len(store)), answers(store, 0.6), model="gcn")
        text = self.shown(table)
        rows = [
            line for line in text.splitlines() if line.startswith(("gcn", "point mean", "bounding", "convex"))
        ]
        assert len(rows) == 4
        assert rows[0].split()[1:3] == ["20.0", "%"]
        assert "metres" in text
        assert "36 scans of 12 objects" in text
        assert sentence(table) in " ".join(text.split())

    def test_a_narrow_terminal_loses_columns_and_no_number(self, store):
        table = summarise(store, np.arange(len(store)), answers(store, 0.6), model="gcn")
        whole = self.shown(table)
        assert "90 % below" in whole
        for width, gone, kept in (
            (75, [], ["median", "95 % interval", "below"]),
            (70, ["below"], ["median", "95 % interval", "metres"]),
            (60, ["below", "median"], ["mean", "metres"]),
            (30, ["below", "interval", "metres"], ["mean", "units"]),
            (24, ["below", "interval", "metres", "units"], ["mean"]),
        ):
            lines = self.shown(table, width=width).splitlines()
            rule = next(i for i, line in enumerate(lines) if line.startswith("─"))
            head, rows = " ".join(lines[:rule]), lines[rule + 1 : rule + 5]  # headings fold first
            assert not any(name in head for name in gone)
            assert all(name in head for name in kept)
            numbers = re.findall(r"\d[\d.]*", " ".join(rows))
            assert numbers
            assert set(numbers) <= set(re.findall(r"\d[\d.]*", whole))
            assert "…" not in " ".join(rows)

    def test_metres_only_where_the_scale_is_known(self, tmp_path):
        plain = make_store(tmp_path / "plain", scale=1.0)
        assert "metres" not in self.shown(summarise(plain, np.arange(5), plain.target[:5]))

    def test_the_best_of_each_column_is_bold(self, store):
        table = summarise(store, np.arange(len(store)), answers(store, 0.003), model="gcn")
        text = self.shown(table, force_terminal=True, color_system="standard")
        assert "\x1b[1m0.100 %\x1b[0m" in text

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0.18234, "18.2 %"), (0.00912, "0.912 %"), (1.5, "150 %"), (0, "0.00 %"), (float("nan"), "–")],
    )
    def test_per_cent_with_three_digits(self, value, text):
        assert percent(value) == text


def test_coverage_counts_errors_within_the_stretched_expectation():
    errors, expected = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 2.0, 1.0])
    assert coverage(errors, expected, {"0.5": 1.0, "0.9": 2.0}) == {"0.5": 0.25, "0.9": 0.75}
    assert coverage(errors, expected, {}) == {}
