"""A refused sample file is refused with the key, the type of its value and the way out."""

import datetime
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from plumbline.data.pt import foreign
from plumbline.data.pt.samples import read_pt
from plumbline.errors import SampleError

PLAIN = {
    "node_features": torch.zeros(4, 3),
    "edge_index": torch.zeros(2, 5, dtype=torch.int64),
    "target": torch.zeros(3),
}


class Mine:
    """A class that only its author has."""


RUNS = "and reading that could run code:"
CASES: dict[str, tuple[Any, str]] = {
    "PyG": (Data(x=torch.zeros(4, 3)), f"holds a PyG object, {RUNS} save a dictionary"),
    "number": (
        {**PLAIN, "metadata": {"scale": np.float64(2)}},
        rf"scale is a NumPy number, {RUNS} save",
    ),
    "array": ({**PLAIN, "target": np.zeros(3)}, f"target is a NumPy array, {RUNS} save torch.from_numpy"),
    "path": ({**PLAIN, "metadata": {"source": Path("a/b")}}, rf"source is a Path, {RUNS} save its str\(\)"),
    "date": (
        {"when": datetime.date(2026, 1, 1), **PLAIN},
        f"when is a datetime.date, {RUNS}",
    ),
    "own": ({**PLAIN, "x": Mine()}, rf"x is a \S+\.Mine, {RUNS}"),
    "list": ([PLAIN], "holds a list where a dictionary is expected: save one per file"),
    "numbers": ({**PLAIN, "target": [0.0]}, r"target is a list where a tensor .*: save torch.tensor\(...\)"),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older format"])
@pytest.mark.parametrize("name", CASES)
def test_the_key_the_type_and_the_way_out_are_named(tmp_path: Path, name: str, zipped: bool) -> None:
    content, sentence = CASES[name]
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(SampleError, match=sentence):
        read_pt(tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [4, 5])
def test_a_newer_pickle_protocol_is_named(tmp_path: Path, protocol: int) -> None:
    torch.save(PLAIN, tmp_path / "a.pt", pickle_protocol=protocol)
    with pytest.raises(SampleError, match=f"pickle protocol {protocol}, .*: use that of torch.save"):
        read_pt(tmp_path / "a.pt")


def test_a_plain_pickle_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(pickle.dumps(PLAIN, protocol=4))
    with pytest.raises(SampleError, match=r"pickle protocol 4, .*: write it with torch.save"):
        read_pt(tmp_path / "a.pt")


class _Call:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_finding_the_reason_runs_nothing(tmp_path: Path) -> None:
    """The opcodes of the call are only listed."""
    content = pickle.dumps({"x": _Call(tmp_path / "made")}, protocol=2)
    assert foreign.reason(content).startswith(f"x is a {os.name}.mkdir, ")
    assert not (tmp_path / "made").exists()
    pickle.loads(content)  # noqa: S301 - it is our own
    assert (tmp_path / "made").exists(), "the payload is harmless: the test says nothing"


def test_a_key_of_any_length_gives_a_short_sentence() -> None:
    content = pickle.dumps({"k" * 100_000: Mine()}, protocol=2)
    assert len(foreign.reason(content)) < 300
