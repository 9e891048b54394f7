"""The compiled front end against the simulator, beat by beat."""

from __future__ import annotations

import numpy as np
from test_sim_frontend import random_samples

from gradrtl.cache import CACHE
from gradrtl.quantize.frontend import FrontEnd
from gradrtl.rtl import latency
from gradrtl.sim import compiled_frontend
from gradrtl.sim.compiled_frontend import beats_of
from gradrtl.sim.frontend import counts

SETTINGS = FrontEnd.mel(step=20, bands=6)


def test_beats_by_hand():
    found = np.zeros((2, 2, 1, 3), np.uint8)
    found[0, 1, 0, 2], found[1, 0, 0, 1] = 3, 1
    data, last = beats_of(found)
    assert data.tolist() == [3 << 23 | 5, 1 << 31, 1 << 23 | 1, 1 << 31]
    assert last.tolist() == [False, False, False, True]


def test_every_beat_equals_the_simulator():
    program = compiled_frontend.build(SETTINGS, cache=CACHE, quick=True)
    generator = np.random.default_rng(0)
    recordings = [random_samples(generator, count) for count in (200, 1, 20, 333)]
    expected = [beats_of(counts(SETTINGS, samples)) for samples in recordings]
    sizes = SETTINGS.products, SETTINGS.bands, SETTINGS.sources
    for stalls in ((0, 0), (0.9, 0), (0, 0.9), (0.99, 0.5)):
        found = compiled_frontend.run(program, SETTINGS, recordings, stalls, seed=3)
        assert np.array_equal(found.beats["data"], np.concatenate([data for data, _ in expected]))
        assert np.array_equal(found.beats["last"], np.concatenate([last for _, last in expected]))
        assert len(found.accepted) == sum(map(len, recordings))
        assert (np.diff(found.accepted) >= latency.front_end_sample(SETTINGS.products)).all()
        behind = found.marks["cycle"][:10] - found.accepted[19:200:20]
        if stalls[1] == 0:
            assert (behind == latency.front_end_step_end(*sizes)).all()
        else:
            assert (behind > latency.front_end_step_end(*sizes)).any()
