"""Checks of frames before any simulator reads them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..errors import require
from ..quantize.network import Input, QuantizedNetwork

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
        _check(one, values, network.steps, "frames" if number == 1 else f"frames of {one.name}")
        require(len(values) == len(given[0]), f"frames of {one.name}", len(values), f"{len(given[0])}, as of the first")
    return tuple(given)


def _check(given: Input, frames: np.ndarray, steps: int, field: str) -> None:
    static = given.kind == "static"
    expected = (prod(given.shape),) if static else (steps, prod(given.shape))
    require(isinstance(frames, np.ndarray), field, type(frames).__name__, "a NumPy array")
    require(frames.dtype == np.uint8, f"{field} dtype", frames.dtype, "uint8")
    wanted = ", ".join(map(str, ("n", *expected)))
    require(frames.ndim >= 1 and frames.shape[1:] == expected, f"{field} shape", frames.shape, f"[{wanted}]")
    if frames.size and not static:
        largest = int(frames.max())
        what, accepted = ("spike", "0 or 1") if given.kind == "spikes" else ("count", f"0 to {given.largest}")
        require(largest <= given.largest, f"{field} largest {what}", largest, accepted)
