"""Small files that could keep a reader busy for minutes, or make its error message fill the memory."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from plumbline import files
from plumbline.cli import main
from plumbline.data.pt.samples import read_pt
from plumbline.errors import InputError
from plumbline.predictors.checkpoint import FORMAT, load_checkpoint, read_checkpoint
from tests.helpers.random_samples import random_sample


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("a/version", b"3\n"), ("a/byteorder", b"little"), *members):
            archive.writestr(name, content)
    return buffer.getvalue()


def unfolding(levels: int = 25) -> tuple:
    """A tuple of a hundred bytes that is shown in a hundred million letters."""
    value: tuple = ()
    for _ in range(levels):
        value = (value, value)
    return value


@pytest.mark.parametrize("read", [read_pt, read_checkpoint])
def test_samples_and_checkpoints_that_unpack_to_far_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(zipped(("a/data.pkl", bytes(4 << 20))))
    monkeypatch.setattr(files, "_SMALL", 1 << 20)
    monkeypatch.setattr(torch, "load", None)  # whoever unpacks it stumbles
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(InputError, match=r"unpacks to 0\.0 GB"):
        read(path)


@pytest.mark.parametrize("key", ["num_nodes", "num_edges"])
def test_a_sample_that_says_no_number_but_something_endless(tmp_path: Path, key: str) -> None:
    sample = random_sample(np.random.default_rng(0))
    content = {
        "node_features": torch.from_numpy(sample.node_features),
        "edge_index": torch.from_numpy(sample.edge_index),
        "target": torch.from_numpy(sample.target),
        key: unfolding(),
    }
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=f"{key} says no number but a tuple"):
        read_pt(tmp_path / "a.pt")


@pytest.mark.parametrize("ours", [{"format": unfolding()}, {"format": FORMAT, "model": unfolding()}])
def test_a_checkpoint_that_says_something_endless(tmp_path: Path, ours: dict) -> None:
    torch.save({"state_dict": {}, "plumbline": ours}, tmp_path / "a.ckpt")
    with pytest.raises(InputError) as caught:
        load_checkpoint(tmp_path / "a.ckpt")
    assert len(str(caught.value)) < 1000


DEEP = {
    "lists": "lr: " + "[" * 100_000,
    "mappings": "lr: " + "{a: " * 20_000,
    "lines": "lr: [\n" + " [\n" * 20_000,
    "dashes": "- " * 20_000,
    "keys": "? " * 20_000,
    "steps": "".join(" " * i + "a:\n" for i in range(1000)),
}


@pytest.mark.parametrize("what", DEEP)
def test_settings_nested_deep_are_given_up_at_the_third_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    met: list[int] = []
    compose = yaml.composer.Composer.compose_node
    monkeypatch.setattr(
        yaml.composer.Composer, "compose_node", lambda *words: met.append(1) or compose(*words)
    )
    path = tmp_path / "deep.yaml"
    path.write_text(DEEP[what])
    assert main(["train", "--config", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --config {path}, line ")
    assert line.endswith("write 'flag: value', or 'flag: [value, value]'")
    assert len(met) < 20
