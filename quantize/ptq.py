"""Post-training quantisation: choose the scales, then round.

Scales are chosen in one of two ways. From the weights alone: each scale minimises the squared rounding error of its
synapses. Or by a search from there: for one layer after another, multiples of its scale are tried, and the one with the
best score of the integer network is kept. The caller gives the score, such as the accuracy of the engine on training
images (never on test images).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..bits import signed_range
from ..errors import UserError
from .fold import FloatNetwork
from .network import QuantizedNetwork
from .rounding import Formats, assemble, round_layer, round_weight, smallest_scales, source_values

Score = Callable[[QuantizedNetwork], float]
Scales = tuple[np.ndarray, ...]  # float64 [1] or [out], one for each layer

WIDEST = 1.5  # largest scale tried, relative to the one at which nothing is clipped
FACTORS = tuple(float(f) for f in np.round(np.geomspace(0.5, 2.0, 25), 4))


def quantize(
    network: FloatNetwork,
    formats: Formats = Formats(),  # noqa: B008 (frozen)
    score: Score | None = None,
    *,
    factors: Sequence[float] = FACTORS,
    rounds: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> QuantizedNetwork:
    """Quantise a folded network.

    Without `score` the scales are those of `weight_scales`. With it, `rounds` passes over the layers, last layer
    first, try `factors` of each scale and keep the best score (the smallest change where scores tie). `progress` is
    called with the number of networks scored so far and in all.

    Raises
    ------
    UserError
        The formats do not fit the network, or a number reaches 2^30.
    """
    scales = weight_scales(network, formats)
    if score is None:
        return at_scales(network, formats, scales)
    best, total, done = -np.inf, rounds * len(scales) * len(factors), 0
    order = sorted(factors, key=lambda factor: abs(np.log(factor)))
    for _ in range(rounds):
        for index in reversed(range(len(scales))):
            start = scales
            for factor in order:
                trial = (*start[:index], start[index] * factor, *start[index + 1 :])
                rounded = _fitting(network, formats, trial)
                if rounded is not None and (found := score(rounded)) > best:
                    best, scales = found, trial
                done += 1
                if progress:
                    progress(done, total)
    return at_scales(network, formats, scales)


def at_scales(network: FloatNetwork, formats: Formats, scales: Scales) -> QuantizedNetwork:
    """The network rounded at `scales`."""
    bits, values = formats.bits_of(network), source_values(network, formats)
    integers = [
        round_layer(layer, scale, b, value, formats)
        for layer, scale, b, value in zip(network.layers, scales, bits, values, strict=True)
    ]
    return assemble(network, formats, integers, {"scales": [scale.tolist() for scale in scales]})


def _fitting(network: FloatNetwork, formats: Formats, scales: Scales) -> QuantizedNetwork | None:
    """The network rounded at `scales`; None if a number reaches 2^30."""
    try:
        return at_scales(network, formats, scales)
    except UserError:
        return None


def weight_scales(network: FloatNetwork, formats: Formats) -> Scales:
    """For each layer, the scale `[1]`, or scales `[out]`, of least squared rounding error over its synapses.

    A channel that is switched off (all its weights are zero, or so small that its threshold or bias would reach
    2^30) has the scale of its whole layer, at which its weights are rounded to zero.
    """
    scales = []
    values = source_values(network, formats)
    for layer, bits, value in zip(network.layers, formats.bits_of(network), values, strict=True):
        whole = _least_error(layer.weight.ravel(), bits)
        if formats.per_channel:
            rows = layer.weight.reshape(layer.channels, -1)
            smallest = smallest_scales(layer, value, formats)
            scales.append(np.array([_of_channel(*pair, bits, whole) for pair in zip(rows, smallest, strict=True)]))
        else:
            scales.append(np.array([whole]))
    return tuple(scales)


def _of_channel(weight: np.ndarray, smallest: float, bits: int, whole: float) -> float:
    """The scale of one channel, `whole` if its own would be below the `smallest` that its threshold and bias allow."""
    if np.abs(weight).max() * WIDEST <= smallest * signed_range(bits)[1]:
        return whole
    found = _least_error(weight, bits)
    return found if found > smallest else whole


def _least_error(weight: np.ndarray, bits: int) -> float:
    """The scale of least rounding error of `weight`, on a fine grid around the one at which nothing is clipped."""
    weight = weight[weight != 0]
    largest = float(np.abs(weight).max()) / signed_range(bits)[1]
    candidates = largest * np.linspace(0.2, WIDEST, 131)
    errors = [np.square(round_weight(weight[None], np.array([s]), bits) * s - weight).sum() for s in candidates]
    return float(candidates[int(np.argmin(errors))])
