"""From an imported network to integers.

A population is first brought to a form in which what is summed enters the membrane as it is: thresholds, resets and
biases are divided by the gains of its neurons, membranes are counted from their leak value. What follows is the
rounding of `graph_rounding`, but for thresholds: `>` becomes the next integer above, and `>=` the integer itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..bits import signed_range
from ..checks import choice, whole
from ..errors import require, within
from ..model.importing.graph import ImportedConnection, ImportedGraph, ImportedPopulation
from ..shapes import LARGEST_STEPS, OF_SPIKES, TRAINED_READOUTS
from .fold import LARGEST_WEIGHTS
from .graph_ptq import best_scale, refined, searched, unit_of
from .graph_rounding import (
    LARGEST_FRACTION,
    GraphFormats,
    Unit,
    factors_of,
    fraction_for,
    leak_of,
    nearest,
    rounding_for,
)
from .network import LIMIT, Conv, Dense, Input, IntNeuron, LeakKind, QuantizedNetwork, Readout
from .neuron import Reset, SynapticCurrent
from .population import LARGEST_CONNECTION_SHIFT, Connection, Population, fewest
from .ptq import FACTORS, Score
from .rounding import round_weight

MORE = 3  # bits of the states: with them spikes of small networks on a grid are those of the framework (docs/nir.md)
NOISE = 1e-6  # relative: numbers of a file are those of 32-bit floats
DECAY_BITS = 15  # of decays of imported networks, if nothing else is asked for
ROUNDED = 1e-3  # units: what is moved further by rounding is told


@dataclass(frozen=True)
class Asked:
    """What an import asks for besides formats.

    steps
        Of a frame.
    input
        `spikes`, `graded` counts, or `static` pixels, whose largest value is worth 1.
    readout
        Of populations that do not spike: `membrane`, `largest` or `sum`; None for those in `readouts`, or `membrane`.
    readouts
        Those of an exported network, in its order: their kinds unless `readout` is given, and their groups.
    per_channel
        A unit for each channel, or neuron of a dense population, that spikes.
    """

    steps: int
    input: str = "spikes"
    readout: str | None = None
    per_channel: bool = False
    readouts: tuple[Readout, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", whole("steps", self.steps, 1, LARGEST_STEPS))
        choice("input", self.input, ("spikes", "graded", "static"))
        if self.readout is not None:
            choice("readout", self.readout, TRAINED_READOUTS)


@dataclass(frozen=True)
class Scaled:
    """A population whose sum enters its membrane as it is; float64 `[1]` or `[neurons]`, membranes from the leak on.

    worth
        What a membrane of 1 is worth in the imported network.
    rows
        What each row of the weights has been divided by: `[1]` or `[rows]`.
    """

    imported: ImportedPopulation
    weights: tuple[np.ndarray, ...]
    bias: np.ndarray
    decay: np.ndarray
    current_decay: np.ndarray | None
    threshold: np.ndarray | None
    reset_value: np.ndarray
    reset_amount: np.ndarray
    start: np.ndarray
    worth: np.ndarray
    rows: np.ndarray

    @property
    def where(self) -> str:
        return f"population {self.imported.name}"

    @property
    def decays(self) -> list[float]:
        """All decays of a neuron's states."""
        both = [self.decay] if self.current_decay is None else [self.decay, self.current_decay]
        return [float(decay) for decays in both for decay in decays]

    def fraction(self, formats: GraphFormats) -> int:
        """Bits of the states below the unit of the sum: `MORE` than `fraction_for` says, where a decay is rounded."""
        found = fraction_for(self.decays, formats)
        return min(LARGEST_FRACTION, found + MORE) if formats.membrane_fraction is None and found else found

    def channels(self, values: np.ndarray) -> np.ndarray:
        """`values` as few as they can be: `[1]`, `[channels]` or `[neurons]`."""
        return fewest(values, self.imported.shape[0])


def quantize_imported(
    graph: ImportedGraph,
    asked: Asked,
    formats: GraphFormats = GraphFormats(decay_bits=DECAY_BITS),  # noqa: B008 (frozen)
    score: Score | None = None,
    *,
    factors: Sequence[float] = FACTORS,
    progress: Callable[[int, int], None] | None = None,
) -> QuantizedNetwork:
    """The integers of an imported network.

    With `score` multiples of the units are tried, as `quantize_graph` does. `notes["import"]` of the result tells the
    convention, what was noticed, and what rounding has changed.

    Raises
    ------
    UserError
        A number does not fit; the message names the population.
    """
    scaled = tuple(scaled_population(one, asked) for one in graph.populations)
    units = tuple(_unit(graph, one, asked, formats) for one in scaled)
    found = at_units(graph, scaled, asked, formats, units)
    if score is None:
        return found
    return searched(
        units, lambda trial: at_units(graph, scaled, asked, formats, trial), score, factors, 1, progress
    ) or found  # fmt: skip


def scaled_population(one: ImportedPopulation, asked: Asked) -> Scaled:
    """`one` with gains of 1; a spiking population also with rows of weights of one scale, if so `asked`."""
    rule = one.rule
    gain = rule.gain if rule.current_gain is None else rule.gain * rule.current_gain
    weights = tuple(connection.weight for connection in one.inputs)
    bias, leak = one.bias, rule.leak
    same = bool((gain == gain[0]).all())
    if rule.threshold is None and not same:  # classes are compared: each must keep its own size
        weights = tuple(_rows(one, weight, gain) for weight in weights)
        bias, gain = bias * gain, np.ones(1)
    if rule.threshold is None and leak.any():
        require(rule.current_decay is None or bool((leak == leak[0]).all()), f"node {one.name} v_leak",
                f"{leak.min():g} to {leak.max():g}", "one for all neurons that are read out")  # fmt: skip
        if rule.current_decay is None:  # a constant current holds the membrane at its leak value
            bias, leak = bias + (1 - rule.decay) * leak / gain, np.zeros(1)
    by_row = np.ones(1)
    if asked.per_channel and rule.threshold is not None:
        by_row = _row_scales(one, weights)
        weights = tuple(weight / by_row.reshape(-1, *[1] * (weight.ndim - 1)) for weight in weights)
        spread = np.repeat(by_row, one.bias.size // by_row.size)
        bias, gain = bias / spread, gain * spread
    return Scaled(
        one,
        weights,
        bias,
        np.array([snapped(decay) for decay in rule.decay]),
        None if rule.current_decay is None else np.array([snapped(decay) for decay in rule.current_decay]),
        None if rule.threshold is None else (rule.threshold - leak) / gain,
        (rule.reset_value - leak) / gain if rule.reset == "value" else np.zeros(1),
        rule.reset_amount / gain,
        (rule.start - leak) / gain,
        gain,
        by_row,
    )


def snapped(decay: float) -> float:
    """A decay as it was before it was stored with 32 bits, if that was a fraction of `2**DECAY_BITS`."""
    near = round(decay * (1 << DECAY_BITS)) / (1 << DECAY_BITS)
    return near if abs(near - decay) <= NOISE / 2 else float(decay)


def thresholds(threshold: np.ndarray, fine: float, equal: bool) -> np.ndarray:
    """int64: the least integer that spikes, in units of `fine`.

    >>> thresholds(np.array([2.0, 2.5]), 1.0, equal=True), thresholds(np.array([2.0, 2.5]), 1.0, equal=False)
    (array([2, 3]), array([3, 3]))
    """
    exact = threshold / fine
    near = np.rint(exact)
    is_whole = np.abs(exact - near) <= NOISE * np.maximum(1, np.abs(exact))
    above = np.where(is_whole, near if equal else near + 1, np.ceil(exact) if equal else np.floor(exact) + 1)
    return above.astype(np.int64)


def _rows(one: ImportedPopulation, weight: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """`weight` with each row multiplied by the gain of its neuron."""
    by_map = np.broadcast_to(gain, one.bias.shape).reshape(len(weight), -1)
    same = bool((by_map == by_map[:, :1]).all())
    require(same, f"node {one.name} r", f"gains of {gain.min():g} to {gain.max():g} within a map", "one for each map")
    return weight * by_map[:, :1].reshape(-1, *[1] * (weight.ndim - 1))


def _row_scales(one: ImportedPopulation, weights: Sequence[np.ndarray]) -> np.ndarray:
    """For each row of the weights, its largest weight over that of all rows; 1 for rows of zeros."""
    rows = one.shape[0] if any(weight.ndim == 4 for weight in weights) else one.bias.size
    same = all(len(weight) == rows for weight in weights)
    where = f"population {one.name} per_channel"
    require(same, where, True, "False: it has both convolutions and dense connections")
    largest = np.max([np.abs(weight).reshape(rows, -1).max(axis=1) for weight in weights], axis=0)
    return np.where(largest > 0, largest, 1.0)


def source_values(graph: ImportedGraph, one: Scaled, asked: Asked, formats: GraphFormats) -> list[float]:
    """For each connection, the real value of an integer 1 of its source."""
    pixel = 1 / ((1 << formats.input_bits) - 1) if asked.input == "static" else 1.0
    return [pixel if connection.source in graph.inputs else 1.0 for connection in one.imported.inputs]


def _unit(graph: ImportedGraph, one: Scaled, asked: Asked, formats: GraphFormats) -> Unit:
    """The unit of a population: fine enough that biases, and what is subtracted or set after a spike, are whole."""
    largest = max(float(np.abs(weight).max()) for weight in one.weights)
    require(largest > 0, f"{one.where} weights", "all zero", "at least one synapse")
    low, high = LARGEST_WEIGHTS
    require(low <= largest <= high, f"{one.where} largest weight", largest, f"{low} to {high} from zero")
    sources = [connection.source for connection in one.imported.inputs]
    values = source_values(graph, one, asked, formats)
    unit = exact_unit(one.weights, values, formats.weight_bits)
    unit = unit or unit_of(one.where, sources, one.weights, values, formats.weight_bits)
    if asked.per_channel and one.threshold is not None and len(one.weights) == 1:
        scale = best_scale(one.weights[0] / np.abs(one.weights[0]).max(), formats.weight_bits)
        unit = Unit(scale * values[0], (0,))
    fraction = one.fraction(formats)
    fine = np.concatenate([one.reset_value, one.reset_amount, one.start]) * 2.0**fraction
    return refined(unit, np.concatenate([one.bias, fine if fine.any() else np.zeros(1)]))


def exact_unit(every: Sequence[np.ndarray], values: Sequence[float], bits: int) -> Unit | None:
    """The coarsest unit at which all weights are whole, with the shift of each connection; None if there is none.

    `values`: the real value of a source of 1, for each connection.

    >>> exact_unit([np.array([[3.0, 6.0]]), np.array([[4.0]])], [1.0, 1.0], 4)
    Unit(value=1.0, shifts=(0, 0))
    """
    limit = signed_range(bits)[1]
    weights = [weight[weight != 0] * value for weight, value in zip(every, values, strict=True)]
    steps = [(best_scale(weight, bits), weight) for weight in weights if weight.size]
    base, narrow = min(steps, key=lambda step: step[0])
    for parts in range(1, limit + 1):
        unit = base / parts
        if float(np.abs(narrow).max()) > unit * (limit + 0.5):
            return None
        shifts = [_whole_shift(weight / unit, bits) for weight in weights]
        if None not in shifts:
            return Unit(unit, tuple(shift or 0 for shift in shifts))
    return None


def _whole_shift(units: np.ndarray, bits: int) -> int | None:
    """The least shift after which `units` fit so many bits, if they are whole then."""
    low, high = signed_range(bits)
    for shift in range(LARGEST_CONNECTION_SHIFT + 1):
        shifted = units / (1 << shift)
        near = np.rint(shifted)
        if bool((near >= low).all() and (near <= high).all()):
            is_whole = bool((np.abs(shifted - near) <= NOISE * np.maximum(1, np.abs(near))).all())
            return shift if is_whole else None
    return None


def at_units(
    graph: ImportedGraph,
    scaled: Sequence[Scaled],
    asked: Asked,
    formats: GraphFormats,
    units: Sequence[Unit],
) -> QuantizedNetwork:
    """The network rounded at `units`, one a population; `UserError` names the population that does not fit."""
    told: list[str] = []
    populations = tuple(
        _population(graph, one, asked, formats, unit, told) for one, unit in zip(scaled, units, strict=True)
    )
    rules = {one.name: one.rule for one in graph.populations}
    late = [rules[name].late for name in graph.outputs]
    require(all(late) or not any(late), "outputs", "of neurons that spike a step late, and of others", "one kind")
    steps = asked.steps - (1 if all(late) else 0)
    if all(late):
        require(steps >= 1, "steps", asked.steps, "at least 2: the first spikes leave a step late")
        told.append(f"spikes leave a step late: {steps} steps give the spikes of {asked.steps}")
    readouts = tuple(_readout(name, rules[name].spiking, asked) for name in _in_order(graph, asked))
    kinds = {"spikes": 1, "graded": formats.input_bits, "static": formats.input_bits}
    every = [weight for one in scaled for weight in one.weights]
    living = [int(np.count_nonzero(c.synapses.weight)) for population in populations for c in population.inputs]
    notes: dict[str, Any] = {
        "import": {**graph.to_json(), "rounding": told},
        "formats": asdict(formats),
        "synapses": {
            "places": [weight.size for weight in every],
            "trained": [int(np.count_nonzero(weight)) for weight in every],
            "kept": living,
        },
        "units": {one.imported.name: unit.value for one, unit in zip(scaled, units, strict=True)},
    }
    return QuantizedNetwork(
        tuple(Input(shape, kinds[asked.input], asked.input, name) for name, shape in graph.inputs.items()),
        populations,
        steps,
        readouts,
        notes,
    )


def _in_order(graph: ImportedGraph, asked: Asked) -> list[str]:
    """The populations that are read out; those of an exported network first, in its order."""
    kept = [one.source for one in asked.readouts]
    return sorted(graph.outputs, key=lambda name: kept.index(name) if name in kept else len(kept))


def _readout(name: str, spiking: bool, asked: Asked) -> Readout:
    kept = next((one for one in asked.readouts if one.source == name), Readout("count" if spiking else "membrane"))
    kind = asked.readout or kept.kind
    accepted = f"{'count' if spiking else 'membrane, largest or sum'} of {name}"
    require((kind in OF_SPIKES) == spiking, "readout", kind, accepted)
    return Readout(kind, kept.group, name)


def _population(
    graph: ImportedGraph,
    one: Scaled,
    asked: Asked,
    formats: GraphFormats,
    unit: Unit,
    told: list[str],
) -> Population:
    inputs = []
    worst = 0.0
    scales = unit.scales(tuple(source_values(graph, one, asked, formats)))
    parts = zip(one.imported.inputs, one.weights, scales, unit.shifts, strict=True)
    for connection, weight, scale, shift in parts:
        integers = round_weight(weight, scale, formats.weight_bits)
        worst = max(worst, float((np.abs(integers * scale - weight) / scale).max()))
        with within(one.where):
            inputs.append(_connection(connection, integers, formats.weight_bits, shift))
    empty = not any(connection.synapses.weight.any() for connection in inputs)
    require(not empty, f"{one.where} weights", f"all rounded to 0 at {formats.weight_bits} bits", "more weight_bits")
    if worst > ROUNDED:
        told.append(f"{one.imported.name}: weights are rounded by up to {worst:.3f} of a step")
    bias = nearest(f"{one.where} bias", one.bias, unit.value)
    _tell(told, one, "biases", one.bias / unit.value, bias)
    with within(one.where):
        neuron = _neuron(one, formats, unit.value, told)
    if any(connection.convolves for connection in one.imported.inputs):
        bias = (
            np.broadcast_to(one.channels(bias), (one.imported.shape[0],))
            if one.channels(bias).size == 1
            else one.channels(bias)
        )
    return Population(one.imported.name, one.imported.shape, neuron, bias, tuple(inputs))


def _connection(connection: ImportedConnection, integers: np.ndarray, bits: int, shift: int) -> Connection:
    synapses: Dense | Conv
    if connection.convolves:
        synapses = Conv(integers, np.zeros(len(integers), np.int64), connection.stride, connection.padding)
    else:
        synapses = Dense(integers)
    return Connection(connection.source, synapses, bits, connection.delay, shift, connection.pool)


def _neuron(one: Scaled, formats: GraphFormats, unit: float, told: list[str]) -> IntNeuron:
    fraction = one.fraction(formats)
    fine = unit / (1 << fraction)
    rule = one.imported.rule

    def rounded(what: str, values: np.ndarray) -> np.ndarray:
        found = nearest(what, values, fine)
        _tell(told, one, what, values / fine, found)
        return one.channels(found)

    reset_value = rounded("reset values", one.reset_value)
    threshold = np.ones(1, np.int64)
    if one.threshold is not None:
        extreme = float(np.abs(one.threshold / fine).max())
        remedy = f"less than {LIMIT} from zero: the weights are too small beside it, scale them up"
        require(extreme < LIMIT, "threshold", f"{extreme:.6g} units", remedy)
        threshold = one.channels(thresholds(one.threshold, fine, rule.equal))
    reset = {"value": Reset.HARD, "subtract": Reset.SOFT, "none": Reset.NONE}[rule.reset]
    bits = _bits(one.decay, formats.decay_bits)
    leak, shift, factor = leak_of(one.decay, bits)
    if bool((one.decay == 0.5).all()):  # half of it, rounded down, loses nothing that a later comparison could see
        leak, shift, factor = LeakKind.MULTIPLY, bits, factors_of(one.decay, bits)
    if leak == LeakKind.MULTIPLY:
        _tell(told, one, "decays", one.decay * (1 << shift), np.asarray(factor), 0.01)
    current = None
    if one.current_decay is not None:
        bits = _bits(one.current_decay, formats.decay_bits)
        factors = factors_of(one.current_decay, bits)
        _tell(told, one, "decays of currents", one.current_decay * (1 << bits), factors, 0.01)
        current = SynapticCurrent(one.channels(factors), bits, "new")
    return IntNeuron(
        leak=leak,
        reset=reset,
        threshold=threshold,
        shift=shift,
        factor=one.channels(np.asarray(factor)) if leak == LeakKind.MULTIPLY else 0,
        reset_value=reset_value if reset == Reset.HARD else 0,
        fraction=fraction,
        membrane_bits=formats.membrane_bits,
        spiking=one.threshold is not None,
        reset_amount=rounded("reset amounts", one.reset_amount) if reset == Reset.SOFT else None,
        start_value=rounded("start values", one.start),
        rounding=rounding_for(one.decays, formats),
        current=current,
        refractory=1 if rule.held else 0,
    )


def _bits(decays: np.ndarray, most: int) -> int:
    """The fewest bits, up to `most`, of which `decays` are exact multiples; else `most`."""
    for bits in range(1, most):
        if bool((decays * (1 << bits) == np.rint(decays * (1 << bits))).all()):
            return bits
    return most


def _tell(
    told: list[str], one: Scaled, what: str, exact: np.ndarray, found: np.ndarray, least: float = ROUNDED
) -> None:
    """A note on numbers that rounding has moved by more than `least` units."""
    worst = float(np.abs(exact - found).max())
    if worst > max(least, NOISE * float(np.abs(exact).max())):
        told.append(f"{one.imported.name}: {what} are rounded by up to {worst:.3f} units of {_size(exact)}")


def _size(exact: np.ndarray) -> str:
    low, high = float(exact.min()), float(exact.max())
    return f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
