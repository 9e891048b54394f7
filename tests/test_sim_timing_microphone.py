"""Front end and network in compiled Verilog: every spike, packet and cycle, with samples and packets that wait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sounds import SETTINGS, placed
from test_rtl_frontend import some_recordings

from gradrtl.errors import UserError
from gradrtl.rtl.microphone import generate
from gradrtl.rtl.verilog import generate as generate_alone
from gradrtl.sim.driving import Stalls
from gradrtl.sim.sound import Sound
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


def test_other_verilog_is_refused():
    sound = Sound.of(SETTINGS, [np.zeros(8, np.int16)])
    with pytest.raises(UserError, match="it takes events, expected samples"):
        verify(placed(), generate_alone(placed(), "tests"), sound)
    text = generate(placed(), SETTINGS, "tests")
    with pytest.raises(UserError, match="it takes samples, which gradrtl hear sends"):
        verify(placed(), text, sound.counts)
    with pytest.raises(UserError, match="its front end has other settings"):
        verify(placed(), text, replace(sound, settings=replace(SETTINGS, least=41)))
