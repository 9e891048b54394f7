"""Child processes that end with their parent, however it ends: Linux sends them SIGKILL."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys

PR_SET_PDEATHSIG = 1
_log = logging.getLogger(__name__)
# What runs before a command: the request to the system, a check that the parent still runs, then the command itself.
_FIRST = (
    f"import ctypes, os, sys; ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)


def ending_with_parent(command: list[str]) -> list[str]:
    """`command` so that it ends when the thread that starts it does. It starts 20 ms later."""
    _log.info("runs %s", shlex.join(command))
    return [sys.executable, "-I", "-S", "-c", _FIRST, str(os.getpid()), *command]
