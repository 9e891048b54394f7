"""From pixels or spikes to result packets: the serialiser of the input, all cores, the read-outs.

Of a graph that is no chain, the flag of a malformed frame goes from the input to the read-out on a way of its own:
`rtl/flags.py`.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..bits import unsigned_bits
from .cancel import Cancel
from .core import Core
from .edge import LateInput
from .flags import Flags
from .fork import Fork, Listener
from .gather import Gather
from .issue import Leaving
from .join import Port
from .largest import Largest
from .latency import BEATS_WAITING
from .loading import load_layout
from .mapping import Mapping
from .readout import Readout, packet_layout
from .routes import NOBODY
from .routes import Port as RoutePort
from .serialiser import Serialiser
from .streams import beat_layout, source_signature
from .update import output_value_shape


def input_signature(mapping: Mapping) -> stream.Signature:
    """Input stream of the datapath: beats of pixels (static input), or events (spike input)."""
    if mapping.input.kind == "static":
        return stream.Signature(beat_layout(mapping.pixels_a_beat, unsigned_bits(mapping.beats - 1)))
    return source_signature(mapping)


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
    cancel
        Out, if the placement has `cancel`: the frame coming in has its answer, and its rest is to be dropped.
    load
        In, if `loadable`: `load_layout`, contents of the strided synapse memories, before the first frame. Without
        `loadable`, they have initial contents.

    `waits`: no packet leaves before its frame is in, also of first spikes that answer early elsewhere. So it is marked
    if the last token says that the frame was bad.

    Latency and throughput: see `sim/timing/`. Stalls: `packets.ready` low.
    """

    def __init__(self, mapping: Mapping, loadable: bool = False, waits: bool = False):
        self.mapping = mapping
        self.loadable = loadable
        self.waits = waits
        super().__init__(
            {
                "frames": In(input_signature(mapping)),
                "packets": Out(stream.Signature(packet_layout())),
                "taken": Out(len(mapping.layers)),
                "abort": In(1),
            }
            | ({"load": In(load_layout(mapping))} if loadable else {})
            | ({"cancel": Out(1)} if mapping.placement.cancel else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping = self.mapping
        cores = [self._core(number) for number in range(len(mapping.layers))]
        memory = 0
        cancels = mapping.placement.cancel
        void: Value = self.abort
        if cancels:
            void = Signal(name="void")
            m.d.comb += void.eq(self.abort | self.cancel)
        for index, core in enumerate(cores):
            m.submodules[f"core{index}"] = ResetInserter(void)(core)
            m.d.comb += self.taken[index].eq(_takes(core))
            if core.loadable:
                m.d.comb += [core.load_address.eq(self.load.address), core.load_word.eq(self.load.word)]
                for pe in range(core.mapping.pes):
                    m.d.comb += core.load_write[pe].eq(self.load.write & (self.load.memory == memory))
                    memory += 1
        readouts = [
            Readout(mapping.layers[core], mapping.network, number, cancels, self.waits)
            for number, core in enumerate(mapping.read)
        ]
        sums: list[wiring.PureInterface] = [readout.events for readout in readouts]
        flags = None
        if not mapping.network.is_chain:
            flags = Flags(mapping, [readout.events.signature.flip() for readout in readouts])
            m.submodules.flags = ResetInserter(self.abort)(flags)
            for number, events in enumerate(sums):
                wiring.connect(m, flags.sums(number, "o"), events)
                sums[number] = flags.sums(number, "i")
        events = self._pixels(m) if mapping.input.kind == "static" else wiring.flipped(self.frames)
        self._input(m, events, flags, cores)
        for number, (readout, read) in enumerate(zip(readouts, mapping.read, strict=True)):
            m.submodules[f"readout{number or ''}"] = readout
            if mapping.network.readouts[number].kind == "largest":
                largest = Largest(mapping.layers[read], mapping.steps)
                m.submodules[f"largest{number or ''}"] = ResetInserter(self.abort)(largest)
                wiring.connect(m, largest.growths, sums[number])
                sums[number] = largest.events
        for index, core in enumerate(cores):
            routes = mapping.leaving(index)
            for i, route in enumerate(routes):
                sent = port(core, "spikes", i)
                if route.target == NOBODY:
                    m.d.comb += sent.ready.eq(1)
                    continue
                if route.target is None:
                    heard = sums[mapping.read.index(index)]
                else:
                    heard = port(cores[route.target], "events", route.port)
                m.d.comb += [heard.valid.eq(sent.valid), sent.ready.eq(heard.ready)]
                m.d.comb += [heard.payload[name].eq(sent.payload[name]) for name in ("source", "value", "end", "bad")]
        self._send(m, readouts, void)
        if cancels:
            self._cancel(m, readouts[0])
        return m

    def _cancel(self, m: Module, readout: Readout) -> None:
        """The rest of a frame is dropped when it has its answer."""
        m.submodules.cancels = one = Cancel(self.mapping)
        m.d.comb += [
            one.token.eq(self.frames.valid & self.frames.ready & self.frames.payload.end),
            one.decides.eq(readout.decides),
            one.ends.eq(readout.ends),
            one.abort.eq(self.abort),
            self.cancel.eq(one.cancel),
        ]

    def _send(self, m: Module, readouts: list[Readout], void: Value) -> None:
        """The packets of all read-outs, as one."""
        packets = readouts[0].packets
        if len(readouts) > 1:
            m.submodules.gather = gather = Gather(len(readouts))
            packets = gather.o
            m.d.comb += [gather.complete.eq(Cat(one.complete for one in readouts)), gather.abort.eq(self.abort)]
            for number, one in enumerate(readouts):
                wiring.connect(m, one.packets, gather.packets(number))
                m.d.comb += one.release.eq(gather.release)
        wiring.connect(m, packets, wiring.flipped(self.packets))
        m.d.comb += [one.abort.eq(void) for one in readouts]

    def _core(self, number: int) -> Core:
        """The core of a population, with ports and edges other than one of each only where there are."""
        mapping = self.mapping
        layer, into, routes = mapping.layers[number], mapping.ports[number], mapping.leaving(number)
        joined = len(into) > 1
        forks = len(routes) > 1 or any(r.delay or r.depth != layer.row_queue_depth for r in routes)
        return Core(
            layer,
            mapping.steps,
            layer.is_held,
            self.loadable and layer.stride_bits is not None,
            [self._port(port) for port in into] if joined else (),
            [Leaving(route.depth, route.delay, route.way) for route in routes] if forks else (),
        )

    def _port(self, port: RoutePort) -> Port:
        mapping = self.mapping
        shift = port.shift - mapping.layers[port.edge.population].shift
        if port.given is not None:
            largest = mapping.network.inputs[port.given].largest
            return Port(unsigned_bits(port.edge.sources - 1), unsigned(unsigned_bits(largest)), shift)
        assert port.source is not None
        source = mapping.layers[port.source]
        return Port(source.output_address_bits(mapping.way(port)), output_value_shape(source), shift)

    def _input(self, m: Module, events: wiring.PureInterface, flags: Flags | None, cores: list[Core]) -> None:
        """The input's events go to all cores that hear it, to some of them through a queue."""
        if flags is not None:
            wiring.connect(m, events, flags.i)
            events = flags.o
        mapping = self.mapping
        ports = [mapping.ports[number][0] for number in mapping.listeners]
        heard: list[wiring.PureInterface] = [port(cores[number], "events", 0) for number in mapping.listeners]
        for number, one in enumerate(mapping.late):
            into = mapping.ports[one.target][one.port]
            steps = 1 if into.edge.held else mapping.steps
            heard_by = self._port(into)
            late = LateInput(heard_by.address_bits, heard_by.value, one.depth, one.delay, steps)
            m.submodules[f"late{number}"] = ResetInserter(self.abort)(late)
            wiring.connect(m, late.late, port(cores[one.target], "events", one.port))
            ports.append(into)
            heard.append(late.events)
        if len(heard) == 1:
            wiring.connect(m, events, heard[0])
            return
        m.submodules.fork = fork = Fork(source_signature(mapping), [self._listener(one) for one in ports])
        wiring.connect(m, events, fork.i)
        for number, one in enumerate(heard):
            sent = fork.heard(number)
            m.d.comb += [one.payload.eq(sent.payload), one.valid.eq(sent.valid), sent.ready.eq(one.ready)]

    def _listener(self, into: RoutePort) -> Listener:
        assert into.given is not None
        heard_by = self._port(into)
        return Listener(self.mapping.input.ranges[into.given], into.edge.held, heard_by.address_bits, heard_by.value)

    def _pixels(self, m: Module) -> wiring.PureInterface:
        """Beats become rows of the first serialiser: a lane for each pixel, set where the pixel is an event."""
        mapping, lanes = self.mapping, self.mapping.pixels_a_beat
        sources, bits = mapping.sources, mapping.input.bits
        beat = self.frames.payload
        serialiser = Serialiser(
            unsigned_bits(mapping.beats - 1),
            lanes,
            unsigned(bits),
            BEATS_WAITING,
            mapping.source_bits,
        )
        m.submodules.serialiser = ResetInserter(self.abort)(serialiser)
        row = serialiser.rows.payload
        in_last_beat = sources - (mapping.beats - 1) * lanes
        for i in range(lanes):
            value = Signal(bits, name=f"value{i}")
            inside = beat.index != mapping.beats - 1 if i >= in_last_beat else 1
            m.d.comb += [
                value.eq(self._seen(beat.pixels[i], beat.index, i)),
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
        return serialiser.events

    def _seen(self, pixel: Value, index: Value, lane: int) -> Value:
        """The bits of a pixel that its input has, the pixel of `lane` in the beat `index`."""
        given = self.mapping.input
        found = pixel >> given.inputs[0].dropped
        for one, own in zip(given.inputs[1:], given.ranges[1:], strict=True):
            if any(one.dropped != other.dropped for other in given.inputs):
                address = index * self.mapping.pixels_a_beat + lane
                found = Mux(address >= own.start, pixel >> one.dropped, found)
        return found


def port(core: Core, name: str, number: int) -> wiring.PureInterface:
    """A stream of `core`: of several, the first has no number behind its name."""
    return getattr(core, f"{name}{number or ''}")


def _takes(core: Core) -> Value:
    """`core` takes an event in this cycle, by whichever port."""
    streams = [port(core, "events", i) for i in range(len(core.ports))]
    return reduce(or_, (event.valid & event.ready & ~event.payload.end for event in streams))
