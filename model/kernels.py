"""Loops over spikes, compiled: what `neurons.py` and `pooling.py` do on a processor, in one pass over memory.

Each kernel works on the part `first:last` of its arrays, so that several threads can share them (`in_parts`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit

BLOCK = 2048  # neurons whose membranes stay in the first cache
SMALLEST_PART = 1 << 15  # elements that are worth a thread


def in_parts(kernel: Callable, size: int, *arguments: Any) -> None:
    """`kernel(first, last, *arguments)` for parts that cover `0:size`, on as many threads as torch uses."""
    threads = max(1, min(torch.get_num_threads(), size // SMALLEST_PART))
    if threads == 1:
        kernel(0, size, *arguments)
        return
    ends = np.linspace(0, size, threads + 1).astype(int).tolist()
    for done in [_pool(threads).submit(kernel, *part, *arguments) for part in pairwise(ends)]:
        done.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "spikes")


@njit(cache=True, nogil=True)
def fire_forward(first, last, current, u, spikes, decay, gain, threshold, soft, v_reset):
    """`step` of `model/neurons.py` for all steps: `current` `[steps or 1, n]`; `u`, `spikes` `[steps, n]` are filled.

    All of one float dtype, the scalars too.
    """
    static = len(current) == 1
    v = np.empty(BLOCK, u.dtype)
    for start in range(first, last, BLOCK):
        size = min(BLOCK, last - start)
        v[:] = v_reset
        for t in range(len(u)):
            now = current[0 if static else t, start : start + size]
            u_now, spikes_now = u[t, start : start + size], spikes[t, start : start + size]
            for i in range(size):
                potential = decay * v[i] + gain * now[i]
                fires = potential >= threshold
                u_now[i] = potential
                spikes_now[i] = 1 if fires else 0
                reset = potential - threshold if soft else v_reset
                v[i] = reset if fires else potential


@njit(cache=True, nogil=True)
def fire_backward(first, last, gradient, u, to_current, decay, gain, threshold, soft):
    """Gradient by `current`, from `gradient` by the spikes; the surrogate and the reset are those of `step`."""
    static = len(to_current) == 1
    pi = u.dtype.type(math.pi)
    one, none = u.dtype.type(1), u.dtype.type(0)
    to_v = np.empty(BLOCK, u.dtype)
    for start in range(first, last, BLOCK):
        size = min(BLOCK, last - start)
        to_v[:] = 0
        if static:
            to_current[0, start : start + size] = 0
        for t in range(len(u) - 1, -1, -1):
            u_now, gradient_now = u[t, start : start + size], gradient[t, start : start + size]
            out = to_current[0 if static else t, start : start + size]
            for i in range(size):
                over = u_now[i] - threshold
                x = pi * over
                through = none if over >= none and not soft else to_v[i]
                to_u = gradient_now[i] / (one + x * x) + through
                before = out[i] if static else none
                out[i] = before + gain * to_u
                to_v[i] = decay * to_u


@njit(cache=True, nogil=True)
def pool_forward(first, last, spikes, size, pooled):
    """Largest of each window: `spikes` `[n, height, width, channels]` -> `pooled` `[n, height', width', channels]`."""
    _, height, width, channels = pooled.shape
    for n in range(first, last):
        for y in range(height):
            for x in range(width):
                out = pooled[n, y, x]
                out[:] = spikes[n, y * size, x * size]
                for place in range(1, size * size):
                    row = spikes[n, y * size + place // size, x * size + place % size]
                    for c in range(channels):
                        out[c] = max(out[c], row[c])


@njit(cache=True, nogil=True)
def pool_backward(first, last, gradient, spikes, pooled, size, to_spikes):
    """The gradient of a window goes to the first of its largest, row by row; the rest of `to_spikes` is not touched."""
    _, height, width, channels = pooled.shape
    left = np.empty(channels, gradient.dtype)
    none = gradient.dtype.type(0)
    for n in range(first, last):
        for y in range(height):
            for x in range(width):
                left[:] = gradient[n, y, x]
                largest = pooled[n, y, x]
                for place in range(size * size):
                    at = y * size + place // size, x * size + place % size
                    row, out = spikes[n, at[0], at[1]], to_spikes[n, at[0], at[1]]
                    for c in range(channels):
                        here = row[c] == largest[c]
                        out[c] = left[c] if here else none
                        left[c] = none if here else left[c]
