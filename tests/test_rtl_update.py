"""The update of the fire unit, clocked, against `IntNeuron.update`: rows that follow each other at once."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from gradrtl.quantize.network import Conv, Dense, Input, IntNeuron, Layer, QuantizedNetwork, Readout
from gradrtl.quantize.neuron import Adaptation, State, SynapticCurrent
from gradrtl.rtl.mapping import LayerMapping, map_network
from gradrtl.rtl.update import Update

NEURONS, STEPS, FRAMES = 9, 5, 3
GENERATOR = np.random.default_rng(7)


def values(low: int, high: int, size: int = NEURONS) -> np.ndarray:
    return GENERATOR.integers(low, high + 1, size)


KINDS = {
    "parameters by neuron": IntNeuron(
        "multiply", "soft", values(2, 9), 3, values(0, 8), reset_amount=values(1, 6), start_value=values(-9, 9)
    ),
    "reset and start by neuron": IntNeuron(
        "shift", "hard", values(1, 9), 2, reset_value=values(-5, 5), rounding="nearest", membrane_bits=5
    ),
    "new current": IntNeuron(
        "decaying_input", "soft", values(2, 9), 1, current=SynapticCurrent(values(0, 8), 3, "new"), fraction=1
    ),
    "old current, no reset": IntNeuron(
        "multiply", "none", values(2, 40), 2, 3, current=SynapticCurrent(5, 3, "old"), rounding="nearest"
    ),
    "adaptation": IntNeuron("multiply", "hard", 3, 2, 3, adaptation=Adaptation(values(0, 8), 3, values(0, 9))),
    "refractory": IntNeuron("none", "soft", values(1, 5), refractory=2),
    "everything": IntNeuron(
        "multiply",
        "soft",
        values(1, 9),
        3,
        values(4, 8),
        reset_amount=4,
        start_value=values(-3, 3),
        rounding="nearest",
        current=SynapticCurrent(values(0, 8), 3, "new"),
        adaptation=Adaptation(6, 3, values(0, 5)),
        refractory=1,
    ),
}


def mapping_of(neuron: IntNeuron, pes: int, readout: str = "count") -> LayerMapping:
    weight = np.random.default_rng(1).integers(-7, 8, (NEURONS, 3)).astype(np.int8)
    layer = Layer("only", (3,), Dense(weight, np.arange(NEURONS)), neuron, 4)
    network = QuantizedNetwork.chain(Input((3,), bits=2), (layer,), STEPS, Readout(readout))
    return map_network(network, (pes,)).layers[0]


def run(mapping: LayerMapping, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lanes that send, and membranes, `[frames, steps, rows, pes]`, for accumulators `sums` of the same shape."""
    unit = Update(mapping)
    masks, membranes = [], []

    async def drive(ctx):
        for step, rows in enumerate(sums.reshape(-1, mapping.rows, mapping.pes)):
            for row, numbers in enumerate(rows):
                ctx.set(unit.issued.valid, 1)
                ctx.set(unit.issued.bank, step % 2)
                ctx.set(unit.issued.group, row // mapping.scan.group_rows)
                ctx.set(unit.issued.tags.row, row)
                ctx.set(unit.issued.tags.first, step % STEPS == 0)
                ctx.set(unit.issued.tags.last, step % STEPS == STEPS - 1)
                await ctx.tick()
                for pe, number in enumerate(numbers):
                    ctx.set(unit.sums[pe][step % 2], int(number))
                    ctx.set(unit.sums[pe][1 - step % 2], 1)
        ctx.set(unit.issued.valid, 0)
        await ctx.tick().repeat(mapping.fire_stages)

    async def watch(ctx):
        async for _, _, valid, mask, left in ctx.tick().sample(
            unit.updated.valid, unit.updated.mask, unit.updated.membranes
        ):
            if valid:
                masks.append([mask >> pe & 1 for pe in range(mapping.pes)])
                membranes.append([int(left[pe]) for pe in range(mapping.pes)])

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    return np.array(masks).reshape(sums.shape), np.array(membranes).reshape(sums.shape)


@pytest.mark.parametrize("pes", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_states_of_all_steps(kind, pes):
    """With 2 and 4 PEs there are as few rows as there may be: each comes again as soon as its states are written."""
    follows(mapping_of(KINDS[kind], pes), pes)


@pytest.mark.parametrize("pes", [1, 2])
def test_parameters_of_each_row_of_a_map(pes):
    """Neurons of a map that differ: their thresholds and factors lie in a memory that is read by row."""
    neuron = IntNeuron("multiply", "soft", values(2, 9, 12), 3, values(0, 8, 12), reset_amount=values(1, 6, 3))
    weight = np.random.default_rng(1).integers(-7, 8, (3, 1, 2, 2)).astype(np.int8)
    layer = Layer("map", (1, 3, 3), Conv(weight, np.arange(3)), neuron, 4)
    mapping = map_network(QuantizedNetwork.chain(Input((1, 3, 3), bits=2), (layer,), STEPS), (pes,)).layers[0]
    scopes = {name: parameter.scope for name, parameter in mapping.parameters.items()}
    assert (scopes["threshold"], scopes["factor"], scopes["reset_amount"], scopes["bias"]) == (
        "row",
        "row",
        "group",
        "group",
    )
    assert mapping.memories["row parameters"].words == mapping.rows
    follows(mapping, pes)


def follows(mapping: LayerMapping, pes: int) -> None:
    """The unit computes what `IntNeuron.update` does, for random accumulators."""
    neuron = mapping.population.neuron
    bias = mapping.population.per_neuron(mapping.population.bias)
    sums = np.random.default_rng(2).integers(-6, 20, (FRAMES, STEPS, mapping.rows, pes))
    masks, membranes = run(mapping, sums)
    used = mapping.used
    holder = np.where(used, mapping.slots, 0)
    parameters = type(mapping.population.parameters)(*(p[holder] for p in mapping.population.parameters))
    spiked = 0
    for frame in range(FRAMES):
        state: State = neuron.start(parameters)
        for step in range(STEPS):
            updated = neuron.update(state, sums[frame, step] + bias[holder], parameters)
            state = updated.state
            assert np.array_equal(masks[frame, step][used], updated.spikes[used]), (frame, step)
            assert np.array_equal(membranes[frame, step][used], state.membrane[used]), (frame, step)
            spiked += int(updated.spikes[used].sum())
    assert not masks[:, :, ~used].any()
    assert spiked > 0


@pytest.mark.parametrize(
    ("readout", "sending"), [("membrane", [STEPS - 1]), ("largest", range(STEPS)), ("sum", range(STEPS))]
)
def test_silent_neurons_send_in_the_steps_that_are_read(readout, sending):
    mapping = mapping_of(IntNeuron("none", "none", 0, spiking=False), 2, readout)
    masks, _ = run(mapping, np.zeros((1, STEPS, mapping.rows, 2), np.int64))
    assert np.flatnonzero(masks[0].any(axis=(1, 2))).tolist() == list(sending)
    assert masks[0, STEPS - 1][mapping.used].all()


def test_parameters_lie_where_their_values_differ():
    neuron = KINDS["everything"]
    mapping = mapping_of(neuron, 2)
    scopes = {name: parameter.scope for name, parameter in mapping.parameters.items()}
    assert scopes["threshold"] == "group"
    assert scopes["reset_amount"] == scopes["adaptation_factor"] == "layer"
    memories = mapping.memories
    assert {"currents", "adaptations", "refractory"} <= set(memories)
    assert memories["refractory"].bits == 2
    assert "reset_amount" not in mapping_of(IntNeuron("none", "soft", 3), 2).parameters


def test_multipliers_of_a_core():
    """Beside the one of the pixels: those of decays, wherever their factors come from; a shift takes none."""
    assert mapping_of(KINDS["everything"], 2).multipliers(18) == 4
    assert mapping_of(KINDS["adaptation"], 2).multipliers(18) == 3
    assert mapping_of(KINDS["refractory"], 2).multipliers(18) == 1
    assert mapping_of(IntNeuron("multiply", "soft", 9, 3, 4), 2).multipliers(18) == 1
    wide = mapping_of(IntNeuron("multiply", "soft", 9, 3, 5), 2)
    assert wide.multipliers(wide.membrane_bits) == 2
    assert wide.multipliers(wide.membrane_bits - 1) == 3
