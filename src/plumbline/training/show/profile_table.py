"""The tables of a profile: parts of a step, and the slowest operations."""

from collections.abc import Sequence

from rich.console import Console

from plumbline.console.tables import Column, print_table
from plumbline.console.terminal import print_line
from plumbline.console.text import percent, seconds
from plumbline.training.records import StepProfile, TimeShare

_OPERATIONS = 10
"""Operations that are shown."""


def print_profile(console: Console, profile: StepProfile) -> None:
    """Print where the time of a step went, by parts and by operations, and where the trace is."""
    parts = [part for part in profile.parts if part.calls]
    console.print()
    print_line(
        console,
        f"profile of steps {profile.first:,} to {profile.last:,}: {1e3 * profile.seconds:.2f} ms each, with "
        "the time of the profiler",
    )
    console.print()
    print_table(console, [_names("part of a step", parts), *_times(parts, profile)])
    console.print()
    slowest = profile.operations[:_OPERATIONS]
    calls = Column("calls\nper step", [f"{share.calls:.1f}" for share in slowest])
    print_table(console, [_names("operation", slowest), calls, *_times(slowest, profile)])
    console.print()
    if profile.after_epoch:
        after = ", ".join(f"{name} {seconds(spent)}" for name, spent in profile.after_epoch.items())
        print_line(console, f"after epoch   {after}")
    if profile.trace is not None:
        print_line(console, f"trace         {profile.trace} (open it at ui.perfetto.dev)")


def _names(head: str, shares: Sequence[TimeShare]) -> Column:
    return Column(head, [share.name for share in shares])


def _times(shares: Sequence[TimeShare], profile: StepProfile) -> list[Column]:
    columns = [
        Column("ms\nper step", [f"{1e3 * share.seconds:.3f}" for share in shares]),
        Column("share", [percent(share.seconds / profile.seconds, 1) for share in shares]),
    ]
    if any(share.gpu_seconds for share in profile.parts):
        columns += [
            Column("ms on\nthe GPU", [f"{1e3 * share.gpu_seconds:.3f}" for share in shares]),
            Column("share", [percent(share.gpu_seconds / profile.seconds, 1) for share in shares]),
        ]
    return columns
