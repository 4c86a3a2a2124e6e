"""Upgrades of checkpoints of earlier formats, with one function from each format to the next."""

from collections.abc import Callable
from typing import Any

from plumbline.models import ENSEMBLE


def _without_vote_bias(content: dict[str, Any]) -> None:
    """Upgrade format 2, where the votes of ``ept`` had a bias that moved all votes alike, without effect."""
    names = list(content["state_dict"])
    gone = [name for name in names if name.endswith("head.vote.bias")]
    if content["plumbline"]["model"] != ENSEMBLE:
        for name in gone:
            _forget(content, names.index(name))
    for weights in (content["state_dict"], content.get("training_weights", {})):
        for name in gone:
            weights.pop(name, None)


def _forget(content: dict[str, Any], place: int) -> None:
    """Remove a vector (a weight with a single dimension) from the optimizer's state and from the average.

    Args:
        content: content of a checkpoint, with the vector still in its ``state_dict``.
        place: position of the vector among the weights.
    """
    before = list(content["state_dict"].values())[:place]
    for saved in content.get("optimizer_states", []):
        # adam has one group of all weights; adamw and muon have those with one dimension in the last group.
        *others, group = saved["param_groups"]
        gone = group["params"].pop(sum(weight.ndim <= 1 or not others for weight in before))
        group["params"] = [number - (number > gone) for number in group["params"]]
        saved["state"] = {
            number - (number > gone): state for number, state in saved["state"].items() if number != gone
        }
    for callback in content.get("callbacks", {}).values():
        if callback.get("average"):
            del callback["average"][place]


def _without_side_heads(content: dict[str, Any]) -> None:
    """Upgrade format 3, where ``ept`` predicted no covariance, and only expected errors were calibrated."""
    ours = content["plumbline"]
    parts = ours["model_args"]["members"] if ours["model"] == ENSEMBLE else [ours]
    for part in parts:
        if part["model"] == "ept":
            part["model_args"] |= {"covariance": False, "payload": False}
    factors = ours.pop("error_factors")
    ours["calibration"] = {"error_factors": factors, "ellipsoid_factors": {}, "usual": None}


UPGRADES: dict[int, Callable[[dict[str, Any]], None]] = {2: _without_vote_bias, 3: _without_side_heads}
"""Upgrade functions by the format that they read; each changes the content in place."""
