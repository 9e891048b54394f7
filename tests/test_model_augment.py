"""Augmentation against torch's own affine sampling."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from gradrtl.model.augment import Augment


@pytest.mark.parametrize("flip", [False, True])
def test_each_image_has_its_own_angle_shift_and_side(flip: bool) -> None:
    """A pixel at `(x, y)` comes from the rotated, mirrored, shifted place; sides are 2 long in these coordinates."""
    images = torch.randint(0, 256, (6, 2, 9, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = Augment(25.0, 0.2, flip)(images, torch.Generator().manual_seed(3))
    angle, dx, dy, mirror = torch.rand((4, 6), generator=torch.Generator().manual_seed(3)) * 2 - 1
    turn = angle * math.radians(25.0)
    side = torch.where(mirror < 0, -1.0, 1.0) if flip else torch.ones(6)
    rows = [torch.stack([turn.cos() * side, -turn.sin(), 0.4 * dx], dim=1)]
    rows.append(torch.stack([turn.sin() * side, turn.cos(), 0.4 * dy], dim=1))
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    expected = functional.grid_sample(images.float(), grid, align_corners=False)
    assert (found.float() - expected).abs().max() < 0.6, "rounded to whole pixels"
    assert not torch.equal(found, images)


def test_without_augmentation_images_stay() -> None:
    images = torch.randint(0, 256, (2, 1, 4, 4), dtype=torch.uint8)
    assert Augment(0, 0)(images, torch.Generator()) is images
