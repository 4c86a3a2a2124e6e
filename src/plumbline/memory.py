"""How much memory this process may still use: what its limits and the machine leave."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

UNKNOWN = 4 << 30
"""Bytes, if the system says nothing: the memory of the smallest usable machine."""

_MACHINE = "this machine's memory"
_GROUP = "the memory of its control group (container or job)"
_ULIMIT = "the memory that ulimit -v allows"
_FILES = (("memory.max", "memory.current", "inactive_file"),
          ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))  # fmt: skip
"""Limit, use, and the part of the use that the system takes back when needed: control groups 2 and 1."""


class Memory(NamedTuple):
    """What a limit leaves.

    Attributes:
        free: bytes that this process can still allocate.
        total: bytes that the limit allows.
        whose: what the limit belongs to, in words.
    """

    free: int
    total: int
    whose: str

    @property
    def limit(self) -> str:
        """What sets the limit, in brackets after a blank; empty if it is the machine's memory."""
        return {_GROUP: " (control group)", _ULIMIT: " (ulimit -v)"}.get(self.whose, "")


def usable_memory(root: Path = Path("/")) -> Memory:
    """The tightest of all limits: the machine's memory, control groups (containers, jobs), ``ulimit -v``.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    limits = [*_machine(root), *_control_groups(root), *_address_space(root)]
    return min(limits, default=Memory(UNKNOWN, UNKNOWN, _MACHINE))


def resident_memory() -> tuple[int, int]:
    """Bytes that this process holds, and the most that it has held; zeros if the system does not say."""
    # The peak that getrusage knows is inherited from the program that started this one.
    facts = _numbers(Path("/proc/self/status"), unit=1024)
    return facts.get("VmRSS:", 0), facts.get("VmHWM:", 0)


_FAILED = ("DefaultCPUAllocator", "std::bad_alloc", "can't start new thread", "Cannot allocate memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python or torch means that an allocation failed, on the CPU or a GPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(words in str(error) for words in _FAILED))
    )


def gib(num_bytes: float) -> str:
    """Bytes in words: ``1.3 GiB``, or ``24 MiB`` below a tenth of a GiB."""
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 0.1 * 2**30 else f"{num_bytes / 2**20:.0f} MiB"


def _machine(root: Path) -> Iterator[Memory]:
    facts = _numbers(root / "proc/meminfo", unit=1024)
    if {"MemAvailable:", "MemTotal:"} <= facts.keys():
        yield Memory(facts["MemAvailable:"], facts["MemTotal:"], _MACHINE)


def _control_groups(root: Path) -> Iterator[Memory]:
    """The limits of this process's control groups and of those around them.

    Within a container the path may be that of the machine outside, where only the uppermost folder exists.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        places = ("memory",) if "memory" in kinds.split(",") else ("", "unified") if not kinds else ()
        for place in places:
            group = root / "sys/fs/cgroup" / place / path.strip("/")
            for folder in [group, *group.parents]:
                yield from _control_group(folder)


def _control_group(folder: Path) -> Iterator[Memory]:
    for limit, use, inactive in _FILES:
        allowed, used = _text(folder / limit).strip(), _text(folder / use).strip()
        if allowed.isdecimal() and used.isdecimal():
            taken_back = _numbers(folder / "memory.stat").get(inactive, 0)
            free = int(allowed) - int(used) + taken_back
            yield Memory(max(free, 0), int(allowed), _GROUP)


def _address_space(root: Path) -> Iterator[Memory]:
    if resource is None:
        return
    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = _text(root / "proc/self/statm").split()
    if allowed != resource.RLIM_INFINITY and pages:
        free = allowed - int(pages[0]) * os.sysconf("SC_PAGE_SIZE")
        yield Memory(max(free, 0), allowed, _ULIMIT)


def _numbers(file: Path, *, unit: int = 1) -> dict[str, int]:
    """The first number of each line, by the word before it."""
    lines = [line.split() for line in _text(file).splitlines()]
    return {line[0]: unit * int(line[1]) for line in lines if len(line) > 1 and line[1].isdecimal()}


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
