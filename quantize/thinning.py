"""A limit on the connectivity before quantisation: the weights smallest in units of their scale are removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import require
from .fold import FloatNetwork
from .ptq import weight_scales
from .rounding import Formats


def thinned(network: FloatNetwork, formats: Formats, connectivity: float) -> FloatNetwork:
    """`network` with at most the fraction `connectivity` of its weights: those largest in units of their scale.

    Raises
    ------
    UserError
        A layer would lose all its synapses.
    """
    require(0 < connectivity <= 1, "connectivity", connectivity, "above 0, at most 1")
    steps = [
        np.abs(layer.weight) / scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
        for layer, scale in zip(network.layers, weight_scales(network, formats), strict=True)
    ]
    every = np.concatenate([values.ravel() for values in steps])
    allowed = int(connectivity * every.size)
    if np.count_nonzero(every) <= allowed:
        return network
    chosen = np.zeros(every.size, dtype=bool)
    chosen[np.argsort(-every, kind="stable")[:allowed]] = True
    parts = np.split(chosen, np.cumsum([values.size for values in steps])[:-1])
    layers = tuple(
        replace(layer, weight=np.where(part.reshape(layer.weight.shape), layer.weight, 0.0))
        for layer, part in zip(network.layers, parts, strict=True)
    )
    return replace(network, layers=layers)
