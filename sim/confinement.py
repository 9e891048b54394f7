"""Limits for tools that read untrusted Verilog, and for the programs that they compile from it.

A tool (Verilator, the C++ compiler) runs behind a small launcher, compiled once: under limits, without a network, in a
process group that ends with this process. A compiled design confines itself before its first cycle, in
`templates/confine.h`: limits, no network, only its own files, few system calls. See docs/security.md.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ..cache import cached
from ..errors import UserError, require
from . import records

GIB = 1 << 30
LAUNCHER = ("launch.cpp", "confine.h")
MISSING = {
    "limits": "limits of memory and time",
    "network": "isolation from the network (namespaces or seccomp)",
    "files": "protection of files (Landlock, Linux 5.13)",
    "calls": "a filter of system calls (seccomp)",
}


@dataclass(frozen=True)
class Limits:
    """Limits of a process: `memory` bytes of address space, `seconds` of processor time, `output` bytes per file.

    `cycle_seconds`: processor time of a single cycle of a design; more counts as an endless loop.
    """

    memory: int
    seconds: int
    output: int
    cycle_seconds: int = 20

    def __post_init__(self) -> None:
        for name in ("memory", "seconds", "output", "cycle_seconds"):
            value = getattr(self, name)
            require(isinstance(value, int) and 1 <= value < 1 << 62, name, value, "a whole number of at least 1")


TOOLS = Limits(memory=8 * GIB, seconds=3600, output=4 * GIB)
DESIGN = Limits(memory=4 * GIB, seconds=24 * 3600, output=1 << 40)


class ToolError(UserError):
    """A tool refuses its input: `file` and `message` of its first error."""

    def __init__(self, tool: str, file: str, message: str):
        super().__init__(f"{tool}: {message}")
        self.file = file
        self.message = message


@functools.cache
def compiler() -> str:
    """Path of the C++ compiler."""
    path = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if path is None:
        raise UserError("no C++ compiler is on the PATH: install g++")
    return path


def template(name: str) -> str:
    """Text of a C++ file in `templates/`, or of the generated `records.h`."""
    return records.header() if name == "records.h" else (files(__package__) / "templates" / name).read_text()


def launcher(cache: Path) -> Path:
    """Path of the launcher, from the cache."""
    texts = {name: template(name) for name in (*LAUNCHER, "records.h")}

    def make(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text)
        command = [compiler(), "-std=gnu++17", "-O0", "-w", "launch.cpp", "-o", "launch"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError("c++ compiler", "", failure("the C++ compiler", done.returncode, done.stderr, TOOLS))

    return cached(cache, "launcher", {**texts, "compiler": compiler()}, make) / "launch"


def run(
    command: Sequence[str],
    folder: Path,
    cache: Path,
    limits: Limits | None = TOOLS,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a tool in `folder` and capture its output; `limits` None: no limits.

    It ends with this process at the latest.
    """
    bounds = (0, 0, 0) if limits is None else (limits.memory, limits.seconds, limits.output)
    launch = [str(launcher(cache).absolute()), str(os.getpid()), *map(str, bounds), *command]
    process = subprocess.Popen(
        launch,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        out, errors = process.communicate()
    finally:
        process.terminate()  # after an interruption: the launcher ends the whole group
        process.wait()
    return subprocess.CompletedProcess(launch, process.returncode, out, errors)


def failure(tool: str, code: int, log: str, limits: Limits | None) -> str:
    """The reason why a tool that printed no error stopped with `code`."""
    number = -code if code < 0 else code - 128
    if limits is not None and number == signal.SIGXCPU:
        return f"{tool} took more than {limits.seconds} s of processor time"
    if any(word in log for word in ("bad_alloc", "out of memory", "memory exhausted", "Cannot allocate memory")):
        most = "" if limits is None else f" of {limits.memory >> 20} MB"
        return f"{tool} needs more memory than its limit{most}: the Verilog is too large"
    if number == signal.SIGKILL:
        return f"{tool} was killed, most likely because the machine ran out of memory: the Verilog is too large"
    if 0 < number < signal.NSIG:
        return f"{tool} was ended by {signal.Signals(number).name}"
    return next((line.strip() for line in log.splitlines() if line.strip()), f"{tool} stopped with code {code}")[:200]


def missing_walls(walls: int) -> tuple[str, ...]:
    """Notes on protections that this system lacks, from the bits in a verdict's `walls`."""
    return tuple(
        f"the compiled Verilog ran without {MISSING[name]}: this system lacks it"
        for index, name in enumerate(records.WALLS)
        if not walls >> index & 1
    )
