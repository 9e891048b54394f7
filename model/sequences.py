"""Images as sequences: an image read strip by strip, one strip of rows a step; or each pixel as one event in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..errors import require

if TYPE_CHECKING:
    from torch import Tensor

Images = TypeVar("Images", np.ndarray, "Tensor")
DARKEST = 32  # the least pixel that is an event of a latency code
BRIGHTEST = 255


def strips(images: Images, steps: int) -> Images:
    """Images `[n, channels, height, width]` as `[n, steps, channels, height / steps, width]`: strips from the top down.

    Flattened from the third dimension on, they are the graded frames of the simulators, `[n, steps, sources]`.
    """
    n, channels, height, width = images.shape
    require(height % steps == 0, "steps", steps, f"a divisor of the {height} rows of an image")
    cut = images.reshape(n, channels, steps, height // steps, width)
    order = (0, 2, 1, 3, 4)
    return cut.transpose(order) if isinstance(cut, np.ndarray) else cut.permute(order)


def latencies(images: Images, steps: int) -> Images:
    """Images, uint8 `[n, channels, height, width]`, as events `[n, steps, channels, height, width]`, uint8 0 or 1.

    A latency code: each pixel is at most one event, the brighter the earlier. Pixels from `BRIGHTEST` down to `DARKEST`
    are spread evenly over the steps; darker ones are no event.
    """
    levels = BRIGHTEST + 1 - DARKEST
    if isinstance(images, np.ndarray):
        when = (BRIGHTEST - images.astype(np.int32)) * steps // levels
        return np.stack([when == step for step in range(steps)], axis=1).astype(np.uint8)
    when = ((BRIGHTEST - images.int()) * steps).div(levels, rounding_mode="floor")
    every = when.new_tensor(range(steps)).view(1, steps, 1, 1, 1)
    return (when[:, None] == every).to(images.dtype)
