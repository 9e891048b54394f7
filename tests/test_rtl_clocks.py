"""Settings of PLLs: what they make lies within their limits; what they can't make is told, with what they can."""

from __future__ import annotations

import math

import pytest
from test_rtl_synthesis import sparse

from gradrtl.errors import UserError
from gradrtl.rtl.boards import BOARDS, board_design, board_of
from gradrtl.rtl.clocks import ECP5, ICE40, Settings
from gradrtl.rtl.mapping import map_network

WITH_PLL = [board for board in BOARDS.values() if board.pll is not None]


@pytest.mark.parametrize(
    ("pll", "oscillator"), [*((board.pll, board.oscillator) for board in WITH_PLL), (ICE40, 100), (ECP5, 12)]
)
def test_all_that_is_made_lies_within_the_limits(pll, oscillator):
    for made in pll._all(oscillator):
        reference = oscillator / made.divide
        # 12 MHz times 80 is a VCO of 960 MHz, of which 1/32 is 30 MHz; 25 / 5 * 18 are 90 MHz, and the VCO is behind
        vco = reference * made.multiply * (made.post if pll.feeds_output else 1)
        assert vco / made.post == pytest.approx(made.clock)
        for value, (low, high) in ((reference, pll.reference), (vco, pll.vco), (made.clock, pll.output)):
            assert low <= value <= high


def test_the_boards_own_clocks():
    """As in the designs that were placed first: the VCOs at 960 and 630 MHz."""
    assert board_of("up5k").settings == Settings(30.0, 1, 80, 32)
    assert board_of("ecp5-25").settings == board_of("ecp5-85").settings == Settings(90.0, 5, 18, 7)


@pytest.mark.parametrize(
    ("pll", "oscillator", "clock", "near"),
    [
        (ECP5, 25, 71, "70.8333 or 71.4286"),
        (ECP5, 25, 9, "10"),
        (ECP5, 25, 401, "400"),
        (ICE40, 12, 25, "24.75 or 25.125"),
    ],
)
def test_a_clock_that_cannot_be_made_names_the_nearest(pll, oscillator, clock, near):
    with pytest.raises(UserError) as told:
        pll.settings(oscillator, clock)
    expected = f"clock is {clock} MHz, expected {near}, the nearest that the PLL makes of {oscillator} MHz"
    assert str(told.value) == expected
    for word in near.split(" or "):
        assert pll.settings(oscillator, float(word)).clock == pytest.approx(float(word), abs=1e-3)


@pytest.mark.parametrize("clock", [math.nan, math.inf, 0.0, -90.0])
def test_what_is_no_frequency(clock):
    with pytest.raises(UserError, match=r"clock is .*, expected MHz"):
        ECP5.settings(25, clock)


def test_a_board_without_a_pll_has_one_clock():
    assert board_of("gw1nr-9", 27.0).clock == 27
    with pytest.raises(UserError, match="clock is 30 MHz, expected 27, that of the oscillator of tang-nano-9k"):
        board_of("gw1nr-9", 30.0)


def test_a_slower_clock_reaches_pll_constraint_and_serial_port():
    mapping = map_network(sparse(), (2, 2))
    board = board_of("ecp5-25", 66.667)
    assert board.clock == 25 / 3 * 8
    assert board.divisor == 67
    design = board_design(mapping, board)
    assert design.clock == board.clock
    text = design.sources["board.v"]
    for name, value in (("CLKI_DIV", 3), ("CLKFB_DIV", 8), ("CLKOP_DIV", 9), ("CLKOP_CPHASE", 4)):
        assert f".{name}(32'd{value})" in text
    (pins,) = design.constraints.values()
    assert "66666666" in pins


def test_a_clock_that_serial_bits_do_not_divide():
    with pytest.raises(UserError, match=r"clock is 12\.5 MHz, expected nearly a multiple of 1"):
        board_design(map_network(sparse(), (2, 2)), board_of("ecp5-25", 12.5))
