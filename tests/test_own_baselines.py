"""A baseline in the user's own file: predicts, and is compared with like ours."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import plumbline
from plumbline.cli import main
from plumbline.errors import InputError
from plumbline.evaluation.conditions import MAIN
from plumbline.own_parts import load
from plumbline.predictors.untrained import BASELINES, Scans, baseline_predictions
from tests.helpers import ROOT
from tests.helpers.scanned import predict, simulate, write_scan

PAGE = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
(GUESS,) = re.findall(r"```python baseline\n(.*?)```", PAGE, re.DOTALL)
WRONG = """
import numpy as np
from plumbline import Baseline

class Net: pass
number = 3
def flat(scans): return scans.mean[:, :2]
def raises(scans): raise KeyError("no\\nweights")
def words(scans): return ["a"] * len(scans.mean)
def in_place(scans):
    scans.pos[:] = 0
    return scans.mean
def shifts_the_mean(scans):
    found = scans.mean
    found += 1
    return found
def shifts_the_hull(scans):
    found = scans.vectors["hull"]
    found += 1
    return found
def infinite(scans): return scans.mean / 0.0
needs_mass = Baseline(flat, needs=("mass",))
turns = Baseline(flat, symmetry="O(3)")
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my_guess.py"
    path.write_text(GUESS, encoding="utf-8")
    return path


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.py"
    path.write_text(WRONG, encoding="utf-8")
    return path


def test_predict_answers_with_it(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_scan(tmp_path / "a.npz", simulate(0))
    bare, declared = f"{mine}:behind_the_mean", f"{mine}:behind"
    for name in (bare, declared):
        code, (line,), _ = predict(capsys, file, "--model", name)
        assert (code, line["model"]) == (0, name)
    scan = simulate(0)
    mean = scan.points.mean(axis=0)
    size = np.sqrt(((scan.points - mean) ** 2).sum(axis=1).mean())
    view = (scan.sensor - scan.points) / np.linalg.norm(scan.sensor - scan.points, axis=1)[:, None]
    np.testing.assert_allclose(line["com"], mean - size / 3 * view.mean(axis=0), atol=1e-6)
    assert plumbline.load_predictor(bare).symmetry == "none"
    predictor = plumbline.load_predictor(load(declared))
    assert predictor.predict(plumbline.load_cloud(file)).com.tolist() == line["com"]
    assert (predictor.name, predictor.symmetry, predictor.checkpoint) == (bare, "E(3)", None)
    assert main(["predict", str(file), "--model", bare, "--checkpoint", "run"]) == 2
    assert "--checkpoint and --model exclude each other" in capsys.readouterr().err


def test_evaluate_compares_with_it(
    trained: dict[str, Path],
    mine: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    name, out = "my_guess.py:behind", tmp_path / "out"
    words = ["evaluate", str(trained["gcn"]), "--baselines", name, name, "--split", "all", "--out", str(out)]
    assert main(words) == 0
    assert re.search(rf"^{name} +[\d.]+ %", capsys.readouterr().out, re.MULTILINE)
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    usual = plumbline.evaluate(trained["gcn"], split="all").to_dict()
    assert list(found["methods"]) == [*usual["methods"], name]
    assert {key: found["methods"][key] for key in usual["methods"]} == usual["methods"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"--baselines {name}" in page
    assert page.count(name) > 2, "in its tables and curves"
    given = plumbline.evaluate(trained["gcn"], split="all", baselines=[load(name)])
    assert list(given.table.errors.values())[-1].summary().mean == found["methods"][name]["error_rel"]["mean"]

    store, misses = given.store, []
    for number in range(len(store)):
        sample = store.sample(number)
        mean = sample.pos.astype(float).mean(axis=0)
        size = np.sqrt(((sample.pos - mean) ** 2).sum(axis=1).mean())
        view = sample.vectors[store.vector_names.index("view")]
        misses.append(np.linalg.norm(mean - size / 3 * view - sample.target) / sample.bounding_radius)
    assert found["methods"][name]["error_rel"]["mean"] == pytest.approx(np.mean(misses), rel=1e-5)


def test_the_benchmark_measures_it(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("benchmark", "benchmark_tables"):
        monkeypatch.setattr(f"plumbline.evaluation.{module}.CONDITIONS", MAIN)
    mine.write_text(GUESS + "\n\ndef truth(scans): return scans.mean - scans.size[:, None] * [[0, 0, 9]]\n")
    names = [f"{mine}:behind", f"{mine}:truth"]
    out = tmp_path / "bench"
    words = ["--solids", "2", "--samples", "1", "--workers", "1", "--out", str(out)]
    assert main(["benchmark", *words, "--baselines", *names]) == 0
    result = json.loads((out / "scancom.json").read_text(encoding="utf-8"))
    for part in result["conditions"].values():
        assert list(part["methods"]) == [*BASELINES, *names]
    means = {
        name: sum(part["methods"][name]["mean"] for part in result["conditions"].values())
        for name in (*BASELINES, *names)
    }
    assert result["best_baseline"] == min(means, key=lambda name: means[name])
    assert max(means, key=lambda name: means[name]) == names[1]
    assert (out / "scancom.md").read_text(encoding="utf-8").count("guess.py:behind") >= 1


def test_the_best_of_all_is_named(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it is the user's own."""
    for module in ("benchmark", "benchmark_tables"):
        monkeypatch.setattr(f"plumbline.evaluation.{module}.CONDITIONS", MAIN)
    mine.write_text(GUESS + "\n\ndef twin(scans): return scans.mean + scans.vectors['carve']\n")
    monkeypatch.setattr("plumbline.evaluation.benchmark.BASELINES", {"point mean": BASELINES["point mean"]})
    result = plumbline.benchmark(
        solids=2, samples=1, workers=1, out=tmp_path / "bench", baselines=[f"{mine}:twin"]
    )
    assert result.to_dict()["best_baseline"] == f"{mine}:twin"


def test_it_is_left_out_where_its_vectors_are_missing(mine: Path) -> None:
    class Store:
        vector_names = ()

        def gather(self, indices: np.ndarray) -> Scans:
            return Scans.of(np.zeros((2, 3)), np.array([0, 2]))

    def found(name: str) -> tuple[list[str], tuple[str, ...]]:
        answers = baseline_predictions(Store(), np.array([0]), ["point mean", f"{mine}:{name}"])  # type: ignore[arg-type]
        return list(answers.predictions), answers.left_out

    assert found("behind") == (["point mean"], (f"{mine}:behind",))
    with pytest.raises(InputError, match=r"behind_the_mean fails \(KeyError: 'view'\)"):
        found("behind_the_mean")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "defines no function nothing at its top level; it has number, flat, raises, "),
        ("Net", "defines no function Net at its top level"),
        ("number", "FILE:number is not a function of scans"),
        ("flat", "the baseline FILE:flat returns the shape [20, 2] for 20 scans instead of [20, 3]"),
        ("raises", r"the baseline FILE:raises fails (KeyError: 'no\nweights')"),
        ("words", "the baseline FILE:words fails (ValueError: could not convert string to float"),
        ("in_place", "the baseline FILE:in_place fails (ValueError: assignment destination is read-only)"),
        (
            "shifts_the_mean",
            "the baseline FILE:shifts_the_mean fails (ValueError: output array is read-only)",
        ),
        (
            "shifts_the_hull",
            "the baseline FILE:shifts_the_hull fails (ValueError: output array is read-only)",
        ),
        ("infinite", "the predictions of FILE:infinite for 20 of 20 scans are not finite"),
        ("needs_mass", "the baseline FILE:needs_mass has symmetry 'E(3)' and needs ('mass',): choose one of"),
        ("turns", "the baseline FILE:turns has symmetry 'O(3)'"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_what_is_no_baseline_is_refused(
    trained: dict[str, Path], wrong: Path, tmp_path: Path, name: str, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    words = ["evaluate", str(trained["gcn"]), "--split", "all", "--out", str(out)]
    assert main([*words, "--baselines", f"{wrong}:{name}"]) == 2
    err = capsys.readouterr().err
    assert err.count("error: ") == 1
    assert said.replace("FILE", str(wrong)) in err
    assert not out.exists()


def test_other_things_are_refused(wrong: Path, trained: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"baselines 'carve': give path/to/file.py:function"):
        plumbline.evaluate(trained["gcn"], baselines=["carve"])
    with pytest.raises(InputError, match=r"write it into a \.py file"):
        plumbline.load_predictor(lambda scans: scans.mean)
    with pytest.raises(InputError, match=r"wrong\.py:Net is not a function of scans"):
        plumbline.load_predictor(f"{wrong}:Net")
    with pytest.raises(InputError, match=r"wrong\.py does not define nothing"):
        plumbline.load_predictor(f"{wrong}:nothing")


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_prediction_that_is_not_finite_is_refused_for_its_scan(
    wrong: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong.write_text(
        "import numpy as np\ndef f(scans): return scans.mean / (np.diff(scans.node_ptr) > 99)[:, None]"
    )
    files = [write_scan(tmp_path / f"{n}.npz", simulate(0, points=n)) for n in (300, 60)]
    code, (good, bad), _ = predict(capsys, *files, "--model", f"{wrong}:f")
    assert code == 1
    assert np.isfinite(good["com"]).all()
    assert bad["error"].endswith(f"60.npz: the prediction of {wrong}:f is not finite")
