"""How many processing elements a layer gets: as few as keep up, as many as a device holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradrtl.model.errors import UserError
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.rtl.devices import DEVICES
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.planning import Load, balanced_pes, block_rams, device_pes

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
