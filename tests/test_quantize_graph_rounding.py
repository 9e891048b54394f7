"""Graphs of floats to graphs of integers: folding, rounding, and spikes that are those of the floats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_model_graph_integers import ALL, GRAPHS, IMAGE, LI, STEPS, conv, dense, graph

from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint, array_shapes
from gradrtl.model.graph import AdaptationSpec, CurrentSpec, Graph, NeuronSpec, PopulationSpec
from gradrtl.model.graph_network import GraphNetwork
from gradrtl.model.sequences import strips
from gradrtl.quantize.graph_ptq import quantize_graph
from gradrtl.quantize.graph_rounding import (
    FoldedPopulation,
    GraphFormats,
    Unit,
    at_units,
    fold_graph,
    fraction_of,
    integer_neuron,
)
from gradrtl.quantize.neuron import LeakKind, Rounding
from gradrtl.shapes import Pool
from gradrtl.sim import reference

EXACT = GraphFormats(4, input_bits=1, membrane_fraction=8, decay_bits=8)


def checkpoint(description: Graph, seed: int = 0, **given: float) -> Checkpoint:
    """Weights and biases on a grid: those of a recurrent connection coarser than the others, by a power of two."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in array_shapes(description).items():
        values: np.ndarray
        if name.endswith("weight"):
            number, index = (int("".join(c for c in part if c.isdigit())) for part in name.split(".")[:2])
            connection = description.populations[number].inputs[index]
            values = rng.integers(-3, 5, shape) * (1 if connection.pool is None else connection.pool.largest)
            values = values * (0.25 if set(connection.sources) & {"rows", "image"} else 1)
            values.flat[0] = values.flat[-1] = np.abs(values).max()
        elif name.endswith("bias"):
            values = rng.integers(-2, 3, shape) / 4
        else:
            values = rng.integers(1, 4, shape) / 4
        arrays[name] = values.astype(np.float32)
    return Checkpoint(description, {**arrays, **{name: arrays[name] * 0 + value for name, value in given.items()}})  # type: ignore[arg-type]


def network_of(made: Checkpoint) -> GraphNetwork:
    network = GraphNetwork(made.network).eval()  # type: ignore[arg-type]
    for name, array in made.arrays.items():
        network.load(name, torch.from_numpy(array))
    return network


LEARNT = {
    name: graph(
        PopulationSpec("a", (dense("rows"), dense("a", delay=1)), replace(ALL, learnt=name), bias=True),
        PopulationSpec("out", (dense("a", outputs=3),), replace(LI, learnt=name)),
        kind="sum",
    )
    for name in ("population", "neuron")
}
LEARNT["channel"] = graph(
    PopulationSpec("a", (conv("image"),), replace(ALL, learnt="channel")),
    PopulationSpec("b", (conv("image"), conv("a", delay=1)), NeuronSpec(0.5, 3.0, learnt="channel"), batch_norm=False),
    PopulationSpec("out", (dense("b", pool=Pool("average", 2)),), LI, bias=True),
    inputs=(IMAGE,),
    kind="membrane",
)


def frames_of(description: Graph, images: np.ndarray, bits: int) -> Any:
    """Frames of all inputs from uint8 `images`."""
    count, found = len(images), []
    for part in description.inputs:
        rows = strips(images >> (8 - bits), description.steps).reshape(count, description.steps, -1)
        found.append(images.reshape(count, -1) if part.held else rows)
    return tuple(found) if len(found) > 1 else found[0]


def run_floats(made: Checkpoint, images: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What a trained graph puts out, and the spikes of each population, `[images, steps, neurons]`."""
    network = network_of(made)
    network.pools = dict.fromkeys(network.pools, 0)  # all populations step by step
    network._runs_at_once = lambda population: False  # type: ignore[method-assign, assignment]
    step_by_step, seen = network._step_by_step, {}

    def watched(members: Any, outputs: Any, potentials: Any) -> None:
        step_by_step(members, outputs, potentials)
        seen.update({p.spec.name: outputs[p.spec.name, 1].flatten(2).transpose(0, 1).numpy() for p in members})

    network._step_by_step = watched  # type: ignore[method-assign]
    with torch.no_grad():
        found = network(torch.from_numpy(images)).numpy()
    return found, seen


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", [*GRAPHS, *LEARNT])
def test_a_graph_on_a_grid_spikes_as_its_floats(name: str, seed: int) -> None:
    """Every spike of every step, and what is read: equal."""
    description = (GRAPHS | LEARNT)[name]
    made = checkpoint(description, seed)
    images = (np.random.default_rng(seed).random((6, *description.input_shape)) < 0.5).astype(np.uint8) * 255
    integers = quantize_graph(fold_graph(made), EXACT)
    expected = reference.run(integers, frames_of(description, images, 1))
    outputs, spikes = run_floats(made, images)
    assert expected.trace is not None
    for spec, found in zip(description.populations, expected.trace.spikes, strict=True):
        if spec.neuron.spiking:
            assert np.array_equal(spikes[spec.name], found), spec.name
            assert found.any()
    kind = description.readout.kind
    unit = integers.notes["units"][description.readout.source] / 256
    factor = {"count": STEPS, "membrane": 1 / unit, "largest": 1 / unit, "sum": STEPS / unit}[kind]
    assert np.array_equal(outputs.astype(np.float64) * factor, expected.counts)


def test_normalisation_is_folded_into_all_connections_once() -> None:
    """The sum of a population is normalised as a whole; the bias comes after it."""
    description = graph(
        PopulationSpec("a", (conv("image"), conv("image")), NeuronSpec(0.5, 2.0), bias=True, batch_norm=True),
        PopulationSpec("out", (dense("a", outputs=3),), LI),
        inputs=(IMAGE,),
        kind="membrane",
    )
    made = checkpoint(description)
    rng = np.random.default_rng(1)
    norm = {
        f"population0.norm.{what}": rng.uniform(0.5, 2, 2).astype(np.float32)
        for what in ("gain", "shift", "mean", "variance")
    }
    made = replace(made, arrays=made.arrays | norm)
    first = fold_graph(made).populations[0]
    x = rng.normal(size=(5, 2, 4, 4))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))

    def summed(weights: Any) -> Any:
        return sum(np.einsum("ncyxij,ocij->noyx", windows, weight) for weight in weights)

    gain, shift, mean, variance = (values.astype(np.float64)[:, None, None] for values in norm.values())
    raw = summed(made.weights[:2])
    wanted = (raw - mean) / np.sqrt(variance + 1e-5) * gain + shift + made.arrays["population0.bias"][:, None, None]
    assert np.allclose(summed(first.weights) + first.bias[:, None, None], wanted)


def one(decays: dict[str, list[float]], **neuron: Any) -> FoldedPopulation:
    """A population of a neuron with these decays."""
    current = CurrentSpec(decays["current.decay"][0]) if "current.decay" in decays else None
    adaptation = AdaptationSpec(decays["adaptation.decay"][0], 0.3) if "adaptation.decay" in decays else None
    spec = NeuronSpec(decays["decay"][0], current=current, adaptation=adaptation, **neuron)
    description = graph(
        PopulationSpec("a", (dense("rows"),), spec), PopulationSpec("out", (dense("a", outputs=2),), LI), kind="sum"
    )
    folded = fold_graph(checkpoint(description)).populations[0]
    arrays = {name: np.array(values, np.float32) for name, values in decays.items()}
    return replace(folded, trained=replace(folded.trained, decays=arrays))


def test_decays_in_the_formats_of_the_machine() -> None:
    formats = GraphFormats(decay_bits=10)

    def neuron(*decays: float) -> Any:
        return integer_neuron(one({"decay": [*decays]}), formats, 0.25)

    assert (neuron(1.0).leak, neuron(0.75).leak, neuron(0.75).shift) == (LeakKind.NONE, LeakKind.SHIFT, 2)
    assert (neuron(0.9).leak, neuron(0.9).shift, neuron(0.9).factor.tolist()) == (LeakKind.MULTIPLY, 10, [922])
    assert neuron(0.0).leak == LeakKind.MULTIPLY
    assert neuron(1.0, 0.75).factor.tolist() == [1024, 768]
    assert (neuron(0.5).rounding, neuron(0.51).rounding, neuron(1.0).rounding) == ("floor", "nearest", "floor")
    assert integer_neuron(one({"decay": [0.9]}), replace(formats, rounding="floor"), 1.0).rounding == Rounding.FLOOR
    found = integer_neuron(one({"decay": [0.5], "current.decay": [0.9], "adaptation.decay": [0.25]}), formats, 0.25)
    assert (found.current.factor.tolist(), found.current.shift) == ([922], 10)  # type: ignore[union-attr]
    assert (found.adaptation.factor.tolist(), found.adaptation.shift) == ([256], 10)  # type: ignore[union-attr]
    assert found.rounding == Rounding.NEAREST
    assert found.adaptation.jump.tolist() == [round(0.3 / 0.25 * 32)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("decays", "fraction"),
    [((0.5,), 2), ((0.9,), 5), ((0.99,), 8), ((0.999,), 8), ((1.0,), 0), ((0.0,), 0), ((0.3, 1.0, 0.75), 3)],
)
def test_the_fraction_follows_the_slowest_decay(decays: tuple[float, ...], fraction: int) -> None:
    assert fraction_of(one({"decay": [*decays]}), GraphFormats()) == fraction
    assert fraction_of(one({"decay": [*decays]}), GraphFormats(membrane_fraction=4)) == 4
    assert fraction_of(one({"decay": [0.0], "current.decay": [*decays]}), GraphFormats()) == fraction


def test_thresholds_are_rounded_up_and_above_the_reset() -> None:
    formats = GraphFormats(membrane_fraction=0)

    def numbers(**neuron: Any) -> tuple[int, ...]:
        made = integer_neuron(one({"decay": [0.5]}, **neuron), formats, 0.5)
        return tuple(int(v[0]) for v in (made.threshold, made.reset_value, made.reset_amount, made.start_value))

    assert numbers(threshold=1.1) == (3, 0, 0, 0)
    assert numbers(threshold=1.5) == (3, 0, 0, 0)
    assert numbers(threshold=1.1, reset="soft") == (3, 0, 2, 0)
    assert numbers(threshold=1.1, reset="soft", reset_amount=0.4, start_value=0.5) == (3, 0, 1, 1)
    assert numbers(threshold=0.1, reset_value=-0.6) == (1, -1, 0, -1)
    assert numbers(threshold=1.6, reset_value=1.4) == (4, 3, 0, 3)
    assert numbers(threshold=1.45, reset_value=1.4) == (4, 3, 0, 3)
    assert numbers(threshold=-1.0) == (-2, 0, 0, 0)


def test_what_does_not_fit_names_the_population() -> None:
    description = LEARNT["population"]
    made = checkpoint(description)
    folded, units = fold_graph(made), (Unit(1.0, (0, 0)), Unit(1.0, (0,)))

    def refused(message: str, unit: Unit, formats: GraphFormats = EXACT) -> None:
        with pytest.raises(UserError, match=message):
            at_units(folded, formats, (unit, units[1]))

    refused("population a: threshold is .* units, expected less than", Unit(1e-9, (0, 0)))
    refused("population a weights is all rounded to 0 at 4 bits, expected more", Unit(100.0, (0, 0)))
    refused(
        r"population a: neuron\.start_value is 512, expected -128 to 127", units[0], replace(EXACT, membrane_bits=8)
    )
    refused("population a bias is .* units, expected less than", Unit(1e-10, (0, 0)))
    for factor, message in ((0, "weights is all zero, expected at least one synapse"), (1e-35, "largest weight is")):
        arrays = made.arrays | {
            "population1.connection0.weight": made.arrays["population1.connection0.weight"] * factor
        }
        arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
        with pytest.raises(UserError, match=f"population out {message}"):
            fold_graph(replace(made, arrays=arrays))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight_bits", 9),
        ("input_bits", 0),
        ("membrane_fraction", 9),
        ("membrane_bits", 1),
        ("decay_bits", 16),
        ("rounding", "up"),
    ],
)
def test_formats_are_checked(field: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"{field} is"):
        GraphFormats(**{field: value})
