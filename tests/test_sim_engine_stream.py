"""Streams in the simulators: the engine equals the reference, whatever the pieces in which the steps come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dense_graphs import frames
from graphs import recurrent
from streams import steps, stream

from gradrtl.errors import UserError
from gradrtl.quantize.network import Input, QuantizedNetwork
from gradrtl.sim import engine, reference
from gradrtl.sim.compare import first_difference
from gradrtl.sim.operations import count

SEEDS = [seed for seed in range(30) if stream(seed) is not None]
STEPS = 40


def test_seeds_have_all_read_outs_and_loops():
    made = [stream(seed) for seed in SEEDS]
    assert {one.readouts[0].kind for one in made if one} == {"count", "membrane", "largest", "sum"}
    assert sum(bool(one.graph.recurrent) for one in made if one) > 5
    assert len(SEEDS) > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_engine_equals_reference_in_any_pieces(seed):
    network = stream(seed)
    given = steps(network, STEPS, seed)
    expected = reference.run(network, given)
    whole = engine.run(network, given, trace=True)
    assert first_difference(expected, whole) is None
    cuts = np.sort(np.random.default_rng(seed).integers(0, STEPS + 1, 4))
    pieces = engine.Stream(network, trace=True)
    parts = [pieces.run(piece) for piece in np.split(given, cuts)]
    assert (np.concatenate([part.counts for part in parts]) == expected.counts).all()
    assert (np.concatenate([part.decided for part in parts]) == expected.decided).all()
    for layer, spikes in enumerate(expected.trace.spikes):
        assert (np.concatenate([part.trace.spikes[layer] for part in parts]) == spikes).all()
    blocks = [outcome.counts for _, outcome in engine.blocks(network, given, size=7)]
    assert (np.concatenate(blocks) == expected.counts).all()
    pieces.restart()
    assert (pieces.run(given).counts == expected.counts).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_packets_of_a_frame(seed):
    """A stream's last packet is that of a frame of its steps; what is counted or added up sums to it."""
    network = stream(seed)
    given = steps(network, 12, seed)
    framed = replace(network, steps=12, frame_steps=None)
    expected = engine.run(framed, given.reshape(1, 12, -1)).counts[0]
    found = engine.run(network, given).counts
    added_up = network.readouts[0].kind in ("count", "sum")
    assert ((found.sum(axis=0) if added_up else found[-1]) == expected).all()


def test_arrivals_are_counted_across_blocks(monkeypatch):
    """What comes late arrives with the next block, too."""
    network = recurrent().streamed
    given = frames(network, 200, 1)
    whole = count(network, given)
    monkeypatch.setattr(engine, "BLOCK_BYTES", 1)
    assert [events.tolist() for events in count(network, given).events] == [e.tolist() for e in whole.events]
    fired = engine.run(network, given, trace="spikes").trace.spikes[0].sum(axis=2).ravel()
    assert whole.events[1].ravel()[1:].tolist() == fired[:-1].tolist()
    assert fired.sum() > 100


def test_identity_of_a_stream():
    network = recurrent()
    assert network.streamed.digest == network.digest
    assert network.streamed.streamed is network.streamed
    assert not network.stream


def test_what_cannot_be_a_stream(tmp_path):
    with pytest.raises(UserError, match=r"input input kind is static, expected spikes or graded in a stream"):
        replace(recurrent(), inputs=(Input((6,), bits=2, kind="static"),)).streamed  # noqa: B018
    hidden, output = recurrent().populations
    endless = replace(hidden, neuron=replace(hidden.neuron, leak="none"))
    network = QuantizedNetwork(recurrent().inputs, (endless, output), 8)
    with pytest.raises(UserError, match=r"population hidden range is without bound, expected a leak, or bits in which"):
        network.streamed  # noqa: B018
    clipped = replace(endless, neuron=replace(endless.neuron, membrane_bits=10))
    assert replace(network, populations=(clipped, output)).streamed.stream
    with pytest.raises(UserError, match=r"network is one with frames, expected a stream"):
        engine.Stream(recurrent())
    with pytest.raises(UserError, match=r"network is a stream, expected one with frames, in a file"):
        recurrent().streamed.save(tmp_path / "network.npz")
