"""A simulated board: compiled Verilog with serial pins, behind a pseudo-terminal.

Programs for a real board can use this one: `SimulatedBoard(build(design))` is a context manager whose `port` is the
name of a serial device; `rtl.verilog.generate_serial` writes the design.
"""

from __future__ import annotations

import os
import pty
import subprocess
import tty
from pathlib import Path
from types import TracebackType

from . import toolchain
from .confinement import DESIGN, template

DIVISOR = 4  # cycles per serial bit: few make the simulation fast


def harness() -> str:
    """The module that the driver sees."""
    return (
        "module harness (input clk, input rst, input rx, output tx);\n"
        "  serial dut (.clk(clk), .rst(rst), .rx(rx), .tx(tx), .busy());\n"
        "endmodule\n"
    )


def build(design: str, divisor: int = DIVISOR, *, cache: str | Path | None = None) -> Path:
    """Compile a module `serial` (the RTL's, or a synthesised netlist) with the driver; returns the program."""
    constants = (
        f"constexpr int DIVISOR = {divisor};\nconstexpr long MEMORY = {DESIGN.memory}, SECONDS = {DESIGN.seconds};\n"
    )
    binding = {"board.cpp": template("board.cpp"), "board.h": constants}
    return toolchain.build(design, harness(), binding, {}, cache=cache)


class SimulatedBoard:
    """Runs `program` (from `build`) behind a pseudo-terminal until the `with` block ends.

    `port` names the serial device, `pid` is the program's process. The program ends with the thread that started it,
    even if that is killed (Linux; elsewhere when the last host has closed the port).
    """

    def __init__(self, program: Path):
        self._program = program

    def __enter__(self) -> SimulatedBoard:
        controller, self._line = pty.openpty()
        try:
            tty.setraw(self._line)
            self.port = os.ttyname(self._line)
            self._process = subprocess.Popen(
                [self._program.absolute(), str(os.getpid())],
                cwd=self._program.parent,
                stdin=controller,
                stdout=controller,
            )
        except BaseException:
            os.close(self._line)
            raise
        finally:
            os.close(controller)
        self.pid = self._process.pid
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._line)
