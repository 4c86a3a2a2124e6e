"""The terminal: calm, aligned, and plain when it is not one."""

import time

STARTED = time.perf_counter()
"""The first moment the program knows of; this file is imported before anything large."""
