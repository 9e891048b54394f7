"""The memories of queues are of a kind that the device has."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from amaranth.back import rtlil
from amaranth.hdl import unsigned

from gradrtl.rtl.fifo import Queue
from gradrtl.rtl.queues import FLIP_FLOP_BITS, LUT_RAM_WORDS


@pytest.mark.parametrize(
    ("family", "depth", "clocked"),
    [
        ("ecp5", LUT_RAM_WORDS, False),
        ("ecp5", LUT_RAM_WORDS + 1, True),  # synthesis asks for block RAM, which is read at a clock edge
        ("iCE40", FLIP_FLOP_BITS // 8, False),
        ("iCE40", FLIP_FLOP_BITS // 8 + 1, True),
        ("", LUT_RAM_WORDS, False),
        ("", LUT_RAM_WORDS + 1, True),
    ],
)
def test_long_queues_are_read_at_a_clock_edge(family, depth, clocked):
    text = rtlil.convert(Queue(unsigned(8), depth), platform=SimpleNamespace(family=family), emit_src=False)
    read = re.search(r"cell \$memrd_v2 .*?parameter \\CLK_ENABLE (\S+)", text, re.DOTALL)
    assert read is not None
    assert read[1].endswith("1") is clocked
