"""How many processing elements a layer gets: as few as keep up, as many as a device holds."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
from graphs import recurrent

from gradrtl.errors import UserError
from gradrtl.model import data
from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.devices import DEVICES, Device
from gradrtl.rtl.latency import CURRENT_STAGE, JOIN
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.rtl.planning import (
    MOST_PES,
    NEARLY,
    ROUGHLY,
    SPARES,
    Load,
    balanced_pes,
    block_rams,
    device_pes,
    fits,
    least_block_rams,
    needs,
)
from gradrtl.sim.operations import count
from gradrtl.steps.place import Wanted, fits_of, place, work

NEURON = IntNeuron("none", "hard", np.array([1]))
LOADS = [Load(100.0, 6700.0, 800), Load(900.0, 3900.0, 10)]
BEATS = 196


@pytest.fixture(scope="module")
def network():
    return QuantizedNetwork.load("networks/mnist-5pct.npz")


def test_no_fewer_elements_would_keep_up(network):
    pes = balanced_pes(network, LOADS, BEATS)
    assert pes == [8, 5]  # 6700 / 8 <= 900 < 8 scans of 115 rows on 7; two neurons an element: 3900 * 2 / 10 <= 900


def test_no_layer_is_faster_than_the_input(network):
    assert balanced_pes(network, [Load(10.0, 800.0, 8)], 400) == [2]  # 100 a row: four rows in 400 cycles


def test_the_others_follow_a_slower_first_layer(network):
    assert balanced_pes(network, LOADS, BEATS, 4) == [4, 3]  # 6700 / 4 = 1675 leaves room for four neurons an element


def test_neurons_that_are_not_built_are_not_scanned(network):
    few = [replace(LOADS[0], neurons=100), LOADS[1]]
    assert balanced_pes(network, few, BEATS) == [8, 5]  # 13 neurons of 100: 871 synaptic operations
    slow, fast = ([replace(load, synaptic=0.0) for load in loads] for loads in (LOADS, few))
    assert balanced_pes(network, slow, BEATS) == [8, 1]  # 100 rows, 8 times
    assert balanced_pes(network, fast, BEATS) == [1, 1]


def test_the_loads_are_those_of_the_neurons_that_are_built():
    network = QuantizedNetwork.load("networks/mnist-1pct.npz")
    loads, beats = work(network, 4)
    built = [int((layer.slots >= 0).sum()) for layer in map_network(network).layers]
    assert [load.neurons for load in loads] == built
    assert built[0] < network.layers[0].neurons
    assert beats == 196


def test_the_loads_are_those_of_the_data_that_gave_the_rates():
    network = QuantizedNetwork.load("networks/mnist-conv-20pct.npz")
    frames = data.load("data/mnist")[0].frames[:1000]
    counted = count(network, frames)
    loads, _ = work(network, 4)
    for load, events, synaptic in zip(loads, counted.events, counted.synaptic, strict=True):
        assert load.events == pytest.approx(events.sum(axis=1).mean())
        assert load.synaptic == pytest.approx(synaptic.sum(axis=1).mean())


def busiest(mapping: Mapping, rough: bool = False) -> float:
    """A stand-in for counted cycles: synapses of the fullest element, or rows, of the slowest layer."""
    return max(max(layer.synapse_depth, layer.rows * mapping.network.steps) for layer in mapping.layers)


def elements(mapping: Mapping) -> int:
    return sum(layer.pes for layer in mapping.layers)


def planned(network: QuantizedNetwork, device: Device) -> Mapping:
    def mapped(pes):
        return map_network(network, pes)

    return mapped(device_pes(network, LOADS, BEATS, device, mapped, busiest))


@pytest.mark.parametrize("pe", [1, 4, 32])
@pytest.mark.parametrize("name", ["cifar10-small-20pct", "mnist-residual-20pct", "mnist-conv-wide-5pct"])
def test_no_mapping_needs_less_than_the_least(name, pe):
    network = QuantizedNetwork.load(f"networks/{name}.npz")
    loads, _ = work(network, 4)
    mapping = map_network(network, [min(pe, load.neurons) for load in loads])
    for device in DEVICES.values():
        smaller = replace(device, small_ram=(16, device.small_ram[1]))
        assert least_block_rams(network, loads, smaller) <= block_rams(mapping, smaller)
    assert least_block_rams(network, loads, replace(device, small_ram=(0, 0))) > 0


def test_a_network_that_is_far_too_large_is_refused_before_it_is_mapped():
    network = QuantizedNetwork.load("networks/cifar10-50k.npz")
    loads, beats = work(network, 4)

    def mapped(pes):
        raise AssertionError(pes)

    with pytest.raises(UserError, match="device is ecp5-25: its block RAMs"):
        device_pes(network, loads, beats, DEVICES["ecp5-25"], mapped, busiest)


@pytest.mark.parametrize("name", ["ecp5-25", "ecp5-85", "xc7vx690t"])
def test_the_plan_fits_the_device(network, name):
    assert fits(planned(network, DEVICES[name]), DEVICES[name])


def test_a_plan_fills_no_more_than_the_share_if_it_can(network):
    device = DEVICES["ecp5-85"]
    whole, half, tiny = (planned(network, replace(device, share=share)) for share in (1.0, 0.3, 0.001))
    assert fits(half, device, 0.3)
    assert not fits(whole, device, 0.3)
    assert [layer.pes for layer in tiny.layers] == [layer.pes for layer in whole.layers]


def test_no_plan_with_fewer_elements_is_nearly_as_fast(network):
    device = DEVICES["ecp5-25"]
    plans = {tuple(balanced_pes(network, LOADS, BEATS, p, spare)) for p in range(1, MOST_PES + 1) for spare in SPARES}
    fitting = [mapping for mapping in (map_network(network, pes) for pes in plans) if fits(mapping, device)]
    enough = min(busiest(mapping) for mapping in fitting) * (1 + NEARLY)
    found = planned(network, device)
    assert busiest(found) <= enough
    assert elements(found) == min(elements(mapping) for mapping in fitting if busiest(mapping) <= enough)


def test_plans_are_compared_without_keeping_their_mappings(network):
    """That of a large network takes tens of megabytes, and there are some hundred plans."""
    made, alive = [], []

    def mapped(pes):
        mapping = map_network(network, pes)
        made.append(weakref.ref(mapping))
        return mapping

    def cost(mapping, rough):
        alive.append(sum(ref() is not None for ref in made))
        return busiest(mapping)

    device_pes(network, LOADS, BEATS, DEVICES["ecp5-85"], mapped, cost)
    assert len(alive) > 10
    assert max(alive) <= 2, "the one at hand, and the one before until its name is taken"


def test_only_plans_near_the_fastest_are_compared_on_all_frames(network):
    device, rough, exact, shares = DEVICES["ecp5-25"], {}, {}, []

    def mapped(pes):
        return map_network(network, pes)

    def cost(mapping, roughly):
        pes = tuple(layer.pes for layer in mapping.layers)
        if roughly:
            return rough.setdefault(pes, busiest(mapping))
        return exact.setdefault(pes, busiest(mapping) + 1000 * sum(pes))  # another order: the fewest PEs are fastest

    found = device_pes(network, LOADS, BEATS, device, mapped, cost, shares.append)
    assert set(exact) == {pes for pes, cost in rough.items() if cost <= min(rough.values()) * (1 + ROUGHLY)}
    assert len(exact) < len(rough)
    assert tuple(found) == min(exact, key=exact.get)
    assert sum(shares) == pytest.approx(0.8)
    shares.clear()
    device_pes(network, LOADS, BEATS, replace(device, share=0.001), mapped, cost, shares.append)
    assert sum(shares) == pytest.approx(1)
    assert max(shares) < 0.3


def test_spare_elements_are_for_bursts_in_later_layers(network):
    assert balanced_pes(network, LOADS, BEATS, 8, 2.0) == [8, 10]


def test_a_device_with_fewer_multipliers_gets_fewer_elements(network):
    device = replace(DEVICES["ecp5-85"], multipliers=3)
    assert planned(network, device).layers[0].pes <= 3


def test_a_device_that_is_too_small_is_named(network):
    with pytest.raises(UserError, match="device is up5k: its block RAMs, multipliers and LUTs do not hold"):
        planned(network, replace(DEVICES["up5k"], block_rams=2))


def test_accumulators_of_many_rows_take_block_rams(network):
    device = DEVICES["ecp5-85"]
    few, many = (map_network(network, (pes, 4)) for pes in (16, 4))  # 50 rows and 200
    layer = many.layers[0]
    assert few.layers[0].rows <= device.small_ram[0] < layer.rows
    wide = [layer.memories[kind] for kind in ("pointers", "synapses", "accumulators", "membranes")]
    expected = sum(m.number * device.rams_for(m.words, m.bits) for m in wide)
    last = [many.layers[1].memories[kind] for kind in ("pointers", "synapses")]
    assert block_rams(many, device) == expected + sum(m.number * device.rams_for(m.words, m.bits) for m in last)


def test_small_synapse_memories_of_the_ecp5_are_luts(network):
    device = DEVICES["ecp5-25"]
    whole = map_network(network, (16, 10))
    last = whole.layers[1]
    synapses, pointers = last.memories["synapses"], last.memories["pointers"]
    assert synapses.words <= 512
    assert synapses.bits <= 8
    alone = replace(whole, layers=(last,), routes=())
    assert block_rams(alone, device) == pointers.number * device.rams_for(pointers.words, pointers.bits)


def test_strided_synapses_take_wide_rams_and_queues_block_rams():
    weight = np.ones((8, 6), np.int8)
    weight[[0, 1], [0, 1]] = 0  # so that no count is the same for all sources
    layer = Layer("only", (6,), Dense(weight, np.zeros(8, np.int64)), IntNeuron("none", "hard", np.array([1])), 4)
    device = DEVICES["up5k"]
    network = QuantizedNetwork.chain(Input((6,), 4), (layer,), 2)
    mapping = map_network(network, Placement((2,), row_queue_depth=16, strided=(0,)))
    assert needs(mapping, device)["wide RAMs"] == (2, 4)
    # a count and a queue for each element, the queue of rows, words to load; sums of four rows are flip-flops
    assert block_rams(mapping, device) == 2 + 2 + 1 + 1
    shorter = map_network(network, Placement((2,), row_queue_depth=8, strided=(0,)))
    assert block_rams(shorter, device) == 2 + 2 + 0 + 1  # 8 rows of 6 bits are flip-flops


def strided(sources: int, bits: int = 8) -> Mapping:
    layer = Layer("only", (sources,), Dense(np.ones((8, sources), np.int8), np.zeros(8, np.int64)), NEURON, 4)
    network = QuantizedNetwork.chain(Input((sources,), bits), (layer,), 2)
    return map_network(network, Placement((2,), strided=(0,)))


def test_pixels_of_one_bit_take_no_multipliers():
    device = DEVICES["ecp5-25"]
    assert [needs(strided(6, bits), device)["multipliers"][0] for bits in (1, 2, 8)] == [0, 2, 2]


def test_a_layer_that_no_wide_memory_holds_does_not_fit():
    mapping, device = strided(6), DEVICES["up5k"]
    assert mapping.layers[0].synapse_depth == 24
    assert needs(mapping, replace(device, wide_shape=(24, 16)))["wide RAMs"] == (2, 4)
    assert needs(mapping, replace(device, wide_shape=(23, 16)))["wide RAMs"] == (5, 4)


def test_wide_words_are_no_luts():
    mapping = strided(6)
    few, many = (replace(DEVICES["up5k"], small_ram=(64, bits)) for bits in (1, 99))
    assert block_rams(mapping, few) > block_rams(mapping, many)


def test_block_rams_of_the_up5k_are_those_that_synthesis_reports():
    """Synthesis of this plan reports 24 block RAMs: a PE's memories count as they are, not as the largest."""
    network = QuantizedNetwork.load("networks/mnist-1pct-up5k.npz")
    mapping = place(network, Wanted(device="up5k"))
    assert mapping.placement == Placement((2, 3), 1, 16, 16, (0,))
    assert block_rams(mapping, DEVICES["up5k"]) == 24


def test_the_plan_of_a_device_is_the_same_for_every_command():
    """`info` tells of the plan that `generate`, `verify`, `synth` and `run` get: one function places for all."""
    network = QuantizedNetwork.load("networks/mnist-1pct-up5k.npz")
    fits = {fit.device.name: fit for fit in fits_of(network, (DEVICES["up5k"], DEVICES["gw1nr-9"]))}
    for name, fit in fits.items():
        mapping = place(network, Wanted(device=name))
        assert fit.pes == mapping.placement.pes
        assert fit.taken == needs(mapping, DEVICES[name])
        assert fit.fits
    assert str(fits["up5k"]).startswith("up5k: fits with PE 2,3: 24 of 30 block RAMs, 2 of 4 wide RAMs")


def test_what_does_not_fit_is_told_with_the_smallest_plan(network):
    (fit,) = fits_of(network, (DEVICES["up5k"],))
    assert not fit.fits
    assert str(fit).startswith("up5k: does not fit with PE 1,1: ")


# Cycles per frame on 1,000 test images, back to back and alone, of the plans made with training images.
@pytest.mark.parametrize(
    ("name", "device", "pes"),
    [
        ("mnist-1pct-up5k", "up5k", (2, 3)),  # 980.5 and 1,895.6
        ("mnist-5pct", "ecp5-25", (19, 10)),  # 436.4 and 860.5
        ("mnist-1pct", "gw1nr-9", (4, 4)),  # 662.6 and 1,182.9
        ("mnist-5pct", "xc7z020", (4, 2)),  # 1,562.0 and 2,925.6
    ],
)
def test_plans_from_rates_are_those_from_images(name, device, pes):
    network = QuantizedNetwork.load(f"networks/{name}.npz")
    assert place(network, Wanted(device=device)).placement.pes == pes


def test_what_is_asked_goes_before_the_device_and_the_file():
    network = QuantizedNetwork.load("networks/mnist-1pct-up5k.npz")
    stored = replace(network, placement=Placement((3, 2), 8, 5, 6))
    assert place(stored).placement == stored.placement
    assert place(stored, Wanted(pes="4,4", queue_depth=7)).placement == Placement((4, 4), 8, 7, 6)
    assert place(stored, Wanted("1,2", "up5k")).placement == Placement((1, 2), 1, 16, 16, (0,))
    assert place(stored, Wanted("1,2", "up5k", pixels_a_beat=4)).placement.pixels_a_beat == 4
    assert place(network, Wanted("8,2")).placement == Placement((8, 2))
    assert place(network).placement.pes == place(network, Wanted("16,auto")).placement.pes


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"pes": "many"}, "pe is many, expected numbers"),
        ({"pes": "1,0"}, "pe is 1,0"),
        ({"device": "up6k"}, "device is up6k, expected up5k or"),
        ({"pixels_a_beat": 3}, "pixels_a_beat is 3"),
        ({"queue_depth": 1}, "queue_depth is 1"),
    ],
)
def test_what_is_asked_is_checked_at_once(wanted, message):
    with pytest.raises(UserError, match=message):
        Wanted(**wanted)


ROWS = "networks/mnist-rows-20pct.npz"


def test_a_graph_is_planned_for_a_device():
    """The core with most work leads, in whatever order the populations stand; a step waits for its own spikes."""
    network = QuantizedNetwork.load(ROWS)
    device = DEVICES["ecp5-25"]
    loads, beats = work(network, 4)
    assert beats == 0  # an event a beat
    assert [load.waits for load in loads] == [28 * (16 + JOIN + CURRENT_STAGE), 0]
    mapping = place(network, Wanted(device="ecp5-25"))
    assert fits(mapping, device)
    assert mapping.placement.pes == (8, 1)
    turned = replace(network, populations=network.populations[::-1], rates=(network.rates[2], *network.rates[:2]))
    assert place(turned, Wanted(device="ecp5-25")).placement.pes == (1, 8)
    assert place(network, Wanted("8,auto")).placement.pes == (8, 1)


def test_multipliers_of_a_recurrent_network_are_those_that_synthesis_reports():
    """28 on the 25F: a pixel's and two decays in each of 8 PEs; two for each membrane of 20 bits in 2."""
    mapping = map_network(QuantizedNetwork.load(ROWS), (8, 2))
    assert needs(mapping, DEVICES["ecp5-25"])["multipliers"] == (8 * 3 + 2 * 2, 28)
    assert block_rams(mapping, DEVICES["ecp5-25"]) == 20


def test_the_lead_gets_what_is_given_and_no_spare(network):
    assert balanced_pes(network, LOADS, BEATS, 2, 2.0, lead=1) == [7, 2]  # 1,950 cycles; 2 * 6700 / 7 of the other


def test_what_a_loop_waits_is_no_time_to_work_in(network):
    waiting = replace(LOADS[0], waits=900.0)
    assert balanced_pes(network, [waiting, LOADS[1]], BEATS) == [73, 5]  # 100 cycles: 11 rows of 8.4; 1,000 in all
    assert balanced_pes(network, [waiting, LOADS[1]], BEATS, 8) == [8, 3]  # 900 and 838; 4 of 10 neurons in 1,560


def test_every_queue_of_rows_is_a_block_ram_where_there_is_no_lut_ram():
    mapping = map_network(recurrent(), Placement((2, 2), row_queue_depth=16))
    plain = replace(mapping, routes=mapping.routes[:-1])
    assert block_rams(mapping, DEVICES["up5k"]) == block_rams(plain, DEVICES["up5k"]) + 1
    assert block_rams(mapping, DEVICES["ecp5-25"]) == block_rams(plain, DEVICES["ecp5-25"])
