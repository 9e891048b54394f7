"""Training images held out for validation: how many, and that no network is judged by those it was trained on."""

from __future__ import annotations

from typing import Any

from ..errors import require

HELD_OUT, SHARE = 5000, 10  # number of images, but at most one of ten


def usually_held_out(images: int) -> int:
    """Number of images held out of `images` training images."""
    return min(HELD_OUT, max(1, images // SHARE))


def require_unseen(held_out: int, data: str, origin: dict[str, Any]) -> None:
    """`UserError` if a network that training starts from was trained on images that are held out now.

    `held_out`: the number of images at the end of the training set with the digest `data`. `origin`: as of a
    checkpoint; so are those of the networks from which that one started, and of a fine-tuning of their integers.
    """
    unseen = origin.get("unseen")
    if origin.get("data") == data and isinstance(unseen, int):
        rest = f"at most {unseen}: the network to start from was trained on the images before"
        require(held_out <= unseen, "held_out", held_out, rest)
    for name in ("start", "checkpoint", "qat"):
        if isinstance(origin.get(name), dict):
            require_unseen(held_out, data, origin[name])
