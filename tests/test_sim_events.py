"""Events in the order of the serialisers, counted from the spikes themselves."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import frames, network

from gradrtl.errors import UserError
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import engine, events, reference
from gradrtl.sim.events import events_of
from gradrtl.sim.outcome import Trace


def test_counts_and_names_by_hand():
    values = np.array([[[0, 3, 1, 0, 7]], [[1, 0, 0, 0, 0]]])
    slots = np.array([[4, 1, -1], [-1, 0, 2]])
    found = events._packed(values, slots, np.array([[10, 11, 12], [20, 21, 22]]))
    assert found.counts.tolist() == [[[2, 1]], [[0, 1]]]
    assert found.addresses.tolist() == [10, 11, 22, 21]


def test_more_events_in_a_row_than_16_bits_count():
    sources = np.arange(70_000)[None, :]
    found = events._packed(np.ones((2, 1, 70_000), np.uint8), sources, sources)
    assert found.counts.tolist() == [[[70_000]], [[70_000]]]
    assert found.addresses.tolist() == 2 * sources[0].tolist()


@pytest.mark.parametrize("seed", range(30))
def test_every_event_of_every_layer(seed):
    """The sources behind the addresses into each core are those that the reference's layer before it sends."""
    net = network(seed)
    given = frames(net, 3, seed)
    mapping = map_network(net)
    trace = reference.run(net, given).trace
    found = events_of(mapping, given, trace)
    for index, layer in enumerate(mapping.layers):
        got, at = found[index], 0
        if index == 0:
            sent = given >> 8 - net.input.bits if net.input.kind == "static" else given
            sent = (sent != 0).reshape(3, -1, layer.heard[0].edge.sources)
        else:
            before = net.layers[index - 1]
            rows = trace.spikes[index - 1]
            sent = np.array([[_pooled(before, row) for row in frame] for frame in rows])
        assert got.counts.shape[:2] == sent.shape[:2]
        used = np.zeros(layer.heard[0].edge.sources, bool)
        used[layer.addresses[layer.addresses >= 0]] = True
        for n in range(3):
            for t in range(sent.shape[1]):
                end = at + int(got.counts[n, t].sum())
                sources = layer.addresses[got.addresses[at:end]]
                expected = np.repeat(np.arange(layer.heard[0].edge.sources), sent[n, t] * used)
                assert sorted(sources.tolist()) == expected.tolist()
                at = end
        assert at == len(got.addresses)


def _pooled(layer, spikes: np.ndarray) -> np.ndarray:
    return np.array(reference._pool(layer.pool, spikes.tolist(), layer.shape)) if layer.pool else spikes


def test_a_membrane_read_out_sends_every_membrane_once():
    seed = next(s for s in range(50) if network(s).readout.kind == "membrane" and network(s).steps > 1)
    net = network(seed)
    given = frames(net, 2, seed)
    mapping = map_network(net)
    counts = events_of(mapping, given, engine.run(net, given, trace="spikes", threads=1).trace)[-1].counts
    assert not counts[:, :-1].any()
    assert counts[:, -1].sum(axis=1).tolist() == [net.layers[-1].neurons] * 2


def test_addresses_that_pass_32_bits_are_refused():
    values = np.zeros((1, 1, 1), np.uint8)
    with pytest.raises(UserError, match="largest event address is 2147483648, expected at most 2147483647"):
        events._packed(values, np.zeros((1, 1), np.int64), np.array([[1 << 31]]))


def test_a_trace_of_another_network_is_refused():
    net = network(0)
    with pytest.raises(UserError, match="trace layers"):
        events_of(map_network(net), frames(net, 1), Trace((), ()))
