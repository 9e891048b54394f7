"""Compiled loops of the simulated event camera; see `moving.py`."""

from __future__ import annotations

import numpy as np

from ...compiled import kernel


@kernel
def _brightness(still, y, x):
    """Brightness of the image at a place between pixels; 0 outside."""
    row, column = int(np.floor(y)), int(np.floor(x))
    down, across = y - row, x - column
    total = 0.0
    for by_row in range(2):
        for by_column in range(2):
            r, c = row + by_row, column + by_column
            if 0 <= r < still.shape[0] and 0 <= c < still.shape[1] and still[r, c] > 0:
                part = (down if by_row else 1 - down) * (across if by_column else 1 - across)
                total += part * still[r, c]
    return total


@kernel
def events_of(still, places, thresholds, black, step, found):
    """Fill `found`, int64 `[4, n]`: time, polarity, y and x of the events; returns how many, at most `n`.

    `still` is the image, `places` where it is at each moment, of which one lasts `step` microseconds.
    """
    count = 0
    for y in range(still.shape[0]):
        for x in range(still.shape[1]):
            threshold = thresholds[y, x]
            before = np.log(black + (1 - black) * _brightness(still, y - places[0, 1], x - places[0, 0]))
            reference = before
            for moment in range(1, len(places)):
                seen = _brightness(still, y - places[moment, 1], x - places[moment, 0])
                now = np.log(black + (1 - black) * seen)
                while abs(now - reference) >= threshold and count < found.shape[1]:
                    brighter = now > reference
                    reference += threshold if brighter else -threshold
                    share = (reference - before) / (now - before) if now != before else 1.0
                    found[0, count] = int((moment - 1 + min(max(share, 0.0), 1.0)) * step)
                    found[1, count] = 1 if brighter else 0
                    found[2, count] = y
                    found[3, count] = x
                    count += 1
                before = now
    return count
