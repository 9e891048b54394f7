"""Comparison of Verilog with its network: every spike, membrane, sum, class and cycle, frame by frame."""

from __future__ import annotations

import functools
import operator
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import require
from ..quantize.frontend import FrontEnd
from ..rtl import header
from ..rtl.mapping import Mapping
from ..rtl.outputs import Outputs
from . import engine
from .compare import Difference, first_cycle_difference, first_result_difference
from .confinement import missing_walls
from .driving import PATIENCE, RtlOutcome, Run, Stalls, Verdict
from .events import Events, events_of
from .frames import Frames, check
from .outcome import Outcome
from .sound import Sound
from .timing.microphone import predict_sound
from .timing.predict import Cycles, predict
from .verilated import BLOCK, Model, build, text_of


@dataclass(frozen=True)
class Moment:
    """A cycle of a run: that of the driver whose share of the frames begins with frame `share`, counted from its reset.

    `number`: of the share.
    """

    share: int
    number: int
    cycle: int


@dataclass(frozen=True)
class Verification:
    """What was compared, and the first difference if there is one.

    `frames`, `spikes`, `membranes`, `predicted`: numbers of frames whose result was compared, spikes, membranes, and
    frames whose cycles equal the timing model. `cycles`: simulated. `classes`: those of the RTL, int64. `latency`,
    `interval`: measured in the RTL, in cycles (latency includes waiting for earlier frames). `notes`: what was not
    checked, and why. `fault`: the accelerator violated its protocol or hung. `seen`: when the difference or the fault
    showed, None if that is not known. `shares`: of each driver the number of its first frame. `times`: of the frames,
    in cycles of their driver.
    """

    frames: int
    spikes: int
    membranes: int
    predicted: int
    cycles: int
    seconds: float
    build_seconds: float
    classes: np.ndarray
    latency: np.ndarray
    interval: np.ndarray
    notes: tuple[str, ...] = ()
    difference: Difference | None = None
    fault: str | None = None
    seen: Moment | None = None
    shares: tuple[int, ...] = (0,)
    times: Cycles | None = None

    @property
    def passed(self) -> bool:
        return self.difference is None and self.fault is None

    def __str__(self) -> str:
        compared = (
            f"{self.frames} frames, {self.spikes} spikes, {self.membranes} membranes compared; "
            f"cycles of {self.predicted} frames as predicted"
        )
        if self.fault is not None:
            return f"FAULT after {compared}: {self.fault}"
        return f"DIFFERENCE after {compared}: {self.difference}" if self.difference else f"equal: {compared}"


@dataclass(frozen=True)
class _Part:
    """Results of one driver's share of the frames, and their comparison."""

    outcome: RtlOutcome
    verdict: Verdict
    begin: int = 0
    number: int = 0
    predicted: int = 0
    difference: Difference | None = None

    @property
    def fault(self) -> str | None:
        return self.verdict.details["message"] if self.verdict.kind == "fault" else None

    @property
    def failed(self) -> bool:
        return self.difference is not None or self.fault is not None

    @property
    def seen(self) -> Moment | None:
        """When the difference or the fault showed: with the update of a neuron, with a packet, or in between."""
        found = self.difference
        cycle = self.verdict.seen
        if found is not None and found.step is None:
            cycle = int(self.outcome.cycles.result[found.frame - self.begin])
        return None if cycle is None or not self.failed else Moment(self.begin, self.number, cycle)


def check_header(verilog: str, mapping: Mapping, front_end: FrontEnd | None = None) -> tuple[str, ...]:
    """Compare the header comment with the network, the mapping and the front end; returns notes on missing entries.

    Raises `UserError` for a file that was made from another network or placement.
    """
    found = header.read(verilog)
    header.check(found, mapping, front_end)
    missing = [name for name in ("network", "mapping") if not getattr(found, name)]
    return tuple(f"the Verilog does not say which {name} it was made from" for name in missing)


def verify(
    mapping: Mapping,
    verilog: str | Path,
    frames: Frames | Sound,
    *,
    stalls: Stalls | None = None,
    apart: bool = False,
    jobs: int = 1,
    cache: str | Path | None = None,
    patience: int = PATIENCE,
    quick: bool = False,
    model: Model | None = None,
    progress: Callable[[int], None] | None = None,
    trusted: bool = False,
) -> Verification:
    """Run `frames` through compiled `verilog` (text or path) and through the engine, and compare everything.

    Parameters
    ----------
    mapping
        The network and its placement, from which the Verilog was made.
    frames
        Of Verilog with a front end, which takes samples, `Sound`: its steps are what is compared.
    stalls
        Random stalls of both streams. The timing model then gets the times at which each beat was offered and taken.
        Cycles are not compared if the Verilog's header does not state this mapping.
    apart
        Each frame enters an idle accelerator, so that `latency` is that of a single frame.
    jobs
        Parallel drivers, each with its share of the frames, from reset; of a stream there is one.
    quick
        There are few frames: compile quickly.
    model
        `verilog`, already compiled.
    progress
        Called with the number of frames sent since the call before; from any thread, one at a time.
    trusted
        The Verilog may run commands and access files, and is not confined (docs/security.md).

    Raises `UserError` for frames that do not fit, a digest of another network, or Verilog that Verilator refuses.
    """
    require(jobs >= 1, "jobs", jobs, "at least 1")
    sound = frames if isinstance(frames, Sound) else None
    given = check(mapping.network, frames.counts if isinstance(frames, Sound) else frames)
    count = len(given[0])
    require(count >= 1, "frames", count, "at least 1")
    text = text_of(verilog)
    notes = check_header(text, mapping, None if sound is None else sound.settings)
    ours = not notes
    start = time.perf_counter()
    model = model or build(text, mapping, cache=cache, quick=quick, trusted=trusted, sound=sound is not None)
    build_seconds = time.perf_counter() - start
    if not model.traced:
        notes += ("the Verilog has no trace wires (core<l>.fire_*): results alone are compared",)
    drivers = 1 if mapping.network.stream else jobs
    shares = [share for share in np.array_split(np.arange(count), drivers) if len(share)]
    task = _Task(model, given, stalls or Stalls(), apart, patience, ours, progress, sound)
    with ThreadPoolExecutor(max(1, len(shares))) as pool:
        try:
            parts = list(pool.map(task.run, range(len(shares)), shares))
        finally:
            task.first_failed = min(task.first_failed, -1)  # after an error or an interruption, the others stop
    done = [part for part in parts if part is not None]
    if not model.trusted:
        walls = functools.reduce(operator.and_, (part.verdict.walls for part in done if part.verdict.walls), ~0)
        notes += missing_walls(walls)
    return _merged(done, count, notes, time.perf_counter() - start, build_seconds)


class _Task:
    """State that the drivers share. A driver stops early if one with earlier frames has found a fault."""

    def __init__(
        self,
        model: Model,
        frames: tuple[np.ndarray, ...],
        stalls: Stalls,
        apart: bool,
        patience: int,
        timed: bool,
        progress: Callable[[int], None] | None,
        sound: Sound | None,
    ):
        self.sound = sound
        self.model = model
        self.frames = frames
        self.stalls = stalls
        self.apart = apart
        self.patience = patience
        self.timed = timed
        self.progress = progress
        self.lock = threading.Lock()
        self.first_failed = len(frames[0])

    def run(self, number: int, share: np.ndarray) -> _Part | None:
        """Drive the frames `share` (consecutive numbers), the engine a block ahead; None if stopped early."""
        model, begin = self.model, int(share[0])
        frames = tuple(values[begin : share[-1] + 1] for values in self.frames)
        stalls = replace(self.stalls, seed=self.stalls.seed + number)
        results: list[Outcome] = []
        events: list[tuple[Events, ...]] = []
        with Run(
            model,
            len(share),
            first=begin,
            compare=model.traced,
            handshakes=self.timed and not stalls.none,
            beats=None if self.sound is None else self.sound.settings.step,
            stalls=stalls,
            apart=self.apart,
            patience=self.patience,
        ) as run:
            for part, outcome in engine.blocks(model.mapping.network, frames, size=BLOCK, threads=1):
                if self.first_failed < number:
                    return None
                block = tuple(values[part] for values in frames)
                if not self._feed(run, block, part, outcome):
                    break
                results.append(Outcome(outcome.decided, outcome.counts))
                with self.lock:
                    if self.timed:
                        assert outcome.trace is not None
                        events.append(events_of(model.mapping, block, outcome.trace))
                    if self.progress is not None:
                        self.progress(part.stop - part.start)
            verdict = run.finish()
            part_done = _Part(run.outcome(), verdict, begin, number)
        got = part_done.outcome
        expected = Outcome(
            np.concatenate([got.decided[:0], *(r.decided for r in results)]),
            np.concatenate([got.counts[:0], *(r.counts for r in results)]),
        )
        part_done = replace(part_done, difference=_difference(expected, part_done, begin))
        if self.timed and not part_done.failed:
            part_done = self._compare_cycles(part_done, events, begin)
        if part_done.failed:
            self.first_failed = min(self.first_failed, number)
        return part_done

    def _feed(self, run: Run, block: tuple[np.ndarray, ...], part: slice, outcome: Outcome) -> bool:
        """Send the frames of `block`, or the samples of its steps; see `Run.feed`."""
        return run.feed(block, outcome) if self.sound is None else run.feed_sound(self.sound.words[part], outcome)

    def _compare_cycles(self, part: _Part, events: list[tuple[Events, ...]], begin: int) -> _Part:
        handshakes = part.outcome.handshakes
        apart = self.apart and handshakes is None  # else the times of the beats include the gaps
        offered = None if handshakes is None else np.ascontiguousarray(handshakes.offered)
        taken = None if handshakes is None else np.ascontiguousarray(handshakes.taken)
        sent = tuple(map(_joined, zip(*events, strict=True)))
        with self.lock:
            if self.sound is None:
                predicted = predict(self.model.mapping, sent, apart=apart, offered=offered, taken=taken)
            else:
                predicted = predict_sound(self.model.mapping, self.sound, sent, offered, taken)
        difference = first_cycle_difference(predicted, part.outcome.cycles, apart=apart)
        if difference is None:
            return replace(part, predicted=len(part.outcome.classes))
        return replace(part, predicted=difference.frame, difference=replace(difference, frame=difference.frame + begin))


def _difference(expected: Outcome, part: _Part, begin: int) -> Difference | None:
    """The first of the driver's difference in the trace and the difference in its results."""
    results = first_result_difference(expected, part.outcome)
    if results is None and part.outcome.numbers is not None:
        results = _number_difference(part.outcome.numbers)
    if results is None and part.outcome.flagged.any():
        results = Difference(int(part.outcome.flagged.argmax()), "flag", 0, 1)
    if results is not None:
        results = replace(results, frame=results.frame + begin)
    if part.verdict.kind != "difference":
        return results
    trace = Difference(**part.verdict.details)
    return results if results is not None and results.frame < trace.frame else trace


def _number_difference(got: np.ndarray) -> Difference | None:
    """The first step that has not its number."""
    expected = Outputs.numbers(0, len(got))
    unequal = got != expected
    frame = int(unequal.argmax())
    return Difference(frame, "number", int(expected[frame]), int(got[frame])) if unequal.any() else None


def _joined(blocks: tuple[Events, ...]) -> Events:
    """Events of consecutive blocks of frames."""
    return Events(np.concatenate([b.counts for b in blocks]), np.concatenate([b.addresses for b in blocks]))


def _merged(
    parts: list[_Part], asked: int, notes: tuple[str, ...], seconds: float, build_seconds: float
) -> Verification:
    """The result of all shares; the difference is that of the earliest frame."""
    failed = next((part for part in parts if part.failed), None)
    outcomes = [part.outcome for part in parts]
    frames = sum(len(outcome.classes) for outcome in outcomes)
    fault = failed.fault if failed and failed.difference is None else None
    if failed is None and frames != asked:
        fault = f"{frames} of {asked} frames came back"
    return Verification(
        frames=frames,
        spikes=sum(part.verdict.spikes for part in parts),
        membranes=sum(part.verdict.membranes for part in parts),
        predicted=sum(part.predicted for part in parts),
        cycles=sum(part.verdict.cycles for part in parts),
        seconds=seconds,
        build_seconds=build_seconds,
        classes=np.concatenate([np.zeros(0, np.int64), *(outcome.classes for outcome in outcomes)]),
        latency=np.concatenate([np.zeros(0, np.int64), *(outcome.cycles.latency for outcome in outcomes)]),
        interval=np.concatenate([np.zeros(0, np.int64), *(outcome.cycles.interval for outcome in outcomes)]),
        notes=notes,
        difference=failed.difference if failed else None,
        fault=fault,
        seen=failed.seen if failed else None,
        shares=tuple(part.begin for part in parts),
        times=Cycles(
            *(
                np.concatenate([np.zeros(0, np.int64), *(getattr(outcome.cycles, name) for outcome in outcomes)])
                for name in ("first_beat", "last_beat", "result")
            )
        ),
    )
