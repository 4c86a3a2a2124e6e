"""Where the time of a step goes, read off a trace in Chrome's format."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from plumbline.training.loop.step_parts import STEP_PARTS
from plumbline.training.records import TimeShare

_ON_THE_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
_LAUNCHES = ("cuda_runtime", "cuda_driver")

Event = dict[str, Any]


class StepTimes(NamedTuple):
    """Mean times of a step: of the whole step in seconds, of its parts, and of the operations in it."""

    seconds: float
    parts: tuple[TimeShare, ...]
    operations: tuple[TimeShare, ...]


def summarise(events: Iterable[Event], steps: Sequence[str]) -> StepTimes:
    """The parts of a step, in their order, and the operations, the slowest first.

    The CPU's time of an operation is its own, without that of the operations within it. The GPU's time counts
    for the part and the operation that submitted the work, whenever it was done.

    Args:
        events: the events of the trace, times in microseconds.
        steps: names of the ranges that are whole steps.
    """
    timed = sorted((event for event in events if event.get("ph") == "X"), key=_outer_first)
    ranges = [event for event in timed if event.get("cat") == "user_annotation"]
    whole = [event for event in ranges if event["name"] in steps]
    parts = [event for event in ranges if event["name"] in STEP_PARTS and _around(whole, event["ts"])]
    by_part, by_operation = _Totals(len(steps)), _Totals(len(steps))
    for event in parts:
        by_part.add(event["name"], event["dur"])
    inside = [event for event in timed if _around(whole, event["ts"])]
    submitters = _add_operations(inside, by_operation)
    for event in timed:
        if event.get("cat") in _ON_THE_GPU and event["args"].get("correlation") in submitters:
            when, operation = submitters[event["args"]["correlation"]]
            part = _around(parts, when)
            by_part.add_gpu("" if part is None else part["name"], event["dur"])
            by_operation.add_gpu(operation or event["name"], event["dur"])
    return StepTimes(
        sum(event["dur"] for event in whole) / 1e6 / len(steps),
        tuple(by_part.share(name) for name in STEP_PARTS),
        tuple(sorted(map(by_operation.share, by_operation.names), key=_slowest_first)),
    )


def _add_operations(events: Sequence[Event], totals: "_Totals") -> dict[int, tuple[float, str]]:
    """Add each operation's own time. Returns, by its number, when work for the GPU was submitted, and by
    which operation; the latter is empty if by none."""
    submitters: dict[int, tuple[float, str]] = {}
    running: defaultdict[Any, list[Event]] = defaultdict(list)  # by thread, the innermost last
    for event in events:
        around = running[event["tid"]]
        while around and around[-1]["ts"] + around[-1]["dur"] <= event["ts"]:
            around.pop()
        if event.get("cat") == "cpu_op":
            totals.add(event["name"], event["dur"])
            if around:
                totals.take(around[-1]["name"], event["dur"])
            around.append(event)
        elif event.get("cat") in _LAUNCHES and "correlation" in event["args"]:
            submitters[event["args"]["correlation"]] = event["ts"], around[-1]["name"] if around else ""
    return submitters


class _Totals:
    """Calls and microseconds by name.

    Args:
        steps: number of steps that the means are taken over.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._calls: defaultdict[str, int] = defaultdict(int)
        self._cpu: defaultdict[str, float] = defaultdict(float)
        self._gpu: defaultdict[str, float] = defaultdict(float)

    @property
    def names(self) -> list[str]:
        """All names."""
        return list(dict.fromkeys([*self._cpu, *self._gpu]))

    def add(self, name: str, duration: float) -> None:
        """Add a call."""
        self._calls[name] += 1
        self._cpu[name] += duration

    def take(self, name: str, duration: float) -> None:
        """Take off the time of another call within this one."""
        self._cpu[name] -= duration

    def add_gpu(self, name: str, duration: float) -> None:
        """Add time of the GPU."""
        self._gpu[name] += duration

    def share(self, name: str) -> TimeShare:
        """The means of a step."""
        calls, cpu, gpu = (total[name] / self._steps for total in (self._calls, self._cpu, self._gpu))
        return TimeShare(name, calls, cpu / 1e6, gpu / 1e6)


def _slowest_first(share: TimeShare) -> tuple[float, str]:
    return -max(share.seconds, share.gpu_seconds), share.name


def _outer_first(event: Event) -> tuple[float, float]:
    return event["ts"], -event["dur"]


def _around(ranges: Sequence[Event], when: float) -> Event | None:
    """The range that contains a moment; the ranges are sorted and do not overlap."""
    place = bisect_right(ranges, when, key=itemgetter("ts")) - 1
    if place >= 0 and when <= ranges[place]["ts"] + ranges[place]["dur"]:
        return ranges[place]
    return None
