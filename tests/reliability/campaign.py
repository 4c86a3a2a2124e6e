"""Damaged files for every reader, in a child process with limited memory and time.

``python -m tests.reliability.campaign --count N [READER ...]`` tries N damaged files for each reader.
Anything but a sound value or an InputError is a finding: another exception, a value that breaks its promises,
more than a gibibyte of memory, more than five seconds, the death of the process.
"""

import argparse
import faulthandler
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 1 << 30
"""Bytes of address space that reading may take beyond what the program and its libraries take."""
SECONDS = 5


def limit_memory() -> None:
    """Lets this process take :data:`MEMORY` more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def judge(reader, folder: Path, data: bytes, sound: set[str] | None = None) -> tuple[str, str]:
    """``("read" | "refused" | "finding", what)`` for one file; ``sound``: digests that it may have."""
    from plumbline.errors import InputError

    try:
        value = reader.read(folder, data)
    except InputError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError) or "allocate memory" in str(cause):
                return "finding", f"refused after {type(cause).__name__}: {str(cause)[:200]}"
            cause = cause.__cause__ or cause.__context__
        text = str(error)
        return ("refused", text) if text.strip() and "\n" not in text else ("finding", f"message {text!r}")
    except Exception as error:  # noqa: BLE001 - whatever a reader raises is what is looked for
        return "finding", f"{type(error).__name__}: {str(error)[:300]}"
    if sound is not None and value not in sound:
        return "finding", "damage was neither refused nor without effect"
    return "read", value


def child(names: list[str], first: int, count: int, work: Path) -> None:
    """Tries files ``first ...`` of each reader; one line of JSON per finding, one per reader at its end."""
    from tests.reliability.readers import READERS

    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    os.environ["XDG_CACHE_HOME"] = str(work / "cache")
    prepared = {}
    for name in names:
        folder = work / name
        (folder / "seeds").mkdir(parents=True, exist_ok=True)
        prepared[name] = READERS[name].seeds(Path(tempfile.mkdtemp(dir=folder / "seeds")))
        for seed in prepared[name]:
            READERS[name].read(folder, seed)  # loads what reading needs, before memory is counted
    limit_memory()
    for name in names:
        reader, seeds, folder = READERS[name], prepared[name], work / name
        sound = {reader.read(folder, seed) for seed in seeds} if reader.sealed else None
        tally = {"reader": name, "read": 0, "refused": 0, "finding": 0, "seconds": 0.0, "slowest": 0.0}
        if first:  # the process before this one ended at the file before
            tally = json.loads((work / "last.json").read_text())
            tally["finding"] += 1
        for number in range(first, count):
            rng = np.random.default_rng([zlib.crc32(name.encode()), number])
            data = reader.mutate(seeds[int(rng.integers(len(seeds)))], seeds, rng)
            (work / "last.bin").write_bytes(data)
            (work / "last.json").write_text(json.dumps({**tally, "number": number}))
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            begin = time.perf_counter()
            kind, what = judge(reader, folder, data, sound)
            took = round(time.perf_counter() - begin, 4)
            tally.update(seconds=tally["seconds"] + took, slowest=max(tally["slowest"], took))
            tally[kind] += 1
            if kind == "finding":
                (work / f"{name}-{number}.bin").write_bytes(data)
                print(json.dumps({"finding": what, "reader": name, "number": number}), flush=True)
        faulthandler.cancel_dump_traceback_later()
        tally["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(json.dumps(tally), flush=True)
        first = 0


def campaign(names: list[str], count: int, work: Path) -> tuple[list[dict], list[dict]]:
    """Tries ``count`` files of each reader, whatever they do to the process.

    Returns:
        A tally per reader, and the findings; the files of these lie in ``work``.
    """
    tallies, findings, first = [], [], 0
    names = list(names)
    while names:
        command = [
            sys.executable,
            "-m",
            "tests.reliability.campaign",
            "--child",
            str(first),
            "--work",
            str(work),
        ]
        done = subprocess.run(
            [*command, "--count", str(count), *names], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        findings += [line for line in lines if isinstance(line["finding"], str)]
        tallies += [line for line in lines if not isinstance(line["finding"], str)]
        if done.returncode == 0:
            break
        if not (work / "last.json").exists():
            raise RuntimeError(f"the child process did not start: {done.stderr[-2000:]}")
        last = json.loads((work / "last.json").read_text())
        name, number = last["reader"], last["number"]
        (work / f"{name}-{number}.bin").write_bytes((work / "last.bin").read_bytes())
        what = "took too long or died"
        findings.append({"finding": what, "reader": name, "number": number, "said": done.stderr[-1500:]})
        names, first = names[names.index(name) :], number + 1
    return tallies, findings


def main() -> int:
    """The command line."""
    from tests.reliability.readers import READERS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; default all")
    parser.add_argument("--count", type=int, default=4000, help="damaged files for each reader")
    parser.add_argument("--work", type=Path, help="folder for the files of findings; default a new one")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.readers or list(READERS)
    if given.child is not None:
        child(names, given.child, given.count, given.work)
        return 0
    work = given.work or Path(tempfile.mkdtemp(prefix="fuzz-"))
    work.mkdir(parents=True, exist_ok=True)
    tallies, findings = campaign(names, given.count, work)
    for line in tallies + findings:
        print(json.dumps(line))
    print(f"{len(findings)} findings; their files are in {work}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
