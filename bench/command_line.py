"""Timed figures of the command line: processor time of its help."""

from __future__ import annotations

import resource
import subprocess
import sys

from .figures import Figure

QUICK = ("--help", "--version")
MOST = 0.25  # seconds


def figures(rounds: int) -> list[Figure]:
    """Processor seconds of `gradrtl --help` and `--version`, each in a separate process."""
    return [
        Figure(f"`gradrtl {option}`, processor time", _seconds(option, rounds), "s", False, most=MOST)
        for option in QUICK
    ]


def _seconds(option: str, rounds: int) -> float:
    """The shortest time of `rounds` runs, after one to warm up."""
    command = [sys.executable, "-c", "from gradrtl.cli import main; main()", option]
    found = []
    for _ in range(rounds + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found[1:])
