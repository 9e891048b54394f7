"""Frames in the form that the inputs of a network read, and whether they fit."""

from __future__ import annotations

from math import prod

import numpy as np

from ..errors import require
from .interface import Input

LARGEST = 255  # value of a frame


def flattened(given: Input, frames: np.ndarray, steps: int, field: str) -> np.ndarray:
    """`frames` of an input as the simulators take them: uint8, `[n, sources]` or, of events, `[n, steps, sources]`.

    The values of a frame, or of a step of it, are those in a row or in the shape of the input, such as `[channels,
    height, width]`; a single channel may lack its dimension. Booleans and integers from 0 to 255 become uint8.

    Raises `UserError`, which names the `field`, for another shape or type.
    """
    head = () if given.kind == "static" else (steps,)
    shapes = [(*head, prod(given.shape)), (*head, *given.shape)]
    if len(given.shape) > 1 and given.shape[0] == 1:
        shapes.append((*head, *given.shape[1:]))
    accepted = " or ".join(f"[n, {', '.join(map(str, shape))}]" for shape in dict.fromkeys(shapes))
    require(frames.ndim >= 1 and frames.shape[1:] in shapes, f"{field} shape", frames.shape, accepted)
    require(frames.dtype.kind in "bui", f"{field} dtype", frames.dtype, "uint8")
    if frames.size and frames.dtype.kind != "b":
        for what, value in (("smallest", int(frames.min())), ("largest", int(frames.max()))):
            require(0 <= value <= LARGEST, f"{field} {what} value", value, f"0 to {LARGEST}")
    return np.ascontiguousarray(frames.reshape(len(frames), *shapes[0]).astype(np.uint8, copy=False))


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
