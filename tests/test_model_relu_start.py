"""A network of activations starts from a state dict or from integrate-and-fire neurons; all else is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import float_networks
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradrtl.errors import UserError
from gradrtl.model.architecture import described
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.description import ConvSpec, DenseSpec, FloatNeuron, LayerSpec, Network, Pool
from gradrtl.model.graph import (
    AdaptationSpec,
    ConnectionSpec,
    Graph,
    InputSpec,
    NeuronSpec,
    PopulationSpec,
    ReadoutSpec,
)
from gradrtl.model.relu import ReluNetwork, network_from
from gradrtl.model.relu_start import matched, of_state_dict, started

SHAPE = (1, 6, 6)
LAYERS = described("4C3-AP2-5C3-7-3")(SHAPE)
FIRES = NeuronSpec(decay=1.0, threshold=0.5, reset="soft")
SILENT = NeuronSpec(decay=0.9, reset="none", spiking=False)


def images(count: int = 4) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8))


def module(norms: bool = True) -> nn.Sequential:
    """The layers of `LAYERS`."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4) if norms else nn.Identity()
    made = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), norm, nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(45, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3, bias=False),
    )  # fmt: skip
    for one in made.modules():
        if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d):
            one.running_mean.normal_()
            one.running_var.uniform_(0.3, 2.0)
            nn.init.normal_(one.weight)
            nn.init.normal_(one.bias)
    return made.eval()


@torch.no_grad()
def outputs(checkpoint: Checkpoint) -> Tensor:
    return network_from(checkpoint, "plain", 4).eval()(images())


@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"epoch": 3, "model_state_dict": state}])
def test_a_state_dict_gives_the_outputs_of_its_module(norms: bool, wrap: Any, tmp_path: Path) -> None:
    made = module(norms)
    torch.save(wrap(made.state_dict()), tmp_path / "weights.pt")
    found = of_state_dict(tmp_path / "weights.pt", LAYERS)
    assert [spec.batch_norm for spec in found.network.populations] == [norms, False, True, False]
    with torch.no_grad():
        torch.testing.assert_close(outputs(found), made(images().float() / 255), rtol=1e-5, atol=1e-6)


class Escape:
    """Runs a command if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def refused(state: Any, told: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=told) as error:
        of_state_dict(tmp_path / "weights.pt", LAYERS)
    assert "\n" not in str(error.value)
    assert "weights.pt" in str(error.value)


def test_nothing_is_run_from_a_file(tmp_path: Path) -> None:
    refused({"0.weight": Escape(tmp_path / "escaped")}, "objects that are no tensors", tmp_path)
    assert not (tmp_path / "escaped").exists()
    refused(module(), "objects that are no tensors", tmp_path)  # a whole module, pickled
    (tmp_path / "weights.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        of_state_dict(tmp_path / "weights.pt", LAYERS)
    with pytest.raises(UserError, match="expected a file"):
        of_state_dict(tmp_path, LAYERS)


def changed(name: str, value: Tensor | None) -> dict[str, Tensor]:
    """The state of `module` with one tensor replaced, added or, by None, left out."""
    found = dict(module().state_dict()) | {name: value}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def twice_normalised() -> dict[str, Tensor]:
    """With a second normalisation behind the first one."""
    given = list(module().state_dict().items())
    return dict(given[:7]) | {"z.running_mean": torch.zeros(4), "z.running_var": torch.ones(4)} | dict(given[7:])


def five_channels() -> dict[str, Tensor]:
    """With a normalisation of one channel more than there are."""
    wide = nn.BatchNorm2d(5).state_dict()
    return dict(module().state_dict()) | {f"1.{name}": value for name, value in wide.items()}


def test_a_file_with_a_changed_bit_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "module.pt"
    torch.save(module().state_dict(), file)
    content = bytearray(file.read_bytes())
    content[content.index(module()[0].weight.detach().numpy().tobytes())] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"weights .*module\.pt: checksum is another, expected that of the contents"):
        of_state_dict(file, LAYERS)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ([1, 2], "contents is list"),
        ({}, "contents is dict"),
        ({"0.weight": 3}, "contents is dict"),
        ({"0.bias": torch.zeros(3)}, "module 0 is neither linear nor a convolution"),
        (changed("0.weight", torch.zeros(4, 1, 5, 5)), r"module 0 weight is \(4, 1, 5, 5\), expected \(4, 1, 3, 3\)"),
        (changed("0.weight", torch.full((4, 1, 3, 3), torch.nan)), "tensor 0.weight is not finite"),
        (changed("0.weight", torch.zeros(4, 1, 3, 3, dtype=torch.int64)), "tensor 0.weight is torch.int64"),
        (changed("0.weight", torch.zeros(4, 1, 3, 3).to_sparse()), "is torch.float32, torch.sparse_coo"),
        (changed("0.weight", torch.zeros(1).expand(1 << 20, 1 << 10)), "values is 1073742"),
        (changed("0.bias", torch.zeros(5)), r"module 0 bias is \(5,\), expected \(4,\)"),
        (changed("0.scale", torch.zeros(4)), "module 0 is scale, expected weight and bias"),
        (changed("10.weight", None), "convolutions and linear layers is 3, expected 4"),
        (changed("1.running_var", None), "module 1 is without running_var"),
        (changed("1.running_var", torch.full((4,), -1.0)), "module 1 running_var is below 0"),
        (changed("1.running_mean", torch.zeros(())), r"module 1 running_mean is \(\), expected a number for"),
        (five_channels(), "module 1 channels is 5, expected 4"),
        (changed("8.weight", torch.zeros(6)), r"module 8 weight is \(6,\), expected \(7,\)"),
        ({**module().state_dict(), **nn.Sequential(*[nn.Identity()] * 11, nn.BatchNorm1d(3)).state_dict()}, None),
        (twice_normalised(), "module z is a normalisation, expected the weights of layer1"),
    ],
)  # fmt: skip
def test_other_contents_are_refused(state: Any, told: str | None, tmp_path: Path) -> None:
    if told is not None:
        refused(state, told, tmp_path)
    else:  # the outputs may be normalised
        assert matched(state, LAYERS).network.populations[-1].batch_norm


def test_a_bias_of_several_connections_is_their_sum_and_their_normalisation_is_refused() -> None:
    seen = [ConnectionSpec(("image",), ConvSpec(2, (1, 1), padding=(0, 0))) for _ in range(2)]
    hidden = PopulationSpec("hidden", tuple(seen), FIRES)
    graph = graph_of(hidden)
    state = {"a.weight": torch.ones(2, 1, 1, 1), "a.bias": torch.tensor([1.0, 2.0]), "b.weight": torch.ones(2, 1, 1, 1),
             "b.bias": torch.tensor([0.5, 0.0]), "c.weight": torch.ones(3, 72)}  # fmt: skip
    assert matched(state, graph).arrays["population0.bias"].tolist() == [1.5, 2.0]
    norm = {"n.running_mean": torch.zeros(2), "n.running_var": torch.ones(2)}
    state = dict(list(state.items())[:4]) | norm | {"c.weight": state["c.weight"]}
    with pytest.raises(UserError, match="module n is normalises a sum"):
        matched(state, graph)


def graph_of(*hidden: PopulationSpec) -> Graph:
    output = PopulationSpec("output", (ConnectionSpec(tuple(spec.name for spec in hidden), DenseSpec(3)),), SILENT)
    return Graph("own", (InputSpec("image", SHAPE),), (*hidden, output), ReadoutSpec("output", "membrane"), 4)


def test_a_chain_of_neurons_that_integrate_and_fire_starts_an_equal_network() -> None:
    """Its spikes are worth a threshold: weights behind it are those of the activations times the threshold."""
    fires = FloatNeuron("if", threshold=0.5, reset="soft")
    layers = (
        LayerSpec(ConvSpec(3, bias=True), fires, batch_norm=True, pool=Pool("average", 2)),
        LayerSpec(DenseSpec(3, bias=True)),
    )
    chain = float_networks.checkpoint(Network("own", SHAPE, layers, 4), 3, connectivity=1.0)
    found = started(chain.network, chain.arrays)
    network = network_from(found, "plain", 4).eval()
    arrays = {name: torch.from_numpy(array) for name, array in chain.arrays.items()}
    x = images().float() / 255
    with torch.no_grad():
        x = nn.functional.conv2d(x, arrays["layer0.weight"], arrays["layer0.bias"], padding=1)
        norm = [arrays[f"layer0.norm.{name}"] for name in ("mean", "variance", "gain", "shift")]
        x = nn.functional.batch_norm(x, *norm).relu()
        x = nn.functional.avg_pool2d(x, 2).flatten(1) / 0.5
        wanted = x @ arrays["layer1.weight"].T + arrays["layer1.bias"]
        torch.testing.assert_close(network(images()), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("neuron", "told"),
    [
        (replace(FIRES, decay=0.9), "population hidden decay is 0.9, expected 1"),
        (replace(FIRES, reset="hard"), "population hidden reset is hard, expected soft"),
        (replace(FIRES, reset_amount=0.25), "population hidden reset_amount is 0.25, expected 0.5"),
        (replace(FIRES, adaptation=AdaptationSpec()), "population hidden neuron is with further states"),
        (replace(FIRES, refractory=1), "population hidden neuron is with further states"),
        (replace(FIRES, threshold=-1.0), "population hidden threshold is -1.0, expected above 0"),
    ],
)
def test_other_neurons_are_no_activations(neuron: NeuronSpec, told: str) -> None:
    hidden = PopulationSpec("hidden", (ConnectionSpec(("image",), DenseSpec(4)),), neuron)
    with pytest.raises(UserError, match=told):
        started(graph_of(hidden), {})


def test_added_neurons_need_one_threshold() -> None:
    seen = (ConnectionSpec(("image",), DenseSpec(4)),)
    pair = PopulationSpec("a", seen, FIRES), PopulationSpec("b", seen, replace(FIRES, threshold=1.0))
    with pytest.raises(UserError, match="thresholds of what is added is"):
        started(graph_of(*pair), {})


@pytest.mark.parametrize("method", ["plain", "rate-norm", "shift"])
def test_thresholds_are_measured_on_what_is_not_cut_off(method: str) -> None:
    found = matched(module().state_dict(), LAYERS)
    network = ReluNetwork(found.network, method, 4)
    network.load(found)
    network.measure([images()])
    plain = network_from(found, "plain", 4).eval()
    with torch.no_grad():
        _, rates = plain(images(), layer_rates=True)  # its thresholds are still 1
    for name, rate in rates.items():
        assert network.activation_of(name).threshold.item() == pytest.approx(rate.max().item(), rel=1e-3)
