"""Freed memory stays: seen by the page faults of a process that makes and drops a large block again and again."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from gradrtl.model.memory import keep_freed_memory

SCRIPT = """
import resource
import numpy as np
import torch
from gradrtl.model.memory import keep_freed_memory

print(int(keep_freed_memory(torch.device("cpu"))))
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(10 << 20)  # 80 MiB
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be asked")
def test_freed_blocks_are_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    possible, first, *later = map(int, done.stdout.split())
    if not possible:
        pytest.skip("not glibc")
    assert max(later) < 10 < first


def test_an_accelerator_has_its_own_allocator() -> None:
    assert not keep_freed_memory(torch.device("cuda"))
