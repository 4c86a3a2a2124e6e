"""Training on a split of the user's own, resuming it, and evaluating each of its sides."""

import json
from pathlib import Path
from typing import Any

import pytest

from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.evaluation.evaluate import evaluate
from plumbline.predictors.checkpoint import load_checkpoint
from tests.helpers.training_fixtures import assert_same_end, interrupt_at, saved, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SPLIT = {
    "train": [f"random/{i:03d}" for i in range(6)],
    "val": ["random/007", "random/009"],
    "test": ["random/010"],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(SPLIT))
    return path


def test_each_side_is_what_the_file_says(tiny: Path, tmp_path: Path, file: Path) -> None:
    outcome = train(tiny, tmp_path / "run", split_file=file, val_split=0.3, split_by="group", batch_size=5)
    assert outcome.code == 0
    assert "4 graphs for test; 12 graphs of objects that " in outcome.text
    assert "training: 24 graphs of 6 objects; validation: 8 graphs of 2 other objects" in outcome.text
    for flag in ("val_split", "split_by"):
        assert f"--{flag} has no effect with --split_file" in outcome.text
    file.unlink()
    store, trained = PackedStore.open(tiny), load_checkpoint(tmp_path / "run" / "last.ckpt")
    assert trained.data.split == SPLIT
    for side, names in SPLIT.items():
        found = evaluate(tmp_path / "run", split=side)
        shown = {store.object_names[i] for i in store.object_idx[found.table.indices]}
        assert shown == set(names)
        assert len(found.table.indices) == 4 * len(names)
        assert found.table.relation == ("seen" if side == "train" else "unseen")
    assert evaluate(tmp_path / "run").split == "val"
    assert len(evaluate(tmp_path / "run", split="all").table.indices) == len(store)


def test_without_a_file_there_is_no_test(tiny: Path, tmp_path: Path, file: Path) -> None:
    assert train(tiny, tmp_path / "a", max_epochs=1).code == 0
    file.write_text(json.dumps({side: SPLIT[side] for side in ("train", "val")}))
    assert train(tiny, tmp_path / "b", max_epochs=1, split_file=file).code == 0
    for run in ("a", "b"):
        with pytest.raises(InputError, match="--split test: the model was trained without objects for test"):
            evaluate(tmp_path / run, split="test")


def test_it_is_refused_before_data_are_read(tiny: Path, tmp_path: Path, file: Path) -> None:
    file.write_text("{}")
    outcome = train(tiny, tmp_path / "run", split_file=file)
    assert (outcome.code, outcome.text) == (2, f"error: --split_file {file}: train names no object\n")
    file.write_text(json.dumps({**SPLIT, "val": ["random/07"]}))
    outcome = train(tiny, tmp_path / "run", split_file=file)
    assert "1 name (random/07) is not in the data set; did you mean random/007?" in outcome.text
    assert not (tmp_path / "run").exists()


@pytest.fixture
def run(tiny: Path, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        assert train(tiny, tmp_path / "run", split_file=file, max_epochs=3).code == 130
    return tmp_path / "run"


def test_it_resumes_with_the_same_bits_wherever_the_file_is(
    tiny: Path, tmp_path: Path, file: Path, run: Path
) -> None:
    assert train(tiny, tmp_path / "straight", split_file=file, max_epochs=3).code == 0
    other = tmp_path / "other.yaml"
    other.write_text(
        "\n".join(f"{side}: [{', '.join([*names[::-1], names[0]])}]" for side, names in SPLIT.items())
    )
    outcome = train(tiny, run, split_file=other, max_epochs=3, resume="")
    assert outcome.code == 0, outcome.text
    assert_same_end(tmp_path / "straight", run)


@pytest.mark.parametrize("how", ["changed", "without"])
def test_another_split_is_refused_unless_it_is_allowed(
    tiny: Path, tmp_path: Path, file: Path, run: Path, how: str
) -> None:
    """A split that differs in the test objects alone is another one: they might have been trained on."""
    file.write_text(json.dumps({**SPLIT, "test": ["random/011"]}))
    again: dict[str, Any] = {"max_epochs": 3, "resume": ""}
    if how == "changed":
        again["split_file"] = file
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    outcome = train(tiny, run, **again)
    assert outcome.code == 2
    now = "a --split_file, 24 + 8" if how == "changed" else "no --split_file, 44 + 4"
    assert (
        f"was trained on another split (a --split_file, 24 + 8 graphs) than that of this command ({now}"
        in (outcome.text)
    )
    assert "give the same --split_file" in outcome.text
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    allowed = train(tiny, run, **again, allow_mismatch=True)
    assert allowed.code == 0
    assert "--allow_mismatch: " in allowed.text
    assert "no earlier model counts as best" in allowed.text
    split = saved(run / "last.ckpt")["plumbline"]["data"].get("split")
    assert split == ({**SPLIT, "test": ["random/011"]} if how == "changed" else None)
