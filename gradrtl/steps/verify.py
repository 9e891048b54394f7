"""Comparison of compiled Verilog with the simulator."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, require
from ..quantize.frontend import FrontEnd
from ..quantize.network import QuantizedNetwork
from ..rtl import header
from ..rtl.contents import join_memories
from ..rtl.mapping import Mapping, map_network
from ..sim import generated, traces, waves
from ..sim import verify as proof
from ..sim.driving import Stalls
from .frames import number_of
from .place import Wanted, place
from .results import worth_drawing


def read_verilog(path: Path) -> str:
    """The text of a Verilog file, with the contents of memories that `generate` has put into files beside it."""

    def contents(name: str) -> str:
        file = path.with_name(name)
        require(file.is_file(), "memory file", file, "a file, written together with the Verilog")
        return file.read_text()

    require(path.is_file(), "verilog", path, "a file")
    try:
        return join_memories(path.read_text(), contents)
    except UserError:
        raise
    except UnicodeDecodeError:
        raise UserError(f"verilog is {path}, expected a text file in UTF-8") from None
    except ValueError as error:
        raise UserError.of("memory file", path.with_name(str(error)), "a hexadecimal number in each line") from None


def mapping_of(network: QuantizedNetwork, verilog: str, wanted: Wanted, front_end: FrontEnd | None = None) -> Mapping:
    """The mapping stated in the header of a Verilog text. With options, or without a header, the one of `wanted`.

    `front_end`: what must be in front of the network, None for nothing. Raises `UserError` if network, placement or
    version of the text are others, and says which.
    """
    found = header.read(verilog)
    if found.placement is None or replace(wanted, stream=False, cancel=False) != Wanted():
        mapping = place(network, wanted)
    else:
        mapping = map_network(network, wanted.over(found.placement))
    header.check(found, mapping, front_end)
    return mapping


def verify(
    mapping: Mapping,
    verilog: str | None,
    frames: Any,
    stalls: Stalls | None = None,
    jobs: int | None = None,
    progress: Callable[[int], None] | None = None,
    trusted: bool = False,
    log: Path | None = None,
    resumed: Callable[[int], None] | None = None,
) -> proof.Verification:
    """Compare every spike, membrane, sum and cycle of `frames`.

    `verilog`: a text; None: freshly generated. `jobs`: parallel drivers; None: one per core. `trusted`: the Verilog may
    run commands and access files, and is not confined (docs/security.md). `log`: a file that keeps the results of
    pieces, so that an interrupted run resumes; `resumed`: see `sim.verify`.
    """
    require(jobs is None or jobs >= 1, "jobs", jobs, "at least 1")
    text = _text(mapping, verilog)
    jobs = jobs or len(os.sched_getaffinity(0))
    return proof.verify(
        mapping, text, frames, stalls=stalls or Stalls(), jobs=jobs, progress=progress, resumed=resumed, log=log,
        trusted=trusted,
    )  # fmt: skip


@dataclass(frozen=True)
class Waves:
    """What to record of a comparison, to `path`: the `cycles` before and after its first difference; or a `frame`."""

    path: Path
    frame: int | None = None
    cycles: int | None = None

    def write(
        self,
        mapping: Mapping,
        verilog: str | None,
        frames: Any,
        found: proof.Verification,
        stalls: Stalls | None = None,
        trusted: bool = False,
    ) -> tuple[Path, ...]:
        """Write the wave and its view files; returns their paths, none if there is nothing to show.

        Arguments as for `verify`, whose result `found` is.
        """
        if self.frame is not None:
            moment, window = waves.frame_of(found, self.frame)
            title = f"frame {self.frame}"
        elif found.seen is not None:
            moment, window = found.seen, waves.around(found.seen, self.cycles or waves.AROUND)
            title = str(found.difference or found.fault)
        else:
            return ()
        text = _text(mapping, verilog)
        wave = waves.record(mapping, text, frames, found, moment, window, stalls=stalls, trusted=trusted)
        return waves.write(self.path, wave, mapping, title)


def traced(
    mapping: Mapping,
    verilog: str | None,
    frames: Any,
    found: proof.Verification,
    labels: np.ndarray | None = None,
    stalls: Stalls | None = None,
    trusted: bool = False,
) -> tuple[traces.Traced, ...]:
    """The frame with the first difference in both machines; without one, the first frame and the first wrong one.

    Of a stream the steps around the first difference, or the first ones. Arguments as for `verify`, whose result
    `found` is.
    """
    text = _text(mapping, verilog)
    if mapping.network.stream:
        count = number_of(frames)
        last = 0 if found.passed else min(found.frames, count - 1)
        window = traces.window_of(count, last if found.difference is None else found.difference.frame)
        return (traces.record_steps(mapping, text, frames, window, stalls=stalls, trusted=trusted),)
    if found.difference is not None:
        chosen = [found.difference.frame]
    elif found.fault is not None:
        chosen = [min(found.frames, number_of(frames) - 1)]
    else:
        chosen = worth_drawing(found.classes, labels)
    return traces.record(mapping, text, frames, found, chosen, stalls=stalls, trusted=trusted)


def _text(mapping: Mapping, verilog: str | None) -> str:
    """The text that is compared."""
    return generated.verilog(mapping, "gradrtl verify") if verilog is None else verilog
