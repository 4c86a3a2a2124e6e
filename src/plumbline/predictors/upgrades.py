"""Upgrades of checkpoints of earlier formats: one function from each format to the next."""

from collections.abc import Callable
from typing import Any

UPGRADES: dict[int, Callable[[dict[str, Any]], None]] = {}
"""By the format that they read; each changes a checkpoint's whole content in place."""
