"""Counted operations of a network worked out by hand; `test_sim_engine.py` counts random ones again."""

from __future__ import annotations

import numpy as np

from gradrtl.quantize.network import Conv, Dense, Input, IntNeuron, Layer, Pool, QuantizedNetwork
from gradrtl.sim import operations


def pooled(kind: str) -> QuantizedNetwork:
    """A 2 x 2 map whose neurons copy their pixels, pooled into one source that drives three neurons."""
    copy = Conv(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int64))
    first = Layer("map", (1, 2, 2), copy, IntNeuron("none", "hard", np.array([1])), 2, Pool(kind, 2))
    reader = Dense(np.array([[1], [1], [0], [1]], np.int8), np.zeros(4, np.int64))
    second = Layer("sum", (1, 1, 1), reader, IntNeuron("none", "hard", np.array([9])), 2)
    return QuantizedNetwork.chain(Input((1, 2, 2)), (first, second), steps=2)


FRAMES = np.array([[9, 9, 9, 0], [0, 0, 0, 0]], np.uint8)


def test_every_spike_of_an_average_pool_is_an_event():
    counted = operations.count(pooled("average"), FRAMES, threads=1)
    assert counted.events[0].tolist() == [[3], [0]]
    assert counted.events[1].tolist() == [[3, 3], [0, 0]]
    assert counted.synaptic[1].tolist() == [[9, 9], [0, 0]]
    assert counted.synaptic_per_frame == (3 + 18) / 2


def test_a_window_of_a_max_pool_is_one_event():
    counted = operations.count(pooled("max"), FRAMES, threads=1)
    assert counted.events[1].tolist() == [[1, 1], [0, 0]]
    assert counted.synaptic[1].tolist() == [[3, 3], [0, 0]]


def test_rates_are_events_in_a_mean_frame():
    first, second = operations.source_rates(pooled("max"), FRAMES)
    assert first.tolist() == [0.5, 0.5, 0.5, 0]
    assert second.tolist() == [1]
