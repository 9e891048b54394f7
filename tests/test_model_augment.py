"""Augmentation against torch's own affine sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from gradrtl.model.augment import SMOOTHED, Augment, Cuts, Moves, Warp, in_turn
from gradrtl.model.relu_config import BORDERS


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


MIRRORED = torch.tensor([False, True, True, True, False, False, True, False])


@pytest.mark.parametrize("cutout", [0, 3])
def test_moves_shift_mirror_and_blacken_each_image_as_drawn(cutout: int) -> None:
    """A pixel at `(y, x)` comes from `(y, side - 1 - x)` if mirrored, then `down - 2` and `across - 2` further on."""
    images = torch.randint(1, 256, (5, 2, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    moves = Moves.draw(MIRRORED, 2, cutout, torch.Generator().manual_seed(2))
    assert moves.mirrored is MIRRORED
    found = moves(images, 3)
    for image in range(5):
        of = image + 3
        for y in range(6):
            for x in range(7):
                row = y + int(moves.down[of]) - 2
                column = (6 - x if moves.mirrored[of] else x) + int(moves.across[of]) - 2
                inside = 0 <= row < 6 and 0 <= column < 7
                near = max(abs(y - 6 * float(moves.centre[0, of])), abs(x - 7 * float(moves.centre[1, of])))
                black = not inside or (cutout and near <= cutout / 2)
                expected = torch.zeros(2) if black else images[image, :, row, column]
                assert found[image, :, y, x].tolist() == expected.tolist()


def test_moves_of_nothing_leave_the_images() -> None:
    images = torch.randint(0, 256, (4, 1, 5, 5), dtype=torch.uint8)
    still = Moves.draw(torch.zeros(4, dtype=torch.bool), 0, 0, torch.Generator())
    assert still(images, 0) is images


@pytest.mark.parametrize("pixels", [1, 9])
def test_outside_of_an_image_may_be_its_mirror_image(pixels: int) -> None:
    """Beside a border lies the row or column within it, also where a shift is larger than the image."""
    images = torch.randint(1, 256, (8, 2, 3, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    draws = [Moves.draw(MIRRORED, pixels, 0, torch.Generator().manual_seed(4), border) for border in BORDERS]
    black, found = (moves(images, 0) for moves in draws)
    wide = torch.cat([images, images.flip(3)], dim=3).repeat(1, 1, 1, 8)  # and so on, far enough to both sides
    wide = torch.cat([wide, wide.flip(2)], dim=2).repeat(1, 1, 8, 1)
    for image, moves in enumerate(zip(draws[1].down, draws[1].across, strict=True)):
        down, across = (int(one) - pixels for one in moves)
        for y in range(3):
            for x in range(4):
                column = (3 - x if MIRRORED[image] else x) + across
                expected = wide[image, :, y + down + 4 * 6, column + 4 * 8]
                assert found[image, :, y, x].tolist() == expected.tolist()
    assert torch.equal(found[black > 0], black[black > 0])
    assert (black == 0).any()


def test_outside_of_a_warped_image_may_be_its_mirror_image() -> None:
    """As in a larger image, around which its mirror images have been put before."""
    images = torch.randint(1, 256, (6, 1, 9, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    larger = torch.from_numpy(np.pad(images.numpy(), ((0, 0), (0, 0), (8, 8), (8, 8)), mode="symmetric"))
    found, black, expected = (
        Warp(20.0, 3.0, 0.2, border=border)(some, torch.Generator().manual_seed(3))
        for some, border in ((images, "mirrored"), (images, "black"), (larger, "black"))
    )
    assert (found.int() - expected[:, :, 8:-8, 8:-8].int()).abs().max() <= 1, "rounded"
    assert (found != black).sum() > 100


def test_half_of_the_images_are_mirrored_in_turn() -> None:
    first, second, third = (in_turn(1000, 7, turn) for turn in range(3))
    assert 400 < int(first.sum()) < 600
    assert torch.equal(second, ~first)
    assert torch.equal(third, first)
    assert not torch.equal(in_turn(1000, 8, 0), first)


def test_cutmix_gives_an_image_a_rectangle_of_the_one_before_and_as_much_of_its_class() -> None:
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (8, 2, 5, 6), dtype=torch.uint8, generator=generator)
    shares = torch.eye(8)
    cuts = Cuts.draw(11, 0.5, generator, torch.device("cpu"))
    assert (cuts.side == 0).any()
    found, mixed = cuts(images, shares, 3)
    changed = 0
    for image in range(8):
        of, cut = image + 3, 0
        for y in range(5):
            for x in range(6):
                down = abs((y + 0.5) / 5 - float(cuts.centre[0, of]))
                across = abs((x + 0.5) / 6 - float(cuts.centre[1, of]))
                other = max(down, across) < float(cuts.side[of]) / 2
                cut += other
                expected = images[image - 1 if other else image, :, y, x]
                assert found[image, :, y, x].tolist() == expected.tolist()
        wanted = torch.zeros(8)
        wanted[image], wanted[image - 1] = 1 - cut / 30, cut / 30
        assert torch.allclose(mixed[image], wanted, atol=1e-6)
        changed += 0 < cut < 30
    assert changed >= 2


def at(x: float, y: float, image: torch.Tensor) -> float:
    """The pixel at `(x, y)`, between pixels bilinear, 0 outside."""
    left, top = math.floor(x), math.floor(y)
    total = 0.0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
            total += (1 - abs(x - column)) * (1 - abs(y - row)) * float(image[row, column])
    return total


def test_a_warp_turns_shifts_and_scales_each_image_by_its_own_amounts() -> None:
    """A pixel comes from its place about the middle, scaled, turned, then shifted; all in pixels."""
    images = torch.randint(0, 256, (3, 1, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = Warp(25.0, 2.0, 0.3)(images, torch.Generator().manual_seed(3))
    draws = torch.rand((5, 3, 1, 1), generator=torch.Generator().manual_seed(3)) * 2 - 1
    for image in range(3):
        turn, down, across, taller, wider = (float(draw) for draw in draws[:, image, 0, 0])
        turn = math.radians(25.0 * turn)
        for row in range(6):
            for column in range(7):
                y, x = (row - 2.5) * (1 + 0.3 * taller), (column - 3.0) * (1 + 0.3 * wider)
                from_x = math.cos(turn) * x - math.sin(turn) * y + 2 * across + 3.0
                from_y = math.sin(turn) * x + math.cos(turn) * y + 2 * down + 2.5
                assert float(found[image, 0, row, column]) == pytest.approx(
                    at(from_x, from_y, images[image, 0]), abs=0.6
                )


def test_an_elastic_deformation_is_smooth_and_of_the_size_that_is_asked_for() -> None:
    """Images whose pixels grow with their column, then with their row, show the displacements."""
    side, count, slope = 48, 40, 4
    ramp = torch.arange(side, dtype=torch.uint8).mul(slope).expand(count, 1, side, side)
    inner = slice(10, side - 10)
    for images in (ramp, ramp.transpose(2, 3)):
        moved = Warp(elastic=1.5)(images.contiguous(), torch.Generator().manual_seed(0))
        displaced = ((moved.float() - images.float()) / slope)[:, 0, inner, inner]
        assert float(displaced.std()) == pytest.approx(1.5, rel=0.1)
        assert abs(float(displaced.mean())) < 0.2
        for lag in (1, SMOOTHED):  # the correlation of white noise that was smoothed by a Gaussian
            together = float((displaced[:, :, lag:] * displaced[:, :, :-lag]).mean() / displaced.square().mean())
            assert together == pytest.approx(math.exp(-(lag**2) / (4 * SMOOTHED**2)), abs=0.08)


def test_a_warp_of_nothing_leaves_the_images() -> None:
    images = torch.randint(0, 256, (4, 1, 5, 6), dtype=torch.uint8)
    assert torch.equal(Warp()(images, torch.Generator()), images)
    assert Warp(shift=2.0).by_pixels
    assert not any(Warp(**{name: 0.1}).by_pixels for name in ("rotation", "scaling", "elastic"))
