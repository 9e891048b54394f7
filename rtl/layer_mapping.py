"""One population on its processing elements: memories, their contents, and all widths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..bits import lane_bits, signed_bits, unsigned_bits
from ..quantize.network import Population, Ranges
from .convolution import Kernel
from .latency import BANKS, fire_stages, put_out
from .lists import Heard
from .parameters import Parameter, Scope
from .scan import Outgoing, Scan
from .slots import has_current_stage
from .synapse_format import SynapseFormat


@dataclass(frozen=True)
class Memories:
    """A number of equal memories, `words` of `bits` each."""

    number: int
    words: int
    bits: int

    @property
    def total(self) -> int:
        return self.number * self.words * self.bits


@dataclass(frozen=True)
class LayerMapping:
    """One population on `pes` processing elements (PEs).

    Attributes
    ----------
    scan : Scan
        The order of the rows, and the addresses of outgoing events.
    slots : int64 [rows, pes]
        The neuron (network order) at each row of each PE; -1 for an unused slot. Scan order is row by row.
    heard : one `Heard` for each port
        What arrives: the addresses of a port follow those of the port before it.
    outgoing : tuple of Outgoing
        The ways in which rows leave: one, or as many as its readers have pools.
    sent : for each of these, int64 [address space]
        The source, in the order of who hears it, behind each outgoing address, -1 if there is none.
    starts, counts : int64 [pes, lists]
        Pointer memories: the start and the number of synapses of each list.
    targets : for each PE, int64 arrays by field
        Synapses, list after list: the fields of `SynapseFormat.synapse` for the target.
    weights : one int64 array for each PE
        The weights of these synapses.
    parameters : dict
        Parameters of the neurons, by name: see `rtl/parameters.py`.
    every_step : bool
        The membranes leave after every step, for a read-out of the largest or of the sum; else of silent neurons, after
        the last.
    shift : int
        Weights are worth `2**shift` units of the sum, what an event's value adds to that aside.
    kernel : Kernel or None
        Where synapses find their targets, if a convolution is heard.
    stride_bits : int or None
        See `SynapseFormat`. Given for large memories without initial contents, which are loaded after power-up.
    """

    index: int
    population: Population
    ranges: Ranges
    scan: Scan
    slots: np.ndarray
    heard: tuple[Heard, ...]
    outgoing: tuple[Outgoing, ...]
    sent: tuple[np.ndarray, ...]
    starts: np.ndarray
    counts: np.ndarray
    targets: tuple[dict[str, np.ndarray], ...]
    weights: tuple[np.ndarray, ...]
    parameters: dict[str, Parameter]
    every_step: bool
    value_bits: int
    queue_depth: int
    row_queue_depth: int
    kernel: Kernel | None
    stride_bits: int | None
    shift: int = 0

    @property
    def pes(self) -> int:
        return self.slots.shape[1]

    @property
    def rows(self) -> int:
        return self.slots.shape[0]

    @property
    def lane_bits(self) -> int:
        return lane_bits(self.pes)

    @property
    def row_bits(self) -> int:
        return unsigned_bits(self.rows - 1)

    @cached_property
    def addresses(self) -> np.ndarray:
        """The source of each input address, counted through all ports; -1 if no event can have it: int64."""
        firsts = np.cumsum([0, *(port.edge.sources for port in self.heard)])
        parts = zip(self.heard, firsts, strict=False)
        return np.concatenate([np.where(port.addresses >= 0, port.addresses + first, -1) for port, first in parts])

    @cached_property
    def lists(self) -> np.ndarray:
        """The list of synapses of each input address, int64: its own, or in a convolution that of its channel."""
        return np.concatenate([port.lists for port in self.heard])

    @property
    def held_ports(self) -> int:
        """Ports whose events are the same for all steps of a frame; they are the first."""
        return sum(port.edge.held for port in self.heard)

    @property
    def is_held(self) -> bool:
        """All that is heard is: it is added up once a frame."""
        return self.held_ports == len(self.heard)

    @property
    def is_mixed(self) -> bool:
        """Only a part is: its sums are in a bank of their own."""
        return 0 < self.held_ports < len(self.heard)

    @property
    def banks(self) -> int:
        """Banks of accumulators of each PE."""
        return BANKS + self.is_mixed

    @property
    def bank_bits(self) -> int:
        return unsigned_bits(self.banks - 1)

    @property
    def address_bits(self) -> int:
        """Width of an input address."""
        return unsigned_bits(len(self.addresses) - 1)

    def output_address_bits(self, way: int = 0) -> int:
        """Width of an address that leaves by `outgoing[way]`: the scan's part, then the lane."""
        return self.outgoing[way].output_bits + self.lane_bits

    @property
    def list_bits(self) -> int:
        """Width of the number of a list of synapses."""
        return unsigned_bits(self.counts.shape[1] - 1)

    @cached_property
    def synapse_format(self) -> SynapseFormat:
        """Words of the pointer and synapse memories."""
        return SynapseFormat.of(self.scan, self.kernel, self.weights, self.counts, self.starts, self.stride_bits)

    @property
    def current_bits(self) -> int:
        return self.ranges.current_bits

    @property
    def membrane_bits(self) -> int:
        return self.ranges.membrane_bits

    @property
    def limit_bits(self) -> int:
        """Width of the threshold with its adaptation, signed."""
        threshold, adaptation = self.population.neuron.threshold, self.ranges.adaptation[1]
        return signed_bits(int(threshold.min()), int(threshold.max()) + adaptation)

    @property
    def states(self) -> dict[str, int]:
        """Bits of each state that a neuron keeps beside its membrane, by name of its memory."""
        neuron, found = self.population.neuron, {}
        if neuron.current is not None:
            found["currents"] = self.ranges.synaptic_bits
        if neuron.adaptation is not None:
            found["adaptations"] = unsigned_bits(self.ranges.adaptation[1])
        if neuron.refractory:
            found["refractory"] = unsigned_bits(neuron.refractory)
        return found

    @property
    def has_current_stage(self) -> bool:
        return has_current_stage(self.population.neuron)

    @property
    def fire_stages(self) -> int:
        return fire_stages(self.has_current_stage)

    @property
    def put_out(self) -> int:
        """Cycles from the issue of a row to its offer."""
        return put_out(self.has_current_stage)

    def multipliers(self, bits: int) -> int:
        """Multipliers of `bits` by `bits` in each PE, as synthesis builds them: of weights and values, and of states
        and their decays but powers of two.
        """
        states = {
            "factor": self.membrane_bits,
            "current_factor": self.states.get("currents", 0),
            "adaptation_factor": self.states.get("adaptations", 0),
        }
        found = int(self.value_bits > 1)
        for name in self.parameters.keys() & states.keys():
            parameter = self.parameters[name]
            is_shift = parameter.scope == Scope.LAYER and parameter.constant.bit_count() <= 1
            if not is_shift:
                found += -(-states[name] // bits) * -(-parameter.bits // bits)
        return found

    def parameter_bits(self, scope: Scope) -> int:
        """Bits of a neuron's parameters of one scope."""
        return sum(parameter.bits for parameter in self.parameters.values() if parameter.scope == scope)

    @property
    def synapse_depth(self) -> int:
        """Words of the deepest synapse memory, at least 2, as an address has at least one bit."""
        if self.stride_bits is not None:
            return max(2, self.counts.shape[1] << self.stride_bits)
        return max(2, *(w.size for w in self.weights))

    @property
    def synapse_address_bits(self) -> int:
        """Width of the address of any synapse: the last run may end beyond the largest start's width."""
        return unsigned_bits(self.synapse_depth - 1)

    def synapse_words(self, pe: int) -> np.ndarray:
        """Contents of a PE's synapse memory, int64; gaps are 0."""
        packed = self.synapse_format.synapse.pack(**self.targets[pe], weight=self.weights[pe])
        if self.stride_bits is None:
            return packed
        ends = np.cumsum(self.counts[pe])
        addresses = np.repeat(self.starts[pe] - ends + self.counts[pe], self.counts[pe]) + np.arange(packed.size)
        words = np.zeros(self.synapse_depth, dtype=np.int64)
        words[addresses] = packed
        return words

    @property
    def synapses(self) -> int:
        return sum(w.size for w in self.weights)

    @property
    def used(self) -> np.ndarray:
        """Slots that hold a neuron: bool `[rows, pes]`."""
        return self.slots >= 0

    def emitted(self, way: int = 0) -> np.ndarray:
        """What each slot sends by `outgoing[way]`: its neuron, or at the end of a joined window the pooled source.

        int64 `[rows, pes]`, -1 if it never sends.
        """
        outgoing, found = self.outgoing[way], self.slots
        if outgoing.joined:
            found = self.sent[way].reshape(-1, 1 << self.lane_bits)[outgoing.outputs, : self.pes]
        return np.where(outgoing.sends[:, None] & self.used, found, -1)

    @property
    def memories(self) -> dict[str, Memories]:
        """The memories of each kind, as built."""
        row_bits = self.parameter_bits(Scope.ROW)
        return {
            "pointers": Memories(self.pes, self.counts.shape[1], self.synapse_format.pointer.bits),
            "synapses": Memories(self.pes, self.synapse_depth, self.synapse_format.synapse.bits),
            "accumulators": Memories(self.banks * self.pes, self.rows, self.current_bits),
            "membranes": Memories(1, self.rows, self.pes * self.membrane_bits),
            "parameters": Memories(1, self.scan.groups, self.pes * self.parameter_bits(Scope.GROUP)),
            **({"row parameters": Memories(1, self.rows, self.pes * row_bits)} if row_bits else {}),
            **{name: Memories(1, self.rows, self.pes * bits) for name, bits in self.states.items()},
        }

    def pointer_words(self, pe: int) -> np.ndarray:
        """Contents of a PE's pointer memory, int64."""
        return self.synapse_format.pointer.pack(count=self.counts[pe], start=self.starts[pe])

    @property
    def single_memories(self) -> dict[str, list[Memories]]:
        """The memories of each kind one by one, without bits that are the same in all words of a memory's contents."""
        found = {}
        for kind, memories in self.memories.items():
            found[kind] = [Memories(1, memories.words, memories.bits)] * memories.number
        for kind, contents in (("pointers", self.pointer_words), ("synapses", self.synapse_words)):
            words = [contents(pe) for pe in range(self.pes)]
            found[kind] = [Memories(1, max(2, w.size), _changing_bits(w)) for w in words]
        return found

    @property
    def memory_bits(self) -> dict[str, int]:
        """Bits of each kind of memory, as built. Queues are not among them: see `queues_of`."""
        return {kind: memories.total for kind, memories in self.memories.items()}


def _changing_bits(words: np.ndarray) -> int:
    """Bits that are not the same in all of `words`, int64."""
    if not words.size:
        return 0
    return int(np.bitwise_or.reduce(words) ^ np.bitwise_and.reduce(words)).bit_count()
