"""The only reader of the command line.

``plumbline VERB ...`` imports the verb's command module when it is chosen, so that ``--help`` and a
refused flag cost no torch. Precedence: defaults < ``--config FILE`` < flags.
"""

import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from plumbline import __version__
from plumbline.config import (
    CheckConfig,
    Config,
    EvaluateConfig,
    PrepareConfig,
    TrainConfig,
    nearest,
    validate,
)
from plumbline.console import make_console
from plumbline.errors import InputError


class Verb(NamedTuple):
    """One sub-command: its config, its module (with ``run(config, console) -> exit code``)."""

    config: type
    module: str

    @property
    def summary(self) -> str:
        """The first line of the config's docstring."""
        return (self.config.__doc__ or "").splitlines()[0]


VERBS = {
    "prepare": Verb(PrepareConfig, "plumbline.commands.prepare"),
    "check": Verb(CheckConfig, "plumbline.commands.check"),
    "train": Verb(TrainConfig, "plumbline.commands.train"),
    "evaluate": Verb(EvaluateConfig, "plumbline.commands.evaluate"),
}


def main(argv: Sequence[str] | None = None, *, prog: str = "plumbline") -> int:
    """Run one command line and return its exit code: 0 done, 2 refused input, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    debug = "--debug" in rest
    try:
        if verb in ("-h", "--help", "help"):
            print(overview())
            return 0
        if verb == "--version":
            print(f"plumbline {__version__}")
            return 0
        if verb not in VERBS:
            raise InputError(
                f"there is no command {verb!r}{nearest(verb, VERBS)} (plumbline --help lists them)"
            )
        label = f"plumbline {verb}" if prog == "plumbline" else prog
        config = parse(verb, rest, prog=label)
        return import_module(VERBS[verb].module).run(config, make_console())
    except InputError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def overview() -> str:
    """What ``plumbline --help`` prints."""
    rows = "\n".join(f"  {name:<10}{verb.summary}" for name, verb in VERBS.items())
    return (
        f"usage: plumbline COMMAND [flags]\n\n"
        f"Find an object's centre of mass from a partial scan of it.\n\n{rows}\n\n"
        f"plumbline COMMAND --help explains a command's flags; plumbline --version prints {__version__}."
    )


def parse(verb: str, argv: Sequence[str], *, prog: str) -> Config:
    """Flags and YAML of one verb as its config. Raises InputError for whatever cannot be meant."""
    kind = VERBS[verb].config
    arguments = _normalise(kind, argv)
    parser = build_parser(kind, prog=prog)
    try:
        parsed = parser.parse_args(arguments)
    except InputError:
        raise
    except Exception as error:  # jsonargparse raises many kinds; all mean "cannot be parsed"
        raise InputError(_one_sentence(kind, str(error))) from error
    values = {item.name: getattr(parsed, item.name) for item in fields(kind)}
    config = kind(**values)
    validate(config)
    return config


def build_parser(kind: type, *, prog: str) -> Any:
    """The parser of one config dataclass: a flag per field, ``--config`` and ``--print_config``."""
    from jsonargparse import ActionYesNo, ArgumentParser

    parser = ArgumentParser(
        prog=prog, description=kind.__doc__, exit_on_error=False, allow_abbrev=False, default_env=False
    )
    parser.add_argument("--version", action="version", version=f"plumbline {__version__}")
    parser.add_argument("--config", action="config", help="YAML file with flags as keys; flags win over it")
    groups: dict[str, Any] = {}
    defaults = kind()
    for item in fields(kind):
        meta = item.metadata
        target: Any = parser
        if meta["group"]:
            target = groups.setdefault(meta["group"], None) or parser.add_argument_group(meta["group"])
            groups[meta["group"]] = target
        default = getattr(defaults, item.name)
        shown = meta["help"] + (f" [{'|'.join(meta['choices'])}]" if meta["choices"] else "")
        extra: dict[str, Any] = {"metavar": meta["metavar"]} if meta["metavar"] else {}
        if item.type is bool:
            target.add_argument(
                f"--{item.name}", action=ActionYesNo(no_prefix="no_"), default=default, help=shown
            )
        elif meta["positional"]:
            many = isinstance(default, list)
            target.add_argument(
                item.name, nargs="*" if many else "?", type=Path, default=default, help=shown, **extra
            )
        elif isinstance(default, list):
            target.add_argument(f"--{item.name}", nargs="+", type=str, default=default, help=shown, **extra)
        else:
            target.add_argument(f"--{item.name}", type=item.type, default=default, help=shown, **extra)
    return parser


def _normalise(kind: type, argv: Sequence[str]) -> list[str]:
    """Accept ``--flag-with-dashes`` and bare flags that may stand alone; refuse unknown flags and keys."""
    known = {item.name: item for item in fields(kind)}
    spare = {"config", "print_config", "help", "version"}
    result: list[str] = []
    files: list[str] = []
    skip = False
    for position, token in enumerate(argv):
        if skip:
            skip = False
            continue
        if not token.startswith("--") or token == "--":
            result.append(token)
            continue
        name, equals, value = token[2:].partition("=")
        name = name.replace("-", "_")
        plain = name.removeprefix("no_")
        negated = name != plain and plain in known and known[plain].type is bool
        if name not in known and name not in spare and not negated:
            raise InputError(
                f"there is no flag --{name}{nearest('--' + name, ['--' + flag for flag in known])}"
            )
        last = position + 1 == len(argv) or argv[position + 1].startswith("--")
        if name in known and known[name].metadata["bare"] and not equals and last:
            equals, value = "=", known[name].metadata["bare"]
        if name == "config":
            file = value or (argv[position + 1] if not last else "")
            _check_keys(Path(file), known)
            files.append(f"--config={file}")
            skip = not equals
            continue
        result.append(f"--{name}{equals}{value}")
    # Files first, wherever they stood: flags win over them.
    return files + result


def _check_keys(path: Path, known: dict[str, Any]) -> None:
    """Refuse a YAML file that is missing, is not a mapping, or holds keys that are no flags."""
    import yaml

    if not path.is_file():
        raise InputError(f"--config {path}: there is no such file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if content is None:
        return
    if not isinstance(content, dict):
        raise InputError(f"--config {path}: must be a list of lines 'flag: value'")
    for key in content:
        if key not in known:
            raise InputError(f"--config {path}: there is no flag {key}{nearest(str(key), known)}")


def _one_sentence(kind: type, message: str) -> str:
    """The parser's complaint in our words where it is about a value, on one line where it is not."""
    if missing := re.match(r"argument (--\w+): expected", message):
        return f"{missing[1]} needs a value after it"
    if stray := re.match(r"unrecognized arguments: (.*)", message):
        return f"no flag takes {stray[1]}: a value follows its flag, and a switch such as --debug has none"
    match = re.match(r'Parser key "(\w+)":.*Got value: (.*)', message, re.DOTALL)
    if match is None:
        return " ".join(message.split())
    name, value = match[1], match[2].strip()
    types: dict[str, Any] = {item.name: item.type for item in fields(kind)}
    wanted = {int: "a whole number", float: "a finite number"}.get(types[name], f"of type {types[name]}")
    return f"--{name} {value}: must be {wanted}"
