"""Complete designs for boards: clock from the board's oscillator, reset, serial port, LED, pins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.build import Platform
from amaranth.hdl import ClockDomain, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io

from ..errors import require
from .loading import RAM_VERILOG, image
from .mapping import Mapping
from .serial import SerialAccelerator, check_design

RESET_CYCLES = 1 << 10  # block RAMs of the iCE40 are not ready before 10 microseconds
BAUD = 1_000_000


@dataclass(frozen=True)
class Board:
    """A board: its device, its platform class in amaranth-boards, and how its clock is made.

    `oscillator` and `clock` in MHz; `divide`, `multiply`, `post`: the clock is
    `oscillator / divide * multiply / post`.
    """

    name: str
    device: str
    module: str
    platform: str
    oscillator: float
    divide: int
    multiply: int
    post: int

    @property
    def clock(self) -> float:
        return self.oscillator / self.divide * self.multiply / self.post

    @property
    def divisor(self) -> int:
        """Cycles of a serial bit."""
        return round(self.clock * 1e6 / BAUD)

    def make_platform(self) -> Platform:
        return getattr(__import__(f"amaranth_boards.{self.module}", fromlist=[self.platform]), self.platform)()


BOARDS = {
    board.name: board
    for board in (
        Board("icebreaker", "up5k", "icebreaker", "ICEBreakerPlatform", 12, 1, 80, 32),
        Board("ulx3s-25", "ecp5-25", "ulx3s", "ULX3S_25F_Platform", 25, 5, 18, 1),
        Board("ulx3s-85", "ecp5-85", "ulx3s", "ULX3S_85F_Platform", 25, 5, 18, 1),
        Board("tang-nano-9k", "gw1nr-9", "tang_nano_9k", "TangNano9kPlatform", 27, 1, 1, 1),
    )
}


@dataclass(frozen=True)
class Design:
    """Input of the tools: source files by name, pin constraints, the target clock in MHz."""

    top: str
    sources: dict[str, str]
    constraints: dict[str, str]
    clock: float


def board_of(device: str) -> Board:
    """The board with `device`."""
    found = [board for board in BOARDS.values() if board.device == device]
    require(bool(found), "device", device, " or ".join(board.device for board in BOARDS.values()))
    return found[0]


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
        board = self.board
        clock, locked = Signal(name="clock"), Signal(name="locked")
        if board.device == "up5k":
            pin = platform.request(platform.default_clk, dir="-")
            m.submodules.pll = Instance(
                "SB_PLL40_PAD",
                p_FEEDBACK_PATH="SIMPLE",
                p_DIVR=board.divide - 1,
                p_DIVF=board.multiply - 1,
                p_DIVQ=board.post.bit_length() - 1,
                p_FILTER_RANGE=1,
                i_PACKAGEPIN=pin.io,
                i_RESETB=1,
                i_BYPASS=0,
                o_PLLOUTGLOBAL=clock,
                o_LOCK=locked,
            )
        else:
            m.submodules.clock_pin = pin = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
            if board.divide == board.multiply == board.post == 1:
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
        """VCO at `clock * 7`, which must lie in 400 to 800 MHz."""
        board = self.board
        out = 7
        return Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=str(board.oscillator),
            a_FREQUENCY_PIN_CLKOP=str(board.clock),
            p_CLKI_DIV=board.divide,
            p_CLKFB_DIV=board.multiply,
            p_CLKOP_DIV=out,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_CPHASE=out // 2,
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
