"""Checks of frames before any simulator reads them."""

from __future__ import annotations

from math import prod

import numpy as np

from ..errors import require
from ..quantize.network import QuantizedNetwork


def check(network: QuantizedNetwork, frames: np.ndarray) -> np.ndarray:
    """`frames` themselves if they fit the network's input, else `UserError`.

    Static: uint8 `[n, sources]`. Spikes: uint8 `[n, steps, sources]`, zeros and ones. `n` may be 0.
    """
    expected: tuple[int, ...] = (prod(network.input.shape),)
    if network.input.kind == "spikes":
        expected = (network.steps, *expected)
    require(isinstance(frames, np.ndarray), "frames", type(frames).__name__, "a NumPy array")
    require(frames.dtype == np.uint8, "frames dtype", frames.dtype, "uint8")
    wanted = ", ".join(map(str, ("n", *expected)))
    require(frames.ndim >= 1 and frames.shape[1:] == expected, "frames shape", frames.shape, f"[{wanted}]")
    if network.input.kind == "spikes" and frames.size:
        require(int(frames.max()) <= 1, "frames largest spike", int(frames.max()), "0 or 1")
    return frames
