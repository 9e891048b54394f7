"""From the integers of a network back to activations: where training goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_model_relu_train import data

from gradrtl.errors import UserError
from gradrtl.model import sparse
from gradrtl.model.architecture import described
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.conversion import convert
from gradrtl.model.relu import RANDOM_NORM, network_from
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.relu_train import train_relu
from gradrtl.quantize.network import (
    Connection,
    Conv,
    Dense,
    Input,
    IntNeuron,
    Population,
    QuantizedNetwork,
    Readout,
    SynapticCurrent,
)
from gradrtl.quantize.relus import read_unit, relus_of
from gradrtl.steps.quantise import formats_for, quantise

NETWORKS = Path(__file__).parents[1] / "networks"
CONFIG = ReluConfig(network="6C3-AP2-8C3-3", epochs=3, batch=20, lr=0.05, weight_bits=4, held_out=20, rewire=0.0)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made() -> tuple[Checkpoint, QuantizedNetwork]:
    torch.set_num_threads(1)
    floats = convert(train_relu(CONFIG, data()), CONFIG)
    return floats, quantise(floats, formats_for(floats, per_channel=True, weight_bits=4), data(), "weights")


def images() -> torch.Tensor:
    return torch.from_numpy(data().images[:40])


@pytest.mark.parametrize("layers", [None, "6C3-AP2-8C3-3"])
def test_integers_have_the_rates_and_answers_of_their_floats(
    made: tuple[Checkpoint, QuantizedNetwork], layers: str | None
) -> None:
    floats, integers = made
    found = relus_of(integers, None if layers is None else described(layers)((1, 6, 6)))
    assert isinstance(found.network.steps, int)
    assert found.network.steps == integers.steps
    assert [spec.batch_norm for spec in found.network.populations] == [True, True, False]
    ours, theirs = network_from(found, "shift", 4).eval(), network_from(floats, "shift", 4).eval()
    with torch.no_grad():
        (outputs, rates), (wanted, wanted_rates) = (one(images(), layer_rates=True) for one in (ours, theirs))
    for name, rate in wanted_rates.items():
        same = (rates[name] - rate).abs() < 0.01
        assert float(same.float().mean()) > 0.97, name  # a few sums are at the edge of a level
    assert np.corrcoef(outputs.flatten(), wanted.flatten())[0, 1] > 0.99


@pytest.mark.parametrize("by_connections", [False, True])
def test_statistics_are_new_and_answers_stay(
    made: tuple[Checkpoint, QuantizedNetwork], by_connections: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a network that is so sparse that it answers by its connections, where no normalisation is called."""
    monkeypatch.setattr(sparse, "DENSEST", 1.0 if by_connections else 0.0)
    network = network_from(relus_of(made[1]), "shift", 4).eval()
    assert (network.sparse_part(images()) is not None) == by_connections
    labels = torch.from_numpy(data().labels[:40]).long()
    with torch.no_grad():
        before = network(images())
        network.normalise(images(), labels)
        after = network(images())
    factor = float((before * after).sum() / before.square().sum())
    apart = (after - factor * before).abs().amax(dim=1)
    assert float((apart < 0.02 * float(after.abs().max())).float().mean()) >= 0.9  # a few sums change their level

    def loss(by: float) -> float:
        return float(torch.nn.functional.cross_entropy(by * after, labels, label_smoothing=0.1))

    assert loss(1) < min(loss(0.7), loss(1.5))
    for population in network.all[:-1]:
        norms = population.synapses[0].weight.flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, RANDOM_NORM))
    first = network.all[0]
    seen = first.synapses[0](images().float() / 255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(first.norm.running_mean, seen.mean(dim=1))
    torch.testing.assert_close(first.norm.running_var, seen.var(dim=1, correction=0))


def test_a_training_goes_on_from_integers(made: tuple[Checkpoint, QuantizedNetwork]) -> None:
    start = relus_of(made[1])
    config = replace(CONFIG, network=start.network, epochs=0, weight_bits=None)
    kept = train_relu(config, data(), start=start, first="statistics")
    before = network_from(start, "shift", 4).eval()
    held = torch.from_numpy(data().images[-20:])
    with torch.no_grad():
        assert float((kept.network(held).argmax(1) == before(held).argmax(1)).float().mean()) >= 0.9
    further = train_relu(
        replace(config, epochs=2, weight_bits=CONFIG.weight_bits), data(), start=start, first="statistics"
    )
    assert further.history[-1]["loss"] < 0.7


def test_what_integers_were_fine_tuned_on_is_told(made: tuple[Checkpoint, QuantizedNetwork]) -> None:
    formats = formats_for(made[0], per_channel=True, weight_bits=4)
    tuned = quantise(made[0], formats, data(), "qat", epochs=0, held_out=1)
    start = relus_of(tuned)
    assert start.origin["start"]["qat"] == {"data": data().digest, "unseen": 1}
    config = replace(CONFIG, network=start.network, epochs=0, weight_bits=None)
    with pytest.raises(UserError, match="held_out is 20, expected at most 1"):
        train_relu(config, data(), start=start, first="statistics")
    train_relu(replace(config, held_out=1), data(), start=start, first="statistics")
    by_group = replace(tuned, notes={**tuned.notes, "qat": {**tuned.notes["qat"], "held_out_group": 3}})
    older = replace(tuned, notes={**tuned.notes, "qat": {"epoch": 1}})
    for one in (by_group, older, replace(tuned, notes={**tuned.notes, "qat": "yes"})):
        train_relu(config, data(), start=relus_of(one), first="statistics")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist-2pct.npz", "layer0 leak is decaying_input, expected none"),
        ("mnist-first-spike.npz", "input pixels is .*, expected static"),
        ("mnist-rows-20pct.npz", "is on a cycle, expected a network without cycles|expected static"),
    ],
)
def test_what_stands_for_no_relu_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        relus_of(QuantizedNetwork.load(NETWORKS / name))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("6C3-AP2-3", "populations is 3, expected 2"),
        ("6C3-AP2-9C3-3", r"layer1 weight is \(8, 6, 3, 3\), expected \(9, 6, 3, 3\)"),
    ],
)
def test_other_layers_are_refused(made: tuple[Checkpoint, QuantizedNetwork], layers: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        relus_of(made[1], described(layers)((1, 6, 6)))


@pytest.mark.parametrize(
    ("which", "changed", "message"),
    [
        (0, {"refractory": 2}, "layer0 neuron is with further states, expected a membrane alone"),
        (0, {"current": SynapticCurrent(1, 1)}, "layer0 neuron is with further states, expected a membrane alone"),
        (0, {"leak": "shift"}, "layer0 leak is shift, expected none"),
        (0, {"reset": "hard", "reset_amount": 0}, "layer0 reset is hard, expected soft"),
        (2, {"leak": "shift"}, "output leak is shift, expected none: what is read out is a sum"),
        (2, {"spiking": True, "reset": "soft"}, "read-out is count, expected membrane"),
    ],
)
def test_neurons_that_are_no_relus_are_refused(
    made: tuple[Checkpoint, QuantizedNetwork], which: int, changed: dict[str, Any], message: str
) -> None:
    network = made[1]
    populations = list(network.populations)
    populations[which] = replace(populations[which], neuron=replace(populations[which].neuron, **changed))
    kind = "count" if changed.get("spiking") else "membrane"
    other = replace(network, populations=tuple(populations), readouts=(replace(network.readouts[0], kind=kind),))
    with pytest.raises(UserError, match=message):
        relus_of(other)


def maps(given: tuple[Input, ...], neuron: IntNeuron, bias: Any = 0) -> QuantizedNetwork:
    """Two maps of 2 x 2 neurons behind the sum of the inputs, and three outputs."""
    draw = np.random.default_rng(0).integers
    heard = Connection(tuple(one.name for one in given), Conv(draw(1, 4, (2, 1, 2, 2), dtype=np.int8)), 4)
    read = Connection("h", Dense(draw(-3, 4, (3, 8), dtype=np.int8)), 4)
    output = Population("o", (3,), IntNeuron("none", "none", threshold=1, spiking=False), 0, (read,))
    hidden = Population("h", (2, 2, 2), neuron, bias, (heard,))
    return QuantizedNetwork(given, (hidden, output), 4, (Readout("membrane", 1, "o"),))


PIXELS = Input((1, 3, 3), 8, "static", "x")


def test_pixels_of_two_inputs_are_worth_as_much_as_those_of_one() -> None:
    neuron = IntNeuron("none", "soft", threshold=12)
    one, two = (maps(given, neuron) for given in ((PIXELS,), (PIXELS, replace(PIXELS, name="y"))))
    found = [relus_of(network).arrays["population0.connection0.weight"] for network in (one, two)]
    assert np.array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], one.populations[0].inputs[0].synapses.weight * (255 / 12), rtol=1e-6)
    with pytest.raises(UserError, match="input bits is of several widths, expected one width"):
        relus_of(maps((PIXELS, Input((1, 3, 3), 4, "static", "y")), neuron))


def test_numbers_that_differ_within_a_map_are_refused() -> None:
    twelve = IntNeuron("none", "soft", threshold=12)
    wanted = relus_of(maps((PIXELS,), twelve, np.array([0, 5]))).arrays
    spelled_out = replace(twelve, threshold=np.full(8, 12), start_value=np.zeros(8, np.int64))
    found = relus_of(maps((PIXELS,), spelled_out, np.repeat([0, 5], 4))).arrays
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    with pytest.raises(UserError, match="h bias is not the same within a map, expected one for each map"):
        relus_of(maps((PIXELS,), twelve, np.arange(8)))
    with pytest.raises(UserError, match="h threshold is not the same within a map, expected one for each map"):
        relus_of(maps((PIXELS,), replace(twelve, threshold=np.arange(10, 18), reset_amount=np.arange(10, 18))))


def test_membranes_that_start_elsewhere_shift_the_bias(made: tuple[Checkpoint, QuantizedNetwork]) -> None:
    """`floor(T x)` is `floor(T (x - 1 / 2T) + 1 / 2)`."""
    network = made[1]
    first, *others = network.populations
    at_zero = replace(network, populations=(replace(first, neuron=replace(first.neuron, start_value=0)), *others))
    halves, zeros = (relus_of(one).arrays for one in (network, at_zero))
    apart = zeros["population0.norm.shift"] - halves["population0.norm.shift"]
    assert apart == pytest.approx(-0.5 / network.steps, rel=1e-3)
    assert np.array_equal(zeros["population1.norm.shift"], halves["population1.norm.shift"])


@pytest.mark.parametrize("unit", [None, True, 0, -1.0, 10**400, 1e-60, float("nan"), "1", [1.0]])
def test_units_that_tell_nothing(made: tuple[Checkpoint, QuantizedNetwork], unit: Any) -> None:
    assert read_unit(made[1]) == made[1].notes["units"]["output"]
    assert read_unit(replace(made[1], notes={"units": {"output": unit}})) is None
    assert read_unit(replace(made[1], notes={"units": unit})) is None
    assert relus_of(replace(made[1], notes={})).made_from == {"start": {"network": made[1].digest}}
