"""Post-training quantisation: the choice of scales."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_networks import checkpoint

from gradrtl.errors import UserError
from gradrtl.model.description import ConvSpec, DenseSpec, LayerSpec, Network, Pool
from gradrtl.quantize import ptq
from gradrtl.quantize.fold import FloatNetwork, fold
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.quantize.rounding import Formats, round_weight


@pytest.fixture
def network() -> FloatNetwork:
    layers = (LayerSpec(ConvSpec(4), batch_norm=True, pool=Pool("max", 2)), LayerSpec(DenseSpec(6)))
    return fold(checkpoint(Network("small", (1, 6, 6), layers), seed=1))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("per_channel", [False, True])
def test_scales_err_least_among_their_neighbours(network: FloatNetwork, bits: int, per_channel: bool) -> None:
    formats = Formats(bits, per_channel=per_channel)
    for layer, scale in zip(network.layers, ptq.weight_scales(network, formats), strict=True):
        assert scale.shape == ((layer.channels,) if per_channel else (1,))

        def error(factor: float, layer=layer, scale=scale) -> float:
            shaped = (scale * factor).reshape(-1, *[1] * (layer.weight.ndim - 1))
            return float(np.square(round_weight(layer.weight, scale * factor, bits) * shaped - layer.weight).sum())

        assert error(1.0) <= min(error(0.9), error(1.1))


def test_more_bits_err_less(network: FloatNetwork) -> None:
    for layer in range(2):
        errors = []
        for bits in range(2, 9):
            scale = ptq.weight_scales(network, Formats(bits))[layer]
            weight = network.layers[layer].weight
            errors.append(float(np.square(round_weight(weight, scale, bits) * scale - weight).sum()))
        assert errors == sorted(errors, reverse=True)


def test_pruned_synapses_stay_pruned_and_lost_ones_are_counted(network: FloatNetwork) -> None:
    quantised = ptq.quantize(network, Formats(2))
    for layer, found in zip(network.layers, quantised.layers, strict=True):
        assert not found.synapses.weight[layer.weight == 0].any()
    counted = quantised.notes["synapses"]
    assert counted["trained"] == [int(np.count_nonzero(layer.weight)) for layer in network.layers]
    assert counted["kept"] == [int(np.count_nonzero(layer.synapses.weight)) for layer in quantised.layers]
    assert sum(counted["kept"]) < sum(counted["trained"])


def test_a_channel_without_synapses_takes_the_layers_scale(network: FloatNetwork) -> None:
    weight = network.layers[1].weight.copy()
    weight[0] = 0
    layers = (network.layers[0], replace(network.layers[1], weight=weight))
    silent = FloatNetwork(network.input_shape, layers, network.steps)
    own, whole = (ptq.weight_scales(silent, Formats(per_channel=p))[1] for p in (True, False))
    assert own[0] == whole[0]
    assert ptq.quantize(silent, Formats(per_channel=True)).layers[1].neuron.threshold.size == 6


def test_the_search_keeps_what_scores_best(network: FloatNetwork) -> None:
    start = ptq.weight_scales(network, Formats())
    wanted = [float(start[0][0]) * ptq.FACTORS[3], float(start[1][0]) * ptq.FACTORS[-4]]
    seen = []

    def score(candidate: QuantizedNetwork) -> float:
        scales = [scale[0] for scale in candidate.notes["scales"]]
        return -float(np.abs(np.log(np.array(scales) / wanted)).sum())

    found = ptq.quantize(network, Formats(), score, rounds=1, progress=lambda done, total: seen.append((done, total)))
    assert [scale[0] for scale in found.notes["scales"]] == wanted
    assert seen[-1] == (2 * len(ptq.FACTORS), 2 * len(ptq.FACTORS))


def test_where_every_scale_scores_alike_none_is_changed(network: FloatNetwork) -> None:
    assert ptq.quantize(network, Formats(), lambda _: 0.5).digest == ptq.quantize(network, Formats()).digest


def test_the_same_network_gives_the_same_file(network: FloatNetwork, tmp_path) -> None:
    for name in "ab":
        ptq.quantize(network, Formats(3, per_channel=True)).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("gain", [0.0, 5e-324, 1e-300, 1e-12, 1e-8])
def test_a_channel_that_is_switched_off_takes_the_layers_scale(network: FloatNetwork, gain: float) -> None:
    """As batch normalisation with that gain does; the channel's integers are zero, all others what they were."""
    formats = Formats(4, per_channel=True)
    weight = network.layers[0].weight.copy()
    weight[1] *= gain
    switched = replace(network, layers=(replace(network.layers[0], weight=weight), *network.layers[1:]))
    before, found = ptq.weight_scales(network, formats)[0], ptq.weight_scales(switched, formats)[0]
    assert found[1] == ptq.weight_scales(switched, Formats(4))[0][0]
    np.testing.assert_array_equal(np.delete(found, 1), np.delete(before, 1))
    assert not ptq.quantize(switched, formats).layers[0].synapses.weight[1].any()


def test_a_weak_channel_keeps_its_own_scale(network: FloatNetwork) -> None:
    """A thousandth of the others: its threshold still fits."""
    formats = Formats(4, per_channel=True)
    weight = network.layers[0].weight.copy()
    weight[1] /= 1000
    weak = replace(network, layers=(replace(network.layers[0], weight=weight), *network.layers[1:]))
    before, found = ptq.weight_scales(network, formats)[0], ptq.weight_scales(weak, formats)[0]
    np.testing.assert_allclose(found[1], before[1] / 1000)


def test_weights_too_small_beside_the_threshold_name_layer_and_remedy(network: FloatNetwork) -> None:
    tiny = replace(network.layers[0], weight=network.layers[0].weight * 1e-12)
    message = "layer layer0 threshold is .* units, expected less than .* from zero: the weights are too small"
    with pytest.raises(UserError, match=message):
        ptq.quantize(replace(network, layers=(tiny, *network.layers[1:])), Formats(4))


def test_a_scale_that_does_not_fit_is_passed_over(network: FloatNetwork) -> None:
    """At a trillionth of its scale a layer's threshold passes the machines' integers."""
    found = ptq.quantize(network, Formats(4), lambda one: 1.0, factors=(1.0, 1e-12), rounds=1)
    assert found.digest == ptq.quantize(network, Formats(4)).digest
