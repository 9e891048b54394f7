"""Labelled frames that are no images: what fine-tuning takes in place of a data set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import require


@dataclass(frozen=True)
class LabelledFrames:
    """`frames` of each input, uint8 `[n, sources]` or `[n, steps, sources]` as the simulators take them, and `labels`.

    It can be used as a `model.data.Dataset`, whose `images` are then all frames side by side, `[n, values]`.
    """

    frames: tuple[np.ndarray, ...]
    labels: np.ndarray

    def __post_init__(self) -> None:
        require(len(self.frames) >= 1, "recordings", 0, "frames of one input or more")
        for values in self.frames:
            require(values.dtype == np.uint8, "recordings dtype", values.dtype, "uint8")
            require(
                values.ndim in (2, 3) and values.size > 0,
                "recordings shape",
                values.shape,
                "[n, sources] or [n, steps, sources]",
            )
            require(
                len(values) == len(self.labels), "recordings", len(values), f"{len(self.labels)}, one for each label"
            )
        require(self.labels.ndim == 1 and int(self.labels.min()) >= 0, "labels", "negative or no list", "0 or above")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, part: slice) -> LabelledFrames:
        return LabelledFrames(tuple(values[part] for values in self.frames), self.labels[part])

    @cached_property
    def images(self) -> np.ndarray:
        """The frames of all inputs side by side, each flattened: uint8 `[n, values]`."""
        return np.concatenate([values.reshape(len(values), -1) for values in self.frames], axis=1)

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return int(self.labels.max()) + 1

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the shapes, the frames and their labels."""
        sha = hashlib.sha256(repr([values.shape for values in self.frames]).encode())
        for values in self.frames:
            sha.update(np.ascontiguousarray(values).data)
        sha.update(self.labels.astype("<i4").tobytes())
        return sha.hexdigest()
