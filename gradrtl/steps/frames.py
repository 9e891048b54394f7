"""Frames and labels for a network: of a data set, or of a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, require
from ..model.data import Dataset, load
from ..quantize.images import frames_of_images
from ..quantize.network import QuantizedNetwork
from ..samples import IMAGES
from ..sim.frames import check

DATA = Path("data/mnist")


def frames_for(network: QuantizedNetwork, data: Dataset) -> Any:
    """Frames of a data set of images, uint8; `UserError` if the network needs others.

    Those of an input are `quantize.images.frames_of_images`; of a network with several inputs, a tuple of these.
    """
    found = tuple(frames_of_images(given, network.steps, data.images) for given in network.inputs)
    return found[0] if len(found) == 1 else found


def labelled_frames(
    network: QuantizedNetwork, folder: Path | None = None, images: int | None = None
) -> tuple[Any, np.ndarray]:
    """The first `images` test images in `folder` (None: all) and their labels.

    Without a folder, those in `data/mnist` if it is there, or else those that come with the package.
    """
    test = images_in(folder)
    count = len(test)
    require(images is None or 1 <= images <= count, "images", images, f"1 to {count}, the test images")
    some = test[:images]
    return frames_for(network, some), some.labels


def images_in(folder: Path | None) -> Dataset:
    """The test images in `folder`, or where `labelled_frames` looks for them."""
    if folder is None and not DATA.is_dir():
        with np.load(IMAGES) as arrays:
            return Dataset(arrays["images"], arrays["labels"])
    return load(folder or DATA)[1]


def load_frames(path: Path, network: QuantizedNetwork) -> np.ndarray:
    """Frames of a .npy file, as the network reads them: uint8 `[n, sources]`, or `[n, steps, sources]` of spikes."""
    require(path.exists(), "frames file", path, "a file that exists")
    require(path.is_file(), "frames file", path, "a regular file: no folder, device or pipe")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of a header that it had to repair
            frames = np.load(path, allow_pickle=False)
    except Exception:  # NumPy raises many kinds on damaged bytes
        raise UserError(f"frames file {path}: not a .npy file of numbers, or damaged") from None
    require(isinstance(frames, np.ndarray), "frames file", path, "one array, .npy")
    check(network, frames)
    require(len(frames) > 0, "frames", len(frames), "at least 1")
    return frames
