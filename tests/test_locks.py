"""A folder is held by one run at a time, and by nobody once that run has ended, however it ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from gradrtl.errors import UserError
from gradrtl.locks import hold, lock_folder, locked

HOLDER = (
    "import sys, time; from gradrtl.locks import hold\nwith hold(sys.argv[1]): print(1, flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path):
    """A process that holds `tmp_path / "run"`."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"1\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_is_told_who_holds_the_folder(holder, tmp_path):
    told = re.escape(f"folder {tmp_path / 'run'} is in use by process {holder.pid}: ")
    with pytest.raises(UserError, match=f"^{told}"), hold(tmp_path / "run"):
        pass


def test_a_killed_process_holds_nothing(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with hold(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_a_thread_may_hold_twice_and_frees_it_once(tmp_path):
    with hold(tmp_path), hold(tmp_path):
        pass
    with hold(tmp_path):
        with hold(tmp_path):
            pass
        told = []

        def other():
            try:
                with hold(tmp_path):
                    pass
            except UserError as error:
                told.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert "in use by another run of this process" in told[0]


def test_released_after_an_error(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path):
        raise KeyError
    with hold(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"), hold(tmp_path / "file" / "run"):
        pass


def test_waiting_and_not_waiting(tmp_path):
    order = []
    entered = threading.Event()

    def other():
        entered.set()
        with locked(tmp_path / "lock"):
            order.append("other")

    with locked(tmp_path / "lock"):
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait()
        with locked(tmp_path / "lock", wait=False) as ours:
            assert not ours
        order.append("first")
    thread.join()
    assert order == ["first", "other"]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_waited_for_keeps_others_out(tmp_path):
    holds, done = threading.Event(), threading.Event()

    def other():
        with locked(tmp_path / "lock"):
            holds.set()
            done.wait()

    with locked(tmp_path / "lock"):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.1)  # it waits for the file that is about to be removed
    holds.wait()
    with locked(tmp_path / "lock", wait=False) as ours:
        done.set()
    thread.join()
    assert not ours


def test_a_folder_is_locked_until_closed(tmp_path):
    found = lock_folder(tmp_path)
    assert found is not None
    assert lock_folder(tmp_path) is None
    os.close(found)
    again = lock_folder(tmp_path)
    assert again is not None
    os.close(again)
    assert lock_folder(tmp_path / "none") is None
