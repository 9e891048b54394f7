"""The datapath behind a serial line."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...errors import require
from ..datapath import Datapath
from ..loading import image
from ..mapping import Mapping
from ..packets import FRAME, IDENTIFY, LOAD, Identity
from ..uart import SHORTEST_BIT, Receiver, Transmitter
from .answers import Answers
from .frames import FrameAssembler
from .loader import Loader
from .receiver import PacketReceiver


def identity(mapping: Mapping) -> Identity:
    """What the board with `mapping` says of itself."""
    return Identity(
        memories=len(image(mapping)),
        sources=mapping.layers[0].layer.sources,
        classes=mapping.network.classes,
        digest=bytes.fromhex(mapping.digest),
    )


class SerialAccelerator(wiring.Component):
    """The datapath behind two serial pins.

    Ports
    -----
    rx, tx
        In, out: the line, see `rtl/uart.py`; a bit lasts `divisor` cycles.
    busy
        Out: a frame is being received (for a lamp).

    Static input only. Synapse memories of strided layers wait to be loaded. A request that the board can't take (a
    fifth frame before the first result) is dropped: the sender repeats it.
    """

    def __init__(self, mapping: Mapping, divisor: int):
        kind = mapping.network.input.kind
        require(kind == "static", "input kind of a board's network", kind, "static")
        require(divisor >= SHORTEST_BIT, "cycles of a serial bit", divisor, f"at least {SHORTEST_BIT}")
        self.mapping = mapping
        self.divisor = divisor
        self.identity = identity(mapping)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping = self.mapping
        loadable = bool(image(mapping))
        m.submodules.uart_receiver = uart_receiver = Receiver(self.divisor)
        m.submodules.uart_transmitter = uart_transmitter = Transmitter(self.divisor)
        m.submodules.receiver = receiver = PacketReceiver()
        m.submodules.frames = frames = FrameAssembler(mapping)
        m.submodules.answers = answers = Answers(self.identity)
        m.submodules.datapath = datapath = Datapath(mapping, loadable)
        wiring.connect(m, frames.beats, datapath.frames)
        wiring.connect(m, datapath.packets, answers.packets)
        wiring.connect(m, answers.bytes, uart_transmitter.bytes)
        frame_begins = receiver.begin & (receiver.kind == FRAME)
        fits = receiver.length == mapping.layers[0].layer.sources
        m.d.comb += [
            uart_receiver.pin.eq(self.rx),
            self.tx.eq(uart_transmitter.pin),
            self.busy.eq(~frames.idle),
            frames.open.eq(frame_begins & fits & frames.idle & answers.room),
            frames.payload.eq(receiver.payload),
            frames.payload_valid.eq(receiver.payload_valid),
            frames.end.eq(receiver.end),
            frames.good.eq(receiver.good),
            answers.sequence.eq(receiver.sequence),
            answers.identify.eq(receiver.end & receiver.good & (receiver.kind == IDENTIFY)),
        ]
        m.d.sync += [receiver.byte.eq(uart_receiver.byte), receiver.valid.eq(uart_receiver.valid)]
        begun = Signal(name="begun")
        with m.If(frames.open):
            m.d.sync += begun.eq(1)
        with m.If(begun & receiver.payload_valid):
            m.d.comb += answers.framed.eq(1)
            m.d.sync += begun.eq(0)
        with m.If(receiver.end):
            m.d.sync += begun.eq(0)
        if loadable:
            m.submodules.loader = loader = Loader(mapping)
            m.d.comb += [
                loader.open.eq(receiver.begin & (receiver.kind == LOAD)),
                loader.payload.eq(receiver.payload),
                loader.payload_valid.eq(receiver.payload_valid),
                loader.position.eq(receiver.position),
                loader.end.eq(receiver.end),
                loader.good.eq(receiver.good),
                datapath.load.eq(loader.load),
                answers.loaded.eq(loader.done),
            ]
        return m
