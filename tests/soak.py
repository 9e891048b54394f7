"""Random networks through the whole chain, for as many cases as are asked for. `make soak`; `--help` tells the rest.

A failing case is shrunk and written to a folder: the network, its frames, its Verilog, and the command that repeats it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

import numpy as np
from random_cases import DENSE, Case, Finding, case, check
from random_networks import Options
from rich.progress import track
from shrinking import shrink

from gradrtl.rtl.verilog import generate

FOLDER = Path("build/soak")
OPTIONS = (DENSE, Options(largest=120, most_layers=3))  # in turn: dense networks, and those with convolutions


def run(seed: int) -> tuple[int, Finding]:
    """Check case `seed`; a failure is shrunk, kept, and its folder named."""
    cache = FOLDER / "cache"
    one = case(seed, OPTIONS[seed % len(OPTIONS)])
    finding = check(one, cache, seed)
    if finding.wrong is None:
        return seed, finding
    small = shrink(one, lambda candidate: check(candidate, cache, seed).wrong is not None)
    return seed, Finding(wrong=f"{check(small, cache, seed).wrong}\n{keep(small, FOLDER / f'case{seed}')}")


def keep(one: Case, folder: Path) -> str:
    """Write `one` to `folder`; returns the command that repeats it."""
    folder.mkdir(parents=True, exist_ok=True)
    one.network.save(folder / "network.npz")
    np.save(folder / "frames.npy", one.frames)
    pes = ",".join(map(str, one.pes))
    command = f"gradrtl verify {folder}/network.npz {folder}/gradrtl.v --frames {folder}/frames.npy --pe {pes}"
    command += f" --pixels-a-beat {one.pixels_a_beat}"
    if (one.queue_depth, one.row_queue_depth) != (16, 8):
        command += f" --queue-depth {one.queue_depth} --row-queue-depth {one.row_queue_depth}"
    (folder / "gradrtl.v").write_text(generate(one.mapping, command))
    (folder / "command.txt").write_text(command + "\n")
    return command


def results(seeds: range, jobs: int, deadline: float) -> Iterator[tuple[int, Finding]]:
    """Findings as they come; nothing is begun after `deadline`."""
    todo = iter(seeds)
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(run, seed) for seed in islice(todo, jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
                if time.monotonic() < deadline and (seed := next(todo, None)) is not None:
                    running.add(pool.submit(run, seed))


def processor_time(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="how many networks")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no case after so many minutes")
    given = parser.parse_args()
    start = time.monotonic()
    seeds = range(given.first, given.first + given.cases)
    sums = {"cases": 0, "frames": 0, "spikes": 0, "membranes": 0, "cycles": 0}
    wrong: dict[int, str] = {}
    found = results(seeds, given.jobs, start + 60 * given.minutes)
    for seed, finding in track(found, total=given.cases, description="random networks"):
        sums["cases"] += 1
        for name in ("frames", "spikes", "membranes", "cycles"):
            sums[name] += getattr(finding, name)
        if finding.wrong is not None:
            wrong[seed] = finding.wrong
            print(f"case {seed}: {finding.wrong}", flush=True)
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = {"seconds": round(time.monotonic() - start), "processor seconds": round(sum(map(processor_time, used)))}
    report = {**sums, "first seed": given.first, **seconds, "wrong": wrong}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"report{given.first}.json").write_text(json.dumps(report, indent=1) + "\n")
    print(", ".join(f"{value} {name}" for name, value in sums.items()) + f"; {len(wrong)} cases wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
