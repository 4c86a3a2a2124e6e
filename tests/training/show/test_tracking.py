"""Where metrics go: the CSV file, TensorBoard, what is said of them, and what is not installed or broken."""

import csv
from pathlib import Path

import pytest

from plumbline import train_settings
from plumbline.training.records import DOCUMENTED_PROJECT
from plumbline.training.show.metrics_file import COLUMNS, CsvFile
from tests.helpers.trackers import Logging
from tests.helpers.training_fixtures import metric_rows, run_python

BROKEN_WORDS = "`np.float_` was removed in the NumPy 2.0 release"
BROKEN = f"AttributeError('{BROKEN_WORDS}.')"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def install(package: str, error: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a package in front of the installed one that fails when it is imported."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(f"raise {error}\n")
    monkeypatch.syspath_prepend(str(folder))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name, as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), purge_orphaned_data=True).Reload()
    return {
        name: [(item.step, item.value) for item in events.Scalars(name)] for name in events.Tags()["scalars"]
    }


# -- the choice --------------------------------------------------------------------------------------------


def test_the_csv_file_alone_starts_nothing(tmp_path: Path) -> None:
    logging = Logging(tmp_path, use_wandb=False)
    logging.log(range(3))
    assert logging.finish() == ["metrics.csv"]
    assert logging.trackers.kept == {}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("flags", [{"use_wandb": True}, {"logger": ["wandb"]}, {"logger": ["csv", "wandb"]}])
def test_wandb_by_either_flag(tmp_path: Path, flags: dict[str, object]) -> None:
    logging = Logging(tmp_path, **{"use_wandb": False, **flags})
    assert logging.said == ["metrics.csv; W&B starts in a process of its own"]
    logging.finish()
    assert list(tmp_path.glob("wandb/offline-run-*"))


def test_both_at_once(tmp_path: Path) -> None:
    logging = Logging(tmp_path, logger=["tensorboard", "wandb"])
    assert logging.said == ["metrics.csv; TensorBoard and W&B start in processes of their own"]
    logging.log(range(3))
    said = logging.finish()
    assert f"TensorBoard: {tmp_path / 'tensorboard'}" in said
    assert any("W&B records offline" in sentence for sentence in said)


def test_flags_of_wandb_alone_have_no_effect_and_that_is_said() -> None:
    given = {"wandb_project": "x", "wandb_entity": "e", "wandb_name": "n", "wandb_tags": ["t"]}
    assert train_settings(**given).without_effect() == [
        f"--{name} has no effect without --use_wandb" for name in given
    ]
    assert train_settings(**given, use_wandb=True).without_effect() == []
    assert train_settings(**given, logger=["wandb"]).without_effect() == []
    assert train_settings().without_effect() == []
    assert train_settings().wandb_project == DOCUMENTED_PROJECT


# -- TensorBoard -------------------------------------------------------------------------------------------


def test_tensorboard_without_wandb(tmp_path: Path) -> None:
    logging = Logging(tmp_path, use_wandb=False, logger=["tensorboard"])
    logging.log(range(5))
    assert logging.finish() == [
        "metrics.csv; TensorBoard starts in a process of its own", f"TensorBoard: {tmp_path / 'tensorboard'}"
    ]  # fmt: skip
    values = [(step, pytest.approx(step / 7)) for step in range(5)]
    assert scalars(tmp_path / "tensorboard")["val_loss"] == values


def test_a_resumed_training_takes_back_the_steps_after_its_checkpoint(tmp_path: Path) -> None:
    first = Logging(tmp_path, use_wandb=False, logger=["tensorboard"])
    first.log(range(10))
    first.finish()
    again = Logging(tmp_path, use_wandb=False, logger=["tensorboard"], resume_step=4)
    again.log(range(5, 8))
    again.finish()
    assert [step for step, _ in scalars(tmp_path / "tensorboard")["val_loss"]] == list(range(8))


# -- not installed, broken ---------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["wandb", "tensorboard"])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("ModuleNotFoundError('No module', name={!r})", "it is not installed (pip install {})"),
        (
            BROKEN,
            "it is installed, but broken (AttributeError: `np.float_` was removed in the NumPy 2.0 release)",
        ),
        ("ImportError('libcudart.so')", "it is installed, but broken (ImportError: libcudart.so)"),
        ("SystemExit(3)", "3"),
    ],
)
def test_what_cannot_be_imported_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, error: str, words: str
) -> None:
    install(package, error.format(package), tmp_path / "site", monkeypatch)
    name = {"wandb": "W&B", "tensorboard": "TensorBoard"}[package]
    logging = Logging(tmp_path / "run", use_wandb=False, logger=[package])
    logging.log(range(3))
    said = logging.finish()
    assert said[1] == f"{name} cannot be used: {words.format(package)}"
    assert said[2:] == ([f"TensorBoard: {tmp_path / 'run' / 'tensorboard'}"] if package == "wandb" else [])
    assert len(metric_rows(tmp_path / "run")) == 3
    if package == "wandb":
        assert len(scalars(tmp_path / "run" / "tensorboard")["val_loss"]) == 3


def test_no_rule_of_our_own_is_given_to_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode, login, server and time limit are wandb's business."""
    (tmp_path / "site" / "wandb").mkdir(parents=True)
    (tmp_path / "site" / "wandb" / "__init__.py").write_text(
        "Settings = dict\n"
        "def init(**given):\n"
        "    asked = sorted(name for name in given if given[name] is not None)\n"
        "    raise ValueError(f'{asked} {sorted(given[\"settings\"])}')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    said = Logging(tmp_path / "run").finish()
    settings = ["console", "finish_timeout", "finish_timeout_raises", "x_stats_pid"]
    assert str(["config", "dir", "project", "settings"]) + f" {settings}; " in said[1]


def test_a_folder_named_wandb_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("wandb", "", tmp_path / "site", monkeypatch)
    (tmp_path / "site" / "wandb" / "__init__.py").write_text("__file__ = None\n")
    said = Logging(tmp_path / "run").finish()
    assert said[1] == "W&B cannot be used: it is not installed (pip install wandb)"


def test_without_either_the_csv_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("wandb", "tensorboard"):
        install(package, BROKEN, tmp_path / "site", monkeypatch)
    logging = Logging(tmp_path / "run")
    logging.log(range(3))
    assert len(logging.finish()) == 2, "nobody asked for TensorBoard"
    assert len(metric_rows(tmp_path / "run")) == 3


def test_a_process_that_cannot_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    said = Logging(tmp_path / "run").finish()
    assert said[1:] == ["W&B cannot be used: its process cannot be started (No such file or directory)"]


def test_a_process_that_ends_at_once_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plumbline.training.show.tracker._PROGRAM", "raise ValueError('odd')")
    said = Logging(tmp_path / "run").finish()
    assert said[1:] == ["W&B cannot be used: its process ended with exit code 1: ValueError: odd"]


def test_names_that_are_no_unicode_are_logged(tmp_path: Path) -> None:
    logging = Logging(tmp_path, config={"data_dir": "caf\udce9"})
    logging.log(range(3))
    assert "W&B records offline" in logging.finish()[-1]


# -- the CSV file ------------------------------------------------------------------------------------------


def test_numbers_read_back_equal_and_every_row_is_on_the_file_at_once(tmp_path: Path) -> None:
    file = CsvFile(tmp_path / "metrics.csv")
    file.log({"epoch": 3, "val_loss": 0.1 + 0.2}, 7)
    (row,) = metric_rows(tmp_path)
    assert list(row) == list(COLUMNS)
    assert (float(row["val_loss"]), row["epoch"], row["step"]) == (0.1 + 0.2, "3", "7")
    assert {value for name, value in row.items() if name not in ("epoch", "step", "val_loss")} == {""}
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        file.log({"invented": 1.0}, 8)


def test_continuing_keeps_exactly_the_rows_up_to_the_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    file = CsvFile(path)
    for step in (5, 10, 15):
        file.log({"epoch": step // 5, "val_loss": step / 7}, step)
    file.finish(0)
    before = path.read_text().splitlines()
    with open(path, "a") as damaged:
        damaged.write("4,1")
    CsvFile(path, resume_step=10).finish(0)
    assert path.read_text().splitlines() == before[:3]
    with open(path, newline="") as again:
        assert len(list(csv.reader(again))) == 3


def test_the_tracking_module_imports_no_tracker() -> None:
    names = "{'wandb', 'tensorboard'}"
    code = f"import sys, plumbline.training.show.tracking; sys.exit(len({names} & set(sys.modules)))"
    assert run_python("-c", code).returncode == 0
