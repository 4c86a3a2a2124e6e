"""The document of ``train_gnn_optimized.py``, line by line: one test for each statement, in its order.

The quoted lines are the document's. They are shown on the program itself, started as the document says, on a
small folder of ``.pt`` samples. What needs a GPU is skipped without one; what needs Windows is shown with
the system's name replaced.
"""

import csv
import json
import os
import re
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data

import plumbline
from benchmarks.plain import PlainGCN
from plumbline.cli import main
from plumbline.data.batches.loader import WorkerLoader, make_loaders
from plumbline.training.persistence.saving import BestAndLast
from tests.helpers import ROOT
from tests.helpers.offline_runs import OfflineRun, read_run
from tests.helpers.training_fixtures import differences, fresh_environment, saved

pytestmark = pytest.mark.filterwarnings("ignore")

PROGRAM = ROOT / "train_gnn_optimized.py"
PHASES = [
    "Directory Setup", "Dataset Loading", "Dataset Splitting", "DataLoader Creation", "Model Initialization",
    "Model Compilation", "Logging Setup", "Training Configuration",
]  # fmt: skip
TRAINING_METRICS = ["train_loss", "train_mae", "train_mse"]
PER_COMPONENT = [f"{kind}_{axis}" for kind in ("mae", "mse") for axis in "xyz"]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def write_samples(folder: Path, count: int = 60) -> Path:
    """Samples in the documented layout, written without the package; the last one is damaged."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True)
    for number in range(count):
        points = rng.normal(size=(12, 3))
        nearest = np.argsort(((points[:, None] - points) ** 2).sum(2), axis=1)[:, 1:5]
        edges = np.stack([nearest.reshape(-1), np.repeat(np.arange(12), 4)])
        sample = {
            "node_features": torch.tensor(points, dtype=torch.float32),
            "edge_index": torch.tensor(edges),
            "target": torch.tensor(points.mean(0), dtype=torch.float32),
        }
        torch.save(sample, folder / f"object{number // 2:02d}_sample{number % 2}.pt")
    (folder / "object99_sample0.pt").write_bytes(b"damaged")
    return folder


@dataclass(frozen=True)
class Ended:
    """A finished program: its folder, exit code and output."""

    folder: Path
    code: int
    text: str

    @property
    def run(self) -> Path:
        return self.folder / "checkpoints"

    def rows(self) -> list[dict[str, str]]:
        with open(self.run / "metrics.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


def program(folder: Path, *flags: str, **environment: str) -> Ended:
    """``python train_gnn_optimized.py`` in a folder that holds ``data/processed_sh``."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *flags],
        cwd=folder, env=fresh_environment(**environment), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return Ended(folder, done.returncode, done.stdout + done.stderr)


def here(folder: Path, *flags: str) -> Ended:
    """The same in this process, which spares seconds of imports."""
    stream = StringIO()
    with chdir(folder), redirect_stdout(stream), redirect_stderr(stream):
        code = main(["train", *flags])
    return Ended(folder, code, stream.getvalue())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the default data set."""
    folder = tmp_path_factory.mktemp("place")
    write_samples(folder / "data" / "processed_sh")
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> Ended:
    """The program with its defaults, for four epochs, with --debug."""
    return program(place, "--max_epochs", "4", "--debug", "--accelerator", "cpu")


@pytest.fixture(scope="module")
def model() -> Any:
    """The network with the documented sizes."""
    return plumbline.build_model("gcn", input_dim=3, hidden_dim=128, num_layers=4, dropout=0.1)


# -- Performance Characteristics: Startup Phases & Timing --------------------------------------------------


def test_detailed_timing_for_8_distinct_startup_phases(trained: Ended) -> None:
    """The training script provides detailed timing for 8 distinct startup phases."""
    assert trained.code == 0, trained.text
    lines = re.findall(r"^(\d)\. (\D+?) +([\d.]+ s|skipped)", trained.text, re.MULTILINE)
    assert [(number, name) for number, name, _ in lines] == [
        (str(i), name) for i, name in enumerate(PHASES, 1)
    ]


def test_1_directory_setup_creates_checkpoint_directories(tmp_path: Path, place: Path) -> None:
    (tmp_path / "data").symlink_to(place / "data")
    deep = "experiments/a/b"
    assert here(tmp_path, "--max_epochs", "1", "--checkpoint_dir", deep).code == 0
    assert (tmp_path / deep / "last.ckpt").is_file()


def test_2_dataset_loading_loads_and_validates_all_data_files(trained: Ended) -> None:
    assert "60 graphs of 30 objects" in trained.text
    assert "1 rejected, the first: object99_sample0.pt: is not a readable .pt file" in trained.text


def test_3_dataset_splitting_creates_train_validation_splits(trained: Ended) -> None:
    sides = re.findall(
        r"training: (\d+) graphs of (\d+) objects; validation: (\d+) graphs? of (\d+) other", trained.text
    )
    ((train, train_objects, val, val_objects),) = [tuple(map(int, side)) for side in sides]
    assert train + val == 60
    assert train_objects + val_objects == 30
    assert 0 < val < train


def test_4_dataloader_creation_configures_optimized_data_loaders(trained: Ended) -> None:
    assert re.search(r"^4\. DataLoader Creation .*batches of 16, \d+ per epoch$", trained.text, re.MULTILINE)


def test_5_model_initialization_creates_model_and_moves_it(trained: Ended) -> None:
    assert re.search(r"^5\. Model Initialization .*gcn, [\d,]+ parameters on cpu", trained.text, re.MULTILINE)


@needs_cuda
def test_5_model_initialization_moves_it_to_the_gpu(place: Path) -> None:
    assert "parameters on cuda" in here(place, "--fast_dev_run", "1", "--accelerator", "cuda").text


def test_6_model_compilation_is_optional(
    trained: Ended, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The compiler itself, which takes a minute, is left out here."""
    assert re.search(r"^6\. Model Compilation +skipped", trained.text, re.MULTILINE)
    compiled: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda forward, **_: compiled.append(forward) or forward)
    monkeypatch.chdir(place)
    assert main(["train", "--fast_dev_run", "1", "--use_compile"]) == 0
    assert re.search(r"^6\. Model Compilation +[\d.]+ s", capsys.readouterr().out, re.MULTILINE)
    assert len(compiled) == 1


def test_7_logging_setup_local(trained: Ended) -> None:
    assert re.search(r"^7\. Logging Setup .*metrics.csv$", trained.text, re.MULTILINE)


def test_8_training_configuration_sets_up_trainer_and_callbacks(trained: Ended) -> None:
    assert re.search(
        r"^8\. Training Configuration .*4 epochs, checkpoints in checkpoints$", trained.text, re.MULTILINE
    )


def test_total_startup_time(trained: Ended) -> None:
    assert re.search(r"^   Total startup time +[\d.]+ s$", trained.text, re.MULTILINE)
    record = json.loads((trained.run / "startup.json").read_text())
    assert record["total"] == pytest.approx(sum(phase["seconds"] for phase in record["phases"]))


# -- CUDA Kernel Warmup ------------------------------------------------------------------------------------


@needs_cuda
def test_when_using_cuda_a_warmup_phase_pre_compiles_kernels(place: Path) -> None:
    assert "CUDA kernels warmed up in" in here(place, "--max_epochs", "1", "--accelerator", "cuda").text


def test_warmup_is_disabled_for_fast_dev_run(place: Path) -> None:
    """Skip condition: Automatically disabled for `--fast_dev_run`."""
    assert "warm-up: none in a trial run" in here(place, "--fast_dev_run", "2", "--debug").text


# -- Precision Settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["32", "16", "bf16", "16-mixed", "bf16-mixed"])
def test_available_precision_options(place: Path, precision: str) -> None:
    """On a CPU float16 is replaced by bfloat16, in a sentence."""
    ended = here(place, "--fast_dev_run", "2", "--precision", precision, "--accelerator", "cpu")
    assert ended.code == 0, ended.text
    used = precision.replace("16", "bf16") if precision.startswith("16") else precision
    assert f"on cpu, precision {used}" in ended.text
    assert (f"--precision {precision} runs as {used}" in ended.text) == (used != precision)


def test_fp32_is_the_default(trained: Ended) -> None:
    """`--precision 32        # FP32 (default)`."""
    assert "precision 32" in trained.text
    weights = saved(trained.run / "last.ckpt")["state_dict"].values()
    assert {weight.dtype for weight in weights} == {torch.float32}


# -- Checkpoint Configuration ------------------------------------------------------------------------------


def test_directory_checkpoints_is_the_default(trained: Ended) -> None:
    assert (trained.folder / "checkpoints" / "last.ckpt").is_file()


def test_filename_is_best_model_epoch_val_loss(trained: Ended) -> None:
    """Filename: best-model-{epoch:02d}-{val_loss:.3f}.ckpt, without the names of the metrics in it."""
    (best,) = trained.run.glob("best-model-*.ckpt")
    told = saved(best)["plumbline"]["metrics"]
    assert best.name == f"best-model-{int(told['epoch']):02d}-{told['val_loss']:.3f}.ckpt"


def test_monitor_val_loss_lower_is_better(trained: Ended) -> None:
    (best,) = trained.run.glob("best-model-*.ckpt")
    losses = [float(row["val_loss"]) for row in trained.rows() if row["val_loss"]]
    assert saved(best)["plumbline"]["metrics"]["val_loss"] == min(losses)


def test_top_1_best_and_last_checkpoint(trained: Ended) -> None:
    names = sorted(path.name for path in trained.run.glob("*.ckpt"))
    assert len(names) == 2
    assert names[1] == "last.ckpt"


def test_save_after_validation_not_during_training(trained: Ended) -> None:
    """save_on_train_epoch_end=False: the last checkpoint holds the metrics of the last validation."""
    told = saved(trained.run / "last.ckpt")["plumbline"]["metrics"]
    assert told["val_loss"] == float(trained.rows()[-1]["val_loss"])


def test_save_weights_only_false_includes_optimizer_states(trained: Ended) -> None:
    content = saved(trained.run / "last.ckpt")
    assert len(content["optimizer_states"][0]["state"]) == len(content["state_dict"])


def test_the_checkpoint_callback_has_the_documented_settings(tmp_path: Path) -> None:
    callback = BestAndLast(tmp_path, None)  # type: ignore[arg-type]
    assert (callback.monitor, callback.mode, callback.save_top_k) == ("val_loss", "min", 1)
    assert callback.save_last
    assert not callback.save_weights_only
    assert not callback._save_on_train_epoch_end
    assert not callback.auto_insert_metric_name


# -- Weights & Biases Integration; the same metrics are in metrics.csv --------------------------------------


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The second example, word for word, recorded offline."""
    folder = tmp_path_factory.mktemp("production")
    write_samples(folder / "data" / "processed_sh", count=12)
    words = "--precision 16-mixed --use_wandb --max_epochs 200"
    return program(folder, *words.split(), WANDB_MODE="offline")


@pytest.fixture(scope="module")
def logged(production: Ended) -> OfflineRun:
    """What W&B has recorded of it."""
    (path,) = production.run.glob("wandb/offline-run-*")
    return read_run(path)


@pytest.mark.parametrize(
    "name",
    [
        *(f"{name}_epoch" for name in TRAINING_METRICS),
        *(f"train_{name}" for name in PER_COMPONENT),
        "val_loss", "val_mae", "val_mse",
        *(f"val_{name}" for name in PER_COMPONENT),
        "learning_rate", "epoch",
    ],
)  # fmt: skip
def test_metrics_are_automatically_logged(logged: OfflineRun, name: str) -> None:
    assert len([row for row in logged.history if name in row]) >= 200


@pytest.mark.parametrize("name", TRAINING_METRICS)
def test_training_metrics_are_also_logged_per_step(logged: OfflineRun, name: str) -> None:
    assert any(f"{name}_step" in row for row in logged.history)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_graphs", 12), ("num_train", 10), ("num_val", 2), ("num_nodes", 144), ("num_edges", 576),
        ("num_node_features", 3), ("data_dir", "data/processed_sh"), ("num_rejected", 1),
        ("used_share", 12 / 13),
    ],
)  # fmt: skip
def test_dataset_information_is_logged(logged: OfflineRun, name: str, value: Any) -> None:
    """Complete dataset statistics, train/validation split, data directory and utilization metrics."""
    assert logged.config["dataset"][name] == value


def test_the_run_name_is_auto_generated_if_not_provided(logged: OfflineRun) -> None:
    assert len(logged.id) == 8
    assert logged.tags == []


def test_training_metrics_per_step_and_epoch(place: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(place / "data")
    ended = here(tmp_path, "--max_epochs", "30", "--batch_size", "20")
    for name in TRAINING_METRICS:
        for when in ("step", "epoch"):
            assert any(row[f"{name}_{when}"] for row in ended.rows()), f"{name}_{when}"


@pytest.mark.parametrize("name", [f"train_{name}" for name in PER_COMPONENT])
def test_training_metrics_per_component(trained: Ended, name: str) -> None:
    assert float(trained.rows()[-1][name]) > 0


@pytest.mark.parametrize(
    "name", ["val_loss", "val_mae", "val_mse", *(f"val_{name}" for name in PER_COMPONENT)]
)
def test_validation_metrics(trained: Ended, name: str) -> None:
    assert float(trained.rows()[-1][name]) > 0


def test_learning_rate_and_epoch_are_logged(trained: Ended) -> None:
    rows = [row for row in trained.rows() if row["val_loss"]]
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert {float(row["learning_rate"]) for row in rows} == {1e-3}


# -- DataLoader Optimization -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reading(place: Path) -> Any:
    """The loaders that read with worker processes."""
    store = plumbline.open_data(place / "data" / "processed_sh")
    sides = {"train_idx": np.arange(44), "val_idx": np.arange(44, 60)}
    made = make_loaders(store, **sides, batch_size=16, loader="workers", num_workers=4)
    yield made
    made.train.close()
    made.val.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 16),
        ("num_workers", 4),
        ("pin_memory", False),  # True when CUDA available
        ("persistent_workers", True),
        ("prefetch_factor", 4),
        ("drop_last", True),
    ],
)
def test_dataloader_settings(reading: Any, name: str, value: Any) -> None:
    assert reading.settings[name] == value
    if name not in ("batch_size", "drop_last"):
        assert isinstance(reading.train, WorkerLoader)
        assert getattr(reading.train._loader, name) == value


def test_drop_last_gives_consistent_batch_sizes_for_training(reading: Any) -> None:
    assert [batch.num_graphs for batch in reading.train] == [16, 16]
    assert [batch.num_graphs for batch in reading.val] == [16]


@needs_cuda
def test_pin_memory_is_true_when_cuda_is_available(place: Path) -> None:
    store = plumbline.open_data(place / "data" / "processed_sh")
    sides = {"train_idx": np.arange(44), "val_idx": np.arange(44, 60)}
    made = make_loaders(store, **sides, batch_size=16, loader="workers", num_workers=1, device="cuda")
    assert made.settings["pin_memory"]


def test_windows_sets_num_workers_0(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets `num_workers=0` if needed for stability."""
    monkeypatch.setattr("plumbline.data.batches.transit.sys.platform", "win32")
    store = plumbline.open_data(place / "data" / "processed_sh")
    sides = {"train_idx": np.arange(44), "val_idx": np.arange(44, 60)}
    assert make_loaders(store, **sides, batch_size=16, loader="workers").settings["num_workers"] == 0


def test_num_workers_0_gives_the_same_losses(trained: Ended, place: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(place / "data")
    flags = ["--max_epochs", "4", "--loader", "workers", "--num_workers", "0", "--accelerator", "cpu"]
    assert here(tmp_path, *flags).rows() == trained.rows()


# -- Command Line Interface --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("data_dir", "data/processed_sh"), ("batch_size", 16), ("hidden_dim", 128), ("num_layers", 4),
        ("max_epochs", 100), ("lr", 1e-3), ("weight_decay", 1e-5), ("precision", "32"),
        ("checkpoint_dir", "checkpoints"), ("num_workers", 4), ("debug", False), ("use_compile", False),
        ("use_wandb", False), ("wandb_project", "equivariant-center-of-mass"), ("wandb_name", None),
    ],
)  # fmt: skip
def test_essential_arguments_and_their_defaults(flag: str, value: Any) -> None:
    assert plumbline.train_settings().plain()[flag] == value


def test_fast_dev_run_is_a_quick_test_with_n_batches(place: Path, tmp_path: Path) -> None:
    """`--fast_dev_run 5                  # Quick test with N batches`; nothing is saved."""
    (tmp_path / "data").symlink_to(place / "data")
    ended = here(tmp_path, "--fast_dev_run", "5")
    assert ended.code == 0
    assert "batches per loop: 5" in ended.text
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_example_development(place: Path) -> None:
    """`python train_gnn_optimized.py --fast_dev_run 10 --debug`."""
    ended = program(place, *["--fast_dev_run", "10", "--debug"])
    assert ended.code == 0, ended.text
    assert "debug  model: GCN" in ended.text


def test_example_production(production: Ended) -> None:
    """`python train_gnn_optimized.py --precision 16-mixed --use_wandb --max_epochs 200`."""
    assert production.code == 0, production.text
    assert len([row for row in production.rows() if row["val_loss"]]) == 200


def test_example_custom_configuration(tmp_path: Path) -> None:
    """The third example, word for word; shortened only by the epochs."""
    write_samples(tmp_path / "data" / "my_dataset")
    ended = program(
        tmp_path,
        "--data_dir", "data/my_dataset",
        "--checkpoint_dir", "experiments/run_1",
        "--batch_size", "32",
        "--hidden_dim", "256",
        "--wandb_name", "large_model_experiment",
        "--max_epochs", "1",
    )  # fmt: skip
    assert ended.code == 0, ended.text
    content = saved(tmp_path / "experiments" / "run_1" / "last.ckpt")
    assert content["state_dict"]["model.convs.0.lin.weight"].shape == (256, 3)
    assert "batches of 32" in ended.text


# -- Debug Mode Features -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shown",
    [
        r"^1\. Directory Setup +[\d.]+ s",  # Detailed timing: time for each startup phase
        r"data set: 60 loaded, 1 rejected",  # Dataset validation: successful/failed file loads
        r"model: GCN, 60,483 parameters",  # Model architecture: parameter count
        r"convs\.3\.lin +Linear +weight \[128, 128\]",  # ... and layer structure
        r"loader: loader resident, batch_size 16, drop_last True",  # DataLoader config
        r"first epoch: [\d.]+ s",  # First epoch tracking
        r"batch 1: data [\d.]+ ms, step [\d.]+ ms",  # Batch-level timing
    ],
)
def test_debug_mode_shows(trained: Ended, shown: str) -> None:
    assert re.search(shown, trained.text, re.MULTILINE)


# -- Model Architecture ------------------------------------------------------------------------------------


def test_input_layer_gcnconv_input_dim_to_hidden_dim(model: Any) -> None:
    assert model.convs[0].lin.weight.shape == (128, 3)


def test_hidden_layers_gcnconv_hidden_dim_to_hidden_dim(model: Any) -> None:
    assert [conv.lin.weight.shape for conv in model.convs[1:-1]] == [(128, 128)] * 2


def test_output_layer_gcnconv_hidden_dim_to_hidden_dim(model: Any) -> None:
    assert model.convs[-1].lin.weight.shape == (128, 128)


def test_prediction_head(model: Any) -> None:
    """Linear(hidden → hidden//2), ReLU + Dropout, Linear(→ hidden//4), ReLU + Dropout, Linear(→ 3)."""
    kinds = [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [type(layer) for layer in model.head] == kinds
    assert [layer.weight.shape for layer in model.head if isinstance(layer, nn.Linear)] == [
        (64, 128),
        (32, 64),
        (3, 32),
    ]


def test_native_pyg_layers_and_global_pooling(place: Path, model: Any) -> None:
    """The same numbers as PyTorch Geometric's GCNConv and global_mean_pool with the same weights."""

    store_folder = place / "data" / "processed_sh"
    store = plumbline.open_data(store_folder)
    plain = PlainGCN(3, 128, 4)
    plain.load_state_dict(model.state_dict())
    samples = [torch.load(path, weights_only=True) for path in sorted(store_folder.glob("object0[0-2]*.pt"))]
    graphs = Batch.from_data_list(
        [Data(x=one["node_features"], edge_index=one["edge_index"]) for one in samples]
    )
    with torch.no_grad():
        expected = plain.eval()(graphs.x, graphs.edge_index, graphs.batch)
        found = model.eval()(plumbline.make_batch(store, np.arange(6), model.needs))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_gradient_clipping_prevents_instability() -> None:
    assert plumbline.train_settings().gradient_clip == 1.0


def test_learning_rate_scheduling_reduce_lr_on_plateau(trained: Ended) -> None:
    assert saved(trained.run / "last.ckpt")["lr_schedulers"][0]["mode"] == "min"


# -- Troubleshooting ---------------------------------------------------------------------------------------


def test_checkpoint_directory_issues_existing_files(trained: Ended, place: Path, tmp_path: Path) -> None:
    """Cause: Permissions or existing files; existing files are moved, never overwritten."""
    (tmp_path / "data").symlink_to(place / "data")
    here(tmp_path, "--max_epochs", "1")
    before = (tmp_path / "checkpoints" / "metrics.csv").read_bytes()
    here(tmp_path, "--max_epochs", "1", "--seed", "1")
    assert (tmp_path / "checkpoints" / "run-001" / "metrics.csv").read_bytes() == before


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="root may write everywhere")
def test_checkpoint_directory_issues_permissions(place: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(place / "data")
    (tmp_path / "closed").mkdir(mode=0o500)
    ended = here(tmp_path, "--checkpoint_dir", "closed/run")
    assert ended.code == 2
    assert "cannot write there" in ended.text


@pytest.mark.parametrize("flags", [["--num_workers", "0"], ["--num_workers", "1", "--no_persistent_workers"]])
def test_dataloader_hangs(place: Path, flags: list[str]) -> None:
    """Use `--num_workers 0`; reduce `--num_workers` or disable `persistent_workers`."""
    assert here(place, "--fast_dev_run", "2", "--loader", "workers", *flags).code == 0


def test_wandb_offline_gracefully_falls_back_to_local_logging(place: Path, tmp_path: Path) -> None:
    """Neither logged in nor reachable: the training runs, and its metrics are in metrics.csv."""
    (tmp_path / "data").symlink_to(place / "data")
    ended = program(
        tmp_path, "--use_wandb", "--max_epochs", "2", HOME=str(tmp_path), WANDB_BASE_URL="http://127.0.0.1:9"
    )
    assert ended.code == 0, ended.text
    assert len([row for row in ended.rows() if row["val_loss"]]) == 2


# -- Loss Function & Metrics -------------------------------------------------------------------------------


def test_mae_is_the_primary_optimization_target(trained: Ended) -> None:
    row = trained.rows()[-1]
    assert float(row["val_loss"]) == float(row["val_mae"])
    assert float(row["train_loss_epoch"]) == float(row["train_mae_epoch"])


@pytest.mark.parametrize("kind", ["mae", "mse"])
def test_per_component_tracking(trained: Ended, kind: str) -> None:
    """Separate MAE and MSE for X, Y, Z coordinates: their mean is the whole."""
    row = trained.rows()[-1]
    axes = [float(row[f"val_{kind}_{axis}"]) for axis in "xyz"]
    assert float(row[f"val_{kind}"]) == pytest.approx(sum(axes) / 3, rel=1e-5)


@pytest.mark.parametrize(("setting", "value"), [("patience", 10), ("factor", 0.5), ("min_lrs", [1e-6])])
def test_learning_rate_scheduling(trained: Ended, setting: str, value: Any) -> None:
    """Patience: 10 epochs before reduction; Factor: 0.5; Minimum LR: 1e-6."""
    assert saved(trained.run / "last.ckpt")["lr_schedulers"][0][setting] == value


# -- Resuming Training -------------------------------------------------------------------------------------


def test_trainer_fit_with_ckpt_path_resumes(trained: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    """`trainer.fit(model, train_loader, val_loader, ckpt_path="checkpoints/best-model-XX-Y.YYY.ckpt")`."""
    monkeypatch.chdir(trained.folder)
    model, train_loader, val_loader = plumbline.lightning_parts(accelerator="cpu")
    trainer = lightning.Trainer(
        max_epochs=6, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    (best,) = Path("checkpoints").glob("best-model-*.ckpt")
    trainer.fit(model, train_loader, val_loader, ckpt_path=str(best))
    assert trainer.current_epoch == 6


def test_exact_training_resumption(trained: Ended, place: Path, tmp_path: Path) -> None:
    """The script saves both model weights and optimizer states, enabling exact training resumption."""
    (tmp_path / "data").symlink_to(place / "data")
    flags = ["--accelerator", "cpu"]
    here(tmp_path, *flags, "--max_epochs", "2")
    ended = here(tmp_path, *flags, "--max_epochs", "4", "--resume")
    assert ended.rows() == trained.rows()
    mine, theirs = saved(ended.run / "last.ckpt"), saved(trained.run / "last.ckpt")
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert differences(mine[part], theirs[part]) == []
