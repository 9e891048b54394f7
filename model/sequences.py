"""Images as sequences: what a network sees that reads an image strip by strip, one strip of rows a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..errors import require

if TYPE_CHECKING:
    from torch import Tensor

Images = TypeVar("Images", np.ndarray, "Tensor")


def strips(images: Images, steps: int) -> Images:
    """Images `[n, channels, height, width]` as `[n, steps, channels, height / steps, width]`: strips from the top down.

    Flattened from the third dimension on, they are the graded frames of the simulators, `[n, steps, sources]`.
    """
    n, channels, height, width = images.shape
    require(height % steps == 0, "steps", steps, f"a divisor of the {height} rows of an image")
    cut = images.reshape(n, channels, steps, height // steps, width)
    order = (0, 2, 1, 3, 4)
    return cut.transpose(order) if isinstance(cut, np.ndarray) else cut.permute(order)
