"""The default number of training images held out for validation."""

from __future__ import annotations

HELD_OUT, SHARE = 5000, 10  # number of images, but at most one of ten


def usually_held_out(images: int) -> int:
    """Number of images held out of `images` training images."""
    return min(HELD_OUT, max(1, images // SHARE))
