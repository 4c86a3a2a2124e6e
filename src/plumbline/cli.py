"""The command line: parsing, ``--help``, and dispatch to the verbs.

``plumbline VERB ...`` imports the module of the chosen verb only, so that ``--help`` and a refused flag do
not import torch. Precedence: defaults < recipe < ``--config FILE`` < flags.
"""

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from shutil import get_terminal_size
from typing import Any, NamedTuple

from plumbline import __version__
from plumbline.config.options import Flags, Option
from plumbline.config.reading import CONFIG, CommandLine
from plumbline.console.remarks import tell
from plumbline.console.terminal import can_write, discard_output, make_console, make_writable
from plumbline.console.text import folded, visible
from plumbline.errors import InputError
from plumbline.kinds import nearest, switch


class Verb(NamedTuple):
    """A subcommand, as ``module:name`` strings that are imported only when it is used.

    Attributes:
        flags: config class, a :class:`~plumbline.config.options.Flags`.
        run: function ``(config, console) -> exit code``.
        early: function that refuses bad input before ``run`` is imported; its keyword arguments are flags.
    """

    flags: str
    run: str
    early: str = ""

    @property
    def config(self) -> type[Flags]:
        """The config class."""
        return _import(self.flags)

    @property
    def summary(self) -> str:
        """The first line of the config's docstring."""
        return (self.config.__doc__ or "").splitlines()[0]


VERBS = {
    "prepare": Verb("config.prepare:PrepareConfig", "commands.prepare:run"),
    "check": Verb("config.check:CheckConfig", "commands.check:run"),
    "train": Verb(
        "config.train:TrainConfig", "commands.train:run", "training.persistence.run_folder:refuse_early"
    ),
    "sweep": Verb("config.sweep:SweepConfig", "commands.sweep:run"),
    "evaluate": Verb("config.evaluate:EvaluateConfig", "commands.evaluate:run"),
    "predict": Verb("config.predict:PredictConfig", "commands.predict:run"),
    "serve": Verb("config.serve:ServeConfig", "commands.serve:run"),
    "inertia": Verb("config.inertia:InertiaConfig", "commands.inertia:run"),
    "label": Verb("config.label:LabelConfig", "commands.label:run"),
    "benchmark": Verb("config.benchmark:BenchmarkConfig", "commands.benchmark:run"),
}


def _import(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"plumbline.{module}"), name)


def main(argv: Sequence[str] | None = None, *, prog: str = "plumbline") -> int:
    """Run one command line and return its exit code: 0 done, 2 refused input, 130 interrupted."""
    make_writable()
    try:
        code = _answer(list(sys.argv[1:] if argv is None else argv), prog)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()  # the reader has closed the pipe, as in `plumbline --help | head -3`
        code = 0
    except OSError as error:
        if can_write():
            raise
        discard_output()
        tell(f"error: the output cannot be written: {error.strerror}")
        code = 2
    return code


def _answer(arguments: list[str], prog: str) -> int:
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    try:
        if verb in ("-h", "--help", "help"):
            print(overview())
        elif verb == "--version" or "--version" in rest:
            print(f"plumbline {__version__}")
        elif verb not in VERBS:
            raise InputError(
                f"there is no command {verb!r}{nearest(verb, VERBS)} (plumbline --help lists them)"
            )
        elif {"-h", "--help"} & set(rest):
            print(explain(verb, rest, prog=f"plumbline {verb}" if prog == "plumbline" else prog), end="")
        elif shows := {"--print_config", "--print-config"} & set(rest):
            import yaml

            config = CommandLine([word for word in rest if word not in shows]).read(VERBS[verb].config)
            print(yaml.safe_dump(config.plain(), sort_keys=False), end="")
        else:
            return _run(VERBS[verb], parse(verb, rest))
    except InputError as error:
        if "--debug" in rest:
            print(visible(traceback.format_exc()), end="", file=sys.stderr)
        tell(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _run(verb: Verb, config: Flags) -> int:
    if verb.early:
        refuse = _import(verb.early)
        refuse(**{flag: getattr(config, flag) for flag in signature(refuse).parameters})
    return _import(verb.run)(config, make_console())


def overview() -> str:
    """The text of ``plumbline --help``."""
    rows = "\n".join(f"  {name:<10}{verb.summary}" for name, verb in VERBS.items())
    page = (
        f"usage: plumbline COMMAND [flags]\n\n"
        f"Find an object's centre of mass from a partial scan of it.\n\n{rows}\n\n"
        f"plumbline COMMAND --help explains a command's flags; plumbline --version prints {__version__}."
    )
    lines = [folded(line, _help_width(), indent=" " * 12 * line.startswith(" ")) for line in page.split("\n")]
    return "\n".join(line for some in lines for line in some)


def _help_width() -> int:
    return min(get_terminal_size().columns, 80)


def explain(verb: str, argv: Sequence[str], *, prog: str) -> str:
    """The text of ``plumbline VERB --help``, for the recipe and the network that ``argv`` names."""
    from argparse import Action, ArgumentParser, HelpFormatter

    class Page(HelpFormatter):
        """At most 80 columns wide, also where a flag has many choices."""

        def __init__(self, prog: str) -> None:
            super().__init__(prog, width=_help_width())

        def _format_action_invocation(self, action: Action) -> str:
            line, room = super()._format_action_invocation(action), _help_width() - 2
            if len(line) <= room:
                return line
            return "\n".join(folded(line.replace(",", ", "), room, indent=" " * 6))

    options = [CONFIG, *CommandLine(argv).options(VERBS[verb].config).values()]
    places = "".join(f" [{_called(item)}{' ...' * item.many}]" for item in options if item.positional)
    page = ArgumentParser(
        usage=f"{prog}{places} [flags]", description=VERBS[verb].summary, add_help=False, formatter_class=Page
    )
    groups: dict[str, Any] = {"": page}
    page.add_argument("-h", "--help", action="store_true", help="show this page and exit")
    page.add_argument("--version", action="store_true", help="show the program's version and exit")
    page.add_argument("--print_config", action="store_true", help="print all flags as a YAML file and exit")
    for item in options:
        if item.group not in groups:
            groups[item.group] = page.add_argument_group(item.group)
        said = item.help.replace("%", "%%") + f" (default: {item.shown})" * bool(item.shown)
        if item.kind is switch:
            names = [f"--{item.name}", f"--no_{item.name}"]
            groups[item.group].add_argument(*names, action="store_true", help=said)
        else:
            nargs = ("*" if item.positional else "+") if item.many else "?" if item.bare else None
            name = item.name if item.positional else f"--{item.name}"
            groups[item.group].add_argument(name, nargs=nargs, metavar=_called(item), help=said)
    return page.format_help()


def _called(item: Option) -> str:
    return item.metavar or item.kind.metavar


def parse(verb: str, argv: Sequence[str]) -> Any:
    """Parse and check the flags and YAML files of a verb. Raises InputError for invalid or unknown ones."""
    config = CommandLine(argv).read(VERBS[verb].config)
    config.check()
    return config
