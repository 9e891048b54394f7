"""Engine, events and timing model in one call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_networks import frames, network

from gradrtl.errors import UserError
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import engine
from gradrtl.sim.events import events_of
from gradrtl.sim.measure import measure
from gradrtl.sim.timing.predict import predict

NETWORK = network(11)
FRAMES = frames(NETWORK, 6)


def test_what_the_three_say_one_by_one():
    mapping = map_network(NETWORK)
    outcome = engine.run(NETWORK, FRAMES, trace="spikes")
    events = events_of(mapping, FRAMES, outcome.trace)
    measured = measure(mapping, FRAMES)
    np.testing.assert_array_equal(measured.outcome.counts, outcome.counts)
    np.testing.assert_array_equal(measured.back_to_back.result, predict(mapping, events).result)
    np.testing.assert_array_equal(measured.apart.latency, predict(mapping, events, apart=True).latency)
    assert (measured.back_to_back.latency >= measured.apart.latency).all()


def test_a_frame_takes_as_long_as_the_next_waits_or_a_single_one_its_latency():
    measured = measure(map_network(NETWORK), FRAMES)
    assert measured.cycles_per_frame == np.diff(measured.back_to_back.result).mean()
    assert measured.latency == measured.apart.latency.mean() != measured.cycles_per_frame
    single = measure(map_network(NETWORK), FRAMES[:1])
    assert single.cycles_per_frame == single.latency == measured.apart.latency[0]


def test_a_run_that_is_there_is_not_made_again(monkeypatch):
    outcome = engine.run(NETWORK, FRAMES, trace=True)
    monkeypatch.setattr(engine, "run", None)
    for pes in (1, 3):
        mapping = map_network(NETWORK, [pes] * len(NETWORK.layers))
        measured = measure(mapping, FRAMES, outcome=outcome)
        assert measured.outcome is outcome
        assert len(measured.back_to_back.result) == 6


def test_a_run_without_spikes_is_refused():
    outcome = replace(engine.run(NETWORK, FRAMES), trace=None)
    with pytest.raises(UserError, match="trace is None, expected a trace"):
        measure(map_network(NETWORK), FRAMES, outcome=outcome)
