"""All parts together, beyond every width: the times of compiled RTL are compared in other files."""

from __future__ import annotations

import numpy as np
import pytest
from plain_cycles import times
from random_networks import frames, network

from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.sim import engine
from gradrtl.sim.events import Events, events_of
from gradrtl.sim.outcome import Trace
from gradrtl.sim.timing import predict as module
from gradrtl.sim.timing.predict import Cycles, predict


def silent(sources: int, neurons: int, steps: int, weight: int = 1, kind: str = "spikes", shape=None) -> Mapping:
    """One PE, every synapse there, no neuron ever fires."""
    neuron = IntNeuron("none", "hard", np.array([(1 << 30) - 1]), membrane_bits=8)
    synapses = Dense(np.full((neurons, sources), weight, np.int8), np.zeros(neurons, np.int64))
    layer = Layer("only", shape or (sources,), synapses, neuron, 2)
    given = Input(shape or (sources,), kind=kind) if kind == "spikes" else Input(shape or (sources,), 1, kind)
    return map_network(QuantizedNetwork.chain(given, (layer,), steps), Placement((1,)))


def busy(mapping: Mapping, count: int = 1) -> tuple[Events, ...]:
    """Events of `count` frames in which every source has one at every step, and no neuron fires."""
    net = mapping.network
    shape = (count, net.steps, net.layers[0].sources)
    given = np.ones(shape, np.uint8) if net.input.kind == "spikes" else np.full(shape[::2], 255, np.uint8)
    return events_of(mapping, given, Trace((np.zeros((count, net.steps, net.layers[0].neurons), np.uint8),), ()))


def same(ours: Cycles, theirs: Cycles) -> None:
    for name in ("first_beat", "last_beat", "result"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), name)


def random_case(seed: int) -> tuple[Mapping, tuple[Events, ...]]:
    net = network(seed)
    mapping = map_network(net)
    given = frames(net, 5, seed)
    return mapping, events_of(mapping, given, engine.run(net, given, trace="spikes", threads=1).trace)


@pytest.mark.parametrize("seed", range(16))
def test_what_plain_numbers_give(seed):
    """Short queues, more PEs than a vector holds, a late sender, a slow receiver."""
    generator = np.random.default_rng(seed)
    net = network(seed)
    pes = tuple(int(p) for p in generator.choice([1, 2, 3, 5, 8, 17], len(net.layers)))
    beat, queue, rows = (int(generator.choice(sizes)) for sizes in ([1, 2, 4, 8], [2, 3, 16], [2, 3, 8]))
    mapping = map_network(net, Placement(pes, beat, queue, rows))
    given = frames(net, 4, seed)
    events = events_of(mapping, given, engine.run(net, given, trace="spikes", threads=1).trace)
    beats = int(events[0].counts.sum(axis=(1, 2)).max()) + net.steps if net.input.kind != "static" else mapping.beats
    stops = generator.integers(0, 40, (4, beats)) * (generator.random((4, beats)) < 0.2)
    offered = (np.cumsum(stops.ravel() + 1)).reshape(4, beats)
    pauses = generator.integers(1, 40, (4, net.classes + 1))
    for offers in (None, offered):
        found = predict(mapping, events, offered=offers)
        assert [found.first_beat.tolist(), found.last_beat.tolist(), found.result.tolist()] == times(
            mapping, events, offers
        )
        taken = found.result.max() + np.cumsum(pauses.ravel()).reshape(pauses.shape)  # so late that all is full
        held = predict(mapping, events, offered=offers, taken=taken)
        assert [held.first_beat.tolist(), held.last_beat.tolist(), held.result.tolist()] == times(
            mapping, events, offers, taken
        )


def test_a_core_waits_for_its_own_bank():
    """A full step, an empty one, a full one: the third is added up only when the first has been scanned."""
    neuron = IntNeuron("none", "hard", np.array([1]))
    copies = Dense(np.eye(40, dtype=np.int8), np.zeros(40, np.int64))
    everything = Dense(np.ones((40, 40), np.int8), np.zeros(40, np.int64))
    layers = (Layer("copies", (40,), copies, neuron, 2), Layer("sums", (40,), everything, neuron, 2))
    net = QuantizedNetwork.chain(Input((40,), kind="spikes"), layers, 6)
    mapping = map_network(net, Placement((1, 1)))
    given = np.zeros((3, 6, 40), np.uint8)
    given[:, [0, 2, 5]] = 1
    events = events_of(mapping, given, engine.run(net, given, trace="spikes", threads=1).trace)
    assert predict(mapping, events).result.tolist() == times(mapping, events)[2]


@pytest.mark.parametrize("sources", [65_535, 65_536, 131_072])
def test_any_number_of_spikes_in_a_step(sources):
    """65,536 wrapped once: a beat for each and one for the mark, one a cycle, after banks of four rows are cleared."""
    mapping = silent(sources, 1, 1, weight=0, shape=(2, 256, 256) if sources > 65_536 else None)
    events = busy(mapping)
    assert events[0].counts.tolist() == [[[sources]]]
    few = silent(100, 1, 1, weight=0)
    expected, found = predict(few, busy(few)), predict(mapping, events)
    assert found.first_beat[0] == 0
    assert found.last_beat[0] - expected.last_beat[0] == sources - 100
    assert found.result[0] - expected.result[0] == sources - 100


@pytest.mark.parametrize("steps", [2, 255])
def test_a_lone_frame_of_any_length(steps):
    """1,275,000 cycles in 255 steps of 5,000 rows: more than 2^20, which frames were once sent apart by."""
    mapping = silent(2, 5000, steps, kind="static")
    events = busy(mapping, 4)
    apart = predict(mapping, events, apart=True)
    rested = predict(mapping, busy(mapping), offered=np.array([[20_000]]))  # long after the banks are cleared
    assert apart.latency[1:].tolist() == [rested.latency[0]] * 3
    assert rested.latency[0] > steps * 5000


def test_frames_apart_do_not_overlap():
    mapping, events = random_case(7)
    apart = predict(mapping, events, apart=True)
    assert (apart.first_beat[1:] > apart.result[:-1]).all()


def test_more_cycles_than_32_bits():
    """250 steps of 3,000 spikes through 3,000 synapses each, and the token's cycle: 2,250,000,250 for the reader."""
    two, many = silent(3000, 3000, 2), silent(3000, 3000, 250)
    events = busy(many)
    assert module._is_narrow(two, busy(two))
    assert not module._is_narrow(many, events)  # 750,000 events would be few, if they had no synapses
    short, long = predict(two, busy(two)), predict(many, events)
    assert long.result[0] - short.result[0] == 248 * (3000 * 3000 + 1)
    assert long.result[0] > 1 << 31


@pytest.mark.parametrize("late", [1 << 20, 1 << 29, 1 << 30, 1 << 31, 1 << 40])
@pytest.mark.parametrize("frame", [0, 1, 4])
def test_a_beat_that_comes_late(late, frame):
    cases = map(random_case, range(11, 50))
    mapping, events = next(one for one in cases if one[0].network.input.kind == "static")
    offered = np.zeros((5, mapping.beats), np.int64)
    offered[frame:] = late
    found = predict(mapping, events, offered=offered)
    offered[frame:] = 10_000
    expected = predict(mapping, events, offered=offered)
    moved = np.where(np.arange(5) >= frame, late - 10_000, 0)
    same(found, Cycles(*(getattr(expected, name) + moved for name in ("first_beat", "last_beat", "result"))))


@pytest.mark.parametrize("late", [1 << 29, 1 << 31, 1 << 40])
def test_a_receiver_that_comes_late(late):
    """Everything fills up behind a packet that is taken late, and goes on from there."""
    mapping, events = random_case(11)
    beats = mapping.network.classes + 1
    taken = 10_000 + np.arange(5 * beats).reshape(5, beats)
    expected, found = predict(mapping, events, taken=taken), predict(mapping, events, taken=taken + late)
    np.testing.assert_array_equal(found.result, taken[:, -1] + late)
    held = expected.first_beat > 10_000
    np.testing.assert_array_equal(found.first_beat, expected.first_beat + held * late)


@pytest.mark.parametrize("seed", range(12))
def test_64_bits_give_what_32_give(seed, monkeypatch):
    mapping, events = random_case(seed)
    narrow = predict(mapping, events), predict(mapping, events, apart=True)
    monkeypatch.setattr(module, "_is_narrow", lambda mapping, events: False)
    same(narrow[0], predict(mapping, events))
    same(narrow[1], predict(mapping, events, apart=True))


def test_no_frames():
    mapping = silent(2, 4, 1, kind="static")
    assert predict(mapping, busy(mapping, 0)).result.shape == (0,)


@pytest.mark.parametrize("seed", [3, 5, 11])
def test_blocks_of_frames_that_are_long_together_are_looked_at_one_by_one(seed, monkeypatch):
    mapping, events = random_case(seed)
    together = module._growth(mapping, events, [len(sent.addresses) for sent in events], 5)
    number = [int(sent.counts.sum(axis=(1, 2)).max()) for sent in events]
    largest = module._growth(mapping, events, number, 1)
    assert largest < together
    for wide, expected in ((together + 1, True), (largest + 1, True), (largest, False)):
        monkeypatch.setattr(module, "WIDE", wide)
        assert module._is_narrow(mapping, events) is expected
