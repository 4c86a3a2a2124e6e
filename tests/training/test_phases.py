"""What the start-up phases say and do."""

import re
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from plumbline.console import progress
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
    lines = [
        re.findall(r"^  (\d+ of 48 files), \d+ s left$", run.text, re.MULTILINE) for run in (first, again)
    ]
    assert lines == [[f"{done} of 48 files" for done in range(6, 49, 5)], []]
