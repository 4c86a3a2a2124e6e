"""Suggestions for names and values that do not exist."""

import pytest

from plumbline.cli import main


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--precision", "fp16"], "16"),
        (["--precision", "float32"], "32"),
        (["--precision", "bfloat16"], "bf16"),
        (["--precision", "16-true"], "16"),
        (["--precision", "BF16-mixed"], "bf16-mixed"),
        (["--accelerator", "gpu"], "cuda"),
        (["--model", "GCN"], "gcn"),
        (["--loss", "mae"], "l1"),
        (["--learning_rate", "1"], "--lr"),
        (["--learning-rate", "1"], "--lr"),
        (["--patience", "3"], "--early_stopping"),
        (["--ckpt_path", "x"], "--resume"),
        (["--batchsize", "8"], "--batch_size"),
    ],
)
def test_what_is_suggested_is_what_was_meant(
    given: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *given]) == 2
    assert capsys.readouterr().err.rstrip().endswith(f"did you mean {meant}?")


@pytest.mark.parametrize("given", [["--precision", "8"], ["--optimizer", "lbfgs"], ["--zzz", "1"]])
def test_nothing_is_suggested_where_nothing_is_near(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *given]) == 2
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        *(["--data_dir", ""], ["--data_dir", "a", ""], ["--checkpoint_dir="], ["--checkpoint_dir", ""]),
        *(["--wandb_name", " "], ["--wandb_tags", ""], ["--resume="], ["--resume", ""], ["--model", ""]),
        *(["--config", ""], ["--config="]),
    ],
    ids=" ".join,
)
def test_an_empty_value_is_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """That of an unset variable would otherwise be the current folder."""
    assert main(["train", *given]) == 2
    sentence = f'{given[0].rstrip("=")} "": must not be empty; leave the flag out for the default'
    assert sentence in capsys.readouterr().err
