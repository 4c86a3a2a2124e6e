"""The only reader of the command line.

``plumbline VERB ...`` imports the verb's command module when it is chosen, so that ``--help`` and a
refused flag cost no torch. Precedence: defaults < ``--config FILE`` < flags.
"""

import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from plumbline import __version__
from plumbline.config import (
    BenchmarkConfig,
    CheckConfig,
    Config,
    EvaluateConfig,
    PredictConfig,
    PrepareConfig,
    TrainConfig,
    nearest,
    validate,
    validate_each,
)
from plumbline.config.recipes import RECIPES
from plumbline.console.terminal import can_write, discard_output, make_console, make_writable
from plumbline.console.text import visible
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
    "predict": Verb(PredictConfig, "plumbline.commands.predict"),
    "benchmark": Verb(BenchmarkConfig, "plumbline.commands.benchmark"),
}


def main(argv: Sequence[str] | None = None, *, prog: str = "plumbline") -> int:
    """Run one command line and return its exit code: 0 done, 2 refused input, 130 interrupted."""
    code = 0
    make_writable()
    try:
        try:
            code = _answer(list(sys.argv[1:] if argv is None else argv), prog)
        except SystemExit as end:  # the parser's --help, --version and --print_config
            code = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()  # nobody reads on, as in `plumbline --help | head -3`
    except OSError as error:
        if can_write():
            raise
        discard_output()
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        code = 2
    return code


def _answer(arguments: list[str], prog: str) -> int:
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
        if isinstance(config, TrainConfig):
            from plumbline.training.persistence.run_folder import refuse_early

            refuse_early(
                data_dir=config.data_dir,
                checkpoint_dir=config.checkpoint_dir,
                resume=config.resume if config.ensemble == 1 else None,
                trial=config.fast_dev_run > 0,
            )
        return import_module(VERBS[verb].module).run(config, make_console())
    except InputError as error:
        if debug:
            print(visible(traceback.format_exc()), end="", file=sys.stderr)
        print(visible(f"error: {error}"), file=sys.stderr)
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
    arguments, files = _normalise(kind, argv)
    changed = RECIPES[_recipe(arguments, files)] if kind is TrainConfig else {}
    parser = build_parser(kind, prog=prog, defaults=changed)
    texts = []
    for file in files:
        text = _read_config(file, {item.name: item for item in fields(kind)})
        if not text:
            continue
        texts.append(f"--config={text}")
        try:
            validate_each(_parse(parser, kind, texts[-1:]))
        except InputError as error:
            raise InputError(f"--config {file}: {error}") from error
    # Files first, wherever they stood: flags win over them.
    config = _parse(parser, kind, texts + arguments)
    validate(config)
    return config


def _parse(parser: Any, kind: type, arguments: list[str]) -> Any:
    try:
        parsed = parser.parse_args(arguments)
    except OSError:
        raise  # the parser reads no file: its --help could not be written, which is the caller's to say
    except Exception as error:  # jsonargparse raises many kinds; all mean "cannot be parsed"
        raise InputError(_one_sentence(kind, str(error))) from error
    return kind(**{item.name: getattr(parsed, item.name) for item in fields(kind)})


def _help_of(item: Any, default: Any) -> str:
    """The meaning of a flag and its default, as ``--help`` shows them."""
    said = item.metadata["help"].replace("%", "%%")
    if default is None or default == [] or default is False:
        return said
    return f"{said} (default: {'on' if default is True else default})"


def _metavar(item: Any, default: Any) -> str | None:
    meta = item.metadata
    if meta["metavar"] or item.type is bool:
        return meta["metavar"] or None
    if meta["choices"]:
        return f"{{{','.join(meta['choices'])}}}"
    if isinstance(default, Path):
        return "DIR"
    return {int: "N", float: "X"}.get(item.type, "TEXT")


def _recipe(arguments: list[str], files: list[Path]) -> str:
    """The recipe that flags or, if they are silent, files name; it decides what all other defaults are."""
    import yaml

    name = "documented"
    for file in files:
        try:
            node = _compose(file.read_bytes())
        except (OSError, ValueError, yaml.YAMLError):
            continue  # refused with a reason when the file is read for good
        for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
            if key.value == "recipe" and isinstance(value, yaml.ScalarNode):
                name = value.value
    for position, token in enumerate(arguments):
        flag, equals, value = token.partition("=")
        if flag == "--recipe":
            name = value if equals else "".join(arguments[position + 1 : position + 2])
    return name if name in RECIPES else "documented"


def build_parser(kind: type, *, prog: str, defaults: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The parser of one config dataclass: a flag per field, ``--config`` and ``--print_config``.

    Args:
        kind: the dataclass.
        prog: the name in the usage line.
        defaults: other defaults than the dataclass's own.
    """
    from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter

    class Plain(DefaultHelpFormatter):
        """Shows our texts as they are: types and defaults of Python's own making say little."""

        def _get_help_string(self, action: Any) -> str:
            return action.help or ""

    parser = ArgumentParser(
        prog=prog,
        description=kind.__doc__,
        exit_on_error=False,
        allow_abbrev=False,
        default_env=False,
        formatter_class=Plain,
    )
    parser.add_argument("--version", action="version", version=f"plumbline {__version__}")
    said = "YAML file with flags as keys; flags win over it"
    parser.add_argument("--config", action="config", metavar="FILE", help=said)
    groups: dict[str, Any] = {}
    own = replace(kind(), **defaults)
    for item in fields(kind):
        meta = item.metadata
        target: Any = parser
        if meta["group"]:
            target = groups.setdefault(meta["group"], None) or parser.add_argument_group(meta["group"])
            groups[meta["group"]] = target
        default = getattr(own, item.name)
        shown, metavar = _help_of(item, default), _metavar(item, default)
        extra: dict[str, Any] = {"metavar": metavar} if metavar else {}
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


def _normalise(kind: type, argv: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Accept ``--flag-with-dashes`` and bare flags that may stand alone; refuse unknown flags.

    Returns:
        The arguments without ``--config``, and the files that it named.
    """
    known = {item.name: item for item in fields(kind)}
    spare = {"config", "print_config", "help", "version"}
    result: list[str] = []
    files: list[Path] = []
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
        if name in known and not equals and not last and re.match(r"-[\d.]", argv[position + 1]):
            # Such as --sensor -1,0,0, which argparse would take for a flag.
            equals, value, skip = "=", argv[position + 1], True
        if name == "config":
            file = value or ("" if last or equals else argv[position + 1])
            if not file:
                raise InputError("--config needs a value after it")
            files.append(Path(file))
            skip = not equals
            continue
        result.append(f"--{name}{equals}{value}")
    return result, files


_FLAT = "write 'flag: value', or 'flag: [value, value]'"
_TEXT, _BOOL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:bool"
_INTEGER, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_SWITCHES = ("true", "false", "yes", "no")
"""Beside YAML's own words for it, and in quotes too."""
_DEEPEST = 3
"""The whole, a list in it, an item of that: nothing that is nested deeper means anything."""


def _compose(text: str | bytes) -> Any:
    """The tree of a YAML text, given up where it gets too deep: reading takes time with every level."""
    import yaml

    class Shallow(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            if self.depth > _DEEPEST:
                raise InputError(f"line {self.peek_event().start_mark.line + 1}: {_FLAT}")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    return yaml.compose(text, Shallow)


def _read_config(path: Path, known: dict[str, Any]) -> str:
    """The text of a YAML file with its keys spelt as the flags are, or nothing if it sets nothing.

    Raises:
        InputError: it cannot be read, is no mapping, or a key is no flag, stands twice, or has no value.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
        node = _compose(text)
    except FileNotFoundError as error:
        raise InputError(f"--config {path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"--config {path}: cannot read it ({error.strerror})") from error
    except InputError as error:
        raise InputError(f"--config {path}, {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if node is None or node.tag.endswith(":null"):
        return ""
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"--config {path}: must be lines 'flag: value'")
    seen: set[str] = set()
    pairs = []
    for key, value in node.value:
        # What is nested means nothing here, and a few lines of aliases make it fill any memory when shown.
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(item, yaml.ScalarNode) for item in (key, *items)):
            raise InputError(f"--config {path}, line {key.start_mark.line + 1}: {_FLAT}")
        name = str(key.value).replace("-", "_")
        if name not in known:
            raise InputError(f"--config {path}: there is no flag {name}{nearest(name, known)}")
        if name in seen:
            raise InputError(f"--config {path}: {name} is there twice; leave one of the lines out")
        seen.add(name)
        kind = str(known[name].type)
        if value.tag.endswith(":null") and "None" not in kind:
            raise InputError(f"--config {path}: {name} has no value; leave the line out for the default")
        if "list" in kind and not isinstance(value, yaml.SequenceNode):
            raise InputError(f"--config {path}: {name} must be a list, such as [{value.value}]")
        if known[name].type is bool and str(value.value).lower() not in _SWITCHES and value.tag != _BOOL:
            shown = " ".join(text[value.start_mark.index : value.end_mark.index].split())[:60]
            raise InputError(f"--config {path}: {name}: {shown} is neither true nor false")
        written = [
            # A number may be meant as text: precision: 16.
            yaml.ScalarNode(_TEXT, item.value, style='"')
            if "str" in kind and item.tag in (_TEXT, _INTEGER, _FLOAT)
            else yaml.ScalarNode(item.tag, item.value, style=item.style)
            for item in items
        ]
        many = isinstance(value, yaml.SequenceNode)
        pairs.append(
            (yaml.ScalarNode(_TEXT, name), yaml.SequenceNode(value.tag, written) if many else written[0])
        )
    return yaml.serialize(yaml.MappingNode(node.tag, pairs), Dumper=yaml.SafeDumper) if pairs else ""


def _one_sentence(kind: type, message: str) -> str:
    """The parser's complaint in our words where it is about a value, on one line where it is not."""
    if missing := re.match(r"argument (--\w+): expected", message):
        return f"{missing[1]} needs a value after it"
    if stray := re.match(r"unrecognized arguments: (.*)", message):
        return f"no flag takes {stray[1]}: a value follows its flag, and a switch such as --debug has none"
    match = re.match(r'Parser key "(\w+)":.*Got value: (.*)', message, re.DOTALL)
    if switch := re.match(r"Value not boolean: (.*?)\.?$", message):
        return f"{switch[1]} is neither true nor false, which is all that a switch can be"
    if match is None:
        return " ".join(message.split())
    name, value = match[1], match[2].strip()
    types: dict[str, Any] = {item.name: item.type for item in fields(kind)}
    wanted = {int: "a whole number", float: "a finite number"}.get(types[name], "text")
    return f"--{name} {value}: must be {wanted}"
