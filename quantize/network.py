"""`QuantizedNetwork`: the frozen integers that simulators and hardware share.

A network is a chain of layers. Each layer integrates its input through its synapses (`Dense` or `Conv`), updates one
kind of `IntNeuron`, and may pool its spikes. The meaning of every field is the arithmetic contract of `docs/design.md`,
section 2, written out in `sim/reference.py`. All widths that simulators and hardware need are derived here and in
`ranges.py`. The classes of the parts are in files of their own and can be imported from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .. import archive
from ..arrays import connectivity
from ..bits import signed_range
from ..checks import whole
from ..errors import UserError, require, within
from ..shapes import LARGEST_LAYERS, Pool
from . import network_file
from .interface import LARGEST_STEPS, PIXEL_BITS, SUM_BITS, Input, Readout
from .layer import Layer
from .neuron import LIMIT, IntNeuron, LeakKind
from .placement import Placement, checked_rates
from .ranges import Ranges, ranges_of
from .synapses import WEIGHT_BITS, Conv, Dense

__all__ = [
    "LIMIT",
    "PIXEL_BITS",
    "WEIGHT_BITS",
    "Conv",
    "Dense",
    "Input",
    "IntNeuron",
    "Layer",
    "LeakKind",
    "Pool",
    "QuantizedNetwork",
    "Ranges",
    "Readout",
]


@dataclass(frozen=True)
class QuantizedNetwork:
    """A validated chain of layers of integers.

    The fields after `readout` are not part of the network's meaning, nor of its `digest`. `notes` is free JSON (scales,
    provenance) that no program reads. `rates` and `placement` are for placing the network on hardware, if known.

    rates
        For each layer float64 `[sources]`: mean events per frame of each source, measured on training data.
    """

    input: Input
    layers: tuple[Layer, ...]
    steps: int
    readout: Readout = field(default_factory=Readout)
    notes: dict[str, Any] = field(default_factory=dict)
    rates: tuple[np.ndarray, ...] | None = None
    placement: Placement | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", whole("steps", self.steps, 1, LARGEST_STEPS))
        for name, kinds in (
            ("input", Input),
            ("layers", (tuple, list)),
            ("readout", Readout),
            ("notes", dict),
            ("placement", (Placement, type(None))),
        ):
            value = getattr(self, name)
            if not isinstance(value, kinds):
                raise UserError.of(name, type(value).__name__, str(QuantizedNetwork.__annotations__[name]))
        object.__setattr__(self, "layers", tuple(self.layers))
        require(1 <= len(self.layers) <= LARGEST_LAYERS, "layers", len(self.layers), f"1 to {LARGEST_LAYERS}")
        self._check_chain()
        self._check_outputs()
        for layer, ranges in zip(self.layers, self.ranges, strict=True):
            extreme = max(map(abs, (*ranges.potential, *ranges.membrane)))
            extreme = max(extreme, *(abs(i) << layer.neuron.fraction for i in ranges.current))
            require(extreme < LIMIT, f"layer {layer.name} largest sum", extreme, f"less than {LIMIT}")
        self._check_sums()
        if self.rates is not None:
            object.__setattr__(self, "rates", checked_rates(self.rates, [layer.sources for layer in self.layers]))
        if self.placement is not None:
            self.placement.check(len(self.layers))

    def _check_chain(self) -> None:
        """The input of each layer has the shape of the output before it."""
        shape = self.input.shape
        for layer in self.layers:
            require(isinstance(layer, Layer), "layers", type(layer).__name__, "layers, each a Layer")
            flat = layer.input_shape if isinstance(layer.synapses, Conv) else (prod(layer.input_shape),)
            seen = shape if isinstance(layer.synapses, Conv) else (prod(shape),)
            require(
                flat == seen, f"layer {layer.name} input_shape", layer.input_shape, f"{shape}, from the layer before"
            )
            shape = layer.output_shape

    def _check_outputs(self) -> None:
        """The last layer fits the read-out; only the last layer may be non-spiking."""
        last = self.layers[-1]
        require(last.pool is None, f"layer {last.name} pool", last.pool, "none: the last layer is read out as it is")
        outputs, group = last.neurons, self.readout.group
        require(outputs % group == 0, "readout.group", group, f"a divisor of the {outputs} outputs")
        spiking = self.readout.kind == "count"
        require(last.neuron.spiking == spiking, f"layer {last.name} spiking", last.neuron.spiking, str(spiking))
        for layer in self.layers[:-1]:
            require(layer.neuron.spiking, f"layer {layer.name} spiking", False, "True: only the last may be silent")

    def _check_sums(self) -> None:
        """The sums of the read-out fit the words of the result packet."""
        low, high = self.ranges[-1].membrane if self.readout.kind == "membrane" else (0, self.steps)
        low, high = low * self.readout.group, high * self.readout.group
        fits = signed_range(SUM_BITS)[0] <= low and high <= signed_range(SUM_BITS)[1]
        remedy = f"{SUM_BITS} signed bits: take a smaller readout.group, a smaller fraction or fewer steps"
        require(fits, "sum of a class", f"{low} to {high}", remedy)

    @property
    def classes(self) -> int:
        return self.layers[-1].neurons // self.readout.group

    @property
    def connected(self) -> int:
        """Weights that are not zero, of all layers."""
        return sum(layer.connected for layer in self.layers)

    @property
    def possible(self) -> int:
        """Weights of all layers, zeros included."""
        return sum(layer.possible for layer in self.layers)

    @property
    def connectivity(self) -> float:
        """The fraction of all weights that are not zero."""
        return connectivity([layer.connected for layer in self.layers], self.possible)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the network's meaning (without `notes`, `rates` and `placement`)."""
        return archive.digest(*network_file.content(self, meaning=True))

    @cached_property
    def ranges(self) -> tuple[Ranges, ...]:
        """Proven bounds, one for each layer."""
        largest, found = self.input.largest, []
        for layer in self.layers:
            found.append(ranges_of(layer, largest, self.steps))
            largest = layer.pool.largest if layer.pool else 1
        return tuple(found)

    def save(self, path: str | Path) -> str:
        """Write the network to `path`; returns the digest of the file (notes, rates and placement included)."""
        return archive.save(path, network_file.KIND, *network_file.content(self))

    @staticmethod
    def load(path: str | Path) -> QuantizedNetwork:
        """Read a network; `UserError` if the file is not one, naming the fault."""
        plan, arrays = archive.load(path, network_file.KIND, network_file.read)
        with within(f"{network_file.KIND} file {path}"):
            return QuantizedNetwork(**network_file.fields_of(plan, arrays))
