"""AXI4-Lite, for ever: one response for each request, none unasked, steady until it is taken."""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Signal
from prover import Claim, free, inner, opened, prove

from gradrtl.rtl.axilite import AxiLite

CHANNELS = {"aw": ("awaddr",), "w": ("wdata", "wstrb"), "ar": ("araddr",), "b": ("bresp",), "r": ("rdata", "rresp")}


class OneResponseEach(Claim):
    def body(self, m: Module) -> None:
        axil = AxiLite(4)
        m.submodules.axil = inside = opened(axil)
        for name in (
            *("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr", "arvalid", "rready"),
            *("write_response", "read_data", "read_response"),
        ):
            free(m, getattr(axil, name))
        done = {channel: self.handshake(m, axil, channel) for channel in CHANNELS}

        # Requests taken and not answered yet: never more than one, and an answer only where there is one.
        addresses, words, reads = Signal(2), Signal(2), Signal(2)
        m.d.sync += [
            addresses.eq(addresses + done["aw"] - axil.write),
            words.eq(words + done["w"] - axil.write),
            reads.eq(reads + done["ar"] - done["r"]),
        ]
        writes = Signal(2)
        m.d.sync += writes.eq(writes + axil.write - done["b"])
        m.d.comb += [
            Assert(addresses == inner(inside, "has_address")),
            Assert(words == inner(inside, "has_data")),
            Assert(writes == axil.bvalid),
            Assert(reads == axil.rvalid),
            Assert(axil.read == done["ar"]),
            Cover(done["b"]),
            Cover(done["r"]),
        ]
        with m.If(axil.write):
            m.d.comb += Assert((addresses == 1) & (words == 1) & (writes == 0))
        with m.If((addresses == 1) & (words == 1) & (writes == 0)):
            m.d.comb += Assert(axil.write)

        # What the strobes carry is what was asked, and the response is the one that was given with the strobe.
        address, data, strobe = Signal(4), Signal(32), Signal(4)
        given_write, given_read = Signal(2), Signal(34)
        with m.If(done["aw"]):
            m.d.sync += address.eq(axil.awaddr)
        with m.If(done["w"]):
            m.d.sync += [data.eq(axil.wdata), strobe.eq(axil.wstrb)]
        with m.If(axil.write):
            m.d.sync += given_write.eq(axil.write_response)
        with m.If(axil.read):
            m.d.comb += Assert(axil.read_address == axil.araddr)
            m.d.sync += given_read.eq(Cat(axil.read_data, axil.read_response))
        with m.If(addresses == 1):
            m.d.comb += Assert(axil.write_address == address)
        with m.If(words == 1):
            m.d.comb += [Assert(axil.write_data == data), Assert(axil.write_strobe == strobe)]
        with m.If(axil.bvalid):
            m.d.comb += Assert(axil.bresp == given_write)
        with m.If(axil.rvalid):
            m.d.comb += Assert(Cat(axil.rdata, axil.rresp) == given_read)

    def handshake(self, m: Module, axil: AxiLite, channel: str) -> Signal:
        """Set when `channel` transfers; what is offered stays until then: assumed of requests, asserted of answers."""
        rule = Assert if channel in ("b", "r") else Assume
        valid, ready = getattr(axil, f"{channel}valid"), getattr(axil, f"{channel}ready")
        word = Cat(getattr(axil, name) for name in CHANNELS[channel])
        done, waits, waiting = (Signal(name=f"{channel}_{name}") for name in ("done", "waits", "waiting"))
        before = Signal(len(word), name=f"{channel}_before")
        m.d.comb += [done.eq(valid & ready), waits.eq(valid & ~ready)]
        m.d.sync += [waiting.eq(waits), before.eq(word)]
        with m.If(waiting):
            m.d.comb += [rule(valid), rule(word == before)]
        return done


def test_one_response_each():
    prove(OneResponseEach(), "axilite", 2)


def test_both_responses_are_reached():
    prove(OneResponseEach(), "axilite", 6, "cover")
