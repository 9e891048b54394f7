"""Mapping of a `QuantizedNetwork` onto processing elements: NumPy only, no hardware description.

The frozen `Mapping` is all that the generator, the timing model and the tests know about placement: which neuron sits
in which slot, what every memory holds, how wide every number is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..model.errors import require
from ..quantize.network import Dense, Layer, QuantizedNetwork, Ranges, signed_bits
from .assignment import assign
from .pruning import kept_neurons
from .streams import lane_bits

PIXELS_A_BEAT = (1, 2, 4, 8)
LARGEST_PES = 256
QUEUE_DEPTH, ROW_QUEUE_DEPTH = 16, 8  # entries, where nothing else is asked for
FIRE_STAGES = 4  # a row is read, registered, updated, written: the same row is read again no sooner


def unsigned_bits(largest: int) -> int:
    """Width of an unsigned number up to `largest`, at least 1."""
    return max(1, int(largest).bit_length())


@dataclass(frozen=True)
class LayerMapping:
    """One layer on `pes` processing elements (PEs).

    Attributes
    ----------
    slots : int64 [rows, pes]
        The neuron (network order) at each row of each PE; -1 for an unused slot. Scan order is row by row.
    addresses : int64 [address space]
        The source (network order) behind each input address; -1 where no event can come from.
    starts, counts : int64 [pes, address space]
        Pointer memories: where a source's synapses begin, and how many there are.
    targets, weights : one int64 array for each PE
        Synapse memories: local row and weight, runs in address order.
    biases, thresholds : int64 [rows, pes]
        Parameters of the neurons; unused slots hold those of a neighbour.
    stride_bits : int or None
        Where given, the synapses of address `a` begin at `a << stride_bits`: pointers are counts alone, synapse
        memories have gaps. For large memories that cannot come with the bitstream and are loaded at start.
    """

    index: int
    layer: Layer
    ranges: Ranges
    slots: np.ndarray
    addresses: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    targets: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]
    biases: np.ndarray
    thresholds: np.ndarray
    value_bits: int
    queue_depth: int
    row_queue_depth: int
    stride_bits: int | None = None

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

    @property
    def address_bits(self) -> int:
        """Width of an input address."""
        return unsigned_bits(len(self.addresses) - 1)

    @property
    def output_address_bits(self) -> int:
        """Width of an address that this layer puts out: row, then lane."""
        return self.row_bits + self.lane_bits

    @property
    def start_bits(self) -> int:
        """Width of the address at which a source's synapses begin."""
        if self.stride_bits is not None:
            return self.address_bits + self.stride_bits
        return unsigned_bits(int(self.starts.max()))

    @property
    def count_bits(self) -> int:
        return unsigned_bits(int(self.counts.max()))

    @property
    def pointer_bits(self) -> int:
        """Width of a pointer word: a count, and a start where it does not follow from the source."""
        return self.count_bits + (self.start_bits if self.stride_bits is None else 0)

    @property
    def weight_bits(self) -> int:
        """Width of a stored weight: the narrowest that holds those that are there."""
        return max(signed_bits(int(w.min()), int(w.max())) if w.size else 1 for w in self.weights)

    @property
    def current_bits(self) -> int:
        return self.ranges.current_bits

    @property
    def membrane_bits(self) -> int:
        return self.ranges.membrane_bits

    @property
    def synapse_bits(self) -> int:
        """Width of a synapse word: target, then weight above it."""
        return self.row_bits + self.weight_bits

    @property
    def synapse_depth(self) -> int:
        """Words of the deepest synapse memory, at least 2: an address has a bit."""
        if self.stride_bits is not None:
            return max(2, len(self.addresses) << self.stride_bits)
        return max(2, *(w.size for w in self.weights))

    @property
    def synapse_address_bits(self) -> int:
        """Width of the address of any synapse: the last run may end beyond the largest start's width."""
        return unsigned_bits(self.synapse_depth - 1)

    def synapse_words(self, pe: int) -> np.ndarray:
        """Contents of a PE's synapse memory, int64; gaps are 0."""
        packed = self.targets[pe] | (self.weights[pe] & (1 << self.weight_bits) - 1) << self.row_bits
        if self.stride_bits is None:
            return packed
        ends = np.cumsum(self.counts[pe])
        place = np.repeat(self.starts[pe] - ends + self.counts[pe], self.counts[pe]) + np.arange(packed.size)
        words = np.zeros(self.synapse_depth, dtype=np.int64)
        words[place] = packed
        return words

    @property
    def synapses(self) -> int:
        return sum(w.size for w in self.weights)

    @property
    def used(self) -> np.ndarray:
        """Slots that hold a neuron: bool `[rows, pes]`."""
        return self.slots >= 0

    @property
    def memory_bits(self) -> dict[str, int]:
        """Bits of each kind of memory, as built."""
        parameters = 0
        for values in (self.biases, self.thresholds):
            if np.unique(values[self.used]).size > 1:
                parameters += signed_bits(int(values.min()), int(values.max()))
        return {
            "pointers": self.pes * len(self.addresses) * self.pointer_bits,
            "synapses": self.pes * self.synapse_depth * self.synapse_bits,
            "accumulators": 2 * self.pes * self.rows * self.current_bits,
            "membranes": self.pes * self.rows * self.membrane_bits,
            "parameters": self.pes * self.rows * parameters,
        }


@dataclass(frozen=True)
class Mapping:
    """A whole network placed: one `LayerMapping` a layer, in order."""

    network: QuantizedNetwork
    layers: tuple[LayerMapping, ...]
    pixels_a_beat: int

    @property
    def beats(self) -> int:
        """Input beats of a frame (static input)."""
        return -(-self.layers[0].layer.sources // self.pixels_a_beat)

    @property
    def memory_bits(self) -> int:
        return sum(sum(layer.memory_bits.values()) for layer in self.layers)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the network and of its placement."""
        sha = hashlib.sha256(self.network.digest.encode())
        for layer in self.layers:
            sha.update(f"{layer.pes} {layer.queue_depth} {layer.row_queue_depth} {self.pixels_a_beat}".encode())
            sha.update(f"stride {layer.stride_bits}".encode() if layer.stride_bits is not None else b"")
            sha.update(np.ascontiguousarray(layer.slots).tobytes())
        return sha.hexdigest()


def map_network(
    network: QuantizedNetwork,
    pes: tuple[int, ...] | list[int] | None = None,
    rates: tuple[np.ndarray, ...] | None = None,
    pixels_a_beat: int = 4,
    queue_depth: int = QUEUE_DEPTH,
    row_queue_depth: int = ROW_QUEUE_DEPTH,
    strided: tuple[int, ...] = (),
) -> Mapping:
    """Place `network` on `pes[l]` processing elements for each layer `l`.

    Parameters
    ----------
    pes
        One number a layer, 1 to 256; default 16 for the first and 4 for each other.
    rates
        For each layer, how often each source has an event in a frame (float [sources], any unit), measured on
        training data: the loads that the assignment equalises. Default: all alike.
    pixels_a_beat
        1, 2, 4 or 8 pixels on the input bus.
    queue_depth, row_queue_depth
        Entries of each PE's event queue, and of the queue of rows before each serialiser.
    strided
        The layers whose synapse memories are addressed by source, see `LayerMapping.stride_bits`.
    """
    layers = network.layers
    for layer in layers:
        require(isinstance(layer.synapses, Dense), f"layer {layer.name}", "a convolution", "dense, to be placed")
    pes = tuple(pes) if pes is not None else (16, *[4] * (len(layers) - 1))
    require(len(pes) == len(layers), "pes", pes, f"{len(layers)} numbers, one for each layer")
    require(all(1 <= p <= LARGEST_PES for p in pes), "pes", pes, f"1 to {LARGEST_PES}")
    require(pixels_a_beat in PIXELS_A_BEAT, "pixels_a_beat", pixels_a_beat, f"one of {PIXELS_A_BEAT}")
    require(2 <= queue_depth <= 1024, "queue_depth", queue_depth, "2 to 1024")
    require(2 <= row_queue_depth <= 1024, "row_queue_depth", row_queue_depth, "2 to 1024")
    if rates is None:
        rates = tuple(np.ones(layer.sources) for layer in layers)
    require(len(rates) == len(layers), "rates", len(rates), f"{len(layers)} arrays, one for each layer")
    kept = kept_neurons(network)
    addresses = np.arange(layers[0].sources)
    value_bits = network.input.bits if network.input.kind == "static" else 1
    mapped = []
    for index, layer in enumerate(layers):
        require(rates[index].shape == (layer.sources,), f"rates[{index}]", rates[index].shape, f"({layer.sources},)")
        mapped.append(
            _map_layer(
                index,
                layer,
                network.ranges[index],
                kept[index],
                addresses,
                rates[index],
                pes[index],
                value_bits,
                queue_depth,
                row_queue_depth,
                index in strided,
            )
        )
        addresses = scan_addresses(mapped[-1].slots)
        value_bits = 1
    return Mapping(network, tuple(mapped), pixels_a_beat)


def scan_addresses(slots: np.ndarray) -> np.ndarray:
    """The neuron behind each address that a layer puts out: rows padded to a power of two of lanes."""
    lanes = 1 << lane_bits(slots.shape[1])
    padded = np.full((slots.shape[0], lanes), -1, dtype=np.int64)
    padded[:, : slots.shape[1]] = slots
    return padded.ravel()


def _map_layer(
    index: int,
    layer: Layer,
    ranges: Ranges,
    kept: np.ndarray,
    addresses: np.ndarray,
    rates: np.ndarray,
    pes: int,
    value_bits: int,
    queue_depth: int,
    row_queue_depth: int,
    strided: bool,
) -> LayerMapping:
    """Place one dense layer's `kept` neurons (indices, ascending); sources sit behind `addresses`."""
    weight = layer.synapses.weight
    loads = (weight[kept] != 0) @ rates
    rows = max(FIRE_STAGES, -(-len(kept) // pes))
    slots = np.full((rows, pes), -1, dtype=np.int64)
    for pe, members in enumerate(assign(loads, pes)):
        slots[: len(members), pe] = kept[members]
    live = addresses >= 0
    starts = np.zeros((pes, len(addresses)), dtype=np.int64)
    counts = np.zeros((pes, len(addresses)), dtype=np.int64)
    targets, weights = [], []
    for pe in range(pes):
        neurons = slots[slots[:, pe] >= 0, pe]
        columns = np.zeros((len(addresses), len(neurons)), dtype=np.int64)
        columns[live] = weight[neurons][:, addresses[live]].T
        source, target = np.nonzero(columns)
        counts[pe] = np.bincount(source, minlength=len(addresses))
        ends = np.cumsum(counts[pe])
        starts[pe] = np.where(counts[pe] > 0, ends - counts[pe], 0)
        targets.append(target)
        weights.append(columns[source, target])
    stride_bits = None
    if strided:
        stride_bits = max(0, int(counts.max()) - 1).bit_length()
        starts[:] = np.arange(len(addresses)) << stride_bits
    holder = np.where(slots >= 0, slots, kept[0])
    return LayerMapping(
        index=index,
        layer=layer,
        ranges=ranges,
        slots=slots,
        addresses=addresses,
        starts=starts,
        counts=counts,
        targets=tuple(targets),
        weights=tuple(weights),
        biases=layer.per_neuron(layer.synapses.bias)[holder],
        thresholds=layer.per_neuron(layer.neuron.threshold)[holder],
        value_bits=value_bits,
        queue_depth=queue_depth,
        row_queue_depth=row_queue_depth,
        stride_bits=stride_bits,
    )
