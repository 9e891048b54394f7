"""`QuantizedNetwork`: the frozen integers that simulators and hardware share.

A network is a graph: inputs, populations of one kind of `IntNeuron` each, connections between them, and read-outs. The
meaning of every field is the arithmetic contract of `docs/design.md`, section 2, written out in `sim/reference.py`. All
widths that simulators and hardware need are derived here and in `ranges.py`, once. The parts stand in files of their
own; all are imported from here.

A chain is a graph in which every population has one connection, from the population before it or from the input:
`QuantizedNetwork.chain` makes one from `Layer`s, and `layers` gives them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .. import archive
from ..arrays import connectivity
from ..checks import whole
from ..errors import require, within
from ..shapes import LARGEST_LAYERS, LARGEST_STEPS, OF_SPIKES, Pool
from . import network_file, network_file_1
from .graph import Edge, Graph
from .interface import PIXEL_BITS, SUM_BITS, Input, Readout
from .layer import Layer
from .neuron import LIMIT, Adaptation, IntNeuron, LeakKind, Parameters, Reset, Rounding, State, SynapticCurrent
from .placement import Placement, checked_rates
from .population import Connection, Population, kinds, unique
from .ranges import Ranges, ranges_of_graph
from .synapses import WEIGHT_BITS, Conv, Dense

UNBOUNDED = "a leak, or bits in which they are clipped, so that they stay bounded in a stream"

__all__ = [
    "LIMIT",
    "PIXEL_BITS",
    "WEIGHT_BITS",
    "Adaptation",
    "Connection",
    "Conv",
    "Dense",
    "Edge",
    "Input",
    "IntNeuron",
    "Layer",
    "LeakKind",
    "Parameters",
    "Pool",
    "Population",
    "QuantizedNetwork",
    "Ranges",
    "Readout",
    "Reset",
    "Rounding",
    "State",
    "SynapticCurrent",
]


@dataclass(frozen=True)
class QuantizedNetwork:
    """A validated graph of integers.

    What follows `readouts` is not part of the network's meaning, nor of its `digest`: `notes` is free JSON (scales,
    provenance) that no simulator and no hardware reads; `rates` and `placement` say how the network is best placed,
    where that is known.

    populations
        In any order; simulators and hardware update them in the order of `order`.
    readouts
        The class of a frame is decided by the first.
    rates
        For each connection, in the order of `edges`, float64 `[sources]`: mean events per frame of each source,
        measured on training data.
    frame_steps
        Of a stream, the steps that a frame of its network has; None for a network with frames. See `streamed`.
    """

    inputs: tuple[Input, ...]
    populations: tuple[Population, ...]
    steps: int
    readouts: tuple[Readout, ...] = (Readout(),)
    notes: dict[str, Any] = field(default_factory=dict)
    rates: tuple[np.ndarray, ...] | None = None
    placement: Placement | None = None
    frame_steps: int | None = None

    def __post_init__(self) -> None:
        def take(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        take("steps", whole("steps", self.steps, 1, LARGEST_STEPS))
        for name, kind in (("inputs", Input), ("populations", Population), ("readouts", Readout)):
            given = getattr(self, name)
            given = (given,) if isinstance(given, kind) else given
            kinds("network", {name: (given, (tuple, list))})
            for item in given:
                kinds("network", {name: (item, (kind,))})
            take(name, tuple(given))
            require(1 <= len(given) <= LARGEST_LAYERS, name, len(given), f"1 to {LARGEST_LAYERS}")
        kinds("network", {"notes": (self.notes, (dict,)), "placement": (self.placement, (Placement, type(None)))})
        last = self.populations[-1].name
        take("readouts", tuple(replace(given, source=given.source or last) for given in self.readouts))
        self._check_readouts()
        for population, ranges in zip(self.populations, self.ranges, strict=True):
            extreme = max(map(abs, (*ranges.potential, *ranges.membrane, *ranges.synaptic)))
            extreme = max(extreme, *(abs(i) << population.neuron.fraction for i in ranges.current))
            lifted = ranges.adaptation[1] + int(population.neuron.threshold.max())  # a threshold may be negative
            extreme = max(extreme, ranges.adaptation[1], lifted)
            if self.stream:
                require(ranges.settled, f"population {population.name} range", "without bound", UNBOUNDED)
            require(extreme < LIMIT, f"population {population.name} largest sum", extreme, f"less than {LIMIT}")
            apart = ranges.farthest(population.neuron)
            what = f"population {population.name} distance of input and membrane"
            require(apart < 2 * LIMIT, what, apart, f"less than {2 * LIMIT}, for the engine's 32 bits")
        self._check_sums()
        if self.rates is not None:
            take("rates", checked_rates(self.rates, [edge.sources for edge in self.edges]))
        if self.placement is not None:
            self.placement.check(len(self.populations))

    @staticmethod
    def chain(
        input: Input,
        layers: Sequence[Layer],
        steps: int,
        readout: Readout | None = None,
        notes: dict[str, Any] | None = None,
        rates: tuple[np.ndarray, ...] | None = None,
        placement: Placement | None = None,
    ) -> QuantizedNetwork:
        """The graph of `layers`, each of which reads what the one before it, or the input, puts out."""
        kinds("network", {"input": (input, (Input,)), "layers": (layers, (tuple, list))})
        require(1 <= len(layers) <= LARGEST_LAYERS, "layers", len(layers), f"1 to {LARGEST_LAYERS}")
        populations: list[Population] = []
        for layer in layers:
            kinds("network", {"layers": (layer, (Layer,))})
        given, *names = unique([input.name, *(layer.name for layer in layers)])
        source, shape, pool = given, input.shape, None
        for title, layer in zip(names, layers, strict=True):
            seen = pool.output_shape(shape) if pool else shape
            convolves = isinstance(layer.synapses, Conv)
            fits = layer.input_shape == seen if convolves else prod(layer.input_shape) == prod(seen)
            require(fits, f"layer {layer.name} input_shape", layer.input_shape, f"{seen}, from the layer before")
            without = replace(layer.synapses, bias=np.zeros(layer.channels, np.int64))
            connection = Connection(source, without, layer.weight_bits, pool=pool)
            bias = layer.synapses.bias
            populations.append(Population(title, layer.shape, layer.neuron, bias, (connection,)))
            source, shape, pool = title, layer.shape, layer.pool
        require(pool is None, f"layer {layers[-1].name} pool", pool, "none: the last layer is read out as it is")
        read = replace(readout or Readout(), source=source)
        inputs = (replace(input, name=given),)
        return QuantizedNetwork(inputs, tuple(populations), steps, (read,), notes or {}, rates, placement)

    def changed(self, **changes: Any) -> QuantizedNetwork:
        """A chain with other arguments of `chain`; `rates` and `placement` are kept unless they are among them."""
        arguments = {"input": self.input, "layers": self.layers, "readout": self.readout}
        others = {name: getattr(self, name) for name in ("steps", "notes", "rates", "placement")}
        return QuantizedNetwork.chain(**{**arguments, **others, **changes})

    @property
    def stream(self) -> bool:
        """Whether this is a stream: see `streamed`."""
        return self.frame_steps is not None

    @cached_property
    def streamed(self) -> QuantizedNetwork:
        """The network without frames: steps come one after another, without end, and the state is kept.

        A frame of it is one step, which is what simulators and hardware take and answer. Its digest is that of the
        network. Raises `UserError` where pixels are held for a frame, and where states grow without bound.
        """
        if self.stream:
            return self
        for given in self.inputs:
            accepted = "spikes or graded in a stream, which has no frame for which pixels could be held"
            require(given.kind != "static", f"input {given.name} kind", given.kind, accepted)
        rates = self.rates and tuple(values / self.steps for values in self.rates)
        return replace(self, steps=1, rates=rates, frame_steps=self.steps)

    def _check_readouts(self) -> None:
        """Each read-out has its population, which spikes if spikes are counted; silent ones are only read out."""
        sources: dict[str, str] = {}
        for readout in self.readouts:
            where = f"readout of {readout.source}"
            known = {population.name: population for population in self.populations}
            require(readout.source in known, "readout source", readout.source, f"one of {', '.join(known)}")
            require(readout.source not in sources, "readout source", readout.source, "populations, each read once")
            sources[readout.source] = readout.kind
            population = known[readout.source]
            outputs = population.neurons
            require(
                outputs % readout.group == 0, f"{where} group", readout.group, f"a divisor of {outputs}, its neurons"
            )
            wanted = readout.kind in OF_SPIKES
            spiking = population.neuron.spiking
            require(spiking == wanted, f"population {population.name} spiking", spiking, f"{wanted} for {readout.kind}")
        for population in self.populations:
            require(
                population.neuron.spiking or population.name in sources,
                f"population {population.name} spiking", False, "True, or a read-out of its membranes",
            )  # fmt: skip

    def _check_sums(self) -> None:
        """The sums of the read-outs fit the words of the result packet."""
        for readout, ranges in zip(self.readouts, self.readout_ranges, strict=True):
            low, high = (bound * readout.group for bound in ranges)
            fits = low >= -(1 << SUM_BITS - 1) and high < 1 << SUM_BITS - 1
            remedy = f"{SUM_BITS} signed bits: take a smaller readout.group, a smaller fraction or fewer steps"
            require(fits, "sum of a class", f"{low} to {high}", remedy)

    @cached_property
    def graph(self) -> Graph:
        """How the populations are connected; `UserError` where they cannot be so."""
        return Graph(self.inputs, self.populations)

    @property
    def order(self) -> tuple[int, ...]:
        """Indices of the populations in the order in which a step updates them."""
        return self.graph.order

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All connections, by population and then in the population's own order."""
        return self.graph.edges

    def consumers(self, name: str) -> tuple[Edge, ...]:
        """The connections that read the input or population `name`."""
        return tuple(edge for edge in self.edges if name in edge.connection.sources)

    def population(self, name: str) -> Population:
        """The population `name`."""
        return self.populations[self.graph.index[name]]

    @cached_property
    def readout_ranges(self) -> tuple[tuple[int, int], ...]:
        """For each read-out, bounds of what is read of one neuron."""
        found = []
        for readout in self.readouts:
            spikes = readout.kind in OF_SPIKES
            low, high = (0, 1) if spikes else self.ranges[self.graph.index[readout.source]].membrane
            times = 1 if readout.kind in ("membrane", "largest") else self.steps
            found.append((low * times, high * times))
        return tuple(found)

    @cached_property
    def classes_of(self) -> tuple[int, ...]:
        """For each read-out, the number of its sums."""
        return tuple(self.population(readout.source).neurons // readout.group for readout in self.readouts)

    @property
    def classes(self) -> int:
        """Classes among which the first read-out decides."""
        return self.classes_of[0]

    @cached_property
    def is_chain(self) -> bool:
        """Whether `layers` can tell the whole network."""
        names = (self.inputs[0].name, *(population.name for population in self.populations))
        chained = all(
            len(population.inputs) == 1
            and population.inputs[0].sources == (source,)
            and population.inputs[0].delay == population.inputs[0].shift == 0
            and (isinstance(population.inputs[0].synapses, Conv) or len(population.shape) == 1)
            for population, source in zip(self.populations, names[:-1], strict=True)
        )
        return chained and len(self.inputs) == len(self.readouts) == 1 and self.readouts[0].source == names[-1]

    @property
    def answers_early(self) -> bool:
        """Whether the packet of a frame leaves as soon as first spikes have decided, and not at the frame's end."""
        return self.is_chain and self.readout.kind == "first"

    def _chain_only(self, what: str) -> None:
        require(self.is_chain, "network", "a graph", f"a chain of layers, of which {what} can be asked")

    @property
    def input(self) -> Input:
        """The input of a chain."""
        self._chain_only("the input")
        return self.inputs[0]

    @property
    def readout(self) -> Readout:
        """The read-out of a chain."""
        self._chain_only("the read-out")
        return self.readouts[0]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of a chain; `UserError` for other graphs."""
        self._chain_only("the layers")
        pools = [population.inputs[0].pool for population in self.populations[1:]]
        return tuple(
            Layer(
                population.name,
                edge.input_shape,
                replace(edge.synapses, bias=population.bias),
                population.neuron,
                edge.connection.weight_bits,
                pool,
            )
            for population, edge, pool in zip(self.populations, self.edges, [*pools, None], strict=True)
        )

    @property
    def connected(self) -> int:
        """Weights that are not zero, of all connections."""
        return sum(edge.connected for edge in self.edges)

    @property
    def possible(self) -> int:
        """Weights of all connections, zeros included."""
        return sum(edge.possible for edge in self.edges)

    @property
    def connectivity(self) -> float:
        """The fraction of all weights that are not zero."""
        return connectivity([edge.connected for edge in self.edges], self.possible)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that has a meaning (`notes`, `rates` and `placement` left out)."""
        framed = replace(self, steps=self.frame_steps, frame_steps=None) if self.frame_steps is not None else self
        return archive.digest(*(network_file_1.content(framed) or network_file.content(framed, meaning=True)))

    @cached_property
    def ranges(self) -> tuple[Ranges, ...]:
        """Proven bounds, one for each population."""
        return ranges_of_graph(self.graph, None if self.stream else self.steps)

    def save(self, path: str | Path) -> str:
        """Write the network to `path`; returns the file's digest (that of notes, rates and placement included)."""
        require(not self.stream, "network", "a stream", "one with frames, in a file")
        return archive.save(path, network_file.KIND, *network_file.content(self), version=network_file.VERSION)

    @staticmethod
    def load(path: str | Path) -> QuantizedNetwork:
        """Read a network; `UserError` names what is wrong with a file that is not one."""
        plan, arrays = archive.load(path, network_file.KIND, network_file.read, network_file.VERSION)
        with within(f"{network_file.KIND} file {path}"):
            made = plan.network(arrays)
            return QuantizedNetwork.chain(**made) if "layers" in made else QuantizedNetwork(**made)
