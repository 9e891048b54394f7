"""Random networks through all machines, for as many cases as are asked for. `make soak`; `--help` tells the rest.

Results are kept as they come, in `build/soak/chains.jsonl` and `graphs.jsonl`: an interrupted run goes on where it
stopped, and the figures at the end are of all cases asked for. Several runs may share them: no case is run twice.
Cases run in processes here, or on the workers of a Dask scheduler (docs/scale-out.md). A failing case is shrunk and
written to a folder: the network, its frames and its Verilog; `--again FOLDER` repeats it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import graph_cases
import graph_shrinking
import numpy as np
import random_cases
import shrinking
from batches import check_together
from random_cases import DENSE, Case, Finding, check
from random_networks import Options

from gradrtl import cluster, model, quantize, rtl, sim
from gradrtl.cluster import Cluster
from gradrtl.errors import UserError
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.verilog import generate
from gradrtl.store import Store

FOLDER = Path("build/soak")
CACHE = FOLDER / "cache"
HELPERS = ("batches", "graph_cases", "limit_networks", "random_cases", "random_graphs", "random_networks")
OPTIONS = (DENSE, Options(largest=120, most_layers=3), Options(largest=60, most_layers=3, limits=True))
# In turn: dense networks, those with convolutions, and those with a number at its limit.
BATCH = 16  # networks that are compiled together; a gigabyte of memory


@dataclass(frozen=True)
class Kind:
    """How a case is made of its seed, and what is a little less than a case."""

    case: Callable[[int], Case]
    simpler: Callable[[Case], Iterator[Case]]


def chain(seed: int) -> Case:
    return random_cases.case(seed, OPTIONS[seed % len(OPTIONS)])


KINDS = {
    "chains": Kind(chain, shrinking.simpler),
    "graphs": Kind(graph_cases.case, graph_shrinking.simpler),
}


@dataclass(frozen=True)
class Result:
    """What came of case `seed`, and its processor time."""

    seed: int
    finding: Finding
    seconds: float


def run(kind: str, seeds: Sequence[int]) -> list[Result]:
    """Check the cases `seeds`, all at once; where that fails, one by one."""
    start = processor_time()
    cases = {seed: KINDS[kind].case(seed) for seed in seeds}
    FOLDER.mkdir(parents=True, exist_ok=True)
    found: dict[int, Finding | None]
    with tempfile.TemporaryDirectory(prefix="batch-", dir=FOLDER) as folder:
        try:
            found = check_together(cases, Path(folder), CACHE)
        except Exception:  # whatever it is, the case that it comes from will tell
            found = dict.fromkeys(cases)
    together = (processor_time() - start) / len(seeds)
    results = []
    for seed, finding in found.items():
        start = processor_time()
        finding = finding or alone(kind, cases[seed], seed)
        results.append(Result(seed, finding, round(together + processor_time() - start, 3)))
    return results


def work(cases: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """What is found of cases of one kind, in a worker."""
    found = run(cases[0][0], [seed for _, seed in cases])
    return [{**asdict(result.finding), "seconds": result.seconds} for result in found]


def alone(kind: str, one: Case, seed: int) -> Finding:
    """Check one case; a failure is shrunk, kept, and the command that repeats it told."""
    finding = looked_at(one, seed)
    if finding.wrong is None:
        return finding
    small = shrinking.shrink(one, lambda less: looked_at(less, seed).wrong is not None, simpler=KINDS[kind].simpler)
    return Finding(wrong=f"{looked_at(small, seed).wrong}\n{keep(small, seed, FOLDER / f'{kind}{seed}')}")


def looked_at(one: Case, seed: int) -> Finding:
    """What `check` finds; an error is a finding as well."""
    try:
        return check(one, CACHE, seed)
    except Exception as error:  # of a tool that refuses the Verilog, or of anything on the way
        return Finding(wrong=f"{type(error).__name__}: {error}")


def keep(one: Case, seed: int, folder: Path) -> str:
    """Write `one` to `folder`; returns the command that repeats it."""
    folder.mkdir(parents=True, exist_ok=True)
    one.network.save(folder / "network.npz")
    frames = (one.frames,) if isinstance(one.frames, np.ndarray) else one.frames
    np.savez_compressed(folder / "frames.npz", *frames)
    (folder / "case.json").write_text(json.dumps({"seed": seed, "placement": one.placement.line}) + "\n")
    command = f"python tests/soak.py --again {folder}"
    try:
        (folder / "gradrtl.v").write_text(generate(one.mapping, command))
    except Exception as error:  # which may be what is wrong
        (folder / "gradrtl.v").write_text(f"// none: {error!r}\n")
    return command


def kept(folder: Path) -> tuple[Case, int]:
    """The case that `keep` wrote to `folder`, and its seed."""
    told = json.loads((folder / "case.json").read_text())
    placed = Placement.from_line(told["placement"])
    with np.load(folder / "frames.npz") as arrays:
        frames = tuple(arrays.values())
    return Case(
        QuantizedNetwork.load(folder / "network.npz"),
        frames[0] if len(frames) == 1 else frames,
        placed.pes,
        placed.pixels_a_beat,
        placed.queue_depth,
        placed.row_queue_depth,
        placed.cancel,
    ), told["seed"]


class Record(Store):
    """What has been found, one line a case, so that an interrupted run goes on where it stopped."""

    def __init__(self, path: Path):
        super().__init__(path, "seed", fingerprint())

    def summary(self, seeds: Iterable[int]) -> str:
        """The figures of those of `seeds` that have been run."""
        lines = [self.lines[seed] for seed in seeds if seed in self.lines]
        sums = {name: sum(line[name] for line in lines) for name in ("frames", "spikes", "membranes", "cycles")}
        seconds = sum(line["seconds"] for line in lines) / max(1, len(lines))
        counts = {"cases": len(lines), "of them in hardware": sum(line["cycles"] > 0 for line in lines), **sums}
        counted = ", ".join(f"{value:,} {name}" for name, value in counts.items())
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
    return found + [Path(__file__).with_name(f"{name}.py") for name in HELPERS]


def processor_time() -> float:
    """Seconds of this process and of those that it has waited for."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", action="store_true", help="graphs, half of them with cycles; else chains of layers")
    parser.add_argument("--cases", type=int, default=2000, help="how many networks")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    Cluster.add_arguments(parser)
    parser.add_argument("--batch", type=int, default=BATCH, help="networks that are compiled together")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin nothing after so many minutes")
    parser.add_argument("--again", type=Path, metavar="FOLDER", help="only the failing case that is kept there")
    given = parser.parse_args()
    if given.again:
        found = looked_at(*kept(given.again))
        print(found.wrong or f"equal: {found}")
        return found.wrong is not None
    kind = "graphs" if given.graphs else "chains"
    seeds = range(given.first, given.first + given.cases)
    where = Cluster.of(given)
    todo = {seed: (kind, seed) for seed in seeds}
    deadline = time.monotonic() + 60 * given.minutes
    with Record(FOLDER / f"{kind}.jsonl") as record:
        kept_in = {"store": record, "code": fingerprint}
        found = cluster.run(work, todo, where, batch=given.batch, deadline=deadline, say=tell, **kept_in)
        failed = ""
        try:
            for done, (seed, result) in enumerate(found, 1):
                if result["wrong"] is not None:
                    tell(f"case {seed}: {result['wrong']}")
                if done % (4 * given.batch) == 0:
                    tell(record.summary(seeds))
        except cluster.TasksFailed as error:
            failed = str(error)
        tell(record.summary(seeds))
        for seed in record.wrong(seeds):
            tell(f"case {seed}: {record.lines[seed]['wrong']}")
        if failed:
            tell(failed)
        return 1 if failed or record.wrong(seeds) else 0


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    import soak  # by its name, by which workers import it

    try:
        code = soak.main()
    except UserError as error:
        code = f"error: {error}"
    sys.exit(code)
