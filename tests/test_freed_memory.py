"""What one step frees, the next one uses, without the system clearing pages anew."""

import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import torch
from plumbline.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    pieces = [torch.ones(700_000) for _ in range(6)]  # 2.7 MB each
    del pieces
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_step_takes_no_new_pages():
    faults = {
        mode: int(subprocess.run([sys.executable, "-c", STEPS, mode], capture_output=True, check=True).stdout)
        for mode in ("keep", "as ever")
    }
    assert faults["keep"] < 200
    assert faults["as ever"] > 10 * max(faults["keep"], 100), "nothing to keep: the test shows nothing"
