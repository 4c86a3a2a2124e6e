"""The documented network is the same function as the plain PyTorch Geometric program computes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch as PlainBatch
from torch_geometric.data import Data

from benchmarks.plain import PlainGCN, PlainTask
from plumbline.data.batches.batch import Batch
from plumbline.data.batches.loader import Loader, Loaders, make_loaders
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.writer import write_store
from plumbline.models import build_model
from plumbline.models.gcn import GCN
from plumbline.records import Sample
from plumbline.training.loop.task import CentreOfMassTask
from plumbline.training.loop.trainer import make_trainer

NUM_FEATURES = 5
Edges = Callable[[np.random.Generator, int], np.ndarray]


def knn(rng: np.random.Generator, num_nodes: int) -> np.ndarray:
    """Every node has the same in-degree and no loops: what ``plumbline prepare`` writes."""
    k = min(4, num_nodes - 1)
    distance = rng.random((num_nodes, num_nodes)) + 2 * np.eye(num_nodes)
    return np.stack([np.argsort(distance)[:, :k].reshape(-1), np.repeat(np.arange(num_nodes), k)])


def arbitrary(rng: np.random.Generator, num_nodes: int) -> np.ndarray:
    """Directed, in no order, with whatever loops, repeats and isolated nodes chance brings."""
    return rng.integers(0, num_nodes, (2, 3 * num_nodes))


def no_edges(rng: np.random.Generator, num_nodes: int) -> np.ndarray:
    return np.zeros((2, 0), np.int64)


def duplicates(rng: np.random.Generator, num_nodes: int) -> np.ndarray:
    edges = knn(rng, num_nodes)
    return np.concatenate([edges, edges[:, ::2], edges[:, ::2]], axis=1)


def self_loops(rng: np.random.Generator, num_nodes: int) -> np.ndarray:
    """Some nodes have a loop in the list already, some have it twice."""
    loops = np.stack([np.arange(0, num_nodes, 2)] * 2)
    return np.concatenate([loops[:, ::2], knn(rng, num_nodes), loops], axis=1)


def isolated(rng: np.random.Generator, num_nodes: int) -> np.ndarray:
    """Nothing reaches or leaves the second half of the nodes."""
    return rng.integers(0, max(num_nodes // 2, 1), (2, num_nodes))


def star(rng: np.random.Generator, num_nodes: int) -> np.ndarray:
    """All edges end at one node: the normalisation is as uneven, and the graph as directed, as can be."""
    return np.stack([np.arange(1, num_nodes), np.zeros(num_nodes - 1, np.int64)])


KINDS: list[Edges] = [knn, arbitrary, no_edges, duplicates, self_loops, isolated, star]


def make_graphs(kinds: list[Edges], num_graphs: int, *, spread: float = 1.0) -> list[Data]:
    """Ragged random graphs (1 to 30 nodes) as the plain program holds them."""
    rng = np.random.default_rng(0)
    graphs = []
    for i in range(num_graphs):
        num_nodes = 1 if i == num_graphs // 2 else int(rng.integers(2, 31))
        edges = kinds[i % len(kinds)](rng, num_nodes)
        features = (spread * rng.standard_normal((num_nodes, NUM_FEATURES))).astype(np.float32)
        graphs.append(
            Data(
                x=torch.from_numpy(features),
                edge_index=torch.from_numpy(edges),
                y=torch.from_numpy(rng.standard_normal((1, 3)).astype(np.float32)),
            )
        )
    return graphs


def make_store(folder: Path, graphs: list[Data]) -> PackedStore:
    """The same graphs in a packed store, edges sorted by target as the store wants them."""

    def samples() -> Iterator[Sample]:
        for i, graph in enumerate(graphs):
            source, target = graph.edge_index.numpy()
            order = np.argsort(target, kind="stable")
            yield Sample(
                node_features=graph.x.numpy(),
                in_degree=np.bincount(target, minlength=len(graph.x)).astype(np.int32),
                edge_source=source[order].astype(np.int32),
                target=graph.y[0].numpy().astype(np.float64),
                object_name=f"object/{i}",
            )

    write_store(folder, samples(), feature_names=tuple(f"feature{i}" for i in range(NUM_FEATURES)))
    return PackedStore.open(folder)


def make_models(seed: int = 0, **arguments: float) -> tuple[PlainGCN, GCN]:
    """The plain network with random weights and biases, and ours with its state dict."""
    torch.manual_seed(seed)
    plain = PlainGCN(NUM_FEATURES, **arguments)
    for conv in plain.convs:
        nn.init.normal_(conv.bias, std=0.1)
    ours = build_model("gcn", input_dim=NUM_FEATURES, **arguments)
    ours.load_state_dict(plain.state_dict(), strict=True)
    return plain, ours


def plain_batch(graphs: list[Data], batch: Batch) -> PlainBatch:
    """The plain program's batch of the same graphs in the same order."""
    return PlainBatch.from_data_list([graphs[i] for i in batch.index.tolist()])


def predict_plain(model: PlainGCN, batch: PlainBatch) -> Tensor:
    return model(batch.x, batch.edge_index, batch.batch, batch.num_graphs)


def mae(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).abs().mean()


def loaders_of(
    store: PackedStore, *, loader: str = "resident", batch_size: int = 5, num_val: int = 5
) -> Loaders:
    everything = np.arange(len(store))
    return make_loaders(
        store,
        train_idx=everything[num_val:],
        val_idx=everything[:num_val],
        batch_size=batch_size,
        loader=loader,
        num_workers=0,
        seed=3,
        needs=GCN.needs,
    )


@pytest.mark.parametrize(
    "kinds", [[kind] for kind in KINDS] + [KINDS], ids=[kind.__name__ for kind in KINDS] + ["mixed"]
)
@pytest.mark.parametrize("loader", ["resident", "workers"])
def test_prediction_and_gradients_equal_the_plain_networks(tmp_path, kinds, loader):
    graphs = make_graphs(kinds, 21)
    plain, ours = make_models(dropout=0.0)
    seen = 0
    for batch in loaders_of(make_store(tmp_path / "store", graphs), loader=loader).train:
        reference = plain_batch(graphs, batch)
        torch.testing.assert_close(batch.target, reference.y, rtol=0, atol=0)
        expected, prediction = predict_plain(plain, reference), ours(batch)
        torch.testing.assert_close(prediction, expected, rtol=0, atol=1e-5)
        plain.zero_grad()
        ours.zero_grad()
        mae(expected, reference.y).backward()
        mae(prediction, batch.target).backward()
        gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
        for name, parameter in plain.named_parameters():
            assert parameter.grad.abs().max() > 1e-4, f"{name} has no gradient to compare"
            torch.testing.assert_close(
                gradients[name], parameter.grad, rtol=0, atol=1e-5, msg=lambda text, at=name: f"{at}: {text}"
            )
        seen += batch.num_graphs
    assert seen == 15  # 16 graphs train, in batches of 5, and the short batch is dropped


@pytest.mark.parametrize("num_layers", [2, 3, 6])
@pytest.mark.parametrize("hidden_dim", [8, 50])
def test_every_depth_and_width_equals_the_plain_networks(tmp_path, num_layers, hidden_dim):
    graphs = make_graphs(KINDS, 14)
    plain, ours = make_models(num_layers=num_layers, hidden_dim=hidden_dim)
    plain.eval()
    ours.eval()
    for batch in loaders_of(make_store(tmp_path / "store", graphs)).val:
        expected = predict_plain(plain, plain_batch(graphs, batch))
        torch.testing.assert_close(ours(batch), expected, rtol=0, atol=1e-5)


def test_state_dict_has_the_plain_networks_keys_and_shapes_both_ways():
    plain, ours = make_models(num_layers=5, hidden_dim=24)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in plain.state_dict().items()
    }
    plain.load_state_dict(ours.state_dict(), strict=True)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=0)


def test_fresh_weights_follow_the_plain_networks_distribution():
    """Glorot-uniform convolutions with zero biases, PyTorch's own linear layers in the head."""
    torch.manual_seed(0)
    plain, ours = PlainGCN(9).state_dict(), build_model("gcn", input_dim=9).state_dict()
    for name, expected in plain.items():
        if name.startswith("convs") and name.endswith("bias"):
            assert not expected.any()
            assert not ours[name].any()
        elif expected.numel() > 500:  # fewer numbers say little about their distribution
            assert float(ours[name].abs().max()) == pytest.approx(float(expected.abs().max()), rel=0.05), name
            assert float(ours[name].std()) == pytest.approx(float(expected.std()), rel=0.1), name


def test_dropout_has_the_plain_networks_expectation(tmp_path):
    """Over many draws, training outputs have the mean and spread that the plain network's have."""
    graphs = make_graphs([knn], 7)
    plain, ours = make_models(dropout=0.3, hidden_dim=32)
    plain.head.eval()  # its dropout is PyTorch's own in both; without it less noise hides a difference
    ours.head.eval()
    batch = next(iter(loaders_of(make_store(tmp_path / "store", graphs)).val))
    reference = plain_batch(graphs, batch)
    with torch.no_grad():
        expected = torch.stack([predict_plain(plain, reference) for _ in range(600)])
        drawn = torch.stack([ours(batch) for _ in range(600)])
    error = (expected.var(0) / 600 + drawn.var(0) / 600).sqrt()
    assert ((drawn.mean(0) - expected.mean(0)).abs() / error).max() < 5
    torch.testing.assert_close(drawn.std(0), expected.std(0), rtol=0.15, atol=0)


class Curve(lightning.Callback):
    """The loss of every step, and the validation loss that a program reports for each epoch."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.val: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append(float(outputs["loss"]))

    def on_train_epoch_end(self, trainer, pl_module):
        self.val.append(float(trainer.callback_metrics["val_loss"]))


class SameOrder:
    """The plain program's batches of the graphs that our loader gives, in its order, epoch by epoch."""

    def __init__(self, loader: Loader, graphs: list[Data]) -> None:
        self.loader, self.graphs, self.epoch = loader, graphs, 0
        self.order: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[PlainBatch]:
        self.loader.load_state_dict({"epoch": self.epoch, "position": 0})
        self.epoch += 1
        for batch in self.loader:
            self.order.append(batch.index.tolist())
            yield plain_batch(self.graphs, batch)


def test_loss_curve_of_three_epochs_equals_the_plain_programs(tmp_path):
    """Both whole programs in Lightning: loss, clipping, Adam, validation with a short last batch."""
    graphs = make_graphs(KINDS, 75, spread=40.0)  # gradients large enough to be clipped
    store = make_store(tmp_path / "store", graphs)
    plain, ours = make_models(dropout=0.0)

    expected = Curve()
    reference = loaders_of(store, batch_size=8, num_val=11)
    order = SameOrder(reference.train, graphs)
    lightning.Trainer(
        accelerator="cpu", max_epochs=3, gradient_clip_val=1.0, callbacks=[expected], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0,
    ).fit(PlainTask(plain), order, SameOrder(reference.val, graphs))  # fmt: skip

    curve = Curve()
    loaders = loaders_of(store, batch_size=8, num_val=11)
    task = CentreOfMassTask(ours, lr=1e-3, weight_decay=1e-5)
    make_trainer(
        tmp_path, device=torch.device("cpu"), precision=task.precision, max_epochs=3, gradient_clip=1.0,
        callbacks=[curve],
    ).fit(task, loaders.train, loaders.val)  # fmt: skip

    assert order.order[:8] != order.order[8:16] != order.order[16:]
    assert len(curve.val) == len(expected.val) == 3
    assert len(curve.steps) == len(expected.steps) == 24
    np.testing.assert_allclose(curve.steps, expected.steps, rtol=0, atol=1e-4)
    np.testing.assert_allclose(curve.val, expected.val, rtol=0, atol=1e-4)
    assert task.epoch_row["train_loss_epoch"] == pytest.approx(np.mean(expected.steps[16:]), abs=1e-4)
    learnt = np.mean(curve.steps[:8]) - np.mean(curve.steps[16:])
    assert learnt > 5e-3, "nothing was learnt, so nothing was compared"
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(ours.state_dict()[name], parameter.detach(), rtol=0, atol=1e-3)
