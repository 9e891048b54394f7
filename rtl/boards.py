"""Complete designs for boards: clock from the board's oscillator, reset, serial port, LED, pins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from amaranth.build import Platform
from amaranth.hdl import ClockDomain, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io

from ..errors import require
from . import clocks
from .clocks import Pll, Settings
from .loading import RAM_VERILOG, image
from .mapping import Mapping
from .serial import SerialAccelerator, check_design

RESET_CYCLES = 1 << 10  # block RAMs of the iCE40 are not ready before 10 microseconds
BAUD = 1_000_000
BAUD_ERROR = 0.02  # of a serial bit: half of what receivers bear, the host has an error of its own


@dataclass(frozen=True)
class Board:
    """A board: its device, its platform class in amaranth-boards, and its clock.

    `oscillator` and `clock` in MHz; `pll`: what makes `clock` of `oscillator`, None if they are the same.
    """

    name: str
    device: str
    module: str
    platform: str
    oscillator: float
    pll: Pll | None
    clock: float

    @cached_property
    def settings(self) -> Settings:
        """Of the PLL; `UserError` for a clock that it can't make."""
        if self.pll is None:
            accepted = f"{self.oscillator:g}, that of the oscillator of {self.name}: there is no PLL"
            require(self.clock == self.oscillator, "clock", f"{self.clock:g} MHz", accepted)
            return Settings(self.clock)
        return self.pll.settings(self.oscillator, self.clock)

    @property
    def divisor(self) -> int:
        """Cycles of a serial bit; `UserError` if no whole number of them is near a bit."""
        cycles = round(self.clock * 1e6 / BAUD)
        error = abs(self.clock * 1e6 / BAUD / max(1, cycles) - 1)
        accepted = f"nearly a multiple of {BAUD / 1e6:g}: a serial bit takes whole cycles"
        require(error <= BAUD_ERROR, "clock", f"{self.clock:g} MHz", accepted)
        return cycles

    def make_platform(self) -> Platform:
        return getattr(__import__(f"amaranth_boards.{self.module}", fromlist=[self.platform]), self.platform)()


BOARDS = {
    board.name: board
    for board in (
        Board("icebreaker", "up5k", "icebreaker", "ICEBreakerPlatform", 12, clocks.ICE40, 30.0),
        Board("ulx3s-25", "ecp5-25", "ulx3s", "ULX3S_25F_Platform", 25, clocks.ECP5, 90.0),
        Board("ulx3s-85", "ecp5-85", "ulx3s", "ULX3S_85F_Platform", 25, clocks.ECP5, 90.0),
        Board("tang-nano-9k", "gw1nr-9", "tang_nano_9k", "TangNano9kPlatform", 27, None, 27.0),
    )
}


@dataclass(frozen=True)
class Design:
    """Input of the tools: source files by name, pin constraints, the target clock in MHz."""

    top: str
    sources: dict[str, str]
    constraints: dict[str, str]
    clock: float


def board_of(device: str, clock: float | None = None) -> Board:
    """The board with `device`; with `clock`, in MHz, at another one than its own.

    Raises `UserError` for a clock that its PLL can't make.
    """
    found = [board for board in BOARDS.values() if board.device == device]
    require(bool(found), "device", device, " or ".join(board.device for board in BOARDS.values()))
    if clock is None:
        return found[0]
    return replace(found[0], clock=replace(found[0], clock=clock).settings.clock)


def board_design(mapping: Mapping, board: Board) -> Design:
    """The accelerator on `board`: Verilog and pins."""
    check_design(mapping, board.divisor)
    platform = board.make_platform()
    plan = platform.prepare(BoardTop(mapping, board), "board", debug_verilog=True)
    verilog = {name: _text(text) for name, text in plan.files.items() if name.endswith(".debug.v")}
    require(len(verilog) == 1, "Verilog files of the platform", sorted(plan.files), "one")
    sources = {"board.v": next(iter(verilog.values())) + (RAM_VERILOG if image(mapping) else "")}
    constraints = {name: _text(text) for name, text in plan.files.items() if name.endswith((".pcf", ".lpf", ".cst"))}
    return Design("board", sources, constraints, board.clock)


def _text(content: str | bytes) -> str:
    return content.decode() if isinstance(content, bytes) else content


class BoardTop(Elaboratable):
    """Oscillator, PLL, reset, serial pins, LED."""

    def __init__(self, mapping: Mapping, board: Board):
        self.board = board
        self.accelerator = SerialAccelerator(mapping, board.divisor)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        board, settings = self.board, self.board.settings
        clock, locked = Signal(name="clock"), Signal(name="locked")
        if board.device == "up5k":
            pin = platform.request(platform.default_clk, dir="-")
            m.submodules.pll = Instance(
                "SB_PLL40_PAD",
                p_FEEDBACK_PATH="SIMPLE",
                p_DIVR=settings.divide - 1,
                p_DIVF=settings.multiply - 1,
                p_DIVQ=settings.post.bit_length() - 1,
                p_FILTER_RANGE=1,
                i_PACKAGEPIN=pin.io,
                i_RESETB=1,
                i_BYPASS=0,
                o_PLLOUTGLOBAL=clock,
                o_LOCK=locked,
            )
        else:
            m.submodules.clock_pin = pin = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
            if board.pll is None:
                m.d.comb += [clock.eq(pin.i), locked.eq(1)]
            else:
                m.submodules.pll = self._ecp5_pll(pin.i, clock, locked)
        m.domains.sync = sync = ClockDomain()
        m.domains.start = start = ClockDomain(reset_less=True)
        m.d.comb += [sync.clk.eq(clock), start.clk.eq(clock)]
        platform.add_clock_constraint(clock, board.clock * 1e6)
        waited = Signal(range(RESET_CYCLES), name="waited")
        done = Signal(name="done")
        m.d.start += done.eq(waited == RESET_CYCLES - 1)
        with m.If(locked & (waited != RESET_CYCLES - 1)):
            m.d.start += waited.eq(waited + 1)
        m.d.comb += ResetSignal("sync").eq(~done)

        m.submodules.accelerator = accelerator = self.accelerator
        uart = platform.request("uart", dir={pin.name: "-" for pin in platform.lookup("uart").ios})
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.submodules.led = led = io.Buffer("o", platform.request("led", 0, dir="-"))
        m.d.comb += [accelerator.rx.eq(rx.i), tx.o.eq(accelerator.tx), led.o.eq(accelerator.busy)]
        return m

    def _ecp5_pll(self, pin: Signal, clock: Signal, locked: Signal) -> Instance:
        board, settings = self.board, self.board.settings
        return Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=str(board.oscillator),
            a_FREQUENCY_PIN_CLKOP=str(board.clock),
            p_CLKI_DIV=settings.divide,
            p_CLKFB_DIV=settings.multiply,
            p_CLKOP_DIV=settings.post,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_CPHASE=settings.post // 2,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=pin,
            i_CLKFB=clock,
            i_RST=0,
            i_STDBY=0,
            i_PHASESEL0=0,
            i_PHASESEL1=0,
            i_PHASEDIR=1,
            i_PHASESTEP=1,
            i_PHASELOADREG=1,
            i_PLLWAKESYNC=0,
            i_ENCLKOP=0,
            o_CLKOP=clock,
            o_LOCK=locked,
        )
