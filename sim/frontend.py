"""What a front end for sound computes: `reference`, spelled out in Python's integers, and `counts`, compiled and equal.

For each sample, in each band, the filters follow each other. At the end of a step each band's loudness is the sum of
the sizes of its last filter's outputs. Its logarithm to base 2 is the number of the leading one, and the bits below it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..compiled import kernel
from ..errors import require
from ..quantize.frontend import SAMPLE_BITS, FrontEnd


def steps_of(settings: FrontEnd, samples: int) -> int:
    """Steps of a recording; the last one is filled up with samples of 0."""
    return -(-samples // settings.step)


def reference(settings: FrontEnd, samples: Iterable[int]) -> list[list[list[int]]]:
    """Counts of each step, code and band: the definition."""
    given = [int(sample) << settings.guard for sample in samples]
    given += [0] * (-len(given) % settings.step)
    half = 1 << (settings.fraction - 1)
    loudness = []
    for g, a1, a2 in settings.filters:
        signal = given
        for _ in range(settings.stages):
            u = [0, 0, *signal]
            y = [0, 0]
            for t in range(2, len(u)):
                y.append((g * (u[t] - u[t - 2]) + a1 * y[t - 1] + a2 * y[t - 2] + half) >> settings.fraction)
            signal = y[2:]
        starts = range(0, len(signal), settings.step)
        loudness.append([sum(abs(y) for y in signal[start : start + settings.step]) for start in starts])
    heard = [settings.least] * settings.bands
    found = []
    for step in zip(*loudness, strict=True):
        ups, downs = [], []
        for band, value in enumerate(step):
            away = max(settings.least, logarithm(settings, value)) - heard[band]
            ups.append(min(settings.largest, max(0, away) >> settings.change))
            downs.append(min(settings.largest, max(0, -away) >> settings.change))
            heard[band] += (ups[-1] - downs[-1]) << settings.change
        found.append([ups, downs])
    return found


def logarithm(settings: FrontEnd, value: int) -> int:
    """Logarithm of a loudness to base 2, in units of `2**-mantissa`: its leading one, then the bits below; of 0, 0."""
    if value == 0:
        return 0
    place = value.bit_length() - 1
    below = (value << settings.mantissa) >> place  # 1.mantissa
    return (place << settings.mantissa) + below - (1 << settings.mantissa)


def counts(settings: FrontEnd, samples: np.ndarray, steps: int | None = None) -> np.ndarray:
    """Counts of a recording: uint8 `[steps, codes, 1, bands]`.

    `samples`: int16 `[n]`. With `steps` the recording is cut off or filled up with samples of 0. Raises `UserError` for
    others.
    """
    require(samples.dtype == np.int16, "samples dtype", samples.dtype, f"int16, PCM of {SAMPLE_BITS} bits")
    require(samples.ndim == 1, "samples shape", samples.shape, "[n], one channel")
    number = steps_of(settings, len(samples)) if steps is None else steps
    padded = np.zeros(number * settings.step, np.int16)
    known = samples[: len(padded)]
    padded[: len(known)] = known
    found = np.zeros((number, *settings.shape), np.uint8)
    filters = settings.fraction, settings.stages, settings.guard, np.array(settings.filters, np.int64)
    _counts(
        padded, settings.step, *filters, (settings.mantissa, settings.least, settings.change, settings.largest), found
    )
    return found


@kernel
def _counts(samples, step, fraction, stages, guard, filters, coding, found):
    """`counts` of whole steps of `samples`, into `found` `[steps, 2, 1, bands]`. `FrontEnd` keeps sums in 64 bits."""
    mantissa, least, change, largest = coding
    half = 1 << (fraction - 1)
    for band in range(len(filters)):
        g, a1, a2 = filters[band]
        states = np.zeros((stages + 1, 2), np.int64)  # what enters and leaves each filter, one and two samples ago
        heard = np.int64(least)
        for t in range(len(found)):
            loudness = np.int64(0)
            for n in range(t * step, (t + 1) * step):
                value = np.int64(samples[n]) << guard
                for s in range(stages):
                    y = (g * (value - states[s, 1]) + a1 * states[s + 1, 0] + a2 * states[s + 1, 1] + half) >> fraction
                    states[s, 1] = states[s, 0]
                    states[s, 0] = value
                    value = y
                states[stages, 1] = states[stages, 0]
                states[stages, 0] = value
                loudness += abs(value)
            place = 0
            while loudness >> (place + 1):
                place += 1
            below = ((loudness << mantissa) >> place) - (1 << mantissa)  # negative in silence
            value = max(np.int64(least), (place << mantissa) + below)
            up = min(largest, max(0, value - heard) >> change)
            down = min(largest, max(0, heard - value) >> change)
            heard += (up - down) << change
            found[t, 0, 0, band] = up
            found[t, 1, 0, band] = down
