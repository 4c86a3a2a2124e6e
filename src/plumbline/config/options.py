"""How a field of a dataclass becomes a flag."""

from dataclasses import field
from typing import Any


def option(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    metavar: str = "",
    positional: bool = False,
    bare: str = "",
    group: str = "",
) -> Any:
    """A dataclass field that is a flag. ``bare`` is what the flag means when no value follows it."""
    metadata = {
        "help": help,
        "at_least": at_least,
        "at_most": at_most,
        "above": above,
        "below": below,
        "choices": choices,
        "metavar": metavar,
        "positional": positional,
        "bare": bare,
        "group": group,
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def debug_option() -> Any:
    """The flag that every verb has."""
    return option(False, "say more, and show a traceback when something fails", group="output")
