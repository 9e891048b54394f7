"""Mapping of a `QuantizedNetwork` onto processing elements: NumPy only, no hardware description.

The frozen `Mapping` is all that the generator, the timing model and the tests know about placement: which neuron sits
in which slot, what every memory holds, how wide every number is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..bits import lane_bits, signed_bits, unsigned_bits
from ..errors import require
from ..quantize.network import Conv, Layer, QuantizedNetwork, Ranges
from ..quantize.placement import QUEUE_DEPTH, ROW_QUEUE_DEPTH, Placement
from .assignment import assign
from .convolution import Kernel
from .latency import FIRE_STAGES
from .pruning import kept_neurons
from .scan import Scan


@dataclass(frozen=True)
class Memories:
    """So many memories, `words` of `bits` each."""

    number: int
    words: int
    bits: int

    @property
    def total(self) -> int:
        return self.number * self.words * self.bits


@dataclass(frozen=True)
class LayerMapping:
    """One layer on `pes` processing elements (PEs).

    Attributes
    ----------
    scan : Scan
        The order of the rows, and the addresses of what leaves.
    slots : int64 [rows, pes]
        The neuron (network order) at each row of each PE; -1 for an unused slot. Scan order is row by row.
    addresses : int64 [address space]
        The source (network order) behind each input address; -1 where no event can come from.
    outputs : int64 [address space of the next layer]
        The same for what leaves, after pooling.
    lists : int64 [address space]
        The list of synapses that each input address goes through: its own, or in a convolution its channel's.
    starts, counts : int64 [pes, lists]
        Pointer memories: where a list begins, and how many synapses it has.
    targets, weights : one int64 array for each PE
        Synapse memories, list after list: target and weight. The target is a row; in a convolution the group, and
        above it the taps of `Kernel.synapses`.
    biases, thresholds : int64 [groups, pes]
        Parameters of the neurons of a group; unused slots hold those of a neighbour.
    kernel : Kernel or None
        Address arithmetic of a convolution.
    stride_bits : int or None
        Where given, the synapses of list `a` begin at `a << stride_bits`: pointers are counts alone, synapse memories
        have gaps. For large memories that cannot come with the bitstream and are loaded at start.
    """

    index: int
    layer: Layer
    ranges: Ranges
    scan: Scan
    slots: np.ndarray
    addresses: np.ndarray
    outputs: np.ndarray
    lists: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    targets: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]
    biases: np.ndarray
    thresholds: np.ndarray
    value_bits: int
    queue_depth: int
    row_queue_depth: int
    kernel: Kernel | None
    stride_bits: int | None

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
        """Width of an address that this layer puts out: the scan's part, then the lane."""
        return self.scan.output_bits + self.lane_bits

    @property
    def list_bits(self) -> int:
        """Width of the number of a list of synapses."""
        return unsigned_bits(self.counts.shape[1] - 1)

    @property
    def start_bits(self) -> int:
        """Width of the address at which a list begins."""
        if self.stride_bits is not None:
            return self.list_bits + self.stride_bits
        return unsigned_bits(int(self.starts.max()))

    @property
    def count_bits(self) -> int:
        return unsigned_bits(int(self.counts.max()))

    @property
    def pointer_bits(self) -> int:
        """Width of a pointer word: a count, and a start where it does not follow from the list."""
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
    def target_bits(self) -> int:
        """Width of a synapse's target: a row; in a convolution a group and taps."""
        if self.kernel is None:
            return self.row_bits
        return self.scan.group_bits + self.kernel.rows.tap_bits + self.kernel.columns.tap_bits

    @property
    def synapse_bits(self) -> int:
        """Width of a synapse word: target, then weight above it."""
        return self.target_bits + self.weight_bits

    @property
    def synapse_depth(self) -> int:
        """Words of the deepest synapse memory, at least 2: an address has a bit."""
        if self.stride_bits is not None:
            return max(2, self.counts.shape[1] << self.stride_bits)
        return max(2, *(w.size for w in self.weights))

    @property
    def synapse_address_bits(self) -> int:
        """Width of the address of any synapse: the last run may end beyond the largest start's width."""
        return unsigned_bits(self.synapse_depth - 1)

    def synapse_words(self, pe: int) -> np.ndarray:
        """Contents of a PE's synapse memory, int64; gaps are 0."""
        packed = self.targets[pe] | (self.weights[pe] & (1 << self.weight_bits) - 1) << self.target_bits
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
    def used_groups(self) -> np.ndarray:
        """Groups that hold neurons: bool `[groups, pes]`."""
        return self.used[:: self.scan.group_rows]

    @property
    def emitted(self) -> np.ndarray:
        """What each slot sends, int64 `[rows, pes]`: its neuron, or at the end of a joined window the pooled source.

        -1 where nothing is ever sent.
        """
        if not self.scan.joined:
            return self.slots
        sources = self.outputs.reshape(-1, 1 << self.lane_bits)[self.scan.outputs, : self.pes]
        return np.where(self.scan.sends[:, None] & self.used, sources, -1)

    @property
    def memories(self) -> dict[str, Memories]:
        """The memories of each kind, as built."""
        parameters = 0
        for values in (self.biases, self.thresholds):
            if np.unique(values[self.used_groups]).size > 1:
                parameters += signed_bits(int(values.min()), int(values.max()))
        return {
            "pointers": Memories(self.pes, self.counts.shape[1], self.pointer_bits),
            "synapses": Memories(self.pes, self.synapse_depth, self.synapse_bits),
            "accumulators": Memories(2 * self.pes, self.rows, self.current_bits),
            "membranes": Memories(1, self.rows, self.pes * self.membrane_bits),
            "parameters": Memories(1, self.scan.groups, self.pes * parameters),
        }

    @property
    def memory_bits(self) -> dict[str, int]:
        """Bits of each kind of memory, as built."""
        return {kind: memories.total for kind, memories in self.memories.items()}


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
        Entries of each PE's event queue, and of the queue of rows behind each layer's fire unit.
    strided
        The layers whose synapse memories are addressed by list, see `LayerMapping.stride_bits`.
    """
    layers = network.layers
    pes = tuple(pes) if pes is not None else (16, *[4] * (len(layers) - 1))
    chosen = Placement(pes, pixels_a_beat, queue_depth, row_queue_depth, tuple(strided))
    chosen.check(len(layers))
    pes, pixels_a_beat, strided = chosen.pes, chosen.pixels_a_beat, chosen.strided
    queue_depth, row_queue_depth = chosen.queue_depth, chosen.row_queue_depth
    if rates is None:
        rates = tuple(np.ones(layer.sources) for layer in layers)
    require(len(rates) == len(layers), "rates", len(rates), f"{len(layers)} arrays, one for each layer")
    kept = kept_neurons(network)
    value_bits = network.input.bits if network.input.kind == "static" else 1
    mapped: list[LayerMapping] = []
    for index, layer in enumerate(layers):
        require(rates[index].shape == (layer.sources,), f"rates[{index}]", rates[index].shape, f"({layer.sources},)")
        before = mapped[-1] if mapped else None
        addresses = before.outputs if before else np.arange(layer.sources)
        if isinstance(layer.synapses, Conv):
            placement = _place_convolution(layer, kept[index], addresses, rates[index], pes[index], before)
        else:
            placement = _place_dense(layer, kept[index], addresses, rates[index], pes[index])
        counts = placement.counts
        stride_bits = max(0, int(counts.max()) - 1).bit_length() if index in strided else None
        ends = np.cumsum(counts, axis=1)
        starts = np.where(counts > 0, ends - counts, 0)
        if stride_bits is not None:
            starts[:] = np.arange(counts.shape[1]) << stride_bits
        holder = np.where(placement.slots >= 0, placement.slots, kept[index][0])[:: placement.scan.group_rows]
        mapped.append(
            LayerMapping(
                index=index,
                layer=layer,
                ranges=network.ranges[index],
                scan=placement.scan,
                slots=placement.slots,
                addresses=addresses,
                outputs=_outputs(layer, placement),
                lists=placement.lists,
                starts=starts,
                counts=counts,
                targets=placement.targets,
                weights=placement.weights,
                biases=layer.per_neuron(layer.synapses.bias)[holder],
                thresholds=layer.per_neuron(layer.neuron.threshold)[holder],
                value_bits=1 if before else value_bits,
                queue_depth=queue_depth,
                row_queue_depth=row_queue_depth,
                kernel=placement.kernel,
                stride_bits=stride_bits,
            )
        )
    return Mapping(network, tuple(mapped), pixels_a_beat)


@dataclass(frozen=True)
class _Placement:
    """What a kind of layer decides: fields of `LayerMapping`."""

    scan: Scan
    slots: np.ndarray
    lists: np.ndarray
    counts: np.ndarray
    targets: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]
    kernel: Kernel | None = None


def _groups(members: list[np.ndarray], scan_of_one: Scan) -> int:
    """Groups of the fullest PE, and so many that no row is scanned again too soon."""
    return max(-(-FIRE_STAGES // scan_of_one.rows), *(len(m) for m in members))


def _place_dense(layer: Layer, kept: np.ndarray, addresses: np.ndarray, rates: np.ndarray, pes: int) -> _Placement:
    """A group is a neuron: `kept` ones (indices, ascending) alone are placed. A list for each address."""
    weight = layer.synapses.weight
    members = [kept[m] for m in assign((weight[kept] != 0) @ rates, pes)]
    scan = Scan.of(layer, _groups(members, Scan.of(layer, 1)))
    slots = np.full((scan.rows, pes), -1, dtype=np.int64)
    live = addresses >= 0
    counts = np.zeros((pes, len(addresses)), dtype=np.int64)
    targets, weights = [], []
    for pe, neurons in enumerate(members):
        slots[: len(neurons), pe] = neurons
        columns = np.zeros((len(addresses), len(neurons)), dtype=np.int64)
        columns[live] = weight[neurons][:, addresses[live]].T
        source, target = np.nonzero(columns)
        counts[pe] = np.bincount(source, minlength=len(addresses))
        targets.append(target)
        weights.append(columns[source, target])
    return _Placement(scan, slots, np.arange(len(addresses)), counts, tuple(targets), tuple(weights))


def _place_convolution(
    layer: Layer, kept: np.ndarray, addresses: np.ndarray, rates: np.ndarray, pes: int, before: LayerMapping | None
) -> _Placement:
    """A group is an output channel; those with `kept` neurons are placed. A list for each input channel and phase."""
    _, height, width = layer.shape
    placed = np.unique(kept // (height * width))
    events = rates.reshape(layer.input_shape).sum(axis=(1, 2))
    members = [placed[m] for m in assign((layer.synapses.weight[placed] != 0).sum(axis=(2, 3)) @ events, pes)]
    scan = Scan.of(layer, _groups(members, Scan.of(layer, 1)))
    kernel = Kernel.of(layer, scan, before.scan, before.lane_bits) if before else Kernel.of(layer, scan)

    live = np.flatnonzero(addresses >= 0)
    channel, y, x = np.unravel_index(addresses[live], layer.input_shape)
    keys = channel
    if before is not None:
        lanes = (1 << before.lane_bits) - 1
        keys = live >> before.scan.y_bits + before.scan.x_bits & ~lanes | live & lanes
    lists = np.zeros(len(addresses), dtype=np.int64)
    lists[live] = kernel.lists(keys, y, x)
    key_of = np.full(layer.input_shape[0], -1, dtype=np.int64)
    key_of[channel] = keys
    weight = np.where((key_of >= 0)[:, None, None], layer.synapses.weight, 0)  # without channels that are not built

    rows, columns = scan.positions
    slots = np.full((scan.groups, scan.group_rows, pes), -1, dtype=np.int64)
    counts = np.zeros((pes, (int(keys.max()) + 1) << kernel.phase_bits), dtype=np.int64)
    targets, weights = [], []
    for pe, channels in enumerate(members):
        slots[: len(channels), :, pe] = (channels[:, None] * height + rows) * width + columns
        source, group, taps, values = kernel.synapses(weight[channels], key_of)
        counts[pe] = np.bincount(source, minlength=counts.shape[1])
        targets.append(taps << scan.group_bits | group)
        weights.append(values)
    flat = slots.reshape(scan.rows, pes)
    return _Placement(scan, flat, lists, counts, tuple(targets), tuple(weights), kernel)


def _outputs(layer: Layer, placement: _Placement) -> np.ndarray:
    """The source of the next layer behind each address that leaves, -1 where there is none."""
    scan, slots = placement.scan, placement.slots
    lanes = 1 << lane_bits(slots.shape[1])
    sources = np.full((1 << scan.y_bits + scan.x_bits) * scan.groups * lanes, -1, dtype=np.int64).reshape(-1, lanes)
    first = slots[:: scan.window**2]  # of each window
    windows = scan.height * scan.width
    window = np.arange(len(first))[:, None] % windows
    pooled = first // (layer.neurons // layer.channels) * windows + window
    sources[scan.outputs[:: scan.window**2], : slots.shape[1]] = np.where(first >= 0, pooled, -1)
    return sources.ravel()
