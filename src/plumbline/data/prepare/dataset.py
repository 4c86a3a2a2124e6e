"""The pipeline from inputs to a data set, shared by ``prepare``, ``benchmark`` and the Python interface."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import plumbline
from plumbline.console.text import counted
from plumbline.data.prepare.input_report import InputReport, say_input_reports
from plumbline.data.prepare.limits import check_settings, without_effect
from plumbline.data.prepare.output_folder import Plan, clean, contents, discard, finish, look, workplace
from plumbline.data.prepare.pool import Workers
from plumbline.data.prepare.sources import (
    GENERATOR,
    Chunk,
    Source,
    caster_name,
    cut,
    fingerprint,
    library_versions,
    list_sources,
)
from plumbline.data.store.writer import read_part
from plumbline.errors import InputError
from plumbline.records import GraphSettings, Rejected, ScanSettings
from plumbline.reporting import Event, Reporter, scans_per_second


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """Content of a data set, and the work done to make it.

    Attributes:
        out: folder of the data set.
        inputs: number of meshes, built-in solids and real scans that it was made from.
        objects: number of distinct objects.
        scans: number of samples, each a labelled graph.
        points, views: totals over all scans.
        rejected: inputs that are not in the data set, and why.
        meshes, with_densities: number of meshes among the inputs, and of those whose bodies have densities.
        size: bytes on disk.
        finished_already: the data set was already complete, and nothing was done.
        new_scans: scans made by this call; the others were made by an earlier call that was stopped.
        seconds: duration of the call.
        scans_per_second: rate at which new scans were made; 0 if there were none.
    """

    out: Path
    inputs: int
    objects: int
    scans: int
    points: int
    views: int
    rejected: tuple[Rejected, ...]
    size: int
    meshes: int = 0
    with_densities: int = 0
    finished_already: bool = False
    new_scans: int = 0
    seconds: float = 0.0
    scans_per_second: float = 0.0


class AllRejectedError(InputError):
    """Every input was rejected.

    Attributes:
        rejected: the inputs, and why each was rejected.
    """

    def __init__(self, rejected: Sequence[Rejected]) -> None:
        which = "the only input was" if len(rejected) == 1 else f"all {len(rejected):,} inputs were"
        first = f"{'' if len(rejected) == 1 else 'the first is '}{rejected[0].source}: {rejected[0].reason}"
        super().__init__(f"there is nothing to prepare: {which} rejected ({first})")
        self.rejected = tuple(rejected)


def make_dataset(
    out: Path | str,
    meshes: Path | str | Iterable[Path | str] = (),
    *,
    solids: int = 0,
    labels: Path | str | None = None,
    densities: Path | str | None = None,
    scan: ScanSettings | None = None,
    graph: GraphSettings | None = None,
    format: str = "packed",
    workers: int = 0,
    scheduler: str | None = None,
    report: Callable[[Event], None] | None = None,
) -> DatasetSummary:
    """Make a data set of labelled graphs, or finish an unfinished one. A finished one is left as it is.

    The bytes depend on inputs and settings alone, not on the number of processes or the folders.
    Ctrl-C (KeyboardInterrupt) passes through; finished work is kept, and the same call resumes from there.
    Nothing is printed. Safe to call again and from any thread; concurrent calls need different folders.

    Args:
        out: the folder: missing, empty, or from an earlier call with the same inputs and settings.
        meshes: mesh files, or folders that are searched for them.
        solids: number of built-in solids to add.
        labels: real scans, as a CSV file with ``file, com_x, com_y, com_z`` and, if known, ``object_name``,
            ``sensor_x, sensor_y, sensor_z`` and ``bounding_radius``, metres.
        densities: of the named bodies of meshes, as a CSV file with ``body, density`` and, if it is not about
            every mesh, ``file``; kilograms per cubic metre. Meshes that it is not about are uniform.
        scan: how objects are scanned; by default as in ``plumbline prepare``.
        graph: how scans become graphs; by default as in ``plumbline prepare``.
        format: ``"packed"``, one memory-mapped store; ``"pt"``, the documented folder of ``.pt`` files.
        workers: number of processes; 0 for one per core.
        scheduler: address of the scheduler of a Dask cluster that does the work instead of processes on this
            machine, such as ``"tcp://node1:8786"``. Its workers must have the same versions and see inputs
            and ``out`` under the same paths.
        report: called with every :class:`plumbline.reporting.Event`, in the thread of the call.

    Raises:
        InputError: the arguments are invalid, an input does not exist, every input is rejected, ``out`` holds
            something else or is not writable, or the cluster cannot be used or is lost.
    """
    scan, graph = scan or ScanSettings(), graph or GraphSettings()
    others = {} if scheduler is None else {"scheduler": scheduler}
    check_settings(scan, graph, solids=solids, workers=workers, format=format, **others)
    if densities is not None and scan.target == "shell":
        raise InputError("densities: a shell has none; leave out the densities or target shell")
    with Workers(workers, scheduler=scheduler) as pool:
        sources = list_sources(meshes, solids, labels, densities)
        if not sources:
            raise InputError("there is nothing to prepare: give meshes, a number of solids, or labels")
        if scan.density == "parts" and not solids:
            raise InputError("density parts: only built-in solids have known parts; give a number of solids")
        settings = recorded(scan, graph)
        if labels is None:
            del settings["clean"]  # it applies to real scans only, and older data sets do not record it
        plan = make_plan(sources, settings, format)
        reporter = Reporter(report)
        for sentence in without_effect(scan):
            reporter.say(sentence)
        return prepare(Path(out), sources, scan, graph, plan=plan, pool=pool, report=reporter)


def recorded(scan: ScanSettings, graph: GraphSettings) -> dict[str, Any]:
    """Settings as a data set records them: ranges as text, a single value of points or noise as a number."""
    settings: dict[str, Any] = {item.name: getattr(scan, item.name) for item in fields(scan)}
    settings |= {"views": str(scan.views), "distance": str(scan.distance)}
    settings["points"] = int(scan.points.low) if scan.points.is_one else str(scan.points)
    settings["noise"] = float(scan.noise.low) if scan.noise.is_one else str(scan.noise)
    if not scan.solid_samples:
        del settings["solid_samples"]
    if scan.density == "uniform":  # older data sets do not record it
        del settings["density"]
    if scan.sensor_model == "none":  # nor this
        del settings["sensor_model"], settings["sensor_share"]
    seed = settings.pop("seed")
    return {**settings, **asdict(graph), "seed": seed}


def make_plan(sources: Sequence[Source], settings: Mapping[str, Any], layout: str) -> Plan:
    """Plan of a data set: everything that determines it, recorded and compared with that of a later call."""
    count = Counter(source.kind for source in sources)
    weighed = _count_weighed(sources)
    return {
        "format": layout,
        "settings": dict(settings),
        "inputs": {
            "meshes": count["mesh"],
            **({"meshes_with_densities": weighed} if weighed else {}),  # older data sets do not record it
            "solids": count["solid"],
            "scans": count["scan"],
            "sha256": fingerprint(sources),
        },
        "caster": caster_name(),
        "version": plumbline.__version__,
        "libraries": library_versions(),
        "generator": GENERATOR,
    }


def prepare(
    out: Path,
    sources: Sequence[Source],
    scan: ScanSettings,
    graph: GraphSettings,
    *,
    plan: Plan,
    pool: Workers,
    report: Reporter,
) -> DatasetSummary:
    """Make or finish the data set of a plan (:func:`make_plan`); see :func:`make_dataset`."""
    started = time.perf_counter()
    if look(out, plan) == "finished":
        return _finished_already(out, sources, plan)
    with workplace(out, plan) as parts:
        if look(out, plan) == "finished":  # another process finished it since the first look
            return _finished_already(out, sources, plan)
        chunks = cut(sources, scan, graph, caster=plan["caster"], folder=parts)
        try:
            new_scans, scanning = _write_missing(chunks, scan, graph, out, pool, report)
            _refuse_nothing(out, chunks)
            finish(out, chunks, plan, tick=_file_counter(report))
        except KeyboardInterrupt:
            done = sum(len(chunk.sources) for chunk in chunks if chunk.path.exists())
            report.say(
                f"stopped; {done} of {counted(len(sources), _unit(sources))} done and kept in {parts}: "
                "run the same command again to resume"
            )
            raise
        except BrokenPipeError:  # raised by a listener of the report
            raise
        except OSError as error:
            raise InputError(
                f"{out} cannot be written to ({error.strerror}); finished work is kept: "
                "run the same command again to resume"
            ) from error
    return replace(
        _summary(out, sources, plan),
        new_scans=new_scans,
        seconds=time.perf_counter() - started,
        scans_per_second=new_scans / scanning if new_scans else 0.0,
    )


def _finished_already(out: Path, sources: Sequence[Source], plan: Plan) -> DatasetSummary:
    clean(out)
    return replace(_summary(out, sources, plan), finished_already=True)


def _summary(out: Path, sources: Sequence[Source], plan: Plan) -> DatasetSummary:
    meshes = plan["inputs"]["meshes"]
    return DatasetSummary(out, len(sources), *contents(out, plan["format"]), meshes, _count_weighed(sources))


def _count_weighed(sources: Sequence[Source]) -> int:
    """Count the meshes whose bodies have densities."""
    return sum(bool(source.densities) for source in sources)


def _write_missing(
    chunks: Sequence[Chunk],
    scan: ScanSettings,
    graph: GraphSettings,
    out: Path,
    pool: Workers,
    report: Reporter,
) -> tuple[int, float]:
    """Write the parts that are missing. Returns the number of new scans and the seconds they took."""
    sources = [source for chunk in chunks for source in chunk.sources]
    missing = [chunk for chunk in chunks if not _is_whole(chunk)]
    done = len(sources) - sum(len(chunk.sources) for chunk in missing)
    report.say(f"preparing {_kinds(sources)} in {out} with {pool.title(len(missing))}")
    objects = [source.name for source in sources if source.kind == "scan"]
    if len(objects) > 1 and len(set(objects)) == len(objects):
        report.say(
            "  every real scan counts as a separate object; if several show the same object, give them the "
            "same object_name, or it may be in both training and validation"
        )
    if done:
        report.say(f"  {done:,} {'is' if done == 1 else 'are'} already done")
    started, new_scans = time.perf_counter(), 0
    inputs: list[InputReport] = []
    unit = _unit(sources)
    report.progress(unit, done, len(sources))
    with closing(pool.write(missing, scan, graph)) as finished:
        for chunk, written in finished:
            done += len(chunk.sources)
            new_scans += written.num_samples
            inputs += written.inputs
            rate = new_scans / (time.perf_counter() - started)
            report.progress(unit, done, len(sources), scans_per_second(rate))
    seconds = time.perf_counter() - started
    say_input_reports(inputs, report)
    return new_scans, seconds


def _unit(sources: Sequence[Source]) -> str:
    """What a number of inputs counts, in the singular; several real scans may show one object."""
    return "scan" if all(source.kind == "scan" for source in sources) else "object"


def _is_whole(chunk: Chunk) -> bool:
    """Whether the part exists and is whole; a damaged one is made again."""
    try:
        read_part(chunk.path)
    except InputError:
        return False
    return True


def _kinds(sources: Sequence[Source]) -> str:
    names = {
        "mesh": ("mesh", "meshes"),
        "solid": ("built-in solid", "built-in solids"),
        "scan": ("real scan", "real scans"),
    }
    count: Counter[str] = Counter(source.kind for source in sources)
    return ", ".join(f"{count[kind]:,} {names[kind][count[kind] > 1]}" for kind in names if count[kind])


def _refuse_nothing(out: Path, chunks: Sequence[Chunk]) -> None:
    """Raise AllRejectedError if the parts hold no sample, and remove them."""
    parts = [read_part(chunk.path) for chunk in chunks]
    if not any(len(part) for part in parts):
        discard(out)
        raise AllRejectedError([item for part in parts for item in part.rejected])


def _file_counter(report: Reporter) -> Callable[[int, int], None]:
    started = time.perf_counter()

    def tick(done: int, total: int) -> None:
        report.progress("file", done, total, f"{done / (time.perf_counter() - started):.0f} files/s")

    return tick
