"""Folding: the folded float network computes what the network it was folded from computes, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from float_networks import checkpoint
from torch.nn import functional

from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.description import ConvSpec, DenseSpec, FloatNeuron, LayerSpec, Network, Pool
from gradrtl.quantize.fold import FloatLayer, FloatNetwork, fold, fold_batch_norm, fold_input_normalisation


def test_batch_norm_is_folded_for_gains_of_any_sign() -> None:
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    gain, shift = np.array([1.5, -2.0, 0.0, -0.1]), rng.normal(size=4)
    mean, variance = rng.normal(size=4), rng.random(4) + 0.1
    folded_weight, folded_bias = fold_batch_norm(weight, bias, gain=gain, shift=shift, mean=mean, variance=variance)
    x = rng.random((2, 3, 5, 5))
    tensors = [torch.from_numpy(a) for a in (x, weight, bias, mean, variance, gain, shift, folded_weight, folded_bias)]
    x_, weight_, bias_, mean_, variance_, gain_, shift_, folded_weight_, folded_bias_ = tensors
    expected = functional.batch_norm(functional.conv2d(x_, weight_, bias_), mean_, variance_, gain_, shift_, eps=1e-5)
    found = functional.conv2d(x_, folded_weight_, folded_bias_)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert not folded_weight[2].any()
    assert (np.sign(folded_weight[1]) == -np.sign(weight[1])).all()


def test_batch_norm_without_spread_is_refused() -> None:
    zeros = np.zeros(1)
    with pytest.raises(UserError, match="variance"):
        fold_batch_norm(np.ones((1, 1)), zeros, gain=zeros, shift=zeros, mean=zeros, variance=-np.ones(1))


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_input_normalisation_is_folded(kind: str) -> None:
    rng = np.random.default_rng(2)
    mean, std = np.array([0.1, 0.5]), np.array([0.3, 0.7])
    x = rng.random((3, 2, 4, 4))
    normal = (x - mean[:, None, None]) / std[:, None, None]
    weight, bias = rng.normal(size=(5, 32) if kind == "dense" else (5, 2, 3, 3)), rng.normal(size=5)
    folded = fold_input_normalisation(weight, bias, mean=mean, std=std, input_shape=(2, 4, 4))

    def current(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> torch.Tensor:
        tensors = [torch.from_numpy(a) for a in (x, weight, bias)]
        if kind == "conv":
            return functional.conv2d(*tensors)
        return functional.linear(tensors[0].flatten(1), *tensors[1:])

    torch.testing.assert_close(current(x, *folded), current(normal, weight, bias), rtol=1e-12, atol=1e-12)


def test_input_normalisation_behind_padding_is_refused_unless_its_mean_is_zero() -> None:
    weight, bias = np.ones((1, 1, 3, 3)), np.zeros(1)
    with pytest.raises(UserError, match="not exact"):
        fold_input_normalisation(weight, bias, mean=0.1, std=0.3, input_shape=(1, 4, 4), padding=(1, 1))
    folded, _ = fold_input_normalisation(weight, bias, mean=0.0, std=0.5, input_shape=(1, 4, 4), padding=(1, 1))
    assert (folded == 2 * weight).all()


@pytest.mark.parametrize(
    ("mean", "std", "named"), [(0.0, 0.0, "std"), (0.0, -1.0, "std"), (np.nan, 1.0, "mean"), (np.zeros(3), 1.0, "mean")]
)
def test_bad_normalisations_are_refused(mean: float, std: float, named: str) -> None:
    with pytest.raises(UserError, match=f"input {named}"):
        fold_input_normalisation(np.ones((1, 4)), np.zeros(1), mean=mean, std=std, input_shape=(1, 2, 2))


def test_average_pooling_leaves_the_weights_and_sets_the_source_unit() -> None:
    layers = (
        LayerSpec(ConvSpec(3), pool=Pool("average", 2)),
        LayerSpec(ConvSpec(2), pool=Pool("max", 2)),
        LayerSpec(DenseSpec(2)),
    )
    network = Network("pools", (1, 8, 8), layers)
    made = checkpoint(network, seed=3)
    folded = fold(made)
    assert [layer.source_unit for layer in folded.layers] == [1.0, 0.25, 1.0]
    assert (folded.layers[1].weight == made.arrays["layer1.weight"]).all()


def test_a_layer_without_synapses_is_refused() -> None:
    network = Network("small", (1, 2, 2), (LayerSpec(DenseSpec(3)), LayerSpec(DenseSpec(2))))
    made = checkpoint(network, seed=4)
    with pytest.raises(UserError, match="layer1 weights is all zero"):
        fold(Checkpoint(network, {**made.arrays, "layer1.weight": np.zeros((2, 3), np.float32)}))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("what", ["weight", "bias"])
def test_numbers_that_are_not_finite_are_refused(bad: float, what: str) -> None:
    arrays = {"weight": np.ones((2, 3)), "bias": np.zeros(2)}
    arrays[what][0] = bad
    with pytest.raises(UserError, match="NaN or infinite"):
        FloatLayer("x", (3,), arrays["weight"], arrays["bias"], FloatNeuron())


@pytest.mark.parametrize(("weight", "bias"), [((3,), 3), ((0, 3), 0), ((2, 3), 3)])
def test_wrong_shapes_are_refused(weight: tuple[int, ...], bias: int) -> None:
    with pytest.raises(UserError, match=r"shape|dimensions"):
        FloatLayer("x", (3,), np.ones(weight), np.zeros(bias), FloatNeuron())


def test_arrays_of_the_caller_stay_theirs() -> None:
    weight, bias = np.ones((2, 3)), np.zeros(2)
    layer = FloatLayer("x", (3,), weight, bias, FloatNeuron())
    weight *= 2
    bias += 1
    assert (layer.weight == 1).all()
    assert (layer.bias == 0).all()
    assert not layer.weight.flags.writeable


@pytest.mark.parametrize(
    "weight",
    [
        [[1.0, 0.0, -2.5], [0.5, 3.0, 0.0]],
        np.array([[1.0, 0.0, -2.5], [0.5, 3.0, 0.0]], np.float32),
        torch.tensor([[1.0, 0.0, -2.5], [0.5, 3.0, 0.0]]),
        torch.nn.Parameter(torch.tensor([[1.0, 0.0, -2.5], [0.5, 3.0, 0.0]], dtype=torch.float64)),
    ],
    ids=["list", "float32", "tensor", "parameter"],
)
def test_weights_of_any_kind_of_array(weight: Any) -> None:
    layer = FloatLayer("x", (3,), weight, [0, 1], FloatNeuron())
    assert layer.weight.dtype == layer.bias.dtype == np.float64
    assert layer.weight.tolist() == [[1.0, 0.0, -2.5], [0.5, 3.0, 0.0]]
    assert layer.bias.tolist() == [0.0, 1.0]


REFUSED = [
    (lambda: FloatLayer("x", (3,), [[1.0, 2.0], [1.0]], [0, 0], FloatNeuron()), "layer x weight is list"),
    (lambda: FloatLayer("x", (3,), [["1", "2", "3"]], [0], FloatNeuron()), "layer x weight is list of <U1"),
    (lambda: FloatLayer("x", (3,), None, [0], FloatNeuron()), "layer x weight is NoneType of object"),
    (
        lambda: FloatLayer("x", (3,), np.ones((1, 3), complex), [0], FloatNeuron()),
        "layer x weight is ndarray of complex",
    ),
    (lambda: FloatLayer("x", (3,), np.full((1, 3), 1e40), [0], FloatNeuron()), "layer x largest weight is 1e[+]40"),
    (lambda: FloatLayer("x", (3,), np.full((1, 3), 5e-324), [0], FloatNeuron()), "layer x largest weight is 5e-324"),
    (lambda: FloatLayer("x", (4,), np.ones((1, 3)), [0], FloatNeuron()), "layer x: weight columns is 3, expected 4"),
    (lambda: FloatLayer("x", (2, 5, 5), np.ones((1, 3, 2, 2)), [0], FloatNeuron()), "layer x: weight inputs is 3"),
    (lambda: FloatLayer("x", (3.0,), np.ones((1, 3)), [0], FloatNeuron()), "layer x input_shape is"),
    (lambda: FloatLayer("x", (3,), np.ones((1, 3)), [0], np.ones(1)), "layer x neuron is ndarray, expected one Float"),
    (lambda: FloatLayer("x", (3,), np.ones((1, 3)), [0], FloatNeuron(), pool="max"), "layer x pool is str"),
    (lambda: FloatLayer("x", (3,), np.ones((1, 3)), [0], FloatNeuron(), source_unit=0), "layer x source_unit is 0"),
    (lambda: FloatLayer(7, (3,), np.ones((1, 3)), [0], FloatNeuron()), "layer name is 7"),
    (lambda: FloatNeuron(threshold=np.array([1.0, 0.5])), "neuron.threshold is .*, expected one finite number for all"),
    (lambda: FloatNeuron(threshold=[1.0, 0.5]), "neuron.threshold is .*, expected one finite number for all"),
    (lambda: FloatNeuron(threshold=torch.ones(2)), "neuron.threshold is .*, expected one finite number for all"),
    (lambda: FloatNeuron(tau=np.array([2.0, 3.0])), "neuron.tau is .*, expected one finite number for all"),
    (lambda: FloatNeuron(v_reset=np.zeros(2)), "neuron.v_reset is .*, expected one finite number for all"),
    (lambda: FloatNeuron(tau=float("nan")), "neuron.tau is nan"),
    (lambda: FloatNeuron(decay_input=1), "neuron.decay_input is 1, expected True or False"),
    (lambda: FloatNetwork((3,), (), 4), "layers is 0"),
    (lambda: FloatNetwork((3,), (np.ones((1, 3)),), 4), "layers is ndarray, expected a FloatLayer each"),
    (
        lambda: FloatNetwork((4,), (small(),), 4),
        r"layer x input_shape is \(3,\), expected \(4,\), from the layer before",
    ),
    (lambda: FloatNetwork((3,), (small(),), 4.0), "steps is 4.0"),
    (lambda: FloatNetwork((3,), (small(),), 4, input_kind="sound"), "input_kind is sound"),
    (lambda: FloatNetwork((3,), (small(),), 4, readout="count"), "readout is str, expected a Readout"),
]


def small() -> FloatLayer:
    return FloatLayer("x", (3,), np.ones((1, 3)), np.zeros(1), FloatNeuron())


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_network_is_refused_in_one_line(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
