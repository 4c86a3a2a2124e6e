#!/usr/bin/env python3
"""The documented training program; the same as `plumbline train`."""

import sys

from plumbline.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]], prog="train_gnn_optimized.py"))
