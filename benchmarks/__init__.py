"""Measurements: ours beside a plain PyTorch Geometric + Lightning program, on the same data, in one run."""
