"""How many training images are held out for validation, where nothing else is asked for."""

from __future__ import annotations

HELD_OUT, SHARE = 5000, 10  # so many images, at most one of ten


def usually_held_out(images: int) -> int:
    """Images held out of so many training images."""
    return min(HELD_OUT, max(1, images // SHARE))
