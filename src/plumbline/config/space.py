"""What a sweep varies and what its trials share, read and checked like flags of ``plumbline train``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from plumbline.config.options import Option
from plumbline.config.reading import CONFIG, CommandLine
from plumbline.config.train import TrainConfig
from plumbline.errors import InputError
from plumbline.kinds import span
from plumbline.spaces import Parameter, Space

_EXAMPLE = "write NAME=VALUES, such as lr=1e-4-1e-2 or hidden_dim=64,128"
_DECIDING = ("recipe", "init_from", "model")
"""Flags whose values decide which other flags exist."""
_AGAIN = "the same command again resumes the trials"
_NOT_OURS = {
    "checkpoint_dir": "each trial has a folder of its own in --out",
    "resume": _AGAIN,
    "allow_mismatch": _AGAIN,
    "fast_dev_run": "a trial run measures nothing",
    "ensemble": "sweep single models, then train an ensemble with the best flags",
}
"""Flags of train that a sweep has no use for, and why."""
_LOG_FROM = 10
"""Ratio of the ends from which a range is drawn from on a logarithmic scale."""


def read_sweep(words: Sequence[str]) -> tuple[Space, list[str]]:
    """Split the words of a sweep into the space and the flags that all trials share, and check both.

    Args:
        words: ``NAME=VALUES`` for each flag to vary, then flags of train.

    Raises:
        InputError: a flag does not exist, is given twice, or would be refused with one of its values.
    """
    start = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    given, flags = [_split(word) for word in words[:start]], list(words[start:])
    if flags[:1] == ["--"]:  # in a --config file
        del flags[0]
    if not given:
        raise InputError(f"there is nothing to vary: {_EXAMPLE}")
    shared = [name.removeprefix("no_") for name in CommandLine(flags).named]
    for name in [*dict.fromkeys(name for name, _ in given), *shared]:
        if name in _NOT_OURS:
            raise InputError(f"--{name} has no place in a sweep: {_NOT_OURS[name]}")
    twice = [name for place, (name, _) in enumerate(given) if name in dict(given[:place])]
    if twice:
        raise InputError(f"{twice[0]} is varied twice: give one list or range")
    for name, _ in given:
        if name in shared:
            raise InputError(f"{name} is varied, and --{name} fixes it: give one of them")
    space = _read_space(dict(given), shared, flags)
    for chosen in space.samples():
        trial_config(space, flags, chosen)
    return space, flags


def trial_config(space: Space, flags: Sequence[str], chosen: Mapping[str, str]) -> TrainConfig:
    """The flags of a trial. Raises InputError if train refuses them."""
    try:
        config = CommandLine([*flags, *space.words(chosen)]).read(TrainConfig)
        assert isinstance(config, TrainConfig)
        config.check()
    except InputError as error:
        raise InputError(f"with {' '.join(space.words(chosen))}: {error}") from error
    for name in _NOT_OURS:
        given = getattr(config, name)
        if name != "checkpoint_dir" and given != getattr(TrainConfig, name):  # from a --config file
            raise InputError(f"--{name} {given} has no place in a sweep: {_NOT_OURS[name]}")
    return config


def _split(word: str) -> tuple[str, str]:
    name, equals, values = word.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"{word}: {_EXAMPLE}; flags that all trials share come after --")
    return name, values


def _read_space(given: Mapping[str, str], shared: Sequence[str], flags: Sequence[str]) -> Space:
    plain = CommandLine(flags).options(TrainConfig)
    deciding = [_parameter(plain[name], given[name]) for name in _DECIDING if name in given]
    options: dict[tuple[str, ...], dict[str, Option]] = {}
    for values in product(*(item.choices for item in deciding)):
        words = [word for item, value in zip(deciding, values, strict=True) for word in item.words(value)]
        options[values] = CommandLine([*flags, *words]).options(TrainConfig)
    known = {name: item for found in options.values() for name, item in found.items()}
    for name in shared:
        if name not in (*known, CONFIG.name):
            raise InputError(TrainConfig.unknown(name, known))
    others = []
    for name in given:
        if name not in known:
            raise InputError(TrainConfig.unknown(name, known).replace("flag --", "flag "))
        if name not in _DECIDING:
            others.append(_parameter(known[name], given[name]))
    absent = {
        values: frozenset(item.name for item in others if item.name not in found)
        for values, found in options.items()
    }
    return Space((*deciding, *others), tuple(item.name for item in deciding), absent)


def _parameter(option: Option, written: str) -> Parameter:
    """Read a list or a range by the kind of the flag. Raises InputError that names the flag."""
    found = Parameter(option.name, written, many=option.many)
    try:
        if option.kind.metavar in ("N", "X") and "," not in written:
            return _range(found, option, written)
        choices = tuple(text.strip() for text in written.split(","))
        if len(set(choices)) < len(choices):
            raise ValueError("a value occurs twice; give each once")
        for text in choices:
            option.read(text.split("+") if option.many else text)
        return replace(found, choices=choices)
    except ValueError as error:
        raise InputError(f"{option.name}={written}: {error}") from None


def _range(parameter: Parameter, option: Option, written: str) -> Parameter:
    text, colon, scale = written.partition(":")
    if colon and scale not in ("log", "linear"):
        raise ValueError("after the range, write :log or :linear")
    ends = span(option.kind, "1e-4-1e-2" if option.kind.metavar == "X" else "2-8", "").read(text)
    log = scale == "log" or (scale != "linear" and 0 < _LOG_FROM * ends.low <= ends.high)
    if log and ends.low <= 0:
        raise ValueError("a logarithmic scale needs ends above 0")
    return replace(parameter, low=ends.low, high=ends.high, whole=isinstance(ends.low, int), log=log)
