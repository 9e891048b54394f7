"""The page `docs/interface.md`, made from the hardware: ports, registers, frames, packets.

`python -m gradrtl.rtl.interface docs/interface.md` says whether the file is current; `--write` renews it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib.wiring import In

from ..files import write_text
from ..quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from ..quantize.neuron import LeakKind, Reset
from ..quantize.placement import Placement
from .axilite import Response
from .frame_words import COUNT_BIT, HELD_BIT, MARK_BIT, SPIKE_BITS
from .mapping import Mapping, map_network
from .outputs import NUMBER_BITS
from .readout import WORD_BITS
from .registers import registers
from .top import port_members

PIXELS = (1, 2, 4, 8)  # per beat
CLOCK = ("clk", "rst")


def ports(mapping: Mapping) -> list[tuple[str, str, int]]:
    """Name, `in` or `out`, and width of each port of the top module, clock and reset first."""
    members = port_members(mapping).items()
    made = [(name, "in" if member.flow == In else "out", Shape.cast(member.shape).width) for name, member in members]
    return [*((name, "in", 1) for name in CLOCK), *made]


def page() -> str:
    """The page as Markdown."""
    static, spikes = example("static", 4), example("spikes", 4)
    by_kind = zip(ports(static), ports(spikes), strict=True)
    widths = ", ".join(str(_port(example("static", pixels), "s_axis_tdata")) for pixels in PIXELS)
    address = ", ".join(
        f"{_port(example('static', 4, layers), 's_axil_araddr')} for {layers}" for layers in (1, 2, 8, 64)
    )
    return f"""# Interface of the generated Verilog

This page is made from the sources (`python -m gradrtl.rtl.interface docs/interface.md --write`).
`gradrtl generate --header FILE` writes the register map and the packets of a network as a C header.

## Ports

Everything happens at the rising edge of `clk`. `rst` is synchronous and active high: hold it at 1 for at least one
cycle.
Widths are those of a network of two layers, with 4 pixels per beat where it takes pixels.

{_table(("port", "direction", "bits, pixels", "bits, spikes"), ((f"`{a[0]}`", a[1], a[2], b[2]) for a, b in by_kind))}

`s_axis_tdata` has {widths} bits for {", ".join(map(str, PIXELS))} pixels per beat. The AXI4-Lite addresses grow with
the number of layers ({address} layers).
A beat is taken in each cycle in which `tvalid` and `tready` are 1.

## Frames of pixels

- A frame is one packet on `s_axis`: one byte per pixel, row-major, the first pixel in the lowest byte of the first
  beat.
- `tlast` is 1 on the last beat alone.
- If the pixels do not fill the last beat, its highest bytes are padding. Their values do not matter.

## Frames of spikes

- A frame is one packet on `s_axis`. A beat has {SPIKE_BITS} bits.
- With bit {MARK_BIT} at 0, the bits below it are the address of a source that spikes in this step.
- With bit {MARK_BIT} at 1, the beat marks the end of a step. The bits below do not matter.
- Within a step the addresses ascend strictly: a source spikes at most once in a step.
- Every step has its mark, also one without spikes. `tlast` is 1 on the mark of the last step alone.

## Frames of graded events

As frames of spikes, but a beat that is no mark has a count: its {COUNT_BIT} lowest bits are the address, the
{MARK_BIT - COUNT_BIT} bits from bit {COUNT_BIT} on say how many events the source has in this step. A count of 0 is no
event; the largest is `2**bits - 1` of the network's input.

## Frames of pixels beside events

A network with static inputs beside others takes frames of graded events. Before the steps they have a segment of the
static inputs:

- Its words are pixels: an address, and from bit {COUNT_BIT} on the pixel, with all of its 8 bits. Pixels of 0 may be
  left out.
- Its mark has bit {HELD_BIT} at 1 as well as bit {MARK_BIT}; the marks of steps have it at 0.
- Static inputs have the lowest addresses, then come the others, both in the order of the network.

## Result packets

- Each frame gets one packet on `m_axis`, in the order of the frames.
- A packet has 1 + classes words of {WORD_BITS} bits, signed: the class, then the sum of every class (its spike count,
  or its membranes: the last ones, the largest ones, or the sums of all). `tlast` is 1 on the last word.
- The class is the index of the largest sum; ties go to the lowest index.
- A network with several read-outs has these words for each, in the order of the network. `gradrtl generate --header`
  and `gradrtl info --json` tell where each begins.
- `tuser` is the same on all words of a packet. It is 1 if the frame was malformed.
- In a [stream](streaming.md) (`gradrtl generate --stream`), each step has a packet, with one word more in front: the
  number of the step, {NUMBER_BITS} bits, from 0 on after a reset.

| frame | what is computed | bit of `errors` |
| --- | --- | --- |
| too few pixels or steps | missing pixels are 0, missing steps have no spikes | 0 |
| `tlast` on an address instead of a mark | the address is dropped, and the step ends | 0 |
| an address that does not exist, or is not above the one before it in its step | the address is dropped | 0 |
| a count of more than `bits` bits | the event is dropped | 0 |
| a pixel in a step, or an event before the steps | it is dropped | 0 |
| a mark of a step where the pixels end, or the other way round | it ends the pixels, or the step | 0 |
| too many beats or steps | the rest is dropped up to `tlast` | 1 |

The next frame is computed correctly in every case.

## Registers

The registers have {WORD_BITS} bits. Access: `ro` is read only, `wo` is write only and reads 0; `w1c`: writing 1 clears
a bit. Counters wrap. This is the map of a network of two layers; each further layer adds a counter.

{_table(("address", "name", "access", "meaning"), _rows(2))}

| access | response |
| --- | --- |
| a register | OKAY ({Response.OKAY.value}) |
| a write to a read-only register | SLVERR ({Response.SLVERR.value}) |
| an address that does not exist or is not a multiple of 4 | DECERR ({Response.DECERR.value}) |
"""


def example(kind: str, pixels: int, layers: int = 2) -> Mapping:
    """A small network of `layers` layers, placed."""
    neuron = IntNeuron(LeakKind.NONE, Reset.HARD, np.array([1]))
    dense = Dense(np.ones((4, 4), np.int8), np.zeros(4, np.int64))
    made = tuple(Layer(f"layer{i}", (4,), dense, neuron, 2) for i in range(layers))
    network = QuantizedNetwork.chain(Input((4,), kind=kind), made, 2)
    return map_network(network, Placement((1,) * layers, pixels_a_beat=pixels))


def main(arguments: Sequence[str]) -> int:
    """0 if the file is current or was written, 1 if it is not."""
    path = Path(arguments[0])
    if "--write" in arguments:
        write_text(path, page())
    current = path.is_file() and path.read_text() == page()
    print(f"{path} is {'current' if current else 'out of date: run again with --write'}")
    return int(not current)


def _port(mapping: Mapping, name: str) -> int:
    return next(width for port, _, width in ports(mapping) if port == name)


def _rows(layers: int) -> Iterable[tuple[object, ...]]:
    for register in registers(layers):
        yield f"0x{register.address:02X}", f"`{register.name}`", register.access, register.meaning


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
