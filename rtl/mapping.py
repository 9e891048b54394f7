"""Mapping of a `QuantizedNetwork` to processing elements: NumPy only, no hardware description.

The generator, the timing model and the tests read placement only from the frozen `Mapping`: the slot of each neuron,
the contents of each memory, and all widths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..bits import unsigned_bits
from ..quantize.network import Conv, QuantizedNetwork
from ..quantize.placement import Placement, checked_rates
from .layer_mapping import LayerMapping, Memories
from .parameters import parameters_of
from .place_convolution import place_convolution
from .place_dense import place_dense
from .pruning import kept_neurons
from .slots import outputs
from .synapse_format import run_starts, stride_for

__all__ = ["LayerMapping", "Mapping", "Memories", "map_network"]


@dataclass(frozen=True)
class Mapping:
    """A whole network placed: a `LayerMapping` for each layer, in order."""

    network: QuantizedNetwork
    layers: tuple[LayerMapping, ...]
    placement: Placement

    @property
    def pixels_a_beat(self) -> int:
        return self.placement.pixels_a_beat

    @property
    def beats(self) -> int:
        """Input beats per frame (static input)."""
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
    placement: Placement | Sequence[int] | None = None,
    rates: Sequence[np.ndarray] | None = None,
) -> Mapping:
    """Place `network` on processing elements (PEs).

    Parameters
    ----------
    placement
        A `Placement`, or only the numbers of PEs. Default: that of the network, or else 16 PEs for the first layer and
        4 for each other.
    rates
        For each layer, the events per frame of each source (float `[sources]`, any unit), by which the assignment
        balances the loads. Default: those of the network, or else all equal.
    """
    layers = network.layers
    placement = placement or network.placement or (16, *[4] * (len(layers) - 1))
    if not isinstance(placement, Placement):
        placement = Placement(tuple(placement))
    placement.check(len(layers))
    rates = network.rates if rates is None else rates
    if rates is None:
        rates = tuple(np.ones(layer.sources) for layer in layers)
    rates = checked_rates(tuple(rates), [layer.sources for layer in layers])
    kept = kept_neurons(network)
    value_bits = unsigned_bits(network.input.largest)
    mapped: list[LayerMapping] = []
    for index, layer in enumerate(layers):
        before = mapped[-1] if mapped else None
        addresses = before.outputs if before else np.arange(layer.sources)
        pes = placement.pes[index]
        if isinstance(layer.synapses, Conv):
            placed = place_convolution(layer, kept[index], addresses, rates[index], pes, before)
        else:
            placed = place_dense(layer, kept[index], addresses, rates[index], pes)
        stride_bits = stride_for(placed.counts) if index in placement.strided else None
        mapped.append(
            LayerMapping(
                index=index,
                layer=layer,
                ranges=network.ranges[index],
                scan=placed.scan,
                slots=placed.slots,
                addresses=addresses,
                outputs=outputs(layer, placed),
                lists=placed.lists,
                starts=run_starts(placed.counts, stride_bits),
                counts=placed.counts,
                targets=placed.targets,
                weights=placed.weights,
                parameters=parameters_of(layer, placed.slots, placed.scan.group_rows),
                every_step=index == len(layers) - 1 and network.readout.kind in ("largest", "sum"),
                value_bits=1 if before else value_bits,
                queue_depth=placement.queue_depth,
                row_queue_depth=placement.row_queue_depth,
                kernel=placed.kernel,
                stride_bits=stride_bits,
            )
        )
    return Mapping(network, tuple(mapped), placement)
