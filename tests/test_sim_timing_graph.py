"""Random graphs in compiled Verilog: every spike, membrane and sum, and the cycles of every frame, as predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from batches import generate_together
from dense_graphs import frames, graph
from graphs import population, weights
from random_cases import Case, agree
from rtl_bench import Bench, beats_of
from test_rtl_flags import STEPS, late
from test_rtl_top import check

from gradrtl.quantize.network import Connection, Dense, Input, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.latency import JOIN, loop_latency
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.sim import engine, reference, verilated
from gradrtl.sim.events import events_of
from gradrtl.sim.outcome import Trace
from gradrtl.sim.timing.predict import predict

CACHE = Path(__file__).parent.parent / "build" / "cache"
SEEDS = (0, 3, 5, 7, 9)  # joins, loops, skips, delays beyond the frame, shifts, a population that nobody hears


def case(seed: int) -> Case:
    made = graph(seed)
    generator = np.random.default_rng(seed)
    return Case(
        made,
        frames(made, 6, seed),
        tuple(int(pes) for pes in generator.choice([1, 2, 3, 4], len(made.populations))),
        int(generator.choice([1, 2, 4])),
        int(generator.integers(2, 10)),
        int(generator.integers(2, 6)),
    )


@pytest.mark.rtl
def test_all_machines_agree(tmp_path):
    cases = [case(seed) for seed in SEEDS]
    mappings = [one.mapping for one in cases]
    texts = generate_together(mappings, "tests")
    models = verilated.build_together(list(zip(texts, mappings, strict=True)), tmp_path, cache=CACHE)
    for seed, one, text, model in zip(SEEDS, cases, texts, models, strict=True):
        finding = agree(one, text, CACHE, seed, model)
        assert finding.wrong is None, f"graph {seed}: {finding.wrong}"
        assert finding.membranes > 0
    ports = [len(into) for mapping in mappings for into in mapping.ports]
    assert min(ports) == 1
    assert max(ports) > 3
    assert any(port.back for mapping in mappings for into in mapping.ports for port in into)


@pytest.mark.parametrize("stalls", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(20, 28))
def test_dense_graphs(seed, stalls):
    """In Amaranth's simulator: results, and the times of every frame."""
    one = case(seed)
    check(one.network, one.mapping, one.frames[:4], stalls, seed)


@pytest.mark.parametrize("stalls", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["static", "spikes"])
def test_a_packet_waits_for_its_frame(kind, stalls):
    """What is read out hears nothing of the frame that it belongs to, and its beats come late."""
    mapping = late(kind, 2 * STEPS)
    check(mapping.network, mapping, frames(mapping.network, 6, 3), stalls, 3)


@pytest.mark.parametrize("loops", [0, 1, 6, 11])
def test_first_tokens_wait_for_reset(loops):
    """In frames of a step, a population that hears all a step late or later fires before any input comes."""
    everything = Dense(np.ones((2, 2), np.int8))
    ways = [Connection("ring", everything, 2, delay=1 + number % 3) for number in range(loops)]
    inputs = Connection("input", weights(2, 1), 4, delay=1), *ways
    made = QuantizedNetwork((Input((1,), kind="spikes"),), (population("ring", 2, *inputs),), steps=1)
    check(made, map_network(made, Placement((1,))), np.ones((3, 1, 1), np.uint8), 0.0, 0)


@pytest.mark.parametrize("gap", [600, 2_500])
@pytest.mark.parametrize("delays", [(1,), (2, 3)])
def test_a_frame_alone_finds_what_is_done_ahead_of_it(delays, gap):
    """In Amaranth's simulator: who hears all inputs late takes the first steps of a frame before it comes."""
    inputs = [Connection("input", weights(40, 4, delay), 4, delay=delay) for delay in delays]
    made = QuantizedNetwork(
        (Input((4,), kind="spikes"),),
        (
            population("late", 40, *inputs),
            population("out", 3, Connection("late", weights(3, 40), 4), Connection("input", weights(3, 4), 4)),
        ),
        steps=4,
    )
    mapping, given = map_network(made, Placement((1, 1))), frames(made, 3, 1)
    bench = Bench(mapping, [beats_of(mapping, frame) for frame in mapping.input.stacked(given)], gap=gap)
    bench.run()
    events = events_of(mapping, given, reference.run(made, given).trace)
    taken = zip(bench.accepted, bench.taken, strict=True)
    assert predict(mapping, events, apart=True).latency.tolist() == [left[-1] - came[0] + 1 for came, left in taken]


@pytest.mark.parametrize("seed", range(20))
def test_frames_apart_are_as_long_as_those_that_come_long_after(seed):
    one = case(seed)
    events = events_of(one.mapping, one.frames, engine.run(one.network, one.frames, trace="spikes", threads=1).trace)
    beats = int(events[0].counts.sum(axis=(1, 2)).max()) + events[0].counts.shape[1]
    offered = np.zeros((len(one.frames), max(beats, one.mapping.beats)), np.int64)
    offered += 100_000 * np.arange(len(one.frames))[:, None]
    expected = predict(one.mapping, events, offered=offered).latency
    assert predict(one.mapping, events, apart=True).latency.tolist() == expected.tolist()


@pytest.mark.parametrize("spikes", range(13))
def test_the_step_of_a_recurrent_core(spikes):
    """A latency, and `M`: as many cycles as the loop sends events, or as the scan has rows behind its first one.

    A neuron on each PE, so that these keep up. Twice as many steps take so much longer.
    """
    results = []
    for steps in (8, 16):
        mapping, trace = ring(spikes, steps)
        events = events_of(mapping, np.zeros((1, steps, 1), np.uint8), trace)
        results.append(int(predict(mapping, events).result[0]))
        rows = mapping.layers[0].rows
    assert results[1] - results[0] == 8 * (16 + JOIN + max(spikes, rows - 1))
    assert loop_latency(joins=True, current=False, convolution=False) == 16 + JOIN


def ring(spikes: int, steps: int) -> tuple[Mapping, Trace]:
    """12 neurons on as many PEs that all hear each other, `spikes` of which fire in each step."""
    neurons = 12
    everything = Dense(np.ones((neurons, neurons), np.int8))
    inputs = Connection("input", weights(neurons, 1), 4), Connection("ring", everything, 2, delay=1)
    made = QuantizedNetwork((Input((1,), kind="spikes"),), (population("ring", neurons, *inputs),), steps)
    fired = np.zeros((1, steps, neurons), np.uint8)
    fired[:, :, :spikes] = 1
    return map_network(made, Placement((neurons,))), Trace((fired,), (fired.astype(np.int32),))
