"""A stand-in for PYNQ on a board: the AXI DMA of its overlay is in front of the wrapped accelerator in Icarus Verilog.

It has what `gradrtl/templates/package/pynq_driver.py` uses of PYNQ, and refuses what PYNQ and the DMA refuse: buffers
that were not allocated, transfers on a busy channel, packets that are longer than their buffer.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from wrapped import Wrapped


class Buffer(np.ndarray):
    """Memory that a DMA sees."""

    freed = False

    def freebuffer(self) -> None:
        assert not self.freed
        self.freed = True


class SendChannel:
    """Reads the memory of a transfer as late as it may: when its end is awaited."""

    def __init__(self, simulation: Wrapped) -> None:
        self.simulation = simulation
        self.idle, self.error = True, False
        self.under_way: tuple[Buffer, slice] | None = None

    def transfer(self, array: Buffer, start: int = 0, nbytes: int = 0) -> None:
        if self.under_way is not None:
            raise RuntimeError("DMA channel not idle")
        assert isinstance(array, Buffer)
        self.under_way = array, slice(start, start + (nbytes or array.nbytes - start))

    def wait(self) -> None:
        assert self.under_way is not None
        array, part = self.under_way
        assert not array.freed
        self.simulation.send_bytes(array.tobytes()[part])
        self.under_way = None


class ReceiveChannel:
    """Awaits one packet."""

    def __init__(self, simulation: Wrapped) -> None:
        self.simulation = simulation
        self.idle, self.error = True, False  # a simulation computes only while one waits for it
        self.buffer: Buffer | None = None
        self.flags: list[bool] = []

    def transfer(self, array: Buffer) -> None:
        if self.buffer is not None:
            raise RuntimeError("DMA channel not idle")
        assert isinstance(array, Buffer)
        assert not array.freed
        self.buffer = array
        self.simulation.await_packet()

    def wait(self) -> None:
        assert self.buffer is not None
        words, flagged = self.simulation.packet()
        if 4 * len(words) > self.buffer.nbytes:
            raise RuntimeError("DMA Internal Error (transfer length 0?)")
        self.buffer[:] = np.array(words, self.buffer.dtype)
        self.flags.append(flagged)
        self.buffer = None


def module(simulation: Wrapped) -> Any:
    """A module `pynq` whose overlay is `simulation`; `loaded` are the names of bitstreams, `buffers` all memory."""
    made: Any = ModuleType("pynq")
    made.loaded, made.buffers = [], []
    send, receive = SendChannel(simulation), ReceiveChannel(simulation)
    made.dma = SimpleNamespace(sendchannel=send, recvchannel=receive)

    def overlay(bitfile: str) -> Any:
        made.loaded.append(bitfile)
        return SimpleNamespace(axi_dma=made.dma, gradrtl=simulation)

    def allocate(shape: tuple[int, ...], dtype: Any) -> Buffer:
        made.buffers.append(np.full(shape, 0xA5, dtype).view(Buffer))
        return made.buffers[-1]

    made.Overlay, made.allocate = overlay, allocate
    return made
