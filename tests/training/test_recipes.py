"""Recipes, losses, optimizers, schedules and ensembles."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from plumbline.cli import parse
from plumbline.config.recipes import RECIPES
from plumbline.config.train import TrainConfig
from plumbline.data.batches.collate import make_batch
from plumbline.data.split import split_by_object
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.models import MODELS, build_model
from plumbline.models.ensemble import Ensemble
from plumbline.predictors.calibration import conformal_factors
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.records import FEATURE_NAMES
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.optim.losses import displacement, l1, scale_loss
from plumbline.training.optim.muon import Muon, orthogonal
from plumbline.training.optim.optimizers import make_optimizer
from plumbline.training.optim.schedules import cosine
from tests.helpers.training_fixtures import differences, interrupt_at, metric_rows, saved, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SMALL_BEST = {"recipe": "best", "hidden_dim": 8, "num_layers": 1, "batch_size": 8, "loader": "resident"}


class TestPrecedence:
    def test_a_recipe_changes_defaults_and_flags_win(self) -> None:
        config = parse("train", ["--lr", "0.5", "--recipe", "best"])
        best = RECIPES["best"]
        assert config.lr == 0.5
        assert {name: getattr(config, name) for name in best if name != "lr"} == {
            name: value for name, value in best.items() if name != "lr"
        }
        assert parse("train", []).model == "gcn"

    def test_a_file_may_name_the_recipe_and_a_flag_another(self, tmp_path: Path) -> None:
        file = tmp_path / "run.yaml"
        file.write_text("recipe: best\nlr: 0.25\n")
        config = parse("train", ["--config", str(file)])
        assert (config.model, config.lr) == (RECIPES["best"]["model"], 0.25)
        config = parse("train", ["--config", str(file), "--recipe=documented"])
        assert (config.model, config.lr) == ("gcn", 0.25)

    def test_an_unknown_recipe_is_refused(self) -> None:
        with pytest.raises(InputError, match="--recipe bset: choose one of documented, best; did you mean"):
            parse("train", ["--recipe", "bset"])

    def test_the_flag_knows_every_network(self) -> None:
        assert TrainConfig.options()["model"].kind.choices == tuple(MODELS)


class TestLosses:
    def test_by_hand(self) -> None:
        error = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
        radius = torch.tensor([10.0, 1.0])
        assert l1(error, radius).item() == pytest.approx(7 / 6)
        loss = displacement(error, radius)
        assert loss.item() == pytest.approx(0.25)
        loss.backward()
        assert error.grad is not None
        torch.testing.assert_close(error.grad, torch.tensor([[0.03, 0.04, 0.0], [0.0, 0.0, 0.0]]))

    def test_the_expected_error_is_learnt_and_touches_nothing_else(self) -> None:
        error = torch.randn(4000, 3, requires_grad=True)
        log_scale = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.Adam([log_scale], lr=0.05)
        for _ in range(300):
            optimizer.zero_grad()
            scale_loss(error, log_scale.expand(4000)).backward()
            optimizer.step()
        assert log_scale.exp().item() == pytest.approx(error.norm(dim=1).mean().item(), rel=1e-2)
        assert error.grad is None


class TestSchedule:
    def test_it_rises_and_falls(self) -> None:
        factors = [cosine(step, 1000, 0.1) for step in range(1001)]
        assert factors[0] == pytest.approx(0.01)
        assert max(factors) == factors[100] == 1.0
        assert factors[550] == pytest.approx(0.505)
        assert factors[1000] == pytest.approx(0.01)
        assert np.all(np.diff(factors[:101]) > 0)
        assert np.all(np.diff(factors[100:]) < 0)

    def test_nothing_breaks_without_warm_up_or_steps(self) -> None:
        assert cosine(0, 10, 0.0) == 1.0
        assert cosine(5, 0, 0.1) == pytest.approx(0.01)


class TestMuon:
    def test_steps_become_orthogonal(self) -> None:
        torch.manual_seed(0)
        matrices = torch.randn(3, 16, 40, dtype=torch.float64)
        values = torch.linalg.svdvals(orthogonal(matrices))
        assert 0.6 < values.min() < values.max() < 1.25
        left, _, right = torch.linalg.svd(matrices, full_matrices=False)
        aligned = torch.einsum("bim,bij,bjn->bmn", left, orthogonal(matrices), right.mT)
        off = aligned - torch.diag_embed(torch.diagonal(aligned, dim1=1, dim2=2))
        assert off.abs().max() < 1e-12, "singular vectors stay"

    def test_agrees_with_the_librarys_own_which_computes_in_bfloat16(self) -> None:
        torch.manual_seed(0)
        ours, theirs = (torch.nn.Parameter(torch.randn(24, 40)) for _ in range(2))
        theirs.data.copy_(ours)
        start = ours.detach().clone()
        one = Muon([ours], lr=0.1, weight_decay=0.2)
        two = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
        for seed in range(3):
            gradient = torch.randn(24, 40, generator=torch.Generator().manual_seed(seed))
            ours.grad, theirs.grad = gradient.clone(), gradient.clone()
            one.step()
            two.step()
        moved = (theirs - start).norm()
        assert (ours - theirs).norm() < 0.02 * moved

    def test_everything_else_is_adamws(self) -> None:
        torch.manual_seed(0)
        shapes = [(7,), (3, 40), (2, 5, 6)]
        ours = [torch.nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
        theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in ours]
        one = make_optimizer("muon", ours, lr=0.01, weight_decay=0.1, eps=1e-8, fused=False)
        two = make_optimizer("adamw", theirs, lr=0.01, weight_decay=0.1, eps=1e-8, fused=False)
        for _ in range(4):
            for left, right in zip(ours, theirs, strict=True):
                left.grad = torch.randn_like(left)
                right.grad = left.grad.clone()
            one.step()
            two.step()
        for left, right in zip(ours, theirs, strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=1e-12)


def test_the_best_recipe_trains_and_resumes_to_the_bit(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(tiny, tmp_path / "whole", max_epochs=3, **SMALL_BEST).code == 0
    with monkeypatch.context() as patch:
        interrupt_at(7, patch)
        assert train(tiny, tmp_path / "parts", max_epochs=3, **SMALL_BEST).code == 130
    assert train(tiny, tmp_path / "parts", max_epochs=3, resume="", **SMALL_BEST).code == 0
    one, other = saved(tmp_path / "whole/last.ckpt"), saved(tmp_path / "parts/last.ckpt")
    for part in ("state_dict", "optimizer_states", "global_step", "epoch"):
        assert differences(one[part], other[part]) == [], part
    assert (tmp_path / "whole/metrics.csv").read_bytes() == (tmp_path / "parts/metrics.csv").read_bytes()
    rates = [float(row["learning_rate"]) for row in metric_rows(tmp_path / "whole") if row["learning_rate"]]
    assert rates[-1] < 0.1 * RECIPES["best"]["lr"], "the cosine came down"
    outcome = train(tiny, tmp_path / "parts", max_epochs=4, resume="", **SMALL_BEST)
    assert outcome.code == 2
    assert "--max_epochs 4 here, 3 in the checkpoint" in outcome.text


def test_val_loss_is_the_loss_that_is_trained(tiny: Path, tmp_path: Path) -> None:
    train(tiny, tmp_path, max_epochs=1, loss="displacement")
    row = next(row for row in metric_rows(tmp_path) if row["val_loss"])
    assert row["val_loss"] == row["val_error_rel"]
    assert row["val_loss"] != row["val_mae"]
    metrics = load_checkpoint(next(tmp_path.glob("best-model-*"))).metrics
    assert math.isclose(metrics["val_loss"], float(row["val_loss"]), rel_tol=1e-6)


class TestEnsemble:
    def test_members_differ_and_are_joined(self, tiny: Path, tmp_path: Path) -> None:
        outcome = train(tiny, tmp_path, ensemble=2, max_epochs=1, **SMALL_BEST)
        assert outcome.code == 0
        members = [load_checkpoint(next((tmp_path / f"member-{i}").glob("best-*"))) for i in (0, 1)]
        joined = load_checkpoint(tmp_path / "ensemble.ckpt")
        assert joined.model_name == "ensemble"
        assert members[0].data == members[1].data == joined.data, "one split for all"
        store = PackedStore.open(tiny)
        batch = make_batch(store, np.arange(6), joined.model.needs)
        with torch.inference_mode():
            places = torch.stack([member.model(batch) for member in members])
            scales = torch.stack([member.model.answer(batch)[1].exp() for member in members])
            answer, log_scale = joined.model.answer(batch)[:2]
        assert (places[0] - places[1]).abs().max() > 1e-4
        torch.testing.assert_close(answer, places.mean(0))
        apart = (places - places.mean(0)).square().sum(2)
        torch.testing.assert_close(log_scale.exp(), (apart + scales.square()).mean(0).sqrt())
        assert joined.model.symmetry == "E(3)"

    def test_members_start_from_other_weights(
        self, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first: list[dict[str, torch.Tensor]] = []
        start = CentreOfMassTask.on_train_start

        def recorded(task: CentreOfMassTask) -> None:
            first.append({name: weight.detach().clone() for name, weight in task.model.named_parameters()})
            start(task)

        monkeypatch.setattr(CentreOfMassTask, "on_train_start", recorded)
        train(tiny, tmp_path, ensemble=3, max_epochs=1, **SMALL_BEST)
        drawn = [name for name, weight in first[0].items() if weight.ndim > 1 and weight.std() > 0]
        assert len(drawn) > 5
        for one, other in itertools.combinations(first, 2):
            assert not any(torch.equal(one[name], other[name]) for name in drawn)

    def test_the_first_member_is_the_training_without_an_ensemble(self, tiny: Path, tmp_path: Path) -> None:
        train(tiny, tmp_path / "many", ensemble=2, max_epochs=1, **SMALL_BEST)
        train(tiny, tmp_path / "one", max_epochs=1, **SMALL_BEST)
        one, first = saved(tmp_path / "one/last.ckpt"), saved(tmp_path / "many/member-0/last.ckpt")
        assert differences(one["state_dict"], first["state_dict"]) == []

    def test_resuming_trains_only_what_is_missing(self, tiny: Path, tmp_path: Path) -> None:
        train(tiny, tmp_path, ensemble=2, max_epochs=1, **SMALL_BEST)
        (tmp_path / "ensemble.ckpt").unlink()
        outcome = train(tiny, tmp_path, ensemble=2, max_epochs=1, resume="", **SMALL_BEST)
        assert outcome.text.count("has already finished 1 epoch:") == 2
        assert (tmp_path / "ensemble.ckpt").is_file()

    def test_it_is_as_symmetric_as_its_weakest_member(self) -> None:
        graph = {"feature_names": list(FEATURE_NAMES), "hidden_dim": 8, "num_layers": 1}
        ept = {"model": "ept", "model_args": graph}
        gcn = {"model": "gcn", "model_args": {"input_dim": 12, "hidden_dim": 8, "num_layers": 2}}
        assert build_model("ensemble", members=[ept, ept]).symmetry == "E(3)"
        mixed = Ensemble(members=[ept, gcn])
        assert (mixed.symmetry, mixed.needs) == ("none", {"gcn", "patches", "payload"})


class TestConformalFactors:
    def test_the_rank_is_that_of_split_conformal_prediction(self) -> None:
        ratios = np.random.default_rng(0).permutation(19) + 1.0
        assert conformal_factors(ratios.tolist()) == {"0.5": 10.0, "0.9": 18.0}
        assert conformal_factors([3.0, 1.0]) == {"0.5": 3.0}, "two graphs say nothing about nine in ten"

    def test_it_covers_what_it_says(self) -> None:
        rng = np.random.default_rng(1)
        inside = []
        for _ in range(400):
            factor = conformal_factors(rng.exponential(size=60).tolist())["0.9"]
            inside.append(1 - np.exp(-factor))
        assert np.mean(inside) == pytest.approx(55 / 61, abs=0.006)

    def test_a_checkpoint_holds_those_of_its_validation(self, tiny: Path, tmp_path: Path) -> None:
        train(tiny, tmp_path, max_epochs=1, val_split=0.4, **SMALL_BEST)
        trained = load_checkpoint(next(tmp_path.glob("best-*")))
        store = PackedStore.open(tiny)
        val_idx = split_by_object(store.object_idx, store.object_names, 0.4, 0)[1]
        batch = make_batch(store, val_idx, trained.model.needs)
        with torch.inference_mode():
            com, log_scale = trained.model.answer(batch)[:2]
        ratios = ((com - batch.target).norm(dim=1) / log_scale.exp()).tolist()
        assert trained.calibration.error_factors == pytest.approx(conformal_factors(ratios), rel=1e-5)
