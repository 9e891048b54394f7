"""Runs pytest again and again, each time in a fork of this process, which has the large packages loaded.

Importing torch, Numba and Amaranth takes longer than most tests that catch a mutant. Nothing of GradRTL is imported
here: each fork imports the sources as they are then. A request is a line of JSON on standard input,
`{"arguments": [...], "environment": {...}, "output": PATH, "longest": SECONDS}`; the answer is a line, pytest's exit
code, or `null` if it was stopped after so many seconds. Pytest leads a session, so that all it has started ends with
it. When standard input ends, because the process that asks has ended, so do pytest and this process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

LARGE = ("torch", "torch.nn.functional", "numba", "numpy", "amaranth.hdl", "amaranth.sim", "amaranth.back.verilog")


def tested(request: dict) -> NoReturn:
    """Pytest with what `request` says, in this process, which ends with it."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a worker ignores
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for here, there in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(here, there)
    os.environ.update(request["environment"])
    code = 3  # pytest's own code for an internal error
    try:
        import numba
        import pytest

        numba.config.reload_config()  # NUMBA_CACHE_DIR of this request
        code = int(pytest.main(request["arguments"]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def code_of(process: int, longest: float) -> int | None:
    """The exit code of `process`; None if it has not ended after `longest` seconds. Simulators and solvers that it has
    left end with it, and all end with the process that asks.
    """
    watch = os.pidfd_open(process)
    ready = select.select([watch, sys.stdin], [], [], longest)[0]
    for end in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            end(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.close(watch)
    if sys.stdin in ready:
        raise SystemExit
    return code if watch in ready else None


def main() -> None:
    for name in LARGE:
        import_module(name)
    if any(name.partition(".")[0] == "gradrtl" for name in sys.modules):
        raise RuntimeError("GradRTL is loaded before there is a fault in it")
    while line := sys.stdin.readline():
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            tested(request)
        print(json.dumps(code_of(process, request["longest"])), flush=True)


if __name__ == "__main__":
    main()
