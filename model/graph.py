"""What a float network is when it is more than a chain: inputs, populations, connections, a read-out. No torch.

Its classes mirror those of `quantize/network.py`. A connection adds up the outputs of its sources (pooled), `delay`
steps ago, and applies synapses to them; a population sums its connections. So a second connection is a skip into the
sum, two sources of one connection add their spikes (residual networks), and a population among its own sources is
recurrent. Before step `delay` its sources are silent.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

from ..checks import choice, fields, flag, items, name, real, whole
from ..errors import UserError, require, within
from ..shapes import (
    LARGEST_DELAY,
    LARGEST_FAN,
    LARGEST_LAYERS,
    LARGEST_REFRACTORY,
    LARGEST_SIZE,
    LARGEST_STEPS,
    TRAINED_READOUTS,
    Pool,
    shape_of,
)
from .description import ConvSpec, DenseSpec

LARGEST_BITS = 8  # of a count of events
SLOWEST, FASTEST = 1 - 2**-8, 2**-8  # the range of a learnt decay: what a factor over 2**8 can hold
LEARNT = ("fixed", "population", "channel", "neuron")


def _decay(field: str, value: Any) -> float:
    value = real(field, value)
    require(0 <= value <= 1, field, value, "0 to 1: what is left of it after a step")
    return float(value)


@dataclass(frozen=True)
class CurrentSpec:
    """A synaptic current `i = decay * i + I`, of which the `new` or the `old` one enters the membrane."""

    decay: float = 0.5
    enters: str = "new"

    def __post_init__(self) -> None:
        object.__setattr__(self, "decay", _decay("neuron.current.decay", self.decay))
        choice("neuron.current.enters", self.enters, ("new", "old"))


@dataclass(frozen=True)
class AdaptationSpec:
    """A raised threshold `a = decay * a`, plus `jump` after a spike."""

    decay: float = 0.9
    jump: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "decay", _decay("neuron.adaptation.decay", self.decay))
        object.__setattr__(self, "jump", real("neuron.adaptation.jump", self.jump))
        require(self.jump >= 0, "neuron.adaptation.jump", self.jump, "0 or above")


@dataclass(frozen=True)
class NeuronSpec:
    """How the neurons of a population move: `quantize.neuron.IntNeuron` before any rounding, with gain 1.

    The steps are those of `IntNeuron`, in its order: synaptic current, potential `u = decay * v + x`, spike where
    `u >= threshold + a`, reset, adaptation, refractory steps. `model/dynamics.py` writes them out.

    learnt
        Which decays are trained: none (`fixed`), one for the `population`, one a `channel` or one a `neuron`. All
        decays of the neuron are: membrane, current, adaptation. They start at the values given here and stay in
        `FASTEST..SLOWEST`.
    """

    decay: float = 0.5
    threshold: float = 1.0
    reset: str = "hard"
    reset_value: float = 0.0
    reset_amount: float | None = None  # of a soft reset; None: the threshold
    start_value: float | None = None  # None: reset_value
    spiking: bool = True
    current: CurrentSpec | None = None
    adaptation: AdaptationSpec | None = None
    refractory: int = 0
    learnt: str = "fixed"

    def __post_init__(self) -> None:
        def take(field: str, value: object) -> None:
            object.__setattr__(self, field, value)

        take("decay", _decay("neuron.decay", self.decay))
        choice("neuron.reset", self.reset, ("hard", "soft", "none"))
        take("spiking", flag("neuron.spiking", self.spiking))
        for field in ("threshold", "reset_value"):
            take(field, real(f"neuron.{field}", getattr(self, field), "one finite number"))
        for field in ("reset_amount", "start_value"):
            if getattr(self, field) is not None:
                take(field, real(f"neuron.{field}", getattr(self, field), "one finite number, or None"))
        hard, soft = self.reset == "hard", self.reset == "soft"
        require(hard or self.reset_value == 0, "neuron.reset_value", self.reset_value, f"0 with the reset {self.reset}")
        amount = self.reset_amount
        require(soft or amount is None, "neuron.reset_amount", amount, f"None with the reset {self.reset}")
        for field, kind in (("current", CurrentSpec), ("adaptation", AdaptationSpec)):
            if not isinstance(getattr(self, field), kind | None):
                raise UserError.of(f"neuron.{field}", type(getattr(self, field)).__name__, f"a {kind.__name__} or None")
        take("refractory", whole("neuron.refractory", self.refractory, 0, LARGEST_REFRACTORY))
        fires = self.spiking or (self.adaptation is None and self.refractory == 0)
        require(fires, "neuron.spiking", False, "True with adaptation or refractory steps")
        choice("neuron.learnt", self.learnt, LEARNT)
        if self.learnt != "fixed":
            for which, decay in self.decays.items():
                require(FASTEST < decay < SLOWEST, f"neuron.{which}", decay, f"between {FASTEST} and {SLOWEST}: learnt")

    @property
    def decays(self) -> dict[str, float]:
        """The decays that the neuron has: `decay`, `current.decay`, `adaptation.decay`."""
        found = {"decay": self.decay}
        if self.current is not None:
            found["current.decay"] = self.current.decay
        if self.adaptation is not None:
            found["adaptation.decay"] = self.adaptation.decay
        return found


LI = NeuronSpec(decay=0.9, reset="none", spiking=False, learnt="population")


@dataclass(frozen=True)
class InputSpec:
    """An image, `shape` `(channels, height, width)`: held at every step; or cut into equal strips of its rows, from
    the top down, one strip a step. Or a recording: at each step counts of events, of the shape `shape`.

    counts
        Bits of a count, 1 to 8: larger counts are taken for the largest. 0: no recording, but an image.
    latency
        Of an image: each pixel is an event once, the brighter the earlier (`sequences.latencies`).
    """

    name: str
    shape: tuple[int, ...]
    held: bool = True
    counts: int = 0
    latency: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", name("input.name", self.name))
        object.__setattr__(self, "shape", shape_of(f"input {self.name} shape", self.shape, (3,)))
        object.__setattr__(self, "held", flag(f"input {self.name} held", self.held))
        object.__setattr__(self, "counts", whole(f"input {self.name} counts", self.counts, 0, LARGEST_BITS))
        object.__setattr__(self, "latency", flag(f"input {self.name} latency", self.latency))
        require(not (self.held and self.counts), f"input {self.name} held", True, "False: counts differ by step")
        still = not self.held and not self.counts
        require(still or not self.latency, f"input {self.name} latency", True, "False where it is held, or has counts")


@dataclass(frozen=True)
class ConnectionSpec:
    """Synapses from the sum of some sources, each pooled, as it was `delay` steps ago."""

    sources: tuple[str, ...]
    synapses: DenseSpec | ConvSpec
    delay: int = 0
    pool: Pool | None = None

    def __post_init__(self) -> None:
        sources = tuple(items("connection.sources", self.sources, LARGEST_FAN))
        object.__setattr__(self, "sources", tuple(name("connection.sources", source) for source in sources))
        require(len(self.sources) >= 1, "connection.sources", 0, f"1 to {LARGEST_FAN}")
        require(len(set(self.sources)) == len(self.sources), "connection.sources", self.sources, "names, each once")
        for field, kinds in (("synapses", (DenseSpec, ConvSpec)), ("pool", (Pool, type(None)))):
            value = getattr(self, field)
            if not isinstance(value, kinds):
                raise UserError.of(f"connection.{field}", type(value).__name__, f"a {kinds[0].__name__} or so")
        require(not self.synapses.bias, "connection.synapses.bias", True, "False: populations have biases")
        object.__setattr__(self, "delay", whole("connection.delay", self.delay, 0, LARGEST_DELAY))

    def source_shape(self, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
        """What the synapses see of their sources, whose shapes are `shapes`."""
        found = {source: self.pool.output_shape(shapes[source]) if self.pool else shapes[source] for source in
                 self.sources}  # fmt: skip
        first = found[self.sources[0]]
        for source, shape in found.items():
            require(shape == first, f"connection source {source} shape", shape, f"{first}, that of {self.sources[0]}")
        return first


@dataclass(frozen=True)
class PopulationSpec:
    """Neurons that sum their connections: `name`, `inputs`, `neuron`; a bias; batch normalisation of the sum."""

    name: str
    inputs: tuple[ConnectionSpec, ...]
    neuron: NeuronSpec = NeuronSpec()
    bias: bool = False
    batch_norm: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", name("population.name", self.name))
        where = f"population {self.name}"
        inputs = tuple(items(f"{where} inputs", self.inputs, LARGEST_FAN))
        require(len(inputs) >= 1, f"{where} inputs", 0, "1 or more connections")
        for connection in inputs:
            if not isinstance(connection, ConnectionSpec):
                raise UserError.of(f"{where} inputs", type(connection).__name__, "a ConnectionSpec each")
        object.__setattr__(self, "inputs", inputs)
        if not isinstance(self.neuron, NeuronSpec):
            raise UserError.of(f"{where} neuron", type(self.neuron).__name__, "a NeuronSpec")
        for field in ("bias", "batch_norm"):
            object.__setattr__(self, field, flag(f"{where} {field}", getattr(self, field)))


@dataclass(frozen=True)
class ReadoutSpec:
    """What is read of the population `source`: the `count` of spikes; or, of neurons that do not spike, the `membrane`
    at the end, the `largest` or the `sum` of all steps. Runs of `group` neurons are added."""

    source: str
    kind: str = "count"
    group: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", name("readout.source", self.source))
        choice("readout.kind", self.kind, TRAINED_READOUTS)
        object.__setattr__(self, "group", whole("readout.group", self.group, 1, LARGEST_SIZE))


@dataclass(frozen=True)
class Graph:
    """A network as a graph, run for `steps`. Names are the user's, each of one input or population."""

    name: str
    inputs: tuple[InputSpec, ...]
    populations: tuple[PopulationSpec, ...]
    readout: ReadoutSpec
    steps: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", name("network.name", self.name, least=0))
        object.__setattr__(self, "steps", whole("network.steps", self.steps, 1, LARGEST_STEPS))
        for field, kind in (("inputs", InputSpec), ("populations", PopulationSpec)):
            values: tuple[Any, ...] = tuple(items(f"network.{field}", getattr(self, field), LARGEST_LAYERS))
            require(len(values) >= 1, f"network.{field}", 0, f"1 to {LARGEST_LAYERS}")
            for value in values:
                if not isinstance(value, kind):
                    raise UserError.of(f"network.{field}", type(value).__name__, f"a {kind.__name__} each")
            object.__setattr__(self, field, values)
        if not isinstance(self.readout, ReadoutSpec):
            raise UserError.of("network.readout", type(self.readout).__name__, "a ReadoutSpec")
        names = [part.name for part in self.inputs] + [population.name for population in self.populations]
        twice = next((each for each in names if names.count(each) > 1), None)
        require(twice is None, "network name", twice, "each name once")
        self._check_connections(names)
        self.components  # noqa: B018 (raises where a cycle has no delay)
        for population in self.populations:
            with within(f"population {population.name}"):
                self.shapes[population.name]
        self._check_neurons()
        self._check_inputs()

    def _check_connections(self, names: list[str]) -> None:
        held, given = [part.name for part in self.inputs if part.held], [part.name for part in self.inputs]
        for population in self.populations:
            for index, connection in enumerate(population.inputs):
                where = f"population {population.name} inputs[{index}]"
                for source in connection.sources:
                    require(source in names, f"{where} source", source, f"one of {', '.join(names)}")
                    delayed = source in held and connection.delay > 0
                    require(not delayed, f"{where} delay", connection.delay, f"0: the input {source} is held")
                    pooled = source in given and connection.pool is not None
                    require(not pooled, f"{where} pool", connection.pool, "none: inputs are not pooled")
                are_held = {source in held for source in connection.sources}
                require(len(are_held) == 1, f"{where} sources", connection.sources, "held inputs only, or none")

    def _check_neurons(self) -> None:
        readout = self.readout
        known = [population.name for population in self.populations]
        require(readout.source in known, "readout.source", readout.source, f"a population: {', '.join(known)}")
        for population in self.populations:
            spiking, is_read = population.neuron.spiking, population.name == readout.source
            if is_read:
                kinds = "count" if spiking else "membrane, largest or sum"
                fits = spiking == (readout.kind == "count")
                require(fits, "readout.kind", readout.kind, f"{kinds}, as population {population.name} is")
            else:
                require(spiking, f"population {population.name} spiking", False, "True: it is not read out")
            if population.batch_norm:
                alone = not self.is_recurrent(population.name)
                require(alone, f"population {population.name} batch_norm", True, "False for a recurrent population")
        heard = {source for population in self.populations for c in population.inputs for source in c.sources}
        for part in self.inputs:
            require(part.name in heard, f"input {part.name}", "heard by nobody", "a source of a population")
        for population in self.populations:
            used = population.name in heard or population.name == readout.source
            require(used, f"population {population.name}", "heard by nobody", "a source of another, or read out")
        require(readout.source not in heard or self[readout.source].neuron.spiking, "readout.source", readout.source,
                "the source of no connection, as it does not spike")  # fmt: skip
        outputs = prod(self.shapes[readout.source])
        require(outputs % readout.group == 0, "readout.group", readout.group, f"a divisor of the {outputs} outputs")

    def _check_inputs(self) -> None:
        """Every input is a view of the same images, or of the same recordings."""
        first = self.inputs[0].shape
        for part in self.inputs:
            require(part.shape == first, f"input {part.name} shape", part.shape, f"{first}: all see the same images")
            require(bool(part.counts) == self.is_recorded, f"input {part.name} counts", part.counts,
                    "bits of a count for all inputs, or 0 for all")  # fmt: skip
            rows = part.shape[1]
            cuts = self.step_shape(part) == part.shape or rows % self.steps == 0
            require(cuts, "network.steps", self.steps, f"a divisor of the {rows} rows of input {part.name}")

    def __getitem__(self, name: str) -> PopulationSpec:
        return next(population for population in self.populations if population.name == name)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of an image, or of a step of a recording: `(channels, height, width)`."""
        return self.inputs[0].shape

    @property
    def is_recorded(self) -> bool:
        """Whether its frames are recordings, not images."""
        return self.inputs[0].counts > 0

    def step_shape(self, part: InputSpec) -> tuple[int, ...]:
        """Shape of what an input shows at a step."""
        channels, rows, width = part.shape
        return part.shape if part.held or part.counts or part.latency else (channels, rows // self.steps, width)

    @cached_property
    def components(self) -> tuple[tuple[str, ...], ...]:
        """Populations in an order in which each hears those before it; those that hear each other are together.

        Within a component they are ordered by the connections without delay.
        """
        hears = {
            population.name: {s for c in population.inputs for s in c.sources} & {p.name for p in self.populations}
            for population in self.populations
        }
        at_once = {
            population.name: {s for c in population.inputs if c.delay == 0 for s in c.sources} & hears.keys()
            for population in self.populations
        }
        order: list[str] = []
        while len(order) < len(hears):
            ready = [one for one in hears if one not in order and at_once[one] <= set(order)]
            stuck = next((one for one in hears if one not in order), "")
            require(bool(ready), f"population {stuck}", "on or behind a cycle without delay",
                    "a delay of 1 step or more on every cycle")  # fmt: skip
            order += ready
        reach = {one: self._reach(one, hears) for one in hears}
        groups: list[tuple[str, ...]] = []
        for one in order:
            if not any(one in group for group in groups):
                groups.append(tuple(n for n in order if n == one or (n in reach[one] and one in reach[n])))
        found: list[tuple[str, ...]] = []
        while len(found) < len(groups):
            done = {one for group in found for one in group}
            left = [group for group in groups if group not in found]
            found.append(next(g for g in left if set().union(*(hears[n] for n in g)) <= done | {*g}))
        return tuple(found)

    @staticmethod
    def _reach(name: str, hears: dict[str, set[str]]) -> set[str]:
        """All that `name` hears, over any number of connections."""
        found: set[str] = set()
        new = {name}
        while new:
            new = set().union(*(hears[n] for n in new)) - found
            found |= new
        return found

    def is_recurrent(self, name: str) -> bool:
        """Whether a population hears itself, over any number of connections."""
        group = next(group for group in self.components if name in group)
        return len(group) > 1 or any(name in connection.sources for connection in self[name].inputs)

    @property
    def is_chain(self) -> bool:
        """Whether each population hears the one before it alone, within the step."""
        known = {part.name for part in self.inputs}
        for population in self.populations:
            connection, *others = population.inputs
            if others or connection.delay or len(connection.sources) > 1 or connection.sources[0] not in known:
                return False
            known = {population.name}
        return True

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input at a step, and of each population: that of its connections, which must agree."""
        shapes = {part.name: self.step_shape(part) for part in self.inputs}
        left = list(self.populations)
        while left:
            population = next((p for p in left if self._known(p, shapes)), None)
            if population is None:
                raise UserError.of(f"population {left[0].name}", "heard by others alone that hear it",
                                   "a connection from an input, or from a population that has one")  # fmt: skip
            left.remove(population)
            with within(f"population {population.name}"):
                first = next(c for c in population.inputs if {*c.sources} <= shapes.keys())
                shapes[population.name] = first.synapses.output_shape(first.source_shape(shapes))
        for population in self.populations:
            shape = shapes[population.name]
            for index, connection in enumerate(population.inputs):
                with within(f"population {population.name} inputs[{index}]"):
                    found = connection.synapses.output_shape(connection.source_shape(shapes))
                    require(found == shape, "output shape", found, f"{shape}, that of the population")
        return shapes

    @staticmethod
    def _known(population: PopulationSpec, shapes: dict[str, tuple[int, ...]]) -> bool:
        return any({*connection.sources} <= shapes.keys() for connection in population.inputs)

    def channels(self, name: str) -> int:
        """Output channels of a population: what its bias is given for."""
        return self.shapes[name][0]

    @property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each connection's weight, under the name of its array: `population<p>.connection<c>.weight`."""
        return {
            weight_name(p, c): connection.synapses.weight_shape(connection.source_shape(self.shapes))
            for p, population in enumerate(self.populations)
            for c, connection in enumerate(population.inputs)
        }

    def source_values(self, population: PopulationSpec, input_bits: int) -> tuple[float, ...]:
        """For each connection, the real value of an integer 1 of what its synapses see; pixels have `input_bits`."""
        given = {part.name for part in self.inputs if not (part.counts or part.latency)}  # an event is worth a spike
        values = []
        for connection in population.inputs:
            pixels = given & {*connection.sources}
            mixed = pixels and not given >= {*connection.sources}
            require(not mixed, f"population {population.name} connection sources", connection.sources,
                    "inputs only, or populations only: a pixel is not worth a spike")  # fmt: skip
            value = 1 / ((1 << input_bits) - 1) if pixels else 1.0
            values.append(value / connection.pool.largest if connection.pool else value)
        return tuple(values)

    def decay_size(self, population: PopulationSpec) -> int:
        """How many values each decay of a population has."""
        if population.neuron.learnt == "neuron":
            return prod(self.shapes[population.name])
        return self.channels(population.name) if population.neuron.learnt == "channel" else 1

    @property
    def classes(self) -> int:
        return prod(self.shapes[self.readout.source]) // self.readout.group

    def with_steps(self, steps: int) -> Graph:
        return replace(self, steps=steps)

    def to_json(self) -> dict[str, Any]:
        body = asdict(self)
        for entry, population in zip(body["populations"], self.populations, strict=True):
            for inner, connection in zip(entry["inputs"], population.inputs, strict=True):
                inner["synapses"]["kind"] = "conv" if isinstance(connection.synapses, ConvSpec) else "dense"
                del inner["synapses"]["bias"]
        for part in body["inputs"]:
            for optional in ("counts", "latency"):
                if not part[optional]:
                    del part[optional]  # files of older networks have none
        return body

    @staticmethod
    def from_json(body: Any) -> Graph:
        """Inverse of `to_json`; what has a default may be left out. `UserError` names the field that is wrong."""
        body = fields("network", body, ("name", "inputs", "populations", "readout", "steps"))
        inputs = []
        for index, entry in enumerate(items("network.inputs", body["inputs"], LARGEST_LAYERS)):
            with within(f"inputs[{index}]"):
                inputs.append(InputSpec(**fields("input", entry, ("name", "shape"), ("held", "counts", "latency"))))
        populations = []
        for index, entry in enumerate(items("network.populations", body["populations"], LARGEST_LAYERS)):
            with within(f"populations[{index}]"):
                populations.append(_population(entry))
        readout = ReadoutSpec(**fields("readout", body["readout"], ("source",), ("kind", "group")))
        return Graph(body["name"], tuple(inputs), tuple(populations), readout, body["steps"])


def weight_name(population: int, connection: int) -> str:
    """The name of a connection's weights in a checkpoint, by its numbers in the graph."""
    return f"population{population}.connection{connection}.weight"


_CURRENT, _ADAPTATION = ("decay", "enters"), ("decay", "jump")
_NEURON = tuple(NeuronSpec.__dataclass_fields__)


def _population(entry: Any) -> PopulationSpec:
    entry = fields("population", entry, ("name", "inputs"), ("neuron", "bias", "batch_norm"))
    inputs = []
    for index, inner in enumerate(items("inputs", entry["inputs"], LARGEST_LAYERS)):
        with within(f"inputs[{index}]"):
            inputs.append(_connection(inner))
    neuron = dict(fields("neuron", entry.get("neuron", {}), (), _NEURON))
    for field, kind, known in (("current", CurrentSpec, _CURRENT), ("adaptation", AdaptationSpec, _ADAPTATION)):
        if neuron.get(field) is not None:
            neuron[field] = kind(**fields(f"neuron.{field}", neuron[field], (), known))
    flags = entry.get("bias", False), entry.get("batch_norm", False)
    return PopulationSpec(entry["name"], tuple(inputs), NeuronSpec(**neuron), *flags)


def _connection(entry: Any) -> ConnectionSpec:
    entry = fields("connection", entry, ("sources", "synapses"), ("delay", "pool"))
    given = entry["synapses"]
    kind = given.get("kind") if isinstance(given, dict) else given
    choice("synapses.kind", kind, ("dense", "conv"))
    made: DenseSpec | ConvSpec
    if kind == "conv":
        given = fields("synapses", given, ("kind", "channels"), ("kernel", "stride", "padding"))
        made = ConvSpec(**{field: value for field, value in given.items() if field != "kind"})
    else:
        made = DenseSpec(fields("synapses", given, ("kind", "outputs"))["outputs"])
    pool = entry.get("pool")
    if pool is not None:
        pool = Pool(**fields("pool", pool, ("kind", "size")))
    return ConnectionSpec(entry["sources"], made, entry.get("delay", 0), pool)
