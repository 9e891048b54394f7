"""Random rotation, shift and mirroring of a batch of images, in a few hundred microseconds per batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augment:
    """Each image by its own angle, up to `rotation` degrees, and shift, up to `shift` of its side; black outside.

    uint8 `[batch, channels, height, width]` -> the same. Pixels remain 8-bit integers.
    """

    rotation: float = 10.0
    shift: float = 0.05
    flip: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if self.rotation == 0 and self.shift == 0 and not self.flip:
            return images
        batch, _, height, width = images.shape
        device = images.device
        angle, dx, dy, mirror = (torch.rand((4, batch), generator=generator) * 2 - 1).to(device)
        angle = angle * math.radians(self.rotation)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        side = torch.where(mirror < 0, -1.0, 1.0) if self.flip else torch.ones(batch, device=device)
        # where each pixel comes from: coordinates -1 to 1, x along the width; three times faster than affine_grid
        y = (torch.arange(height, device=device) * 2 + 1).div(height).sub(1).reshape(1, height, 1)
        x = (torch.arange(width, device=device) * 2 + 1).div(width).sub(1).reshape(1, 1, width)
        cosine, sine, side, dx, dy = (v.reshape(batch, 1, 1) for v in (cosine, sine, side, dx, dy))
        source_x = cosine * side * x - sine * y + 2 * self.shift * dx
        source_y = sine * side * x + cosine * y + 2 * self.shift * dy
        grid = torch.empty((batch, height, width, 2), device=device)
        grid[..., 0], grid[..., 1] = source_x, source_y
        moved = functional.grid_sample(images.float(), grid, align_corners=False)
        return moved.round_().to(torch.uint8)
