"""What ``plumbline train --init_from`` refuses, and networks of the user's own."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.preparing import prepare
from tests.helpers.scanned import K
from tests.helpers.training_fixtures import random_samples, saved, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

TUNED = {"lr": 1e-3, "hidden_dim": None, "num_layers": None}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans of built-in solids."""
    folder = tmp_path_factory.mktemp("data") / "other"
    prepare("--solids", 8, "--samples", 2, "--points", 48, "--k", K, "--workers", 1, "--out", folder)
    return folder


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another width": (
        {"hidden_dim": 32},
        "of another kind (--hidden_dim 32 here, 16 there): leave these flags",
    ),
    "another network": ({"model": "egnn"}, "--model egnn here, ept there"),
    "its own arguments": ({"num_tokens": 8}, "--num_tokens 8 here, 32 there"),
    "no such file": (
        {"init_from": "nowhere.ckpt"},
        "checkpoint nowhere.ckpt: there is no such file or folder",
    ),
    "no features": (
        {"features": ["hull"]},
        "needs sensor, normal, curvature, spacing, depth, carve, view: name",
    ),
    "nothing to freeze": (
        {"init_from": None, "freeze": "trunk"},
        "--freeze trunk keeps the weights of a checkpoint",
    ),
    "a hash of nothing": ({"init_from": None, "init_from_sha256": "00"}, "is about the file of --init_from"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(trained: dict[str, Path], data: Path, tmp_path: Path, case: str) -> None:
    changed, sentence = REFUSED[case]
    outcome = train(data, tmp_path / "run", **{"init_from": trained["ept"], **TUNED, **changed})
    assert outcome.code == 2
    assert sentence in outcome.text
    assert len(outcome.text.strip().splitlines()) == 1 or "Directory" in outcome.text
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_checkpoint_that_describes_no_network_is_refused(
    trained: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    """Whatever it says of itself instead."""
    content = saved(trained["ept"])
    ours = content["plumbline"]
    broken: list[dict[str, Any]] = [
        {"model_args": {**ours["model_args"], "hidden_dim": ["x"]}},
        {"model_args": {**ours["model_args"], "num_layers": -1}},
        {"model_args": None},
        {"model": "ensemble", "model_args": {"members": []}},
        {"model": "ensemble", "model_args": {"members": [7]}},
        {"model": "z" * 1000},
        {"config": {}, "model_args": {}},
    ]
    for number, changed in enumerate(broken):
        file = tmp_path / f"{number}.ckpt"
        torch.save({**content, "plumbline": {**ours, **changed}}, file)
        outcome = train(data, tmp_path / "run", init_from=file, **TUNED)
        assert outcome.code == 2, changed
        assert outcome.text.startswith("error: ")
        assert len(outcome.text) < 500
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(trained["ept"].read_bytes()[:-2000])
    outcome = train(data, tmp_path / "run", init_from=damaged, **TUNED)
    assert outcome.code == 2
    assert "damaged.ckpt is not a readable checkpoint" in outcome.text


def test_data_without_a_feature_that_it_needs_are_refused(trained: dict[str, Path], tmp_path: Path) -> None:
    from plumbline.data.store.writer import write_store
    from plumbline.records import FEATURE_NAMES

    write_store(tmp_path / "data", random_samples(), feature_names=list(FEATURE_NAMES))
    outcome = train(tmp_path / "data", tmp_path / "run", init_from=trained["ept"], **TUNED)
    assert outcome.code == 2
    assert (
        f"needs hull, carve, view, which {tmp_path / 'data'} does not have: prepare the data" in outcome.text
    )


OWN = """
import torch


class Own(torch.nn.Module):
    symmetry = "none"
    needs = frozenset()

    def __init__(self, *, input_dim: int, width: int = 4):
        super().__init__()
        self.trunk = torch.nn.Linear(input_dim, width)
        self.head = torch.nn.Linear(width, 3)

    def forward(self, batch):
        found = self.head(torch.tanh(self.trunk(batch.node_features)))
        sums = found.new_zeros(batch.num_graphs, 3).index_add(0, batch.graph_idx, found)
        return batch.centre.to(found.dtype) + sums / batch.num_nodes


class WithHeads(Own):
    heads = ("head",)
"""


def test_a_network_of_ones_own_is_named_and_says_what_its_heads_are(data: Path, tmp_path: Path) -> None:
    """A file is not run because a checkpoint names it."""
    file = tmp_path / "own.py"
    file.write_text(OWN)
    own = {"model": f"{file}:Own", "max_epochs": 1}
    assert train(data, tmp_path / "first", **own, width=6).code == 0
    unnamed = train(data, tmp_path / "a", init_from=tmp_path / "first", **TUNED)
    assert unnamed.code == 2
    assert f"holds a network of your own: give --model {file}:Own, or where the file is now" in unnamed.text
    frozen = train(data, tmp_path / "b", init_from=tmp_path / "first", freeze="trunk", **own, **TUNED)
    assert frozen.code == 2
    assert f"--freeze trunk: {file}:Own does not say which of its parts are heads" in frozen.text
    moved = Path(shutil.move(file, tmp_path / "moved.py"))
    named = {"model": f"{moved}:WithHeads", "max_epochs": 1, "freeze": "trunk"}
    assert train(data, tmp_path / "second", init_from=tmp_path / "first", **{**TUNED, **named}).code == 0
    before, after = (saved(tmp_path / name / "last.ckpt")["state_dict"] for name in ("first", "second"))
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert changed == {"model.head.weight", "model.head.bias"}
    other = train(data, tmp_path / "c", init_from="pretrained", model=f"{moved}:Own", **TUNED)
    assert other.code == 2
    assert "a network of this package: leave --model out" in other.text
