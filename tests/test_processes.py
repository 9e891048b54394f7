"""Processes end with the one that started them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradrtl.processes import ending_with_parent

STARTS = "import subprocess; from gradrtl.processes import ending_with_parent as e; subprocess.run(e(['sh', '-c', %r]))"


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_output_and_code_are_the_commands():
    done = subprocess.run(ending_with_parent(["sh", "-c", "echo $0; exit 3", "a b"]), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, b"a b\n")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_ends_with_a_killed_parent(how):
    parent = subprocess.Popen([sys.executable, "-c", STARTS % "echo $$; exec sleep 60"], stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    assert lives(child)
    parent.send_signal(how)
    parent.wait()
    parent.stdout.close()
    for _ in range(500):
        if not lives(child):
            return
        time.sleep(0.01)
    pytest.fail("the child lives on")
