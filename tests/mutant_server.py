"""Runs pytest again and again, each time in a fork of this process, which has the large packages loaded.

Importing torch, Numba and Amaranth takes longer than most tests that catch a mutant. Nothing of GradRTL is imported
here: each fork imports the sources as they are then. A request is a line of JSON on standard input,
`{"arguments": [...], "environment": {...}, "output": PATH}`; the answers are two lines, the process and, at its end,
pytest's exit code. The process leads a session, so that all it has started can be ended with it.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import NoReturn

LARGE = ("torch", "torch.nn.functional", "numba", "numpy", "amaranth.hdl", "amaranth.sim", "amaranth.back.verilog")


def answer(number: int) -> None:
    os.write(1, f"{number}\n".encode())


def tested(request: dict) -> NoReturn:
    """Pytest with what `request` says, in this process, which ends with it."""
    os.setsid()
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


def main() -> None:
    for name in LARGE:
        import_module(name)
    if any(name.partition(".")[0] == "gradrtl" for name in sys.modules):
        raise RuntimeError("GradRTL is loaded before there is a fault in it")
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            tested(json.loads(line))
        answer(process)
        answer(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


if __name__ == "__main__":
    main()
