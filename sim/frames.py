"""Checks of frames before any simulator reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import require
from ..quantize.frames import check_frames
from ..quantize.network import QuantizedNetwork

Frames = np.ndarray | Sequence[np.ndarray]  # of a network with one input; of all inputs in their order


def check(network: QuantizedNetwork, frames: Frames) -> tuple[np.ndarray, ...]:
    """`frames` by input if they fit the network's inputs, else `UserError`.

    Static: uint8 `[n, sources]`. Spikes: uint8 `[n, steps, sources]`, zeros and ones. Graded: the same, numbers below
    `2**bits`. `n` may be 0, and is the same for all inputs.
    """
    given = (frames,) if isinstance(frames, np.ndarray) else frames
    number = len(network.inputs)
    known = isinstance(given, tuple | list) and len(given) == number
    require(known, "frames", type(frames).__name__, "a NumPy array" + f", or {number} of them" * (number > 1))
    for one, values in zip(network.inputs, given, strict=True):
        check_frames(one, values, network.steps, "frames" if number == 1 else f"frames of {one.name}")
        require(len(values) == len(given[0]), f"frames of {one.name}", len(values), f"{len(given[0])}, as of the first")
    return tuple(given)
