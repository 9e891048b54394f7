"""Rounding: scales, units, thresholds, leaks, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_networks import NEURONS, checkpoint

from gradrtl.errors import UserError
from gradrtl.model.description import ConvSpec, DenseSpec, FloatNeuron, LayerSpec, Network, Pool
from gradrtl.quantize import ptq
from gradrtl.quantize.fold import FloatLayer, FloatNetwork, fold
from gradrtl.quantize.rounding import Formats, leak_of, round_layer, round_weight, source_values


def one_layer(weight: np.ndarray, neuron: FloatNeuron = NEURONS[0], bias: float = 0.0) -> FloatNetwork:
    layer = FloatLayer("only", (weight.shape[1],), weight, np.full(len(weight), bias), neuron)
    return FloatNetwork((weight.shape[1],), (layer,), steps=4)


def test_the_papers_neuron_needs_no_multiplier_and_no_fraction() -> None:
    leak = leak_of(FloatNeuron(tau=2.0, decay_input=True), decay_bits=8)
    assert (leak.kind, leak.shift, leak.gain) == ("decaying_input", 1, 1.0)


@pytest.mark.parametrize(
    ("neuron", "kind", "shift", "factor", "gain"),
    [
        (FloatNeuron("if"), "none", 1, 0, 1.0),
        (FloatNeuron(tau=8.0, decay_input=False), "shift", 3, 0, 1.0),
        (FloatNeuron(tau=4.0), "decaying_input", 2, 0, 1.0),
        (FloatNeuron(tau=1.6, decay_input=False), "multiply", 8, 96, 1.0),
        (FloatNeuron(tau=1.6), "multiply", 8, 96, 1 / 1.6),
    ],
)
def test_leaks(neuron: FloatNeuron, kind: str, shift: int, factor: int, gain: float) -> None:
    leak = leak_of(neuron, decay_bits=8)
    assert (leak.kind, leak.shift, leak.factor, leak.gain) == (kind, shift, factor, gain)


def test_the_pixel_scale_folds_into_the_threshold() -> None:
    network = one_layer(np.array([[0.5, -0.25]]))
    quantised = ptq.at_scales(network, Formats(), (np.array([0.125]),))
    layer = quantised.layers[0]
    assert layer.synapses.weight.tolist() == [[4, -2]]
    assert layer.neuron.threshold.tolist() == [8 * 255]  # threshold 1.0, in eighths, of pixels up to 255
    narrow = ptq.at_scales(network, Formats(input_bits=2), (np.array([0.125]),))
    assert narrow.layers[0].neuron.threshold.tolist() == [8 * 3]


def test_biases_count_in_the_unit_of_the_current_and_thresholds_in_that_of_the_membrane() -> None:
    network = one_layer(np.array([[0.5, -0.25]]), FloatNeuron("if", threshold=1.5), bias=0.75)
    layer = ptq.at_scales(network, Formats(input_bits=1, membrane_fraction=2), (np.array([0.25]),)).layers[0]
    assert layer.synapses.bias.tolist() == [3]
    assert layer.neuron.threshold.tolist() == [6 * 4]


def test_scales_of_their_own_give_channels_thresholds_of_their_own() -> None:
    weight = np.array([[0.5, -0.25], [3.0, -1.0]])
    formats = Formats(input_bits=1, per_channel=True)
    layer = ptq.at_scales(one_layer(weight), formats, (np.array([0.25, 0.5]),)).layers[0]
    assert layer.synapses.weight.tolist() == [[2, -1], [6, -2]]
    assert layer.neuron.threshold.tolist() == [4, 2]


def test_average_pooling_scales_the_next_threshold() -> None:
    layers = (LayerSpec(ConvSpec(2), pool=Pool("average", 2)), LayerSpec(DenseSpec(2)))
    network = fold(checkpoint(Network("pool", (1, 4, 4), layers), seed=1))
    scales = ptq.weight_scales(network, Formats())
    quantised = ptq.at_scales(network, Formats(), scales)
    assert quantised.layers[1].neuron.threshold[0] == np.rint(4 / scales[1][0])


def test_values_clip_to_the_format() -> None:
    found = round_weight(np.array([[-9.0, -8.0, 6.5, 7.5, 9.0]]), np.array([1.0]), bits=4)
    assert found.tolist() == [[-8, -8, 6, 7, 7]]


def test_a_silent_neuron_stays_silent_at_any_scale() -> None:
    layer = ptq.at_scales(one_layer(np.array([[50.0]])), Formats(2, input_bits=1), (np.array([50.0]),)).layers[0]
    assert layer.neuron.threshold.tolist() == [1]


def test_reset_potentials_are_rounded_in_membrane_units() -> None:
    network = one_layer(np.array([[0.5]]), FloatNeuron(v_reset=-0.25))
    assert ptq.at_scales(network, Formats(input_bits=1), (np.array([0.05]),)).layers[0].neuron.reset_value == -5
    network = one_layer(np.array([[0.5], [0.3]]), FloatNeuron(v_reset=-0.25))
    with pytest.raises(UserError, match="every channel"):
        ptq.at_scales(network, Formats(input_bits=1, per_channel=True), (np.array([0.05, 0.01]),))


@pytest.mark.parametrize("scale", [1e-12, 1e-300])
def test_thresholds_beyond_the_machines_are_refused(scale: float) -> None:
    network = one_layer(np.array([[0.5]]))
    with pytest.raises(UserError, match=r"layer only threshold is .* units, expected less than"):
        round_layer(network.layers[0], np.array([scale]), 4, 1.0, Formats())


def test_huge_biases_are_refused() -> None:
    with pytest.raises(UserError, match="layer only bias"):
        ptq.quantize(one_layer(np.array([[0.5]]), bias=-1e8))


@pytest.mark.parametrize(
    "fields",
    [
        {"weight_bits": 1},
        {"weight_bits": 9},
        {"weight_bits": (4, 1)},
        {"input_bits": 0},
        {"input_bits": 9},
        {"membrane_fraction": 9},
        {"membrane_bits": 1},
        {"membrane_bits": 32},
        {"decay_bits": 16},
    ],
)
def test_formats_out_of_range_are_refused(fields: dict) -> None:
    with pytest.raises(UserError, match=next(iter(fields))):
        Formats(**fields)


def test_weight_bits_go_to_their_layers() -> None:
    layers = (LayerSpec(DenseSpec(3)), LayerSpec(DenseSpec(2)))
    network = fold(checkpoint(Network("two", (1, 2, 2), layers), seed=2))
    quantised = ptq.quantize(network, Formats((3, 8)))
    assert [layer.weight_bits for layer in quantised.layers] == [3, 8]
    with pytest.raises(UserError, match="weight_bits"):
        ptq.quantize(network, Formats((3, 8, 4)))


def test_spike_sources_are_worth_one() -> None:
    network = replace(one_layer(np.array([[0.5]])), input_kind="spikes")
    assert source_values(network, Formats()) == (1.0,)
    assert ptq.quantize(network).input.kind == "spikes"


@pytest.mark.parametrize(("unit", "threshold", "bias"), [(0.3, 3, 2), (0.375, 3, 1), (0.4, 2, 1), (0.28, 4, 2)])
def test_thresholds_and_biases_are_rounded_to_nearest(unit: float, threshold: int, bias: int) -> None:
    """1 / 0.3 is 3.33, 1 / 0.375 is 2.67; ties go to even: 1 / 0.4 is 2.5. The bias is 0.5."""
    layer = replace(one_layer(np.array([[50.0]]), FloatNeuron("if"), bias=0.5).layers[0], source_unit=1.0)
    found = round_layer(layer, np.array([unit]), 4, 1.0, Formats())
    assert found.threshold.tolist() == [threshold]
    assert found.bias.tolist() == [bias]


def test_the_factor_of_a_leak_is_rounded_to_nearest() -> None:
    assert leak_of(FloatNeuron(tau=3.0, decay_input=False), 8).factor == 171  # 2 / 3 * 256 is 170.67
    assert leak_of(FloatNeuron(tau=6.0, decay_input=False), 4).factor == 13  # 5 / 6 * 16 is 13.33
