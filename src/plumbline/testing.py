"""Tests that every network must pass, in this package and in your own code.

Subclass :class:`ModelTests` in a test file and run pytest; this module does not import pytest::

    from my_network import MyNetwork
    from plumbline.testing import ModelTests

    class TestMyNetwork(ModelTests):
        model = MyNetwork

Letters: G graphs. Symmetry is tested in float64 from raw points to the prediction: features and graphs are
recomputed from the moved points, so only rounding may break it.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from plumbline.api import train
from plumbline.data.batches.batch import Batch
from plumbline.data.batches.collate import PARTS, make_batch
from plumbline.data.store.in_memory import MemoryStore
from plumbline.data.store.writer import write_store
from plumbline.geometry.graphs import LEADERS, build_sample
from plumbline.geometry.raycast import Caster
from plumbline.geometry.rotations import random_directions, random_rotation
from plumbline.geometry.scans import scan_solid
from plumbline.geometry.solids import make_solid
from plumbline.geometry.tables import lowest_plane, move_plane
from plumbline.models import SYMMETRIES, forward_with_error
from plumbline.models.answer import as_answer
from plumbline.models.arguments import own_arguments
from plumbline.own_parts import register
from plumbline.predictors.checkpoint import read_checkpoint
from plumbline.records import FEATURE_NAMES, VECTOR_NAMES, Float, Int, Range, Sample, Scan, ScanSettings

ROUNDING = 1e-10
"""Largest deviation that counts as rounding in float64, as a fraction of the object's bounding radius."""
_K = 16
_FLAGS = ("hidden_dim", "num_layers", "dropout")
"""Arguments of ``ModelTests`` that are flags of every training."""
_CONDITIONS = [(views, noise) for views in (1, 3) for noise in (0.0, 0.01)] * 2


@dataclass(frozen=True)
class Move:
    """The move ``x -> scale * rotation @ x + shift``, which also reorders the points.

    Attributes:
        rotation: ``[3, 3]`` orthogonal matrix; a mirror has determinant -1.
        scale: factor of all lengths.
        shift: ``[3]`` translation.
    """

    rotation: Float
    scale: float
    shift: Float

    def points(self, points: Float) -> Float:
        """Move points ``[..., 3]``."""
        moved: Float = self.scale * points @ self.rotation.T + self.shift
        return moved

    def scan(self, scan: Scan) -> Scan:
        """Move a scan: the object and the sensors."""
        assert scan.com is not None
        assert scan.bounding_radius is not None
        order = np.random.default_rng(1).permutation(len(scan.points))
        return Scan(
            self.points(scan.points)[order],
            self.points(scan.sensor)[order],
            scan.view[order],
            self.points(scan.com),
            self.scale * scan.bounding_radius,
            move_plane(scan.table, self.rotation, self.shift, self.scale),
        )


@cache
def moves() -> Mapping[str, Move]:
    """One move of each kind; only the mirror and the rotation change the orientation."""
    rotation = random_rotation(np.random.default_rng(11))
    mirror = rotation @ np.diag([1.0, 1.0, -1.0])
    return {
        "translation": Move(np.eye(3), 2.3, np.array([5.0, 1.0, -3.0])),
        "rotation": Move(rotation, 1.7, np.array([3.0, -2.0, 1.0])),
        "mirror": Move(mirror, 0.6, np.array([-1.0, 4.0, 2.0])),
    }


OBEYED = {
    "none": (),
    "translation": ("translation",),
    "SE(3)": ("translation", "rotation"),
    "E(3)": ("translation", "rotation", "mirror"),
}
"""Moves that the prediction of a model must follow, by the symmetry that the model declares."""


@cache
def scans() -> tuple[Scan, ...]:
    """Make eight scans of built-in solids on tables, from one and three views, with and without noise."""
    found = []
    for index, (views, noise) in enumerate(_CONDITIONS):
        solid = make_solid(5, index)
        caster = Caster(solid.vertices, solid.faces)
        settings = ScanSettings(views=Range(views), points=Range(128), noise=Range(noise))
        rng = np.random.default_rng(index)
        scan = scan_solid(solid, caster, settings, rng=rng)
        found.append(replace(scan, table=lowest_plane(scan, random_directions(rng, 1)[0])))
    return tuple(found)


def store_of(some: Sequence[Scan], normalise: Any = "unit", dtype: type = np.float64) -> MemoryStore:
    """Convert scans to graphs with all features of ``plumbline prepare``.

    Args:
        some: the scans.
        normalise: stored frame, as ``--normalise``.
        dtype: type of features and vectors.
    """
    graph: dict[str, Any] = {"k": _K, "edge_attr": "none", "sh_degree": 0, "normalise": normalise}
    samples = [build_sample(scan, object_name="thing", dtype=dtype, **graph) for scan in some]
    return MemoryStore(samples, feature_names=FEATURE_NAMES, vector_names=VECTOR_NAMES, leaders=LEADERS, k=_K)


@cache
def _store(kind: str, normalise: str) -> MemoryStore:
    """The scans, unmoved (``"still"``) or moved."""
    return store_of(scans() if kind == "still" else [moves()[kind].scan(scan) for scan in scans()], normalise)


def _degenerate_store() -> MemoryStore:
    """Degenerate graphs: one node, coincident nodes, no edges, only self loops, parallel edges."""
    rng = np.random.default_rng(5)

    def sample(in_degree: Sequence[int], source: Sequence[int], features: Float | None = None) -> Sample:
        nodes = len(in_degree)
        if features is None:
            features = rng.normal(size=(nodes, len(FEATURE_NAMES)))
        return Sample(
            node_features=features.astype(np.float32),
            in_degree=np.array(in_degree, np.int32),
            edge_source=np.array(source, np.int32),
            target=np.zeros(3),
            object_name="thing",
            bounding_radius=1.0,
            vectors=np.zeros((len(VECTOR_NAMES), 3), np.float32),
        )

    samples = [
        sample([0], []),
        sample([1], [0], np.zeros((1, len(FEATURE_NAMES)))),
        sample([1, 1], [1, 0]),
        sample([1, 1], [1, 0], np.ones((2, len(FEATURE_NAMES)))),
        sample([2, 0, 3], [0, 0, 2, 2, 1]),
        sample([2, 0, 3], [0, 0, 2, 2, 2]),
    ]
    return MemoryStore(samples, feature_names=FEATURE_NAMES, vector_names=VECTOR_NAMES)


def _write_scans(folder: Path) -> Path:
    """Write the scans as a data set of as many objects."""
    samples = store_of(scans(), dtype=np.float32).samples
    named = [replace(sample, object_name=f"thing {number}") for number, sample in enumerate(samples)]
    names: dict[str, Any] = {"feature_names": list(FEATURE_NAMES), "vector_names": list(VECTOR_NAMES)}
    write_store(folder, named, leaders=LEADERS, k=_K, **names)
    return folder


class ModelTests:
    """Tests of one network for everything that training, evaluation and prediction rely on.

    Attributes:
        model: the class of the network.
        arguments: arguments for its constructor; those that it does not take are ignored. They are small, so
            that the tests take seconds.
    """

    model: ClassVar[type[Any]]
    arguments: ClassVar[Mapping[str, Any]] = {"hidden_dim": 16, "num_layers": 3, "dropout": 0.0}

    def build(self, **changes: Any) -> Any:
        """Build the network in float64 with every weight of order one.

        With such weights no test can pass because a prediction is almost zero.

        Args:
            changes: replacements in ``arguments``.
        """
        torch.manual_seed(3)
        data = {
            "input_dim": len(FEATURE_NAMES),
            "feature_names": FEATURE_NAMES,
            "vector_names": VECTOR_NAMES,
        }
        taken = inspect.signature(self.model).parameters
        given = {**data, **self.arguments, **changes}
        model = self.model(**{name: value for name, value in given.items() if name in taken})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.5)
        return model.double()

    def batch(self, rows: Sequence[int] = range(len(_CONDITIONS))) -> Batch:
        """Make a batch of some of the scans, in float64."""
        return make_batch(_store("still", "unit"), np.asarray(rows), self.model.needs)

    # -- declarations --------------------------------------------------------------------------------------

    def test_it_declares_symmetry_and_needs(self) -> None:
        """``symmetry`` is one of the four known values; ``needs`` names parts of a batch."""
        assert self.model.symmetry in SYMMETRIES, f"symmetry: one of {', '.join(SYMMETRIES)}"
        assert isinstance(self.model.needs, frozenset)
        assert self.model.needs <= PARTS, f"needs: some of {', '.join(sorted(PARTS))}"
        assert issubclass(self.model, nn.Module)

    # -- predictions and gradients -------------------------------------------------------------------------

    def test_it_answers_three_numbers_per_graph(self) -> None:
        """The prediction is ``[G, 3]``, finite, and not the same for every graph."""
        answer = self.build()(self.batch())
        assert answer.shape == (len(_CONDITIONS), 3)
        assert answer.isfinite().all()
        assert answer.std(0).min() > 1e-3, "the prediction does not depend on the graph"

    def test_a_graph_does_not_see_the_others_in_its_batch(self) -> None:
        """A graph gets the same prediction alone, in a batch and in another order."""
        model = self.build().eval()
        together = model(self.batch())
        for rows in ([3], [5, 0], [3, 3, 0], [7, 6, 5, 4, 3, 2, 1, 0]):
            torch.testing.assert_close(model(self.batch(rows)), together[rows], rtol=0, atol=ROUNDING)

    def test_the_gradient_reaches_every_parameter(self) -> None:
        """Every parameter has an effect; gradients that are zero up to rounding count as none."""
        _, gradients = _answer_and_gradients(self.build(), self.batch())
        largest = max(float(gradient.abs().max()) for gradient in gradients.values() if gradient is not None)
        for name, gradient in gradients.items():
            assert gradient is not None, f"no gradient reaches {name}"
            assert gradient.abs().max() > 1e-9 * largest, f"{name} has no effect on the prediction"

    def test_the_same_bits_every_time(self) -> None:
        """The same weights and the same batch give the same bits, gradients included."""
        model = self.build()
        first, second = (_answer_and_gradients(model, self.batch()) for _ in range(2))
        assert torch.equal(first[0], second[0])
        assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])

    def test_it_computes_in_the_type_of_its_weights(self) -> None:
        """float32 and bfloat16 weights give predictions of their type (``--precision 32`` and ``bf16``)."""
        batch = make_batch(store_of(scans(), dtype=np.float32), np.arange(6), self.model.needs)
        for dtype in (torch.float32, torch.bfloat16):
            assert self.build().to(dtype)(batch).dtype == dtype

    def test_it_runs_under_autocast(self) -> None:
        """``--precision bf16-mixed`` gives finite predictions, close to those without it."""
        batch = make_batch(store_of(scans(), dtype=np.float32), np.arange(6), self.model.needs)
        model = self.build().float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            answer, gradients = _answer_and_gradients(model, batch)
        assert all(part.isfinite().all() for part in (answer, *gradients.values()))
        assert (answer - model(batch)).norm() < 0.1 * model(batch).norm()

    def test_graphs_without_a_shape(self) -> None:
        """Predictions and gradients are finite for one node, coincident nodes, no edges and self loops."""
        store = _degenerate_store()
        for rows in (np.arange(len(store)), np.arange(1)):
            batch = make_batch(store, rows, self.model.needs)
            for dtype in (torch.float32, torch.bfloat16):
                answer, gradients = _answer_and_gradients(self.build().to(dtype), batch)
                parts = (answer, *(gradient for gradient in gradients.values() if gradient is not None))
                assert all(part.isfinite().all() for part in parts)

    # -- training ------------------------------------------------------------------------------------------

    def test_it_resumes_with_the_same_bits(self) -> None:
        """A training that is stopped after one of two epochs and resumed has the bits of one that is not.

        So all that changes in training is in the ``state_dict`` (parameters and buffers), and random numbers
        come from the global generators of torch, numpy or Python.
        """
        own = own_arguments(register(self.model))
        given = {name: value for name, value in self.arguments.items() if name in {*own, *_FLAGS}}
        with TemporaryDirectory() as folder:
            flags: dict[str, Any] = {
                **{"model": self.model, "data_dir": _write_scans(Path(folder) / "data"), "batch_size": 2},
                **{
                    "val_split": 0.25,
                    "accelerator": "cpu",
                    "loader": "resident",
                    "stall_timeout": 0,
                    "lr": 0.01,
                },
                **{**given, "dropout": 0.1},
            }
            ends = []
            for run, parts in (("whole", [2]), ("stopped", [1, 2])):
                for epochs in parts:
                    resume = "last" if epochs > parts[0] else None
                    train(**flags, checkpoint_dir=Path(folder) / run, max_epochs=epochs, resume=resume)
                ends.append(read_checkpoint(Path(folder) / run / "last.ckpt"))
        whole, resumed = ends
        for name, value in whole["state_dict"].items():
            assert torch.equal(value, resumed["state_dict"][name]), f"{name} differs after a resumed training"
        metrics = [end["plumbline"]["metrics"] for end in ends]
        assert metrics[0] == metrics[1], "the metrics differ after a resumed training"

    # -- symmetry ------------------------------------------------------------------------------------------

    def test_it_keeps_the_symmetry_that_it_declares(self) -> None:
        """Moved points give the moved prediction, to 1e-10 of the object's radius."""
        model = self.build().eval()
        for kind in OBEYED[self.model.symmetry]:
            for normalise in ("unit", "none"):
                found = deviation(model, kind, normalise)
                assert found < ROUNDING, f"{kind}: off by {found:.1e} of the radius"


def deviation(model: Any, kind: str, normalise: str = "unit") -> float:
    """Largest distance between the prediction for moved points and the moved prediction, in object radii.

    Args:
        model: the model, in float64.
        kind: a key of :func:`moves`.
        normalise: stored frame of the graphs.
    """
    move = moves()[kind]
    expected = move.points(_world_answers(model, _store("still", normalise)))
    found = _world_answers(model, _store(kind, normalise))
    radius = move.scale * np.array([scan.bounding_radius for scan in scans()], float)
    return float((np.linalg.norm(found - expected, axis=1) / radius).max())


def _world_answers(model: Any, store: MemoryStore) -> Float:
    """Predictions ``[G, 3]`` in the frame and unit of the raw points."""
    rows: Int = np.arange(len(store))
    with torch.no_grad():
        found = model(make_batch(store, rows, model.needs)).numpy()
    samples = store.samples
    return np.stack([s.scale * a + s.origin for s, a in zip(samples, found, strict=True)])


def _answer_and_gradients(model: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """The prediction, and the gradients of all outputs of the model (some also predict their error)."""
    model.zero_grad()
    answer = as_answer(forward_with_error(model)(batch))
    loss: Tensor = torch.stack([part.double().square().sum() for part in answer.parts]).sum()
    loss.backward()
    return answer.com.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}
