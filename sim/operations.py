"""Counts of events and synaptic operations of every frame, layer and step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..quantize.network import Layer, QuantizedNetwork
from . import engine, geometry
from .outcome import Trace


@dataclass(frozen=True)
class Operations:
    """Counts by layer: `events[l]` and `synaptic[l]` are int64 `[frames, steps]`.

    An event is a nonzero pixel, or a spike that arrives; a graded event is one event, whatever its count, as it is one
    multiplication for each synapse in the hardware. A spike of a max pool's window arrives once for the window,
    in an average pool every spike arrives. A synaptic operation is one event at one nonzero synapse. A first layer
    that reads static pixels adds them up once a frame: its arrays are `[frames, 1]`.
    """

    events: tuple[np.ndarray, ...]
    synaptic: tuple[np.ndarray, ...]

    @property
    def synaptic_per_frame(self) -> float:
        """Mean synaptic operations per frame, all layers."""
        return float(sum(s.sum(axis=1).mean() for s in self.synaptic))


def count(network: QuantizedNetwork, frames: np.ndarray, *, threads: int | None = None) -> Operations:
    """Run `frames` (see `engine.run`) in blocks and count."""
    fan_outs = [geometry.fan_out(layer) for layer in network.layers]
    events: list[list[np.ndarray]] = [[] for _ in network.layers]
    synaptic: list[list[np.ndarray]] = [[] for _ in network.layers]
    for part, outcome in engine.blocks(network, frames, trace="spikes", threads=threads):
        assert outcome.trace is not None
        for index, values in enumerate(inputs(network, frames[part], outcome.trace)):
            weighty = values != 0 if index == 0 else values
            events[index].append(weighty.sum(axis=2, dtype=np.int64))
            synaptic[index].append(
                np.array([frame @ fan_outs[index] for frame in weighty])
            )  # frame by frame, without a wide copy of all
    return Operations(tuple(map(_join, events)), tuple(map(_join, synaptic)))


def source_rates(network: QuantizedNetwork, frames: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean events per frame of each source of each layer: float `[sources]`, by layer."""
    totals = [np.zeros(layer.sources) for layer in network.layers]
    for part, outcome in engine.blocks(network, frames, trace="spikes"):
        assert outcome.trace is not None
        for total, values in zip(totals, inputs(network, frames[part], outcome.trace), strict=True):
            total += (values != 0).sum(axis=(0, 1))
    return tuple(total / len(frames) for total in totals)


def inputs(network: QuantizedNetwork, frames: np.ndarray, trace: Trace) -> tuple[np.ndarray, ...]:
    """The input of each layer in the run of `frames` with this `trace`: `[frames, steps, sources]`, by layer.

    uint8 for pixels (`[frames, 1, sources]`), spikes and max pools, int64 numbers of spikes for average pools.
    """
    is_static = network.input.kind == "static"
    found = [network.input.seen(frames)[:, None] if is_static else frames]
    for layer, spikes in zip(network.layers[:-1], trace.spikes, strict=False):
        found.append(spikes if layer.pool is None else pooled(layer, spikes))
    return tuple(found)


def pooled(layer: Layer, spikes: np.ndarray) -> np.ndarray:
    """A layer's `spikes` `[frames, steps, neurons]` after pooling: `[frames, steps, pooled sources]`.

    Max pool: the OR of each window, with the type of `spikes`. Average pool: int64 numbers of spikes.
    """
    assert layer.pool is not None
    channels, height, width = layer.output_shape
    size = layer.pool.size
    maps = spikes.reshape(*spikes.shape[:2], *layer.shape)[..., : height * size, : width * size]
    windows = maps.reshape(*spikes.shape[:2], channels, height, size, width, size)
    joined = windows.max(axis=(4, 6)) if layer.pool.kind == "max" else windows.sum(axis=(4, 6), dtype=np.int64)
    return joined.reshape(*spikes.shape[:2], -1)


def _join(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.int64)
