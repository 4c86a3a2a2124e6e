"""Terminal output: aligned and unobtrusive, and plain text if the output is not a terminal."""

import time

STARTED = time.perf_counter()
"""Start time of the program; this file is imported before anything large."""
