"""Timing of several runs in alternation, so that other load on the machine slows them equally."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter


def best_of(runs: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Shortest wall time in seconds of each run: `rounds` alternating rounds, after one to warm up."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begin = perf_counter()
            run()
            times[name].append(perf_counter() - begin)
    return {name: min(found) for name, found in times.items()}
