"""Plans for a device are made once for what they depend on, and then come from the cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.steps import place as steps
from gradrtl.steps.place import Wanted, fits_of, place


@pytest.fixture
def plans(tmp_path, monkeypatch):
    """The devices for which a plan has been made; the cache is empty at first."""
    monkeypatch.chdir(tmp_path)
    made, plan = [], steps.device_pes

    def counted(network, loads, beats, device, *given):
        made.append(device.name)
        return plan(network, loads, beats, device, *given)

    monkeypatch.setattr(steps, "device_pes", counted)
    return made


def network(hidden: int = 20) -> QuantizedNetwork:
    generator = np.random.default_rng(0)
    layers = []
    for name, outputs, inputs in (("hidden", hidden, 30), ("output", 4, hidden)):
        weight = generator.integers(-3, 4, (outputs, inputs)).astype(np.int8)
        synapses = Dense(weight, np.zeros(outputs, np.int64))
        layers.append(Layer(name, (inputs,), synapses, IntNeuron("none", "soft", np.array([4])), 3))
    return QuantizedNetwork(Input((30,), bits=4), tuple(layers), 3)


def test_a_plan_is_made_once(plans):
    made = network()
    first = place(made, Wanted(device="ecp5-25")).placement
    assert plans == ["ecp5-25"]
    assert place(made, Wanted(device="ecp5-25")).placement == first
    assert plans == ["ecp5-25"]
    assert Path("build/cache").is_dir()


@pytest.mark.parametrize("what", ["network", "rates", "bus", "queues", "device", "sources"])
def test_what_a_plan_depends_on_makes_another(plans, monkeypatch, what):
    wanted, made = Wanted(device="ecp5-25"), network()
    place(made, wanted)
    if what == "network":
        made = network(21)
    elif what == "rates":
        made = replace(made, rates=(np.arange(30.0), np.ones(20)))
    elif what == "bus":
        wanted = replace(wanted, pixels_a_beat=2)
    elif what == "queues":
        wanted = replace(wanted, queue_depth=5)
    elif what == "device":
        wanted = replace(wanted, device="ecp5-85")
    else:
        monkeypatch.setattr(steps, "sources", lambda *names: "edited")
    place(made, wanted)
    assert len(plans) == 2


def test_a_refusal_is_kept_as_well(plans):
    large = network(3000)
    messages = []
    for _ in range(2):
        with pytest.raises(UserError, match="device is up5k") as refused:
            place(large, Wanted(device="up5k"))
        messages.append(str(refused.value))
    assert messages[0] == messages[1]
    assert plans == ["up5k"]


def test_plans_of_all_devices_are_made_once(plans):
    made = network()
    fits = fits_of(made)
    assert sorted(plans) == sorted(fit.device.name for fit in fits)
    assert fits_of(made) == fits
    assert len(plans) == len(fits)
