"""ScanCoM-Real: methods measured on real scans, and how much of their miss each step of reality adds.

Every scan is answered four times: *raw*, all its points; *cleaned*, as ``predict`` does by default; *oracle*,
only the points near the registered reference mesh; *twin*, what the same camera would see of that mesh.
"""

import json
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

import plumbline
from plumbline.console.text import counted, seconds
from plumbline.data.prepare.sources import caster_name, library_versions
from plumbline.data.split import num_marked
from plumbline.errors import InputError
from plumbline.evaluation.grids import markdown
from plumbline.evaluation.named_checkpoints import describe, load_named, told_apart
from plumbline.evaluation.real_figures import Answered, Misses, parts_of, refusals_of
from plumbline.evaluation.real_scans import WITHIN, KnownScan, RealScan, RealSet
from plumbline.evaluation.real_tables import ALL, COLUMNS, MEAN, page
from plumbline.evaluation.risk_coverage import Refusal
from plumbline.files import check_out_folder
from plumbline.predictors.looking import USUAL_DRAWS, Look, look_at, to_cloud
from plumbline.predictors.predictor import Predictor
from plumbline.predictors.untrained import BASELINES, Scans, names_of
from plumbline.records import Cloud, Float
from plumbline.reporting import Event, Reporter
from plumbline.writing import write_atomically

NUMBERS, TABLES = "scancom-real.json", "scancom-real.md"
EDITION = 1
"""Raised by one when a result could change for any reason other than the method or the scans."""


class Method(NamedTuple):
    """A method to measure.

    Attributes:
        name: its name in the tables.
        predictor: answers scans.
        trained: the checkpoint; None for an untrained baseline.
    """

    name: str
    predictor: Predictor
    trained: Any = None


@dataclass(frozen=True, slots=True)
class RealBenchmarkResult:
    """Result of a benchmark on real scans.

    Attributes:
        scans: ``scan``, ``object`` and ``group`` of each; ``miss``: method to its misses, as fractions of the
            radius, in the order of ``COLUMNS``: raw, cleaned, oracle, twin; and ``novelty`` likewise, of the
            methods that know it.
        checkpoints: the trained models: ``name``, ``path``, ``model``, ``symmetry``, ``parameters``,
            ``points``, how many are used of a scan, and ``objects_seen``, how many of the objects it was
            trained on (None if not recorded).
        seeds: name of a mean over several trainings to the names of its checkpoints.
        without: groups that the second table leaves out.
        methods: name of a method to its results on each part of the set: ``scans``, ``objects``, and for each
            of ``COLUMNS`` its figures: see :mod:`plumbline.evaluation.real_figures`.
        refusals: the same, for methods that know by what to refuse a scan, on the whole set and on what
            ``without`` leaves: the misses of cleaned scans if some are refused.
    """

    scans: tuple[dict[str, Any], ...]
    checkpoints: tuple[dict[str, Any], ...]
    seeds: dict[str, list[str]]
    without: tuple[str, ...]
    methods: dict[str, dict[str, dict[str, Any]]]
    refusals: dict[str, dict[str, Refusal]]

    def to_dict(self) -> dict[str, Any]:
        """The content of ``scancom-real.json``: plain values."""
        trained = {*self.seeds, *(one["name"] for one in self.checkpoints)}
        baselines = [name for name in self.methods if name not in trained]
        return {
            "benchmark": f"ScanCoM-Real {EDITION}",
            "version": plumbline.__version__,
            "libraries": library_versions()
            | {"scipy": scipy.__version__, "python": platform.python_version()},
            "caster": caster_name(),
            "settings": {"draws": USUAL_DRAWS, "within": WITHIN, "without": list(self.without)},
            "checkpoints": list(self.checkpoints),
            "seeds": self.seeds,
            "best_baseline": min(baselines, key=lambda name: self.methods[name][ALL]["cleaned"]["mean"]),
            "methods": self.methods,
            "refusals": {
                name: {part: curves.to_dict() for part, curves in found.items()}
                for name, found in self.refusals.items()
            },
            "scans": list(self.scans),
        }


def benchmark_real(
    folder: Path | str,
    checkpoints: Iterable[Path | str] = (),
    *,
    model: str | type | None = None,
    baselines: Iterable[str | Callable[[Scans], Float]] = (),
    without: Iterable[str] = (),
    out: Path | str,
    report: Callable[[Event], None] | None = None,
) -> RealBenchmarkResult:
    """Measure trained models and untrained baselines on real scans with known centres of mass (ScanCoM-Real).

    The result is written to ``out`` as ``scancom-real.json`` and ``scancom-real.md``. Nothing is printed.

    Args:
        folder: the set, see :mod:`plumbline.evaluation.real_scans`.
        checkpoints: trained models: files, or folders of runs, of which the best one is taken. Those of one
            network that were trained on the same data also get their mean.
        model: the class of a network of your own, if the checkpoints hold one, see
            :func:`plumbline.load_checkpoint`.
        baselines: your own baselines to measure as well: functions, ``"path/to/file.py:function"``, or
            :class:`plumbline.Baseline`.
        without: groups of the manifest that an additional table leaves out.
        out: the folder of the result.
        report: called with every :class:`plumbline.reporting.Event`, in the thread of the call.

    Raises:
        InputError: the set, the arguments or a checkpoint cannot be used, a scan cannot be answered, or
            ``out`` is not writable.
    """
    out, without, reporter = Path(out), tuple(without), Reporter(report)
    check_out_folder(out)
    real = RealSet(Path(folder))
    groups = sorted({scan.group for scan in real.scans})
    if unknown := [group for group in without if group not in groups]:
        raise InputError(f"--without {unknown[0]}: there is no such group; the set has {', '.join(groups)}")
    methods = _methods(checkpoints, model, names_of(baselines))
    try:
        out.mkdir(parents=True, exist_ok=True)
        result = _result(real, methods, without, reporter)
        plain = result.to_dict()
        numbers = json.dumps(plain, indent=1, allow_nan=False) + "\n"
        for name, text in ((NUMBERS, numbers), (TABLES, markdown(page(plain)))):
            write_atomically(out / name, text.encode("utf-8", "backslashreplace"))
    except BrokenPipeError:  # raised by a listener of the report
        raise
    except OSError as error:
        raise InputError(f"{out} cannot be written to ({error.strerror}); choose another --out") from error
    return result


def _methods(checkpoints: Iterable[Path | str], model: str | type | None, own: Sequence[str]) -> list[Method]:
    """The checkpoints, then all untrained baselines."""
    methods = []
    for name, trained in load_named(checkpoints, model):
        from plumbline.predictors.device import choose_device

        trained.model.to(choose_device("auto"))
        methods.append(Method(name, Predictor.trained(trained), trained))
    return methods + [Method(name, Predictor.untrained(name)) for name in (*BASELINES, *own)]


def _result(
    real: RealSet, methods: Sequence[Method], without: tuple[str, ...], report: Reporter
) -> RealBenchmarkResult:
    started = time.perf_counter()
    for scan in real.scans:  # all mistakes of the set are reported before the work begins
        real.load(scan)
    misses = _measure(real, methods, report)
    report.step(f"{counted(len(real.scans), 'scan')}, {seconds(time.perf_counter() - started)}")
    seeds = _seeds(methods)
    together = {name: [misses[one] for one in names] for name, names in seeds.items()}
    together |= {name: [found] for name, found in misses.items()}
    lengths = {name: found.miss for name, found in misses.items()}
    novelty = {name: found.novelty for name, found in misses.items() if found.knows_novelty}
    refusals = {name: refusals_of(real.scans, several, without) for name, several in together.items()}
    return RealBenchmarkResult(
        scans=tuple(
            {
                "scan": scan.name,
                "object": scan.object,
                "group": scan.group,
                "miss": {name: miss[:, i].tolist() for name, miss in lengths.items()},
                **(
                    {"novelty": {name: values[:, i].tolist() for name, values in novelty.items()}}
                    if novelty
                    else {}
                ),
            }
            for i, scan in enumerate(real.scans)
        ),
        checkpoints=tuple(_describe(one, misses[one.name], real.scans) for one in methods if one.trained),
        seeds=seeds,
        without=without,
        methods={name: parts_of(real.scans, several, without) for name, several in together.items()},
        refusals={name: found for name, found in refusals.items() if found},
    )


# -------------------------------------------------------------------------------------------- measuring


def _measure(real: RealSet, methods: Sequence[Method], report: Reporter) -> dict[str, Misses]:
    """Answer every scan with every method, and compare with the truth."""
    num = len(real.scans)
    said = {method.name: Answered.none(num) for method in methods}
    solid, shell, radius = np.empty((num, 3)), np.empty((num, 3)), np.empty(num)
    alike: dict[Any, list[Method]] = {}
    for method in methods:
        alike.setdefault((method.predictor.form, method.predictor.usual_points), []).append(method)
    for i, scan in enumerate(real.scans):
        known = real.load(scan)
        solid[i], shell[i], radius[i] = known.com, known.com_shell, known.radius
        try:
            clouds = _clouds(known)
            for (form, points), mine in alike.items():
                looks = [Look(None, points, USUAL_DRAWS, clean=name == "cleaned") for name in COLUMNS]
                seen = [look_at(cloud, None, look, form) for cloud, look in zip(clouds, looks, strict=True)]
                for method in mine:
                    for column, answer in enumerate(method.predictor.answers(seen)):
                        if isinstance(answer, InputError):
                            raise answer
                        said[method.name].add(column, i, answer)
        except InputError as error:
            raise InputError(f"{scan.where}: {error}") from error
        report.progress("scan", i + 1, len(real.scans))
    return {
        method.name: Misses.of(
            said[method.name],
            solid=solid,
            shell=shell,
            radius=radius,
            seen=_seen(method, real.scans, radius),
        )
        for method in methods
    }


def _clouds(known: KnownScan) -> list[Cloud]:
    """The four clouds of a scan, in the order of ``COLUMNS``. Raises InputError if it is not a scan."""
    raw = to_cloud(known.cloud, known.cloud.name)
    return [raw, raw, known.inliers, known.twin]


def _seen(method: Method, scans: Sequence[RealScan], radius: Float) -> NDArray[np.bool_]:
    """Which scans show an object of the training; by the manifest if the checkpoint does not tell."""
    marks = None if method.trained is None else method.trained.data.objects
    if marks is None:
        return np.array([scan.in_pool for scan in scans])
    sizes = zip(scans, radius.tolist(), strict=True)
    return np.array([num_marked(marks, {scan.object: size}) > 0 for scan, size in sizes])


def _describe(method: Method, misses: Misses, scans: Sequence[RealScan]) -> dict[str, Any]:
    recorded = method.trained.data.objects is not None
    seen = {scan.object for scan, was in zip(scans, misses.seen.tolist(), strict=True) if was}
    return {
        **describe(method.name, method.trained),
        "points": method.predictor.usual_points,
        "objects_seen": len(seen) if recorded else None,
    }


def _seeds(methods: Sequence[Method]) -> dict[str, list[str]]:
    """The checkpoints of one network that were trained on the same data, by the name of their mean."""
    same: dict[tuple[str, str], list[str]] = {}
    for method in methods:
        if method.trained is not None:
            key = (method.trained.model_name, method.trained.data.fingerprint)
            same.setdefault(key, []).append(method.name)
    several = [(MEAN.format(key[0], len(names)), names) for key, names in same.items() if len(names) > 1]
    return dict(zip(told_apart([name for name, _ in several]), [names for _, names in several], strict=True))
