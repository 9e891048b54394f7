"""The first difference between two simulations of the same frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..rtl.mapping import Mapping
from .outcome import Outcome
from .timing.predict import Cycles


@dataclass(frozen=True)
class Difference:
    """Where two simulations differ. All indices count from 0; None if they do not apply.

    `quantity` is spike or membrane (with step, layer and neuron in network order), sum (`neuron` is the class, counted
    through all read-outs), class (of a later read-out with its number), number (of a step), flag (the packet calls the
    frame malformed), or first beat, last beat, packet or latency (cycles).
    """

    frame: int
    quantity: str
    expected: int
    got: int
    step: int | None = None
    layer: int | None = None
    neuron: int | None = None

    def __str__(self) -> str:
        places = (("frame", self.frame), ("step", self.step), ("layer", self.layer), ("neuron", self.neuron))
        where = ", ".join(f"{name} {index}" for name, index in places if index is not None)
        return f"{where}: {self.quantity} is {self.got}, expected {self.expected}"


def first_difference(expected: Outcome, got: Outcome, mapping: Mapping | None = None) -> Difference | None:
    """The first difference by frame, within a frame by step, layer and neuron, then sums, then the class.

    Traces are compared if both have one. With `mapping`, neurons that it removed are not compared. If one outcome has
    fewer frames, the others are not compared.
    """
    frames = min(len(expected.classes), len(got.classes))
    found = [first_result_difference(expected, got)]
    if expected.trace is not None and got.trace is not None:
        for layer in range(len(expected.trace.spikes)):
            size = expected.trace.spikes[layer].shape[2]
            used = np.arange(size) if mapping is None else used_neurons(mapping, layer)
            for quantity, ours, theirs in (
                ("spike", expected.trace.spikes[layer], got.trace.spikes[layer]),
                ("membrane", expected.trace.membranes[layer], got.trace.membranes[layer]),
            ):
                unequal = ours[:frames, :, used] != theirs[:frames, :, used]
                if unequal.any():
                    frame, step, place = map(int, np.unravel_index(unequal.argmax(), unequal.shape))
                    neuron = int(used[place])
                    values = int(ours[frame, step, neuron]), int(theirs[frame, step, neuron])
                    found.append(Difference(frame, quantity, *values, step, layer, neuron))
    return min((one for one in found if one is not None), key=_order, default=None)


def first_result_difference(expected: Outcome, got: Outcome) -> Difference | None:
    """The first difference in sums and classes only."""
    frames = min(len(expected.classes), len(got.classes))
    sums = expected.counts[:frames] != got.counts[:frames]
    classes = expected.decided[:frames] != got.decided[:frames]
    unequal = sums.any(axis=1) | classes.any(axis=1)
    if not unequal.any():
        return None
    frame = int(unequal.argmax())
    if sums[frame].any():
        which = int(sums[frame].argmax())
        values = int(expected.counts[frame, which]), int(got.counts[frame, which])
        return Difference(frame, "sum", *values, neuron=which)
    which = int(classes[frame].argmax())
    values = int(expected.decided[frame, which]), int(got.decided[frame, which])
    return Difference(frame, f"class of read-out {which}" if which else "class", *values)


def first_cycle_difference(expected: Cycles, got: Cycles, apart: bool = False) -> Difference | None:
    """The first frame whose times differ; or, for frames sent `apart`, whose latencies differ."""
    quantities = {"first beat": "first_beat", "last beat": "last_beat", "packet": "result"}
    if apart:
        quantities = {"latency": "latency"}
    ours, theirs = (np.stack([getattr(c, name) for name in quantities.values()], axis=1) for c in (expected, got))
    unequal = ours != theirs
    if not unequal.any():
        return None
    frame, which = map(int, np.unravel_index(unequal.argmax(), unequal.shape))
    return Difference(frame, list(quantities)[which], int(ours[frame, which]), int(theirs[frame, which]))


def used_neurons(mapping: Mapping, layer: int) -> np.ndarray:
    """Neurons of a layer that the mapping kept, ascending."""
    slots = mapping.layers[layer].slots
    return np.unique(slots[slots >= 0])


def _order(difference: Difference) -> tuple[int, ...]:
    if difference.step is None:
        return (difference.frame, 1)
    place = (difference.step, difference.layer or 0, difference.neuron or 0, difference.quantity == "membrane")
    return (difference.frame, 0, *map(int, place))
