"""The events of a run in the order in which the accelerator's serialisers see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from ..model.errors import require
from ..quantize.network import PIXEL_BITS
from ..rtl.mapping import Mapping
from .operations import pooled
from .outcome import Trace


@dataclass(frozen=True)
class Events:
    """Events of one serialiser, row after row.

    `counts` is uint16 `[frames, steps, rows]`, how many events each row has; `addresses` int32 `[sum of counts]`
    names them in order.
    """

    counts: np.ndarray
    addresses: np.ndarray


def events_of(mapping: Mapping, frames: np.ndarray, trace: Trace) -> tuple[Events, ...]:
    """Events into every core, and out of the last: the input's, then each layer's.

    `frames` is what the engine ran (uint8), `trace` its spikes. Static input has one step of `beats` rows; spike
    input has one row of addresses a step.
    """
    require(len(trace.spikes) == len(mapping.layers), "trace layers", len(trace.spikes), f"{len(mapping.layers)}")
    found = [_input_events(mapping, frames)]
    for layer, spikes in zip(mapping.layers, trace.spikes, strict=True):
        if not layer.layer.neuron.spiking:
            spikes = np.zeros_like(spikes)
            spikes[:, -1] = 1  # a membrane read-out sends every membrane after the last step
        if layer.scan.joined:
            spikes = pooled(layer.layer, spikes)
        addresses = layer.scan.outputs[:, None] << layer.lane_bits | np.arange(layer.pes)
        found.append(_packed(spikes, layer.emitted, addresses))
    return tuple(found)


def _input_events(mapping: Mapping, frames: np.ndarray) -> Events:
    given = mapping.network.input
    if given.kind == "spikes":
        sources = np.arange(frames.shape[2])[None, :]
        return _packed(frames, sources, sources)
    lanes, beats = mapping.pixels_a_beat, mapping.beats
    slots = np.full(beats * lanes, -1, dtype=np.int64)
    slots[: frames.shape[1]] = np.arange(frames.shape[1])
    return _packed(
        (frames >> (PIXEL_BITS - given.bits))[:, None, :],
        slots.reshape(beats, lanes),
        np.arange(slots.size).reshape(beats, lanes),
    )


def _packed(values: np.ndarray, slots: np.ndarray, addresses: np.ndarray) -> Events:
    """Non-zero `values` `[frames, steps, n]` at `slots` `[rows, places]`, called `addresses` `[rows, places]`."""
    values = np.ascontiguousarray(values)
    slots = np.ascontiguousarray(slots)
    counts = _count(values, slots)
    starts = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(counts.sum(axis=(1, 2), dtype=np.int64), out=starts[1:])
    return Events(counts, _fill(values, slots, addresses.astype(np.int32), starts))


@njit(cache=True, parallel=True)
def _count(values, slots):
    frames, steps, _ = values.shape
    rows, places = slots.shape
    counts = np.zeros((frames, steps, rows), np.uint16)
    for n in prange(frames):
        for t in range(steps):
            seen = values[n, t]
            for r in range(rows):
                total = 0
                for p in range(places):
                    i = slots[r, p]
                    total += i >= 0 and seen[i] != 0
                counts[n, t, r] = total
    return counts


@njit(cache=True, parallel=True)
def _fill(values, slots, names, starts):
    frames, steps, _ = values.shape
    rows, places = slots.shape
    addresses = np.empty(starts[-1], np.int32)
    for n in prange(frames):
        at = starts[n]
        for t in range(steps):
            seen = values[n, t]
            for r in range(rows):
                for p in range(places):
                    i = slots[r, p]
                    if i >= 0 and seen[i] != 0:
                        addresses[at] = names[r, p]
                        at += 1
    return addresses
