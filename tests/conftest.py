"""Several test processes share the cores: each computes on one thread, and so do the programs it starts."""

from __future__ import annotations

import os

THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
for name in THREADS:
    os.environ.setdefault(name, "1")
