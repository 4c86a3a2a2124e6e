"""Reading a command line, and the YAML files that it names, into one config."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plumbline.config.options import Flags, Given, Option
from plumbline.config.yaml_files import read_yaml
from plumbline.errors import InputError
from plumbline.kinds import file, switch

CONFIG = Option(
    "config", None, "YAML file with flags as keys; flags on the command line take precedence", file
)
_FLAG = re.compile(r"-(?![\d.]|$)")
"""The start of a flag; a dash before a digit belongs to a number."""


@dataclass
class _Word:
    """A flag as typed, with underscores; the text after its ``=``; the words up to the next flag."""

    name: str
    text: str | None
    following: list[str] = field(default_factory=list)

    @property
    def first(self) -> str | None:
        return self.text if self.text is not None or not self.following else self.following[0]


class CommandLine:
    """A parsed command line, and the YAML files that it names.

    Raises:
        InputError: a file cannot be read, or a word cannot be a flag of any verb.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._before: list[str] = []
        self._words: list[_Word] = []
        self._after: list[str] = []
        for position, token in enumerate(argv):
            if token == "--":
                self._after += argv[position + 1 :]
                break
            if not _FLAG.match(token):
                (self._words[-1].following if self._words else self._before).append(token)
            elif not token.startswith("--"):
                raise InputError(f"there is no flag {token}: flags begin with two dashes")
            else:
                name, equals, text = token[2:].partition("=")
                self._words.append(_Word(name.replace("-", "_"), text if equals else None))
        named = [word.first for word in self._words if word.name == CONFIG.name]
        files: list[Path] = [CONFIG.read(name) for name in named if name is not None]
        self._files = [(f"--config {path}: ", read_yaml(path)) for path in files]

    @property
    def named(self) -> list[str]:
        """The names of the flags on the command line."""
        return [word.name for word in self._words]

    def options(self, config: type[Flags]) -> dict[str, Option]:
        """The flags of a verb; recipe and model given here decide which exist."""
        texts = [
            {name: text for name, text in given.items() if isinstance(text, str)} for _, given in self._files
        ]
        texts.append({word.name: word.first for word in self._words if word.first is not None})
        return config.options({name: text for source in texts for name, text in source.items()})

    def read(self, config: type[Flags]) -> Flags:
        """Build a verb's config: flags override files, wherever these are named; files override defaults.

        Raises:
            InputError: a flag does not exist, lacks its value, or has an invalid one.
        """
        options = self.options(config)
        flags = self._flags(config, options)
        values = {name: item.default for name, item in options.items() if not item.into}
        for source, given in (*self._files, ("", flags)):
            try:
                for name in given:
                    if name not in options:
                        raise InputError(config.unknown(name, options))
                for name in sorted(given, key=lambda name: options[name].into):
                    value, into = options[name].read(given[name]), options[name].into
                    if into:
                        known = dict(text.partition("=")[::2] for text in values[into]) | {name: value}
                        value = [f"{key}={item}" for key, item in known.items()]
                    values[into or name] = value
            except InputError as error:
                raise InputError(f"{source}{error}") from error
        return config(**{key: list(item) if isinstance(item, list) else item for key, item in values.items()})

    def _flags(self, config: type[Flags], options: dict[str, Option]) -> dict[str, Given]:
        """The raw value of each flag on the command line; the last one wins."""
        given: dict[str, Given] = {}
        loose = list(self._before)
        for word in self._words:
            option, text = {**options, CONFIG.name: CONFIG}.get(word.name), word.text
            negated = options.get(word.name.removeprefix("no_"))
            if option is None and negated is not None and negated.kind is switch and text is None:
                option, text = negated, "false"
            if option is None or option.positional:
                raise InputError(config.unknown(word.name, options))
            taken = 0
            if option.kind is switch:
                given[option.name] = "true" if text is None else text
            elif text is not None:
                given[option.name] = [text] if option.many else text
            else:
                taken = len(word.following) if option.many else 1
                first = option.bare if word.first is None else word.first
                given[option.name] = word.following if option.many else first
                if given[option.name] in ([], None):
                    raise InputError(f"--{option.name} needs a value after it")
            loose += word.following[taken:]
        loose += self._after
        given.pop(CONFIG.name, None)
        place = next((item for item in options.values() if item.positional), None)
        if place is not None and loose:
            given[place.name] = loose if place.many else loose[0]
            loose = [] if place.many else loose[1:]
        if loose:
            raise InputError(
                f"unexpected value {' '.join(loose)}: a value follows its flag, and a switch such as --debug "
                "takes none"
            )
        return given
