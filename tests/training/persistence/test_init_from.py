"""Fine-tuning through the program: ``plumbline train --init_from``."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import plumbline
from plumbline.errors import InputError
from plumbline.predictors.calibration import Calibration
from plumbline.predictors.find_checkpoint import SHIPPED
from tests.helpers.preparing import prepare
from tests.helpers.scanned import K, simulate
from tests.helpers.training_fixtures import (
    assert_same_end,
    differences,
    interrupt_at,
    saved,
    train,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

STILL = {"lr": 1e-30, "weight_decay": 0, "max_epochs": 1, "hidden_dim": None, "num_layers": None}
"""A training whose steps are smaller than any rounding."""
TUNED = {"lr": 1e-3, "hidden_dim": None, "num_layers": None}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans of built-in solids with all features, the table among them."""
    folder = tmp_path_factory.mktemp("data") / "other"
    prepare("--solids", 10, "--samples", 2, "--points", 48, "--k", K, "--seed", 3, "--sensor_model", "depth",
            "--workers", 1, "--out", folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real scans, which nobody knows the volume of: no table, no payload."""
    folder = tmp_path_factory.mktemp("real")
    rows = ["file,object_name,com_x,com_y,com_z"]
    for number in range(6):
        scan = simulate(number)
        assert scan.com is not None
        np.savez(folder / f"{number}.npz", points=scan.points, sensor=scan.sensor)
        rows.append(",".join([f"{number}.npz", f"thing {number}", *map(str, scan.com)]))
    (folder / "labels.csv").write_text("\n".join(rows))
    prepare(
        "--labels", folder / "labels.csv", "--points", 48, "--k", K, "--workers", 1, "--out", folder / "data"
    )
    return folder / "data"


def model_of(path: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = saved(path)["state_dict"]
    return weights


def tune(data: Path, out: Path, source: Path | str, **changed: Any) -> str:
    outcome = train(data, out, init_from=source, **{**TUNED, **changed})
    assert outcome.code == 0, outcome.text
    return outcome.text


def said(text: str) -> str:
    """Printed text without its line breaks."""
    return " ".join(text.split())


def answers(checkpoint: Path | str) -> list[Any]:
    predictor = plumbline.load_predictor(checkpoint)
    return [predictor.predict(scan.points, sensor=scan.sensor) for scan in map(simulate, range(4))]


def test_the_first_answers_are_those_of_the_checkpoint(data: Path, tmp_path: Path) -> None:
    """Although the new training knows more of a scan than the normals that the checkpoint knew."""
    first = train(data, tmp_path / "first", model="ept", features="normal", max_epochs=1, lr=3e-3)
    assert first.code == 0, first.text
    text = said(tune(data, tmp_path / "same", tmp_path / "first", **STILL))
    assert "weights of sensor, curvature, spacing, depth, hull, carve, view, table, which it did not" in text
    tune(data, tmp_path / "moved", tmp_path / "first")
    before, after, moved = (answers(tmp_path / name) for name in ("first", "same", "moved"))
    for one, other, third in zip(before, after, moved, strict=True):
        np.testing.assert_allclose(one.com, other.com, rtol=0, atol=1e-6 * one.extent)
        assert other.expected_error == pytest.approx(one.expected_error, rel=1e-5)
        assert np.linalg.norm(third.com - one.com) > 1e-4 * one.extent, "the control: it does train"


def test_on_data_of_the_same_form_every_bit_is_taken_over(trained: dict[str, Path], tmp_path: Path) -> None:
    for model in ("ept", "gcn"):
        data = trained[model].parents[1] / "data"
        text = said(tune(data, tmp_path / model, trained[model], **STILL))
        before, after = model_of(trained[model]), model_of(tmp_path / model / "last.ckpt")
        assert differences(before, after) == []
        total = sum(weight.numel() for weight in before.values())
        assert f"starts from {trained[model]}: {len(before)} tensors, {total:,} weights taken over" in text
        assert "starts from zero" not in text
        assert "dropped" not in text
        assert "random weights" not in text


def test_what_has_no_volume_keeps_the_heads_of_volume_and_forgets_the_table(
    plain: Path, tmp_path: Path
) -> None:
    """Real scans that were prepared without ``--sensor_model depth``, and the shipped model."""
    text = said(tune(plain, tmp_path / "run", "pretrained", batch_size=2, max_epochs=1))
    assert "starts from pretrained, network 1 of 2: 90 tensors, 192,338 weights taken over" in text
    assert "dropped: 2,129 weights of table, which these data do not have (prepare --sensor_model" in text
    assert "kept as they are: 26,071 weights of the heads of volume and inertia" in text
    before = model_of(SHIPPED)
    for name, weight in model_of(tmp_path / "run" / "last.ckpt").items():
        same = torch.equal(weight, before[name.replace("model.", "model.members.0.", 1)])
        heads = name.startswith(("model.side_heads.moments", "model.side_heads.sizes"))
        assert same == heads, name
    assert answers(tmp_path / "run")[0].volume is not None
    still = {**STILL, "batch_size": 2}
    tune(plain, tmp_path / "still", "pretrained", **still)
    shipped = plumbline.load_checkpoint(SHIPPED)
    member: Any = shipped.model.members
    first = plumbline.Predictor.trained(replace(shipped, model=member[0], calibration=Calibration()))
    for number, after in enumerate(answers(tmp_path / "still")):
        scan = simulate(number)
        one = first.predict(scan.points, sensor=scan.sensor, max_points=48)
        np.testing.assert_allclose(one.com, after.com, rtol=0, atol=1e-6 * one.extent)


@pytest.mark.parametrize("model", ["ept", "gcn"])
def test_a_frozen_trunk_keeps_its_bits(trained: dict[str, Path], tmp_path: Path, model: str) -> None:
    data, before = trained[model].parents[1] / "data", model_of(trained[model])
    changed = {}
    for freeze in ("trunk", "none"):
        tune(data, tmp_path / freeze, trained[model], freeze=freeze, ema=0.5, weight_decay=0.1)
        after = model_of(tmp_path / freeze / "last.ckpt")
        changed[freeze] = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    heads = {name for name in before if name.startswith(("model.head.", "model.side_heads."))}
    assert changed["trunk"] == heads
    assert changed["none"] > heads, "the control"
    trunk = sum(weight.numel() for name, weight in before.items() if name not in heads)
    text = said(train(data, tmp_path / "more", init_from=trained[model], freeze="trunk", **TUNED).text)
    assert (
        f"frozen: the trunk, {trunk:,} of {sum(w.numel() for w in before.values()):,} weights; head" in text
    )


def test_it_is_a_new_training(trained: dict[str, Path], data: Path, tmp_path: Path) -> None:
    tune(data, tmp_path, trained["ept"], ema=0.5, max_epochs=1)
    content = saved(tmp_path / "last.ckpt")
    ours = content["plumbline"]
    steps = {int(state["step"]) for state in content["optimizer_states"][0]["state"].values()}
    assert (ours["epochs_done"], {ours["global_step"]}) == (1, steps), "epochs and a fresh optimizer"
    digest = hashlib.sha256(trained["ept"].read_bytes()).hexdigest()
    for config in (ours["config"], yaml.safe_load((tmp_path / "config.yaml").read_text())):
        assert (config["init_from"], config["init_from_sha256"]) == (str(trained["ept"]), digest)
        assert (config["model"], config["hidden_dim"], config["num_layers"]) == ("ept", 16, 2)


@pytest.fixture
def stopped(trained: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fine-tuning that was stopped, and whose checkpoint is gone."""
    source = Path(shutil.copy(trained["ept"], tmp_path / "source.ckpt"))
    more = {"init_from": source, "max_epochs": 3, "freeze": "trunk", "batch_size": 4, **TUNED}
    assert train(data, tmp_path / "straight", **more).code == 0
    with monkeypatch.context() as patch:
        interrupt_at(6, patch)
        assert train(data, tmp_path / "run", **more).code == 130
    source.unlink()
    return tmp_path / "run"


def test_resumed_without_the_checkpoint_it_has_the_same_bits(stopped: Path) -> None:
    outcome = plumbline_train("--config", stopped / "config.yaml", "--resume")
    assert outcome[0] == 0, outcome[1]
    assert "starts from" not in outcome[1]
    assert_same_end(stopped.parent / "straight", stopped)
    trunk = [n for n in model_of(stopped / "last.ckpt") if n.startswith(("model.patches", "model.layers"))]
    states = saved(stopped / "last.ckpt")["optimizer_states"][0]["state"]
    assert len(states) == len(model_of(stopped / "last.ckpt")) - len(trunk), "the trunk stayed frozen"


def test_what_is_frozen_may_change_if_that_is_allowed(stopped: Path) -> None:
    config = ("--config", stopped / "config.yaml", "--resume", "--freeze", "none")
    code, text = plumbline_train(*config)
    assert code == 2
    assert "--freeze none here, trunk in the checkpoint" in text
    before = model_of(stopped / "last.ckpt")
    code, text = plumbline_train(*config, "--allow_mismatch")
    assert code == 0, text
    changed = [
        n for n, weight in model_of(stopped / "last.ckpt").items() if not torch.equal(weight, before[n])
    ]
    assert any(name.startswith("model.layers") for name in changed)


def plumbline_train(*words: object) -> tuple[int, str]:
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    from plumbline.cli import main

    stream = StringIO()
    with redirect_stdout(stream), redirect_stderr(stream):
        code = main(["train", *map(str, words)])
    return code, stream.getvalue()


def test_resume_and_init_from_exclude_each_other(
    trained: dict[str, Path], data: Path, stopped: Path, tmp_path: Path
) -> None:
    config = ("--config", stopped / "config.yaml", "--resume")
    before = {path.name: path.read_bytes() for path in stopped.iterdir() if path.is_file()}
    for words in (["--init_from", trained["ept"]], ["--init_from_sha256", "0" * 64]):
        code, text = plumbline_train(*config, *words)
        assert code == 2
        assert "starts a new training: leave one of them out" in text
    code, text = plumbline_train(
        *config[:2], "--resume", stopped / "last.ckpt", "--checkpoint_dir", tmp_path / "b"
    )
    assert code == 0, text
    other = train(data, tmp_path / "plain", model="ept", **TUNED | {"hidden_dim": 16, "num_layers": 2})
    assert other.code == 0
    again = train(data, tmp_path / "plain", init_from=trained["ept"], resume="", **TUNED)
    assert again.code == 2
    assert "--resume continues " in again.text
    tune(data, tmp_path / "tuned", trained["ept"])
    more = {"max_epochs": 3, "lr": 1e-3, "hidden_dim": 16, "num_layers": 2, "dropout": 0.1}
    forgotten = train(data, tmp_path / "tuned", model="ept", resume="", **more)
    assert forgotten.code == 2
    assert f"--init_from None here, {trained['ept']} in the checkpoint" in forgotten.text
    assert {path.name: path.read_bytes() for path in stopped.iterdir() if path.is_file()} == before


def test_a_training_is_repeated_only_from_the_same_bytes(
    trained: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    source = Path(shutil.copy(trained["ept"], tmp_path / "source.ckpt"))
    tune(data, tmp_path / "run", source, max_epochs=1)
    again = ("--config", tmp_path / "run" / "config.yaml", "--checkpoint_dir")
    assert plumbline_train(*again, tmp_path / "same")[0] == 0
    assert_same_end(tmp_path / "run", tmp_path / "same")
    shutil.copy(tmp_path / "run" / "last.ckpt", source)
    code, text = plumbline_train(*again, tmp_path / "other")
    assert code == 2
    assert "source.ckpt has changed: its SHA-256 is " in text
    assert not (tmp_path / "other").exists()


def test_a_given_flag_that_agrees_is_no_error(trained: dict[str, Path], data: Path, tmp_path: Path) -> None:
    tune(
        data, tmp_path, trained["ept"], model="ept", hidden_dim=16, num_layers=2, max_epochs=1, num_tokens=32
    )


def test_arguments_of_a_network_of_its_own_kind_come_with_it(data: Path, tmp_path: Path) -> None:
    first = train(data, tmp_path / "first", model="ept", num_tokens=8, max_epochs=1)
    assert first.code == 0, first.text
    tune(data, tmp_path / "second", tmp_path / "first", max_epochs=1)
    ours = saved(tmp_path / "second" / "last.ckpt")["plumbline"]
    assert ours["config"]["model_args"] == ["num_tokens=8"]
    assert ours["model_args"]["num_tokens"] == 8


def test_an_ensemble_gives_each_member_one_network(data: Path, tmp_path: Path) -> None:
    still = {**STILL, "ensemble": 3, "batch_size": 4}
    text = said(tune(data, tmp_path / "run", "pretrained", **still))
    shipped = model_of(SHIPPED)
    for member, number in enumerate((0, 1, 0)):
        assert f"starts from pretrained, network {number + 1} of 2" in text
        weights = model_of(tmp_path / "run" / f"member-{member}" / "last.ckpt")
        for name, weight in weights.items():
            assert torch.equal(weight, shipped[name.replace("model.", f"model.members.{number}.", 1)])
    assert (tmp_path / "run" / "ensemble.ckpt").is_file()
    one = said(tune(data, tmp_path / "one", "pretrained", **{**still, "ensemble": 1, "member": 1}))
    assert "network 2 of 2" in one
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["init_from_sha256"] == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()


def test_few_validation_graphs_are_said_to_calibrate_little(data: Path, tmp_path: Path) -> None:
    text = said(tune(data, tmp_path, "pretrained", max_epochs=1, batch_size=4))
    count = saved(tmp_path / "last.ckpt")["plumbline"]["data"]["num_val"]
    assert (
        f"validation has {count} graphs, and radius_90 needs 9, novelty needs 99: predict will leave them"
        in text
    )
    answer = answers(tmp_path)[0]
    assert (answer.radius_90, answer.novelty) == (None, None)


def test_from_python(trained: dict[str, Path], data: Path, tmp_path: Path) -> None:
    flags = {"data_dir": data, "batch_size": 8, "max_epochs": 2, "accelerator": "cpu", "lr": 1e-3}
    tune(data, tmp_path / "command", trained["ept"])
    result = plumbline.train(init_from=trained["ept"], checkpoint_dir=tmp_path / "python", **flags)
    assert result.outcome == "finished"
    assert_same_end(tmp_path / "command", tmp_path / "python")
    heard: list[str] = []
    model, *_ = plumbline.lightning_parts(
        init_from=trained["ept"], report=lambda event: heard.append(event.text), **flags
    )
    before = model_of(trained["ept"])
    assert any(sentence.startswith(f"starts from {trained['ept']}") for sentence in heard)
    assert torch.equal(model.model.head.vote.weight, before["model.head.vote.weight"])
    digest = hashlib.sha256(trained["ept"].read_bytes()).hexdigest()
    assert model.identity["config"]["init_from_sha256"] == digest
    with pytest.raises(InputError, match="--hidden_dim 32 here, 16 there"):
        plumbline.train(init_from=trained["ept"], hidden_dim=32, **flags)


def test_a_trial_run_saves_nothing(trained: dict[str, Path], data: Path, tmp_path: Path) -> None:
    assert "starts from" in tune(data, tmp_path / "run", trained["ept"], fast_dev_run=1)
    assert not (tmp_path / "run").exists()
