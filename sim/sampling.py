"""Frames and spikes drawn from event rates: input of the timing model if there is no data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import require
from ..quantize.network import Edge, Input, QuantizedNetwork
from .frames import Frames
from .outcome import Trace

LARGEST_PIXEL = 255
SPREAD = 0.35  # standard deviation of the logarithm of a frame's activity: images differ in their numbers of events


def sample(network: QuantizedNetwork, rates: Sequence[np.ndarray], frames: int, seed: int = 0) -> tuple[Frames, Trace]:
    """Draw `frames` frames and the spikes of all populations.

    In each step, every source has an event with the probability given by `rates` (float `[sources]`, events per frame,
    by connection), times a random activity of the frame, the same for all populations. Neurons that no connection
    reads, such as those of a chain's last layer, do not spike, for their rates are not known.

    Returns ------- Frames as the network reads them (uint8; several inputs: a tuple), and a trace with spikes only.
    Their numbers of events are realistic, but the network would not respond to these frames with these spikes.
    """
    number = len(network.edges)
    require(len(rates) == number, "rates", len(rates), f"{number} arrays, one for each connection")
    generator = np.random.default_rng(seed)
    activity = np.exp(SPREAD * generator.standard_normal((frames, 1, 1)))
    activity /= activity.mean()

    def drawn(rate: np.ndarray, steps: int) -> np.ndarray:
        return (generator.random((frames, steps, rate.size)) < rate / steps * activity).astype(np.uint8)

    def given(one: Input) -> np.ndarray:
        _, rate = _source(network, rates, one.name)
        assert rate is not None  # every input is read
        return drawn(rate, 1)[:, 0] * np.uint8(LARGEST_PIXEL) if one.kind == "static" else drawn(rate, network.steps)

    inputs = tuple(given(one) for one in network.inputs)
    spikes = []
    for population in network.populations:
        edge, rate = _source(network, rates, population.name)
        if edge is None or rate is None:
            spikes.append(np.zeros((frames, network.steps, population.neurons), np.uint8))
        else:
            spikes.append(_before_pool(edge, drawn(rate, network.steps)))
    return inputs[0] if len(inputs) == 1 else inputs, Trace(tuple(spikes), ())


def _source(
    network: QuantizedNetwork, rates: Sequence[np.ndarray], name: str
) -> tuple[Edge, np.ndarray] | tuple[None, None]:
    """The connection that tells most of a source, and the events per frame of what it puts out; None if none reads it.

    Best is a connection from it alone, without a pool, without delay. One from several sources tells of their sum, of
    which each has its part. A delay hides the last steps of a frame.
    """
    heard = [pair for pair in zip(network.edges, rates, strict=True) if name in pair[0].connection.sources]
    if not heard:
        return None, None

    def worse(pair: tuple[Edge, np.ndarray]) -> tuple[int, bool, int]:
        connection = pair[0].connection
        return len(connection.sources), connection.pool is not None, connection.delay

    edge, rate = min(heard, key=worse)
    seen = network.steps - (0 if network.stream else edge.connection.delay)
    whole = network.steps / seen if seen > 0 else 0.0
    return edge, rate * (whole / len(edge.connection.sources))


def _before_pool(edge: Edge, events: np.ndarray) -> np.ndarray:
    """Spikes `[frames, steps, neurons]` whose pooled spikes are `events`: the first neuron of each window fires."""
    if edge.pool is None:
        return events
    channels, height, width = edge.pool.output_shape(edge.source_shape)
    size = edge.pool.size
    maps = np.zeros((*events.shape[:2], *edge.source_shape), np.uint8)
    maps[..., : height * size : size, : width * size : size] = events.reshape(
        *events.shape[:2], channels, height, width
    )
    return maps.reshape(*events.shape[:2], -1)
