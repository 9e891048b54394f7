"""Frames and labels for a network, of a data set or of files: the loader of every command that takes them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, require
from ..model import recordings
from ..model.data import Dataset, read_images, read_labels, require_label_range
from ..model.events import sets as event_sets
from ..model.recordings import AnyData, Recordings
from ..model.sets import load, needed
from ..quantize.frames import flattened
from ..quantize.images import codes_latency, frames_of_images, frames_of_recordings
from ..quantize.network import QuantizedNetwork
from ..samples import IMAGES
from ..sim.frames import check
from .events import Counting, has_events
from .named_arrays import START, named_arrays

DATA = Path("data/mnist")
IDX = (b"\0\0", b"\x1f\x8b")  # starts of files: plain, gzipped


def frames_for(network: QuantizedNetwork, data: AnyData) -> Any:
    """Frames of a data set of images or recordings, uint8; `UserError` if the network needs others.

    Those of an input are `quantize.images.frames_of_images` or `frames_of_recordings`; of a network with several
    inputs, a tuple of these.
    """
    found: tuple[Any, ...]
    if isinstance(data, Recordings):
        counts = data.fitted(network.steps).counts
        found = tuple(frames_of_recordings(given, network.steps, counts) for given in network.inputs)
    else:
        found = tuple(
            frames_of_images(given, network.steps, data.images, codes_latency(network, given))
            for given in network.inputs
        )
    return found[0] if len(found) == 1 else found


@dataclass(frozen=True)
class Chosen:
    """Where frames come from, and how many of them: `images`, the first ones; None is all, or of a data set `usual`.

    `folder`: a data set, of which the test images are taken; None: `data/mnist` if it is there, or else the images that
    come with the package. `frames`: a file or folder instead, see `load_frames`. `labels`: a file with their labels.
    `counting`: how events of recordings are counted; nothing else may be chosen with it.
    """

    folder: Path | None = None
    frames: Path | None = None
    labels: Path | None = None
    images: int | None = None
    usual: int | None = None
    counting: Counting = Counting()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        together = self.folder is None or self.frames is None
        require(together, "data", self.folder, "not given together with --frames")
        require(self.labels is None or self.frames is not None, "labels", self.labels, "given together with --frames")


def labelled_frames(network: QuantizedNetwork, chosen: Chosen | None = None) -> tuple[Any, np.ndarray | None]:
    """The frames of `chosen` and their labels, None if there are none.

    Frames of a network with several inputs are a tuple. Raises `UserError` for what does not fit `network`.
    """
    chosen = chosen or Chosen()
    chosen.counting.require_events(chosen.frames or chosen.folder or DATA)
    if chosen.frames is not None and chosen.frames.is_file() and has_events(chosen.frames):
        return _recorded(network, chosen)
    if chosen.frames is None or chosen.frames.is_dir() or _is_recordings(chosen.frames):
        require(chosen.labels is None, "labels", chosen.labels, f"not given beside {chosen.frames}, which has its own")
        try:
            test = images_in(chosen.frames or chosen.folder, network, chosen)
            test = test[: _count(chosen, len(test), "the test images", chosen.usual)]
            return frames_for(network, test), test.labels
        except UserError as error:
            if chosen.frames or chosen.folder:
                raise
            raise UserError(f"{error} (these are the default images: choose others with --data or --frames)") from None
    found = load_frames(chosen.frames, network)
    inputs = found if isinstance(found, tuple) else (found,)
    labels = None if chosen.labels is None else load_labels(chosen.labels)
    if labels is not None:
        require(len(labels) == number_of(found), "labels", len(labels), f"{number_of(found)}, one for each frame")
    count = _count(chosen, number_of(found), "the frames")
    cut = tuple(values[:count] for values in inputs)
    return (cut if isinstance(found, tuple) else cut[0]), None if labels is None else labels[:count]


def _is_recordings(path: Path) -> bool:
    """Whether a .npz file is one of recordings, with labels of its own, and not one of arrays by input."""
    return recordings.is_file(path) and recordings.is_kind(path)


def number_of(frames: Any) -> int:
    """The number of frames, of one input or of several."""
    return len(frames[0] if isinstance(frames, tuple) else frames)


def _count(chosen: Chosen, whole: int, what: str, usual: int | None = None) -> int:
    if chosen.images is None:
        return usual or whole
    require(1 <= chosen.images <= whole, "images", chosen.images, f"1 to {whole}, {what}")
    return chosen.images


def images_in(folder: Path | None, network: QuantizedNetwork | None = None, chosen: Chosen | None = None) -> AnyData:
    """The test images or recordings in `folder`, or where `Chosen` looks for them.

    Events are counted as `chosen` says, or as those that `network` was trained on.
    """
    if folder is None and not DATA.is_dir():
        with np.load(IMAGES) as arrays:
            return Dataset(arrays["images"], arrays["labels"])
    folder = folder or DATA
    if event_sets.is_set(folder):
        chosen = chosen or Chosen()
        reading = None if network is None else chosen.counting.for_network(network)
        return event_sets.load_part(folder, "test", needed(reading, folder), chosen.images or chosen.usual)
    return load(folder)[1]


def _recorded(network: QuantizedNetwork, chosen: Chosen) -> tuple[Any, np.ndarray | None]:
    """The frames of a file of events, and the labels that it or another file tells."""
    path = chosen.frames
    assert path is not None
    own = event_sets.has_labels(path)
    require(not (own and chosen.labels), "labels", chosen.labels, f"not given beside {path}, which has its own")
    found = event_sets.load_file(path, needed(chosen.counting.for_network(network), path), chosen.images)
    count = _count(chosen, len(found), "the recordings")
    labels = found.labels if own else None
    if chosen.labels is not None:
        labels = load_labels(chosen.labels)
        require(len(labels) == len(found), "labels", len(labels), f"{len(found)}, one for each recording")
    some = found[:count]
    return frames_for(network, some), labels if labels is None else labels[: len(some)]


def load_frames(path: Path, network: QuantizedNetwork) -> Any:
    """Frames of a file, as the network reads them; of several inputs, a tuple.

    - A .npy file holds one array, `[n, sources]`, or `[n, steps, sources]` of events; the sources may also be in the
      shape of the input: `[n, channels, height, width]`, `[n, steps, channels, height, width]`
      (`quantize.frames.flattened`).
    - A .npz file holds such an array for each input, under its name.
    - Files of events are `model.events.sets.READERS`: see `labelled_frames`.
    - An IDX file, gzipped or not, holds images (`model.data.read_images`): see `frames_for`.

    Raises `UserError` for a file that is neither, is damaged, or does not fit.
    """
    start, several = _start(path, "frames file"), len(network.inputs) > 1
    if start in IDX:
        images = read_images(path)
        return frames_for(network, Dataset(images, np.zeros(len(images), np.uint8)))
    if start == START:
        arrays = named_arrays(path, [one.name for one in network.inputs], "frames file")
    else:
        accepted = f"a .npz file, with an array for each of {len(network.inputs)} inputs, or an IDX file"
        require(not several, "frames file", path, accepted)
        arrays = [_read_array(path, "frames file")]
    found = tuple(
        flattened(given, values, network.steps, f"frames of {given.name}" if several else "frames")
        for given, values in zip(network.inputs, arrays, strict=True)
    )
    check(network, found)
    require(len(found[0]) > 0, "frames", 0, "at least 1")
    return found if several else found[0]


def load_labels(path: Path) -> np.ndarray:
    """Labels of a .npy or IDX file: int64 `[n]`, 0 or above."""
    field = "labels file"
    labels = read_labels(path) if _start(path, field) in IDX else _read_array(path, field)
    require(labels.ndim == 1 and len(labels) > 0, "labels shape", labels.shape, "[n]")
    require(labels.dtype.kind in "ui", "labels dtype", labels.dtype, "integers")
    require_label_range(labels)
    return labels.astype(np.int64)


def _start(path: Path, field: str) -> bytes:
    """The first two bytes of a file, which say what it holds; `UserError` if it is no file."""
    require(path.exists(), field, path, "a file that exists")
    require(path.is_file(), field, path, "a regular file: no folder, device or pipe")
    with path.open("rb") as file:
        return file.read(2)


def _read_array(path: Path, field: str) -> np.ndarray:
    """The array of a .npy file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of a header that it had to repair
            values = np.load(path, allow_pickle=False)
    except Exception:  # NumPy raises many kinds on damaged bytes
        raise UserError(f"{field} {path}: not a .npy file of numbers, nor an IDX file, or damaged") from None
    require(isinstance(values, np.ndarray), field, path, "one array, .npy")
    return values
