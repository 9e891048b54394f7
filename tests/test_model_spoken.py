"""The trainings on spoken digits: they fit what the front end sends, and differ in their data alone."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest

from gradrtl.model import campaign, spoken
from gradrtl.model.config import SURROGATES
from gradrtl.model.graph import Graph
from gradrtl.quantize.frontend import FrontEnd


def test_the_network_hears_the_front_end() -> None:
    settings, network = FrontEnd.mel(), spoken.network(64, (1, 3))
    (sound,) = network.inputs
    assert (sound.shape, sound.counts) == (settings.shape, settings.bits)
    assert network.steps * settings.step < settings.rate
    for population in network.populations[:2]:
        assert [connection.delay for connection in population.inputs] == [1, 3]
    assert network.classes == spoken.WORDS
    assert Graph.from_json(network.to_json()) == network


def test_trainings_differ_in_their_data() -> None:
    whole = spoken.TRAININGS["spoken-10"]
    assert whole.connectivity is not None
    assert whole.connectivity <= 0.1
    for speaker in spoken.SPEAKERS:
        name = f"spoken-10-{speaker}"
        assert replace(spoken.TRAININGS[name], epochs=whole.epochs, held_out=whole.held_out) == whole
        assert spoken.data_of(name) == spoken.FOLDER / f"{speaker}.npz"
        assert campaign.runs()[f"{name}-s0"] == spoken.TRAININGS[name]
        assert campaign.data_of(f"{name}-s0", whole) == spoken.data_of(name)
    assert campaign.data_of("spoken-10-s0", whole) == spoken.FOLDER / "all.npz"
    for name, folder in (("mnist-mlp-5-s0", campaign.MNIST), ("cifar10-small-20-s0", campaign.CIFAR10)):
        assert campaign.data_of(name, campaign.runs()[name]) == folder


def test_compared_networks_have_as_many_synapses() -> None:
    graphs = {what: config for name, config in spoken.COMPARED.items() if (what := name.partition("-hears-")[2])}
    synapses = []
    for config in graphs.values():
        assert isinstance(config.network, Graph)
        assert config.connectivity is not None
        synapses.append(config.connectivity * sum(map(prod, config.network.weight_shapes.values())))
    assert synapses == pytest.approx([5000] * 4)
    heard = {
        what: {(connection.delay, connection.sources == (population.name,)) for connection in population.inputs}
        for what, config in graphs.items()
        for population in config.network.populations[:2]  # type: ignore[union-attr]
    }
    assert heard == {
        "now": {(0, False)},
        "delays": {(0, False), (3, False)},
        "loops": {(0, False), (1, True)},
        "delays-loops": {(0, False), (3, False), (1, True)},
    }
    trained = {name: (config.surrogate, config.slope) for name, config in spoken.COMPARED.items()}
    assert {trained[f"spoken-surrogate-{kind}"] for kind in SURROGATES} == {(kind, 3) for kind in SURROGATES}
    assert [trained[f"spoken-slope-{slope}"] for slope in (1, 10)] == [("fast-sigmoid", 1), ("fast-sigmoid", 10)]
    for name, config in spoken.COMPARED.items():
        assert campaign.runs()[f"{name}-s2"] == replace(config, seed=2)
        assert campaign.data_of(f"{name}-s2", config) == spoken.FOLDER / "all.npz"
