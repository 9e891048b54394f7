"""One self-contained Verilog file from a `Mapping`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.back import verilog

from .. import __version__
from .loading import RAM_VERILOG, image
from .mapping import Mapping
from .serial import SerialAccelerator
from .top import Accelerator

TOP = "gradrtl"


def header(mapping: Mapping, command: str) -> str:
    """The comment that opens the file: nothing in it changes unless the network, the mapping or the command does."""
    pes = ",".join(str(layer.pes) for layer in mapping.layers)
    return "".join(
        f"// {line}\n"
        for line in (
            f"GradRTL {__version__}: sparse event-driven accelerator for a spiking neural network.",
            f"network: {mapping.network.digest}",
            f"mapping: {mapping.digest}",
            f"pe: {pes}; pixels a beat: {mapping.pixels_a_beat}; memory bits: {mapping.memory_bits}",
            f"command: {command}",
        )
    )


def generate(mapping: Mapping, command: str) -> str:
    """Verilog text with top module `gradrtl`; the same arguments give the same bytes."""
    with no_collection():
        top = Accelerator(mapping)
        body = verilog.convert(top, name=TOP, ports=top.ports, emit_src=False, strip_internal_attrs=True)
    return header(mapping, " ".join(command.split())) + body


def generate_serial(mapping: Mapping, divisor: int) -> str:
    """The serial accelerator as module `serial`, with ports clk, rst, rx, tx, busy; a bit takes `divisor` cycles."""
    text = verilog.convert(SerialAccelerator(mapping, divisor), name="serial", strip_internal_attrs=True)
    return text + (RAM_VERILOG if image(mapping) else "")


@contextmanager
def no_collection() -> Iterator[None]:
    """Python's collector of cycles waits: it takes a third of Amaranth's time, and finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
