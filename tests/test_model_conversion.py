"""From activations to spikes: the checkpoint, its run step by step, and how close rates come to activations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_model_relu import images, residual
from test_model_relu_train import CONFIG, data

from gradrtl.model.architecture import read_description
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.model.conversion import closeness, convert, over_steps
from gradrtl.model.graph import Graph
from gradrtl.model.networks import network_of
from gradrtl.model.relu import ReluNetwork, network_from
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.relu_train import Trained, train_relu
from gradrtl.quantize.graph_ptq import quantize_graph
from gradrtl.quantize.graph_rounding import GraphFormats, fold_graph
from gradrtl.sim import engine

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def untrained(method: str = "shift", steps: int = 6) -> tuple[ReluNetwork, Checkpoint]:
    """The residual network with random normalisation and thresholds, and what it is converted to."""
    torch.manual_seed(3)
    config = ReluConfig(network=residual(), method=method, steps=steps, epochs=1)
    network = ReluNetwork(config.description((1, 4, 4)), method, 4, 0.8)
    with torch.no_grad():
        for population in network.all:
            if population.norm is not None:
                for value in (population.norm.running_mean, population.norm.bias):
                    assert value is not None
                    value.uniform_(-0.3, 0.5)
    network.eval()
    if method != "shift":
        network.measure([images(20)])
    return network, convert(Trained(network, [], 0.5, {"torch": "1"}), config)


def test_the_residual_network_for_cifar10_is_one_for_either_training() -> None:
    shape = (3, 32, 32)
    network = read_description(str(ROOT / "examples/cifar10-residual8.json"), shape)
    trained, converted = TrainConfig(network=network).description(shape), ReluConfig(network=network).description(shape)
    assert isinstance(trained, Graph)
    assert trained.weight_shapes == converted.weight_shapes
    assert [spec.inputs for spec in trained.populations] == [spec.inputs for spec in converted.populations]
    assert len(trained.populations) == 8
    added = [c.sources for spec in trained.populations for c in spec.inputs if len(c.sources) > 1]
    assert added == [("maps4", "maps2"), ("maps7", "maps5")]


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_the_converted_network_spikes_as_the_network_of_activations_says(steps: int) -> None:
    """Two ways to the same spikes: thresholds folded into weights, and sums divided by thresholds."""
    network, made = untrained()
    last = list(over_steps(network_of(made), images(), steps))[-1]
    assert torch.allclose(last["output"] / steps, network.spiking(images(), steps), atol=1e-4)


def test_membranes_start_at_half_a_threshold_with_shift_alone() -> None:
    _, made = untrained()
    graph = made.network
    assert graph["a"].neuron.threshold == pytest.approx(0.8)
    assert graph["a"].neuron.start_value == pytest.approx(0.4)
    assert untrained("plain")[1].network["a"].neuron.start_value is None
    assert graph.steps == 6
    assert made.made_from == {"torch": "1"}
    assert made.figures["validation"] == 0.5


def test_a_converted_checkpoint_gives_the_network_back(tmp_path) -> None:
    network, made = untrained()
    made.save(tmp_path / "checkpoint.npz")
    again = network_from(Checkpoint.load(tmp_path / "checkpoint.npz"), "shift", 4).eval()
    assert torch.allclose(network(images()), again(images()), atol=1e-5)


def test_rates_come_closer_with_steps() -> None:
    config = CONFIG
    trained = train_relu(config, data())
    made = convert(trained, config)
    found = closeness(trained.network, made, data(), steps=(1, 4, 64), batch=50, pairs=100)
    assert found.steps == (1, 4, 64)
    assert len(found.accuracy) == 3
    (errors,) = found.errors.values()
    assert errors[1] < errors[0]
    assert errors[2] < 0.1
    assert found.accuracy[1] == pytest.approx(found.activations_accuracy, abs=0.05)
    outputs = trained.network(torch.from_numpy(data().images)).argmax(dim=1).numpy()
    assert found.activations_accuracy == pytest.approx((outputs == data().labels).mean())
    assert len(found.rates["layer0"]) == len(found.activations["layer0"]) >= 25
    assert np.abs(found.rates["layer0"] - found.activations["layer0"]).max() <= 0.3


def test_the_first_layer_is_exact_at_as_many_steps_as_levels() -> None:
    """Its sum is the same at every step: the neuron counts what the activation rounds."""
    trained = train_relu(CONFIG, data())
    found = closeness(trained.network, convert(trained, CONFIG), data(), steps=(4,))
    assert found.errors["layer0"][0] < 1e-6


def test_rounded_weights_are_the_integers_of_the_quantised_network() -> None:
    """3-bit weights of training stay as they are: per channel, and one scale for the read-out."""
    trained = train_relu(CONFIG, data())
    made = convert(trained, CONFIG)
    folded = fold_graph(made)
    integers = quantize_graph(folded, GraphFormats(weight_bits=3, per_channel=True))
    for population, before, name in zip(integers.populations, folded.populations, ("layer0", "output"), strict=True):
        weight = population.inputs[0].synapses.weight
        unit = np.ravel(integers.notes["units"][name]) * 2 ** population.inputs[0].shift
        value = folded.source_values(before, GraphFormats())[0]
        scale = (unit / value).reshape(-1, *[1] * (weight.ndim - 1))
        assert np.allclose(weight * scale, before.weights[0], rtol=1e-4, atol=1e-7)
    frames = data().frames
    made_classes = engine.run(integers, frames).classes
    spiking = trained.network.spiking(torch.from_numpy(data().images), CONFIG.steps).argmax(dim=1).numpy()
    assert (made_classes == spiking).mean() > 0.95
