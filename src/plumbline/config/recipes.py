"""Named sets of defaults of ``plumbline train``: what ``--recipe`` means before any other flag is read."""

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
"""Recipe name to the defaults that it changes. ``docs/accuracy.md`` says how they were found."""
