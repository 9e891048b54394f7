"""An ESTIMATE of the energy of a frame: counted operations times published energies per operation.

It is not a measurement and does not include clocks, wires, leakage, or the fabric of an FPGA. Use it to compare two
networks, or a network with its dense counterpart, in one technology. It does not predict power.

Energies are those of M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, pp. 10-14,
45 nm at 0.9 V: integer additions of 8 and 32 bits 0.03 and 0.1 pJ, integer multiplications of 8 and 32 bits 0.2 and
3.1 pJ, float32 addition 0.9 and multiplication 3.7 pJ, a 64-bit read of an 8 kB, 32 kB and 1 MB static memory 10, 20
and 100 pJ. Between these points an addition is taken as linear in its bits, a multiplication as proportional to the
product of its operands' bits, a read as linear in the bits read and, in the logarithms, in the memory's size. A
memory below 8 kB costs as one of 8 kB; a write costs as a read.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

from ..bits import signed_bits, unsigned_bits
from ..quantize.network import Population, QuantizedNetwork, Ranges
from .operations import Operations, titles

SOURCE = "M. Horowitz, ISSCC 2014, pp. 10-14, 45 nm, 0.9 V"
ADDITION = ((8, 0.03), (32, 0.1))  # bits, pJ
MULTIPLICATION = (32, 3.1)  # bits of both operands, pJ
FLOAT_ADDITION, FLOAT_MULTIPLICATION = 0.9, 3.7  # float32, pJ
READ = ((8 << 10, 10.0), (32 << 10, 20.0), (1 << 20, 100.0))  # bytes of the memory, pJ for 64 bits


def addition(bits: int) -> float:
    """Picojoules of an integer addition, subtraction or comparison."""
    (low_bits, low), (high_bits, high) = ADDITION
    return max(0.0, low + (high - low) * (bits - low_bits) / (high_bits - low_bits))


def multiplication(a: int, b: int) -> float:
    """Picojoules of a multiplication of `a` by `b` bits."""
    bits, energy = MULTIPLICATION
    return energy * a * b / bits**2


def access(bits: int, memory_bits: int) -> float:
    """Picojoules of reading or writing a word of `bits` in a static memory of `memory_bits`."""
    sizes, energies = zip(*READ, strict=True)
    size = max(memory_bits / 8, sizes[0])
    upper = 1 if size <= sizes[1] else 2
    slope = log(energies[upper] / energies[upper - 1]) / log(sizes[upper] / sizes[upper - 1])
    return bits / 64 * energies[upper] * exp(slope * log(size / sizes[upper]))


@dataclass(frozen=True)
class Item:
    """One kind of operation: its number per frame, its width in bits, and the energy of each."""

    name: str
    count: float
    bits: int
    picojoules: float

    @property
    def nanojoules(self) -> float:
        """Energy per frame, in picojoules."""
        return self.count * self.picojoules / 1000


@dataclass(frozen=True)
class Estimate:
    """Mean energy per frame, an estimate, item by item."""

    items: tuple[Item, ...]

    @property
    def nanojoules(self) -> float:
        return sum(item.nanojoules for item in self.items)


def estimate(network: QuantizedNetwork, operations: Operations) -> Estimate:
    """Mean energy per frame of the event-driven accelerator, for the frames counted in `operations`.

    An event reads one pointer. A synaptic operation reads a synapse (target and weight) and reads, adds to and writes
    a sum; the first layer's, on pixels of more than a bit, multiplies too. A neuron's step reads its sum, reads and
    writes its membrane, and takes three additions: leak, sum, comparison. A graded event is one event: its count is
    multiplied. Each layer has memories of its own. `_states` tells of neurons that keep more than a membrane.
    """
    items, kinds = [], {given.name: given for given in network.inputs}
    for index, (edge, title) in enumerate(zip(network.edges, titles(network), strict=True)):
        population, ranges = network.populations[edge.population], network.ranges[edge.population]
        events = float(operations.events[index].sum(axis=1).mean())
        synaptic = float(operations.synaptic[index].sum(axis=1).mean())
        updates = population.neurons * network.steps
        weight_bits = edge.connection.weight_bits
        pointer = unsigned_bits(edge.connected)
        word = weight_bits + unsigned_bits(population.neurons - 1)
        total, membrane = ranges.current_bits, ranges.membrane_bits
        potential = signed_bits(*ranges.potential)
        sums = access(total, total * population.neurons)
        graded = [kinds[source].bits for source in edge.connection.sources if source in kinds]
        graded = [bits for bits in graded if edge.largest > 1]
        if graded:
            factor = multiplication(max(graded), weight_bits)
            items.append(Item(f"{title} multiplications", synaptic, weight_bits, factor))
        items += [
            Item(f"{title} pointer reads", events, pointer, access(pointer, pointer * edge.sources)),
            Item(f"{title} synapse reads", synaptic, word, access(word, word * edge.connected)),
            Item(f"{title} additions", synaptic, total, addition(total)),
        ]
        if edge.index + 1 < len(population.inputs):
            items.append(Item(f"{title} sum reads and writes", 2 * synaptic, total, sums))
            continue
        items += [
            Item(f"{title} sum reads and writes", 2 * synaptic + updates, total, sums),
            Item(
                f"{population.name} membrane reads and writes",
                2 * updates,
                membrane,
                access(membrane, membrane * population.neurons),
            ),
            Item(f"{population.name} neuron additions", 3 * updates, potential, addition(potential)),
            *_states(population, ranges, updates),
        ]
    return Estimate(tuple(items))


def _states(population: Population, ranges: Ranges, updates: int) -> list[Item]:
    """What neurons take that keep more than a membrane: each state is read and written in every step.

    A synaptic current is multiplied and has the sum added; an adaptation is multiplied, has its jump added and is added
    to the threshold; refractory steps are counted down.
    """
    neuron, found = population.neuron, []
    kinds: list[tuple[str, int, int, int]] = []  # bits, bits of the factor, additions
    if neuron.current is not None:
        kinds.append(("current", ranges.synaptic_bits, neuron.current.shift + 1, 1))
    if neuron.adaptation is not None:
        kinds.append(("adaptation", ranges.adaptation_bits, neuron.adaptation.shift + 1, 2))
    if neuron.refractory:
        kinds.append(("refractory", neuron.refractory.bit_length(), 0, 1))
    for name, bits, factor, additions in kinds:
        title, memory = f"{population.name} {name}", access(bits, bits * population.neurons)
        found.append(Item(f"{title} reads and writes", 2 * updates, bits, memory))
        found.append(Item(f"{title} additions", additions * updates, bits, addition(bits)))
        if factor:
            found.append(Item(f"{title} multiplications", updates, bits, multiplication(bits, factor)))
    return found


def dense(network: QuantizedNetwork, bits: int | None = 8) -> Estimate:
    """Energy of the dense non-spiking network of the same shape for one frame.

    Every synapse counts once, zeros included: one read of its weight, one multiplication and one addition, with the sum
    in a register. A connection reads each of its sources once, a population writes each activation once. This favours
    the dense network. What is `anew` at each step counts for each step. `bits`: width of weights and
    activations, with sums of 32 bits; None for float32.
    """
    width = 32 if bits is None else bits
    multiply = FLOAT_MULTIPLICATION if bits is None else multiplication(width, width)
    add = FLOAT_ADDITION if bits is None else addition(32)
    items, changing = [], anew(network)
    for edge, title in zip(network.edges, titles(network), strict=True):
        population, weights = network.populations[edge.population], edge.synapses.weight.size
        reads = network.steps if changing.intersection(edge.connection.sources) else 1
        writes = network.steps if population.name in changing else 1
        products = weights // edge.channels * edge.neurons * reads
        values = edge.sources * reads + edge.neurons * writes * (edge.index + 1 == len(population.inputs))
        items += [
            Item(f"{title} weight reads", products, width, access(width, width * weights)),
            Item(f"{title} multiplications", products, width, multiply),
            Item(f"{title} additions", products, 32, add),
            Item(f"{title} activation reads and writes", values, width, access(width, width * edge.sources)),
        ]
    return Estimate(tuple(items))


def anew(network: QuantizedNetwork) -> set[str]:
    """Inputs and populations that a dense non-spiking network of the same shape has anew at each step of a frame.

    These are populations in a cycle, what they lead to, and, if a connection has a delay, inputs of events and what
    these lead to. Without delays a dense network takes a frame as a whole.
    """
    found = set(network.graph.recurrent)
    if any(edge.connection.delay for edge in network.edges):
        found |= {given.name for given in network.inputs if given.kind != "static"}
    return network.graph.reached(found)
