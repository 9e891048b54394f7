"""The meaning of an imported graph, in floating point: node by node as the file has them, nothing composed or rounded.

What differs from the framework here was lost in the file or in the convention; what differs from here in the integers
is rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from ...arrays import reals
from ...errors import UserError, require
from .geometry import BIASED, CONVOLUTIONS, DENSE, POOLS, Window, bias, groups, pool_kernel, scale, weight, window
from .neurons import Rule
from .shapes import settled
from .structure import Neurons, Path, Structure


@dataclass(frozen=True)
class Traces:
    """What the populations did, by name: `spikes` uint8 or the number of several, `[n, steps, neurons]`.

    membranes
        Of populations that are read out and do not spike, float64 `[n, steps, neurons]`, after each step.
    """

    spikes: dict[str, np.ndarray]
    membranes: dict[str, np.ndarray]


def run(structure: Structure, frames: dict[str, np.ndarray]) -> Traces:
    """Run frames, float64 `[n, steps, values]` for each Input.

    Raises
    ------
    UserError
        The frames are of another shape, or not finite.
    """
    given = {}
    for name, shape in structure.inputs.items():
        require(name in frames, "frames", f"for {', '.join(frames)}", f"for the Input {name}")
        given[name] = reals(f"frames of {name}", frames[name], (3,))
        require(
            given[name].shape[2] == prod(shape), f"frames of {name}", given[name].shape, f"{prod(shape)} values a step"
        )
    count, steps = next(iter(given.values())).shape[:2]
    for name, array in given.items():
        require(array.shape[:2] == (count, steps), f"frames of {name}", array.shape, f"{count} frames of {steps} steps")
    machine = _Machine(structure, given, count)
    for t in range(steps):
        for population in structure.populations:
            machine.step(population, t)
    spikes = {name: np.stack(values, axis=1) for name, values in machine.spikes.items()}
    membranes = {name: np.stack(values, axis=1) for name, values in machine.membranes.items()}
    return Traces(spikes, membranes)


class State(NamedTuple):
    """Membranes and synaptic currents, float64 `[n, neurons]`, and whether a neuron has just spiked."""

    membrane: np.ndarray
    current: np.ndarray
    spiked: np.ndarray


class _Machine:
    """States and outputs of all populations so far."""

    def __init__(self, structure: Structure, frames: dict[str, np.ndarray], count: int):
        self.structure, self.frames, self.count = structure, frames, count
        self.spikes: dict[str, list[np.ndarray]] = {one.name: [] for one in structure.populations if one.rule.spiking}
        self.membranes: dict[str, list[np.ndarray]] = {
            one.name: [] for one in structure.populations if not one.rule.spiking
        }
        self.states = {}
        for one in structure.populations:
            full = (count, prod(one.shape))
            self.states[one.name] = State(np.broadcast_to(one.rule.start, full), np.zeros(full), np.zeros(full, bool))

    def step(self, population: Neurons, t: int) -> None:
        total = np.zeros((self.count, prod(population.shape)))
        seen: set[tuple[tuple[str, ...], int]] = set()
        for path in population.paths:
            total = total + self._through(path, len(path.nodes), t, seen)
        state, spikes = updated(population.rule, self.states[population.name], total)
        self.states[population.name] = state
        if spikes is None:
            self.membranes[population.name].append(state.membrane)
        else:
            kind = np.int64 if population.rule.several else np.uint8
            self.spikes[population.name].append(spikes.astype(kind))

    def _through(self, path: Path, end: int, t: int, seen: set[tuple[tuple[str, ...], int]]) -> np.ndarray:
        """What the first `end` nodes of a path bring at step `t`.

        The bias of a node counts once for each way from there on, however many paths lead to it.
        """
        if not end:
            return self._of(path.source, t - path.steps)
        name = path.nodes[end - 1]
        if self.structure.plain.nodes[name].type == "Delay":
            found = np.zeros((self.count, prod(self.structure.shapes[name])))
            delays = np.broadcast_to(self.structure.delays[name], found.shape[1:])
            for delay in np.unique(delays):
                if t >= delay:
                    part = self._through(path, end - 1, t - int(delay), seen)
                    found[:, delays == delay] = part[:, delays == delay]
            return found
        found = self._applied(name, self._through(path, end - 1, t, seen))
        way = path.nodes[end - 1 :], t
        if self.structure.plain.nodes[name].type in BIASED and way not in seen:
            seen.add(way)
            found = found + self._bias(name)
        return found

    def _of(self, source: str, t: int) -> np.ndarray:
        if source in self.frames:
            return self.frames[source][:, t]
        if t < 0:
            return np.zeros((self.count, prod(self.structure.population(source).shape)))
        return self.spikes[source][t].astype(np.float64)

    def _bias(self, name: str) -> np.ndarray:
        node, shape = self.structure.plain.nodes[name], self.structure.shapes[name]
        return np.repeat(bias(f"node {name}", node, shape[0]), prod(shape) // shape[0])

    def _applied(self, name: str, x: np.ndarray) -> np.ndarray:
        """A linear node of values `[n, inputs]`, without its bias."""
        node, shape, where = self.structure.plain.nodes[name], self.structure.shapes[name], f"node {name}"
        if node.type in DENSE:
            return x @ weight(where, node, 2).T
        if node.type == "Scale":
            return x * scale(where, node, shape)
        if node.type not in (*CONVOLUTIONS, *POOLS):
            return x
        before = self.structure.plain.before(name)
        maps = x.reshape(len(x), *settled(self.structure.shapes[before[0]]))
        if node.type in POOLS:
            size = pool_kernel(where, node)
            if node.type == "MaxPool2d":
                return _largest(maps, window(where, node, size)).reshape(len(x), -1)
            worth = 1 / prod(size) if node.type == "AvgPool2d" else 1.0
            full, parts = np.full((maps.shape[1], 1, *size), worth), maps.shape[1]
        else:
            full = weight(where, node, 3 if node.type == "Conv1d" else 4)
            parts = groups(where, node, full)
            full = full[:, :, None] if node.type == "Conv1d" else full
        frame = window(where, node, (full.shape[2], full.shape[3]))
        around = tuple(zip(frame.before, frame.after, strict=True))
        windows = _windows(np.pad(maps, ((0, 0), (0, 0), *around)), frame)
        rows, inner = len(full) // parts, full.shape[1]
        made = [
            np.einsum("ncyxij,ocij->noyx", windows[:, p * inner : (p + 1) * inner], full[p * rows : (p + 1) * rows])
            for p in range(parts)
        ]
        return np.concatenate(made, axis=1).reshape(len(x), -1)


def _windows(maps: np.ndarray, frame: Window) -> np.ndarray:
    """The windows of padded maps, `[n, channels, height, width, kernel height, kernel width]`."""
    (sy, sx), (dy, dx) = frame.stride, frame.dilation
    found = np.lib.stride_tricks.sliding_window_view(maps, frame.reach, axis=(2, 3))
    return found[:, :, ::sy, ::sx, ::dy, ::dx]


def _largest(maps: np.ndarray, frame: Window) -> np.ndarray:
    """The largest value of each window; nothing around the maps is larger."""
    around = tuple(zip(frame.before, frame.after, strict=True))
    padded = np.pad(maps, ((0, 0), (0, 0), *around), constant_values=-np.inf)
    return _windows(padded, frame).max(axis=(4, 5))


def updated(rule: Rule, state: State, total: np.ndarray) -> tuple[State, np.ndarray | None]:
    """States and spikes after a step with the sums `total`, `[n, neurons]`."""
    v, i, waits = state
    x = total
    if rule.current_decay is not None:
        i = rule.current_decay * i + rule.current_gain * total
        x = i
    u = rule.leak + rule.decay * (v - rule.leak) + rule.gain * x
    if rule.threshold is None:
        return State(u, i, waits), None
    spikes = (u >= rule.threshold if rule.equal else u > rule.threshold).astype(np.float64)
    if rule.several:
        if not bool((rule.threshold > 0).all()):
            raise UserError.of("threshold", float(rule.threshold.min()), "above 0, with several spikes in a step")
        spikes = spikes * np.floor(u / rule.threshold)
    if rule.held:
        u, spikes = np.where(waits, v, u), np.where(waits, 0.0, spikes)
    if rule.reset == "value":
        u = np.where(spikes > 0, rule.reset_value, u)
    elif rule.reset == "subtract":
        u = u - spikes * rule.reset_amount
    return State(u, i, spikes > 0), spikes
