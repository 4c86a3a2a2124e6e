"""Benchmarks: plumbline compared with a plain PyTorch Geometric and Lightning program on the same data."""
