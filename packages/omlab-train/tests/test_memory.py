"""Freed memory is kept, so that steps do not pay for fresh pages."""

import platform
import subprocess
import sys

import pytest

PROBE = """
import resource, sys, torch
from omlab_train.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.zeros(16 << 20).add_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is another one")
def test_freed_memory_is_used_again():
    faults = {
        way: int(subprocess.run([sys.executable, "-c", PROBE, way], capture_output=True, text=True, check=True).stdout)
        for way in ("keep", "return")
    }
    assert faults["keep"] < faults["return"] / 2
