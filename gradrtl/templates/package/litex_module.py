"""The accelerator as a LiteX module: streams, registers on the bus, and a DMA for each stream.

    from gradrtl_litex import add_gradrtl
    add_gradrtl(soc, origin=0x3000_0000)

It needs LiteX and nothing of GradRTL. `facts.json` has the sizes and the addresses of the registers.
"""

import json
from pathlib import Path

from litex.gen import LiteXModule
from litex.soc.cores.dma import WishboneDMAReader, WishboneDMAWriter
from litex.soc.integration.soc import SoCRegion
from litex.soc.interconnect import axi, stream, wishbone
from migen import ClockSignal, Constant, Instance, ResetSignal

HERE = Path(__file__).resolve().parent
FACTS = json.loads((HERE / "facts.json").read_text())
WORD = 32  # bits of a word of a packet, of a register, and of the bus
SPACE = 4096  # bytes of the registers' region


class GradRTL(LiteXModule):
    """The accelerator.

    sink: frames, a beat each; `last` on the last one. source: packets, a word each; `user` is 1 if the frame was
    malformed. bus: the registers, AXI4-Lite. Clock domain: sys. `platform` gets the Verilog.
    """

    def __init__(self, platform):
        bits = 8 * FACTS["beat_bytes"]
        self.sink = sink = stream.Endpoint([("data", bits)])
        self.source = source = stream.Endpoint([("data", WORD), ("user", 1)])
        self.bus = bus = axi.AXILiteInterface(data_width=WORD, address_width=WORD)
        address = FACTS["address_bits"]
        ports = {
            "i_aclk": ClockSignal("sys"),
            "i_aresetn": ~ResetSignal("sys"),
            "i_s_axis_tkeep": Constant((1 << bits // 8) - 1, bits // 8),
            "o_m_axis_tuser": source.user,
        }
        for side, way, back, endpoint in (("s_axis", "i", "o", sink), ("m_axis", "o", "i", source)):
            for signal in ("data", "valid", "last"):
                ports[f"{way}_{side}_t{signal}"] = getattr(endpoint, signal)
            ports[f"{back}_{side}_tready"] = endpoint.ready
        payloads = {"aw": {"addr": bus.aw.addr[:address]}, "w": {"data": bus.w.data, "strb": bus.w.strb}}
        payloads |= {"ar": {"addr": bus.ar.addr[:address]}, "b": {"resp": bus.b.resp}}
        payloads["r"] = {"data": bus.r.data, "resp": bus.r.resp}
        for channel, payload in payloads.items():
            way, back = ("i", "o") if channel in ("aw", "w", "ar") else ("o", "i")
            for signal, value in {**payload, "valid": getattr(bus, channel).valid}.items():
                ports[f"{way}_s_axil_{channel}{signal}"] = value
            ports[f"{back}_s_axil_{channel}ready"] = getattr(bus, channel).ready
        self.specials += Instance("gradrtl_axi", **ports)
        for path in sorted((HERE / "rtl").iterdir()):
            platform.add_source(str(path))


def add_gradrtl(soc, origin=None, name="gradrtl"):
    """Add the accelerator to `soc`: its registers at `origin`, and two DMAs with CSRs, `NAME_reader`, which sends a
    frame from memory, and `NAME_writer`, which puts a packet into memory. Returns the accelerator.

    A transfer of a DMA: disable it, write its base and length in bytes, enable it, wait until it is done. A packet
    waits until the writer is enabled. Frames fill whole words of 32 bits, which a beat of 32 or 64 bits makes sure of.
    """
    if FACTS["beat_bytes"] % (WORD // 8) or soc.bus.data_width != WORD:
        raise ValueError(
            f"beat is {FACTS['beat_bytes']} bytes, bus is {soc.bus.data_width} bits, expected words of 4 bytes"
        )
    accelerator = GradRTL(soc.platform)
    soc.add_module(name, accelerator)
    soc.bus.add_slave(name, accelerator.bus, SoCRegion(origin=origin, size=SPACE, cached=False))

    def port():
        return wishbone.Interface(data_width=WORD, adr_width=soc.bus.get_address_width("wishbone"), addressing="word")

    # "big": words pass as they are, and the byte of the lowest address is the lowest one of a word.
    reader = WishboneDMAReader(port(), endianness="big", with_csr=True)
    writer = WishboneDMAWriter(port(), endianness="big")
    writer.add_ctrl(ready_on_idle=0)  # packets wait until the writer is enabled
    writer.add_csr()
    for part, module in (("reader", reader), ("writer", writer)):
        soc.add_module(f"{name}_{part}", module)
        soc.bus.add_master(f"{name}_{part}", master=module.bus)
    widen = stream.Converter(WORD, 8 * FACTS["beat_bytes"])
    soc.add_module(f"{name}_widen", widen)
    soc.comb += [
        reader.source.connect(widen.sink),
        widen.source.connect(accelerator.sink, omit={"valid_token_count"}),
        accelerator.source.connect(writer.sink, omit={"user"}),
    ]
    return accelerator
