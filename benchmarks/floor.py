"""Measure a lower bound for the epoch time of the documented network: only its dense matrix products.

Forward and backward products are timed. The shapes are those of plumbline's own GCN (the last layer acts on
pooled graphs, not on points), which has fewer products than the plain program, and of the batches that both
train on. There is no data, no sparse product, no dropout, no loss, no optimizer and no Lightning; results are
written to preallocated memory. The time that a program needs in addition to this is what it could still save
without changing the network or the precision.
"""

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from plumbline.data.store.reader import PackedStore

BATCH_SIZE, HIDDEN_DIM, NUM_LAYERS = 16, 128, 4


class Products:
    """The dense products of one network, for batches up to a number of points and of graphs."""

    def __init__(self, num_features: int, num_points: int, num_graphs: int) -> None:
        widths = [num_features] + [HIDDEN_DIM] * (NUM_LAYERS - 1)
        self.per_point = [Product(num_points, *pair) for pair in zip(widths, widths[1:], strict=False)]
        heads = [HIDDEN_DIM, HIDDEN_DIM, HIDDEN_DIM // 2, HIDDEN_DIM // 4, 3]
        self.per_graph = [Product(num_graphs, *pair) for pair in zip(heads, heads[1:], strict=False)]

    def run(self, num_points: int, num_graphs: int, *, backward: bool) -> None:
        """Compute the products of one batch."""
        for products, rows in ((self.per_point, num_points), (self.per_graph, num_graphs)):
            for product in products:
                product.forward(rows)
        if backward:
            for product in self.per_graph[::-1]:
                product.backward(num_graphs)
            for depth, product in reversed(list(enumerate(self.per_point))):
                product.backward(num_points, to_input=depth > 0)


class Product:
    """One linear layer: ``Y = X W^T``, ``dX = dY W``, ``dW = dY^T X``."""

    def __init__(self, rows: int, fan_in: int, fan_out: int) -> None:
        def random(*shape: int) -> Tensor:
            return torch.randn(shape) / 16

        self.x, self.dx = random(rows, fan_in), random(rows, fan_in)
        self.y, self.dy = random(rows, fan_out), random(rows, fan_out)
        self.weight, self.dw = random(fan_out, fan_in), random(fan_out, fan_in)

    def forward(self, rows: int) -> None:
        torch.mm(self.x[:rows], self.weight.T, out=self.y[:rows])

    def backward(self, rows: int, *, to_input: bool = True) -> None:
        torch.mm(self.dy[:rows].T, self.x[:rows], out=self.dw)
        if to_input:
            torch.mm(self.dy[:rows], self.weight, out=self.dx[:rows])


def batches(counts: np.ndarray, order: Iterable[int], *, drop_last: bool) -> list[tuple[int, int]]:
    """List ``(points, graphs)`` for the batches of one epoch."""
    sizes = counts[list(order)]
    parts = [sizes[i : i + BATCH_SIZE] for i in range(0, len(sizes), BATCH_SIZE)]
    return [(int(part.sum()), len(part)) for part in parts if len(part) == BATCH_SIZE or not drop_last]


def main() -> None:
    """Make one run for the benchmark, in a process of its own."""
    parser = argparse.ArgumentParser(description="Time only the dense products of a training.")
    parser.add_argument("folder", type=Path, help="packed data set")
    parser.add_argument("--split", type=Path, required=True, help="JSON: positions of 'train' and 'val'")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the times")
    parser.add_argument("--epochs", type=int, required=True)
    arguments = parser.parse_args()
    store = PackedStore.open(arguments.folder)
    counts = np.diff(store.node_ptr)
    parts = json.loads(arguments.split.read_text(encoding="utf-8"))
    rng = np.random.default_rng(0)
    val = batches(counts, parts["val"], drop_last=False)
    most = int(np.sort(counts)[-BATCH_SIZE:].sum())
    products = Products(len(store.feature_names), most, BATCH_SIZE)
    seconds, cpu, first_step = [], [], 0.0
    for _ in range(arguments.epochs):
        train = batches(counts, rng.permutation(parts["train"]), drop_last=True)
        start, start_cpu = time.monotonic(), time.process_time()
        for points, graphs in train:
            products.run(points, graphs, backward=True)
            first_step = first_step or time.monotonic()
        for points, graphs in val:
            products.run(points, graphs, backward=False)
        seconds.append(time.monotonic() - start)
        cpu.append(time.process_time() - start_cpu)
    record = {
        "epoch_seconds": seconds,
        "epoch_cpu_seconds": cpu,
        "first_step": first_step,
        "batches": (len(train), len(val)),
    }
    arguments.out.write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main()
