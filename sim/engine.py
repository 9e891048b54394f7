"""The fast simulator: equal to `reference` bit for bit, compiled, on all cores, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np

from ..errors import require
from ..quantize.network import QuantizedNetwork
from . import kernels
from .frames import Frames, check
from .outcome import Outcome, Trace, decided
from .program import compile_network

BLOCK_BYTES = 1 << 28

Tracing = bool | Literal["spikes"]


def run(network: QuantizedNetwork, frames: Frames, *, trace: Tracing = False, threads: int | None = None) -> Outcome:
    """Run `frames`, uint8 `[n, sources]` (static) or `[n, steps, sources]` (spikes, graded); one array for each input.

    Of a stream (`QuantizedNetwork.streamed`) the steps `[n, 1, sources]` follow each other, from its beginning.
    Memory beyond frames and results does not grow with `n`. A trace takes 5 bytes per neuron, step and frame: use
    `blocks` for many frames. `trace="spikes"` omits the membranes: a fifth of the memory, and faster. `threads`: None
    for one per core that this process may use. Raises `UserError` for frames that do not fit the network.
    """
    if network.stream:
        return Stream(network, trace=trace).run(frames)
    given = check(network, frames)
    threads = threads or len(os.sched_getaffinity(0))
    require(threads >= 1, "threads", threads, "at least 1")
    program = compile_network(network, membranes=trace is True)
    count, neurons = len(given[0]), program.neurons.size
    static = [one.kind == "static" for one in network.inputs]
    held = _joined([values[:, None] for values, is_held in zip(given, static, strict=True) if is_held], count)
    by_step = _joined([values for values, is_held in zip(given, static, strict=True) if not is_held], count)
    sums = np.zeros((count, program.sums), np.int64)
    full, nothing = (count, network.steps, neurons), (0, 0, 0)
    spikes = np.empty(full if trace else nothing, np.uint8)
    membranes = np.empty(full if trace is True else nothing, np.int32)
    claimed = np.zeros(1, np.int64)

    def work() -> None:
        kernels.run_blocks(program, held, by_step, claimed, sums, spikes, membranes)

    others = min(threads, -(-count // kernels.LANES)) - 1
    with ThreadPoolExecutor(max(1, others)) as pool:
        running = [pool.submit(work) for _ in range(others)]
        work()
        for thread in running:
            thread.result()
    return _outcome(network, sums, spikes, membranes)


class Stream:
    """A stream (`QuantizedNetwork.streamed`) whose state is kept between calls of `run`. `trace`: see `run`."""

    def __init__(self, network: QuantizedNetwork, *, trace: Tracing = False):
        require(network.stream, "network", "one with frames", "a stream: network.streamed")
        self.network = network
        self.trace = trace
        self.steps = 0  # so far
        self._program = compile_network(network, membranes=True)
        self._block = kernels.new_block(self._program, bool(trace))

    def run(self, frames: Frames) -> Outcome:
        """The next steps, uint8 `[n, 1, sources]`; one array for each input.

        Raises `UserError` for steps that do not fit the network.
        """
        given = check(self.network, frames)
        count, neurons = len(given[0]), self._program.neurons.size
        stacked = np.ascontiguousarray(_joined(list(given), count)[:, 0])[None]
        sums = np.zeros((count, self._program.sums), np.int64)
        full, nothing = (1, count, neurons), (0, 0, 0)
        spikes = np.empty(full if self.trace else nothing, np.uint8)
        membranes = np.empty(full if self.trace is True else nothing, np.int32)
        kernels.run_steps(self._program, self._block, self.steps, stacked, sums, spikes, membranes)
        self.steps += count
        by_step = [part.reshape(count, 1, neurons) if part.shape == full else part for part in (spikes, membranes)]
        return _outcome(self.network, sums, *by_step)

    def restart(self) -> None:
        """The next step is the first one of a stream."""
        self.steps = 0


def _outcome(network: QuantizedNetwork, sums: np.ndarray, spikes: np.ndarray, membranes: np.ndarray) -> Outcome:
    """Results by frame; a trace, if there are spikes or membranes `[frames, steps, neurons]` of all populations."""
    found = None
    if spikes.shape[2]:
        ends = np.cumsum([population.neurons for population in network.populations])[:-1]
        parts = [tuple(np.split(part, ends, axis=2)) if part.shape[2] else () for part in (spikes, membranes)]
        found = Trace(*parts)
    return Outcome(decided(sums, network.classes_of), sums, found)


def _joined(frames: list[np.ndarray], count: int) -> np.ndarray:
    """Frames of several inputs side by side, contiguous; of none, `count` empty ones."""
    if not frames:
        return np.empty((count, 0, 0), np.uint8)
    return np.ascontiguousarray(frames[0] if len(frames) == 1 else np.concatenate(frames, axis=2))


def block_size(network: QuantizedNetwork, trace: Tracing) -> int:
    """Frames whose trace fits `BLOCK_BYTES`, `LANES` at least."""
    width = {False: 0, "spikes": 1, True: 5}[trace] * sum(population.neurons for population in network.populations)
    return max(1, BLOCK_BYTES // (max(1, network.steps * width) * kernels.LANES)) * kernels.LANES


def blocks(
    network: QuantizedNetwork,
    frames: Frames,
    *,
    size: int | None = None,
    trace: Tracing = True,
    threads: int | None = None,
) -> Iterator[tuple[slice, Outcome]]:
    """Outcomes of `size` frames at a time, with the slice of `frames` they belong to.

    `size`: None for as many as fit a trace of `BLOCK_BYTES`, `LANES` at least.
    """
    given = check(network, frames)
    stream = Stream(network, trace=trace) if network.stream else None
    size = size or block_size(network, trace)
    for begin in range(0, len(given[0]), size):
        part = slice(begin, min(begin + size, len(given[0])))
        block = tuple(values[part] for values in given)
        yield part, stream.run(block) if stream else run(network, block, trace=trace, threads=threads)
