"""The events of a run in the order in which the accelerator's serialisers see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..compiled import kernel
from ..errors import require
from ..quantize.network import Pool
from ..rtl.mapping import Mapping
from .frames import Frames
from .operations import pooled
from .outcome import Trace

LARGEST = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Events:
    """Events of one serialiser, row after row.

    `counts` is uint32 `[frames, steps, rows]`, the number of events of each row. `addresses` is int32
    `[sum of counts]`, their addresses in order.
    """

    counts: np.ndarray
    addresses: np.ndarray


def events_of(mapping: Mapping, frames: Frames, trace: Trace) -> tuple[Events, ...]:
    """Events of the input, then of every core: by each of its ways (`LayerMapping.outgoing`), for `Mapping.stream`.

    `frames` is what the engine ran (uint8), `trace` its spikes. Static input has one step of `beats` rows; spike
    input has one row of addresses per step; of static inputs beside others, the pixels come in a step before these.
    """
    require(len(trace.spikes) == len(mapping.layers), "trace layers", len(trace.spikes), f"{len(mapping.layers)}")
    found = [_input_events(mapping, mapping.input.stacked(frames))]
    for layer, spikes in zip(mapping.layers, trace.spikes, strict=True):
        if layer.every_step:
            spikes = np.ones_like(spikes)
        elif not layer.population.neuron.spiking:
            spikes = np.zeros_like(spikes)
            spikes[:, -1] = 1  # a membrane read-out sends every membrane after the last step
        for way, outgoing in enumerate(layer.outgoing):
            values = spikes
            if outgoing.joined:
                values = pooled(Pool("max", outgoing.size), spikes, layer.population.shape)
            addresses = outgoing.outputs[:, None] << layer.lane_bits | np.arange(layer.pes)
            found.append(_packed(values, layer.emitted(way), addresses))
    return tuple(found)


def _input_events(mapping: Mapping, frames: np.ndarray) -> Events:
    given = mapping.input
    if given.kind != "static":
        sources = np.arange(frames.shape[2])[None, :]
        return _packed(given.seen(frames), sources, sources)
    lanes, beats = mapping.pixels_a_beat, mapping.beats
    slots = np.full(beats * lanes, -1, dtype=np.int64)
    slots[: frames.shape[1]] = np.arange(frames.shape[1])
    return _packed(
        given.seen(frames)[:, None, :],
        slots.reshape(beats, lanes),
        np.arange(slots.size).reshape(beats, lanes),
    )


def _packed(values: np.ndarray, slots: np.ndarray, addresses: np.ndarray) -> Events:
    """Non-zero `values` `[frames, steps, n]` at `slots` `[rows, places]`, called `addresses` `[rows, places]`."""
    values = np.ascontiguousarray(values)
    used = slots >= 0
    largest = max(int(addresses.max(initial=0)), values.shape[2])
    require(largest <= LARGEST, "largest event address", largest, f"at most {LARGEST}")
    uses = np.bincount(slots[used], minlength=values.shape[2])
    assert uses.max(initial=0) <= 1, "a value has at most one slot: no more events in a step than values"
    uses = uses.astype(np.uint8)
    starts = _sums(_totals(values, uses))
    counts = np.empty((*values.shape[:2], len(slots)), np.uint32)
    names = np.empty(int(starts[-1]) + 1, np.int32)  # one element more: see `_fill`
    _fill(
        values, slots[used].astype(np.uint32), addresses[used].astype(np.int32), _sums(used.sum(axis=1)), starts,
        counts, names,
    )  # fmt: skip
    return Events(counts, names[:-1])


def _sums(lengths: np.ndarray) -> np.ndarray:
    """The start of each of several parts, and the end of the last.

    Unsigned, so that loops need no check for negative indices.
    """
    return np.concatenate([[0], lengths.cumsum()]).astype(np.uint64)


@kernel
def _totals(values, uses):
    """Events of each frame: int64 `[frames]`.

    A non-zero value gives one event in each of its slots; `uses` counts them.
    """
    totals = np.zeros(len(values), np.int64)
    for n in range(len(values)):
        for t in range(values.shape[1]):
            seen = values[n, t]
            total = np.uint32(0)
            for i in range(len(seen)):
                total += np.uint32(uses[i] if seen[i] else 0)
            totals[n] += total
    return totals


@kernel
def _fill(values, slots, addresses, rows, starts, counts, names):
    """Fill `counts` and `names`: row `r` has slots `rows[r]..rows[r + 1]`, frame `n` its events from `starts[n]` on.

    The address of every slot is written, and overwritten by the next one if there was no event: so no branch depends on
    spikes.
    """
    for n in range(len(values)):
        at = starts[n]
        for t in range(values.shape[1]):
            seen = values[n, t]
            for r in range(len(rows) - 1):
                before = at
                for k in range(rows[r], rows[r + 1]):
                    names[at] = addresses[k]
                    at += np.uint64(seen[slots[k]] != 0)
                counts[n, t, r] = at - before
