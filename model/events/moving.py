"""Moving digits: images shaken in three saccades before a simulated event camera. No recording of a real camera.

It does to an image what N-MNIST did before a camera (Orchard et al. 2015): three movements of 100 ms along the sides
of a triangle. The camera is the usual model of one: each pixel sends an event when the logarithm of its brightness has
changed by its contrast threshold since its last event (Lichtsteiner et al. 2008; simulated as in Rebecq et al. 2018).
Thresholds differ from pixel to pixel, for one camera once and for all, and pixels send noise events. Times are whole
microseconds. Recordings have the shape and the layout of N-MNIST, so that both are read and trained alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...cache import sources
from ...errors import UserError, require
from ...files import write_text
from ...locks import NAME, hold
from ..data import Dataset
from ..settings import above, at_least, below, between, check, setting
from .binning import Events
from .nmnist import PARTS, SHAPE, encoded

CORNERS = ((-3.0, 3.0), (0.0, -3.0), (3.0, 3.0), (-3.0, 3.0))  # (x, y) of the image from the middle, in pixels
SACCADE = 100_000  # microseconds
MOMENTS = 50  # of a saccade, at which brightness is computed; in between it is a straight line
STEP = SACCADE / MOMENTS  # microseconds between two moments
BUFFER = 1 << 16  # events of a recording, at most
MADE_FROM = "moving.json"  # file beside the recordings: what they were made from
PACKAGE = "gradrtl.model.events"
SOURCES = tuple(f"{PACKAGE}.{name}" for name in ("binning", "moving", "moving_kernels", "nmnist"))  # which decide them


@dataclass(frozen=True)
class Camera:
    """The simulated camera and its noise."""

    contrast: float = setting(0.5, "Contrast threshold: change of the logarithm of brightness of an event.", above(0))
    mismatch: float = setting(0.05, "Deviation of the thresholds from pixel to pixel, as a fraction.", below(0.3, 0))
    noise: float = setting(1.0, "Noise events of a pixel in a second.", between(0, 1000))
    black: float = setting(0.1, "Brightness of a black pixel beside that of a white one, which is 1.", above(0, 0.9))
    seed: int = setting(0, "Seed of all randomness.", at_least(0))

    def __post_init__(self) -> None:
        check(self)

    def thresholds(self) -> np.ndarray:
        """The contrast threshold of each pixel, float64 `[34, 34]`."""
        drawn = np.random.default_rng((self.seed, 0)).normal(1.0, self.mismatch, SHAPE[1:])
        return self.contrast * np.clip(drawn, 0.1, None)

    def record(self, image: np.ndarray, number: int) -> Events:
        """What the camera sees of an image, uint8 `[28, 28]` or smaller than 34 x 34; `number`: of its noise."""
        from .moving_kernels import events_of  # Numba takes a second to import

        height, width = image.shape
        require(height <= SHAPE[1] and width <= SHAPE[2], "image shape", image.shape, f"at most {SHAPE[1:]}")
        still = np.zeros(SHAPE[1:])
        top, left = (SHAPE[1] - height) // 2, (SHAPE[2] - width) // 2
        still[top : top + height, left : left + width] = image / 255
        found = np.empty((4, BUFFER), np.int64)
        count = events_of(still, path(), self.thresholds(), self.black, STEP, found)
        t, polarity, y, x = found[:, :count]
        rng = np.random.default_rng((self.seed, 1, number))
        length = 3 * SACCADE
        more = int(rng.poisson(self.noise * length / 1e6 * SHAPE[1] * SHAPE[2]))
        t = np.concatenate([t, rng.integers(0, length, more)])
        noise = [rng.integers(0, size, more) for size in SHAPE]
        polarity, y, x = (np.concatenate(pair) for pair in zip((polarity, y, x), noise, strict=True))
        order = np.argsort(t, kind="stable")
        return Events.of(t[order], polarity[order], y[order], x[order], SHAPE)


def path() -> np.ndarray:
    """Where the image is at each moment, float64 `[moments, 2]`, x and y: it starts and stops softly at each corner."""
    along = 0.5 - 0.5 * np.cos(np.pi * np.arange(MOMENTS) / MOMENTS)
    corners = np.array(CORNERS)
    sides = [start + along[:, None] * (end - start) for start, end in pairwise(corners)]
    return np.concatenate([*sides, corners[-1:]])


def write(
    folder: Path,
    sets: tuple[Dataset, Dataset],
    camera: Camera,
    images: int | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Write the recordings of the first `images` of the training and of the test set, of both as many at most, in the
    layout of N-MNIST; returns their number.

    Recordings that exist are kept: an interrupted run goes on. `moving.json` beside them tells what they were made
    from. `progress` is called with 1 for each.

    Raises
    ------
    UserError
        The images have several channels or are larger than the camera; or `folder` has recordings of another camera,
        of other images or sources, or is in use by another process.
    """
    for data in sets:
        require(data.shape[0] == 1, "image channels", data.shape[0], "1")
        require(max(data.shape[1:]) <= SHAPE[1], "image shape", data.shape, f"at most {SHAPE[1:]}")
    with hold(folder):
        _claim(folder, made_from(sets, camera, images))
        return _write(folder, sets, camera, images, progress)


def made_from(sets: tuple[Dataset, Dataset], camera: Camera, images: int | None = None) -> dict[str, Any]:
    """What the recordings of `write` depend on, in JSON's types."""
    data = {
        f"{part} {name}": value
        for part, found in zip(PARTS, sets, strict=True)
        for name, value in (("images", len(found.images[:images])), ("data", found.digest[:16]))
    }
    return asdict(camera) | data | {"sources": sources(*SOURCES)[:16], "numpy": np.__version__}


def _claim(folder: Path, wanted: dict[str, Any]) -> None:
    """Note in `folder` what its recordings are made from; `UserError` if it has others."""
    path, advice = folder / MADE_FROM, f"delete {folder}, or choose another folder"
    if not path.exists():
        others = next((one for one in sorted(folder.iterdir()) if one.name != NAME), None)
        found = f"{folder} with {others.name}" if others else ""
        require(others is None, "out", found, f"a new folder, an empty one, or one with {MADE_FROM}")
        write_text(path, json.dumps(wanted, indent=1) + "\n")
        return
    try:
        known = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        raise UserError(f"{path}: damaged; {advice}") from None
    for name, value in wanted.items():
        require(known.get(name) == value, f"{path} {name}", known.get(name), f"{value}: {advice}")


def _write(
    folder: Path,
    sets: tuple[Dataset, Dataset],
    camera: Camera,
    images: int | None,
    progress: Callable[[int], None],
) -> int:
    number = 0
    for part, data in zip(PARTS, sets, strict=True):
        for label in range(data.classes):
            (folder / part / str(label)).mkdir(parents=True, exist_ok=True)
        for index, (image, label) in enumerate(zip(data.images[:images, 0], data.labels[:images], strict=True)):
            target = folder / part / str(label) / f"{index + 1:05}.bin"
            if not target.exists():
                half = target.with_suffix(".part")
                half.write_bytes(encoded(camera.record(image, 2 * index + (part == PARTS[1]))))
                half.replace(target)
            number += 1
            progress(1)
    return number
