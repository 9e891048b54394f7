"""Kills at random moments: does the next run give what an uninterrupted one gives? `make kills`, or `--help`.

A case is a command in a folder of its own. It runs once without interruption, which gives its results and its time.
Then, again and again: in a new folder it is killed at a random moment (SIGKILL and SIGTERM in turn), as many times as
asked for, and at last runs to its end. The results must be equal, no process may live on, nothing may be left behind.
A command with epochs or pieces is also killed between them: every other kill follows a change of the file that it
resumes from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import float_networks
import numpy as np
from rich.progress import track
from test_commands_training import write
from test_rtl_synthesis import sparse

from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.description import DenseSpec, LayerSpec, Network
from gradrtl.quantize.fold import fold
from gradrtl.quantize.ptq import quantize
from gradrtl.quantize.rounding import Formats
from gradrtl.sim import pieces

FOLDER = Path(__file__).resolve().parent.parent / "build" / "kills"
MARK = "GRADRTL_KILLS"  # in the environment of every process of a run: the folder
LEFTOVERS = ("making-*", "*.part", ".*.part", "*.tmp", ".lock", "*.lock")
BETWEEN = 0.02  # seconds: a kill between epochs comes so soon after the state of the last one
PATIENCE = 10.0  # seconds in which the processes of a killed run must end
GRADRTL = (sys.executable, "-c", "from gradrtl.cli import main; main()")


@dataclass(frozen=True)
class Case:
    """`arguments` of `gradrtl`, run in a folder that `prepare` has filled. `files`: patterns of its results.

    `printed`: what it prints belongs to the results, times aside.
    """

    name: str
    arguments: tuple[str, ...]
    files: tuple[str, ...] = ()
    printed: bool = False
    prepare: Callable[[Path], None] = lambda folder: None
    content: Callable[[Path], bytes] = Path.read_bytes  # of a result file: what must be equal
    state: str = ""  # what a run resumes from, rewritten or longer after each epoch or piece
    changes: int = 0  # of the state in a whole run


def network_and_frames(folder: Path, count: int = 40) -> None:
    network = sparse(32, 24, 0.15)
    network.save(folder / "network.npz")
    generator = np.random.default_rng(1)
    np.save(folder / "frames.npy", generator.integers(0, 256, (count, 32)).astype(np.uint8))


def images(folder: Path) -> None:
    write(folder / "data", images=300)


def images_and_checkpoint(folder: Path) -> None:
    images(folder)
    network = Network("small", (1, 5, 6), (LayerSpec(DenseSpec(8)), LayerSpec(DenseSpec(4))))
    float_networks.checkpoint(network, 1).save(folder / "checkpoint.npz")


def images_and_network(folder: Path) -> None:
    images_and_checkpoint(folder)
    quantize(fold(Checkpoint.load(folder / "checkpoint.npz")), Formats()).save(folder / "network.npz")


def learned(path: Path) -> bytes:
    """What a checkpoint holds, but for the seconds that its training took."""
    found = Checkpoint.load(path)
    figures = {name: value for name, value in found.figures.items() if name != "seconds"}
    header = [found.config, found.history, figures, found.made_from, found.command]
    return json.dumps(header).encode() + b"".join(found.arrays[name].tobytes() for name in sorted(found.arrays))


def compared(path: Path) -> bytes:
    """What a comparison found, but for its times, and for the note on what earlier runs have compared."""
    found = json.loads(path.read_text())
    return json.dumps([found[name] for name in sorted(found) if name not in OF_THE_RUN]).encode()


OF_THE_RUN = ("seconds", "build_seconds", "notes")  # other than what was compared
MANY = 400  # frames
EPOCHS = 8
EPOCHS_OF_DATA = ("--batch", "10", "--data", "data", "--epochs", str(EPOCHS))
CASES = (
    Case(
        "train",
        ("train", "--layers", "30-8-4", "--recipe", "gradr-alpha", *EPOCHS_OF_DATA, "--out", "t"),
        files=("t/checkpoint.npz",),
        prepare=images,
        content=learned,
        state="t/resume.pt",
        changes=EPOCHS,
    ),
    Case(
        "quantize",
        ("quantize", "checkpoint.npz", "-o", "network.npz", *EPOCHS_OF_DATA),
        files=("network.npz",),
        prepare=images_and_checkpoint,
        state="network.resume.pt",
        changes=EPOCHS,
    ),
    Case(
        "explore",
        (
            "explore",
            "checkpoint.npz",
            "--bits",
            "2,3,4,5",
            "--pe",
            "2,2",
            "--pe",
            "4,2",
            "--data",
            "data",
            "--images",
            "20",
            "--jobs",
            "2",
            "--out",
            "e",
        ),
        files=("e/points.csv", "e/pareto.svg"),
        prepare=images_and_checkpoint,
        content=lambda path: b"" if path.suffix == ".svg" else path.read_bytes(),  # a picture holds its date
    ),
    Case(
        "verify",
        ("verify", "network.npz", "--pe", "2,2", "--frames", "frames.npy", "--jobs", "2"),
        printed=True,
        prepare=network_and_frames,
    ),
    Case(
        "pieces",
        ("verify", "network.npz", "--pe", "2,2", "--frames", "frames.npy", "--log", "log.jsonl", "-o", "found.json"),
        files=("found.json",),
        prepare=partial(network_and_frames, count=MANY),
        content=compared,
        state="log.jsonl",
        changes=MANY // pieces.FRAMES,
    ),
    Case(
        "synth",
        ("synth", "network.npz", "--device", "up5k", "--pe", "2,2", "--data", "data"),
        files=("build/synth/up5k/report.json", "build/synth/up5k/*.bin"),
        prepare=images_and_network,
    ),
)


class Failure(Exception):
    """A run after a kill went wrong; the message tells how."""


def start(case: Case, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, MARK: str(folder), "TMPDIR": str(folder), "COLUMNS": "200"}
    with (folder / "printed").open("w") as out, (folder / "errors").open("w") as errors:
        return subprocess.Popen(
            [*GRADRTL, *case.arguments], cwd=folder, env=environment, stdout=out, stderr=errors, text=True
        )


def finish(case: Case, folder: Path) -> str:
    """Run to the end; SHA-256 of the results."""
    process = start(case, folder)
    if process.wait():
        raise Failure(f"code {process.returncode}: {(folder / 'errors').read_text()[-2000:]}")
    sha = hashlib.sha256()
    if case.printed:
        printed = re.sub(r"\d+\.\d+ s", "", (folder / "printed").read_text())
        if not printed:
            raise Failure("nothing printed")
        sha.update(printed.encode())
    for pattern in case.files:
        found = sorted(folder.glob(pattern))
        if not found:
            raise Failure(f"no {pattern}")
        for path in found:
            sha.update(f"{path.relative_to(folder)} ".encode() + case.content(path))
    return sha.hexdigest()


def processes_of(folder: Path) -> list[int]:
    """Living processes that a run in `folder` has started."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def wait_for_changes(path: Path, number: int, process: subprocess.Popen[str]) -> None:
    """Until `path` has changed `number` times, or the process has ended."""
    last = 0
    while number and process.poll() is None:
        with suppress(FileNotFoundError):
            now = path.stat().st_mtime_ns
            number -= now != last
            last = now
        time.sleep(0.001)


@dataclass(frozen=True)
class Moment:
    """When a run is killed: `seconds` after its start, or after the `change`th change of its state."""

    how: signal.Signals
    seconds: float
    change: int = 0

    def __str__(self) -> str:
        after = f" after change {self.change} of the state" if self.change else ""
        return f"{self.how.name} at {self.seconds:.3f} s{after}"


def kill_once(case: Case, folder: Path, moment: Moment) -> None:
    """Start the case, kill it at `moment`, and see that nothing of it lives on."""
    process = start(case, folder)
    wait_for_changes(folder / case.state, moment.change, process)
    try:
        process.wait(moment.seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(moment.how)
        process.wait()
    end = time.monotonic() + PATIENCE
    while orphans := processes_of(folder):
        if time.monotonic() > end:
            names = [Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode() for one in orphans]
            for one in orphans:
                os.kill(one, signal.SIGKILL)
            raise Failure(f"processes live on {PATIENCE} s after {moment}: {names}")
        time.sleep(0.05)


def leftovers(folder: Path) -> list[str]:
    return sorted({str(path.relative_to(folder)) for pattern in LEFTOVERS for path in folder.rglob(pattern)})


def fresh(case: Case, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    case.prepare(folder)
    return folder


def campaign(case: Case, trials: int, kills: int, seed: int, base: Path = FOLDER) -> None:
    """`trials` times: `kills` kills, then a run to the end. Raises `Failure` at the first that goes wrong."""
    folder = fresh(case, base / case.name / "whole")
    began = time.monotonic()
    expected = finish(case, folder)
    longest = time.monotonic() - began
    generator = random.Random(seed)
    for trial in track(range(trials), description=f"{case.name}, {longest:.1f} s", disable=not sys.stderr.isatty()):
        folder = fresh(case, base / case.name / "killed")
        moments = []
        for number in range(kills):
            how = (signal.SIGKILL, signal.SIGTERM)[(trial + number) % 2]
            if case.state and (trial + number) // 2 % 2:
                moment = Moment(how, generator.uniform(0, BETWEEN), generator.randint(1, case.changes))
            else:
                moment = Moment(how, generator.uniform(0, longest))
            moments.append(str(moment))
            kill_once(case, folder, moment)
        told = f"{case.name}, trial {trial} of seed {seed} ({', '.join(moments)})"
        try:
            got = finish(case, folder)
        except Failure as failure:
            raise Failure(f"{told}: {failure}") from None
        if got != expected:
            raise Failure(f"{told}: the results differ, see {folder}")
        if left := leftovers(folder):
            raise Failure(f"{told}: left behind {left}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--kills", type=int, default=1, help="in each trial, before the run to the end")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    failed = False
    for case in (case for case in CASES if given.only in case.name):
        try:
            campaign(case, given.trials, given.kills, given.seed)
            print(f"{case.name}: {given.trials} trials, each with {given.kills} kills, all results equal", flush=True)
        except Failure as failure:
            print(f"FAILED {failure}", flush=True)
            failed = True
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
