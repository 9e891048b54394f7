"""Random changes of a batch: rotation, shift, mirroring, black squares and pieces of other images; what befalls events
in time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .recordings import LARGEST_COUNT

SMOOTHED = 4  # pixels: deviation of the Gaussian that smooths elastic displacements, and the distance between them


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


@dataclass(frozen=True)
class Warp:
    """Each image turned, shifted, scaled and elastically deformed by amounts of its own.

    uint8 `[batch, channels, height, width]` -> the same, between pixels bilinear. The elastic deformation is that of
    Simard, Steinkraus, Platt (ICDAR 2003): random displacements, smoothed over `SMOOTHED` pixels.

    rotation
        Largest angle in degrees.
    shift
        Largest shift down and across, in pixels.
    scaling
        Largest change of the size, as a fraction; height and width change by fractions of their own.
    elastic
        Standard deviation of a pixel's displacement down and across, in pixels.
    border
        What is seen outside of an image, one of `relu_config.BORDERS`.
    """

    rotation: float = 0.0
    shift: float = 0.0
    scaling: float = 0.0
    elastic: float = 0.0
    border: str = "black"

    @property
    def by_pixels(self) -> bool:
        """Whether nothing but whole pixels may be asked for: `Moves` shifts without sampling."""
        return self.rotation == 0 and self.scaling == 0 and self.elastic == 0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        batch, _, height, width = images.shape
        device = images.device
        draws = (torch.rand((5, batch, 1, 1), generator=generator) * 2 - 1).to(device)
        angle, down, across, taller, wider = draws
        angle = math.radians(self.rotation) * angle
        y = (torch.arange(height, device=device) - (height - 1) / 2).reshape(1, height, 1) * (1 + self.scaling * taller)
        x = (torch.arange(width, device=device) - (width - 1) / 2).reshape(1, 1, width) * (1 + self.scaling * wider)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        grid = torch.empty((batch, height, width, 2), device=device)  # where each pixel comes from, in pixels
        grid[..., 0] = cosine * x - sine * y + self.shift * across
        grid[..., 1] = sine * x + cosine * y + self.shift * down
        if self.elastic:
            rows, columns = _smoothing(height, device), _smoothing(width, device)
            noise = torch.randn((batch, 2, rows.shape[1], columns.shape[1]), generator=generator).to(device)
            grid += self.elastic * (rows @ noise @ columns.T).permute(0, 2, 3, 1)
        grid *= torch.tensor([2 / width, 2 / height], device=device)
        outside = "reflection" if self.border == "mirrored" else "zeros"
        moved = functional.grid_sample(images.float(), grid, padding_mode=outside, align_corners=False)
        return moved.round_().to(torch.uint8)


def _smoothing(size: int, device: torch.device) -> Tensor:
    """Weights of independent displacements, at every `SMOOTHED`-th place, in that of each pixel: `[size, places]`.

    They are Gaussian with the deviation `SMOOTHED`. If the former have variance 1, so have the latter.
    """
    places = torch.arange(-1, math.ceil(size / SMOOTHED) + 2, device=device) * SMOOTHED
    near = torch.exp(-((torch.arange(size, device=device)[:, None] - places) ** 2) / (2 * SMOOTHED**2))
    return near / near.square().sum(dim=1, keepdim=True).sqrt()


@dataclass(frozen=True)
class EventAugment:
    """Each recording by its own shift and delay, with a fraction of its own of its events dropped, each of them late.

    uint8 `[batch, steps, channels, height, width]` -> the same. Events that leave the recording are lost, and a count
    stays at `LARGEST_COUNT` when more meet.

    shift
        Largest shift in space as a fraction of the side, in whole sources; along the bands of a filter bank, too.
    flip
        Mirror half of the recordings.
    drop
        Largest fraction of the events that is dropped.
    jitter
        Largest number of steps by which an event is early or late.
    lag
        Largest number of steps by which a whole recording is early or late.
    stretch
        Largest change of the speed, as a fraction of it. Events are spread evenly over their steps, then stretched.
    mask
        Largest fraction of the sources across, and of the steps, that stays silent: a run of each, at places of its
        own in every recording.
    """

    shift: float = 0.05
    flip: bool = False
    drop: float = 0.0
    jitter: int = 0
    lag: int = 0
    stretch: float = 0.0
    mask: float = 0.0

    def __call__(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        batch, steps, channels, height, width = counts.shape
        down, across = round(self.shift * height), round(self.shift * width)
        by_event = self.drop or self.jitter or self.stretch
        if not (down or across or self.flip or self.lag or self.mask or by_event):
            return counts
        each = counts.flatten().nonzero()[:, 0]  # the bins that are not empty, or their events one by one
        many = counts.flatten()[each].long()
        if by_event:
            each = each.repeat_interleave(many)
            many = torch.ones_like(each)
        x, y = each % width, each // width % height
        channel = each // (width * height) % channels
        t = each // (width * height * channels) % steps
        one = each // (width * height * channels * steps)

        def drawn(most: int, count: int) -> Tensor:
            """Whole numbers from `-most` to `most`."""
            return torch.randint(-most, most + 1, (count,), generator=generator).to(counts.device)

        y, x = y + drawn(down, batch)[one], x + drawn(across, batch)[one]
        if self.stretch:
            speed = 1 + self.stretch * (2 * torch.rand(batch, generator=generator) - 1)
            when = t + torch.rand(len(t), generator=generator).to(counts.device)
            t = (when / speed.to(counts.device)[one]).long()
        t = t + drawn(self.lag, batch)[one]
        if self.jitter:
            t = t + drawn(self.jitter, len(each))
        draws = torch.rand((2, batch), generator=generator).to(counts.device)
        if self.flip:
            x = torch.where(draws[0, one] < 0.5, width - 1 - x, x)
        kept = torch.ones_like(each, dtype=torch.bool)
        if self.drop:
            kept = torch.rand(len(each), generator=generator).to(counts.device) >= self.drop * draws[1, one]
        for place, size in ((x, width), (y, height), (t, steps)):
            kept = kept & (place >= 0) & (place < size)
        for place, size in ((x, width), (t, steps)) if self.mask else ():
            long, at = torch.rand((2, batch), generator=generator).to(counts.device)
            wide = (long * (self.mask * size + 1)).long()
            first = (at * (size + 1 - wide)).long()
            kept = kept & ((place < first[one]) | (place >= (first + wide)[one]))
        places = (((one * steps + t) * channels + channel) * height + y) * width + x
        found = torch.bincount(places[kept], many[kept], minlength=counts.numel())
        return found.clamp(max=LARGEST_COUNT).to(torch.uint8).reshape(counts.shape)


@dataclass(frozen=True)
class Moves:
    """Shifts by whole pixels, mirroring and a black square, drawn for n images at once: an epoch's in one transfer.

    `down` and `across`: int64 `[n]`, 0 to `2 * pixels`. `mirrored`: bool `[n]`. `centre`: `[2, n]`, 0 to 1 of the side.
    `border`: as of `Warp`. `still`: nothing moves.
    """

    pixels: int
    cutout: int
    border: str
    down: Tensor
    across: Tensor
    mirrored: Tensor
    centre: Tensor
    still: bool

    @staticmethod
    def draw(mirrored: Tensor, pixels: int, cutout: int, generator: torch.Generator, border: str = "black") -> Moves:
        """Shifts of up to `pixels` and places of squares of side `cutout`, for as many images as may be `mirrored`."""
        count, device = len(mirrored), mirrored.device
        down, across = torch.randint(0, 2 * pixels + 1, (2, count), generator=generator).to(device)
        centre = torch.rand((2, count), generator=generator).to(device)
        still = pixels == 0 and cutout == 0 and not bool(mirrored.any())
        return Moves(pixels, cutout, border, down, across, mirrored, centre, still)

    def __call__(self, images: Tensor, first: int) -> Tensor:
        """Move uint8 images `[batch, channels, height, width]` as drawn for `first` and those behind it."""
        if self.still:
            return images
        batch, _, height, width = images.shape
        mine = slice(first, first + batch)
        rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
        from_columns = torch.where(self.mirrored[mine, None], width - 1 - columns, columns) + self.across[mine, None]
        from_rows = rows + self.down[mine, None]
        if self.border == "mirrored":
            from_rows = _reflected(from_rows - self.pixels, height)
            from_columns = _reflected(from_columns - self.pixels, width)
        else:
            images = functional.pad(images, (self.pixels,) * 4)
        one = torch.arange(batch, device=images.device)[:, None, None]
        by_pixel = images.permute(0, 2, 3, 1)
        images = by_pixel[one, from_rows[:, :, None], from_columns[:, None, :]].permute(0, 3, 1, 2)
        if self.cutout:
            below = (rows - self.centre[0, mine, None] * height).abs() <= self.cutout / 2
            beside = (columns - self.centre[1, mine, None] * width).abs() <= self.cutout / 2
            images = images.masked_fill((below[:, :, None] & beside[:, None, :])[:, None], 0)
        return images


def _reflected(places: Tensor, side: int) -> Tensor:
    """Places inside of an image of which those outside are mirror images."""
    places = places % (2 * side)
    return torch.minimum(places, 2 * side - 1 - places)


def in_turn(count: int, seed: int, turn: int) -> Tensor:
    """Which of `count` images are mirrored in the epoch `turn`: half of them, drawn once, and then the others in turn.

    So all images are seen from both sides in two epochs (Jordan 2024). bool `[count]`.
    """
    drawn = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.5
    return drawn ^ bool(turn % 2)


@dataclass(frozen=True)
class Cuts:
    """CutMix (Yun et al. 2019): a rectangle of another image in place of an image's own, drawn for n images at once.

    `side`: `[n]`, of the rectangle as a part of the image's, 0 for images that stay. `centre`: `[2, n]`, 0 to 1.
    """

    side: Tensor
    centre: Tensor

    @staticmethod
    def draw(count: int, part: float, generator: torch.Generator, device: torch.device) -> Cuts:
        """For `count` images, of which `part` change: the area of a rectangle is uniform before the image cuts it."""
        chosen, area, down, across = torch.rand((4, count), generator=generator)
        side = torch.where(chosen < part, area.sqrt(), torch.zeros(()))
        return Cuts(side.to(device), torch.stack([down, across]).to(device))

    def __call__(self, images: Tensor, shares: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Images `[batch, channels, height, width]` and the share of each class in them, `[batch, classes]`, changed as
        drawn for `first` and those behind it; the other image is the one before in the batch."""
        batch, _, height, width = images.shape
        mine = slice(first, first + batch)
        within = []
        for size, centre in zip((height, width), self.centre[:, mine], strict=True):
            places = (torch.arange(size, device=images.device) + 0.5) / size
            within.append((places - centre[:, None]).abs() < self.side[mine, None] / 2)
        cut = within[0][:, :, None] & within[1][:, None, :]
        other = cut.float().mean(dim=(1, 2))[:, None]
        mixed = torch.where(cut[:, None], images.roll(1, 0), images)
        return mixed, shares * (1 - other) + shares.roll(1, 0) * other
