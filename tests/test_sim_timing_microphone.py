"""Front end and network in compiled Verilog: every spike, packet and cycle, with samples and packets that wait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import population, weights
from rtl_bench import Bench
from sounds import SETTINGS, placed
from test_rtl_frontend import some_recordings

from gradrtl.errors import UserError
from gradrtl.quantize.network import Connection, Dense, Input, QuantizedNetwork, Readout
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.microphone import Microphone, generate
from gradrtl.rtl.verilog import generate as generate_alone
from gradrtl.sim import engine
from gradrtl.sim.driving import Stalls
from gradrtl.sim.events import events_of
from gradrtl.sim.sound import Sound
from gradrtl.sim.timing.microphone import predict_sound
from gradrtl.sim.verify import verify

CACHE = Path(__file__).parent.parent / "build" / "cache"
STALLS = (None, Stalls(0.3, 0.3, 1), Stalls(0, 0.99, 2), Stalls(0.9, 0.99, 3))


@pytest.mark.rtl
@pytest.mark.parametrize("ends", [False, True])
def test_every_cycle_is_predicted(ends):
    """`Stalls(0, 0.99)`: packets leave so slowly that events, and in the end samples, wait."""
    generator = np.random.default_rng(0)
    recordings = [one for _ in range(10) for one in some_recordings(generator, SETTINGS.step)]
    sound = Sound.of(SETTINGS, recordings, ends)
    text = generate(placed(), SETTINGS, "tests")
    waits = []
    for stalls in STALLS:
        found = verify(placed(), text, sound, stalls=stalls, cache=CACHE, quick=True)
        assert found.passed, str(found)
        assert found.predicted == found.frames == len(sound.words)
        assert found.times is not None
        waits.append(int(found.times.last_beat[-1]))
    assert waits[0] < waits[2]


@pytest.mark.parametrize("entries", [2, 8, 16])
def test_a_chain_whose_row_queue_is_shorter_than_a_scan(entries):
    """In Amaranth's simulator: the 20 rows of a step, all with a spike, wait for the output core."""
    everything = Dense(np.ones((20, SETTINGS.sources), np.int8))
    fast = population("hidden", 20, Connection("sound", everything, 4), threshold=1)
    slow = population("words", 8, Connection("hidden", weights(8, 20, 2), 4), threshold=1)
    given = Input(SETTINGS.shape, SETTINGS.bits, "graded", name="sound")
    network = QuantizedNetwork((given,), (fast, slow), 4, (Readout("count", source="words"),))
    mapping = map_network(network, Placement((1, 1), 4, 2, entries, stream=True))
    samples = np.random.default_rng(0).integers(-20_000, 20_000, 4 * SETTINGS.step).astype(np.int16)
    sound = Sound.of(SETTINGS, [samples], False)
    trace = engine.run(mapping.network, sound.counts, trace="spikes").trace
    assert mapping.layers[0].rows == 20
    assert trace is not None
    assert trace.spikes[0].sum(axis=2).max() == 20
    found = predict_sound(mapping, sound, events_of(mapping, sound.counts, trace))
    bench = Bench(mapping, [[(int(word) & 0xFFFF, 0) for word in step] for step in sound.words],
                  dut=Microphone(mapping, SETTINGS))  # fmt: skip
    bench.run()
    assert found.first_beat.tolist() == [times[0] for times in bench.accepted]
    assert found.last_beat.tolist() == [times[-1] for times in bench.accepted]
    assert found.result.tolist() == [times[-1] for times in bench.taken]


def test_other_verilog_is_refused():
    sound = Sound.of(SETTINGS, [np.zeros(8, np.int16)])
    with pytest.raises(UserError, match="it takes events, expected samples"):
        verify(placed(), generate_alone(placed(), "tests"), sound)
    text = generate(placed(), SETTINGS, "tests")
    with pytest.raises(UserError, match="it takes samples, which gradrtl hear sends"):
        verify(placed(), text, sound.counts)
    with pytest.raises(UserError, match="its front end has other settings"):
        verify(placed(), text, replace(sound, settings=replace(SETTINGS, least=41)))
