"""Flat indices of the sources, synapses and pooled spikes of a layer, or of a connection.

It reads a buffer with its sources and the zero padding around them.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..quantize.network import Conv, Edge, Layer, Pool

NOWHERE = -1  # index of a spike that a pool drops at the border


def padded(layer: Layer | Edge) -> tuple[int, ...]:
    """Shape of a layer's sources with the zero padding around them."""
    if not isinstance(layer.synapses, Conv):
        return (layer.sources,)
    channels, height, width = layer.input_shape
    vertical, horizontal = layer.synapses.padding
    return channels, height + 2 * vertical, width + 2 * horizontal


def places(layer: Layer | Edge) -> np.ndarray:
    """Index of each source of `layer` in its padded sources: int32 `[sources]`."""
    index = np.arange(prod(padded(layer)), dtype=np.int32)
    if not isinstance(layer.synapses, Conv):
        return index
    _, height, width = layer.input_shape
    vertical, horizontal = layer.synapses.padding
    inner = index.reshape(padded(layer))[:, vertical : vertical + height, horizontal : horizontal + width]
    return inner.ravel()


def synapses(layer: Layer | Edge) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets, weights and their number for each channel, without zeros, in the order of the sources."""
    weight = layer.synapses.weight
    flat = weight.reshape(weight.shape[0], -1)
    channel, column = flat.nonzero()
    offset = column
    if isinstance(layer.synapses, Conv):
        source, row, along = np.unravel_index(column, weight.shape[1:])
        _, height, width = padded(layer)
        offset = (source * height + row) * width + along
    return offset.astype(np.int32), flat[channel, column], np.bincount(channel, minlength=weight.shape[0])


def origins(layer: Layer | Edge) -> np.ndarray:
    """The number that each position of a channel adds to the offsets: int32 `[positions]`."""
    if not isinstance(layer.synapses, Conv):
        return np.zeros(1, np.int32)
    _, height, width = layer.shape
    vertical, horizontal = layer.synapses.stride
    row = np.arange(height, dtype=np.int32)[:, None] * vertical
    along = np.arange(width, dtype=np.int32)[None, :] * horizontal
    return (row * padded(layer)[2] + along).ravel()


def fan_out(layer: Layer | Edge) -> np.ndarray:
    """Number of synapses of each source of `layer`, without those beyond the border: int64 `[sources]`."""
    reached = np.zeros(prod(padded(layer)), np.int64)
    where = origins(layer)
    offsets, number = np.unique(synapses(layer)[0], return_counts=True)
    for offset, count in zip(offsets, number, strict=True):
        reached[offset + where] += count
    return reached[places(layer)]


def pooled(pool: Pool, shape: tuple[int, ...]) -> np.ndarray:
    """The pooled source of each neuron of maps of `shape`, -1 at a border that fills no window: int32."""
    channels, height, width = pool.output_shape(shape)
    target = np.full(shape, NOWHERE, np.int32)
    index = np.arange(channels * height * width, dtype=np.int32).reshape(channels, height, width)
    target[:, : height * pool.size, : width * pool.size] = index.repeat(pool.size, 1).repeat(pool.size, 2)
    return target.ravel()
