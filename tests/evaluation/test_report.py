"""The report: self-contained, escaped, readable by a parser; its pictures show what they claim."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from plumbline.console.text import percent
from plumbline.evaluation.gallery import SIZE, Example, choose, picture, view_axes
from plumbline.evaluation.metrics import displacement_errors
from plumbline.evaluation.plots import CSS_NAMES, cumulative_svg, curves, curves_svg, read_history, risk_svg
from plumbline.evaluation.report import examples_of, render
from plumbline.evaluation.risk_coverage import refusal
from plumbline.evaluation.table import Table, sentence

EVIL = '<script>alert("x")</script>&amp;\'"/evil'
VOID = {"meta", "br", "link", "img", "hr", "input"}

METRICS = """epoch,step,learning_rate,train_loss_step,train_loss_epoch,val_loss,val_error_rel
0,1,,0.9,,,
0,2,0.001,,,0.5,0.8
0,2,,,0.6,,
1,4,0.001,,,0.4,0.6
1,4,,,0.45,,
2,6,0.0005,,,0.3,nan
2,6,,,0.35,,
"""

NOTHING_ELSE: dict[str, Any] = {
    "payload": None, "refusal": None, "examples": [], "history": None, "facts": {}, "command": "",
    "kicker": "",
}  # fmt: skip
"""What else a report may show."""


class Page(HTMLParser):
    """Collects tags and their attributes, and checks that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def make_table(rng: np.random.Generator, *, names: list[str], flat: int = 0) -> Table:
    num = len(names)
    target = rng.normal(size=(num, 3))
    spread = {"gcn": 0.1, "point mean": 0.3, "bounding box": 0.25, "convex hull": 0.2}
    answers = {name: target + rng.normal(size=(num, 3)) * width for name, width in spread.items()}
    errors = {
        name: displacement_errors(
            answer, target, bounding_radius=np.full(num, 2.0), scale=np.full(num, 0.5), objects=names
        )
        for name, answer in answers.items()
    }
    return Table("gcn", errors, np.arange(num), answers["gcn"], True, "object", flat, "unseen")


class NumberedStore:
    """A store whose every value is the number of its graph."""

    target = np.repeat(np.arange(30.0)[:, None], 3, axis=1)
    bounding_radius = np.arange(30.0)

    def gather(self, indices):
        return type("Gathered", (), {"pos": self.target[indices]})


def make_example(rng: np.random.Generator, name: str, num: int = 50) -> Example:
    return Example(name, "worst", 0.4, rng.normal(size=(num, 3)), np.zeros(3), np.array([0.0, 0.3, 0.1]), 2.0)


@pytest.fixture
def history(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    return read_history(tmp_path / "metrics.csv")


@pytest.fixture
def page(history) -> str:
    rng = np.random.default_rng(0)
    names = [f"{EVIL}/{i % 5}" for i in range(20)] + [f"solids/mug/{i % 4}" for i in range(12)]
    table = make_table(rng, names=names, flat=2)
    errors = {EVIL if name == table.model else name: found for name, found in table.errors.items()}
    table = replace(table, model=EVIL, errors=errors)
    return render(
        table=table,
        payload=None,
        refusal=refusal(
            table.errors[EVIL].error_rel, novelty=rng.random(32), relative=table.errors[EVIL].error_rel
        ),
        examples=[make_example(rng, EVIL)],
        history=history,
        facts={"Data set": {"folder": EVIL}, EVIL: {EVIL: EVIL}, "Flags": {str(i): EVIL for i in range(20)}},
        command=f"plumbline evaluate '{EVIL}'",
        kicker=EVIL,
    )


class TestPage:
    def test_parses_and_closes_every_tag(self, page):
        assert Page(page).open == []

    def test_nothing_from_data_becomes_markup(self, page):
        assert EVIL not in page
        parsed = Page(page)
        assert "script" not in [tag for tag, _ in parsed.tags]
        assert not [name for _, attrs in parsed.tags for name in attrs if name.startswith("on")]
        assert "".join(parsed.text).count(EVIL) >= 25

    def test_loads_nothing(self, page):
        parsed = Page(page)
        assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in parsed.tags}
        for _, attrs in parsed.tags:
            for name in ("src", "href", "data", "srcset", "action"):
                assert (attrs.get(name) or "#").startswith("#")
        assert re.search(r"https?:|@import|url\((?!#)", page) is None

    def test_identifiers_are_unique_and_references_resolve(self, page):
        parsed = Page(page)
        found = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
        assert len(found) == len(set(found))
        wanted = set(re.findall(r"url\(#([^)]*)\)", page))
        wanted |= {attrs["href"][1:] for _, attrs in parsed.tags if "href" in attrs}
        assert wanted
        assert wanted <= set(found)

    def test_shows_every_part(self, page):
        text = "".join(Page(page).text)
        for part in (
            "The model misses by",
            "All scans",
            "Examples",
            "By group",
            "If scans are refused",
            "Training",
            "Data set",
            "How to repeat it",
        ):
            assert part in text
        assert "2 scans span no volume" in text

    def test_tables_and_charts_can_be_scrolled_and_show_it(self, page):
        assert page.count("<table>") == 2
        assert len(re.findall(r'<div class="scroll(?: groups)?" tabindex="0"><table>', page)) == 2
        assert page.count('<div class="scroll chart" tabindex="0"><svg') == 3
        assert "background: none" in page.split("@media print")[1], "no shadows on paper"

    def test_colours_exist_in_light_and_dark(self, page):
        used = set(re.findall(r"var\((--[a-z]+)\)", page))
        light, dark = page.split("prefers-color-scheme: dark")[:2]
        for name in used:
            assert f"{name}: #" in light
        for name in used - {"--points"}:
            assert f"{name}: #" in dark

    def test_parts_without_content_are_left_out(self):
        rng = np.random.default_rng(1)
        table = make_table(rng, names=["größe/\udcff1", "größe/2", "größe/3"])
        text = render(table=table, **NOTHING_ELSE)
        assert sentence(table).replace("'", "&#x27;") in text
        assert "Training" not in text
        assert "By group" not in text
        assert "refused" not in text

    def test_groups_are_named_below_their_folder(self):
        names = [f"{group}/{i}" for group in ("b/x", "a/x", "b", "b/x/y", "a/z", "c<") for i in range(3)]
        table = make_table(np.random.default_rng(1), names=names)
        text = render(table=table, **NOTHING_ELSE)
        body = text[text.index("By group") :].split("<tbody>")[1].split("</tbody>")[0]
        shown = re.findall(r'(?:rowgroup" colspan="7"|class="name")>([^<]*)<', body)
        assert shown == ["b", "c&lt;", "a/", "x", "z", "b/", "x", "b/x/", "y"]
        mean = percent(table.errors["gcn"].by_group()["b/x/y"].error_rel.mean()).removesuffix(" %")
        assert f">{mean}<" in body.split('class="name">y</td>')[1].split("</tr>")[0]

    def test_a_column_for_each_method_leaves_room_for_all(self, page):
        """Numbers without units, and at most the width of the window."""
        section = page[page.index("By group") :].split("</table>")[0]
        heads = re.findall(r"<th[^>]*>([^<]*)</th>", section.partition("<tbody>")[0])
        assert heads[:3] == ["group", "objects", "scans"]
        assert heads[4:] == ["point mean", "bounding box", "convex hull"]
        assert 'class="scroll groups"' in section
        assert " %" not in section
        assert re.search(r"\.groups {[^}]*max-width: calc\(100vw", page)


class TestPlots:
    def test_history_takes_the_last_finite_value_of_an_epoch(self, history):
        epochs, values = history.get("val_error_rel")
        assert (epochs.tolist(), values.tolist()) == ([0, 1], [0.8, 0.6])
        assert history.get("nothing", "train_loss_epoch")[1].tolist() == [0.6, 0.45, 0.35]
        assert history.num_epochs == 3

    def test_curves_are_a_png_of_double_resolution(self, tmp_path, history):
        out = tmp_path / "plots" / "curves.png"
        curves(tmp_path / "metrics.csv", out, baselines={"point mean": 0.3})
        content = out.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(content[16:20], "big") == 1280
        curves(tmp_path / "metrics.csv", tmp_path / "again.png", baselines={"point mean": 0.3})
        assert (tmp_path / "again.png").read_bytes() == content

    @pytest.mark.parametrize("text", ["", "epoch,step\n", "epoch,val_loss\n,\n", None])
    def test_no_finished_epoch_draws_nothing(self, tmp_path, text):
        if text is not None:
            (tmp_path / "metrics.csv").write_text(text)
        curves(tmp_path / "metrics.csv", tmp_path / "curves.png", baselines={})
        assert not (tmp_path / "curves.png").exists()

    @pytest.mark.parametrize("epochs", [1, 2, 200])
    def test_runs_short_and_long(self, tmp_path, epochs):
        rows = [f"{epoch},{1 / (epoch + 1)},{1 / (epoch + 2)},0.001" for epoch in range(epochs)]
        (tmp_path / "metrics.csv").write_text(
            "epoch,val_loss,val_error_rel,learning_rate\n" + "\n".join(rows)
        )
        svg = curves_svg(read_history(tmp_path / "metrics.csv"), {"convex hull": 0.2})
        assert "convex hull" in svg
        assert "Learning rate" in svg

    def test_axes_say_what_they_are(self, tmp_path):
        """Epochs count from 1, as in the terminal; a logarithmic axis says so and has three ticks or more."""
        rows = [f"{epoch},{0.09 - 0.003 * epoch},{0.006 * 0.6**epoch}" for epoch in range(4)]
        (tmp_path / "metrics.csv").write_text("epoch,val_error_rel,learning_rate,val_loss\n" + "\n".join(
            f"{row},0.1" for row in rows
        ))  # fmt: skip
        svg = curves_svg(read_history(tmp_path / "metrics.csv"), {"point mean": 0.25})
        words = [word.strip() for word in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]
        assert "Miss on validation objects, % of the radius, log scale" in words
        assert {"10 %", "15 %", "20 %"} <= {*words}
        assert {"1", "2", "3", "4"} <= {*words}
        assert "0" not in words
        assert {"0.006", "0.0013"} <= {*words}
        assert "0.0036" not in words, "its label would overlap"

    def test_svg_names_no_colour_and_no_font_of_its_own(self, history):
        svg = curves_svg(history, {"point mean": 0.3, "bounding box": 0.2, "convex hull": 0.1})
        assert re.search(r"#[0-9a-fA-F]{6}\b", re.sub(r'(id|href)="[^"]*"', "", svg)) is None
        assert "font-family" not in svg
        assert "var(--hull)" in svg
        assert svg == curves_svg(history, {"point mean": 0.3, "bounding box": 0.2, "convex hull": 0.1})

    def test_cumulative_of_zero_and_equal_errors(self):
        svg = cumulative_svg({"model": np.zeros(5), "point mean": np.full(5, 0.2)})
        assert "point mean" in svg
        assert "nan" not in svg

    def test_a_large_set_makes_no_large_picture(self):
        rng = np.random.default_rng(0)
        names = ("model", "point mean", "bounding box", "convex hull")
        assert len(cumulative_svg({name: rng.gamma(2, size=50_000) for name in names})) < 120_000

    def test_every_order_of_refusal_is_a_named_curve(self):
        """The curve of two scans is a step at one half; that of a large set is no large picture."""
        found = refusal(np.array([0.1, 0.3]), novelty=np.array([1.0, 2.0]), relative=np.array([2.0, 1.0]))
        svg = risk_svg(found.curves)
        for name in ("novelty", "expected error", "best possible", "random"):
            assert f">{name}<" in svg
        assert ">share of the scans that is answered<" in svg
        assert svg == risk_svg(found.curves)
        rng = np.random.default_rng(1)
        many = refusal(rng.gamma(2, size=50_000), novelty=rng.random(50_000), relative=rng.random(50_000))
        assert len(risk_svg(many.curves)) < 120_000

    def test_every_colour_is_distinct(self):
        assert len(set(CSS_NAMES.values())) == len(CSS_NAMES)


class TestGallery:
    @pytest.mark.parametrize("seed", range(6))
    def test_the_miss_is_drawn_at_its_full_length(self, seed):
        rng = np.random.default_rng(seed)
        miss = rng.normal(size=3)
        axes = view_axes(rng.normal(size=(40, 3)), miss)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.norm((axes @ miss)[:2]) == pytest.approx(np.linalg.norm(miss))

    @pytest.mark.parametrize("pos", [np.zeros((1, 3)), np.ones((2, 3)), np.outer(np.arange(5.0), [0, 1, 0])])
    @pytest.mark.parametrize("miss", [np.zeros(3), np.array([0.0, 2.0, 0.0])])
    def test_clouds_without_extent(self, pos, miss):
        example = Example("x", "best", 0.1, pos, np.zeros(3), miss, 1.0)
        axes = view_axes(pos, miss)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
        assert "nan" not in picture(example)

    def test_everything_lies_inside_the_picture(self):
        text = picture(make_example(np.random.default_rng(0), "x", num=3000))
        numbers = [float(x) for pair in re.findall(r"M([-\d.]+) ([-\d.]+)h0", text) for x in pair]
        assert 200 <= len(numbers) / 2 <= 400
        assert min(numbers) >= 0
        assert max(numbers) <= SIZE

    def test_the_best_the_middle_and_the_worst(self):
        errors = np.random.default_rng(0).permutation(30) / 30
        chosen = choose(errors)
        assert [sorted(np.round(errors[chosen[kind]] * 30)) for kind in ("best", "median", "worst")] == [
            [0, 1, 2],
            [13, 14, 15],
            [27, 28, 29],
        ]

    @pytest.mark.parametrize("num", range(1, 12))
    def test_no_scan_is_shown_twice(self, num):
        chosen = np.concatenate(list(choose(np.arange(num) / num).values()))
        assert len(set(chosen.tolist())) == len(chosen) <= num
        assert {0, num - 1} <= set(chosen.tolist())

    def test_examples_belong_to_the_graphs_of_the_table(self):
        num = 9
        table = replace(
            make_table(np.random.default_rng(0), names=[f"a/{i}" for i in range(num)]),
            indices=10 + np.arange(num),
        )
        examples = examples_of(NumberedStore(), table)
        assert [example.kind for example in examples] == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3
        errors = [example.error_rel for example in examples]
        assert errors == sorted(table.errors["gcn"].error_rel)
        for example in examples:
            position = int(example.name.removeprefix("a/"))
            assert example.error_rel == table.errors["gcn"].error_rel[position]
            assert example.pos[0, 0] == example.target[0] == example.bounding_radius == 10 + position
            np.testing.assert_array_equal(example.predicted, table.predictions[position])
