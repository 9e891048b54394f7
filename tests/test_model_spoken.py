"""The trainings on spoken digits: they fit what the front end sends, and differ in their data alone."""

from __future__ import annotations

from dataclasses import replace

from gradrtl.model import campaign, spoken
from gradrtl.model.graph import Graph
from gradrtl.quantize.frontend import FrontEnd


def test_the_network_hears_the_front_end() -> None:
    settings, network = FrontEnd.mel(), spoken.network(64, (1, 3))
    (sound,) = network.inputs
    assert (sound.shape, sound.counts) == (settings.shape, settings.bits)
    assert network.steps * settings.step < settings.rate
    assert [connection.delay for connection in network.populations[0].inputs] == [0, 1, 3]
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
