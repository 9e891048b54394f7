"""Folding: the folded float network computes what the network it was folded from computes, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from float_networks import checkpoint
from torch.nn import functional

from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.description import ConvSpec, DenseSpec, FloatNeuron, LayerSpec, Network, Pool
from gradrtl.quantize.fold import FloatLayer, fold, fold_batch_norm, fold_input_normalisation


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
    with pytest.raises(UserError, match="shape"):
        FloatLayer("x", (3,), np.ones(weight), np.zeros(bias), FloatNeuron())
