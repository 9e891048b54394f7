"""Networks that answer with their first spike: what is read, when the packet leaves, how a threshold is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import population
from random_cases import Case, agree
from test_rtl_top import Bench, check

from gradrtl.errors import UserError
from gradrtl.quantize.first_spike import first_spike, trades
from gradrtl.quantize.network import Connection, Dense, Input, QuantizedNetwork, Readout
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.frame_words import MARK_BIT
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.verilog import generate
from gradrtl.sim import engine, reference
from gradrtl.sim.events import events_of
from gradrtl.sim.timing.predict import predict

STEPS, SOURCES, CLASSES = 6, 10, 6
PLACEMENT = Placement((3, 2), queue_depth=3, row_queue_depth=2)


def network(kind: str = "spikes", group: int = 1, read: str = "first", threshold: int = 14) -> QuantizedNetwork:
    generator = np.random.default_rng(1)
    hidden = Dense(generator.integers(-6, 8, (12, SOURCES)).astype(np.int8))
    output = Dense(generator.integers(-7, 8, (CLASSES, 12)).astype(np.int8))
    given = population("hidden", 12, Connection("input", hidden, 5))
    read_from = population("output", CLASSES, Connection("hidden", output, 5))
    read_from = replace(read_from, neuron=replace(read_from.neuron, threshold=np.array([threshold])))
    return QuantizedNetwork(
        (Input((SOURCES,), kind=kind),), (given, read_from), STEPS, (Readout(read, group, "output"),)
    )


def frames(kind: str, count: int = 12) -> np.ndarray:
    generator = np.random.default_rng(2)
    if kind == "static":
        return generator.integers(0, 256, (count, SOURCES)).astype(np.uint8)
    return (generator.random((count, STEPS, SOURCES)) < 0.3).astype(np.uint8)


def test_the_first_step_with_a_spike_decides():
    net, given = network(), frames("spikes", 40)
    outcome = engine.run(net, given, trace=True)
    assert outcome.trace is not None
    spikes = outcome.trace.spikes[1]
    seen = set()
    for fired, counts, found in zip(spikes, outcome.counts, outcome.classes, strict=True):
        steps = np.flatnonzero(fired.any(axis=1))
        seen.add(len(steps))
        expected = fired[steps[0]] * (STEPS - steps[0]) if len(steps) else np.zeros(CLASSES)
        assert counts.tolist() == expected.tolist()
        assert found == (np.flatnonzero(expected)[0] if len(steps) else 0)
    assert len(seen) > 2
    assert not engine.run(network(threshold=10_000), given).counts.any()  # nobody spikes


@pytest.mark.parametrize("group", [1, 2, 3])
@pytest.mark.parametrize("kind", ["spikes", "static"])
def test_engine_and_reference_agree(kind, group):
    net, given = network(kind, group), frames(kind, 40)
    expected = reference.run(net, given)
    for trace in (False, True):
        found = engine.run(net, given, trace=trace)
        assert (found.counts == expected.counts).all()
        assert (found.classes == expected.classes).all()


@pytest.mark.parametrize("stalls", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["spikes", "static"])
def test_hardware_and_its_times(kind, stalls):
    net = network(kind, group=2)
    check(net, map_network(net, PLACEMENT), frames(kind), stalls, 3)


@pytest.mark.parametrize("stalls", [0.0, 0.3])
def test_of_a_stream_each_step_is_answered(stalls):
    net = network(group=2)
    steps = frames("spikes").reshape(-1, 1, SOURCES)
    expected = reference.run(net.streamed, steps)
    found = engine.run(net.streamed, steps, trace=True)
    assert found.trace is not None
    assert (found.counts == expected.counts).all()
    assert (found.counts == found.trace.spikes[1].reshape(len(steps), CLASSES // 2, 2).sum(axis=2)).all()
    check(net.streamed, map_network(net, replace(PLACEMENT, stream=True)), steps[:30], stalls, 3)


def test_a_packet_leaves_before_its_frame_is_in():
    given = frames("spikes")
    times = {}
    for read in ("first", "count"):
        net = network(read=read)
        mapping = map_network(net, PLACEMENT)
        outcome = engine.run(net, given, trace=True)
        times[read] = predict(mapping, events_of(mapping, given, outcome.trace), apart=True)
    assert (times["first"].result < times["first"].last_beat).any()
    early = times["count"].result - times["first"].result
    assert (early >= 0).all()
    assert early.max() > 20


@pytest.mark.rtl
def test_compiled_hardware(tmp_path):
    """Spikes that come after the packet are compared as well."""
    for kind in ("spikes", "static"):
        case = Case(network(kind), frames(kind, 30), PLACEMENT.pes, 1, 3, 2)
        finding = agree(case, generate(case.mapping, "tests"), tmp_path, 3)
        assert finding.wrong is None, finding.wrong
        assert finding.spikes == 2 * 30 * STEPS * (12 + CLASSES)


def test_a_packet_is_marked_if_its_frame_was_malformed_until_then():
    mapping = map_network(network(threshold=-10_000), PLACEMENT)  # decides in the first step
    mark = 1 << MARK_BIT
    good = [1, mark] * STEPS
    words = [good, [5, 1, mark, *good[2:]], [*good[:-2], 5, 1, mark], good[:4], good]
    beats = [[(word, int(i == len(frame) - 1)) for i, word in enumerate(frame)] for frame in words]
    bench = Bench(mapping, beats)
    bench.run()
    assert bench.flags == [False, True, False, False, False]
    late = map_network(network(threshold=10_000), PLACEMENT)  # never decides: all of a frame counts
    bench = Bench(late, beats)
    bench.run()
    assert bench.flags == [False, True, True, True, False]


def test_a_threshold_is_a_trade():
    """What `trades` says of membranes is what the network with the threshold does."""
    plain = network()
    neuron = replace(
        plain.populations[1].neuron, spiking=False, reset="none", reset_amount=np.array([0]), threshold=np.array([0])
    )
    silent = replace(plain.populations[1], neuron=neuron)
    net = replace(plain, populations=(plain.populations[0], silent), readouts=(Readout("sum", 1, "output"),))
    given, labels = frames("spikes", 50), np.arange(50) % CLASSES
    outcome = engine.run(net, given, trace=True)
    assert outcome.trace is not None
    found = trades(outcome.trace.membranes[1], labels, range(0, 60, 10))
    assert len({trade.step for trade in found}) > 3
    for trade in found:
        answered = engine.run(first_spike(net, trade.threshold), given)
        assert trade.accuracy == (answered.classes == labels).mean()
        largest = answered.counts.max(axis=1)
        assert trade.silent == (largest == 0).mean()
        assert trade.step == pytest.approx(np.where(largest, STEPS + 1 - largest, STEPS).mean())
    lifted = engine.run(first_spike(net, 50, ramp=60), given)
    assert (lifted.counts.max(axis=1) == STEPS).all()
    with pytest.raises(UserError, match="population output spiking is True, expected False"):
        first_spike(plain, 5)
