"""A serial port is one program's; whatever is wrong with it is told in one line."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tty

import pytest

from gradrtl.line import LineError, open_line

BAUD = 1_000_000


@pytest.fixture
def port():
    """A pseudo-terminal: its far end, and the name of the device."""
    far, near = pty.openpty()
    tty.setraw(near)
    yield far, os.ttyname(near)
    os.close(near)
    os.close(far)


def test_bytes_go_both_ways(port):
    far, name = port
    with open_line(name, BAUD) as line:
        line.write(b"\x00\xff\x0a\x0d\x11\x13")
        assert os.read(far, 100) == b"\x00\xff\x0a\x0d\x11\x13"
        os.write(far, b"\x03\x1a\xc0")
        assert line.read(100) == b"\x03\x1a\xc0"
        assert line.read(100) == b""


def test_the_second_program_is_told_in_one_line(port):
    _, name = port
    with open_line(name, BAUD), pytest.raises(LineError, match=f"port is {name}, which another program has open"):
        open_line(name, BAUD)
    open_line(name, BAUD).close()


def test_a_killed_program_leaves_the_port_free(port):
    _, name = port
    program = f"from gradrtl.line import open_line; l = open_line({name!r}, {BAUD}); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "1\n"
        with pytest.raises(LineError, match="another program"):
            open_line(name, BAUD)
        other.kill()
    open_line(name, BAUD).close()


def test_what_is_no_serial_device(tmp_path):
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    for name in ("file", "fifo", "missing", ""):
        with pytest.raises(LineError, match=f"port is {tmp_path / name}.*expected a serial device such as") as told:
            open_line(str(tmp_path / name), BAUD)
        assert "\n" not in str(told.value)
    with pytest.raises(LineError, match="No such file"):
        open_line("/dev/no-such-port", BAUD)


@pytest.mark.parametrize("use", ["read", "write"])
def test_a_line_that_is_cut(use):
    far, near = pty.openpty()
    name = os.ttyname(near)
    line = open_line(name, BAUD)
    os.close(near)
    os.close(far)
    with pytest.raises(LineError, match=f"^the line to {name} was cut: "):
        line.read(1) if use == "read" else line.write(b"x")
