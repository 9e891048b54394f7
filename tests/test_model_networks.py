"""Descriptions and the modules made of them: shapes, pooling, voting, normalisation, JSON, checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.description import PRESETS, ConvSpec, DenseSpec, FloatNeuron, LayerSpec, Network, Pool, preset
from gradrtl.model.networks import SpikingNetwork, arrays_of, load_arrays, network_of
from gradrtl.model.train import rate_loss

SMALL = Network(
    "small",
    (2, 9, 8),
    (
        LayerSpec(ConvSpec(3, (3, 2), (2, 1), (1, 0), bias=True), batch_norm=True, pool=Pool("average", 2)),
        LayerSpec(ConvSpec(4, (2, 2), (1, 1), (0, 0)), FloatNeuron(reset="soft"), dropout=0.2),
        LayerSpec(DenseSpec(6, bias=True), FloatNeuron(kind="if"), batch_norm=True),
        LayerSpec(DenseSpec(6)),
    ),
    steps=3,
    vote=2,
)


def test_weights_of_the_presets() -> None:
    sizes = {name: sum(prod(shape) for shape in network.weight_shapes) for name, network in PRESETS.items()}
    assert sizes["mnist-mlp"] == 635_200  # as in the paper's code
    assert sizes["mnist-conv"] == 16 * 9 + 16 * 32 * 9 + 32 * 7 * 7 * 10
    assert sizes["cifar10-paper"] == 3 * 256 * 9 + 5 * 256 * 256 * 9 + 16384 * 2048 + 2048 * 100
    assert PRESETS["cifar10-paper"].classes == 10


@pytest.mark.parametrize("network", [*PRESETS.values(), SMALL], ids=lambda n: n.name)
def test_json(network: Network) -> None:
    assert Network.from_json(json.loads(json.dumps(network.to_json()))) == network


@pytest.mark.parametrize("network", [SMALL, *PRESETS.values()], ids=lambda n: n.name)
def test_a_step_of_training(network: Network) -> None:
    torch.manual_seed(0)
    module = SpikingNetwork(network)
    batch = 1 if network.name == "cifar10-paper" else 4
    images = torch.randint(0, 256, (batch, *network.input_shape), dtype=torch.uint8)
    rates, layers = module(images, layer_rates=True)
    assert rates.shape == (batch, network.classes)
    assert torch.equal(rates * network.steps * network.vote, (rates * network.steps * network.vote).round())
    shapes = [layer.synapses.output_shape(s) for layer, s in zip(network.layers, network.shapes[:-1], strict=True)]
    assert [tuple(layer.shape[1:]) for layer in layers] == shapes
    rate_loss(rates, torch.arange(batch) % 3).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_all_by_hand() -> None:
    """One 2 x 2 convolution, then pooling, then two outputs that vote for one class: counted on paper.

    Pixels 255 count as 1. The image has its left half lit; the kernel (1 1 / 1 1) sums to 4 on the left column of the
    2 x 2 map, 0 on the right one. tau = 2: u = 2, a spike at each step on the left, none on the right; max pooling: 1,
    average: 1/2. The dense weights are 2 and 1: currents 2 and 1 (max), 1 and 0.5 (average). The first fires at each
    step with 2, and with 1 never (u = 1/2, 3/4, ...).
    """
    for kind, expected in (("max", 0.5), ("average", 0.0)):
        layers = (LayerSpec(ConvSpec(1, (2, 2), (2, 2), (0, 0)), pool=Pool(kind, 2)), LayerSpec(DenseSpec(2)))
        module = SpikingNetwork(Network("hand", (1, 4, 4), layers, steps=4, vote=2))
        load_arrays(
            module,
            {"layer0.weight": np.ones((1, 1, 2, 2), np.float32), "layer1.weight": np.array([[2], [1]], np.float32)},
        )
        image = torch.zeros((1, 1, 4, 4), dtype=torch.uint8)
        image[..., :2] = 255
        rates, layer_rates = module(image, layer_rates=True)
        assert layer_rates[0].tolist() == [[[[1.0, 0.0], [1.0, 0.0]]]]
        assert rates.tolist() == [[expected]]


def test_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = SpikingNetwork(SMALL)
    images = torch.randint(0, 256, (30, *SMALL.input_shape), dtype=torch.uint8)
    module(images)  # moves the running statistics
    module.eval()
    saved = Checkpoint(SMALL, arrays_of(module), {"a": 1}, [{"epoch": 1}], {"x": 0.5}, "command")
    digest = saved.save(tmp_path / "checkpoint.npz")
    assert saved.save(tmp_path / "again.npz") == digest
    read = Checkpoint.load(tmp_path / "checkpoint.npz")
    assert torch.equal(network_of(read)(images), module(images))
    assert (read.config, read.history, read.figures, read.command) == ({"a": 1}, [{"epoch": 1}], {"x": 0.5}, "command")
    assert read.census.connectivity == 1.0
    for name, array, message in (
        ("layer0.weight", read.arrays["layer0.weight"][:, :1], "layer0.weight shape"),
        ("layer1.weight", read.arrays["layer1.weight"].astype(np.float64), "layer1.weight dtype"),
        ("layer2.bias", np.full(6, np.nan, np.float32), "layer2.bias is not finite"),
        ("layer3.bias", np.zeros(6, np.float32), "checkpoint arrays"),
    ):
        with pytest.raises(UserError, match=message):
            replace(read, arrays={**read.arrays, name: array})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: preset("mnist"), "network is mnist, expected mnist-mlp"),
        (lambda: DenseSpec(0), "dense.outputs is 0"),
        (lambda: ConvSpec(4, padding=(3, 0)), "conv.padding"),
        (lambda: ConvSpec(4, stride=(0, 1)), "conv.stride"),
        (lambda: Pool("sum"), "pool.kind is sum"),
        (lambda: LayerSpec(DenseSpec(3), dropout=1.0), "layer.dropout is 1.0"),
        (lambda: Network("n", (1, 4, 4), ()), "network.layers is 0"),
        (lambda: Network("n", (1, 4, 4), (LayerSpec(DenseSpec(10)),), vote=3), "network.vote is 3"),
        (lambda: Network("n", (1, 4, 4), (LayerSpec(DenseSpec(10)),), steps=0), "network.steps is 0"),
        (lambda: Network("n", (1, 2, 2), (LayerSpec(ConvSpec(3, padding=(0, 0))),)), "conv output size"),
        (lambda: Network("n", (1, 4, 4), (LayerSpec(DenseSpec(4)), LayerSpec(ConvSpec(3)))), "conv input shape"),
        (lambda: Network("n", (1, 4, 4), (LayerSpec(DenseSpec(4), pool=Pool()),)), "pool input shape"),
        (lambda: Network.from_json({"name": "n"}), "network is incomplete: input_shape is missing"),
    ],
)
def test_refuses(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
