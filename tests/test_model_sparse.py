"""Sparse convolutions by their connections: outputs and gradients are those of the full weights in torch."""

from __future__ import annotations

import copy

import pytest
import torch
from test_model_relu_train import data
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import parametrize

from gradrtl.model import sparse
from gradrtl.model.masked import Masked
from gradrtl.model.relu import ReluNetwork
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.relu_train import train_relu

DENSITY = 0.15
LEVELS = 200  # many, so that a sum on the other side of a step, by another rounding, matters little


def network(layers: str, shape: tuple[int, ...], density: float = DENSITY, seed: int = 0) -> ReluNetwork:
    torch.manual_seed(seed)
    made = ReluNetwork(ReluConfig(network=layers).description(shape), "shift", LEVELS, 1.0)
    for _, layer, _ in made.weighted:
        mask = (torch.rand_like(layer.weight) < density).float()
        parametrize.register_parametrization(layer, "weight", Masked(mask), unsafe=True)
    for population in made.all:
        if population.norm is not None:
            population.norm.weight.data.uniform_(0.5, 1.5)
            population.norm.bias.data.uniform_(-0.3, 0.6)
    return made


def by_full_weights(of: ReluNetwork) -> ReluNetwork:
    made = copy.deepcopy(of)
    made.sparse_part = None
    return made


def images(count: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def gradients(of: ReluNetwork, seen: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    outputs = of(seen)
    functional.cross_entropy(3 * outputs, torch.arange(len(seen)) % 10).backward()
    return outputs.detach(), {name: p.grad for name, p in of.named_parameters() if p.grad is not None}


def assert_near(found: Tensor, wanted: Tensor, name: str = "outputs") -> None:
    """Within a hundredth of the length of `wanted`."""
    found, wanted = found.detach(), wanted.detach()
    assert float((found - wanted).norm()) <= 0.01 * float(wanted.norm()) + 3e-4, name


def uses_connections(of: ReluNetwork, seen: Tensor) -> bool:
    assert of.sparse_part is not None
    return of.sparse_part(seen) is not None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("layers", "shape", "count"),
    [
        ("8C3-AP2-12C3-12C5-AP2-10", (3, 12, 12), 32),  # borders of 1 and 2
        ("8C1-9C3-AP3-10", (1, 13, 11), 24),  # no border, incomplete windows, 8 lanes
        ("20C3-24C3-10", (2, 9, 10), 16),  # no pool; more than one pass of eight weights
    ],
)
def test_outputs_gradients_and_statistics(
    layers: str, shape: tuple[int, ...], count: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradrtl.model.kernels.SMALLEST_PART", 1)
    torch.set_num_threads(threads)
    ours = network(layers, shape).train()
    theirs, seen = by_full_weights(ours), images(count, shape)
    assert uses_connections(copy.deepcopy(ours), seen)
    (outputs, found), (wanted_outputs, wanted) = gradients(ours, seen), gradients(theirs, seen)
    assert_near(outputs, wanted_outputs)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert float(gradient.abs().max()) > 0, name
        assert_near(found[name], gradient, name)
    for (name, one), (_, other) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        assert_near(one.float(), other.float(), name)

    ours.eval()
    theirs.eval()
    assert uses_connections(ours, seen[:5])
    assert_near(ours(seen[:5]), theirs(seen[:5]))


def test_gradients_with_fixed_statistics() -> None:
    ours = network("8C3-AP2-12C3-10", (3, 8, 8)).eval()
    theirs, seen = by_full_weights(ours), images(16, (3, 8, 8))
    (_, found), (_, wanted) = gradients(ours, seen), gradients(theirs, seen)
    for name, gradient in wanted.items():
        assert_near(found[name], gradient, name)


def test_follows_a_mask_that_changes() -> None:
    ours, seen = network("8C3-8C3-10", (3, 8, 8)).train(), images(16, (3, 8, 8))
    assert uses_connections(ours, seen)
    for _, layer, _ in ours.weighted:
        mask = layer.parametrizations.weight[0].mask
        mask.copy_(mask.roll(1, dims=1))  # others are there now
    assert_near(ours(seen), by_full_weights(ours)(seen))


@pytest.mark.parametrize(
    ("layers", "density", "count", "training"),
    [
        ("8C3-10", 2 * sparse.DENSEST, 16, False),
        ("8C3-10", DENSITY, 12, True),  # statistics are those of whole blocks
        ("192-20-10", DENSITY, 16, False),
    ],
)
def test_leaves_to_torch_what_does_not_fit(layers: str, density: float, count: int, training: bool) -> None:
    made, seen = network(layers, (3, 8, 8), density).train(training), images(count, (3, 8, 8))
    assert made.sparse_part is None or not uses_connections(made, seen)
    torch.testing.assert_close(made(seen), by_full_weights(made)(seen), rtol=0, atol=0)


def test_a_trained_network_needs_no_masks() -> None:
    """Its zeros are what is left out; weights that change are followed."""
    of, seen = network("8C3-12C3-10", (2, 8, 8)), images(16, (2, 8, 8))
    for _, layer, _ in of.weighted:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    of.eval()
    assert uses_connections(of, seen)
    assert_near(of(seen), by_full_weights(of)(seen))
    with torch.no_grad():
        weight = of.all[0].synapses[0].weight
        weight.copy_(weight.flip(0))
    assert_near(of(seen), by_full_weights(of)(seen))
    assert not uses_connections(of.train(), seen), "all weights would get gradients"


def test_other_activations_are_left_to_torch() -> None:
    description = ReluConfig(network="8C3-10").description((3, 8, 8))
    assert ReluNetwork(description, "plain").sparse_part is None
    assert ReluNetwork(description, "shift").sparse_part is not None


def test_a_training_is_that_of_the_full_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    config = ReluConfig(
        network="8C3-8C3-AP2-3", recipe="magnitude", connectivity=0.1, spread=0.0, epochs=4, dense=0.25, rewire=0.5,
        batch=16, lr=0.05, weight_bits=4, held_out=20,
    )  # fmt: skip
    used = list[bool]()
    places = sparse.SparsePart._places

    def noted(self: sparse.SparsePart, lanes: int) -> object:
        used.append((found := places(self, lanes)) is not None)
        return found

    monkeypatch.setattr(sparse.SparsePart, "_places", noted)
    ours = train_relu(config, data())
    assert any(used)
    assert not used[0]
    used.clear()
    monkeypatch.setattr(sparse, "DENSEST", 0.0)
    theirs = train_relu(config, data())
    assert not any(used)
    assert [row["living"] for row in ours.history] == [row["living"] for row in theirs.history]
    for one, other in zip(ours.history, theirs.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.02)
