"""How many processing elements a layer gets: as few as keep up, as many as a device holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradrtl.model.errors import UserError
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.rtl.devices import DEVICES
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.planning import LUT_WORDS, Load, balanced_pes, block_rams, budget, device_pes

LOADS = [Load(100.0, 6700.0), Load(900.0, 3900.0)]
BEATS = 196


@pytest.fixture(scope="module")
def network():
    return QuantizedNetwork.load("networks/mnist-5pct.npz")


def test_no_fewer_elements_would_keep_up(network):
    pes = balanced_pes(network, LOADS, BEATS)
    assert pes == [8, 5]  # 6700 / 8 <= 900 < 8 scans of 115 rows on 7; two neurons an element: 3900 * 2 / 10 <= 900


def test_the_others_follow_a_slower_first_layer(network):
    assert balanced_pes(network, LOADS, BEATS, 4) == [4, 3]  # 6700 / 4 = 1675 leaves room for four neurons an element


@pytest.mark.parametrize("name", ["ecp5-25", "ecp5-85", "xc7z020"])
def test_the_plan_fits_the_device(network, name):
    device = DEVICES[name]
    pes = device_pes(network, LOADS, BEATS, device)
    assert block_rams(map_network(network, pes), device) <= device.block_rams
    assert pes[0] <= device.multipliers


def test_a_smaller_device_gets_fewer_elements(network):
    device = DEVICES["ecp5-25"]
    assert device_pes(network, LOADS, BEATS, replace(device, multipliers=3))[0] == 3


def test_a_device_that_is_too_small_is_named(network):
    with pytest.raises(UserError, match="block RAMs do not hold the network"):
        device_pes(network, LOADS, BEATS, replace(DEVICES["up5k"], block_rams=2))


def test_accumulators_of_many_rows_take_block_rams(network):
    device = DEVICES["ecp5-85"]
    few, many = (map_network(network, (pes, 4)) for pes in (16, 4))  # 50 rows and 200
    layer = many.layers[0]
    assert few.layers[0].rows <= LUT_WORDS < layer.rows
    wide = [layer.memories[kind] for kind in ("pointers", "synapses", "accumulators", "membranes")]
    expected = sum(m.number * device.rams_for(m.words, m.bits) for m in wide)
    last = [many.layers[1].memories[kind] for kind in ("pointers", "synapses")]
    assert block_rams(many, device) == expected + sum(m.number * device.rams_for(m.words, m.bits) for m in last)


def test_the_budget_says_where_it_fits(network):
    lines = {line.split(":")[0]: line for line in budget(map_network(network, (16, 4)))}
    assert lines.keys() == DEVICES.keys()
    assert lines["xc7z020"].endswith(
        f"{block_rams(map_network(network, (16, 4)), DEVICES['xc7z020'])} of 280 block RAMs, fits"
    )
    assert lines["up5k"].endswith("does not fit")
