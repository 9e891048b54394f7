"""An accelerator on an FPGA: netlist, placement, bitstream, and the figures of a design."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import require
from ..rtl.devices import Device
from ..rtl.mapping import Mapping
from ..sim.frames import Frames
from ..sim.measure import measure


@dataclass(frozen=True)
class Synthesis:
    """The tools' `report` on a design, its cycles per frame, and the latency of a frame alone."""

    report: Any  # rtl.synthesis.Report
    interval: float
    latency: float

    def frames_per_second(self, megahertz: float) -> int:
        return round(1e6 * megahertz / self.interval)

    def latency_us(self, megahertz: float) -> float:
        return round(self.latency / megahertz, 2)


def synth(
    mapping: Mapping,
    device: Device,
    frames: Frames,
    output: Path,
    command: str,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
    clock: float | None = None,
) -> Synthesis:
    """Build `mapping` for `device` in the folder `output`; `command` goes into its header, `seed` is that of the
    tools' placement. `clock`, in MHz, is that of the board; None: the board's own.

    Cycles are predicted for `frames`, before anything is built. `progress` is called with the name of each stage.
    """
    from ..rtl.boards import Design, board_design, board_of
    from ..rtl.synthesis import synthesise
    from ..rtl.verilog import generate

    measured = measure(mapping, frames)
    if device.placed:
        design = board_design(mapping, board_of(device.name, clock))
    else:
        require(clock is None, "clock", clock, f"no clock: {device.name} is only synthesised")
        text = generate(mapping, command)
        design = Design("gradrtl", {"gradrtl.v": text}, {}, device.clock)
    figures = measured.cycles_per_frame, measured.latency
    return Synthesis(synthesise(design, device, output, seed, progress), *figures)
