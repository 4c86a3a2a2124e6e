"""Coverage-guided fuzzing with atheris: ``python -m tests.reliability.fuzz --seconds N [READER ...]``.

Every reader gets an equal share of the time in its own process, with the limits of
``tests.reliability.campaign``. For sealed formats the result is not compared with the seeds: whatever is read
must be sound.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.reliability.campaign import ROOT, SECONDS, judge, limit_memory

_INSTRUMENTED = ["plumbline", "laspy", "yaml", "zipfile", "csv"]
_LONGEST = 1 << 16


def fuzz(name: str, seconds: int, work: Path) -> None:
    """Damages files of one reader until the time is over; does not return."""
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.reliability.readers import READERS
    os.environ["XDG_CACHE_HOME"] = str(work / "cache")
    reader, corpus = READERS[name], work / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(reader.seeds(Path(tempfile.mkdtemp(dir=work)))):
        (corpus / f"seed-{number}").write_bytes(seed)
        reader.read(work, seed)
    limit_memory()
    known: set[str] = set()

    def try_one(data: bytes) -> None:
        kind, what = judge(reader, work, data)
        sort = re.sub(r"\d+", "#", what)[:60]
        if kind == "finding" and sort not in known:
            known.add(sort)
            (work / f"{name}-{len(known)}.bin").write_bytes(data)
            print(f"\nFINDING {name}-{len(known)}: {what}", flush=True)

    limits = [
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS}",
        "-rss_limit_mb=4096",
        f"-max_len={_LONGEST}",
    ]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={work / name}-", "-seed=1", str(corpus)], try_one)
    atheris.Fuzz()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help="default: one for each kind of file")
    parser.add_argument("--seconds", type=int, default=600, help="in all")
    parser.add_argument("--work", type=Path, help="folder for corpora and findings; default a new one")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("error: fuzzing needs atheris: pip install -e '.[fuzz]'", file=sys.stderr)
        return 2
    if given.child:
        fuzz(given.readers[0], given.seconds, given.work)
    from tests.reliability.readers import READERS

    kinds = {reader.read: name for name, reader in reversed(READERS.items())}
    names = given.readers or sorted(kinds.values())
    work = given.work or Path(tempfile.mkdtemp(prefix="fuzz-"))
    failed, runs, begin = 0, 0, time.monotonic()
    share = max(1, given.seconds // len(names))
    for name in names:
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "tests.reliability.fuzz", "--child", "--seconds", str(share),
             "--work", str(folder), name],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        tried = re.search(r"Done (\d+) runs in (\d+)", done.stderr)
        found = re.findall(r"^FINDING .*", done.stdout, re.MULTILINE)
        runs += int(tried[1]) if tried else 0
        print(name, f"{tried[1]} files in {tried[2]} s" if tried else "died", *found, sep="\n  ", flush=True)
        if done.returncode or found:
            failed += 1
            if done.returncode:
                print(done.stderr[-1500:], flush=True)
    print(f"{runs} files in {time.monotonic() - begin:.0f} s; {failed} readers with findings, see {work}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
