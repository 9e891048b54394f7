"""Steps for a stream: frames of the usual kinds, or arrays of any number of steps, one after another."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import UserError, require
from ..quantize.frames import flattened
from ..quantize.interface import Input
from ..quantize.network import QuantizedNetwork
from ..sim.frames import check
from .events import has_events
from .frames import Chosen, _count, _is_recordings, _read_array, labelled_frames
from .named_arrays import START, named_arrays

NPY = b"\x93N"  # start of a .npy file


def steps_of(network: QuantizedNetwork, chosen: Chosen | None = None) -> Any:
    """The steps of `chosen` as `sim.engine.Stream` takes them: uint8 `[n, 1, sources]`, of several inputs a tuple.

    An array of a .npy or .npz file is `[steps, sources]`, or `[frames, steps, sources]`, of which the frames follow
    each other in one stream, with any number of steps; the sources may be in the shape of the input. Whatever else
    `chosen` names has frames as the network reads them. `chosen.images`: of what the array counts first, or frames.

    Raises `UserError` for what does not fit the stream of `network`.
    """
    chosen, streamed = chosen or Chosen(), network.streamed
    start, path = b"", chosen.frames
    if path is not None and path.is_file() and not (has_events(path) or _is_recordings(path)):
        chosen.counting.require_events(path)
        with path.open("rb") as file:
            start = file.read(2)
    if path is not None and start == START:
        found = named_arrays(path, [one.name for one in network.inputs], "frames file")
    elif path is not None and start == NPY and len(network.inputs) == 1:
        found = [_read_array(path, "frames file")]
    else:
        frames, _ = labelled_frames(network, chosen)
        found = list(frames) if isinstance(frames, tuple) else [frames]
        chosen = Chosen()  # they have been counted
    require(chosen.labels is None, "labels", chosen.labels, "none: the steps of a stream have no labels")
    by_step = tuple(_by_step(given, values, chosen) for given, values in zip(network.inputs, found, strict=True))
    require(len(by_step[0]) > 0, "steps", 0, "at least 1")
    check(streamed, by_step)
    return by_step if len(by_step) > 1 else by_step[0]


def _by_step(given: Input, values: np.ndarray, chosen: Chosen) -> np.ndarray:
    """As many `values` of an input as are `chosen`, of one frame or of several, as steps `[n, 1, sources]`."""
    sources = prod(given.shape)
    for leading, what in ((1, "the steps"), (2, "the frames")):
        if values.shape[leading:] in ((sources,), given.shape):
            some = values[: _count(chosen, len(values), what)]
            return flattened(given, some.reshape(-1, 1, sources), 1, f"steps of {given.name}")
    accepted = f"[steps, {sources}] or [frames, steps, {sources}]"
    raise UserError.of(f"steps of {given.name} shape", values.shape, accepted)
