"""The declaration of a flag: a dataclass field with its default, its help and its kind of value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from plumbline.errors import InputError
from plumbline.kinds import Kind, nearest, switch
from plumbline.quantities import plain

Given = str | list[str] | None
"""The raw value of a flag: one text, several, or None for YAML's ``null``."""
NOTHING: Mapping[str, str] = MappingProxyType({})
_LONGEST = 60
"""Length in characters at which an error message truncates the value that it quotes."""


@dataclass(frozen=True)
class Option:
    """One flag.

    Attributes:
        name: name of the flag, the YAML key and the field.
        default: default value; a list for a flag that takes several values.
        help: help text.
        kind: kind of the value, or of each value.
        group: heading in ``--help``; a field without one belongs to the group of the field before it.
        metavar: name of the value in ``--help``; by default that of the kind.
        positional: whether the values are given without the flag's name.
        several: whether several values may be given; one is then still no list.
        bare: value that is used if the flag is given without one; None: there is none.
        into: the field, a list of ``NAME=VALUE``, that stores the value.
    """

    name: str
    default: Any
    help: str
    kind: Kind
    group: str = ""
    metavar: str = ""
    positional: bool = False
    several: bool = False
    bare: str | None = None
    into: str = ""

    @property
    def many(self) -> bool:
        """Whether the flag takes several values."""
        return self.several or isinstance(self.default, list)

    @property
    def shown(self) -> str:
        """The default as the user would write it; empty for None and for a switch that is off."""
        if isinstance(self.default, bool):
            return "on" if self.default else ""
        return (
            " ".join(self.default)
            if isinstance(self.default, list)
            else ""
            if self.default is None
            else str(self.default)
        )

    def read(self, given: Given) -> Any:
        """Convert a raw value. Raises InputError that names the flag, the value, and what is allowed."""
        if given is None and self.default is None:
            return None
        if given is None:
            raise InputError(f"{self.name} has no value; leave the line out for the default")
        if self.several:
            values = [self._read(text) for text in ([given] if isinstance(given, str) else given)]
            if not values:
                raise InputError(f"{self.name} has no value; leave the line out for the default")
            return values if len(values) > 1 else values[0]
        if self.many != isinstance(given, list):
            wanted = "must be a list, such as [a, b]" if self.many else "takes one value, not a list"
            raise InputError(f"{self.name} {wanted}")
        return [self._read(text) for text in given] if isinstance(given, list) else self._read(given)

    def _read(self, text: str) -> Any:
        try:
            if not text.strip():  # "$UNSET" in a script
                raise ValueError("must not be empty; leave the flag out for the default")
            if self.many and "," in text and set(text.split(",")) <= set(self.kind.choices):
                raise ValueError(f"separate several with spaces: {text.replace(',', ' ')}")
            return self.kind.read(text)
        except ValueError as error:
            line = " ".join(text.split()) or '""'
            line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
            raise InputError(f"{'' if self.positional else '--'}{self.name} {line}: {error}") from None


def option(default: Any, help: str, kind: Kind, **more: Any) -> Any:
    """A field of a :class:`Flags` dataclass; ``more`` sets other attributes of its :class:`Option`."""
    metadata = {"option": Option("", default, help, kind, **more)}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def debug_option() -> Any:
    """``--debug``, which every verb has."""
    return option(False, "log more, and show the traceback of an error", switch, group="output")


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The flags of one verb. The first line of a subclass's docstring is the verb's summary in ``--help``."""

    @classmethod
    def options(cls, said: Mapping[str, str] = NOTHING) -> dict[str, Option]:
        """Every flag by name. Which exist, and their defaults, may depend on ``said``, the values given."""
        found, group = {}, ""
        for item in fields(cls):
            declared: Option = item.metadata["option"]
            group = declared.group or group
            found[item.name] = replace(declared, name=item.name, group=group)
        return found

    @classmethod
    def unknown(cls, name: str, options: Mapping[str, Option]) -> str:
        """The error sentence for a flag that is not in ``options``."""
        return f"there is no flag --{name}{nearest(f'--{name}', [f'--{flag}' for flag in options])}"

    def check(self) -> None:
        """Refuse flags that contradict each other. Raises InputError."""

    def plain(self) -> dict[str, Any]:
        """The flags as YAML and JSON values that read back as the same flags."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self)}
