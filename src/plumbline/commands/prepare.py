"""``plumbline prepare``: makes a data set of labelled graphs from meshes, built-in solids or real scans."""

import time
from collections.abc import Sequence
from dataclasses import fields
from typing import TypeVar

from rich.console import Console

from plumbline.config.prepare import PrepareConfig
from plumbline.console.listener import ConsoleListener
from plumbline.console.terminal import print_line
from plumbline.console.text import command, counted, file_size, seconds
from plumbline.data.prepare.dataset import AllRejectedError, DatasetSummary, make_dataset
from plumbline.data.prepare.output_folder import PT_METADATA
from plumbline.data.store.writer import MANIFEST
from plumbline.records import GraphSettings, Rejected, ScanSettings
from plumbline.reporting import scans_per_second

_SHOWN = 10
"""Maximum number of rejected inputs listed at the end; the rest are only counted."""

Settings = TypeVar("Settings", ScanSettings, GraphSettings)


def run(config: PrepareConfig, console: Console) -> int:
    """Make the data set, or finish a partial one; report if it is complete already. Returns the exit code."""
    assert config.out is not None
    started = time.perf_counter()
    try:
        with ConsoleListener(console) as listener:
            made = make_dataset(
                config.out,
                config.paths,
                solids=config.solids,
                labels=config.labels,
                densities=config.densities,
                scan=settings_of(config, ScanSettings),
                graph=settings_of(config, GraphSettings),
                format=config.format,
                workers=config.workers,
                scheduler=config.scheduler,
                report=listener,
            )
    except KeyboardInterrupt:
        return 130
    except AllRejectedError as error:
        _say_rejected(console, error.rejected, "")
        raise
    if made.finished_already:
        print_line(console, f"{made.out} is already complete: same input, same settings")
    else:
        _say_made(console, made, config)
        rate = f", {scans_per_second(made.scans_per_second)}" if made.new_scans else ""
        print_line(console, f"  time      {seconds(time.perf_counter() - started)}{rate}")
    print_line(console, "next: " + command("plumbline", "train", "--data_dir", made.out))
    return 0


def settings_of(config: PrepareConfig, record: type[Settings]) -> Settings:
    """A record filled from the flags of the same names."""
    return record(**{item.name: getattr(config, item.name) for item in fields(record)})


def _say_made(console: Console, made: DatasetSummary, config: PrepareConfig) -> None:
    real = not config.paths and not config.solids  # several scans may show one object: none is lost
    print_line(console, f"{made.out} is ready")
    share = f" from {counted(made.inputs, 'input')}" if made.objects != made.inputs and not real else ""
    print_line(console, f"  objects   {made.objects:,}{share}")
    if made.with_densities:
        rest = ", the others are uniform" if made.with_densities < made.meshes else ""
        noun = "mesh" if made.meshes == 1 else "meshes"
        print_line(console, f"  densities {made.with_densities:,} of {made.meshes:,} {noun}{rest}")
    if made.rejected:
        listing = made.out / (MANIFEST if config.format == "packed" else PT_METADATA)
        _say_rejected(console, made.rejected, f", all listed in {listing}")
    views = made.views / made.scans
    shown = f"{made.scans:,} of {counted(made.objects, 'object')}" if real else f"{made.scans:,}"
    print_line(console, f"  scans     {shown} ({views:.3g} view{'' if views == 1 else 's'} each)")
    print_line(console, f"  points    {made.points:,} ({made.points / made.scans:.4g} per scan)")
    print_line(console, f"  size      {file_size(made.size)}")


def _say_rejected(console: Console, rejected: Sequence[Rejected], where: str) -> None:
    print_line(console, f"  rejected  {len(rejected):,}")
    for item in rejected[:_SHOWN]:
        print_line(console, f"            {item.source}: {item.reason}")
    if len(rejected) > _SHOWN:
        print_line(console, f"            and {len(rejected) - _SHOWN:,} more{where}")
