"""Start values by which integrate-and-fire neurons fire as often as the activations behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from graphs import population, weights
from test_model_relu_train import data

from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.conversion import convert, mean_activations
from gradrtl.model.data import Dataset, split
from gradrtl.model.relu import network_from
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.relu_train import train_relu
from gradrtl.quantize.calibration import NOTE, ROUNDS, calibrated, start_before
from gradrtl.quantize.network import Connection, Conv, Input, IntNeuron, Population, QuantizedNetwork
from gradrtl.quantize.relus import relus_of
from gradrtl.sim import engine
from gradrtl.steps import quantise as steps
from gradrtl.steps.frames import frames_for
from gradrtl.steps.quantise import accuracy, calibrate, formats_for, quantise

SEEN = 100


@pytest.fixture(scope="module", params=["plain", "rate-norm", "shift"])
def made(request: pytest.FixtureRequest) -> tuple[Checkpoint, QuantizedNetwork]:
    torch.set_num_threads(1)
    config = ReluConfig(
        network="6C3-AP2-8C3-3", method=request.param, epochs=3, steps=5, batch=20, lr=0.05, held_out=20, levels=8
    )
    found = convert(train_relu(config, data()), config)
    return found, quantise(found, formats_for(found, per_channel=True, weight_bits=8), data(), "weights")


def two_maps() -> QuantizedNetwork:
    """Two maps of 2 x 2 neurons with thresholds of their own, and four neurons behind them."""
    neuron = IntNeuron("none", "soft", np.array([10, 20]), start_value=np.array([5, 10]))
    maps = Population(
        "maps",
        (2, 2, 2),
        neuron,
        np.zeros(2, np.int64),
        (Connection("input", Conv(np.ones((2, 1, 1, 1), np.int8)), 4),),
    )
    dense = replace(population("dense", 4, Connection("maps", weights(4, 8), 4)), neuron=IntNeuron("none", "soft", 8))
    out = population("out", 3, Connection("dense", weights(3, 4), 4))
    return QuantizedNetwork((Input((1, 2, 2), kind="static"),), (maps, dense, out), steps=4)


def test_what_lacks_is_added_map_by_map_in_thresholds() -> None:
    network, asked, told = two_maps(), list[tuple[str, list[int]]](), list[tuple[int, int]]()
    wanted = {"maps": np.full(8, 0.5), "dense": np.array([0.1, 0.2, 0.3, 0.4])}
    lacking = np.array([0.0, 0.1, 0.2, 0.1, -0.2, -0.3, -0.1, -0.2])

    def rates(now: QuantizedNetwork, name: str) -> np.ndarray:
        asked.append((name, now.populations[0].neuron.start_value.tolist()))
        return wanted[name] - (lacking if name == "maps" else wanted[name])

    found = calibrated(network, wanted, rates, lambda number, total: told.append((number, total)))
    # four steps, a mean of 0.1 and -0.2 of a spike in each: 4 and -16 in every round
    assert found.populations[0].neuron.start_value.tolist() == [5 + 4 * ROUNDS, 10 - 16 * ROUNDS]
    # 8 times 4 steps times what each neuron lacks, rounded: neurons that are no map have values of their own
    assert found.populations[1].neuron.start_value.tolist() == [ROUNDS * value for value in (3, 6, 10, 13)]
    assert found.populations[2] == network.populations[2]
    assert asked == [
        ("maps", [5, 10]), ("maps", [9, -6]), *[("dense", [5 + 4 * ROUNDS, 10 - 16 * ROUNDS])] * ROUNDS
    ]  # fmt: skip
    assert told == [(number + 1, 2 * ROUNDS) for number in range(2 * ROUNDS)]


@pytest.mark.parametrize(("lacking", "expected"), [(1.0, 15), (-1.0, -16)])
def test_start_values_saturate_as_membranes_do(lacking: float, expected: int) -> None:
    network = two_maps()
    maps = network.populations[0]
    narrow = replace(
        maps,
        neuron=replace(
            maps.neuron, threshold=np.array([8, 10]), reset_amount=np.array([8, 10]), start_value=0, membrane_bits=5
        ),
    )
    network = replace(network, populations=(narrow, *network.populations[1:]))
    found = calibrated(network, {"maps": np.full(8, lacking)}, lambda now, name: np.zeros(8))
    assert found.populations[0].neuron.start_value.tolist() == [expected]


def mean_rates(network: QuantizedNetwork, some: Dataset) -> dict[str, np.ndarray]:
    """By population, the mean over images, steps and places: `[channels]`."""
    trace = engine.run(network, frames_for(network, some), trace="spikes").trace
    assert trace is not None
    pairs = zip(network.populations, trace.spikes, strict=True)
    return {p.name: spikes.mean(axis=(0, 1)).reshape(p.channels, -1).mean(axis=1) for p, spikes in pairs}


def test_mean_rates_come_to_the_mean_activations(made: tuple[Checkpoint, QuantizedNetwork]) -> None:
    floats, integers = made
    seen, held_out = split(data(), 20)
    found = calibrate(floats, integers, data(), SEEN)
    wanted = mean_activations(floats, seen[:SEEN].images)
    before, after = mean_rates(integers, seen[:SEEN]), mean_rates(found.network, seen[:SEEN])

    def apart(rates: dict[str, np.ndarray]) -> float:
        by_map = [rates[name] - mean.reshape(len(rates[name]), -1).mean(axis=1) for name, mean in wanted.items()]
        return float(np.abs(np.concatenate(by_map)).mean())

    assert set(wanted) == {"layer0", "layer1"}
    assert apart(after) < 0.5 * apart(before)
    assert (found.before, found.after) == (accuracy(integers, held_out), accuracy(found.network, held_out))
    assert found.network.notes[NOTE] == {"images": SEEN, "start": 0.5 if floats.conversion[0] == "shift" else 0.0}
    others = [replace(p, neuron=replace(p.neuron, start_value=0)) for p in integers.populations]
    assert [replace(p, neuron=replace(p.neuron, start_value=0)) for p in found.network.populations] == others


def test_activations_are_those_of_the_network_before_conversion(made: tuple[Checkpoint, QuantizedNetwork]) -> None:
    floats, images = made[0], data().images[:30]
    assert floats.conversion is not None
    with torch.no_grad():
        _, rates = network_from(floats, *floats.conversion).eval()(torch.from_numpy(images), layer_rates=True)
    found = mean_activations(floats, images, batch=7)
    for name, rate in rates.items():
        np.testing.assert_allclose(found[name], rate.mean(dim=0).flatten(), atol=1e-6)


def test_training_goes_on_from_what_was_there_before(made: tuple[Checkpoint, QuantizedNetwork]) -> None:
    """What calibration adds makes up for late spikes: it is no part of the activations."""
    floats, integers = made
    found = calibrate(floats, integers, data(), SEEN).network
    assert found.digest != integers.digest
    ours, before = relus_of(found), relus_of(integers)
    assert ours.network == before.network
    for name, array in before.arrays.items():
        np.testing.assert_allclose(ours.arrays[name], array, atol=0.01, err_msg=name)
        if not name.endswith((".bias", ".norm.shift")):
            np.testing.assert_array_equal(ours.arrays[name], array, err_msg=name)


@pytest.mark.parametrize("note", [None, 1, {}, {"start": 0.7}, {"start": False}, {"start": "0"}, {"start": [0]}])
def test_other_notes_tell_nothing(note: object) -> None:
    assert start_before(replace(two_maps(), notes={NOTE: note})) is None


def test_of_a_training_on_the_first_images_only_these_are_calibrated_on() -> None:
    torch.set_num_threads(1)
    config = ReluConfig(network="6C3-AP2-3", epochs=1, steps=3, batch=20, held_out=20, images=40)
    floats = convert(train_relu(config, data()), config)
    integers = quantise(floats, formats_for(floats, per_channel=True, weight_bits=8), data(), "weights")
    with pytest.raises(UserError, match=r"^calibrate is 41, expected 1 to 40, the images that were trained on"):
        calibrate(floats, integers, data(), 41)
    found = calibrate(floats, integers, data(), 40)
    assert found.before == accuracy(integers, split(data(), 20)[1]), "held out are the last 20 of all"


def test_a_search_sees_what_was_trained_on(made: tuple[Checkpoint, QuantizedNetwork]) -> None:
    seen = []
    floats = replace(made[0], config={**made[0].config, "images": 40})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(steps, "accuracy", lambda network, some: float(seen.append(some.digest) or 0))
        quantise(floats, formats_for(floats, per_channel=True, weight_bits=8), data(), "search")
    assert set(seen) == {data()[:40].digest}


@pytest.mark.parametrize("images", [0, 121])
def test_images_are_some_of_those_trained_on(made: tuple[Checkpoint, QuantizedNetwork], images: int) -> None:
    with pytest.raises(UserError, match=f"^calibrate is {images}, expected 1 to 120"):
        calibrate(*made, data(), images)
