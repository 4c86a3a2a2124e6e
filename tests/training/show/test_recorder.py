"""Which steps have a row in ``metrics.csv``."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from plumbline.reporting import Reporter
from plumbline.training.loop import nonfinite
from plumbline.training.show.recorder import Recorder
from plumbline.training.show.tracking import Trackers
from tests.helpers.training_fixtures import metric_rows, step_rows, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.mark.parametrize(
    ("steps_per_epoch", "every"), [(1, 1), (19, 1), (20, 2), (29, 2), (499, 49), (500, 50), (9999, 50)]
)
def test_an_epoch_has_ten_rows_of_steps_or_one_for_each_step(steps_per_epoch: int, every: int) -> None:
    trackers = Trackers(None, Reporter(None))
    assert Recorder(trackers, None, steps_per_epoch=steps_per_epoch)._every == every
    assert steps_per_epoch // every >= min(10, steps_per_epoch)
    assert Recorder(trackers, 7, steps_per_epoch=steps_per_epoch)._every == 7


def test_short_trainings_have_rows_of_steps_too(tiny: Path, tmp_path: Path) -> None:
    """Forty-four graphs: twenty-two steps of two, five of eight."""
    for batch_size, given, steps in ((2, None, range(2, 45, 2)), (8, None, range(1, 11)), (8, 3, (3, 6, 9))):
        train(tiny, tmp_path, batch_size=batch_size, log_every_n_steps=given)
        assert [int(row["step"]) for row in step_rows(tmp_path)] == list(steps)
        assert {row["epoch"] for row in step_rows(tmp_path)} == {"0", "1"}
        assert len(metric_rows(tmp_path)) == 2


def test_a_skipped_step_has_no_row(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finite = iter([True, False])
    monkeypatch.setattr(nonfinite, "math", SimpleNamespace(isfinite=lambda _: next(finite, True)))
    outcome = train(tiny, tmp_path, skip_nonfinite=True)
    assert "step 2 skipped" in outcome.text
    assert [int(row["step"]) for row in step_rows(tmp_path)] == [1, *range(3, 11)]
