"""Fine-tuning: the weights that a new training takes over from a checkpoint, and those that it freezes."""

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from plumbline.console.text import counted
from plumbline.data.store.reader import PackedStore
from plumbline.errors import InputError
from plumbline.files import folder_names
from plumbline.models import SIDE_ARGUMENTS, build_model
from plumbline.models.arguments import own_arguments, read_arguments
from plumbline.models.feature_axes import Labels
from plumbline.own_parts import names_a_file
from plumbline.predictors.architecture import SIZES, architecture
from plumbline.predictors.checkpoint import load_checkpoint
from plumbline.predictors.find_checkpoint import find_best
from plumbline.training.records import TrainSettings

_UNKNOWN = ("table",)
"""Features that are 0 where they are not known: leaving their weights out is the same as not knowing them."""
_OF_FEATURES = ("feature_names", "vector_names", "features", "columns", "input_dim")


def pinned(settings: TrainSettings) -> TrainSettings:
    """The settings with the SHA-256 of the checkpoint to start from. Raises InputError if there is none.

    A training that is resumed and knows it does not need the checkpoint.
    """
    given, known = settings.init_from, settings.init_from_sha256
    if given is None or (settings.resume is not None and known is not None):
        return settings
    found = _sha256(find_best(given))
    if known not in (None, found):
        raise InputError(
            f"--init_from {given} has changed: its SHA-256 is {found} instead of {known}; give the file as "
            "it was, or leave --init_from_sha256 out"
        )
    return replace(settings, init_from_sha256=found)


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read the checkpoint {path} ({error.strerror or error})") from error


class Moved(NamedTuple):
    """A weight on its way into another network, and how many of its numbers were taken over, are new zeros,
    or were left behind."""

    weight: Tensor
    taken: int
    zero: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class Start:
    """The network that a training starts from.

    Attributes:
        settings: settings of the training.
        name: the checkpoint, as the user named it, and which network of an ensemble.
        model: the network with its weights.
        model_args: its arguments.
        feature_names, vector_names: columns of the node features and vectors of a scan in its training data.
    """

    settings: TrainSettings
    name: str
    model: nn.Module
    model_args: dict[str, Any]
    feature_names: tuple[str, ...]
    vector_names: tuple[str, ...]

    def side_arguments(self, model_args: dict[str, Any]) -> dict[str, bool]:
        """What the new network predicts next to the centre of mass: what it would, and what this one does."""
        return {
            name: bool(model_args[name] or self.model_args.get(name))
            for name in SIDE_ARGUMENTS
            if name in model_args
        }

    def give(self, model: nn.Module, model_args: dict[str, Any], store: PackedStore) -> list[str]:
        """Give a new network the weights; with unknown new features it then answers as this one does.

        Args:
            model: the new network.
            model_args: its arguments.
            store: its data set.

        Returns:
            Sentences: what was taken over, what starts from zero or with random weights, what was dropped.

        Raises:
            InputError: the data set lacks a feature that the weights read, or the networks do not fit.
        """
        here, there = self._axes(model, model_args, store)
        new, lost = self._features(model, store)
        old, weights = self.model.state_dict(), model.state_dict()
        if without := [name for name in old if name not in weights]:
            raise InputError(f"--init_from {self.name}: the network to train has no {', '.join(without)}")
        moved = {
            name: self._moved(weight, there[name], here[name])
            if name in here
            else Moved(weight, weight.numel())
            for name, weight in old.items()
        }
        for name, (weight, *_) in moved.items():
            if weight.shape != weights[name].shape:
                raise InputError(
                    f"--init_from {self.name}: {name} is {list(weight.shape)} there and "
                    f"{list(weights[name].shape)} in the network to train: they are not the same network"
                )
            with torch.no_grad():
                weights[name].copy_(weight)
        _, taken, zero, dropped = (list(counts) for counts in zip(*moved.values(), strict=True))
        said = [f"starts from {self.name}: {len(old)} tensors, {sum(taken):,} weights taken over"]
        if new:
            stuck = "; the trunk is frozen, so those in it stay 0" * (self.settings.freeze == "trunk")
            said.append(
                f"starts from zero: {sum(zero):,} weights of {', '.join(new)}, which it did not know{stuck}"
            )
        if lost:
            said.append(
                f"dropped: {sum(dropped):,} weights of {', '.join(lost)}, which these data do not have "
                "(prepare --sensor_model depth keeps them): it answers as where that is not known"
            )
        if random := [name for name in weights if name not in old]:
            number = sum(weights[name].numel() for name in random)
            parts = ", ".join(dict.fromkeys(name.rpartition(".")[0] for name in random))
            said.append(f"starts with random weights: {number:,} of {parts}")
        return said

    def _features(self, model: nn.Module, store: PackedStore) -> tuple[list[str], list[str]]:
        """The features that only the new network reads, and those that only this one reads."""
        now = _used(model, store.feature_names)
        before = _used(self.model, self.feature_names)
        lost = [name for name in before if name not in now]
        needed = [name for name in lost if name not in _UNKNOWN]
        if needed:
            columns = store.feature_names
            there = {*store.vector_names, *columns, *(name.removesuffix("_x") for name in columns)}
            absent = [name for name in needed if name not in there]
            where = folder_names(self.settings.data_dir)
            raise InputError(
                f"--init_from {self.name} needs {', '.join(absent)}, which {where} does not have: prepare "
                "the data with this version, or start from another checkpoint"
                if absent
                else f"--init_from {self.name} needs {', '.join(needed)}: name it in --features, or leave "
                "--features out"
            )
        return [name for name in now if name not in before], lost

    def _axes(
        self, model: nn.Module, model_args: dict[str, Any], store: PackedStore
    ) -> tuple[dict[str, tuple[int, Labels]], dict[str, tuple[int, Labels]]]:
        """The axes that depend on the features, of the new network and of this one."""
        if hasattr(model, "feature_axes"):
            columns = [list(store.feature_names), list(self.feature_names)]
            both: Any = (model, self.model)
            here, there = (one.feature_axes(names) for one, names in zip(both, columns, strict=True))
            return here, there
        same = (store.feature_names, store.vector_names) == (self.feature_names, self.vector_names)
        if not same or any(model_args.get(key) != self.model_args.get(key) for key in _OF_FEATURES):
            raise InputError(
                f"--init_from {self.name} was trained on other features, and {self.settings.model} has no "
                "method feature_axes that says which weights read which: give it data with the same features"
            )
        return {}, {}

    def _moved(self, weight: Tensor, before: tuple[int, Labels], now: tuple[int, Labels]) -> "Moved":
        """A weight for other features, zero for new ones."""
        (axis, old), (_, new) = before, now
        place = {label: i for i, label in enumerate(old) if label is not None}
        gone = place.keys() - set(new)
        if any(not _reads(label, _UNKNOWN) for label in gone):
            raise InputError(
                f"--init_from {self.name}: {self.settings.model} treats what it knows in another way with "
                "the features of this training: name by --features those that it was trained with"
            )
        each = weight.numel() // len(old)
        moved = weight.new_zeros([len(new) if i == axis else size for i, size in enumerate(weight.shape)])
        pairs = [(i, place[label]) for i, label in enumerate(new) if label in place]
        if pairs:
            to, source = torch.tensor(pairs).unbind(1)
            moved.index_copy_(axis, to, weight.index_select(axis, source))
        known = len([label for label in new if label is not None])
        return Moved(moved, each * len(pairs), each * (known - len(pairs)), each * len(gone))


def _used(model: Any, columns: Sequence[str]) -> list[str]:
    """The features that a network reads: their names, or the columns of one that reads plain columns."""
    if hasattr(model, "inputs"):
        return list(model.inputs.names)
    used = getattr(model, "columns", None)
    return list(columns) if used is None else [columns[place] for place in used]


def _reads(label: Hashable, names: Sequence[str]) -> bool:
    return label in names or (isinstance(label, tuple) and any(name in label for name in names))


def read_start(settings: TrainSettings) -> Start | None:
    """Read the network that a training starts from; None if it is resumed, or starts with random weights.

    Raises:
        InputError: the checkpoint cannot be read, has changed, or holds another network than the flags say.
    """
    if settings.init_from is None or settings.resume is not None:
        return None
    path = find_best(settings.init_from)
    own = settings.model if names_a_file(settings.model) else None
    trained = load_checkpoint(path, model=own)
    pinned(settings)
    model: Any = trained.model
    model_name, model_args, name = trained.model_name, trained.model_args, str(settings.init_from)
    if hasattr(model, "members"):
        number = settings.member % len(model.members)
        name += f", network {number + 1} of {len(model.members)}"
        model_name, model_args = (model_args["members"][number][key] for key in ("model", "model_args"))
        model = model.members[number]
    _check_network(settings, model_name)
    data = trained.data
    return Start(settings, name, model, model_args, tuple(data.feature_names), tuple(data.vector_names))


def _check_network(settings: TrainSettings, model_name: str) -> None:
    """Refuse flags that describe another network than that of the checkpoint. Raises InputError."""
    assert settings.init_from is not None
    there = architecture(settings.init_from, settings.member)
    same = settings.model == model_name or (names_a_file(settings.model) and names_a_file(model_name))
    other = [] if same else [f"--model {settings.model} here, {model_name} there"]
    other += [
        f"--{name} {getattr(settings, name)} here, {there[name]} there"
        for name in SIZES
        if name != "dropout" and str(getattr(settings, name)) != there[name]
    ]
    if same:
        defaults = {name: item.default for name, item in own_arguments(settings.model).items()}
        now, before = (
            defaults | read_arguments(settings.model, given)
            for given in (settings.model_args, there["model_args"])
        )
        other += [
            f"--{name} {now[name]} here, {before[name]} there" for name in now if now[name] != before[name]
        ]
    if other:
        raise InputError(
            f"--init_from {settings.init_from} holds a network of another kind ({'; '.join(other)}): leave "
            "these flags out"
        )


def make_network(
    settings: TrainSettings, model_args: dict[str, Any], start: Start | None, store: PackedStore
) -> tuple[Any, list[str | None]]:
    """Make the network of a training, with random weights or those of a checkpoint.

    Args:
        settings: settings of the training.
        model_args: arguments of the network.
        start: what it starts from.
        store: its data set.

    Returns:
        The network, and sentences about what it takes over and what is frozen.

    Raises:
        InputError: the weights do not fit, or the network does not say what its heads are.
    """
    model = build_model(settings.model, **model_args)
    said = [] if start is None else start.give(model, model_args, store)
    return model, [*said, *_freeze(model, settings, has_payload=store.has_payload)]


def _freeze(model: nn.Module, settings: TrainSettings, *, has_payload: bool) -> list[str]:
    """Exclude weights from training: the trunk if so asked, and heads that the data cannot train.

    Returns:
        Sentences about it.

    Raises:
        InputError: the network does not say what its heads are.
    """
    said = []
    if settings.freeze == "trunk":
        heads: tuple[str, ...] = getattr(model, "heads", ())
        if not heads:
            raise InputError(
                f"--freeze trunk: {settings.model} does not say which of its parts are heads; leave it out, "
                'or give the class an attribute such as heads = ("head",)'
            )
        trunk = [
            weight
            for name, weight in model.named_parameters()
            if not name.startswith(tuple(f"{head}." for head in heads))
        ]
        total = sum(weight.numel() for weight in model.parameters())
        frozen = _keep(trunk)
        said.append(f"frozen: the trunk, {frozen:,} of {total:,} weights; {', '.join(heads)} train")
    side: Any = getattr(model, "side_heads", None)
    if not has_payload and side is not None and side.moments is not None:
        frozen = _keep([*side.moments.parameters(), *side.sizes.parameters()])
        said.append(
            f"kept as they are: {counted(frozen, 'weight')} of the heads of volume and inertia, which the "
            "data do not have"
        )
    return said


def _keep(weights: Sequence[nn.Parameter]) -> int:
    for weight in weights:
        weight.requires_grad_(False)
    return sum(weight.numel() for weight in weights)
