"""One population in hardware: processing elements that integrate, a fire unit that scans, a serialiser that sends."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .addressing import locate, located_layout
from .edge import Edge
from .fire import FireUnit
from .issue import Leaving
from .join import Join, Port
from .loading import load_ports
from .mapping import LayerMapping
from .pe import ProcessingElement, value_shape
from .serialiser import Serialiser
from .streams import event_layout
from .update import output_value_shape


class Core(wiring.Component):
    """The core of one population.

    Ports
    -----
    events
        In: events and end-of-step tokens, broadcast to all PEs: taken when no PE's queue is full. Those of further
        ports are `events1` and so on; a `Join` takes them one after another.
    spikes
        Out: its events and tokens, addresses in scan order; in a membrane read-out the membranes, as events of the
        last step. Those of further edges are `spikes1` and so on, each with a delay of its own (`Edge`).
    load_write, load_address, load_word
        In, if `loadable`: a word for the synapse memory of the PE whose bit is set.

    `fire_valid`, `fire_spikes`, `fire_membranes` show every update, for traces. Integration of a step
    overlaps the scan of the step before. Throughput: the cycles of a step are the largest of its events, the synapses
    of its most loaded PE, its rows and its spikes; `sim/timing/` is exact.
    """

    def __init__(
        self,
        mapping: LayerMapping,
        steps: int | None,
        static: bool,
        loadable: bool = False,
        ports: Sequence[Port] = (),
        leaving: Sequence[Leaving] = (),
    ):
        """`ports`: joined streams, none for one as wide as the mapping's addresses; others: see `FireUnit`."""
        self.mapping = mapping
        self.loadable = loadable
        self.steps = steps
        self.static = static
        self.ports = tuple(ports) or (Port(mapping.address_bits, value_shape(mapping)),)
        self.leaving = tuple(leaving) or (Leaving(mapping.row_queue_depth),)
        self.fire = FireUnit(mapping, steps, steps or 1 if static else 1, self.leaving)
        super().__init__(
            {
                f"events{i or ''}": In(stream.Signature(event_layout(port.address_bits, port.value)))
                for i, port in enumerate(self.ports)
            }
            | {
                f"spikes{i or ''}": Out(
                    stream.Signature(event_layout(mapping.output_address_bits(edge.way), output_value_shape(mapping)))
                )
                for i, edge in enumerate(self.leaving)
            }
            | (load_ports(mapping, mapping.pes) if loadable else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mapping = self.mapping
        m.submodules.fire = fire = self.fire
        serialisers = [self._serialiser(m, i) for i in range(len(self.leaving))]
        events = self.events
        if len(self.ports) > 1:
            m.submodules.join = join = Join(
                self.ports,
                located_layout(mapping, value_shape(mapping)),
                self._locate,
                mapping.held_ports if mapping.is_mixed else 0,
                self.steps or 1,
            )
            for i in range(len(self.ports)):
                wiring.connect(m, wiring.flipped(getattr(self, f"events{i or ''}")), getattr(join, f"port{i}"))
            events = join.events
        event = events.payload
        located = Signal(located_layout(mapping, value_shape(mapping)), name="located")
        m.d.comb += [located[name].eq(event[name]) for name in ("value", "end", "bad")]
        fields = {name: event[name] for name in ("source", "y", "x", "held") if name in event.shape().members}
        if len(self.ports) == 1:
            fields = locate(m, mapping, mapping.heard[0], event.source)
        m.d.comb += [located[name].eq(field) for name, field in fields.items()]
        pes = [ProcessingElement(mapping, p, self.loadable) for p in range(mapping.pes)]
        for p, pe in enumerate(pes):
            m.submodules[f"pe{p}"] = pe
            m.d.comb += [
                pe.events.payload.eq(located),
                pe.events.valid.eq(events.valid & events.ready),
                pe.row.eq(fire.row),
                pe.read.eq(fire.read),
                pe.clear.eq(fire.clear),
                pe.clear_row.eq(fire.clear_row),
                pe.release.eq(fire.release),
                fire.sums[p].eq(pe.sums),
            ]
            if self.loadable:
                m.d.comb += [
                    pe.load_write.eq(self.load_write[p]),
                    pe.load_address.eq(self.load_address),
                    pe.load_word.eq(self.load_word),
                ]
        # `fire.running`, one cycle later: it is on the longest path, so a register drives nothing else.
        cleared = Signal(name="cleared")
        m.d.sync += cleared.eq(fire.running)
        m.d.comb += [
            events.ready.eq(cleared & Cat(pe.events.ready for pe in pes).all()),
            fire.bad.eq(pes[0].bad),
            *(getattr(fire, f"credit{i or ''}").eq(one.credit) for i, one in enumerate(serialisers)),
        ]
        m.d.comb += [fire.full[b].eq(Cat(pe.full[b] for pe in pes).all()) for b in range(mapping.banks)]
        self._fork(m, fire, serialisers)

        fire_valid = Signal(name="fire_valid")
        fire_spikes = Signal.like(fire.update_spikes, name="fire_spikes")
        fire_membranes = Signal.like(fire.update_membranes, name="fire_membranes")
        m.d.comb += [
            fire_valid.eq(fire.update_valid),
            fire_spikes.eq(fire.update_spikes),
            fire_membranes.eq(fire.update_membranes),
        ]
        return m

    def _locate(self, m: Module, number: int, source: Value) -> dict[str, Value]:
        """List and bases of an event at the address `source` of a port."""
        return locate(m, self.mapping, self.mapping.heard[number], source, str(number))

    def _serialiser(self, m: Module, number: int) -> Serialiser | Edge:
        """What is behind the fire unit on the edge `number`."""
        mapping, edge = self.mapping, self.leaving[number]
        outgoing = mapping.outgoing[edge.way]
        sizes = outgoing.output_bits, mapping.pes, output_value_shape(mapping), edge.depth
        made: Serialiser | Edge
        if edge.delay:
            made = Edge(*sizes, mapping.output_address_bits(edge.way), edge.delay)
        else:
            made = Serialiser(*sizes, mapping.output_address_bits(edge.way))
        m.submodules[f"serialiser{number or ''}"] = made
        return made

    def _fork(self, m: Module, fire: FireUnit, serialisers: Sequence[Serialiser | Edge]) -> None:
        """Every edge gets every row: with its credit there is space for it."""
        for i, one in enumerate(serialisers):
            rows = getattr(fire, f"rows{self.leaving[i].way or ''}")
            if len(serialisers) == 1:
                wiring.connect(m, rows, one.rows)
            else:
                m.d.comb += [one.rows.payload.eq(rows.payload), one.rows.valid.eq(rows.valid)]
            if isinstance(one, Edge):
                m.d.comb += one.masked.eq(fire.masked[i])
            wiring.connect(m, one.events, wiring.flipped(getattr(self, f"spikes{i or ''}")))
