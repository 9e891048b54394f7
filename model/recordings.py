"""Recordings: events in time, counted in bins; the data set beside `data.Dataset`, and its file.

A recording is what an event camera or a microphone's filter bank has seen: for each step, how many events each source
has had. Its length is that of the network that reads it: bins after its end are empty, and what comes later is cut off
(`fitted`). The shape of a step is `(channels, height, width)`; sources that are no picture, such as the bands of a
filter bank, are `(1, 1, sources)`.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from .. import archive
from ..checks import fields
from ..errors import UserError, require, within
from ..shapes import LARGEST_STEPS, shape_of
from .data import LARGEST_LABEL, Dataset
from .data import split as split_last
from .description import Network
from .graph import Graph

KIND = "recordings"  # of a file
PARTS = ("train", "test")
LARGEST_COUNT = 255  # of events of a source in a step: what is above it is cut to it
NO_GROUP = -1

Counts = TypeVar("Counts", bound=Any)


@dataclass(frozen=True)
class Recordings:
    """`counts` uint8 `[n, steps, channels, height, width]` and their `labels` `[n]`, uint8 or int32.

    groups
        int32 `[n]`, 0 or above: who or what a recording is of, such as the speaker; None where it is not known.
    made
        How the counts were made, JSON: kept with what is trained on them, so that others are made alike. It is no part
        of the digest.
    """

    counts: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None
    made: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.counts.dtype == np.uint8, "recordings dtype", self.counts.dtype, "uint8")
        layout = "5: [n, steps, channels, height, width]"
        require(self.counts.ndim == 5, "recordings dimensions", self.counts.ndim, layout)
        require(self.counts.size > 0, "recordings shape", self.counts.shape, "no empty dimension")
        require(self.steps <= LARGEST_STEPS, "recordings steps", self.steps, f"1 to {LARGEST_STEPS}")
        shape_of("recordings shape", self.shape, (3,))
        count = len(self.counts)
        for name, values, kinds in (
            ("labels", self.labels, (np.uint8, np.int32)),
            ("groups", self.groups, (np.int32,)),
        ):
            if values is None:
                continue
            known = " or ".join(np.dtype(kind).name for kind in kinds)
            require(values.dtype in kinds, f"{name} dtype", values.dtype, known)
            require(values.shape == (count,), f"{name} shape", values.shape, f"({count},), one for each recording")
            require(int(values.min()) >= 0, f"smallest of the {name}", int(values.min()), "0 or above")
        require(int(self.labels.max()) <= LARGEST_LABEL, "largest label", self.labels.max(), f"at most {LARGEST_LABEL}")

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, part: slice | np.ndarray) -> Recordings:
        """Those of a slice, or of the numbers or truth values in an array."""
        groups = None if self.groups is None else self.groups[part]
        return Recordings(self.counts[part], self.labels[part], groups, self.made)

    @property
    def images(self) -> np.ndarray:
        """The counts, under the name that training and evaluation know from `Dataset`."""
        return self.counts

    @property
    def steps(self) -> int:
        return int(self.counts.shape[1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a step: `(channels, height, width)`."""
        return self.counts.shape[2:]

    @property
    def frames(self) -> np.ndarray:
        """The counts in the format of the simulators: uint8 `[n, steps, sources]`."""
        return self.counts.reshape(len(self), self.steps, prod(self.shape))

    @cached_property
    def bits(self) -> int:
        """Bits of the largest count: those of the input of a network that loses nothing."""
        return max(1, int(self.counts.max()).bit_length())

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return int(self.labels.max()) + 1

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the shape, the counts, the labels and the groups."""
        groups = np.full(len(self), NO_GROUP) if self.groups is None else self.groups
        sha = hashlib.sha256(repr(self.counts.shape).encode())
        sha.update(np.ascontiguousarray(self.counts).data)
        for values in (self.labels, groups):
            sha.update(values.astype("<i4").tobytes())
        return sha.hexdigest()

    def fitted(self, steps: int) -> Recordings:
        """The same of `steps` steps: those after the end of a recording are empty, those beyond are cut off."""
        if steps == self.steps:
            return self
        counts = np.zeros((len(self), steps, *self.shape), np.uint8)
        both = min(steps, self.steps)
        counts[:, :both] = self.counts[:, :both]
        return Recordings(counts, self.labels, self.groups, self.made)


AnyData = Dataset | Recordings
Data = TypeVar("Data", Dataset, Recordings, AnyData)


def clipped(counts: Counts, bits: int) -> Counts:
    """Counts as an input of `bits` bits sees them, NumPy or torch: those above its largest are its largest."""
    largest = (1 << bits) - 1
    found: Any = counts.clip(max=largest) if isinstance(counts, np.ndarray) else counts.clamp(max=largest)
    return cast(Counts, found)


def fit(data: Data, network: Network | Graph, what: str) -> Data:
    """`data`, recordings of as many steps as `network` runs for (`Recordings.fitted`).

    `UserError` unless this `what` fits the network otherwise: images or recordings, their shape and classes.
    """
    recorded = isinstance(network, Graph) and network.is_recorded
    if not recorded:
        accepted = f"images, which the network {network.name} reads"
        require(isinstance(data, Dataset), what, "recordings", accepted)
        assert isinstance(data, Dataset)
        data.require_fit(network.input_shape, network.classes, what)
        return data
    require(isinstance(data, Recordings), what, "images", f"recordings, which the network {network.name} reads")
    assert isinstance(data, Recordings)
    require(data.shape == network.input_shape, f"shape of a step of the {what}", data.shape,
            f"{network.input_shape}, which the network reads")  # fmt: skip
    most = f"at most {network.classes}, those of the network"
    require(data.classes <= network.classes, f"classes in the {what}", data.classes, most)
    return data.fitted(network.steps)


def split(data: Any, held_out: int | None = None, group: int | None = None) -> tuple[Any, Any]:
    """Training and validation set of a training set: images, recordings or labelled frames.

    The last `held_out` are the validation set (None: `usually_held_out`); or all recordings of a `group`.
    """
    if group is None:
        return split_last(data, held_out)
    groups = getattr(data, "groups", None)
    if groups is None:
        raise UserError.of("held_out_group", group, "None: the data has no groups")
    chosen = groups == group
    known = ", ".join(map(str, np.unique(groups)[:32]))
    require(bool(chosen.any()) and not bool(chosen.all()), "held_out_group", group, f"one of several: {known}")
    return data[~chosen], data[chosen]


def save(path: str | Path, training: Recordings, test: Recordings) -> str:
    """Write training and test set to a file, .npz; returns its digest. `UserError` if they are no pair, or too large.

    A file holds as much as `archive.LARGEST_TOTAL`. Larger sets remain files of events.
    """
    _check_pair(training, test)
    arrays: dict[str, np.ndarray] = {}
    for part, data in zip(PARTS, (training, test), strict=True):
        arrays |= {f"{part}.counts": data.counts, f"{part}.labels": data.labels}
        if data.groups is not None:
            arrays[f"{part}.groups"] = data.groups
    return archive.save(path, KIND, {"made": training.made}, arrays)


def load(path: str | Path) -> tuple[Recordings, Recordings]:
    """The training and the test set that `save` has written; `UserError` names the file and its fault."""
    made, arrays = archive.load(path, KIND, _read)
    with within(f"{KIND} file {path}"):
        training, test = (
            Recordings(arrays[f"{part}.counts"], arrays[f"{part}.labels"], arrays.get(f"{part}.groups"), made)
            for part in PARTS
        )
        _check_pair(training, test)
    return training, test


def is_file(path: str | Path) -> bool:
    """Whether a path is a file of recordings, judged by its ending and not by its contents."""
    return Path(path).suffix == ".npz" and Path(path).is_file()


def is_kind(path: str | Path) -> bool:
    """Whether a .npz file is an archive of our own, as `save` writes it, and not arrays that `numpy.savez` wrote."""
    try:
        with zipfile.ZipFile(path) as file:
            return "header.npy" in file.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _check_pair(training: Recordings, test: Recordings) -> None:
    for name in ("steps", "shape"):
        found, wanted = getattr(test, name), getattr(training, name)
        require(found == wanted, f"{name} of the test set", found, f"{wanted} as in training")


def _read(header: dict[str, Any], claims: archive.Claims) -> dict[str, Any]:
    """How the counts were made, if these claims are those of a file of recordings."""
    fields("header", header, ("made",))
    if not isinstance(header["made"], dict):
        raise UserError.of("made", header["made"], "an object")
    needed = {f"{part}.{what}" for part in PARTS for what in ("counts", "labels")}
    known = needed | {f"{part}.groups" for part in PARTS}
    missing, unknown = sorted(needed - claims.keys()), sorted(claims.keys() - known)
    require(not missing, "arrays", f"without {missing[:1]}", ", ".join(sorted(needed)))
    require(not unknown, "arrays", f"with {unknown[:1]}", ", ".join(sorted(known)))
    return header["made"]
