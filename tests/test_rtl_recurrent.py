"""A core whose spikes come back to it a step later, clocked: every spike of every step, and how long a step takes."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from gradrtl.bits import unsigned_bits
from gradrtl.quantize.network import Connection, Dense, Input, IntNeuron, Population, QuantizedNetwork
from gradrtl.quantize.neuron import SynapticCurrent
from gradrtl.rtl.core import Core
from gradrtl.rtl.issue import Leaving
from gradrtl.rtl.join import Port
from gradrtl.rtl.latency import JOIN, PUT_OUT
from gradrtl.rtl.mapping import LayerMapping, map_network
from gradrtl.rtl.routes import least_rows

INPUTS, NEURONS, STEPS, FRAMES = 5, 9, 6, 3


def recurrent(neuron: IntNeuron, pes: int, connectivity: float = 0.5) -> LayerMapping:
    """A population that reads `INPUTS` sources and, behind them, its own neurons in the order in which they are
    scanned.
    """
    generator = np.random.default_rng(5)
    size = (NEURONS, INPUTS + NEURONS)
    weight = generator.integers(-7, 8, size) * (generator.random(size) < connectivity)
    heard, own = (Dense(part.astype(np.int8)) for part in (weight[:, :INPUTS], weight[:, INPUTS:]))
    inputs = (Connection("input", heard, 4), Connection("loop", own, 4, delay=1))
    loop = Population("loop", (NEURONS,), neuron, generator.integers(-2, 4, NEURONS), inputs)
    return map_network(QuantizedNetwork((Input((INPUTS,), kind="spikes"),), (loop,), STEPS), (pes,)).layers[0]


def run(
    mapping: LayerMapping, frames: np.ndarray, depth: int, readiness: float, others: int = 2
) -> tuple[np.ndarray, list[int]]:
    """Spikes `[frames, steps, neurons]` of the core with itself as a listener, and the cycles in which scans begin."""
    ports = (Port(unsigned_bits(INPUTS - 1), 1), Port(mapping.output_address_bits(), 1))
    core = Core(mapping, STEPS, False, ports=ports, leaving=(Leaving(others), Leaving(depth, 1)))
    design = Module()
    design.submodules.core = core
    wiring.connect(design, core.spikes1, core.events1)
    generator = np.random.default_rng(0)
    steps: list[np.ndarray] = [np.zeros(NEURONS, int)]
    begins: list[int] = []

    async def send(ctx):
        for step in frames.reshape(-1, INPUTS):
            for source in [*np.flatnonzero(step).tolist(), None]:
                ctx.set(core.events.payload.source, source or 0)
                ctx.set(core.events.payload.value, 1)
                ctx.set(core.events.payload.end, source is None)
                ctx.set(core.events.valid, 1)
                await ctx.tick().until(core.events.ready)
                ctx.set(core.events.valid, 0)

    async def listen(ctx):
        cycle, issued = 0, core.fire.issue.issued
        while len(steps) <= len(frames) * STEPS:
            ctx.set(core.spikes.ready, int(generator.random() < readiness))
            _, _, valid, ready, event, scans, row = await ctx.tick().sample(
                core.spikes.valid, core.spikes.ready, core.spikes.payload, issued.valid, issued.tags.row
            )
            if scans and row == 0:
                begins.append(cycle)
            cycle += 1
            assert cycle < 20_000, "the loop stands still"
            if valid and ready and event.end:
                steps.append(np.zeros(NEURONS, int))
            elif valid and ready:
                steps[-1][mapping.sent[0][event.source]] += 1

    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send, background=True)
    simulator.add_testbench(listen)
    simulator.run()
    return np.array(steps[:-1]).reshape(len(frames), STEPS, NEURONS), begins


NEURON = {
    "LIF": IntNeuron("multiply", "soft", 6, 3, 7),
    "new current": IntNeuron("shift", "hard", 9, 2, current=SynapticCurrent(3, 2), refractory=1),
}


@pytest.mark.parametrize("readiness", [1.0, 0.3])
@pytest.mark.parametrize("pes", [1, 2, 4])
@pytest.mark.parametrize("kind", NEURON)
def test_a_loop_of_one_step(kind, pes, readiness):
    """With a row queue at the bound, one row less than which it may stand still."""
    neuron = NEURON[kind]
    mapping = recurrent(neuron, pes)
    frames = (np.random.default_rng(6).random((FRAMES, STEPS, INPUTS)) < 0.4).astype(np.int64)
    found, _ = run(mapping, frames, least_rows(mapping.rows, 1, True), readiness)
    layer = mapping.population
    weight = np.concatenate([port.edge.synapses.weight for port in mapping.heard], axis=1).astype(np.int64)
    bias = layer.per_neuron(layer.bias)
    for n, frame in enumerate(frames):
        state, spikes = neuron.start(layer.parameters), np.zeros(NEURONS, np.int64)
        for t, step in enumerate(frame):
            current = bias + weight[:, :INPUTS] @ step + weight[:, INPUTS:] @ spikes
            updated = neuron.update(state, current, layer.parameters)
            state, spikes = updated.state, updated.spikes.astype(np.int64)
            assert np.array_equal(found[n, t], spikes), (n, t)
    assert 0 < found.sum() < found.size


@pytest.mark.parametrize("pes", [1, 2, 4, NEURONS])
@pytest.mark.parametrize("kind", NEURON)
def test_cycles_of_a_step(kind, pes):
    """From scan to scan: a latency, and `M`, when the last spike of a row can be on its way, a row or an event a cycle.

    With a neuron on each PE these keep up, and it is exactly that; else at least that, or `W`, the most synapses of its
    spikes in a PE.
    """
    mapping = recurrent(NEURON[kind], pes, connectivity=0.8)
    frames = (np.random.default_rng(6).random((FRAMES, STEPS, INPUTS)) < 0.4).astype(np.int64)
    found, begins = run(mapping, frames, mapping.rows, 1.0, others=16)
    lanes = mapping.sent[0].reshape(-1, 1 << mapping.lane_bits)
    latency = 15 + JOIN + mapping.put_out - PUT_OUT + 1
    busy = 0
    for n in range(FRAMES):
        for t in range(STEPS - 1):
            spikes = found[n, t]
            rows = np.where(lanes >= 0, spikes[lanes], 0).sum(axis=1)
            most = max(row + int(rows[row:].sum()) for row in range(mapping.rows))
            sent = [a for a in range(INPUTS, len(mapping.addresses)) if _spikes(mapping, spikes, a)]
            synapses = int(mapping.counts[:, mapping.lists[sent]].sum(axis=1).max(initial=0))
            taken = begins[n * STEPS + t + 1] - begins[n * STEPS + t]
            assert taken >= latency + max(most, synapses)
            if pes == NEURONS:
                assert taken == latency + most
            busy = max(busy, most - mapping.rows + 1)
    assert found.any()
    assert busy > 0 or pes != NEURONS or kind != "LIF"


def _spikes(mapping: LayerMapping, spikes: np.ndarray, address: int) -> bool:
    source = mapping.addresses[address]
    return source >= 0 and bool(spikes[source - INPUTS])
