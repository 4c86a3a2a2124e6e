"""What a training does to the files that it finds in its run folder."""

from pathlib import Path

import pytest
import yaml

from plumbline.cli import main
from tests.helpers.training_fixtures import metric_rows, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def own_config(tiny: Path, folder: Path) -> bytes:
    """Write a config.yaml by hand; returns its content."""
    folder.mkdir()
    text = f"# my notes: see notebook p. 12\ndata_dir: {tiny}\nbatch_size: 8\nhidden_dim: 16\nmax_epochs: 1\n"
    (folder / "config.yaml").write_text(text)
    return text.encode()


def test_a_config_of_the_users_own_stays_as_it_is(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the first run, in a second one, which moves the first aside, and when that is resumed."""
    folder = tmp_path / "exp"
    mine = own_config(tiny, folder)
    command = ["train", "--config", str(folder / "config.yaml"), "--checkpoint_dir", str(folder)]
    for more in ([], ["--seed", "3"], ["--seed", "3", "--max_epochs", "2", "--resume"]):
        assert main([*command, *more]) == 0
        assert (
            "config.yaml is yours and stays as it is" in capsys.readouterr().out.replace("\n", " ")
            or more[3:]
        )
        assert (folder / "config.yaml").read_bytes() == mine
    recorded = yaml.safe_load((folder / "config.used.yaml").read_text())
    assert (recorded["seed"], recorded["max_epochs"]) == (3, 2)
    assert sorted(path.name for path in (folder / "run-001").glob("config*")) == ["config.used.yaml"]
    assert yaml.safe_load((folder / "run-001" / "config.used.yaml").read_text())["seed"] == 0


def test_the_printed_commands_name_the_recorded_flags(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exp"
    own_config(tiny, folder)
    main(["train", "--config", str(folder / "config.yaml"), "--checkpoint_dir", str(folder), "--lr", "0.002"])
    (longer,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train longer")]
    assert f"--config {folder / 'config.used.yaml'} --resume" in longer
    assert main(longer.split()[3:]) == 0
    assert [float(row["learning_rate"]) for row in metric_rows(folder)] == [0.002, 0.002]


def test_an_edited_config_is_not_written_over(tiny: Path, tmp_path: Path) -> None:
    """The file of an earlier training, to which somebody added a comment."""
    train(tiny, tmp_path, max_epochs=1)
    recorded = (tmp_path / "config.yaml").read_bytes()
    (tmp_path / "config.yaml").write_bytes(b"# the good one\n" + recorded)
    outcome = train(tiny, tmp_path, max_epochs=2, resume="")
    assert "is yours and stays as it is" in outcome.text
    assert (tmp_path / "config.yaml").read_bytes() == b"# the good one\n" + recorded


def test_the_config_of_an_ensemble_of_the_users_own_stays(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    mine = own_config(tiny, folder)
    flags = ["--checkpoint_dir", str(folder), "--ensemble", "2"]
    assert main(["train", "--config", str(folder / "config.yaml"), *flags]) == 0
    assert (folder / "config.yaml").read_bytes() == mine
    assert yaml.safe_load((folder / "config.used.yaml").read_text())["ensemble"] == 2


@pytest.mark.parametrize("name", ["result.json", "startup.json", "curves.png", "rejected.txt"])
def test_files_that_were_there_are_moved_and_named(tiny: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    outcome = train(tiny, tmp_path, max_epochs=1)
    assert f"files that were in {tmp_path} moved to {tmp_path / 'run-001'}: {name}" in outcome.text
    assert (tmp_path / "run-001" / name).read_text() == "mine"
    assert (tmp_path / name).read_bytes() != b"mine"


def test_the_next_training_writes_over_nothing_either(tiny: Path, tmp_path: Path) -> None:
    """An earlier run and the user's files, all moved aside together, twice."""
    for seed in range(3):
        train(tiny, tmp_path, max_epochs=1, seed=seed)
    seeds = [
        yaml.safe_load((tmp_path / name / "config.yaml").read_text())["seed"]
        for name in ("run-001", "run-002", ".")
    ]
    assert seeds == [0, 1, 2]
