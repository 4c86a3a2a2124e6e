"""How much memory is left: the tightest limit counts, in real limits as in made-up files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from plumbline import memory
from plumbline.memory import UNKNOWN, Memory, gib, usable_memory

GIB = 1 << 30
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as Linux has them")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine of 16 GiB, 8 of them free, without limits."""
    write(tmp_path, "proc/meminfo", "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\n")
    return tmp_path


def write(root: Path, file: str, text: object) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(f"{text}\n")


def group(root: Path, folder: str, limit: object, used: int, inactive: int = 0, *, version: int = 2) -> None:
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    write(root, f"{folder}/{names[0]}", limit)
    write(root, f"{folder}/{names[1]}", used)
    write(root, f"{folder}/memory.stat", f"anon 1\n{names[2]} {inactive}")


def test_the_machine(root: Path) -> None:
    assert usable_memory(root) == (8 * GIB, 16 * GIB, "this machine's memory")
    assert usable_memory(root).limit == ""


def test_a_system_that_says_nothing(tmp_path: Path) -> None:
    assert usable_memory(tmp_path).free == UNKNOWN


def test_a_control_group_and_those_around_it(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/user/job")
    group(root, "sys/fs/cgroup/user/job", "max", GIB)
    assert usable_memory(root).free == 8 * GIB
    group(root, "sys/fs/cgroup/user", 4 * GIB, 3 * GIB, inactive=GIB // 2)
    assert usable_memory(root)[:2] == (3 * GIB // 2, 4 * GIB)
    assert usable_memory(root).limit == " (control group)"
    group(root, "sys/fs/cgroup/user/job", 2 * GIB, 3 * GIB)
    assert usable_memory(root)[:2] == (0, 2 * GIB)


def test_control_groups_of_the_first_version(root: Path) -> None:
    write(
        root, "proc/self/cgroup", "9:cpu,cpuacct:/job\n4:hugetlb,memory:/job\n1:name=memory-of-x:/else\n0::/"
    )
    group(root, "sys/fs/cgroup/memory/else", GIB, 0, version=1)
    group(root, "sys/fs/cgroup/memory", 9223372036854771712, 5 * GIB, version=1)
    assert usable_memory(root).free == 8 * GIB
    group(root, "sys/fs/cgroup/memory/job", 3 * GIB, 2 * GIB, GIB, version=1)
    assert usable_memory(root)[:2] == (2 * GIB, 3 * GIB)


def test_control_groups_of_both_versions(root: Path) -> None:
    """systemd's hybrid layout."""
    write(root, "proc/self/cgroup", "4:memory:/job\n0::/job")
    group(root, "sys/fs/cgroup/memory/job", 3 * GIB, 0, version=1)
    assert usable_memory(root)[:2] == (3 * GIB, 3 * GIB)
    group(root, "sys/fs/cgroup/unified/job", 2 * GIB, 0)
    assert usable_memory(root)[:2] == (2 * GIB, 2 * GIB)


@pytest.mark.parametrize(("pages", "free"), [(1024, GIB - (4 << 20)), (2**20, 0)])
def test_the_address_space_is_counted_in_pages(
    root: Path, monkeypatch: pytest.MonkeyPatch, pages: int, free: int
) -> None:
    """Of what a limit allows; a process may have more if the limit came later."""
    monkeypatch.setattr(memory, "resource", SimpleNamespace(
        RLIMIT_AS=9, RLIM_INFINITY=-1, getrlimit=lambda what: {9: (GIB, -1)}[what]
    ))  # fmt: skip
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PAGE_SIZE": 4096}.__getitem__, raising=False)
    write(root, "proc/self/statm", f"{pages} 7 5 3 0 9 0")
    assert usable_memory(root) == (free, GIB, "the memory that ulimit -v allows")


@pytest.mark.parametrize("version", [1, 2])
def test_in_a_container_the_path_is_that_of_the_machine(root: Path, version: int) -> None:
    """Only the uppermost folder exists, and it is the container's own."""
    write(root, "proc/self/cgroup", "4:memory:/docker/abc" if version == 1 else "0::/docker/abc")
    top = "sys/fs/cgroup/memory" if version == 1 else "sys/fs/cgroup"
    group(root, top, 2 * GIB, GIB, version=version)
    assert usable_memory(root)[:2] == (GIB, 2 * GIB)


def test_damaged_files_are_no_limits(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/a")
    group(root, "sys/fs/cgroup/a", "-5 x", 1)
    write(root, "proc/self/statm", "")
    assert usable_memory(root).free == 8 * GIB
    (root / "proc/self/cgroup").write_bytes(b"0::/\xff")
    assert usable_memory(root).free == 8 * GIB
    write(root, "proc/meminfo", "MemTotal: many kB\nMemAvailable: 8388608 kB")
    assert usable_memory(root).free == UNKNOWN


@pytest.mark.parametrize(
    ("number", "text"), [(1.25 * GIB, "1.2 GiB"), (GIB // 8, "0.1 GiB"), (50 << 20, "50 MiB"), (0, "0 MiB")]
)
def test_bytes_in_words(number: float, text: str) -> None:
    assert gib(number) == text


def told(**how: object) -> Memory:
    """What a process of its own says."""
    code = "from plumbline.memory import usable_memory; print(*usable_memory(), sep='|')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **how)  # type: ignore[call-overload]
    free, total, whose = done.stdout.strip().split("|")
    return Memory(int(free), int(total), whose)


@LINUX
def test_a_real_limit_of_the_address_space() -> None:
    import resource

    found = told(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (GIB, GIB)))
    assert (found.total, found.limit) == (GIB, " (ulimit -v)")
    assert 0.5 * GIB < found.free < GIB


@pytest.fixture
def real_group() -> Iterator[Path]:
    """A control group of 1 GiB within ours, of whatever version there is."""
    line = next((x for x in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in x), None)
    top, file = Path("/sys/fs/cgroup"), "memory.max"
    if line is not None:
        top, file = top / "memory" / line.split(":", 2)[2].strip("/"), "memory.limit_in_bytes"
    folder = top / f"plumbline-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / file).write_text(str(GIB))
    except OSError as error:
        folder.rmdir() if folder.is_dir() else None
        pytest.skip(f"no control group can be made here ({error})")
    yield folder
    folder.rmdir()


@LINUX
def test_a_real_control_group(real_group: Path) -> None:
    found = told(preexec_fn=lambda: (real_group / "cgroup.procs").write_text(str(os.getpid())))
    assert (found.total, found.limit) == (GIB, " (control group)")
    assert 0.8 * GIB < found.free < GIB


@LINUX
def test_the_peak_is_that_of_this_program_and_not_of_the_one_that_started_it() -> None:
    large = bytearray(b"x") * (256 << 20)
    code = "from plumbline.memory import resident_memory; print(*resident_memory())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    held, most = map(int, found.stdout.split())
    assert 0 < held <= most < len(large)
