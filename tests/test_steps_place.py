"""Placement: what is asked goes before the file, the file before the defaults; loads come from event rates.

Plans for a device are made once for what they depend on, and then come from the cache.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.devices import DEVICES
from gradrtl.rtl.mapping import map_network
from gradrtl.sim.events import events_of
from gradrtl.sim.sampling import sample
from gradrtl.sim.timing.predict import predict
from gradrtl.steps import place as steps
from gradrtl.steps.place import (
    FEWER,
    PLAN_FRAMES,
    Fit,
    Plans,
    Wanted,
    cycles_on,
    fits_of,
    normal_pes,
    parse_pes,
    place,
    rates_of,
    with_rates,
    work,
)

ECP5, UP5K = DEVICES["ecp5-85"], DEVICES["up5k"]


def dense(sources: int, neurons: int) -> Layer:
    neuron = IntNeuron("none", "hard", np.array([1]))
    return Layer("layer", (sources,), Dense(np.ones((neurons, sources), np.int8), np.zeros(neurons, int)), neuron, 4)


NETWORK = QuantizedNetwork.chain(Input((10,)), (dense(10, 8), dense(8, 8), dense(8, 8)), steps=1)


def test_options_go_before_the_file_and_the_file_before_defaults():
    stored = replace(NETWORK, placement=Placement((3, 2, 1), 8, 5, 6))
    assert place(stored).placement == stored.placement
    assert place(stored, Wanted("4,4,4", queue_depth=7)).placement == Placement((4, 4, 4), 8, 7, 6)
    assert place(NETWORK, Wanted("4,4,4")).placement == Placement((4, 4, 4))


def test_a_device_determines_what_is_not_asked():
    found = place(NETWORK, Wanted("1,2,1", "up5k", queue_depth=7)).placement
    assert found == Placement((1, 2, 1), UP5K.pixels_a_beat, 7, UP5K.row_queue_depth, (0,))


@pytest.mark.parametrize(
    ("text", "pes"),
    [
        ("auto", [8, 8, 8]),  # one event a cycle: 10 cycles for 10 events
        ("2,auto", [2, 2, 2]),  # four rows: 40 cycles, as many as four rows of 8 events and one less take
        ("2,1,auto", [2, 1, 2]),
        ("2,1,5", [2, 1, 5]),
    ],
)
def test_auto_fills_what_is_not_given(text, pes):
    assert parse_pes(text, NETWORK, 4) == pes


@pytest.mark.parametrize(("text", "same"), [("08, 2", "8,2"), ("016 ,auto", "16,auto"), ("auto", "auto")])
def test_pes_are_written_in_one_way(text, same):
    assert normal_pes(text) == same


def test_the_last_beat_counts_though_it_is_not_full():
    assert [work(NETWORK, pixels)[1] for pixels in (1, 2, 4, 8)] == [10, 5, 3, 2]


def test_without_rates_every_source_has_an_event():
    loads, _ = work(NETWORK, 4)
    assert [(load.events, load.synaptic, load.neurons) for load in loads] == [(10, 80, 8), (8, 64, 8), (8, 64, 8)]


def test_rates_are_those_of_the_first_images(monkeypatch):
    monkeypatch.setattr(steps, "RATE_IMAGES", 2)
    frames = np.zeros((6, 10), np.uint8)
    frames[1, :5] = 255
    frames[2:] = 255
    assert with_rates(NETWORK, frames).rates[0].tolist() == [0.5] * 5 + [0.0] * 5


def test_the_cost_of_a_plan_is_a_frame_of_many_and_a_frame_alone():
    mapping = map_network(NETWORK, (2, 2, 2))
    frames, trace = sample(NETWORK, rates_of(NETWORK), 5)
    events = events_of(mapping, frames, trace)
    stream, apart = predict(mapping, events).result[-1] / 5, predict(mapping, events, apart=True).latency.mean()
    assert cycles_on(frames, trace)(mapping) == pytest.approx(stream + apart)
    assert apart > 0


def test_numbers_that_do_not_fit_the_network_are_refused_for_every_device():
    with pytest.raises(UserError, match=r"pes is .*expected 3 numbers"):
        fits_of(NETWORK, (ECP5,), Wanted("1,1"))


def test_the_smallest_plan_is_told_where_none_fits(plans, monkeypatch):
    small = replace(ECP5, luts=1)
    monkeypatch.setitem(DEVICES, ECP5.name, small)
    (fit,) = fits_of(NETWORK, (small,))
    assert fit.pes == (1, 1, 1)
    assert not fit.fits


def test_what_is_full_fits():
    assert Fit(ECP5, (1,), {"LUTs": (5, 5)}).fits
    assert not Fit(ECP5, (1,), {"LUTs": (5, 5), "block RAMs": (6, 5)}).fits


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
    return QuantizedNetwork.chain(Input((30,), bits=4), tuple(layers), 3)


def test_a_plan_is_made_once(plans):
    made = network()
    first = place(made, Wanted(device="ecp5-25")).placement
    assert plans == ["ecp5-25"]
    assert place(made, Wanted(device="ecp5-25")).placement == first
    assert plans == ["ecp5-25"]
    assert Path("build/cache").is_dir()


@pytest.mark.parametrize("what", ["network", "rates", "bus", "queues", "device", "sources", "libraries"])
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
        edited = {"sources": "edited", "libraries": {"numpy": "1.0"}}
        monkeypatch.setattr(steps, what, lambda *names: edited[what])
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


@pytest.mark.parametrize(("events", "all_frames"), [(1e9, 100), (300, 10), (1, 2)])
def test_plans_are_compared_on_fewer_frames_if_these_have_many_events(monkeypatch, events, all_frames):
    monkeypatch.setattr(steps, "PLAN_EVENTS", events)
    numbers = []

    def counted(frames, trace):
        numbers.append(len(frames))
        return cycles_on(frames, trace)

    monkeypatch.setattr(steps, "cycles_on", counted)
    made = replace(network(), rates=(np.ones(30), np.zeros(20)))  # 30 events in a frame
    mapping, plans = map_network(made, (2, 1)), Plans()
    assert plans.cost(mapping, False) == cycles_on(*sample(made, rates_of(made), all_frames))(mapping)
    few = max(2, all_frames // FEWER)
    assert plans.cost(mapping, True) == cycles_on(*sample(made, rates_of(made), few))(mapping)
    assert numbers == sorted({all_frames, few}, reverse=True)


def test_devices_with_the_same_bus_and_queues_share_what_plans_cost(plans, monkeypatch):
    costs = []

    def counted(frames, trace):
        cycles = cycles_on(frames, trace)
        return lambda mapping: costs.append((len(frames), mapping.placement)) or cycles(mapping)

    monkeypatch.setattr(steps, "cycles_on", counted)
    devices = (DEVICES["xc7k325t"], DEVICES["xc7vx690t"])
    assert len({fit.pes for fit in fits_of(network(), devices)}) == 1
    assert len(plans) == 2
    assert len(costs) == len(set(costs)) > 10
    assert {number for number, _ in costs} == {PLAN_FRAMES, PLAN_FRAMES // FEWER}


def test_every_device_is_one_part_of_the_progress(plans):
    for _ in ("planned", "from the cache"):
        shares = []
        fits_of(network(), (ECP5, DEVICES["up5k"]), progress=shares.append)
        assert sum(shares) == pytest.approx(2)
    assert len(shares) == 2
