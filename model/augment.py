"""Random rotation, shift and mirroring of a batch of images, at a few hundred microseconds a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augment:
    """Each image by its own angle, up to `rotation` degrees, and shift, up to `shift` of its side; black outside.

    uint8 `[batch, channels, height, width]` -> the same: what the network sees stays an 8-bit pixel.
    """

    rotation: float = 10.0
    shift: float = 0.05
    flip: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        batch = len(images)
        if self.rotation == 0 and self.shift == 0 and not self.flip:
            return images
        angle, dx, dy, mirror = torch.rand((4, batch), generator=generator) * 2 - 1
        angle = angle * math.radians(self.rotation)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        side = torch.where(mirror < 0, -1.0, 1.0) if self.flip else torch.ones(batch)
        rows = [cosine * side, -sine, 2 * self.shift * dx, sine * side, cosine, 2 * self.shift * dy]
        matrices = torch.stack(rows, dim=1).reshape(batch, 2, 3).to(images.device)
        grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
        moved = functional.grid_sample(images.float(), grid, align_corners=False)
        return moved.round_().to(torch.uint8)
