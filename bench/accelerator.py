"""Counted figures of the accelerator: operations, cycles against the bound, memory, estimated energy."""

from __future__ import annotations

import numpy as np

from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.sim import energy, engine, operations
from gradrtl.sim.events import Events
from gradrtl.sim.measure import measure

from .figures import Figure

PES = ((16, 10), (32, 10))  # the output layer has ten neurons
MOST = {16: 1.15, 32: 1.25}  # initiation interval over the bound, by P of the first layer


def figures(network: QuantizedNetwork, frames: np.ndarray, training: np.ndarray) -> list[Figure]:
    """Figures counted on `frames`; `training` frames give the event rates for the placement.

    Both uint8 `[n, sources]`.
    """
    counted = operations.count(network, frames)
    spent = energy.estimate(network, counted).nanojoules
    found = [
        Figure("synaptic operations a frame", counted.synaptic_per_frame, "", True),
        Figure("events a frame", sum(float(e.sum(axis=1).mean()) for e in counted.events), "", True),
        Figure("energy a frame, estimate", spent, "nJ", True),
        Figure(
            "dense 8-bit network of the same shape over it, estimate",
            energy.dense(network).nanojoules / spent,
            "x",
            True,
        ),
    ]
    rates = operations.source_rates(network, training)
    outcome = engine.run(network, frames, trace="spikes")
    for pes in PES:
        mapping = map_network(network, pes, rates)
        measured = measure(mapping, frames, outcome=outcome)
        back_to_back, alone = measured.cycles_per_frame, measured.latency
        cores = bounds(mapping, measured.events)[:, 1:]
        least = float(cores.max(axis=0).mean())
        name = f"P = {pes[0]}, {pes[1]}:"
        found += [
            Figure(f"{name} cycles between frames", back_to_back, "", True),
            Figure(f"{name} cycles between frames over the bound", back_to_back / least, "x", True, most=MOST[pes[0]]),
            Figure(f"{name} bound of the first core alone", float(cores[0].mean()), "", True),
            Figure(f"{name} cycles of a frame alone", alone, "", True),
            Figure(f"{name} memory", mapping.memory_bits, "bits", True),
        ]
    return found


def bounds(mapping: Mapping, events: tuple[Events, ...]) -> np.ndarray:
    """Lower bound on the cycles of any schedule with these adders, float `[cores, frames]`.

    The largest of synaptic operations over PEs, events, and for the first core input beats. The bound of a frame is
    the largest over the cores.
    """
    found = []
    for index, (layer, read) in enumerate(zip(mapping.layers, events, strict=False)):
        number = read.counts.sum(axis=(1, 2), dtype=np.int64)
        ends = number.cumsum()
        running = np.concatenate([[0], layer.counts.sum(axis=0)[read.addresses].cumsum()])
        synaptic = running[ends] - running[ends - number]
        beats = mapping.beats if index == 0 and mapping.network.input.kind == "static" else 0
        found.append(np.maximum(np.maximum(synaptic / layer.pes, number), beats))
    return np.array(found)
