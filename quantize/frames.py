"""Whether frames fit the inputs of a network."""

from __future__ import annotations

from math import prod

import numpy as np

from ..errors import require
from .interface import Input


def check_frames(given: Input, frames: np.ndarray, steps: int, field: str) -> None:
    """`UserError`, which names the `field`, unless `frames` fit an input: see `sim.frames.check`."""
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
