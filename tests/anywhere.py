"""The tests once under each condition that other machines have and that this one can offer.

    make test-anywhere                            # all: hours
    python -m tests.anywhere one-core blank       # some
    python -m tests.anywhere one-core+blank       # both at once
    python -m tests.anywhere --list

Every condition gets a copy of the tree; its output goes to a file in ``build/anywhere``. Conditions that this
machine cannot offer are skipped, with the reason. The exit code is 1 if a test failed under any of them.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "build" / "anywhere"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SEEDS = (1, 2, 774466)
JOB = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "x", "SLURM_NTASKS": "4", "SLURM_PROCID": "0",
    "WANDB_MODE": "offline", "WANDB_PROJECT": "other", "WANDB_API_KEY": "0" * 40, "WANDB_DIR": "/nowhere",
}  # fmt: skip


def _this_python() -> str:
    return sys.executable


@dataclass(frozen=True)
class Condition:
    """What is unlike this machine.

    Attributes:
        name: for the command line.
        environment: variables.
        before: words before the command.
        flags: of pytest.
        python: the interpreter.
        folder: name of the copy's folder.
        user: who runs it, where this is root.
        missing: why this machine cannot offer it, or None.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    python: Callable[[], str] = _this_python
    folder: str = "plumbline"
    user: str | None = None
    missing: Callable[[], str | None] = lambda: None


def _kernels(name: str) -> Condition:
    def missing() -> str | None:
        return None if platform.machine() in ("x86_64", "AMD64") else "no x86 processor"

    return Condition(f"kernels-{name}", {"ATEN_CPU_CAPABILITY": name}, missing=missing)


def _locale(name: str) -> Condition:
    def missing() -> str | None:
        listed = shutil.which("locale") and subprocess.run(["locale", "-a"], capture_output=True, text=True)
        known = {item.replace("-", "").lower() for item in (listed.stdout.split() if listed else [])}
        return None if name.replace("-", "").lower() in known else f"no locale {name} (locale-gen makes it)"

    return Condition(f"locale-{name.partition('.')[0]}", {"LANG": name, "LC_ALL": name}, missing=missing)


def _order(seed: int) -> Condition:
    def missing() -> str | None:
        return None if find_spec("random_order") else "no pytest-random-order (pip install it)"

    flags = (f"--random-order-seed={seed}", "--random-order-bucket=module")
    return Condition(f"order-{seed}", flags=flags, missing=missing)


def _interpreters() -> dict[str, str]:
    """Full version to path of every Python of ``PYTHONS`` but this one: of the system, on PATH, of pyenv."""
    places = [shutil.which(f"python{version}") for version in PYTHONS]
    places += [f"/usr/bin/python{version}" for version in PYTHONS]
    for version in PYTHONS:
        places += map(str, sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python")))
    found: dict[str, str] = {}
    for path in filter(None, places):
        with suppress(OSError):
            ask = subprocess.run([path, "-c", "import platform; print(platform.python_version())"],
                                 capture_output=True, text=True)  # fmt: skip
            if ask.returncode == 0 and ask.stdout.strip() != platform.python_version():
                found.setdefault(ask.stdout.strip(), path)
    return found


def _pythons() -> Iterator[Condition]:
    """Other Pythons, each with the tested versions of everything in a virtual environment of its own."""
    found = _interpreters()
    for version, path in sorted(found.items()):
        yield Condition(f"python-{version}", python=partial(_environment, version, path))
    for version in PYTHONS:
        if not any(full.startswith(f"{version}.") for full in (*found, platform.python_version())):
            yield Condition(f"python-{version}", missing=lambda: "no such Python here")


def _environment(version: str, interpreter: str) -> str:
    """The Python of a virtual environment, which is made if it is not there yet."""
    folder = ROOT / "build" / f"python-{version}"
    python = str(folder / "bin" / "python")
    if not (folder / ".ready").exists():
        install = [python, "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt"]
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
        subprocess.run([*install, "torch"], cwd=ROOT, check=True)
        subprocess.run([*install, "--editable", ".[dev]", "pytest-random-order"], cwd=ROOT, check=True)
        (folder / ".ready").touch()
    return python


def _why_not(condition: Condition) -> str | None:
    """Why this machine cannot offer the condition, or None."""
    if condition.missing() or condition.user is None:
        return condition.missing()
    if os.name != "posix" or os.getuid() != 0:
        return "this is an ordinary user already"
    python = condition.python()
    try:
        subprocess.run([python, "-c", ""], user=condition.user, check=True, capture_output=True)
    except (KeyError, PermissionError, subprocess.CalledProcessError) as error:
        return f"the user {condition.user} cannot run {python} ({error})"
    return None


CONDITIONS = (
    Condition("as-it-is"),
    _kernels("default"),
    _kernels("avx2"),
    Condition("one-thread", {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}),
    Condition("four-threads", {"OMP_NUM_THREADS": "4"}),
    Condition(
        "one-core",
        before=("taskset", "-c", "0"),
        missing=lambda: None if shutil.which("taskset") else "no taskset",
    ),
    Condition("ordinary-user", user="nobody"),
    _locale("C"),
    _locale("tr_TR.UTF-8"),
    Condition("narrow", {"COLUMNS": "50"}),
    Condition("coloured", {"FORCE_COLOR": "1", "TERM": "xterm-256color"}),
    Condition("blank", folder="a folder/plumb line"),
    Condition("job", JOB),
    *map(_order, SEEDS),
    *_pythons(),
)


def _combined(parts: Sequence[Condition]) -> Condition:
    """All conditions at once; of two that set the same thing, the last one wins."""
    one = parts[0]
    for part in parts[1:]:
        one = Condition(
            f"{one.name}+{part.name}",
            {**one.environment, **part.environment},
            one.before + part.before,
            one.flags + part.flags,
            part.python if part.python is not _this_python else one.python,
            part.folder if part.folder != "plumbline" else one.folder,
            part.user or one.user,
            partial(_first_reason, one.missing, part.missing),
        )
    return one


def _first_reason(*reasons: Callable[[], str | None]) -> str | None:
    return next(filter(None, (reason() for reason in reasons)), None)


@dataclass(frozen=True)
class Outcome:
    """Of the tests under one condition: what pytest counted, which tests failed, and how long it took."""

    name: str
    said: str
    failed: tuple[str, ...] = ()
    ok: bool = True
    seconds: float = 0.0


def run(condition: Condition, pytest_flags: Sequence[str], jobs: int) -> Outcome:
    """Runs the tests in a copy of the tree."""
    with tempfile.TemporaryDirectory(prefix="plumbline-") as place:
        copy = _copy(Path(place) / condition.folder)
        scratch = copy.parent / "tmp"
        scratch.mkdir()
        home = {"HOME": str(scratch)} if condition.user else {}
        environment = {
            **os.environ, "PYTHONPATH": str(copy / "src"), "TMPDIR": str(scratch), **home,
            **condition.environment,
        }  # fmt: skip
        command = [
            *condition.before, condition.python(), "-m", "pytest", "-p", "no:cacheprovider", "-m", "not long",
            "--numprocesses", str(jobs), "--dist", "worksteal", *condition.flags, *pytest_flags,
        ]  # fmt: skip
        if condition.user:
            for path in (Path(place), *Path(place).rglob("*")):
                shutil.chown(path, condition.user)
        LOGS.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with open(LOGS / f"{condition.name}.log", "w+", encoding="utf-8") as log:
            done = subprocess.run(
                command, cwd=copy, env=environment, stdout=log, stderr=subprocess.STDOUT, user=condition.user
            )
            log.seek(0)
            text = log.read()
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    failed = tuple(re.findall(r"^(?:FAILED|ERROR) (\S+)", plain, re.MULTILINE))
    counted = re.findall(r"^=* ?(\d+ (?:passed|failed|error|skipped).*?) in [\d.]+s", plain, re.MULTILINE)
    said = counted[-1] if counted else f"pytest ended with {done.returncode}"
    return Outcome(condition.name, said, failed, done.returncode == 0, time.monotonic() - began)


def _copy(folder: Path) -> Path:
    """The files that git knows or would add; ``shared`` lies beside the copy as it does beside the tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    if (ROOT.parent / "shared").is_dir():
        (folder.parent / "shared").symlink_to(ROOT.parent / "shared")
    return folder


def main() -> int:
    """Runs the chosen conditions, and prints a table of what came out."""
    parser = argparse.ArgumentParser(description="Run the tests under conditions that other machines have.")
    parser.add_argument("names", nargs="*", metavar="CONDITION", help="by default all")
    parser.add_argument("--list", action="store_true", help="only say which there are, and which are skipped")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes of pytest (default: 2)")
    parser.add_argument("--only", nargs="+", default=[], metavar="FILE", help="tests to run, by default all")
    arguments = parser.parse_args()
    known = {condition.name: condition for condition in CONDITIONS}
    unknown = set("+".join(arguments.names).split("+")) - {"", *known}
    if unknown:
        parser.error(f"there is no condition {', '.join(sorted(unknown))}; --list shows those that there are")
    outcomes = []
    for names in arguments.names or known:
        condition = _combined([known[name] for name in names.split("+")])
        reason = _why_not(condition)
        if reason is not None:
            outcomes.append(Outcome(condition.name, f"skipped: {reason}"))
        elif arguments.list:
            outcomes.append(Outcome(condition.name, "can be run here"))
        else:
            print(f"{condition.name}: the output goes to {LOGS / condition.name}.log", flush=True)
            outcomes.append(run(condition, arguments.only, arguments.jobs))
            for test in outcomes[-1].failed:
                print(f"  {test}", flush=True)
    print()
    for outcome in outcomes:
        took = f"{outcome.seconds / 60:4.1f} min" if outcome.seconds else ""
        print(f"{outcome.name:<16}{'' if outcome.ok else 'FAILED':<8}{took:<10}{outcome.said}")
    return int(not all(outcome.ok for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
