"""Random networks through the whole chain, for as many cases as are asked for. `make soak`; `--help` tells the rest.

Results are kept as they come, in `build/soak/found.jsonl`: an interrupted run goes on where it stopped, and the figures
at the end are of all cases asked for. A failing case is shrunk and written to a folder: the network, its frames, its
Verilog, and the command that repeats it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from amaranth._toolchain.yosys import YosysError
from batches import check_together
from random_cases import DENSE, Case, Finding, case, check
from random_networks import Options
from rich.progress import track
from shrinking import shrink

from gradrtl import model, quantize, rtl, sim
from gradrtl.errors import UserError
from gradrtl.rtl.verilog import generate

FOLDER = Path("build/soak")
CACHE = FOLDER / "cache"
HELPERS = ("batches", "limit_networks", "random_cases", "random_networks")
OPTIONS = (DENSE, Options(largest=120, most_layers=3), Options(largest=60, most_layers=3, limits=True))
# In turn: dense networks, those with convolutions, and those with a number at its limit.
BATCH = 16  # networks that are compiled together; a gigabyte of memory


@dataclass(frozen=True)
class Result:
    """What came of case `seed`, and its processor time."""

    seed: int
    finding: Finding
    seconds: float


def run(seeds: Sequence[int]) -> list[Result]:
    """Check the cases `seeds`, all at once; where that fails, one by one."""
    start = processor_time()
    cases = {seed: case(seed, OPTIONS[seed % len(OPTIONS)]) for seed in seeds}
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="batch-", dir=FOLDER) as folder:
        found = check_together(cases, Path(folder), CACHE)
    together = (processor_time() - start) / len(seeds)
    results = []
    for seed, finding in found.items():
        start = processor_time()
        finding = finding or alone(cases[seed], seed)
        results.append(Result(seed, finding, round(together + processor_time() - start, 3)))
    return results


def alone(one: Case, seed: int) -> Finding:
    """Check one case; a failure is shrunk, kept, and its folder named."""

    def look(candidate: Case) -> Finding:
        try:
            return check(candidate, CACHE, seed)
        except (UserError, YosysError) as error:  # of a tool that refuses the Verilog
            return Finding(wrong=str(error))

    finding = look(one)
    if finding.wrong is None:
        return finding
    small = shrink(one, lambda candidate: look(candidate).wrong is not None)
    return Finding(wrong=f"{look(small).wrong}\n{keep(small, FOLDER / f'case{seed}')}")


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


class Record:
    """What has been found, one line of JSON a case, so that an interrupted run goes on where it stopped.

    Lines of other sources than today's are left out.
    """

    def __init__(self, path: Path):
        self.path = path
        self.key = fingerprint()
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self.lines = {line["seed"]: line for line in lines if line["sources"] == self.key}

    def add(self, result: Result) -> None:
        line = {"seed": result.seed, **asdict(result.finding), "seconds": result.seconds, "sources": self.key}
        self.lines[result.seed] = line
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def summary(self, seeds: Iterable[int]) -> str:
        """The figures of those of `seeds` that have been run."""
        lines = [self.lines[seed] for seed in seeds if seed in self.lines]
        sums = {name: sum(line[name] for line in lines) for name in ("frames", "spikes", "membranes", "cycles")}
        seconds = sum(line["seconds"] for line in lines) / max(1, len(lines))
        counted = ", ".join(f"{value:,} {name}" for name, value in {"cases": len(lines), **sums}.items())
        return f"{counted}; {len(self.wrong(seeds))} cases wrong; {seconds:.2f} s of processor time a case"

    def wrong(self, seeds: Iterable[int]) -> list[int]:
        return [seed for seed in seeds if self.lines.get(seed, {}).get("wrong") is not None]


def fingerprint() -> str:
    """SHA-256, in hexadecimal, of what a result depends on."""
    sha = hashlib.sha256()
    for path in sources():
        sha.update(f"{path.name} ".encode() + path.read_bytes())
    return sha.hexdigest()


def sources() -> list[Path]:
    """Files of the packages, without what Python and Numba keep beside them, and of the tests that make a case."""
    packages = [Path(str(package.__file__)).parent for package in (model, quantize, rtl, sim)]
    found = [path for folder in packages for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".cpp", ".h")]
    return found + [
        Path(__file__).with_name(f"{name}.py")
        for name in ("batches", "limit_networks", "random_cases", "random_networks")
    ]


def results(seeds: Sequence[int], jobs: int, deadline: float, batch: int = BATCH) -> Iterator[Result]:
    """Results as they come; nothing is begun after `deadline`."""
    todo = iter([seeds[first : first + batch] for first in range(0, len(seeds), batch)])
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(run, some) for some in islice(todo, jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
                if time.monotonic() < deadline and (some := next(todo, None)) is not None:
                    running.add(pool.submit(run, some))


def processor_time() -> float:
    """Seconds of this process and of those that it has waited for."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="how many networks")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--batch", type=int, default=BATCH, help="networks that are compiled together")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin nothing after so many minutes")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.cases)
    record = Record(FOLDER / "found.jsonl")
    todo = [seed for seed in seeds if seed not in record.lines]
    found = results(todo, given.jobs, time.monotonic() + 60 * given.minutes, given.batch)
    for done, result in enumerate(track(found, total=len(todo), description="random networks"), 1):
        record.add(result)
        if result.finding.wrong is not None:
            print(f"case {result.seed}: {result.finding.wrong}", flush=True)
        if done % (4 * given.batch) == 0:
            print(record.summary(seeds), flush=True)
    print(record.summary(seeds))
    for seed in record.wrong(seeds):
        print(f"case {seed}: {record.lines[seed]['wrong']}")
    return 1 if record.wrong(seeds) else 0


if __name__ == "__main__":
    raise SystemExit(main())
