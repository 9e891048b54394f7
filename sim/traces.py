"""Spikes and membranes of single frames, from the compiled Verilog and from the engine, side by side.

A comparison (`verify.verify`) keeps no traces. So the compiled design runs once more, and here records what it does:
after a difference with the frames and stalls of its share from the beginning, so that it does the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import require
from ..quantize.network import QuantizedNetwork
from ..rtl.mapping import Mapping
from . import engine
from .compare import Difference, used_neurons
from .driving import PATIENCE, RtlOutcome, Run, Stalls
from .frames import Frames, check
from .outcome import Trace
from .verify import Verification
from .verilated import BLOCK, Model, build, text_of

AFTER = 2  # frames sent behind the last one that is recorded, as in the comparison
NAMES = ("spikes", "membranes")  # the fields of a trace
LARGEST = 1 << 28  # bytes of recorded traces: of more, the first frames of a share are left out
STREAM_STEPS = 200  # of a stream that are looked at


@dataclass(frozen=True)
class Traced:
    """One frame, or some steps of a stream, in both machines.

    `first`: the first of the steps of a stream; None of a frame. `expected`: the engine's trace, arrays
    `[steps, neurons]` by population. `got`: that of the Verilog, None if there is none; `why` says why. `built`: bool
    `[neurons]` by population, the neurons that are in hardware: others have no values in `got`.
    """

    frame: int
    expected: Trace
    built: tuple[np.ndarray, ...]
    got: Trace | None = None
    why: str = ""
    first: int | None = None

    @property
    def name(self) -> str:
        """What it is, for a title."""
        if self.first is None:
            return f"frame {self.frame}"
        return f"steps {self.first} to {self.first + self.steps - 1} of the stream"

    @property
    def steps(self) -> int:
        return len(self.expected.membranes[0])

    @property
    def offset(self) -> int:
        """The number of its first step."""
        return self.first or 0

    def own(self, difference: Difference | None) -> Difference | None:
        """`difference` if it is in here, with its step counted from the first one here."""
        if difference is None or self.first is None:
            return difference if difference is not None and difference.frame == self.frame else None
        step = difference.frame - self.first  # a frame of a stream is a step
        return replace(difference, step=step) if 0 <= step < self.steps else None

    @property
    def differing(self) -> tuple[int, int]:
        """Numbers of spikes and of membranes that differ; 0 without `got`."""
        if self.got is None:
            return 0, 0
        spikes, membranes = (
            sum(
                int(np.count_nonzero((a != b)[:, used]))
                for a, b, used in zip(getattr(self.expected, name), getattr(self.got, name), self.built, strict=True)
            )
            for name in NAMES
        )
        return spikes, membranes


def simulated(network: QuantizedNetwork, frames: Frames, chosen: Sequence[int]) -> tuple[Traced, ...]:
    """The frames `chosen` in the engine alone; all neurons count as built."""
    given = check(network, frames)
    built = tuple(np.ones(population.neurons, bool) for population in network.populations)
    found = []
    for frame in chosen:
        trace = engine.run(network, tuple(values[frame : frame + 1] for values in given), trace=True).trace
        found.append(Traced(frame, _first(trace), built))
    return tuple(found)


def window_of(count: int, step: int = 0) -> range:
    """The steps of a stream of `count` that are looked at: as many before `step` as after it."""
    begin = max(0, min(step - STREAM_STEPS // 2, count - STREAM_STEPS))
    return range(begin, min(count, begin + STREAM_STEPS))


def simulated_steps(network: QuantizedNetwork, frames: Frames, window: range) -> Traced:
    """The steps `window` of a stream in the engine alone; all neurons count as built."""
    given = check(network, frames)
    stream = engine.Stream(network, trace=True)
    for begin in range(0, window.start, BLOCK):
        stream.run(tuple(values[begin : min(begin + BLOCK, window.start)] for values in given))
    trace = stream.run(tuple(values[window.start : window.stop] for values in given)).trace
    assert trace is not None
    built = tuple(np.ones(population.neurons, bool) for population in network.populations)
    return Traced(window.start, _by_step(trace, slice(None)), built, first=window.start)


def record_steps(
    mapping: Mapping,
    verilog: str | Path,
    frames: Frames,
    window: range,
    *,
    stalls: Stalls | None = None,
    patience: int = PATIENCE,
    trusted: bool = False,
    quick: bool = False,
    cache: str | Path | None = None,
) -> Traced:
    """The steps `window` of a stream in the engine and in the compiled `verilog`, both from the stream's first step on.

    If the Verilog comes to an end in the window, only the steps before are there.
    """
    given = check(mapping.network, frames)
    one = replace(simulated_steps(mapping.network, given, window), built=_built(mapping))
    neurons = sum(population.neurons for population in mapping.network.populations)
    if window.stop * 5 * neurons > LARGEST:
        return replace(one, why=f"the trace of {window.stop} steps is too large")
    model = build(text_of(verilog), mapping, cache=cache, quick=quick, trusted=trusted)
    if not model.traced:
        return replace(one, why="the Verilog has no trace wires")
    sent = tuple(values[: window.stop + AFTER] for values in given)
    outcome = _recorded(model, sent, stalls or Stalls(), patience)
    came = min(len(outcome.classes), window.stop)
    if came <= window.start:
        return replace(one, why="the Verilog did not come to these steps")
    assert outcome.trace is not None
    expected = Trace(
        *(tuple(v[: came - window.start] for v in part) for part in (one.expected.spikes, one.expected.membranes))
    )
    return replace(one, expected=expected, got=_by_step(outcome.trace, slice(window.start, came)))


def _by_step(trace: Trace, steps: slice) -> Trace:
    """Some steps of the trace of a stream, whose frames have one step each."""
    return Trace(*(tuple(values[steps, 0] for values in part) for part in (trace.spikes, trace.membranes)))


def _built(mapping: Mapping) -> tuple[np.ndarray, ...]:
    return tuple(
        np.isin(np.arange(layer.population.neurons), used_neurons(mapping, layer.index)) for layer in mapping.layers
    )


def record(
    mapping: Mapping,
    verilog: str | Path,
    frames: Frames,
    found: Verification,
    chosen: Sequence[int],
    *,
    stalls: Stalls | None = None,
    patience: int = PATIENCE,
    trusted: bool = False,
    quick: bool = False,
    cache: str | Path | None = None,
) -> tuple[Traced, ...]:
    """The frames `chosen` in the engine and in the compiled `verilog`, which `found` compared with these arguments.

    If the comparison passed, the chosen frames run alone, one after another. Else each runs in its place, behind the
    frames of its share, or as many of these as `LARGEST` allows. Where frames are cancelled, what comes behind the
    deciding step is 0 in both.
    """
    given = check(mapping.network, frames)
    count = len(given[0])
    for frame in chosen:
        require(0 <= frame < count, "frame", frame, f"0 to {count - 1}")
    built = _built(mapping)
    expected = [replace(one, built=built) for one in simulated(mapping.network, frames, chosen)]
    until = [mapping.network.steps] * len(expected)
    if mapping.placement.cancel:
        until = [_decided(one.expected) for one in expected]
        expected = [replace(one, expected=_cut(one.expected, end)) for one, end in zip(expected, until, strict=True)]
    model = build(text_of(verilog), mapping, cache=cache, quick=quick, trusted=trusted)
    if not model.traced:
        return tuple(replace(one, why="the Verilog has no trace wires") for one in expected)
    stalls = stalls or Stalls()
    if found.passed:
        runs = [_Again(list(chosen), list(range(len(chosen))), stalls)] if chosen else []
    else:
        runs = [_in_place(mapping, found, frame, count, stalls) for frame in chosen]
    got: list[Trace | None] = []
    for again in runs:
        outcome = _recorded(model, tuple(values[again.frames] for values in given), again.stalls, patience)
        came = len(outcome.classes)
        got += [_first(outcome.trace, place) if place < came else None for place in again.places]
    return tuple(
        replace(one, got=trace and _cut(trace, end), why="" if trace else "the Verilog did not complete this frame")
        for one, trace, end in zip(expected, got, until, strict=True)
    )


@dataclass(frozen=True)
class _Again:
    """A run: the numbers of its `frames`, and the `places` among them of those that are wanted."""

    frames: list[int]
    places: list[int]
    stalls: Stalls


def _in_place(mapping: Mapping, found: Verification, frame: int, count: int, stalls: Stalls) -> _Again:
    """`frame` behind those of its share, as it was compared."""
    number = int(np.searchsorted(found.shares, frame, side="right")) - 1
    end = (*found.shares, count)[number + 1]
    neurons = sum(population.neurons for population in mapping.network.populations)
    most = max(1, LARGEST // (5 * mapping.network.steps * neurons))
    begin = max(found.shares[number], frame - most + 1)
    numbers = list(range(begin, min(frame + AFTER + 1, end)))
    return _Again(numbers, [frame - begin], stalls.of_part(number))


def _recorded(model: Model, frames: tuple[np.ndarray, ...], stalls: Stalls, patience: int) -> RtlOutcome:
    """What the compiled Verilog does with `frames`, as far as it comes."""
    with Run(model, len(frames[0]), record_trace=True, stalls=stalls, patience=patience) as run:
        for begin in range(0, len(frames[0]), BLOCK):
            if not run.feed(tuple(values[begin : begin + BLOCK] for values in frames)):
                break
        run.finish()
        return run.outcome()


def _first(trace: Trace | None, place: int = 0) -> Trace:
    """The trace of one frame, without the axis of frames."""
    assert trace is not None
    return Trace(*(tuple(values[place] for values in part) for part in (trace.spikes, trace.membranes)))


def _decided(trace: Trace) -> int:
    """Steps of a frame until the first with a spike of the last population, this one included."""
    fired = np.flatnonzero(trace.spikes[-1].any(axis=1))
    return int(fired[0]) + 1 if len(fired) else len(trace.spikes[-1])


def _cut(trace: Trace, end: int) -> Trace:
    """The steps of a frame before `end`; the others are 0."""
    before = np.arange(len(trace.spikes[0]))[:, None] < end
    return Trace(*(tuple(values * before.astype(values.dtype) for values in part) for part in vars(trace).values()))


def save(path: Path, traced: Sequence[Traced]) -> None:
    """Write traces to `path`, a .npz file."""
    arrays: dict[str, Any] = {"frames": np.array([one.frame for one in traced], np.int64)}
    arrays["why"] = np.array([one.why for one in traced], str)
    for number, one in enumerate(traced):
        for machine, trace in (("expected", one.expected), ("got", one.got)):
            for name in NAMES if trace is not None else ():
                for layer, values in enumerate(getattr(trace, name)):
                    arrays[f"{number}.{machine}.{name}.{layer}"] = values
        for layer, built in enumerate(one.built):
            arrays[f"{number}.built.{layer}"] = built
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load(path: Path) -> tuple[Traced, ...]:
    """What `save` wrote. Raises `OSError`, `ValueError` or `KeyError` if the file is missing or damaged."""
    with np.load(path) as arrays:
        layers = len({name for name in arrays if name.startswith("0.built.")})

        def parts(prefix: str) -> tuple[np.ndarray, ...]:
            return tuple(arrays[f"{prefix}.{layer}"] for layer in range(layers))

        return tuple(
            Traced(
                int(frame),
                Trace(*(parts(f"{number}.expected.{name}") for name in NAMES)),
                parts(f"{number}.built"),
                Trace(*(parts(f"{number}.got.{name}") for name in NAMES))
                if f"{number}.got.spikes.0" in arrays
                else None,
                str(why),
            )
            for number, (frame, why) in enumerate(zip(arrays["frames"], arrays["why"], strict=True))
        )
