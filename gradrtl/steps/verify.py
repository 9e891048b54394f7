"""Comparison of compiled Verilog with the simulator."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import UserError, require
from ..quantize.network import QuantizedNetwork
from ..rtl import header
from ..rtl.mapping import Mapping, map_network
from ..sim import generated
from ..sim import verify as proof
from ..sim.driving import Stalls
from .place import Wanted, place


def read_verilog(path: Path) -> str:
    """The text of a Verilog file."""
    require(path.is_file(), "verilog", path, "a file")
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise UserError(f"verilog is {path}, expected a text file in UTF-8") from None


def mapping_of(network: QuantizedNetwork, verilog: str, wanted: Wanted) -> Mapping:
    """The mapping stated in the header of a Verilog text. With options, or without a header, the one of `wanted`.

    Raises `UserError` if network, placement or version of the text are others, and says which.
    """
    found = header.read(verilog)
    if found.placement is None or wanted != Wanted():
        mapping = place(network, wanted)
    else:
        mapping = map_network(network, found.placement)
    header.check(found, mapping)
    return mapping


def verify(
    mapping: Mapping,
    verilog: str | None,
    frames: np.ndarray,
    stalls: Stalls | None = None,
    jobs: int | None = None,
    progress: Callable[[int], None] | None = None,
    trusted: bool = False,
) -> proof.Verification:
    """Compare every spike, membrane, sum and cycle of `frames`.

    `verilog`: a text; None: freshly generated. `jobs`: parallel drivers; None: one per core. `trusted`: the Verilog may
    run commands and access files, and is not confined (docs/security.md).
    """
    require(jobs is None or jobs >= 1, "jobs", jobs, "at least 1")
    text = generated.verilog(mapping, "gradrtl verify") if verilog is None else verilog
    jobs = jobs or len(os.sched_getaffinity(0))
    return proof.verify(mapping, text, frames, stalls=stalls or Stalls(), jobs=jobs, progress=progress, trusted=trusted)
