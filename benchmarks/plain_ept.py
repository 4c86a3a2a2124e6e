"""Plain equivariant patch transformer, as a baseline: written with PyG's messages and scatter operations.

It is the counterpart of ``--model ept`` in the benchmarks, with the same weights (it borrows the layers of
:class:`~plumbline.models.ept.EPT`) and the same predictions. But patches and attention are messages along
edges between nodes and tokens, and batches are collated from a list of ``Data``. Data that depend only on the
graph (patches, pairs of tokens) are computed once when the data are loaded, as a careful user would do.

Letters: G graphs, N nodes, M tokens of all graphs, C scalar and D vector channels.
"""

import argparse
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing, global_mean_pool
from torch_geometric.utils import scatter, softmax

from benchmarks.plain import PlainTask, run_plain
from plumbline.data.batches.patches import patches
from plumbline.data.store.reader import PackedStore
from plumbline.models.ept import _PATCH_SCALE, _TYPICAL, EPT, AttentionLayer, Head, PatchEncoder
from plumbline.training.optim.losses import displacement, scale_loss
from plumbline.training.optim.optimizers import make_optimizer

RECIPE = {"hidden_dim": 64, "num_layers": 3}
NUM_TOKENS, NUM_NEIGHBOURS = 32, 16


class Scan(Data):
    """A scan; tells PyG by how much to increase node and token indices when it concatenates scans."""

    def __inc__(self, key: str, value: Any, *arguments: Any, **keywords: Any) -> Any:
        if key == "pair_index":
            return torch.tensor([[self.num_nodes], [len(self.token)]])
        if key == "token_index":
            return len(self.token)
        return self.num_nodes if key == "token" else super().__inc__(key, value, *arguments, **keywords)


class PatchConv(MessagePassing):
    """Encodes the pairs of each token as scalars ``[M, C]`` and vectors ``[M, 3, D]``."""

    def __init__(self, encoder: PatchEncoder) -> None:
        super().__init__(aggr=None, node_dim=0)
        self.encoder = encoder

    def forward(
        self, vectors: Tensor, scalars: Tensor, whole: Tensor, token: Tensor, pair_index: Tensor
    ) -> tuple[Tensor, Tensor]:
        centre = torch.cat([vectors[token], whole], 1)
        of_centre = (centre @ centre.mT).flatten(1)
        known = self.encoder.from_centre(torch.cat([of_centre, scalars[token]], 1))
        mean, most, v = self.propagate(
            pair_index,
            size=(len(vectors), len(token)),
            vectors=(vectors, vectors[token]),
            scalars=(scalars, None),
            centre=(None, centre),
            known=(None, known),
        )
        s = self.encoder.pooled(torch.cat([mean, most, known], 1))
        mixed = centre.mT @ self.encoder.mix(s).view(len(s), -1, self.encoder.vector_dim)
        return s, v + mixed

    def message(
        self, vectors_j: Tensor, vectors_i: Tensor, scalars_j: Tensor, centre_i: Tensor, known_i: Tensor
    ) -> tuple[Tensor, Tensor]:
        offset = (vectors_j[:, :1] - vectors_i[:, :1]) * _PATCH_SCALE
        pair = torch.cat([offset, vectors_j[:, 1:]], 1)
        within, across = (pair @ pair.mT).flatten(1), (pair @ centre_i.mT).flatten(1)
        first = self.encoder.from_pair(torch.cat([within, across, scalars_j], 1))
        hidden = functional.silu(self.encoder.deep(functional.silu(first + known_i)))
        weight = self.encoder.weights(hidden).view(len(pair), -1, self.encoder.vector_dim)
        return hidden, pair.mT @ weight

    def aggregate(self, inputs: tuple[Tensor, Tensor], index: Tensor, dim_size: int) -> tuple[Tensor, ...]:
        hidden, v = inputs
        mean = scatter(hidden, index, 0, dim_size, "mean")
        return mean, scatter(hidden, index, 0, dim_size, "max"), scatter(v, index, 0, dim_size, "mean")


class TokenConv(MessagePassing):
    """Attention between the tokens of a scan, along the edges between all of them, then the update."""

    def __init__(self, layer: AttentionLayer) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.layer = layer

    def forward(self, s: Tensor, v: Tensor, token_index: Tensor) -> tuple[Tensor, Tensor]:
        layer, heads = self.layer, self.layer.num_heads
        normed_s, normed_v = layer.norm(s, v)
        scalars = layer.scalar_in(normed_s).view(len(s), 3, heads, -1)
        vectors = layer.vector_in(normed_v).view(len(s), 3, 3, heads, -1).permute(0, 2, 3, 1, 4).flatten(3)
        query, key, value = torch.cat([scalars, vectors], 3).unbind(1)
        found = self.propagate(token_index, query=query, key=key, value=value)
        new_s, new_v = found.split([scalars.shape[3], vectors.shape[3]], 2)
        new_v = new_v.reshape(len(s), heads, 3, -1).transpose(1, 2).reshape(v.shape)
        s, v = s + layer.scalar_out(new_s.reshape(s.shape)), v + layer.vector_out(new_v)
        normed_s, normed_v = layer.norm_update(s, v)
        left, right, gated = layer.maps(normed_v).chunk(3, -1)
        invariants = torch.cat([normed_s, (left * right).sum(1), normed_v.square().sum(1)], 1)
        change, gate = layer.update(invariants).split([s.shape[1], v.shape[2]], 1)
        return s + change, v + gate[:, None] * gated

    def message(
        self, query_i: Tensor, key_j: Tensor, value_j: Tensor, index: Tensor, ptr: Any, size_i: Any
    ) -> Tensor:
        score = (query_i * key_j).sum(2) / math.sqrt(query_i.shape[2])
        return softmax(score, index, ptr, size_i)[:, :, None] * value_j


class PlainEPT(nn.Module):
    """``--model ept`` with messages. ``forward`` returns ``[G, 3]`` and log expected errors ``[G]``."""

    def __init__(self, ept: EPT) -> None:
        super().__init__()
        self.inputs, self.head = ept.inputs, ept.head
        self.patches = PatchConv(ept.patches)
        self.layers = nn.ModuleList(TokenConv(layer) for layer in ept.layers)

    def forward(self, scans: Any) -> tuple[Tensor, Tensor]:
        batch, graphs = scans.batch, scans.num_graphs
        centre = global_mean_pool(scans.pos, batch, graphs)
        square = (scans.pos - centre[batch]).square().sum(1, keepdim=True)
        size = global_mean_pool(square, batch, graphs).sqrt()[:, 0]
        seen = SimpleNamespace(
            graph_idx=batch,
            pos=scans.pos,
            node_features=scans.x,
            size=size,
            centre=centre,
            vectors=scans.vectors,
        )
        inputs = self.inputs(seen)  # type: ignore[arg-type]
        vectors = torch.cat([inputs.pos[:, None], inputs.vectors], 1)
        of_token = batch[scans.token]
        whole = inputs.graph_vectors[of_token]
        s, v = self.patches(vectors, inputs.scalars, whole, scans.token, scans.pair_index)
        for layer in self.layers:
            s, v = layer(s, v, scans.token_index)
        offset, log_scale = _vote(self.head, s, v, inputs.pos[scans.token], inputs.graph_vectors, of_token)
        return centre + size[:, None] * offset, log_scale + size.log()


def _vote(
    head: Head, s: Tensor, v: Tensor, pos: Tensor, graph_vectors: Tensor, graph: Tensor
) -> tuple[Tensor, Tensor]:
    num = len(graph_vectors)
    s, v = head.norm(s, v)
    place = pos + head.offset(v * head.gate(s)[:, None])[..., 0]
    votes = scatter(softmax(head.vote(s), graph, num_nodes=num) * place, graph, 0, num, "sum")
    pooled = global_mean_pool(s, graph, num)
    every = torch.cat([votes[..., None], scatter(v, graph, 0, num, "mean"), graph_vectors.mT], 2)
    answer = (every @ head.whole(pooled)[..., None])[..., 0]
    return answer, head.doubt(pooled.detach())[:, 0] - _TYPICAL


class PlainEPTTask(PlainTask):
    """The loss of ``--recipe best`` with AdamW, and one ``self.log`` per metric."""

    def _step(self, batch: Any, stage: str) -> Tensor:
        answer, log_scale = self.model(batch)
        error = answer - batch.y
        loss = displacement(error, batch.radius)
        size = batch.num_graphs
        self.log(f"{stage}_loss", loss, prog_bar=True, batch_size=size)
        self.log(f"{stage}_mae", error.abs().mean(), batch_size=size)
        self.log(f"{stage}_mse", error.square().mean(), batch_size=size)
        self.log(f"{stage}_error", error.norm(dim=1).mean(), batch_size=size)
        return loss + scale_loss(error, log_scale)

    def configure_optimizers(self) -> Any:
        return make_optimizer(
            "adamw", self.parameters(), lr=self.lr, weight_decay=self.weight_decay, eps=1e-8, fused=False
        )


def load_scans(store: PackedStore) -> list[Data]:
    """Read a packed data set as a list of ``Data``, with patches of :mod:`plumbline.data.batches.patches`."""
    pairs = torch.cartesian_prod(torch.arange(NUM_TOKENS), torch.arange(NUM_TOKENS)).T
    scans: list[Data] = []
    for index in range(len(store)):
        sample = store.sample(index, edge_attr=False)
        flat = store.gather(torch.tensor([index]).numpy())
        patch = torch.from_numpy(patches(flat, leaders=0, k=None)[0]).long()
        patch = patch[:NUM_TOKENS, : NUM_NEIGHBOURS + 1]
        x = torch.from_numpy(sample.node_features)
        scans.append(
            Scan(
                x=x,
                pos=x[:, :3].contiguous(),
                vectors=torch.as_tensor(sample.vectors, dtype=torch.float32)[None],
                y=torch.as_tensor(sample.target, dtype=torch.float32)[None],
                radius=torch.tensor([sample.bounding_radius], dtype=torch.float32),
                token=patch[:, 0],
                pair_index=torch.stack(
                    [patch[:, 1:].flatten(), torch.arange(NUM_TOKENS).repeat_interleave(NUM_NEIGHBOURS)]
                ),
                token_index=pairs,
            )
        )
    return scans


def make_ept(store: PackedStore) -> EPT:
    """Make the network of ``--recipe best`` for a data set, without the heads that a plain program lacks."""
    names = {"feature_names": store.feature_names, "vector_names": store.vector_names}
    sizes = {"num_tokens": NUM_TOKENS, "num_neighbours": NUM_NEIGHBOURS}
    return EPT(**names, **RECIPE, **sizes, covariance=False)  # type: ignore[arg-type]


def main() -> None:
    """Make one run for the benchmark, in a process of its own."""
    parser = argparse.ArgumentParser(description="Train the plain equivariant program on a packed data set.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", type=Path, required=True, help="JSON: positions of 'train' and 'val'")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the times")
    parser.add_argument("--checkpoint_dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--num_workers", type=int, required=True)
    arguments = parser.parse_args()
    store = PackedStore.open(arguments.folder)
    scans = load_scans(store)
    parts = json.loads(arguments.split.read_text(encoding="utf-8"))
    record = run_plain(
        PlainEPTTask(PlainEPT(make_ept(store)), lr=3e-3, weight_decay=1e-4),
        [scans[i] for i in parts["train"]],
        [scans[i] for i in parts["val"]],
        epochs=arguments.epochs,
        num_workers=arguments.num_workers,
        checkpoint_dir=arguments.checkpoint_dir,
    )
    arguments.out.write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main()
