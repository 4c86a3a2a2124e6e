"""What test files share."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: src, tests and docs lie in it."""
