"""Named sets of defaults for ``plumbline train`` (``--recipe``); other flags override them."""

from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    "documented": {},
    "best": {
        "model": "ept",
        "batch_size": 64,
        "hidden_dim": 64,
        "num_layers": 3,
        "dropout": 0.0,
        "loss": "displacement",
        "optimizer": "muon",
        "schedule": "cosine",
        "warmup": 0.05,
        "lr": 6e-3,
        "weight_decay": 1e-4,
        "ema": 0.998,
        "max_epochs": 10,
    },
}
"""Defaults that each recipe changes, by recipe name. ``docs/accuracy.md`` describes how they were found."""
