"""From a trained graph to integers, given the unit of each population. Folding and all rounding are here.

A population has one `unit`: the real value of an integer 1 in its sum. Each connection has a `shift`: an integer weight
of 1 is worth `unit * 2**shift / source_value`, where `source_value` is the real value of a source of 1. All else
follows:

    I       counts in  unit                  (biases)
    v, i, a count in   unit / 2**fraction    (thresholds, reset values and amounts, start values, jumps)

Decays are factors over a power of two; a membrane that keeps exactly `1 - 2**-k` decays by a shift.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import ceil, log2
from typing import Any

import numpy as np

from ..checks import choice, whole
from ..errors import UserError, require, within
from ..model.checkpoint import NORM, Checkpoint, TrainedPopulation
from ..model.description import ConvSpec
from ..model.graph import Graph, InputSpec, NeuronSpec
from .fold import LARGEST_WEIGHTS, fold_batch_norm
from .images import LATENCY
from .network import LIMIT, WEIGHT_BITS, Conv, Dense, Input, IntNeuron, LeakKind, QuantizedNetwork, Readout
from .neuron import LARGEST_MEMBRANE_BITS, LARGEST_SHIFT, Adaptation, Reset, Rounding, SynapticCurrent
from .population import Connection, Population
from .reals import Reals
from .rounding import round_weight

LARGEST_FRACTION = 8
CLOSE = 1e-6  # a threshold so little above an integer is that integer
SLOW = 0.5  # decays above it are rounded to nearest: a floor would hold small negative states for ever


@dataclass(frozen=True)
class GraphFormats:
    """The number formats to quantise a graph to.

    weight_bits
        2 to 8, for all connections.
    input_bits
        Number of bits of a pixel that are used, 1 to 8: the most significant ones.
    membrane_fraction
        0 to 8 bits of all states below the unit of the sum; None: by population, one more than the bits of
        `1 / (1 - decay)` of its slowest decay.
    membrane_bits
        Width of saturating membranes; None: exact.
    decay_bits
        1 to 15 fractional bits of decays that are not a shift.
    rounding
        Of decays: `floor` or `nearest`; `auto`: to nearest in populations with a decay above 1/2.
    per_channel
        One unit, hence one threshold, for each channel of a population that spikes.
    """

    weight_bits: int = 8
    input_bits: int = 8
    membrane_fraction: int | None = None
    membrane_bits: int | None = None
    decay_bits: int = 12
    rounding: str = "auto"
    per_channel: bool = False

    def __post_init__(self) -> None:
        whole("weight_bits", self.weight_bits, WEIGHT_BITS[0], WEIGHT_BITS[-1])
        whole("input_bits", self.input_bits, 1, 8)
        if self.membrane_fraction is not None:
            whole("membrane_fraction", self.membrane_fraction, 0, LARGEST_FRACTION)
        if self.membrane_bits is not None:
            whole("membrane_bits", self.membrane_bits, 2, LARGEST_MEMBRANE_BITS)
        whole("decay_bits", self.decay_bits, 1, LARGEST_SHIFT)
        choice("rounding", self.rounding, ("auto", *Rounding))


@dataclass(frozen=True)
class FoldedPopulation:
    """A population without normalisation: `weights` float64, one array a connection; `bias` float64 `[channels]`."""

    trained: TrainedPopulation
    weights: tuple[np.ndarray, ...]
    bias: np.ndarray

    @property
    def name(self) -> str:
        return self.trained.spec.name

    @property
    def neuron(self) -> NeuronSpec:
        return self.trained.spec.neuron


@dataclass(frozen=True)
class FoldedGraph:
    """A trained graph whose populations have weights, biases and neurons only; `notes` tell where it is from."""

    graph: Graph
    populations: tuple[FoldedPopulation, ...]
    notes: dict[str, Any]

    def source_values(self, population: FoldedPopulation, formats: GraphFormats) -> tuple[float, ...]:
        """For each connection, the real value of an integer 1 of what its synapses see."""
        return self.graph.source_values(population.trained.spec, formats.input_bits)


def fold_graph(checkpoint: Checkpoint) -> FoldedGraph:
    """Fold the normalisation of each sum into the weights of all its connections, and into its bias.

    Raises
    ------
    UserError
        The checkpoint is one of a chain, or the weights of a population are all zero or out of bounds.
    """
    graph = checkpoint.network
    if not isinstance(graph, Graph):
        raise UserError.of("checkpoint network", f"the chain {graph.name}", "a graph of populations")
    populations = []
    for trained in checkpoint.populations:
        weights = [weight.astype(np.float64) for weight in trained.weights]
        bias = trained.bias.astype(np.float64)
        if trained.norm is not None:
            gain, shift, mean, variance = (trained.norm[what].astype(np.float64) for what in NORM)
            nothing = np.zeros_like(bias)
            folded = [
                fold_batch_norm(weight, nothing, gain=gain, shift=shift, mean=mean, variance=variance)
                for weight in weights
            ]
            weights, bias = [weight for weight, _ in folded], bias + folded[0][1]  # once for the sum of all
        largest = max(float(np.abs(weight).max()) for weight in weights)
        where = f"population {trained.spec.name}"
        require(largest > 0, f"{where} weights", "all zero", "at least one synapse")
        low, high = LARGEST_WEIGHTS
        require(low <= largest <= high, f"{where} largest weight", largest, f"{low} to {high} from zero")
        populations.append(FoldedPopulation(trained, tuple(weights), bias))
    return FoldedGraph(graph, tuple(populations), {"checkpoint": checkpoint.origin})


@dataclass(frozen=True)
class Unit:
    """Of a population: the real value of an integer 1 in its sum, and the shift of each connection.

    `factors`, float64 `[channels]`, make it one value for each channel.
    """

    value: float
    shifts: tuple[int, ...]
    factors: np.ndarray | None = field(default=None, repr=False)

    @property
    def values(self) -> np.ndarray:
        """The real value of an integer 1, float64 `[1]` or `[channels]`."""
        return np.array([self.value]) if self.factors is None else self.value * self.factors

    def scales(self, source_values: tuple[float, ...]) -> list[np.ndarray]:
        """For each connection, the real value of an integer weight of 1: `[1]` or `[channels]`."""
        return [self.values * 2**shift / value for shift, value in zip(self.shifts, source_values, strict=True)]


def at_units(folded: FoldedGraph, formats: GraphFormats, units: tuple[Unit, ...]) -> QuantizedNetwork:
    """The network rounded at `units`, one a population; `UserError` names the population that does not fit."""
    graph = folded.graph
    populations = [
        _population(folded, population, formats, unit)
        for population, unit in zip(folded.populations, units, strict=True)
    ]
    every = [weight for population in folded.populations for weight in population.weights]
    kept = [int(np.count_nonzero(c.synapses.weight)) for population in populations for c in population.inputs]
    notes = {
        **folded.notes,
        "formats": asdict(formats),
        "synapses": {
            "places": [weight.size for weight in every],
            "trained": [int(np.count_nonzero(weight)) for weight in every],
            "kept": kept,
        },
        "units": {
            population.name: unit.value if unit.factors is None else unit.values.tolist()
            for population, unit in zip(folded.populations, units, strict=True)
        },
    }
    coded = [part.name for part in graph.inputs if part.latency]
    if coded:
        notes[LATENCY] = coded
    return QuantizedNetwork(
        tuple(_input(graph.step_shape(part), part, formats) for part in graph.inputs),
        tuple(populations),
        graph.steps,
        (Readout(graph.readout.kind, graph.readout.group, graph.readout.source),),
        notes,
    )


def _input(shape: tuple[int, ...], part: InputSpec, formats: GraphFormats) -> Input:
    """The input of a network of integers: pixels, strips of them, or the events of a recording."""
    if part.counts:
        return Input(shape, part.counts, "spikes" if part.counts == 1 else "graded", part.name)
    if part.latency:
        return Input(shape, 1, "spikes", part.name)
    return Input(shape, formats.input_bits, "static" if part.held else "graded", part.name)


def reals_of(folded: FoldedGraph, formats: GraphFormats, units: tuple[Unit, ...]) -> tuple[Reals, ...]:
    """The real numbers that `at_units` rounds, one a population: where fine-tuning starts."""
    return tuple(
        Reals(
            unit.values, folded.source_values(population, formats), population.weights, population.bias,
            **{name: np.array([value]) for name, value in real_neuron(population.neuron).items()},  # type: ignore[arg-type]
        )
        for population, unit in zip(folded.populations, units, strict=True)
    )  # fmt: skip


def _population(folded: FoldedGraph, population: FoldedPopulation, formats: GraphFormats, unit: Unit) -> Population:
    values = folded.source_values(population, formats)
    where = f"population {population.name}"
    inputs = []
    parts = zip(population.trained.spec.inputs, population.weights, unit.scales(values), unit.shifts, strict=True)
    for spec, weight, scale, shift in parts:
        integers = round_weight(weight, scale, formats.weight_bits)
        synapses: Dense | Conv
        if isinstance(spec.synapses, ConvSpec):
            nothing = np.zeros(len(integers), np.int64)
            synapses = Conv(integers, nothing, spec.synapses.stride, spec.synapses.padding)
        else:
            synapses = Dense(integers)
        with within(where):
            inputs.append(Connection(spec.sources, synapses, formats.weight_bits, spec.delay, shift, spec.pool))
    empty = not any(connection.synapses.weight.any() for connection in inputs)
    require(not empty, f"{where} weights", f"all rounded to 0 at {formats.weight_bits} bits", "more weight_bits")
    bias = nearest(f"{where} bias", population.bias, unit.values)
    with within(where):
        neuron = integer_neuron(population, formats, unit.values)
    return Population(population.name, population.trained.shape, neuron, bias, tuple(inputs))


def real_neuron(spec: NeuronSpec) -> dict[str, float]:
    """The numbers of a neuron that are rounded in the unit of its states, by their names in `reals.Reals`."""
    amount = spec.threshold if spec.reset_amount is None else spec.reset_amount
    return {
        "threshold": spec.threshold,
        "reset_value": spec.reset_value,
        "reset_amount": amount if spec.reset == "soft" else 0.0,
        "start_value": spec.reset_value if spec.start_value is None else spec.start_value,
        "jump": spec.adaptation.jump if spec.adaptation is not None else 0.0,
    }


def integer_neuron(population: FoldedPopulation, formats: GraphFormats, unit: float | np.ndarray) -> IntNeuron:
    """The neurons of a population whose sum counts in `unit`, one or one for each channel.

    A threshold is rounded up: states are whole numbers, so that it is reached exactly when the real one is.
    """
    spec, decays = population.neuron, population.trained.decays
    fraction = fraction_of(population, formats)
    fine, reals = np.atleast_1d(unit) / (1 << fraction), real_neuron(spec)

    def rounded(what: str) -> np.ndarray:
        """One integer, or one a channel where they differ."""
        found = nearest(what, np.array([reals[what]]), fine)
        return found[:1] if bool((found == found[0]).all()) else found

    reset = rounded("reset_value")
    threshold = reset + 1  # of neurons that do not spike it is not used
    if spec.spiking:
        whole = nearest("threshold", np.array([spec.threshold]), fine)
        threshold = whole + (spec.threshold / fine - whole > CLOSE)
        threshold = np.maximum(threshold, reset + 1) if spec.threshold > spec.reset_value else threshold
    leak, shift, factor = leak_of(decays["decay"], formats.decay_bits)
    current = adaptation = None
    if spec.current is not None:
        held = factors_of(decays["current.decay"], formats.decay_bits)
        current = SynapticCurrent(held, formats.decay_bits, spec.current.enters)
    if spec.adaptation is not None:
        held = factors_of(decays["adaptation.decay"], formats.decay_bits)
        adaptation = Adaptation(held, formats.decay_bits, rounded("jump"))
    return IntNeuron(
        leak=leak,
        reset=Reset(spec.reset),
        threshold=threshold,
        shift=shift,
        factor=factor,
        reset_value=reset,
        fraction=fraction,
        membrane_bits=formats.membrane_bits,
        spiking=spec.spiking,
        reset_amount=rounded("reset_amount") if spec.reset == "soft" else None,
        start_value=rounded("start_value"),
        rounding=rounding_for(_every(population), formats),
        current=current,
        adaptation=adaptation,
        refractory=spec.refractory,
    )


def fraction_of(population: FoldedPopulation, formats: GraphFormats) -> int:
    """Bits of the states below the unit of the sum: at least one more than those of the memory of the slowest decay.

    Decays of 0 and 1 are exact, and need none.
    """
    return fraction_for(_every(population), formats)


def fraction_for(decays: list[float], formats: GraphFormats) -> int:
    """The same of states that keep `decays` of themselves."""
    if formats.membrane_fraction is not None:
        return formats.membrane_fraction
    slowest = max((decay for decay in decays if decay < 1), default=0.0)
    return 0 if slowest == 0 else min(LARGEST_FRACTION, ceil(log2(1 / (1 - slowest))) + 1)


def rounding_for(decays: list[float], formats: GraphFormats) -> Rounding:
    """The rounding of states that keep `decays` of themselves."""
    if formats.rounding != "auto":
        return Rounding(formats.rounding)
    slow = any(SLOW < decay < 1 for decay in decays)
    return Rounding.NEAREST if slow else Rounding.FLOOR


def _every(population: FoldedPopulation) -> list[float]:
    """All decays of a population, of all its states."""
    return [float(decay) for decays in population.trained.decays.values() for decay in decays]


def leak_of(decays: np.ndarray, bits: int) -> tuple[LeakKind, int, np.ndarray | int]:
    """Kind, shift and factors of membranes that keep `decays` of themselves."""
    if bool((decays == 1).all()):
        return LeakKind.NONE, 1, 0
    shift = -log2(1 - float(decays[0])) if decays[0] < 1 else 0.0
    if bool((decays == decays[0]).all()) and shift == int(shift) and 1 <= shift <= LARGEST_SHIFT:
        return LeakKind.SHIFT, int(shift), 0
    return LeakKind.MULTIPLY, bits, factors_of(decays, bits)


def factors_of(decays: np.ndarray, bits: int) -> np.ndarray:
    """int64 factors over `2**bits` of states that keep `decays` of themselves."""
    return np.rint(decays.astype(np.float64) * (1 << bits)).astype(np.int64)


def nearest(what: str, values: np.ndarray, unit: float | np.ndarray) -> np.ndarray:
    """int64 `values / unit`, to nearest; `UserError` if one is too large."""
    found = values / unit
    extreme = float(np.abs(found).max())
    remedy = f"less than {LIMIT} from zero: the weights are too small beside it, scale them up"
    require(extreme < LIMIT, what, f"{extreme:.6g} units", remedy)
    return np.rint(found).astype(np.int64)
