"""What a sweep tries: flags of ``plumbline train``, each with a list or a range of values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod

from plumbline.quantities import brief

MOST_COMBINATIONS = 10_000
"""Above it, a space of lists counts as endless."""
_DIGITS = 4
"""Significant digits of a value drawn from a range of real numbers: commands stay readable."""


@dataclass(frozen=True)
class Parameter:
    """A flag that is swept.

    Attributes:
        name: of the flag.
        written: its values as the user wrote them.
        choices: the values, as the command line takes them; empty for a range.
        low, high: the ends of a range, both included.
        whole: the numbers of the range are whole.
        log: the range is drawn from on a logarithmic scale.
        many: the flag takes several values, which stand in a choice with ``+`` between them.
    """

    name: str
    written: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False
    many: bool = False

    @property
    def count(self) -> int:
        """Number of values; more than :data:`MOST_COMBINATIONS` for a range of real numbers."""
        if self.choices:
            return len(self.choices)
        if self.low == self.high:
            return 1
        return int(self.high - self.low) + 1 if self.whole else MOST_COMBINATIONS + 1

    @property
    def values(self) -> Iterator[str]:
        """Every value, as the command line takes it; of a range of real numbers the ends."""
        if self.whole and not self.choices:
            return map(str, range(int(self.low), int(self.high) + 1))
        return iter(self.extremes)

    @property
    def extremes(self) -> tuple[str, ...]:
        """The values that a flag may refuse: all of a list, both ends of a range."""
        return self.choices or tuple(dict.fromkeys((brief(self.low), brief(self.high))))

    def words(self, value: str) -> list[str]:
        """The words of a command line that give the flag this value."""
        return [f"--{self.name}", *value.split("+")] if self.many else [f"--{self.name}={value}"]

    def text(self, value: float) -> str:
        """A drawn number as the command line takes it: whole, or of four significant digits."""
        if self.whole:
            return str(int(value))
        return brief(min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high))

    def value(self, text: str) -> str | float:
        """A choice, or the number that a text stands for."""
        return text if self.choices else int(text) if self.whole else float(text)

    def __str__(self) -> str:
        """In words: ``lr 0.0001-0.01 on a log scale``."""
        if self.choices:
            return f"{self.name} {' '.join(self.choices)}"
        return f"{self.name} {brief(self.low)}-{brief(self.high)}" + " on a log scale" * self.log


@dataclass(frozen=True)
class Space:
    """All that a sweep tries.

    Attributes:
        parameters: in the order in which they are drawn.
        deciding: names of the first ones, which decide what other flags exist, such as ``model``.
        absent: by the values of these, the other parameters that do not exist.
    """

    parameters: tuple[Parameter, ...]
    deciding: tuple[str, ...] = ()
    absent: Mapping[tuple[str, ...], frozenset[str]] = field(default_factory=dict)

    def decision(self, chosen: Mapping[str, str]) -> tuple[str, ...]:
        """The values of the flags that decide."""
        return tuple(chosen[name] for name in self.deciding)

    def existing(self, chosen: Mapping[str, str]) -> list[Parameter]:
        """The parameters of a trial, once those that decide have values."""
        missing = self.absent.get(self.decision(chosen), frozenset())
        return [item for item in self.parameters if item.name not in missing]

    def combinations(self) -> list[dict[str, str]] | None:
        """Every combination of values once; None if there are too many to list."""
        if prod(item.count for item in self.parameters) > MOST_COMBINATIONS:
            return None
        found: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        for values in product(*(item.values for item in self.parameters)):
            chosen = dict(zip((item.name for item in self.parameters), values, strict=True))
            chosen = {item.name: chosen[item.name] for item in self.existing(chosen)}
            found.setdefault(tuple(chosen.items()), chosen)
        return list(found.values())

    def samples(self) -> Iterator[dict[str, str]]:
        """Combinations in which every decision occurs, with every value that may be refused."""
        deciding = [item for item in self.parameters if item.name in self.deciding]
        for decision in product(*(item.values for item in deciding)):
            chosen = dict(zip((item.name for item in deciding), decision, strict=True))
            others = [item for item in self.existing(chosen) if item.name not in self.deciding]
            base = chosen | {item.name: item.extremes[0] for item in others}
            yield base
            for item in others:
                yield from (base | {item.name: value} for value in item.extremes[1:])

    def words(self, chosen: Mapping[str, str]) -> list[str]:
        """The words of a command line that give the swept flags these values."""
        return [word for item in self.existing(chosen) for word in item.words(chosen[item.name])]
