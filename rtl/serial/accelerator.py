"""The datapath behind a serial line."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...errors import require
from ..datapath import Datapath
from ..loading import image
from ..mapping import Mapping
from ..packets import FRAME, IDENTIFY, LOAD, SESSION_BITS, Identity
from ..uart import SHORTEST_BIT, Receiver, Transmitter
from .answers import Answers
from .events import EventAssembler
from .frames import FrameAssembler
from .loader import Loader
from .receiver import PacketReceiver


def identity(mapping: Mapping) -> Identity:
    """What the board with `mapping` says of itself."""
    network = mapping.network
    remedy = "frames on a serial line, which repeats what was lost: a step would count twice; generate has AXI ports"
    require(not network.stream, "network", "a stream", remedy)
    whole = "False: a serial line sends whole frames; generate has AXI ports"
    require(not mapping.placement.cancel, "cancel", True, whole)
    return Identity(
        memories=len(image(mapping)),
        sources=mapping.input.values(network.steps),
        classes=mapping.output.words - 1,
        digest=bytes.fromhex(mapping.digest),
    )


def check_design(mapping: Mapping, divisor: int) -> None:
    """Raise `UserError` for what a serial line cannot serve: fast bits, more than packets can carry."""
    require(divisor >= SHORTEST_BIT, "cycles of a serial bit", divisor, f"at least {SHORTEST_BIT}")
    identity(mapping)


class SerialAccelerator(wiring.Component):
    """The datapath behind two serial pins.

    Ports
    -----
    rx, tx
        In, out: the line, see `rtl/uart.py`; a bit lasts `divisor` cycles.
    busy
        Out: a frame is being received (for an LED).

    Synapse memories of strided layers wait to be loaded. A request that the board can't take is
    dropped, and the host repeats it: a frame while FRAMES_AHEAD are under way or in another session, a LOAD while any
    is. Throughput: that of the line, or of the datapath if it is the slower. Stalls: none on `rx`.
    """

    def __new__(cls, mapping: Mapping, divisor: int) -> SerialAccelerator:
        check_design(mapping, divisor)  # before there is an object: Amaranth warns of one that is never elaborated
        return super().__new__(cls, mapping, divisor)

    def __init__(self, mapping: Mapping, divisor: int):
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
        is_static = mapping.input.kind == "static"
        frames = FrameAssembler(mapping) if is_static else EventAssembler(mapping)
        m.submodules.frames = frames
        m.submodules.answers = answers = Answers(self.identity)
        # A damaged frame of events has entered before its checksum is known: no answer leaves until then.
        m.submodules.datapath = datapath = Datapath(mapping, loadable, waits=not is_static)
        wiring.connect(m, frames.beats if isinstance(frames, FrameAssembler) else frames.events, datapath.frames)
        wiring.connect(m, datapath.packets, answers.packets)
        wiring.connect(m, answers.bytes, uart_transmitter.bytes)
        session = Signal(SESSION_BITS, name="session")  # of the host that is served; 0: none yet
        ours = Signal(name="ours")
        fits = Signal(name="fits")
        begun = Signal(name="begun")
        identify = Signal(name="identify")
        m.d.sync += [
            ours.eq(receiver.session == session),
            fits.eq(receiver.left == self.identity.sources),
            begun.eq(receiver.begin),
        ]
        with m.If(identify):
            m.d.sync += session.eq(receiver.session)
        m.d.comb += [
            identify.eq(receiver.end & receiver.good & (receiver.kind == IDENTIFY)),
            uart_receiver.pin.eq(self.rx),
            self.tx.eq(uart_transmitter.pin),
            self.busy.eq(~frames.idle),
            frames.open.eq(begun & ours & (receiver.kind == FRAME) & fits & frames.idle & answers.ready),
            frames.payload.eq(receiver.payload),
            frames.payload_valid.eq(receiver.payload_valid),
            frames.end.eq(receiver.end),
            frames.good.eq(receiver.good),
            answers.sequence.eq(receiver.sequence),
            answers.session.eq(session),
            answers.identify.eq(identify),
            answers.renewed.eq(identify & ~ours),
        ]
        m.d.sync += [receiver.byte.eq(uart_receiver.byte), receiver.valid.eq(uart_receiver.valid)]
        # A frame has a result if it has a payload; its number is kept then.
        opened = Signal(name="opened")
        with m.If(frames.open):
            m.d.sync += opened.eq(1)
        with m.If(opened & receiver.payload_valid):
            m.d.comb += answers.framed.eq(1)
            m.d.sync += opened.eq(0)
        with m.If(receiver.end):
            m.d.sync += opened.eq(0)
        if loadable:
            m.submodules.loader = loader = Loader(mapping)
            m.d.comb += [
                loader.open.eq(begun & ours & (receiver.kind == LOAD) & answers.idle),
                loader.payload.eq(receiver.payload),
                loader.payload_valid.eq(receiver.payload_valid),
                loader.end.eq(receiver.end),
                loader.good.eq(receiver.good),
                datapath.load.eq(loader.load),
                answers.load.eq(loader.taken),
                answers.loaded.eq(loader.done),
            ]
        return m
