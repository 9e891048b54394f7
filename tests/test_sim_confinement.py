"""Tools run under limits and end with what started them; what stops them is told in a line."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_sim_verify import ended

from gradrtl.cache import CACHE
from gradrtl.errors import UserError
from gradrtl.sim import confinement
from gradrtl.sim.confinement import TOOLS, Limits, failure, run

SMALL = Limits(memory=1 << 30, seconds=1, output=1000)


def python(program: str, folder: Path, limits: Limits | None = SMALL):
    return run([sys.executable, "-c", program], folder, CACHE, limits)


def test_output_and_code_come_back(tmp_path):
    done = python("import sys; print(1); print(2, file=sys.stderr); sys.exit(3)", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "1\n", "2\n")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("while True: pass", "more than 1 s of processor time"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "machine ran out of memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        ("raise SystemExit('memory exhausted')", "more memory than its limit of 1024 MB"),
        ("raise SystemExit(5)", "the tool stopped with code 5"),
        ("raise SystemExit('first line')", "first line"),
    ],
)
def test_what_stops_a_tool_is_told(program, words, tmp_path):
    done = python(program, tmp_path)
    assert words in failure("the tool", done.returncode, done.stderr, SMALL)


def test_memory_and_files_are_limited(tmp_path):
    assert python("bytearray(2 << 30)", tmp_path).returncode == 1
    assert python("bytearray(2 << 30)", tmp_path, None).returncode == 0
    python("open('large', 'wb').write(bytes(2000))", tmp_path)
    assert (tmp_path / "large").stat().st_size == 1000


def test_no_network(tmp_path):
    program = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)"
    assert "unreachable" in python(program, tmp_path).stderr


def test_no_compiler_is_told(monkeypatch):
    confinement.compiler.cache_clear()
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(UserError, match="install g"):
        confinement.compiler()
    confinement.compiler.cache_clear()


@pytest.mark.parametrize("field", ["memory", "seconds", "output", "cycle_seconds"])
def test_limits_are_checked(field):
    with pytest.raises(UserError, match=f"{field} is 0, expected"):
        Limits(**({"memory": 1, "seconds": 1, "output": 1} | {field: 0}))


PARENT = """import sys
from pathlib import Path
from gradrtl.cache import CACHE
from gradrtl.sim.confinement import run
child = "import os, subprocess, time; subprocess.Popen(['sleep', '60']); "
child += "open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
run([sys.executable, "-c", child], Path(sys.argv[1]), CACHE)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_tool_and_its_children_end_with_the_parent(how, tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], stderr=subprocess.DEVNULL)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert parent.poll() is None
    tool = int((tmp_path / "pid").read_text())
    children = Path(f"/proc/{tool}/task/{tool}/children").read_text().split()
    parent.send_signal(how)
    parent.wait()
    assert ended(tool)
    assert all(ended(int(child)) for child in children)
    assert children


def test_limits_of_the_tools_are_those_told():
    assert failure("Verilator", 134, "std::bad_alloc", TOOLS).startswith(
        "Verilator needs more memory than its limit of 8192 MB"
    )
