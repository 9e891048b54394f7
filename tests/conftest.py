"""What all tests share.

Several test processes share the cores: each computes on one thread, and so do the programs it starts. Random numbers of
torch are the same in each run of a test.
"""

from __future__ import annotations

import os
import sys

import pytest

THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
for name in THREADS:
    os.environ.setdefault(name, "1")


@pytest.fixture(autouse=True)
def random_numbers_of_torch() -> None:
    """Seeds torch where a test file has imported it; to import it here would cost the other tests a second."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
