"""The end of a frame whose answer is known: when the rest of it is dropped."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..bits import unsigned_bits
from .mapping import Mapping


class Cancel(wiring.Component):
    """Ends the frame that first spikes have decided, if it is still coming in.

    All that the cores hold is then of this frame: they start anew, as after a soft reset, and the framer drops the rest
    of its packet. Of a frame that has come in whole, nothing is cancelled, for the next one may be in the cores.

    Ports
    -----
    token
        In: the first core takes the token of a step.
    decides
        In: the read-out takes the token that decides a frame, which is not the frame's last.
    ends
        In: the read-out takes a frame's last token.
    abort
        In: a soft reset.
    cancel
        Out: the cores start anew, the read-out goes on to the next frame, the framer drops the rest of this one.

    Latency: `CANCELLED` cycles (`rtl/latency.py`) from `decides` to `cancel`. It is high for one cycle.
    """

    def __init__(self, mapping: Mapping):
        self.steps = mapping.network.steps
        # Tokens that wait in queues, look-ups, banks and rows, and a frame that is not whole.
        waiting = sum(layer.queue_depth + layer.row_queue_depth + 8 for layer in mapping.layers)
        self.most = 1 + waiting // self.steps
        super().__init__({"token": In(1), "decides": In(1), "ends": In(1), "abort": In(1), "cancel": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = Signal(range(max(2, self.steps)), name="step")
        whole = Signal(unsigned_bits(self.most), name="whole")  # frames in the cores whose last token has come in
        decided = Signal(name="decided")
        enters = Signal(name="enters")
        m.d.comb += [
            enters.eq(self.token & (step == self.steps - 1)),
            self.cancel.eq(decided & (whole == 0)),
        ]
        m.d.sync += [decided.eq(self.decides), whole.eq(whole + enters - self.ends)]
        with m.If(self.token):
            m.d.sync += step.eq(step + 1)
            with m.If(enters):
                m.d.sync += step.eq(0)
        with m.If(self.abort | self.cancel):
            m.d.sync += [decided.eq(0), step.eq(0), whole.eq(0)]
        return m
