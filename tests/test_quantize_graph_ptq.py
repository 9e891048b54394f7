"""Units of populations and shifts of connections; accuracy of what they give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_model_graph_integers import LI, dense, graph
from test_quantize_graph_rounding import checkpoint, frames_of, network_of

from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.graph import CurrentSpec, Graph, NeuronSpec, PopulationSpec
from gradrtl.quantize.graph_ptq import (
    best_scale,
    of_channels,
    on_exact_grids,
    on_grids,
    quantize_graph,
    shifts_on_grids,
    unit_of,
    weight_units,
)
from gradrtl.quantize.graph_rounding import GraphFormats, Unit, fold_graph
from gradrtl.quantize.rounding import round_weight
from gradrtl.sim import reference

RECURRENT = graph(
    PopulationSpec(
        "a",
        (dense("rows", outputs=24), dense("a", outputs=24, delay=1)),
        NeuronSpec(0.8, 0.5, current=CurrentSpec(0.6)),
        bias=True,
    ),
    PopulationSpec("out", (dense("a", outputs=4),), LI, bias=True),
    kind="membrane",
)


def with_arrays(made: Checkpoint, **arrays: Any) -> Checkpoint:
    return replace(
        made, arrays=made.arrays | {name.replace("_", "."): a.astype(np.float32) for name, a in arrays.items()}
    )


def trained(seed: int = 0) -> Checkpoint:
    rng = np.random.default_rng(seed)
    made = checkpoint(RECURRENT)
    return with_arrays(
        made,
        **{
            name.replace(".", "_"): rng.normal(0, 0.3, array.shape)
            for name, array in made.arrays.items()
            if "decay" not in name
        },
    )


def test_the_scale_of_least_error_is_exact_and_coarse_on_a_grid() -> None:
    weight = np.array([0.0, 0.75, -0.5, 1.25])
    assert best_scale(weight, 4) == 0.25
    assert best_scale(weight, 8) == 0.25
    assert best_scale(np.array([-8.0, 3.0]), 4) == 1.0
    assert best_scale(np.array([0.3, -0.2, 0.7, 1.1]) / 7, 8) == pytest.approx(0.1 / 7)  # not exact in floating point
    rng = np.random.default_rng(0)
    weight = rng.normal(size=500)
    for bits in range(2, 9):
        scale = best_scale(weight, bits)
        limit = (1 << bits - 1) - 1

        def error(s: float, limit: int = limit) -> float:
            return float(np.square(np.clip(np.rint(weight / s), -limit - 1, limit) * s - weight).sum())

        assert error(scale) <= min(error(scale * 0.9), error(scale * 1.1))


@pytest.mark.parametrize("bits", [4, 8])
def test_units_err_least_and_shifts_are_the_powers_of_two_between(bits: int) -> None:
    folded, formats = fold_graph(trained()), GraphFormats(bits)
    values = [folded.source_values(population, formats) for population in folded.populations]
    assert values == [(1 / 255, 1.0), (1.0,)]
    assert fold_graph(trained()).source_values(folded.populations[0], GraphFormats(input_bits=4)) == (1 / 15, 1.0)
    for population, unit, value in zip(folded.populations, weight_units(folded, formats), values, strict=True):
        scales = unit.scales(value)
        for weight, scale in zip(population.weights, scales, strict=True):
            assert 2**-0.75 < scale / best_scale(weight, bits) < 2**0.75
    assert weight_units(folded, formats)[0].shifts in [(0, 7), (0, 8)]
    made = quantize_graph(folded, formats)
    assert [c.shift for c in made.populations[0].inputs] == [*weight_units(folded, formats)[0].shifts]
    first, unit = made.populations[0], made.notes["units"]["a"]
    assert np.abs(first.bias * unit - folded.populations[0].bias).max() <= unit / 2
    held = first.inputs[1].synapses.weight * (unit * 2 ** first.inputs[1].shift) - folded.populations[0].weights[1]
    assert (np.abs(held) <= unit * 2 ** first.inputs[1].shift / 2).mean() > 0.95  # the others are clipped


def test_biases_make_a_unit_finer() -> None:
    made = trained()
    weight = np.resize([1.0, -1.0, 0.0], (4, 24))

    def unit(bias: list[float]) -> tuple[float, tuple[int, ...]]:
        arrays = with_arrays(made, population1_connection0_weight=weight, population1_bias=np.array(bias))
        found = weight_units(fold_graph(arrays), GraphFormats(8))[1]
        return found.value, found.shifts

    assert unit([0, 0, 0, 0]) == (1.0, (0,))
    assert unit([2, -1, 0, 100]) == (1.0, (0,))
    assert unit([0.25, 0, -0.5, 0]) == (0.25, (2,))
    assert unit([0.3, 0, 20, 0]) == (0.25, (2,))
    assert unit([0.3, 0, 0, 0]) == (1 / 64, (6,))


def test_connections_too_far_apart_are_named() -> None:
    made = trained()
    far = with_arrays(made, population0_connection1_weight=made.arrays["population0.connection1.weight"] * 1e4)
    with pytest.raises(UserError, match=r"population a connection from a shift is 2\d, expected at most 16"):
        quantize_graph(fold_graph(far))
    none = with_arrays(made, population0_connection1_weight=made.arrays["population0.connection1.weight"] * 0)
    assert not quantize_graph(fold_graph(none)).populations[0].inputs[1].synapses.weight.any()


def task(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise, brighter in one of the four strips: the class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 120, (count, 2, 4, 4))
    images[np.arange(count), :, labels] += rng.integers(70, 136, (count, 2, 4))
    return images.astype(np.uint8), labels


@pytest.fixture(scope="module")
def learnt() -> Checkpoint:
    """`RECURRENT`, trained for some seconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = network_of(trained())
    images, labels = (torch.from_numpy(part) for part in task(1200, 0))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(8):
        for part in torch.randperm(len(images)).split(100):
            loss = torch.nn.functional.cross_entropy(network(images[part]) * 3, labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    arrays = {name: values.detach().numpy().copy() for name, values in network.tensors().items()}
    return Checkpoint(RECURRENT, {**trained().arrays, **arrays})


def accuracy(network: Any, seed: int = 1, bits: int = 8) -> float:
    images, labels = task(1000, seed)
    found = reference.run(network, frames_of(RECURRENT, images, bits)).classes
    return float((found == labels).mean())


def test_a_trained_graph_keeps_its_accuracy(learnt: Checkpoint) -> None:
    images, labels = task(1000, 1)
    with torch.no_grad():
        floats = float((network_of(learnt)(torch.from_numpy(images)).argmax(1).numpy() == labels).mean())
    assert floats > 0.9
    folded = fold_graph(learnt)
    assert abs(accuracy(quantize_graph(folded)) - floats) <= 0.01
    assert abs(accuracy(quantize_graph(folded, GraphFormats(6, input_bits=6)), bits=6) - floats) <= 0.03


def test_a_search_keeps_the_best_units(learnt: Checkpoint) -> None:
    folded, formats, tried = fold_graph(learnt), GraphFormats(3), []

    def score(network: Any) -> float:
        tried.append(network)
        return -abs(network.notes["units"]["a"] - 3 * start["a"]) - abs(network.notes["units"]["out"] - start["out"])

    plain = quantize_graph(folded, formats)
    start = plain.notes["units"]
    progress: list[tuple[int, int]] = []
    found = quantize_graph(
        folded, formats, score, factors=(0.5, 1.0, 2.0), rounds=2, progress=lambda *p: progress.append(p)
    )
    assert (
        found.notes["units"] == {"a": 4 * start["a"], "out": start["out"]}
        or found.notes["units"]["a"] == 2 * start["a"]
    )
    assert progress[-1] == (12, 12)
    assert len(tried) <= 12
    assert Graph is type(folded.graph)


def test_channels_have_the_factor_of_least_error() -> None:
    """A channel of weights half as large, on the same grid, has half the unit, and is exact."""
    weight = np.array([[7.0, -3.0, 1.0], [3.5, -1.5, 0.5], [0.0, 0.0, 0.0]])
    found = of_channels(Unit(1.0, (0,)), [weight], (1.0,), 4)
    assert found.factors is not None
    assert found.values.tolist() == [1.0, 0.5, 1.0]
    assert np.array_equal(found.scales((0.5,))[0], [2.0, 1.0, 2.0])


def test_channels_on_a_grid_keep_their_weights_at_the_finest_scale() -> None:
    """Scales 0.3 and 0.011, in float32, and a channel without synapses; with one weight off the grid there is none."""
    integers = np.array([[3, -7, 0, 1], [2, 4, -2, 6], [0, 0, 0, 0], [5, 5, 0, -5]])
    scale = np.array([0.3, 0.011, 1.0, 0.2])
    weight = (integers * scale[:, None]).astype(np.float32).astype(np.float64)
    unit = Unit(0.05, (1,))
    factors = on_grids(unit, [weight], (2.0,), 4)
    assert factors is not None
    of_one = unit.value * factors * 2 / 2.0
    assert of_one == pytest.approx([0.3, 0.022 * 3 / 6 * 2 / 2, 0.05, 1.0 / 7], rel=1e-5)
    assert np.array_equal(of_channels(unit, [weight], (2.0,), 4).factors, factors)
    weight[0, 0] *= 1.01
    assert on_grids(unit, [weight], (2.0,), 4) is None


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("connections", [2, 3, 6])
@pytest.mark.parametrize("density", [0.05, 0.5])
def test_weights_on_grids_are_kept_whatever_the_shifts(bits: int, connections: int, density: float) -> None:
    """Of several connections, pooled or from pixels, some of whose channels have one weight, or none."""
    limit = 2 ** (bits - 1) - 1
    for seed in range(5):
        rng = np.random.default_rng(seed)
        scale = rng.uniform(0.05, 1, (8, 1))
        shifts = rng.integers(0, 7, connections)
        values = tuple(float(one) for one in rng.choice([1.0, 0.25, 1 / 9, 1 / 255], connections))
        kept = [rng.integers(-limit, limit + 1, (8, 30)) * (rng.random((8, 30)) < density) for _ in shifts]
        kept[0][:, 0] = limit
        parts = zip(kept, shifts, values, strict=True)
        reals = [k * (scale * 2.0**shift / value) for k, shift, value in parts]
        weights = [real.astype(np.float32).astype(np.float64) for real in reals]
        found = of_channels(unit_of("sum", ["a"] * connections, weights, values, bits), weights, values, bits)
        for weight, units in zip(weights, found.scales(values), strict=True):
            rounded = round_weight(weight, units, bits) * units[:, None]
            assert np.allclose(rounded, weight, rtol=1e-5, atol=0)
        as_one = [weight.reshape(1, -1) for weight in (np.abs(weight[:1]) for weight in weights)]
        whole = on_exact_grids(unit_of("sum", ["a"] * connections, as_one, values, bits), as_one, values, bits)
        assert whole is not None


def test_weights_on_no_grid_are_given_up_at_once() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((64, 576)) for _ in range(4)]
    unit, values = unit_of("sum", ["a"] * 4, weights, (1.0,) * 4, 8), (1.0,) * 4
    assert list(shifts_on_grids(unit, weights, values, 8)) == [unit.shifts]
    assert on_exact_grids(unit, weights, values, 8) is None
