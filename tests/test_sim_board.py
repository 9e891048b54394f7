"""A simulated board ends with the program that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from random_networks import Options, network

from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.verilog import generate_serial
from gradrtl.sim.board import DIVISOR, SimulatedBoard, build

OPTIONS = Options(dense_only=True, largest=12, most_layers=1, most_steps=2)
PARENT = """
import sys, time
from pathlib import Path
from gradrtl.sim.board import SimulatedBoard
with SimulatedBoard(Path(sys.argv[1])) as board:
    print(board.pid, board.port, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def program():
    seed = next(s for s in range(100) if network(s, OPTIONS).input.kind == "static")
    return build(generate_serial(map_network(network(seed, OPTIONS), Placement((2,))), DIVISOR))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """The process and those that it started."""
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in told for one in descendants(int(child)))]


@pytest.mark.rtl
def test_no_board_is_left_behind_by_a_killed_program(program):
    command = [sys.executable, "-c", PARENT, str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid, port = parent.stdout.readline().split()
        line = os.open(port, os.O_RDWR | os.O_NOCTTY)  # a host that stays: the board's line does not hang up
        try:
            time.sleep(0.2)
            family = descendants(int(pid))
            assert alive(family[-1])
            parent.send_signal(signal.SIGKILL)
            parent.wait()
            deadline = time.monotonic() + 20
            while any(alive(one) for one in family) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not any(alive(one) for one in family)
        finally:
            os.close(line)


@pytest.mark.rtl
def test_the_board_ends_with_its_block(program):
    with SimulatedBoard(program) as board:
        assert alive(board.pid)
    assert not alive(board.pid)
    assert not Path(board.port).exists()


def test_a_program_that_is_missing_leaves_no_line_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="none"), SimulatedBoard(tmp_path / "none"):
        pass
    assert len(os.listdir("/proc/self/fd")) == before
