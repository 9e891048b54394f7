"""Comparison of compiled Verilog with the simulator."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import require
from ..rtl.mapping import Mapping
from ..sim import generated
from ..sim import verify as proof
from ..sim.driving import Stalls


def verify(
    mapping: Mapping,
    verilog: Path | None,
    frames: np.ndarray,
    stalls: Stalls | None = None,
    jobs: int | None = None,
    progress: Callable[[int], None] | None = None,
    trusted: bool = False,
) -> proof.Verification:
    """Compare every spike, membrane, sum and cycle of `frames`.

    `verilog` None: freshly generated. `jobs` drivers run side by side; None: one on each core. `trusted`: the Verilog
    may run commands and touch files, and nothing confines it (docs/security.md).
    """
    require(jobs is None or jobs >= 1, "jobs", jobs, "at least 1")
    if verilog is None:
        text: str | Path = generated.verilog(mapping, "gradrtl verify")
    else:
        require(verilog.is_file(), "verilog", verilog, "a file")
        text = verilog
    jobs = jobs or len(os.sched_getaffinity(0))
    return proof.verify(mapping, text, frames, stalls=stalls or Stalls(), jobs=jobs, progress=progress, trusted=trusted)
