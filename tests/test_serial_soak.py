"""The soak of the serial line, short: every kind of host, and no wrong class."""

from __future__ import annotations

import time

import pytest
from serial_soak import Soak, designs


@pytest.mark.rtl
def test_no_wrong_class_whoever_used_the_board_before_and_whatever_the_line_does():
    soak = Soak(1)
    made = designs()
    assert all(len(set(one.answers)) > 50 for one in made)
    soak.run(made, 400, time.monotonic() + 300)
    counts = soak.counts
    assert counts.images >= 400
    assert counts.wrong == 0
    assert counts.refused_hosts == counts.hosts  # a second host while any of them was at work
    assert min(counts.killed, counts.closed, counts.replayed, counts.garbage_bytes, counts.harmed_bytes) > 0
    assert min(counts.boards, counts.line.stale, counts.line.damaged, counts.line.repeated) > 1
