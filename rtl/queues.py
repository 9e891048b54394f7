"""The queues of a mapping, and where their memories are.

No hardware description.
"""

from __future__ import annotations

from ..bits import unsigned_bits
from .layer_mapping import LayerMapping, Memories
from .mapping import Mapping
from .routes import Route

LUT_RAM_WORDS = 64  # longer queues are read at a clock edge, as block RAM is
FLIP_FLOP_BITS = 64  # on the iCE40, which has no LUT RAM, queues of at most this many bits are flip-flops
LOOKED_UP = 4  # tokens at most between the event queue of a PE and its banks, or in a join
FLAGS = 2  # bits of an event or a row beside its address and values: `end` and `bad`


def is_clocked(family: str, entries: int, bits: int) -> bool:
    """Whether a queue of this size has a memory that is read one cycle later, as block RAM is."""
    return entries * bits > FLIP_FLOP_BITS if family.lower() == "ice40" else entries > LUT_RAM_WORDS


def most_frames(mapping: Mapping) -> int:
    """Frames that can be between the input and the read-out: each step of one has a token somewhere on the way.

    In a core that hears static inputs alone a token is a whole frame. A static input is late only beside another one
    that the core hears itself, a frame at a time.
    """
    steps = mapping.network.steps
    tokens = [(layer.queue_depth + LOOKED_UP + layer.banks, layer.is_held) for layer in mapping.layers]
    inside = sum(number * (steps if held else 1) for number, held in tokens)
    inside += sum(route.depth + route.delay + 1 for route in mapping.routes)
    for late in mapping.late:
        held = mapping.ports[late.target][late.port].edge.held
        inside += steps if held else late.depth + late.delay + 1
    return -(-inside // steps) + 2


def queues_of(mapping: Mapping) -> list[Memories]:
    """The memories of all queues of events, rows and flags; not those of beats, which have two entries."""
    found = [Memories(layer.pes, layer.queue_depth, _event_bits(layer)) for layer in mapping.layers]
    found += [Memories(1, route.depth, _row_bits(mapping, route)) for route in mapping.routes]
    for late in mapping.late:
        port = mapping.ports[late.target][late.port]
        assert port.given is not None
        value_bits = unsigned_bits(mapping.network.inputs[port.given].largest)
        found.append(Memories(1, late.depth, unsigned_bits(port.edge.sources - 1) + value_bits + FLAGS))
    return found if mapping.network.is_chain else [*found, Memories(1, most_frames(mapping), 1)]


def _event_bits(layer: LayerMapping) -> int:
    """Width of an event as the PEs receive it: `addressing.located_layout`."""
    bases = layer.kernel.rows.base_bits + layer.kernel.columns.base_bits if layer.kernel else 0
    return layer.list_bits + layer.value_bits + FLAGS + bases + layer.is_mixed


def _row_bits(mapping: Mapping, route: Route) -> int:
    """Width of a row as its serialiser keeps it: `streams.row_layout`, with values only if they are membranes."""
    layer = mapping.layers[route.source]
    values = 0 if layer.population.neuron.spiking else layer.membrane_bits
    return layer.outgoing[route.way].output_bits + layer.pes * (1 + values) + FLAGS
