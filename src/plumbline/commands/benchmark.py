"""``plumbline benchmark``: models and untrained baselines under stated conditions (ScanCoM)."""

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

import plumbline
from plumbline.config import BenchmarkConfig
from plumbline.console.terminal import make_console, print_line
from plumbline.console.text import seconds
from plumbline.data.prepare.output_folder import Plan, discard, finish, look, workplace
from plumbline.data.prepare.pool import write_chunks
from plumbline.data.prepare.sources import (
    Source,
    caster_name,
    cut,
    fingerprint,
    library_versions,
    list_sources,
)
from plumbline.data.split import num_marked, object_sizes
from plumbline.data.store.reader import PackedStore
from plumbline.data.store.tensors import atomic_file
from plumbline.data.store.writer import MANIFEST, read_part
from plumbline.errors import DamagedStoreError, InputError
from plumbline.evaluation.benchmark import (
    CONDITIONS,
    EDITION,
    OPTICS,
    SEED,
    Asked,
    Condition,
    best_baseline,
    figures,
    measure,
)
from plumbline.evaluation.benchmark_tables import markdown, print_result
from plumbline.evaluation.metrics import Errors
from plumbline.predictors.graph_form import GraphForm
from plumbline.predictors.untrained import BASELINES
from plumbline.records import Float, Int

NUMBERS, TABLES, SCANS = "scancom.json", "scancom.md", "scans"

_K = 16
"""Neighbours per point; more where a model was trained with more."""
_EDGES = {"edge_attr": "sh", "sh_degree": 2}


class _Model:
    """A checkpoint to be measured, as ``load_checkpoint`` reads it, and what the result says of it."""

    def __init__(self, trained: Any) -> None:
        self.trained, self.net = trained, trained.model
        self.form = GraphForm.of(trained.data, needs=self.net.needs, path=trained.path)
        self.name = trained.model_name

    @property
    def graphs(self) -> tuple[str, int]:
        """Frame and number of neighbours of the graphs that it can be measured on."""
        return self.form.normalise, max(_K, self.form.k or 0)

    def asked(self) -> Asked:
        """As it is measured."""
        import torch

        from plumbline.predictors.inference import predict

        device = "cuda" if torch.cuda.is_available() else "cpu"

        def answer(store: Any, indices: Int) -> Float:
            return predict(self.net, store, indices, device=device)

        return Asked(self.name, self.form, answer)

    def describe(self, objects: Mapping[str, float]) -> dict[str, Any]:
        """For the JSON."""
        marks = self.trained.data.objects
        return {
            "name": self.name,
            "path": str(self.trained.path),
            "model": self.trained.model_name,
            "symmetry": self.net.symmetry,
            "parameters": sum(weights.numel() for weights in self.net.parameters()),
            "objects_seen": None if marks is None else num_marked(marks, objects),
        }


def run(config: BenchmarkConfig, console: Console) -> int:
    """Prepare what is missing, measure, print, and write ``scancom.json`` and ``scancom.md``."""
    assert config.out is not None
    if (config.out / MANIFEST).exists():
        raise InputError(f"--out {config.out}: this is a data set; choose another folder")
    started = time.perf_counter()
    sources = list_sources(config.paths, config.solids, None)
    models = _load(config.checkpoint)
    screen = make_console(stderr=True) if config.json else console
    try:
        with _progress(screen, len(sources)) as bar:
            result = _measure(config, sources, models, bar)
        text = json.dumps(result, indent=1, allow_nan=False) + "\n"
        for name, content in ((NUMBERS, text), (TABLES, markdown(result))):
            with atomic_file(config.out / name) as file:
                file.write(content.encode("utf-8", "backslashreplace"))
    except KeyboardInterrupt:
        screen.print(
            f"stopped; the scans made so far are kept in {config.out / SCANS}: the same command goes on",
            markup=False,
            soft_wrap=True,
        )
        return 130
    except OSError as error:
        raise InputError(
            f"--out {config.out} cannot be written to ({error.strerror}); what is done is kept, and the same "
            "command goes on from there"
        ) from error
    if config.json:
        print(text, end="")
        return 0
    print_result(console, result)
    console.print()
    for label, name in (("numbers", NUMBERS), ("tables", TABLES)):
        print_line(console, f"{label:<9}{config.out / name}")
    console.print(f"time     {seconds(time.perf_counter() - started)}")
    return 0


def _load(given: Sequence[str]) -> list[_Model]:
    """The checkpoints, with names that tell them apart."""
    if not given:
        return []
    from plumbline.predictors.checkpoint import load_checkpoint
    from plumbline.predictors.find_checkpoint import find_best

    models = [_Model(load_checkpoint(find_best(Path(path)))) for path in given]
    count = Counter(model.name for model in models)
    for model in models:
        if count[model.name] > 1:
            model.name = f"{model.name} ({model.trained.path.resolve().parent.name})"
    count = Counter(model.name for model in models)
    for number, model in enumerate(models, 1):
        if count[model.name] > 1:
            model.name = f"{model.name} #{number}"
    return models


def _measure(
    config: BenchmarkConfig, sources: Sequence[Source], models: Sequence[_Model], bar: "_Bar"
) -> dict[str, Any]:
    """The whole result as plain values."""
    conditions: dict[str, dict[str, Any]] = {}
    rejected: dict[str, str] = {}
    objects: dict[str, float] = {}
    plain = ("unit", _K)
    caster = caster_name()
    for number, condition in enumerate(CONDITIONS, 1):
        bar.begin(number, condition)
        errors: dict[str, Errors] = {}
        scans = 0
        for graphs in dict.fromkeys([*(model.graphs for model in models), plain]):
            store = _scans(config, sources, condition, graphs, caster, bar)
            mine = [model.asked() for model in models if model.graphs == graphs]
            errors |= measure(store, mine, tuple(BASELINES) if graphs == plain else ())
            scans = len(store)
            objects |= object_sizes(store, np.arange(len(store)))
            rejected |= {item.source: item.reason for item in store.rejected}
        order = [*(model.name for model in models), *BASELINES]
        conditions[condition.name] = {
            **condition._asdict(),
            "scans": scans,
            "methods": {name: figures(errors[name]) for name in order},
        }
        bar.end(scans)
    kinds = Counter(source.kind for source in sources)
    return {
        "benchmark": f"ScanCoM {EDITION}",
        "version": plumbline.__version__,
        "libraries": library_versions() | {"scipy": scipy.__version__, "python": platform.python_version()},
        "caster": caster,
        "seed": SEED,
        "settings": {"samples": config.samples, "meshes": kinds["mesh"], "solids": kinds["solid"]},
        "inputs_sha256": fingerprint(sources),
        "objects": len(objects),
        "rejected": [{"source": source, "reason": reason} for source, reason in rejected.items()],
        "checkpoints": [model.describe(objects) for model in models],
        "best_baseline": best_baseline(conditions),
        "conditions": conditions,
    }


# ------------------------------------------------------------------------------------------------- scans


def _scans(
    config: BenchmarkConfig,
    sources: Sequence[Source],
    condition: Condition,
    graphs: tuple[str, int],
    caster: str,
    bar: "_Bar",
) -> PackedStore:
    """The packed store of one condition, made or finished if need be."""
    assert config.out is not None
    normalise, k = graphs
    kinds = Counter(source.kind for source in sources)
    suffix = "" if graphs == ("unit", _K) else f"-{normalise}-k{k}"
    out = config.out / SCANS / (condition.name + suffix)
    settings = {
        **{"target": "solid", "scale": 1.0, "samples": config.samples},
        **{name: (getattr(condition, name),) * 2 for name in ("views", "points", "noise")},
        **{"sampling": condition.sampling, "seed": SEED},
        **{"k": k, "normalise": normalise},
        **OPTICS,
    }
    plan: Plan = {
        "format": "packed",
        "settings": {**settings, **_EDGES, **condition._asdict(), "scancom": EDITION},
        "inputs": {
            **{"meshes": kinds["mesh"], "solids": kinds["solid"], "scans": 0},
            "sha256": fingerprint(sources),
        },
        "caster": caster,
        "version": plumbline.__version__,
        "libraries": library_versions(),
    }
    plan = json.loads(json.dumps(plan))  # as it is read back
    if look(out, plan) != "finished":
        _prepare(out, plan, sources, settings, config.workers, bar)
    return PackedStore.open(out)


def _prepare(
    out: Path, plan: Plan, sources: Sequence[Source], settings: dict[str, Any], workers: int, bar: "_Bar"
) -> None:
    with workplace(out, plan) as parts:
        chunks = cut(sources, {**settings, "caster": plan["caster"]}, parts)
        missing = [chunk for chunk in chunks if not _is_whole(chunk.path)]
        done = len(sources) - sum(len(chunk.sources) for chunk in missing)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with closing(
            write_chunks(missing, settings, workers=min(workers or cores, len(missing) or 1))
        ) as new:
            bar.show(done)
            for chunk, _ in new:
                done += len(chunk.sources)
                bar.show(done)
        found = [read_part(chunk.path) for chunk in chunks]
        if not any(len(part) for part in found):
            discard(out)
            reasons = [item for part in found for item in part.rejected]
            raise InputError(
                f"nothing is left to measure: all {len(sources):,} inputs were rejected (the first, "
                f"{reasons[0].source}: {reasons[0].reason})"
            )
        finish(out, chunks, plan, tick=lambda done, total: None)


def _is_whole(part: Path) -> bool:
    try:
        read_part(part)
    except (InputError, DamagedStoreError):
        return False
    return True


# ---------------------------------------------------------------------------------------------- progress


class _Bar(Protocol):
    def begin(self, number: int, condition: Condition) -> None:
        """A condition is looked at."""

    def show(self, done: int) -> None:
        """So many of its objects have their scans."""

    def end(self, scans: int) -> None:
        """It is measured."""


@contextmanager
def _progress(console: Console, total: int) -> Iterator[_Bar]:
    """A bar per condition on a terminal, else a line for each that is done."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("objects"),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        yield _RichBar(progress, total)


class _Lines:
    def __init__(self, console: Console) -> None:
        self.console = console

    def begin(self, number: int, condition: Condition) -> None:
        self.label, self.started = f"{number} of {len(CONDITIONS)}  {condition.title}", time.perf_counter()

    def show(self, done: int) -> None:
        pass

    def end(self, scans: int) -> None:
        took = seconds(time.perf_counter() - self.started)
        self.console.print(f"{self.label}: {scans:,} scans, {took}", markup=False)


class _RichBar:
    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total = progress, total
        self.task = progress.add_task("", total=total)

    def begin(self, number: int, condition: Condition) -> None:
        label = f"{number} of {len(CONDITIONS)}  {condition.title}"
        self.progress.reset(self.task, description=label, total=self.total, completed=0)

    def show(self, done: int) -> None:
        self.progress.update(self.task, completed=done)

    def end(self, scans: int) -> None:
        self.progress.update(self.task, completed=self.total)
