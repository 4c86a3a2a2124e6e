"""Upgrades of checkpoints of earlier formats: one function from each format to the next."""

from collections.abc import Callable
from typing import Any

from plumbline.models import ENSEMBLE


def _without_vote_bias(content: dict[str, Any]) -> None:
    """From format 2: the votes of ``ept`` had a bias, which moved all of them alike and so did nothing."""
    names = list(content["state_dict"])
    gone = [name for name in names if name.endswith("head.vote.bias")]
    if content["plumbline"]["model"] != ENSEMBLE:
        for name in gone:
            _forget(content, names.index(name))
    for weights in (content["state_dict"], content.get("training_weights", {})):
        for name in gone:
            weights.pop(name, None)


def _forget(content: dict[str, Any], place: int) -> None:
    """Takes a vector, a weight with a single dimension, out of the optimizer's state and out of the average.

    Args:
        content: of a checkpoint, with the vector still in its ``state_dict``.
        place: of the vector among the weights.
    """
    before = list(content["state_dict"].values())[:place]
    for saved in content.get("optimizer_states", []):
        # adam has one group of all weights; adamw and muon have those with one dimension in their last.
        *others, group = saved["param_groups"]
        gone = group["params"].pop(sum(weight.ndim <= 1 or not others for weight in before))
        group["params"] = [number - (number > gone) for number in group["params"]]
        saved["state"] = {
            number - (number > gone): state for number, state in saved["state"].items() if number != gone
        }
    for callback in content.get("callbacks", {}).values():
        if callback.get("average"):
            del callback["average"][place]


UPGRADES: dict[int, Callable[[dict[str, Any]], None]] = {2: _without_vote_bias}
"""By the format that they read; each changes the content in place."""
