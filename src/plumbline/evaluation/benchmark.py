"""ScanCoM, a benchmark of methods that find centres of mass.

The conditions are fixed, so that others can compare. The measure is the displacement as a fraction of the
object's bounding radius.
"""

import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy

import plumbline
from plumbline.console.text import counted, seconds
from plumbline.data.prepare.dataset import AllRejectedError, make_plan, prepare
from plumbline.data.prepare.limits import check_settings
from plumbline.data.prepare.pool import Workers
from plumbline.data.prepare.sources import Source, caster_name, fingerprint, library_versions, list_sources
from plumbline.data.split import num_marked, object_sizes
from plumbline.data.store.reader import Gathered, PackedStore
from plumbline.data.store.tensors import offsets
from plumbline.data.store.writer import MANIFEST
from plumbline.errors import InputError
from plumbline.evaluation.benchmark_tables import page
from plumbline.evaluation.conditions import CONDITIONS, EDITION, MAIN, SEED, Condition, recorded
from plumbline.evaluation.grids import markdown
from plumbline.evaluation.metrics import Errors, errors_on, refuse_nonfinite, summarise_errors
from plumbline.evaluation.named_checkpoints import describe, load_named
from plumbline.evaluation.payload import network_payload, summarise_payload
from plumbline.files import check_out_folder
from plumbline.predictors.answers import Answers
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.untrained import BASELINES, Scans, baseline_predictions, names_of
from plumbline.records import Float, GraphSettings, Int, Rejected
from plumbline.reporting import Event, Reporter
from plumbline.writing import write_atomically

NUMBERS, TABLES, SCANS = "scancom.json", "scancom.md", "scans"
SHARES = (0.05, 0.1)
"""Displacements, as fractions of the bounding radius, below which scans are counted."""
_PLAIN = GraphSettings(k=16, edge_attr="sh", sh_degree=2, normalise="unit")
"""Graphs of the baselines and most models; some models need more neighbours or another frame."""


class Asked(NamedTuple):
    """A trained model to measure.

    Attributes:
        name: its name in the tables.
        form: the graphs that it takes.
        answer: ``answer(store, indices)`` returns predictions in the stored frame, for a store of graphs of
            that form.
    """

    name: str
    form: GraphForm
    answer: Callable[[Any, Int], Answers]


class AsTrained:
    """A view of a store with the features, vectors and neighbours that a model was trained with.

    Args:
        store: a store with all features and vectors, and at least as many neighbours.
        form: the graphs that the model takes.
    """

    has_point_cloud = False

    def __init__(self, store: PackedStore, form: GraphForm) -> None:
        self._store = store
        self._columns = [store.feature_names.index(name) for name in form.feature_names]
        # A table that the scans do not know is zero, as in training.
        names = (*store.vector_names, *({"table"} - set(store.vector_names)))
        self._rows = [names.index(name) for name in form.vector_names]
        self.feature_names, self.vector_names = form.feature_names, form.vector_names
        self.leaders, self.k = form.leaders, form.k
        # Batches reserve space for the edges of the store, which has at least as many.
        self.node_ptr, self.edge_ptr = store.node_ptr, store.edge_ptr

    def __len__(self) -> int:
        return len(self._store)

    def gather(self, indices: Int) -> Gathered:
        """Like :meth:`PackedStore.gather`, but keep only the ``k`` nearest neighbours of every node."""
        found = self._store.gather(indices)
        unknown = np.zeros((len(indices), 1, 3), found.vectors.dtype)
        vectors = np.concatenate([found.vectors, unknown], axis=1)[:, self._rows]
        found = found._replace(node_features=found.node_features[:, self._columns], vectors=vectors)
        if self.k is None or self.k == self._store.k:
            return found
        first = np.cumsum(found.in_degree) - found.in_degree
        kept = np.arange(len(found.edge_source)) - np.repeat(first, found.in_degree) < self.k
        degree = np.minimum(found.in_degree, self.k)
        return found._replace(
            in_degree=degree,
            edge_source=found.edge_source[kept],
            edge_ptr=offsets(degree)[found.node_ptr],
        )


def measure(
    store: PackedStore, asked: Sequence["Asked | _Model"], baselines: Sequence[str]
) -> dict[str, Errors]:
    """Errors of models and untrained baselines on all graphs of a store, by name.

    Raises:
        InputError: a prediction is not finite, or a baseline of the user fails.
    """
    return compare(store, ask(store, asked), baselines)


def ask(store: PackedStore, asked: Sequence["Asked | _Model"]) -> dict[str, Answers]:
    """The answers of models for all graphs of a store, by name."""
    everything = np.arange(len(store))
    return {one.name: one.answer(AsTrained(store, one.form), everything) for one in asked}


def compare(
    store: PackedStore, answers: Mapping[str, Answers], baselines: Sequence[str]
) -> dict[str, Errors]:
    """As :func:`measure`, with the answers of :func:`ask`."""
    everything = np.arange(len(store))
    com = {name: answer.com for name, answer in answers.items()}
    refuse_nonfinite(com, everything, trained=True)
    if baselines:
        com |= baseline_predictions(store, everything, baselines).predictions
        refuse_nonfinite(com, everything, trained=False)
    return errors_on(store, everything, com)


def figures(errors: Errors) -> dict[str, Any]:
    """Results of one method under one condition, as fractions of the bounding radius, as plain values."""
    return {
        **summarise_errors(errors.error_rel, errors.objects).to_dict(),
        **{f"below_{share:g}": float((errors.error_rel < share).mean()) for share in SHARES},
        "sources": {
            group: {
                "objects": len(np.unique(part.objects)),
                "n": len(part),
                "mean": float(part.error_rel.mean()),
            }
            for group, part in errors.by_group().items()
        },
    }


def best_baseline(conditions: Mapping[str, Mapping[str, Any]], trained: Container[str]) -> str:
    """The untrained baseline with the smallest mean error over the main conditions, equally weighted.

    Args:
        conditions: condition name to its part of the result.
        trained: names of the methods that are trained models.
    """
    rows = [conditions[condition.name]["methods"] for condition in MAIN]
    names = [name for name in rows[0] if name not in trained]
    return min(names, key=lambda name: sum(row[name]["mean"] for row in rows))


# ---------------------------------------------------------------------------------------- the benchmark


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """Result of a benchmark.

    Attributes:
        samples: scans per object and condition.
        meshes, solids: number of inputs of each kind.
        inputs_sha256: hash of the inputs, independent of where their files lie.
        caster: the ray caster that was used.
        objects: number of distinct objects measured.
        rejected: inputs that were left out, and why.
        checkpoints: the trained models: ``name``, ``path``, ``model``, ``symmetry``, ``parameters``, and
            ``objects_seen``, how many of these objects it was trained on (None if not recorded).
        conditions: name of a condition to its ``views``, ``noise``, ``points`` and ``sampling``, the number
            of ``scans``, and ``methods``: name of a model or baseline to its results, see :func:`figures`;
            and ``payload``, see :meth:`PayloadTable.to_dict`, if a model predicts volume and inertia.
    """

    samples: int
    meshes: int
    solids: int
    inputs_sha256: str
    caster: str
    objects: int
    rejected: tuple[Rejected, ...]
    checkpoints: tuple[dict[str, Any], ...]
    conditions: dict[str, dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """The content of ``scancom.json``: plain values."""
        return {
            "benchmark": f"ScanCoM {EDITION}",
            "version": plumbline.__version__,
            "libraries": library_versions()
            | {"scipy": scipy.__version__, "python": platform.python_version()},
            "caster": self.caster,
            "seed": SEED,
            "settings": {"samples": self.samples, "meshes": self.meshes, "solids": self.solids},
            "inputs_sha256": self.inputs_sha256,
            "objects": self.objects,
            "rejected": [{"source": item.source, "reason": item.reason} for item in self.rejected],
            "checkpoints": list(self.checkpoints),
            "best_baseline": best_baseline(self.conditions, [one["name"] for one in self.checkpoints]),
            "conditions": self.conditions,
        }


def benchmark(
    checkpoints: Iterable[Path | str] = (),
    *,
    model: str | type | None = None,
    baselines: Iterable[str | Callable[[Scans], Float]] = (),
    meshes: Path | str | Iterable[Path | str] = (),
    solids: int = 0,
    samples: int = 2,
    out: Path | str,
    workers: int = 0,
    scheduler: str | None = None,
    report: Callable[[Event], None] | None = None,
) -> BenchmarkResult:
    """Measure trained models and untrained baselines under the conditions of ScanCoM.

    The scans of each condition are made once and kept in ``out``, next to the result as ``scancom.json`` and
    ``scancom.md``. Ctrl-C (KeyboardInterrupt) passes through; the scans made so far are kept. Nothing is
    printed.

    Args:
        checkpoints: trained models: files, or folders of runs, of which the best one is taken.
        model: the class of a network of your own, if the checkpoints hold one, see
            :func:`plumbline.load_checkpoint`.
        baselines: your own baselines to measure as well: functions, ``"path/to/file.py:function"``, or
            :class:`plumbline.Baseline`.
        meshes: mesh files, or folders that are searched for them.
        solids: number of built-in solids to add.
        samples: scans per object and condition.
        out: the folder of scans and result.
        workers: number of processes that scan; 0 for one per core.
        scheduler: of a Dask cluster that scans instead, see :func:`plumbline.make_dataset`.
        report: called with every :class:`plumbline.reporting.Event`, in the thread of the call.

    Raises:
        InputError: the arguments are invalid, an input or checkpoint does not exist or cannot be used,
            ``out`` holds something else or is not writable, or the cluster cannot be used or is lost.
    """
    out = Path(out)
    check_out_folder(out)
    others = {} if scheduler is None else {"scheduler": scheduler}
    check_settings(MAIN[0].settings(samples), _PLAIN, solids=solids, workers=workers, **others)
    if (out / MANIFEST).exists():
        raise InputError(f"{out} is a data set; choose another folder")
    reporter = Reporter(report)
    sources = list_sources(meshes, solids)
    if not sources:
        raise InputError("there is nothing to measure on: give meshes or a number of solids")
    guesses = (*BASELINES, *names_of(baselines))
    models = [_Model(*named) for named in load_named(checkpoints, model)]
    try:
        with Workers(workers, scheduler=scheduler) as pool:
            result = _Benchmark(out, sources, models, guesses, samples, pool, reporter).run()
        plain = result.to_dict()
        numbers = json.dumps(plain, indent=1, allow_nan=False) + "\n"
        for name, text in ((NUMBERS, numbers), (TABLES, markdown(page(plain)))):
            write_atomically(out / name, text.encode("utf-8", "backslashreplace"))
    except KeyboardInterrupt:
        reporter.say(
            f"stopped; the scans made so far are kept in {out / SCANS}: run the same command again to resume"
        )
        raise
    except BrokenPipeError:  # raised by a listener of the report
        raise
    except OSError as error:
        raise InputError(
            f"{out} cannot be written to ({error.strerror}); finished work is kept: run the same "
            "command again to resume"
        ) from error
    return result


def _payload(store: PackedStore, answers: Mapping[str, Answers]) -> list[dict[str, Any]]:
    """Measure volume and inertia; nothing if no model predicts them."""
    found = {name: network_payload(answer) for name, answer in answers.items()}
    known = {name: payload for name, payload in found.items() if payload is not None}
    return [summarise_payload(store, np.arange(len(store)), known).to_dict()] if known else []


class _Model:
    """A checkpoint to measure, as loaded by ``load_checkpoint``, and its description in the result."""

    def __init__(self, name: str, trained: Any) -> None:
        self.name, self.trained, self.net = name, trained, trained.model
        self.form = GraphForm.of(trained.data, needs=self.net.needs, path=trained.path)

    @property
    def graphs(self) -> GraphSettings:
        """Settings of graphs that the model can be measured on."""
        return replace(_PLAIN, normalise=self.form.normalise, k=max(_PLAIN.k, self.form.k or 0))

    def answer(self, store: Any, indices: Int) -> Answers:
        """See :class:`Asked`."""
        from plumbline.predictors.device import choose_device
        from plumbline.predictors.inference import answers_for

        return answers_for(self.net, store, indices, device=choose_device("auto"))

    def describe(self, objects: Mapping[str, float]) -> dict[str, Any]:
        """The entry of the model in the result; ``objects``: the objects of the benchmark."""
        marks = self.trained.data.objects
        seen = None if marks is None else num_marked(marks, objects)
        return {**describe(self.name, self.trained), "objects_seen": seen}


@dataclass
class _Benchmark:
    """One run over all conditions."""

    out: Path
    sources: Sequence[Source]
    models: Sequence[_Model]
    baselines: Sequence[str]
    samples: int
    pool: Workers
    report: Reporter

    def run(self) -> BenchmarkResult:
        conditions: dict[str, dict[str, Any]] = {}
        rejected: dict[str, Rejected] = {}
        objects: dict[str, float] = {}
        for number, condition in enumerate(CONDITIONS, 1):
            title, started = f"{number} of {len(CONDITIONS)}  {condition.title}", time.perf_counter()
            errors: dict[str, Errors] = {}
            payloads: list[dict[str, Any]] = []
            scans = 0
            for graphs in dict.fromkeys([*(model.graphs for model in self.models), _PLAIN]):
                store = self._scans(condition, graphs, title)
                mine = [model for model in self.models if model.graphs == graphs]
                answers = ask(store, mine)
                errors |= compare(store, answers, self.baselines if graphs == _PLAIN else ())
                payloads += _payload(store, answers)
                scans = len(store)
                objects |= object_sizes(store, np.arange(len(store)))
                rejected |= {item.source: item for item in store.rejected}
            order = [*(model.name for model in self.models), *self.baselines]
            conditions[condition.name] = {
                **condition._asdict(),
                "scans": scans,
                "methods": {name: figures(errors[name]) for name in order},
            }
            if payloads:
                found = {name: row for one in payloads for name, row in one["methods"].items()}
                rows = {name: found[name] for name in order if name in found}
                conditions[condition.name]["payload"] = payloads[0] | {"methods": rows}
            took = seconds(time.perf_counter() - started)
            self.report.step(f"{title}: {counted(scans, 'scan')}, {took}")
        kinds = Counter(source.kind for source in self.sources)
        return BenchmarkResult(
            samples=self.samples,
            meshes=kinds["mesh"],
            solids=kinds["solid"],
            inputs_sha256=fingerprint(self.sources),
            caster=caster_name(),
            objects=len(objects),
            rejected=tuple(rejected.values()),
            checkpoints=tuple(model.describe(objects) for model in self.models),
            conditions=conditions,
        )

    def _scans(self, condition: Condition, graphs: GraphSettings, title: str) -> PackedStore:
        """Make or finish the packed store of one condition, and open it."""
        suffix = "" if graphs == _PLAIN else f"-{graphs.normalise}-k{graphs.k}"
        out = self.out / SCANS / (condition.name + suffix)
        settings = condition.settings(self.samples)
        plan = make_plan(self.sources, recorded(condition, settings, graphs), "packed")

        def progress(event: Event) -> None:
            if event.kind == "progress":
                self.report.progress(event.text, event.done, event.total, event.rate)

        try:
            with self.report.phase(title):
                prepare(
                    out, self.sources, settings, graphs, plan=plan, pool=self.pool, report=Reporter(progress)
                )
        except AllRejectedError as error:
            first = error.rejected[0]
            raise InputError(
                f"there is nothing to measure: all {len(self.sources):,} inputs were rejected (the first is "
                f"{first.source}: {first.reason})"
            ) from error
        return PackedStore.open(out)
