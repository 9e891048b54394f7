"""Layers as users write them become descriptions; what cannot be read is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gradrtl.errors import UserError
from gradrtl.model.architecture import described, read_description
from gradrtl.model.config import TrainConfig
from gradrtl.model.description import PRESETS, ConvSpec, DenseSpec, FloatNeuron, LayerSpec, Network, Pool

SHAPE = (1, 28, 28)


def test_dense_layers() -> None:
    found = described("784-256-10")(SHAPE)
    assert found == Network("784-256-10", SHAPE, (LayerSpec(DenseSpec(256)), LayerSpec(DenseSpec(10))))


def test_convolutions_pools_and_a_vote() -> None:
    found = described("8C3-P2-4C5-AP3-6C1-40-V4")((2, 12, 13))
    conv = lambda n, k, pool=None: LayerSpec(  # noqa: E731
        ConvSpec(n, (k, k), padding=(k // 2, k // 2)), batch_norm=True, pool=pool
    )
    layers = conv(8, 3, Pool("max", 2)), conv(4, 5, Pool("average", 3)), conv(6, 1), LayerSpec(DenseSpec(40))
    assert found == Network("8C3-P2-4C5-AP3-6C1-40-V4", (2, 12, 13), layers, vote=4)
    assert found.classes == 10


@pytest.mark.parametrize("name", PRESETS)
def test_presets_stay(name: str) -> None:
    assert described(name)(SHAPE) is PRESETS[name]


@pytest.mark.parametrize("preset", ["mnist-mlp", "mnist-conv", "mnist-conv-wide"])
def test_the_presets_as_lines(preset: str) -> None:
    line = {"mnist-mlp": "784-800-10", "mnist-conv": "16C3-P2-32C3-P2-10", "mnist-conv-wide": "64C3-P2-128C3-P2-40-V4"}
    found, known = described(line[preset])(SHAPE), PRESETS[preset]
    assert (found.layers, found.vote) == (known.layers, known.vote)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mnist", "network is mnist, expected one of mnist-mlp, "),
        ("", "network is , expected"),
        ("256-10", "layers 256-10, input is 256, expected 784 first, the values of an image"),
        ("784", "layers is 784, expected at least one layer after the input"),
        ("784-10-", "part is , expected N, NCk, Pk or APk"),
        ("784-ten", "part is ten"),
        ("784-P2-10", "part 1 is P2, expected a pool only after a convolution"),
        ("8C3-P2-P2-10", "part 3 is P2"),
        ("8C2-10", "kernel of 8C2 is 2, expected odd"),
        ("784-10-V3", "vote is 3, expected a divisor of 10"),
        ("784-V5-10", "part is V5"),
        ("784-0-10", "outputs is 0"),
        ("784-99999-10", "outputs is 99999"),
        ("8C3-P17-10", "pool.size is 17"),
        ("8C3-P2", "layers..1..pool"),
    ],
)
def test_lines_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        described(text)(SHAPE)
    assert "\n" not in str(caught.value)


def written(folder: Path, body: Any) -> Path:
    path = folder / "own.json"
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    return path


def test_a_description_file_says_what_differs(tmp_path: Path) -> None:
    body = {
        "steps": 5,
        "layers": [
            {
                "synapses": {"kind": "conv", "channels": 3, "stride": [2, 2]},
                "neuron": {"tau": 4, "reset": "soft"},
                "pool": {"size": 2},
            },
            {"synapses": {"kind": "dense", "outputs": 6, "bias": True}, "dropout": 0.5},
        ],
    }
    neuron = FloatNeuron(tau=4, reset="soft")
    conv = LayerSpec(ConvSpec(3, stride=(2, 2)), neuron, pool=Pool("max", 2))
    dense = LayerSpec(DenseSpec(6, bias=True), dropout=0.5)
    assert read_description(written(tmp_path, body), SHAPE) == Network("own", SHAPE, (conv, dense), steps=5)


@pytest.mark.parametrize("network", PRESETS.values(), ids=PRESETS)
def test_a_whole_description_is_read_back(network: Network, tmp_path: Path) -> None:
    assert read_description(written(tmp_path, network.to_json()), network.input_shape) == network


DENSE = {"kind": "dense", "outputs": 10}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"steps": NaN}', "NaN is no number"),
        ([], "is list, expected an object with layers"),
        ({}, "layers is 0, expected 1 to 64"),
        ({"layers": []}, "layers is 0, expected 1 to 64"),
        ({"layers": [3]}, r"layers\[0\]: layer is 3, expected an object"),
        ({"layers": [{}]}, "synapses is missing"),
        ({"layers": [{"synapses": {"kind": "dense"}}]}, "outputs is missing"),
        ({"layers": [{"synapses": {"kind": "conv"}}]}, "channels is missing"),
        (
            {"layers": [{"synapses": DENSE}], "stepz": 3},
            "stepz.*, expected one of name, input_shape, layers, steps, vote",
        ),
        ({"layers": [{"synapses": DENSE, "norm": 1}]}, r"layers\[0\]: layer field is .*norm"),
        ({"layers": [{"synapses": DENSE | {"kernel": [3, 3]}}]}, "synapses field is .*kernel"),
        ({"layers": [{"synapses": DENSE, "neuron": {"tau": "2"}}]}, "neuron.tau is 2, expected one finite number"),
        ({"layers": [{"synapses": DENSE, "neuron": 5}]}, "neuron is 5"),
        ({"layers": [{"synapses": DENSE, "batch_norm": 1}]}, "batch_norm is 1, expected True or False"),
        ({"layers": [{"synapses": DENSE, "pool": 2}]}, "pool is 2, expected an object"),
        ({"layers": [{"synapses": {"kind": "dense", "outputs": True}}]}, "outputs is True"),
        ({"layers": [{"synapses": DENSE}], "steps": 65_536}, "steps is 65536"),
        ({"layers": [{"synapses": DENSE}], "input_shape": [1, 8, 8]}, r"input_shape is \(1, 8, 8\), expected"),
    ],
)
def test_description_files_that_are_refused(body: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_description(written(tmp_path, body), SHAPE)
    assert "\n" not in str(caught.value)


def test_a_configuration_with_a_description_goes_through_json(tmp_path: Path) -> None:
    found = read_description(written(tmp_path, {"layers": [{"synapses": DENSE}]}), SHAPE)
    config = TrainConfig(network=found, steps=3)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert config.description(SHAPE).steps == 3
    for steps in (2, 65_535):
        assert TrainConfig(network="784-20-10", steps=steps).description(SHAPE).steps == steps
    with pytest.raises(UserError, match="description"):
        read_description(tmp_path / "missing.json", SHAPE)
