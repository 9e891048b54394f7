"""Comparison of Verilog with its network: every spike, membrane, sum, class and cycle, frame by frame."""

from __future__ import annotations

import functools
import operator
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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
from .outcome import Outcome, Trace
from .pieces import FRAMES, TIMES, Log, Piece
from .sound import Sound
from .timing.microphone import predict_sound
from .timing.predict import Cycles, predict
from .verilated import BLOCK, Model, build, text_of

FED_BYTES = 1 << 25  # handed to a driver at a time


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
    in cycles of their driver. Nothing counts that is behind the share with a difference or a fault.
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
    def piece(self) -> Piece:
        verdict, cycles = self.verdict, self.outcome.cycles
        return Piece(
            self.begin, verdict.spikes, verdict.membranes, self.predicted, verdict.cycles, verdict.walls,
            self.outcome.classes, *(getattr(cycles, name) for name in TIMES),
        )  # fmt: skip

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
    resumed: Callable[[int], None] | None = None,
    log: Path | None = None,
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
    log
        Compare pieces of `pieces.FRAMES` frames, each from reset, and keep what they give in this file. Pieces that it
        holds already are not compared again; `resumed` is called with the number of their frames, if there are any. The
        model is compiled for a long run.
        Not for streams, whose state goes on from step to step.
    trusted
        The Verilog may run commands and access files, and is not confined (docs/security.md).

    Raises `UserError` for frames that do not fit, a digest of another network, or Verilog that Verilator refuses.
    """
    require(jobs >= 1, "jobs", jobs, "at least 1")
    stream = mapping.network.stream
    require(log is None or not stream, "log", log, "left out for a stream, which cannot be cut into pieces")
    sound = frames if isinstance(frames, Sound) else None
    given = check(mapping.network, frames.counts if isinstance(frames, Sound) else frames)
    count = len(given[0])
    require(count >= 1, "frames", count, "at least 1")
    text = text_of(verilog)
    notes = check_header(text, mapping, None if sound is None else sound.settings)
    ours = not notes
    stalls = stalls or Stalls()
    if log is None:
        cuts = np.array_split(np.arange(count), 1 if stream else jobs)
        shares = [slice(int(cut[0]), int(cut[-1]) + 1) for cut in cuts if len(cut)]
    else:
        shares = [slice(begin, min(begin + FRAMES, count)) for begin in range(0, count, FRAMES)]
    known: dict[int, Piece] = {}
    start = time.perf_counter()
    with ExitStack() as stack:
        kept = None
        if log is not None:  # before the build, which takes longer
            made_from = {"verilog": text, "mapping": mapping.digest, "stalls": repr(stalls), "apart": apart}
            made_from["trusted"] = trusted if model is None else model.trusted
            kept = stack.enter_context(Log(log, made_from))
            found = {number: kept.find(given, share.start, share.stop) for number, share in enumerate(shares)}
            known = {number: piece for number, piece in found.items() if piece is not None}
        if frames_known := sum(len(piece.classes) for piece in known.values()):
            notes += (f"{frames_known} frames were compared by earlier runs, whose results are in {log}",)
            if resumed is not None:
                resumed(frames_known)
        began = time.perf_counter()
        long = log is not None and not quick
        model = model or build(
            text, mapping, cache=cache, quick=quick, long=long, trusted=trusted, sound=sound is not None
        )
        build_seconds = time.perf_counter() - began
        if not model.traced:
            notes += ("the Verilog has no trace wires (core<l>.fire_*): results alone are compared",)
        task = _Task(model, given, stalls, apart, patience, ours, progress, sound, kept)
        todo = [number for number in range(len(shares)) if number not in known]
        pool = stack.enter_context(ThreadPoolExecutor(max(1, min(jobs, len(todo)))))
        try:
            parts = list(pool.map(task.run, todo, [shares[number] for number in todo]))
        finally:
            task.first_failed = min(task.first_failed, -1)  # after an error or an interruption, the others stop
    done = [part for part in parts if part is not None]
    known |= {part.number: part.piece for part in done}
    failed = next((part for part in done if part.failed), None)
    last = len(shares) if failed is None else failed.number  # of others, later frames came back or did not by chance
    pieces = [known[number] for number in sorted(known) if number <= last]
    if not model.trusted:
        walls = functools.reduce(operator.and_, (piece.walls for piece in pieces if piece.walls), ~0)
        notes += missing_walls(walls)
    begins = tuple(share.start for share in shares)
    return _merged(pieces, failed, count, begins, notes, time.perf_counter() - start, build_seconds)


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
        log: Log | None,
    ):
        self.log = log
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

    def run(self, number: int, share: slice) -> _Part | None:
        """Drive the frames `share`, the engine a block ahead; None if stopped early."""
        if self.first_failed < number:
            return None
        network, begin = self.model.mapping.network, share.start
        frames = tuple(values[share] for values in self.frames)
        stalls = self.stalls.of_part(number)
        size = min(BLOCK, engine.block_size(network, True))
        results: list[Outcome] = []
        events: list[tuple[Events, ...]] = []
        with Run(
            self.model,
            share.stop - begin,
            first=begin,
            compare=self.model.traced,
            handshakes=self.timed and not stalls.none,
            beats=None if self.sound is None else self.sound.settings.step,
            stalls=stalls,
            apart=self.apart,
            patience=self.patience,
        ) as run:
            for part, outcome in engine.blocks(network, frames, size=size, threads=1):
                block = tuple(values[part] for values in frames)
                if not self._feed(run, block, part, outcome, number):
                    if self.first_failed < number:
                        return None
                    break
                results.append(Outcome(outcome.decided, outcome.counts))
                if self.timed:
                    assert outcome.trace is not None
                    with self.lock:
                        events.append(events_of(self.model.mapping, block, outcome.trace))
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
        elif self.log is not None and len(got.classes) == share.stop - begin:
            self.log.add(self.frames, part_done.piece)
        return part_done

    def _feed(self, run: Run, block: tuple[np.ndarray, ...], part: slice, outcome: Outcome, number: int) -> bool:
        """Send the frames of `block`, or the samples of its steps, a few at a time; False: the run is over."""
        assert outcome.trace is not None
        count = len(block[0])
        bytes_each = 5 * sum(spikes[0].size for spikes in outcome.trace.spikes)
        few = max(1, FED_BYTES // max(1, bytes_each))
        for begin in range(0, count, few):
            if self.first_failed < number:
                return False
            some = slice(begin, min(begin + few, count))
            expected = _some(outcome, some)
            if self.sound is None:
                going = run.feed(tuple(values[some] for values in block), expected)
            else:
                going = run.feed_sound(self.sound.words[part][some], expected)
            if not going:
                return False
            if self.progress is not None:
                with self.lock:
                    self.progress(some.stop - some.start)
        return True

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


def _some(outcome: Outcome, frames: slice) -> Outcome:
    """`frames` of a traced outcome."""
    assert outcome.trace is not None
    spikes, membranes = outcome.trace.spikes, outcome.trace.membranes
    trace = Trace(tuple(values[frames] for values in spikes), tuple(values[frames] for values in membranes))
    return Outcome(outcome.decided[frames], outcome.counts[frames], trace)


def _joined(blocks: tuple[Events, ...]) -> Events:
    """Events of consecutive blocks of frames."""
    return Events(np.concatenate([b.counts for b in blocks]), np.concatenate([b.addresses for b in blocks]))


def _merged(
    pieces: list[Piece],
    failed: _Part | None,
    asked: int,
    begins: tuple[int, ...],
    notes: tuple[str, ...],
    seconds: float,
    build_seconds: float,
) -> Verification:
    """The result of all pieces up to `failed`, the earliest one with a difference or a fault."""
    frames = sum(len(piece.classes) for piece in pieces)
    fault = failed.fault if failed and failed.difference is None else None
    if failed is None and frames != asked:
        fault = f"{frames} of {asked} frames came back"
    nothing = np.zeros(0, np.int64)
    times = [Cycles(*(getattr(piece, name) for name in TIMES)) for piece in pieces]

    def joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate([nothing, *arrays])

    return Verification(
        frames=frames,
        spikes=sum(piece.spikes for piece in pieces),
        membranes=sum(piece.membranes for piece in pieces),
        predicted=sum(piece.predicted for piece in pieces),
        cycles=sum(piece.cycles for piece in pieces),
        seconds=seconds,
        build_seconds=build_seconds,
        classes=joined(piece.classes for piece in pieces),
        latency=joined(each.latency for each in times),
        interval=joined(each.interval for each in times),
        notes=notes,
        difference=failed.difference if failed else None,
        fault=fault,
        seen=failed.seen if failed else None,
        shares=begins,
        times=Cycles(*(joined(getattr(each, name) for each in times) for name in TIMES)),
    )
