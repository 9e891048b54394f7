"""Activity of cores: the same events and additions as are counted in the network, over the cycles of a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graphs import population, recurrent, weights

from gradrtl.quantize.network import Connection, Input, QuantizedNetwork
from gradrtl.rtl.mapping import map_network
from gradrtl.sim.activity import activity
from gradrtl.sim.measure import measure
from gradrtl.sim.operations import count

ROOT = Path(__file__).parents[1]
GENERATOR = np.random.default_rng(7)


def late() -> QuantizedNetwork:
    """`a` hears the input and, two steps late, `b`; `b` hears `a`, and the input one step late."""
    return QuantizedNetwork(
        Input((4,), kind="spikes"),
        (
            population(
                "a", 5, Connection("input", weights(5, 4, 1, 1.0)), Connection("b", weights(5, 3, 2, 1.0), delay=2)
            ),
            population(
                "b", 3, Connection("a", weights(3, 5, 3, 1.0)), Connection("input", weights(3, 4, 4, 1.0), delay=1)
            ),
        ),
        5,
    )


def mixed() -> QuantizedNetwork:
    """`a` hears events, and pixels, whose addresses come first."""
    return QuantizedNetwork(
        (Input((4,), kind="spikes", name="events"), Input((3,), bits=4, name="pixels")),
        (
            population(
                "a", 5, Connection("events", weights(5, 4, 1, 1.0)), Connection("pixels", weights(5, 3, 2, 1.0))
            ),
            population("b", 3, Connection("a", weights(3, 5, 3, 1.0)), Connection("pixels", weights(3, 3, 4, 1.0))),
        ),
        5,
    )


def frames_of(network: QuantizedNetwork) -> tuple[np.ndarray, ...]:
    found = []
    for given in network.inputs:
        shape = (7, *([] if given.kind == "static" else [network.steps]), given.shape[0])
        found.append(GENERATOR.integers(0, 2, shape).astype(np.uint8) << given.dropped)
    return tuple(found)


@pytest.mark.parametrize("network", [late(), recurrent(), mixed()], ids=["late", "recurrent", "mixed"])
def test_events_and_additions_are_those_of_the_network(network: QuantizedNetwork) -> None:
    frames = frames_of(network)
    mapping = map_network(network, (2,) * len(network.populations))
    measured, counted = measure(mapping, frames), count(network, frames)
    assert measured.outcome.trace is not None
    for number, one in enumerate(activity(measured)):
        into = [index for index, edge in enumerate(network.edges) if edge.population == number]
        assert one.population == network.populations[number].name
        assert one.events == pytest.approx(sum(counted.events[i].sum() for i in into) / 7)
        assert one.synapses == pytest.approx(sum(counted.synaptic[i].sum() for i in into) / 7)
        assert one.spikes == pytest.approx(measured.outcome.trace.spikes[number].sum() / 7)
        assert one.mean * one.pes == pytest.approx(one.synapses)
        shares = [mapping.layers[number].counts[pe].sum() for pe in range(one.pes)]
        assert (one.busiest > one.mean) == (max(shares) > min(shares)), "one has more synapses than the other"
        assert one.busiest <= one.cycles
        assert one.cycles == measured.back_to_back.interval.mean()
        assert one.utilisation == pytest.approx(one.synapses / (one.pes * one.cycles))
        assert one.waiting == pytest.approx(one.cycles - one.busiest)
        assert one.updates == mapping.layers[number].rows * network.steps


def test_a_single_frame_takes_its_own_cycles() -> None:
    network = QuantizedNetwork.load(ROOT / "networks/mnist-1pct.npz")
    frames = GENERATOR.integers(0, 2, (1, 784)).astype(np.uint8) * 255
    measured = measure(map_network(network, (16, 10)), frames)
    assert {one.cycles for one in activity(measured)} == {float(measured.apart.latency[0])}
