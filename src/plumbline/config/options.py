"""What a flag is: a field of a dataclass, declared once, with its default, its help and its kind of value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from plumbline.errors import InputError
from plumbline.kinds import Kind, nearest, switch

Given = str | list[str] | None
"""What a flag is given: a text, several, or YAML's ``null``."""
NOTHING: Mapping[str, str] = MappingProxyType({})
_LONGEST = 60
"""Letters of a refused text that are repeated."""


@dataclass(frozen=True)
class Option:
    """One flag.

    Attributes:
        name: of the flag, the YAML key and the field.
        default: a list for a flag that takes several values.
        help: what it means.
        kind: of its value, or of each of them.
        group: heading in ``--help``; a field without one belongs to that of the field before.
        metavar: what its value is called, if not as the kind calls it.
        positional: its values stand on the command line without the flag.
        bare: what it means when no value follows.
        into: the field, a list of ``NAME=VALUE``, that holds its value.
    """

    name: str
    default: Any
    help: str
    kind: Kind
    group: str = ""
    metavar: str = ""
    positional: bool = False
    bare: str = ""
    into: str = ""

    @property
    def many(self) -> bool:
        """Whether it takes several values."""
        return isinstance(self.default, list)

    @property
    def shown(self) -> str:
        """The default as the user would write it; nothing for none, and for a switch that is off."""
        if isinstance(self.default, bool):
            return "on" if self.default else ""
        return " ".join(self.default) if self.many else "" if self.default is None else str(self.default)

    def read(self, given: Given) -> Any:
        """The value that is meant. Raises InputError with the flag, what it was given, and what it takes."""
        if given is None and self.default is None:
            return None
        if given is None:
            raise InputError(f"{self.name} has no value; leave the line out for the default")
        if self.many != isinstance(given, list):
            wanted = "must be a list, such as [a, b]" if self.many else "takes one value, not a list"
            raise InputError(f"{self.name} {wanted}")
        return [self._read(text) for text in given] if isinstance(given, list) else self._read(given)

    def _read(self, text: str) -> Any:
        try:
            return self.kind.read(text)
        except ValueError as error:
            line = " ".join(text.split())
            line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
            raise InputError(f"{'' if self.positional else '--'}{self.name} {line}: {error}") from None


def option(default: Any, help: str, kind: Kind, **more: Any) -> Any:
    """A field of a :class:`Flags` dataclass; ``more`` are other attributes of its :class:`Option`."""
    metadata = {"option": Option("", default, help, kind, **more)}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def debug_option() -> Any:
    """The flag that every verb has."""
    return option(False, "say more, and show a traceback when something fails", switch, group="output")


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The flags of one verb. The first line of its docstring says what the verb does."""

    @classmethod
    def options(cls, said: Mapping[str, str] = NOTHING) -> dict[str, Option]:
        """Every flag by name; which there are, and their defaults, may depend on texts given to others."""
        found, group = {}, ""
        for item in fields(cls):
            declared: Option = item.metadata["option"]
            group = declared.group or group
            found[item.name] = replace(declared, name=item.name, group=group)
        return found

    @classmethod
    def unknown(cls, name: str, options: Mapping[str, Option]) -> str:
        """A sentence that refuses a flag that is not among them."""
        return f"there is no flag --{name}{nearest(f'--{name}', [f'--{flag}' for flag in options])}"

    def check(self) -> None:
        """Refuse flags that contradict each other. Raises InputError."""

    def plain(self) -> dict[str, Any]:
        """The flags as values of YAML and JSON that read back as the same."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | None) else str(value)
