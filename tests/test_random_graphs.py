"""The random graphs have what graphs may have."""

from __future__ import annotations

from collections import Counter

from graph_cases import case
from random_cases import Case
from random_graphs import has_cycle

from gradrtl.quantize.network import Conv
from gradrtl.rtl.queues import LUT_RAM_WORDS


def test_half_of_them_have_cycles():
    assert [has_cycle(case(seed).network) for seed in range(40)] == [False, True] * 20


def test_everything_is_among_some_hundred():
    found = Counter(name for seed in range(200) for name in set(kinds(case(seed))))
    rare = {name: found[name] for name in EVERY if found[name] < 5}
    assert not rare
    assert all(case(seed).built for seed in range(200))


def kinds(one: Case) -> list[str]:
    """What there is in a graph, by names."""
    net = one.network
    found = [f"{given.kind} input" for given in net.inputs]
    found += ["several inputs"] * (len(net.inputs) > 1) + ["several read-outs"] * (len(net.readouts) > 1)
    found += ["static input beside another"] * (len({given.kind == "static" for given in net.inputs}) > 1)
    found += [f"{readout.kind} read" for readout in net.readouts]
    found += ["sums of classes"] * any(readout.group > 1 for readout in net.readouts)
    for population, pes in zip(net.populations, one.pes, strict=True):
        neuron = population.neuron
        found += [f"{neuron.reset} reset", f"{neuron.leak} leak", f"{neuron.rounding} rounding"]
        found += ["current"] * (neuron.current is not None) + ["adaptation"] * (neuron.adaptation is not None)
        found += ["refractory"] * (neuron.refractory > 0) + ["one neuron"] * (population.neurons == 1)
        found += ["PEs that do not divide"] * (population.neurons % pes > 0)
        sizes = {values.size for values in neuron.parameters}
        found += ["parameters of each neuron"] * (population.neurons > 1 and population.neurons in sizes)
        for given in population.inputs:
            own, convolves = population.name in given.sources, isinstance(given.synapses, Conv)
            found += ["loop of one"] * own + ["two sources"] * (len(given.sources) > 1)
            found += ["convolution"] * convolves + ["nothing connected"] * (not given.synapses.weight.any())
            found += ["strides"] * (convolves and given.synapses.stride != (1, 1)) + ["shift"] * (given.shift > 0)
            found += [f"{given.pool.kind} pool"] if given.pool else []
            found += [f"delay {given.delay}"] * (given.delay > 0) + ["delay past the frame"] * (given.delay > net.steps)
    found += ["skip"] * any(len(population.inputs) > 1 for population in net.populations)
    found += ["many populations"] * (len(net.populations) > 5)
    found += ["queues at the bound"] * (one.row_queue_depth == 2)
    found += ["long event queues"] * (one.queue_depth > LUT_RAM_WORDS)
    found += ["long row queues"] * (one.row_queue_depth > LUT_RAM_WORDS)
    return found


EVERY = (
    "static input", "spikes input", "graded input", "several inputs", "several read-outs",
    "static input beside another", "count read", "membrane read", "largest read", "sum read", "sums of classes",
    "hard reset", "soft reset", "none reset", "none leak", "shift leak", "multiply leak", "decaying_input leak",
    "floor rounding", "nearest rounding", "current", "adaptation", "refractory", "one neuron",
    "PEs that do not divide", "parameters of each neuron", "loop of one", "two sources", "convolution", "strides",
    "nothing connected", "shift", "max pool", "average pool", "delay 1", "delay 2", "delay 3", "delay past the frame",
    "skip", "many populations", "queues at the bound", "long event queues", "long row queues",
)  # fmt: skip
