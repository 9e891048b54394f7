"""Frames and spikes drawn from event rates: input of the timing model if there is no data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..quantize.network import Layer, QuantizedNetwork
from .outcome import Trace

LARGEST_PIXEL = 255
SPREAD = 0.35  # standard deviation of the logarithm of a frame's activity: images differ in their numbers of events


def sample(
    network: QuantizedNetwork, rates: Sequence[np.ndarray], frames: int, seed: int = 0
) -> tuple[np.ndarray, Trace]:
    """Draw `frames` frames and the spikes of all layers.

    In each step, every source has an event with the probability given by `rates` (float `[sources]`, events per frame,
    by layer), times a random activity of the frame, the same for all layers. Neurons of the last layer, whose rates are
    not known, do not spike.

    Returns ------- Frames as the network reads them (uint8), and a trace with spikes only. Their numbers of events are
    realistic, but the network would not respond to these frames with these spikes.
    """
    generator = np.random.default_rng(seed)
    activity = np.exp(SPREAD * generator.standard_normal((frames, 1, 1)))
    activity /= activity.mean()

    def drawn(rate: np.ndarray, steps: int) -> np.ndarray:
        return (generator.random((frames, steps, rate.size)) < rate / steps * activity).astype(np.uint8)

    held = network.input.kind == "static"
    given = drawn(rates[0], 1)[:, 0] * np.uint8(LARGEST_PIXEL) if held else drawn(rates[0], network.steps)
    spikes = [
        _before_pool(layer, drawn(rate, network.steps))
        for layer, rate in zip(network.layers[:-1], rates[1:], strict=True)
    ]
    spikes.append(np.zeros((frames, network.steps, network.layers[-1].neurons), np.uint8))
    return given, Trace(tuple(spikes), ())


def _before_pool(layer: Layer, events: np.ndarray) -> np.ndarray:
    """Spikes `[frames, steps, neurons]` whose pooled spikes are `events`: the first neuron of each window fires."""
    if layer.pool is None:
        return events
    channels, height, width = layer.output_shape
    size = layer.pool.size
    maps = np.zeros((*events.shape[:2], *layer.shape), np.uint8)
    maps[..., : height * size : size, : width * size : size] = events.reshape(
        *events.shape[:2], channels, height, width
    )
    return maps.reshape(*events.shape[:2], -1)
