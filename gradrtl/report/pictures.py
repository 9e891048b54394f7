"""Frames as small pictures."""

from __future__ import annotations

import base64
import io
from math import isqrt

import numpy as np
from matplotlib.image import imsave

from ..quantize.network import QuantizedNetwork
from .page import Image

SHOWN = 64  # pixels of a picture on the page, its longer side
LARGEST = 96  # pixels of a frame that are kept in each direction


def picture(network: QuantizedNetwork, frames: tuple[np.ndarray, ...], index: int, caption: str) -> Image:
    """Frame `index` of the first input."""
    given, values = network.inputs[0], frames[0][index]
    if given.kind == "static":
        return of_sample(values.reshape(given.shape), caption)
    return of_sample(values.reshape(len(values), *(given.shape if len(given.shape) == 3 else (1, 1, -1))), caption)


def of_sample(sample: np.ndarray, caption: str) -> Image:
    """An image as it is, maps of events `[steps, channels, height, width]` added up over the steps, others by step."""
    if sample.ndim < 4:
        maps = sample
    elif sample.shape[2] > 1 and sample.shape[3] > 1:
        maps = sample.sum(axis=0, dtype=np.int64)
    else:
        maps = sample.reshape(1, len(sample), -1)  # a row for each step
    pixels = _plane(maps)
    stride = -(-max(pixels.shape[:2]) // LARGEST)
    pixels = pixels[::stride, ::stride]
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", cmap="gray", vmin=0, vmax=max(1, int(pixels.max(initial=1))))
    height, width = pixels.shape[:2]
    scale = SHOWN / max(height, width)
    return Image(
        base64.b64encode(buffer.getvalue()).decode(),
        caption,
        max(8, round(width * scale)),
        max(8, round(height * scale)),
    )


def _plane(maps: np.ndarray) -> np.ndarray:
    """Grey `[height, width]`, or colours `[height, width, 3]` of 8 bits."""
    if maps.ndim == 1:
        side = isqrt(maps.size)
        maps = maps.reshape(1, side, side) if side * side == maps.size else maps.reshape(1, 1, -1)
    if len(maps) == 3 and maps.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(maps, 0, 2))
    return maps.max(axis=0)
