"""Frames and spikes drawn from rates have those rates, also behind a pool, and give plans as frames do."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import population, recurrent, weights

from gradrtl.errors import UserError
from gradrtl.quantize.network import (
    Connection,
    Conv,
    Dense,
    Input,
    IntNeuron,
    Layer,
    Pool,
    Population,
    QuantizedNetwork,
    Readout,
)
from gradrtl.sim.operations import arriving
from gradrtl.sim.sampling import sample

FRAMES = 3000


def network(pool: Pool | None, kind: str = "static") -> QuantizedNetwork:
    neuron = IntNeuron("none", "hard", np.array([9]))
    synapses = Conv(np.ones((2, 1, 3, 3), np.int8), np.zeros(2, np.int64))
    first = Layer("conv", (1, 7, 7), synapses, neuron, 4, pool)
    size = int(np.prod(first.output_shape))
    last = Layer("out", (size,), Dense(np.ones((3, size), np.int8), np.zeros(3, np.int64)), neuron, 4)
    return QuantizedNetwork.chain(Input((1, 7, 7), kind=kind), (first, last), steps=4)


@pytest.mark.parametrize("pool", [None, Pool("max", 2), Pool("average", 2)])
@pytest.mark.parametrize("kind", ["static", "spikes"])
def test_the_events_have_the_rates(pool, kind):
    net = network(pool, kind)
    generator = np.random.default_rng(1)
    most = (0.5 if kind == "static" else 1.5, 1.5)
    rates = tuple(generator.uniform(0, high, layer.sources) for high, layer in zip(most, net.layers, strict=True))
    frames, trace = sample(net, rates, FRAMES)
    for rate, read in zip(rates, (arriving(net, edge, (frames,), trace) for edge in net.edges), strict=True):
        assert np.abs((read != 0).sum(axis=(0, 1)) / FRAMES - rate).max() < 0.1
        busy = (read != 0).sum(axis=(1, 2))
        assert busy.std() > 0.2 * busy.mean(), "frames differ in how busy they are"
    assert not trace.spikes[-1].any()


def test_the_same_seed_gives_the_same_frames():
    net = network(None)
    rates = tuple(np.full(layer.sources, 0.3) for layer in net.layers)
    first, again, other = (sample(net, rates, 5, seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_recurrent_graph_spikes_as_often_as_it_did():
    """The loop tells of the hidden neurons what the connection without delay does; the outputs are read by nobody."""
    net = recurrent(steps=4)
    generator = np.random.default_rng(1)
    seen, hidden = generator.uniform(0, 1.5, 6), generator.uniform(0, 1.5, 5)
    rates = (seen, 0.75 * hidden, hidden)  # a step of four goes unheard in the loop
    frames, trace = sample(net, rates, FRAMES)
    assert frames.shape == (FRAMES, 4, 6)
    for rate, edge in zip(rates, net.edges, strict=True):
        read = arriving(net, edge, (frames,), trace)
        assert np.abs((read != 0).sum(axis=(0, 1)) / FRAMES - rate).max() < 0.1
    assert not trace.spikes[1].any()


def test_sources_that_are_only_known_together_or_late():
    """Of a connection from two sources, each has its half. One that comes late hides some steps, which are added."""
    both = Connection(("left", "right"), weights(3, 4), 4)
    late = Connection("left", weights(3, 4), 4, delay=2)
    net = QuantizedNetwork(
        (Input((2,), kind="spikes", name="a"), Input((3,), kind="graded", bits=2, name="b")),
        (
            population("left", 4, Connection("a", weights(4, 2), 4)),
            population("right", 4, Connection("b", weights(4, 3), 4)),
            population("out", 3, both, late),
        ),
        4,
        Readout(),
    )
    rates = tuple(np.full(edge.sources, rate) for edge, rate in zip(net.edges, (0.5, 0.2, 1.0, 0.6), strict=True))
    frames, trace = sample(net, rates, FRAMES)
    assert [part.shape for part in frames] == [(FRAMES, 4, 2), (FRAMES, 4, 3)]
    found = [part.sum() / FRAMES / part.shape[2] for part in (*frames, *trace.spikes)]
    assert found == pytest.approx([0.5, 0.2, 2 * 0.6, 0.5, 0.0], abs=0.1)
    with pytest.raises(UserError, match="rates is 2, expected 4 arrays, one for each connection"):
        sample(net, rates[:2], 1)


def test_a_source_that_is_always_late_for_the_frame_is_silent():
    late = Connection("left", weights(3, 4), 4, delay=9)
    net = QuantizedNetwork(
        (Input((2,), kind="spikes"),),
        (population("left", 4, Connection("input", weights(4, 2), 4)), population("out", 3, late)),
        4,
    )
    _, trace = sample(net, (np.ones(2), np.zeros(4)), 10)
    assert not trace.spikes[0].any()


def test_rates_behind_a_pool_are_the_second_choice():
    """The connection without a pool tells of each neuron, that with one of windows."""
    maps = Population("maps", (1, 2, 2), IntNeuron("none", "hard", 1), 0, (Connection("input", weights(4, 2), 4),))
    pooled = Connection("maps", weights(3, 1), 4, pool=Pool("max", 2))
    out = population("out", 3, pooled, Connection("maps", weights(3, 4), 4))
    net = QuantizedNetwork((Input((2,), kind="spikes"),), (maps, out), 4)
    _, trace = sample(net, (np.ones(2), np.ones(1), np.array([0.0, 0.0, 0.0, 3.0])), 9)
    assert trace.spikes[0].any(axis=(0, 1)).tolist() == [False, False, False, True]
