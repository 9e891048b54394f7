"""From pixels or spikes to result packets: the serialiser of the input, all cores, the read-out."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..bits import unsigned_bits
from .core import Core
from .largest import Largest
from .latency import BEATS_WAITING
from .loading import load_layout
from .mapping import Mapping
from .pe import value_shape
from .readout import Readout, packet_layout
from .serialiser import Serialiser
from .streams import beat_layout, event_layout


def input_signature(mapping: Mapping) -> stream.Signature:
    """Input stream of the datapath: beats of pixels (static input), or events (spike input)."""
    first = mapping.layers[0]
    if mapping.network.input.kind == "static":
        return stream.Signature(beat_layout(mapping.pixels_a_beat, unsigned_bits(mapping.beats - 1)))
    return stream.Signature(event_layout(first.address_bits, value_shape(first)))


class Datapath(wiring.Component):
    """Everything between framing and the result stream.

    Ports
    -----
    frames
        In: `input_signature`. Pixels whose upper `input.bits` are zero are not events. The padding of the last
        beat is ignored.
    packets
        Out: `packet_layout`, one packet per frame, in order.
    taken
        Out: bit `l` is set in each cycle in which core `l` takes an event (tokens not counted).
    abort
        In: drops every frame that has not reached the sender of the read-out.
    load
        In, if `loadable`: `load_layout`, contents of the strided synapse memories, before the first frame. Without
        `loadable`, they have initial contents.

    Latency and throughput: see `sim/timing/`. Stalls: `packets.ready` low.
    """

    def __init__(self, mapping: Mapping, loadable: bool = False):
        self.mapping = mapping
        self.loadable = loadable
        super().__init__(
            {
                "frames": In(input_signature(mapping)),
                "packets": Out(stream.Signature(packet_layout())),
                "taken": Out(len(mapping.layers)),
                "abort": In(1),
            }
            | ({"load": In(load_layout(mapping))} if loadable else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping, network = self.mapping, self.mapping.network
        static = network.input.kind == "static"
        cores = [
            Core(
                layer,
                network.steps,
                static and layer.index == 0,
                self.loadable and layer.stride_bits is not None,
            )
            for layer in mapping.layers
        ]
        memory = 0
        for index, core in enumerate(cores):
            m.submodules[f"core{index}"] = ResetInserter(self.abort)(core)
            event = core.events
            m.d.comb += self.taken[index].eq(event.valid & event.ready & ~event.payload.end)
            if core.loadable:
                m.d.comb += [core.load_address.eq(self.load.address), core.load_word.eq(self.load.word)]
                for pe in range(core.mapping.pes):
                    m.d.comb += core.load_write[pe].eq(self.load.write & (self.load.memory == memory))
                    memory += 1
        if static:
            self._pixels(m, cores[0])
        else:
            wiring.connect(m, wiring.flipped(self.frames), cores[0].events)
        m.submodules.readout = readout = Readout(mapping.layers[-1], network)
        listeners: list[Core | Readout | Largest] = [*cores[1:], readout]
        if network.readout.kind == "largest":
            m.submodules.largest = largest = ResetInserter(self.abort)(Largest(mapping.layers[-1], network.steps))
            wiring.connect(m, largest.growths, readout.events)
            listeners[-1] = largest
        for core, listener in zip(cores, listeners, strict=True):
            sent, heard = core.spikes, listener.events
            m.d.comb += [heard.valid.eq(sent.valid), sent.ready.eq(heard.ready)]
            m.d.comb += [heard.payload[name].eq(sent.payload[name]) for name in ("source", "value", "end", "bad")]
        wiring.connect(m, readout.packets, wiring.flipped(self.packets))
        m.d.comb += readout.abort.eq(self.abort)
        return m

    def _pixels(self, m: Module, core: Core) -> None:
        """Beats become rows of the first serialiser: a lane for each pixel, set where the pixel is an event."""
        mapping, lanes = self.mapping, self.mapping.pixels_a_beat
        sources, bits = mapping.layers[0].layer.sources, mapping.network.input.bits
        beat = self.frames.payload
        serialiser = Serialiser(
            unsigned_bits(mapping.beats - 1),
            lanes,
            unsigned(bits),
            BEATS_WAITING,
            mapping.layers[0].address_bits,
        )
        m.submodules.serialiser = ResetInserter(self.abort)(serialiser)
        row = serialiser.rows.payload
        in_last_beat = sources - (mapping.beats - 1) * lanes
        for i in range(lanes):
            value = Signal(bits, name=f"value{i}")
            inside = beat.index != mapping.beats - 1 if i >= in_last_beat else 1
            m.d.comb += [
                value.eq(beat.pixels[i] >> mapping.network.input.dropped),
                row["values"][i].eq(value),
                row.mask[i].eq(value.any() & inside),
            ]
        m.d.comb += [
            row.row.eq(beat.index),
            row.end.eq(beat.last),
            row.bad.eq(beat.bad),
            serialiser.rows.valid.eq(self.frames.valid),
            self.frames.ready.eq(serialiser.rows.ready),
        ]
        wiring.connect(m, serialiser.events, core.events)
