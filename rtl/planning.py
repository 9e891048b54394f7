"""Numbers of processing elements per layer, and the resources of a device that they need."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..quantize.network import QuantizedNetwork
from ..quantize.placement import LARGEST_PES, Placement
from .devices import Device, DoesNotFit
from .layer_mapping import LayerMapping, Memories
from .mapping import Mapping
from .queues import is_clocked, queues_of

MOST_PES = 32  # most PEs tried in the first layer: with more, the clock slows down more than cycles are saved
SPARES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)  # tried: factors by which the other layers are faster than the first
ROUGHLY = 0.25  # plans that are further behind the fastest on a few frames are not compared on all
NEARLY = 0.1  # more PEs that save a smaller fraction of the cycles are not used: they slow down the clock


@dataclass(frozen=True)
class Load:
    """Mean work of one layer, or core of a graph, per frame: input events and synaptic operations.

    `neurons`: the number that is built (`pruning.kept_neurons`); scans skip the others. `waits`: cycles in which it can
    do nothing, because a step of it needs its own spikes of the step before.
    """

    events: float
    synaptic: float
    neurons: int
    waits: float = 0.0


def balanced_pes(
    network: QuantizedNetwork,
    loads: Sequence[Load],
    beats: int,
    given: int | None = None,
    spare: float = 1.0,
    lead: int = 0,
) -> list[int]:
    """The fewest PEs with which no layer is slower than the bound: one event per cycle, or the input beats.

    With `given`, the layer `lead`, of a chain the first, gets this number. The others get as many as keep up with the
    slower of this layer and the bound, for `spare` times their synaptic operations. The cycles of a layer are
    estimated as the operations of the PE with most neurons, or its scans; in a loop, what it waits comes on top.
    """
    bound = max(beats, *(load.waits + load.events for load in loads))
    if given is not None:
        bound = max(bound, _cycles(loads[lead], given, network.steps))
    pes = []
    for index, load in enumerate(loads):
        if index == lead and given is not None:
            pes.append(given)
            continue
        work = replace(load, synaptic=load.synaptic * (spare if index != lead else 1.0))
        most = min(LARGEST_PES, load.neurons)
        enough = (p for p in range(1, most + 1) if _cycles(work, p, network.steps) <= bound)
        pes.append(next(enough, most))
    return pes


def block_rams(mapping: Mapping, device: Device) -> int:
    """Block RAMs of all layers' memories, of the queues that are in block RAM, and of the loader."""
    loads = any(layer.stride_bits is not None for layer in mapping.layers)
    queues = sum(
        queue.number * device.rams_for(queue.words, queue.bits)
        for queue in queues_of(mapping)
        if is_clocked(device.family, queue.words, queue.bits)
        and (device.queues_in_ram or _exceeds(queue, device.small_ram))
    )
    return sum(_block_rams(layer, device) for layer in mapping.layers) + queues + loads


def least_block_rams(network: QuantizedNetwork, loads: Sequence[Load], device: Device) -> int:
    """Block RAMs that sums and membranes need at least, with any numbers of PEs that a plan may have.

    Layers are left out whose rows may be so few that they are no block RAM.
    """
    bits = 0
    for load, ranges in zip(loads, network.ranges, strict=True):
        if load.neurons > device.small_ram[0] * LARGEST_PES:
            bits += load.neurons * (ranges.current_bits + ranges.membrane_bits)
    return -(-bits * device.block_rams // device.ram_bits)


def _block_rams(layer: LayerMapping, device: Device) -> int:
    total = 0
    for kind, memories in layer.single_memories.items():
        if kind == "synapses" and layer.stride_bits is not None:
            continue  # wide RAM
        small = device.small_rom if kind in ("pointers", "synapses") else device.small_ram
        total += sum(device.rams_for(memory.words, memory.bits) for memory in memories if _exceeds(memory, small))
    return total


def _exceeds(memory: Memories, small: tuple[int, int]) -> bool:
    """Whether a memory is larger than one of `small` words and bits, which is built from LUTs or flip-flops."""
    words, bits = small
    return memory.words > words or memory.bits > bits


def needs(mapping: Mapping, device: Device) -> dict[str, tuple[int, int]]:
    """What `mapping` takes of `device`, and what there is, by resource. LUTs are a rough measure."""
    pes = [layer.pes for layer in mapping.layers]
    strided = [layer for layer in mapping.layers if layer.stride_bits is not None]
    wide = sum(layer.pes for layer in strided)
    if not all(device.fits_wide(layer.synapse_depth, layer.synapse_format.synapse.bits) for layer in strided):
        wide = device.wide_rams + 1
    return {
        "block RAMs": (block_rams(mapping, device), device.block_rams),
        "wide RAMs": (wide, device.wide_rams),
        "multipliers": (
            sum(layer.pes * layer.multipliers(device.multiplier_bits) for layer in mapping.layers),
            device.multipliers,
        ),
        "LUTs": (device.luts_a_pe * sum(pes), device.luts),
    }


def fits(mapping: Mapping, device: Device, share: float = 1.0) -> bool:
    """Whether `mapping` needs at most this share of `device`."""
    return all(taken <= share * available for taken, available in needs(mapping, device).values())


def placement_for(device: Device, pes: Sequence[int]) -> Placement:
    """`pes` by layer on `device`: its input bus, its queues, and the first layer's synapses in its large memories."""
    strided = (0,) if device.wide_rams else ()
    return Placement(tuple(pes), device.pixels_a_beat, device.queue_depth, device.row_queue_depth, strided)


def device_pes(
    network: QuantizedNetwork,
    loads: Sequence[Load],
    beats: int,
    device: Device,
    mapped: Callable[[list[int]], Mapping],
    cycles: Callable[[Mapping, bool], float],
    progress: Callable[[float], None] = lambda share: None,
) -> list[int]:
    """PEs by layer for `device`: of the plans that fit, the one with fewest PEs that is nearly as fast as the fastest.

    `mapped` returns the mapping for PEs per layer, `cycles` its cost: on all frames, or if its second argument is true
    on a few of them, which tell which plans are close to the fastest. `progress` is called with the shares of the work
    that have been done, at most 1 together. Plans have up to `MOST_PES` PEs in the first layer, of a graph in the
    population with most work. The others have as many as keep up with it, or more, since spikes come in bursts. Fewer
    PEs do not always need less: accumulators of many rows are in block RAM.

    Raises `DoesNotFit` if none does.
    """
    refusal = DoesNotFit(
        f"device is {device.name}: its block RAMs, multipliers and LUTs do not hold the network with any number of "
        "PEs; lower the connectivity or the weight bits, or take a larger device"
    )
    if least_block_rams(network, loads, device) > device.block_rams:
        raise refusal
    lead = 0 if network.is_chain else max(range(len(loads)), key=lambda index: loads[index].synaptic)
    most = range(1, min(MOST_PES, loads[lead].neurons) + 1)
    plans = {tuple(balanced_pes(network, loads, beats, given, spare, lead)) for given in most for spare in SPARES}
    rough: list[tuple[float, list[int]]] = []
    tight: list[list[int]] = []  # plans that fit, but not into the share; a mapping is not kept, it may be large
    for pes in map(list, sorted(plans)):
        mapping = mapped(pes)
        if fits(mapping, device, device.share):
            rough.append((cycles(mapping, True), pes))
        elif fits(mapping, device):
            tight.append(pes)
        progress(0.4 / len(plans))
    if not rough:
        for pes in tight:
            rough.append((cycles(mapped(pes), True), pes))
            progress(0.2 / len(tight))
    if not rough:
        raise refusal
    close = _within(rough, ROUGHLY)
    costs = []
    for _, pes in close:
        costs.append((cycles(mapped(pes), False), pes))
        progress(0.4 / len(close))
    _, _, pes = min((sum(pes), cost, pes) for cost, pes in _within(costs, NEARLY))
    return pes


def _within(costs: list[tuple[float, list[int]]], behind: float) -> list[tuple[float, list[int]]]:
    """The plans whose cost is at most this fraction above the lowest."""
    enough = min(cost for cost, _ in costs) * (1 + behind)
    return [(cost, pes) for cost, pes in costs if cost <= enough]


def _cycles(load: Load, pes: int, steps: int) -> float:
    """Mean cycles per frame in a layer with `pes` PEs, without effects of queues."""
    rows = math.ceil(load.neurons / pes)
    return load.waits + max(load.synaptic * rows / load.neurons, rows * steps)
