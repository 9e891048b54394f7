"""Images as sequences of events: a latency code."""

from __future__ import annotations

import numpy as np
import torch

from gradrtl.model.sequences import BRIGHTEST, DARKEST, latencies


def test_each_pixel_is_an_event_once_the_brighter_the_earlier() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    for steps in (1, 3, 8, 224):
        found = latencies(images, steps)
        assert (found.shape, found.dtype) == ((1, steps, 1, 16, 16), np.uint8)
        assert np.array_equal(found.sum(axis=1).ravel(), np.arange(256) >= DARKEST)
        when = found[0, :, 0].reshape(steps, 256).argmax(axis=0)[DARKEST:]
        assert (np.diff(when) <= 0).all()
        assert (when[0], when[BRIGHTEST - DARKEST]) == (steps - 1, 0)
        sizes = np.bincount(when, minlength=steps)
        assert sizes.max() - sizes.min() <= 1
        assert np.array_equal(latencies(torch.from_numpy(images), steps).numpy(), found)
