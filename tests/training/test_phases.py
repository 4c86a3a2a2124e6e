"""What the start-up phases say and do."""

import json
import re
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plumbline.console import progress
from plumbline.data.batches import collate
from plumbline.data.pt.samples import write_pt
from tests.helpers.training_fixtures import random_samples, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The documented layout."""
    folder = tmp_path / "pt"
    folder.mkdir()
    for number, sample in enumerate(random_samples()):
        write_pt(folder / f"{number:02d}.pt", sample)
    return folder


def test_the_first_start_on_many_files_says_in_a_log_how_far_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count(step=2)
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    first = train(folder, tmp_path / "first", max_epochs=1)
    again = train(folder, tmp_path / "again", max_epochs=1)
    lines = [re.findall(r"^  (\d+ of 48 files), .* left$", run.text, re.MULTILINE) for run in (first, again)]
    assert lines == [[f"{done} of 48 files" for done in range(6, 49, 5)], []]


@pytest.mark.parametrize("loader", ["resident", "workers"])
def test_reading_the_data_into_memory_is_part_of_loading_them(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: str
) -> None:
    original = collate._all_columns

    def slow(*arguments: Any) -> Any:
        if len(arguments[1]) == 48:
            time.sleep(0.5)
        return original(*arguments)

    monkeypatch.setattr(collate, "_all_columns", slow)
    outcome = train(tiny, tmp_path, max_epochs=1, loader=loader, num_workers=0)
    assert outcome.code == 0, outcome.text
    record = json.loads((tmp_path / "startup.json").read_text())
    seconds = {phase["name"]: phase["seconds"] for phase in record["phases"]}
    assert (seconds["Dataset Loading"] > 0.5) == (loader == "resident")
    assert seconds["DataLoader Creation"] < 0.3
    assert re.search(
        rf"^4. DataLoader Creation +[\d.]+ s   {loader}, batches of 8", outcome.text, re.MULTILINE
    )
