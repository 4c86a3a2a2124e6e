"""``plumbline prepare``: meshes, built-in solids or real scans become a data set of labelled graphs."""

import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

import plumbline
from plumbline.config import PrepareConfig, parse_range
from plumbline.console.terminal import print_line
from plumbline.console.text import command, seconds
from plumbline.data.prepare.output_folder import PT_METADATA, Plan, clean, discard, finish, look, workplace
from plumbline.data.prepare.pool import write_chunks
from plumbline.data.prepare.sources import (
    Chunk,
    Source,
    caster_name,
    cut,
    fingerprint,
    library_versions,
    list_sources,
)
from plumbline.data.store.writer import MANIFEST, read_part
from plumbline.errors import InputError
from plumbline.records import Rejected

_PLAIN_EVERY = 10.0
"""Seconds between two lines of progress when the output is not a terminal."""
_SHOWN = 10
"""Rejected inputs that are listed at the end; the rest are counted."""
_FLAGS = (
    "target", "scale", "samples", "solid_samples", "views", "points", "sampling", "pattern", "rays",
    "distance", "noise", "grazing", "pose_error", "rotate", "k", "edge_attr", "sh_degree", "normalise",
    "seed",
)  # fmt: skip
"""What determines the data, beside the inputs."""


def run(config: PrepareConfig, console: Console) -> int:
    """Make the data set, or go on with it, or say that it is there. Returns the exit code."""
    assert config.out is not None
    started = time.perf_counter()
    sources = list_sources(config.paths, config.solids, config.labels)
    plan = _plan(config, sources)
    if look(config.out, plan) == "finished":
        return _leave(config.out, console)
    with workplace(config.out, plan) as parts:
        if look(config.out, plan) == "finished":  # by another process since the first look
            return _leave(config.out, console)
        settings = keywords(config)
        chunks = cut(sources, {**settings, "caster": plan["caster"]}, parts)
        try:
            num_new, scanning = _scan(config, console, sources, chunks, settings)
            outcome = _Outcome(chunks)
            if not outcome.scans:
                discard(config.out)
                _say_rejected(console, outcome.rejected, config.out, config.format, listed=False)
                which = "the only input was" if len(sources) == 1 else f"all {len(sources):,} inputs were"
                raise InputError(f"nothing is left to prepare: {which} rejected")
            with _progress(console, "file", "files/s") as bar:
                finish(config.out, chunks, plan, tick=lambda done, total: bar.show(done, total, done))
        except KeyboardInterrupt:
            finished = sum(len(chunk.sources) for chunk in chunks if chunk.path.exists())
            print_line(
                console,
                f"stopped; {finished} of {_count(len(sources), 'object')} done and kept in {parts}: "
                "the same command goes on from there",
            )
            return 130
        except OSError as error:
            raise InputError(
                f"--out {config.out} cannot be written to ({error.strerror}); what is done is kept, "
                "and the same command goes on from there"
            ) from error
    outcome.say(console, config, sources)
    rate = f", {num_new / scanning:.0f} scans/s" if num_new else ""
    print_line(console, f"  time      {seconds(time.perf_counter() - started)}{rate}")
    _say_next(console, config.out)
    return 0


def _leave(out: Path, console: Console) -> int:
    """Leaves a finished data set as it is."""
    clean(out)
    print_line(console, f"{out} is finished already, made from the same input with the same settings")
    _say_next(console, out)
    return 0


def _plan(config: PrepareConfig, sources: Sequence[Source]) -> Plan:
    """What determines the data set: recorded in it, and compared when the command runs again."""
    count = Counter(source.kind for source in sources)
    return {
        "format": config.format,
        "settings": _recorded(config),
        "inputs": {
            "meshes": count["mesh"],
            "solids": count["solid"],
            "scans": count["scan"],
            "sha256": fingerprint(sources),
        },
        "caster": caster_name(),
        "version": plumbline.__version__,
        "libraries": library_versions(),
    }


def _recorded(config: PrepareConfig) -> dict[str, Any]:
    """The flags as the data set records them: what may be a range is a number where it is just one."""
    settings = {flag: getattr(config, flag) for flag in _FLAGS}
    if not config.solid_samples:
        del settings["solid_samples"]
    drawn = keywords(config)
    return settings | {flag: drawn[flag][0] for flag in ("points", "noise") if len(set(drawn[flag])) == 1}


def keywords(config: PrepareConfig) -> dict[str, Any]:
    """The flags that decide what a part holds, as keywords of ``make_samples``."""
    views, points = (parse_range(getattr(config, flag), flag, whole=True) for flag in ("views", "points"))
    return {
        "target": config.target,
        "scale": config.scale,
        "samples": config.samples,
        **({"solid_samples": config.solid_samples} if config.solid_samples else {}),
        "views": (int(views[0]), int(views[1])),
        "points": (int(points[0]), int(points[1])),
        "sampling": config.sampling,
        "pattern": config.pattern,
        "num_rays": config.rays,
        "distance": parse_range(config.distance, "distance", whole=False),
        "noise": parse_range(config.noise, "noise", whole=False, zero=True),
        "dropout_grazing": math.radians(config.grazing),
        "pose_error": (math.radians(config.pose_error), config.pose_error / 100),
        "rotate": config.rotate,
        "k": config.k,
        "normalise": config.normalise,
        "seed": config.seed,
    }


def _scan(
    config: PrepareConfig,
    console: Console,
    sources: Sequence[Source],
    chunks: Sequence[Chunk],
    settings: dict[str, Any],
) -> tuple[int, float]:
    """Writes the parts that are missing. Returns the number of new scans and the seconds they took."""
    missing = [chunk for chunk in chunks if not _is_done(chunk)]
    num_missing = sum(len(chunk.sources) for chunk in missing)
    workers = min(config.workers or _num_cores(), len(missing) or 1)
    processes = "1 process" if workers == 1 else f"{workers} processes"
    print_line(console, f"preparing {_kinds(sources)} in {config.out} with {processes}")
    objects = [source.name for source in sources if source.kind == "scan"]
    if len(objects) > 1 and len(set(objects)) == len(objects):
        print_line(
            console, "  every real scan counts as an object of its own; where several show one object,"
        )
        print_line(console, "  give them the same object_name, or training and validation share it")
    if num_missing < len(sources):
        done = len(sources) - num_missing
        print_line(console, f"  {done:,} {'is' if done == 1 else 'are'} done already")
    started, num_new, done = time.perf_counter(), 0, len(sources) - num_missing
    with (
        _progress(console, "object", "scans/s") as bar,
        closing(write_chunks(missing, settings, workers=workers)) as finished,
    ):
        bar.show(done, len(sources), 0)
        for chunk, num_samples in finished:
            done += len(chunk.sources)
            num_new += num_samples
            bar.show(done, len(sources), num_new)
    return num_new, time.perf_counter() - started


def _num_cores() -> int:
    """Cores that this process may use; a job on a shared machine often has few of many."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_done(chunk: Chunk) -> bool:
    """Whether the part is there and whole; a damaged one is made again."""
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


# ---------------------------------------------------------------------------------------------- the end


class _Outcome:
    """What became of the inputs, added up over the parts."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.scans = self.points = self.views = 0
        self.rejected: list[Rejected] = []
        names: set[str] = set()
        for chunk in chunks:
            part = read_part(chunk.path)
            self.scans += len(part)
            self.points += int(part.arrays["node_count"].sum())
            self.views += int(part.arrays["num_views"].sum())
            self.rejected += part.rejected
            names.update(part.object_names)
        self.objects = len(names)

    def say(self, console: Console, config: PrepareConfig, sources: Sequence[Source]) -> None:
        assert config.out is not None
        print_line(console, f"{config.out} is ready")
        real = all(source.kind == "scan" for source in sources)  # many may show one object: that is no loss
        share = f" from {_count(len(sources), 'input')}" if self.objects != len(sources) and not real else ""
        print_line(console, f"  objects   {self.objects:,}{share}")
        if self.rejected:
            _say_rejected(console, self.rejected, config.out, config.format, listed=True)
        views = self.views / self.scans
        shown = f"{self.scans:,} of {_count(self.objects, 'object')}" if real else f"{self.scans:,}"
        print_line(console, f"  scans     {shown} ({views:.3g} view{'' if views == 1 else 's'} each)")
        print_line(console, f"  points    {self.points:,} ({self.points / self.scans:.4g} per scan)")
        size = sum(file.stat().st_size for file in config.out.iterdir() if file.is_file())
        print_line(console, f"  size      {_bytes(size)}")


def _say_rejected(
    console: Console, rejected: Sequence[Rejected], out: Path, layout: str, *, listed: bool
) -> None:
    print_line(console, f"  rejected  {len(rejected):,}")
    for item in rejected[:_SHOWN]:
        print_line(console, f"            {item.source}: {item.reason}")
    if len(rejected) > _SHOWN:
        where = f", all listed in {out / (MANIFEST if layout == 'packed' else PT_METADATA)}" if listed else ""
        print_line(console, f"            and {len(rejected) - _SHOWN:,} more{where}")


def _say_next(console: Console, out: Path) -> None:
    print_line(console, "next: " + command("plumbline", "train", "--data_dir", out))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


# ------------------------------------------------------------------------------------------- on the way


class _Bar(Protocol):
    def show(self, done: int, total: int, worked: int) -> None:
        """``done`` of ``total`` are there; ``worked`` pieces of work took the time so far."""


@contextmanager
def _progress(console: Console, unit: str, rate_unit: str) -> Iterator[_Bar]:
    """A bar on a terminal, else a line now and then."""
    if not console.is_terminal:
        yield _Lines(console, unit, rate_unit)
        return
    columns = (BarColumn(bar_width=30), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        yield _RichBar(progress, unit, rate_unit)


class _Pace:
    def __init__(self, unit: str, rate_unit: str) -> None:
        self.unit, self.rate_unit = unit, rate_unit
        self.started = time.perf_counter()
        self.first: int | None = None

    def text(self, done: int, total: int, worked: int) -> str:
        if self.first is None:
            self.first = done
        elapsed = time.perf_counter() - self.started
        line = f"{done:,} of {_count(total, self.unit)}"
        if done == self.first or not elapsed:
            return line
        left = math.ceil((total - done) * elapsed / (done - self.first))
        rate = f"{worked / elapsed:.0f} {self.rate_unit}"
        return f"{line}, {rate}, {seconds(left) if left >= 60 else f'{left} s'} left"


class _Lines(_Pace):
    def __init__(self, console: Console, unit: str, rate_unit: str) -> None:
        super().__init__(unit, rate_unit)
        self.console = console
        self.last = self.started

    def show(self, done: int, total: int, worked: int) -> None:
        text = self.text(done, total, worked)
        if time.perf_counter() - self.last >= _PLAIN_EVERY:
            self.last = time.perf_counter()
            print_line(self.console, f"  {text}")


class _RichBar(_Pace):
    def __init__(self, progress: Progress, unit: str, rate_unit: str) -> None:
        super().__init__(unit, rate_unit)
        self.progress = progress
        self.task = progress.add_task("starting", total=None)

    def show(self, done: int, total: int, worked: int) -> None:
        text = self.text(done, total, worked)
        self.progress.update(self.task, completed=done, total=total, description=text)
