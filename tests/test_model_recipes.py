"""Quotas: how many connections, where, and which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from gradrtl.errors import UserError
from gradrtl.model.architecture import described
from gradrtl.model.config import TrainConfig
from gradrtl.model.description import preset
from gradrtl.model.gradr import theta_of
from gradrtl.model.networks import SpikingNetwork
from gradrtl.model.recipes import KINDS, RAMP, cubic, densities
from gradrtl.model.relu import ReluNetwork
from gradrtl.model.relu_graph import relu_graph

SIZES = [627_200, 8_000]


@pytest.mark.parametrize("connectivity", [1.0, 0.5, 0.05, 0.01, 1e-4])
@pytest.mark.parametrize("spread", [0.0, 0.5, 0.75, 1.0])
def test_densities_add_up(connectivity: float, spread: float) -> None:
    found = densities(SIZES, connectivity, spread)
    assert sum(d * n for d, n in zip(found, SIZES, strict=True)) == pytest.approx(connectivity * sum(SIZES))
    assert all(0 < density <= 1 for density in found)
    if max(found) < 1:
        assert found[1] / found[0] == pytest.approx((SIZES[0] / SIZES[1]) ** spread)


def test_a_full_layer_leaves_the_rest_to_the_others() -> None:
    assert densities([1000, 10, 10], 0.5, 1.0) == [pytest.approx(490 / 1000), 1.0, 1.0]


def test_cubic() -> None:
    assert cubic(0.0, 0.1) == 1.0
    assert cubic(RAMP / 2, 0.1) == pytest.approx(0.1 + 0.9 / 8)
    assert cubic(RAMP, 0.1) == cubic(1.0, 0.1) == 0.1


def test_quota_prunes_the_weakest_and_they_may_regrow() -> None:
    torch.manual_seed(0)
    config = TrainConfig(recipe="gradr-quota", connectivity=0.05, alpha=0.0)
    network = SpikingNetwork(preset("mnist-mlp"))
    recipe = KINDS["gradr-quota"](network, config)
    recipe.attach(torch.optim.Adam(network.parameters()))
    theta = theta_of(recipe.synapses[0])
    before = theta.detach().clone()
    recipe.after_step(1, 150)
    assert torch.equal(theta, before), "not yet"
    recipe.after_step(150, 150)
    alive = theta > 0
    assert torch.equal(theta[alive], before[alive])
    assert before[alive].min() > before[~alive].max()
    assert recipe.connectivity == pytest.approx(0.05, abs=1e-5)
    weight = recipe.synapses[0].weight
    (gradient,) = torch.autograd.grad((weight * torch.ones_like(weight)).sum(), theta)
    assert gradient.abs().min() == 1, "the pruned learn as well"


@pytest.mark.parametrize("recipe_name", KINDS)
def test_a_frozen_mask_stays(recipe_name: str) -> None:
    torch.manual_seed(0)
    wanted = None if recipe_name in ("gradr", "dense") else 0.05
    config = replace(TrainConfig(), recipe=recipe_name, connectivity=wanted)
    network = SpikingNetwork(preset("mnist-mlp"))
    recipe = KINDS[recipe_name](network, config)
    recipe.attach(torch.optim.Adam(network.parameters(), lr=0.01))
    recipe.after_step(150, 150)
    masks = [layer.synapses.weight != 0 for layer in network.layers]
    recipe.freeze()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    images = torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8)
    network(images).sum().backward()
    optimizer.step()
    for layer, mask in zip(network.layers, masks, strict=True):
        assert not layer.synapses.weight[~mask].any()
        assert layer.synapses.weight.shape == mask.shape


def relu_chain(layers: str) -> ReluNetwork:
    return ReluNetwork(relu_graph(described(layers)((1, 28, 28))), "shift")


@pytest.mark.parametrize("recipe_name", ["gradr-quota", "magnitude"])
@pytest.mark.parametrize(
    "made",
    [
        lambda: SpikingNetwork(preset("mnist-mlp")),
        lambda: SpikingNetwork(preset("mnist-conv")),
        lambda: relu_chain("784-800-10"),
        lambda: relu_chain("16C3-AP2-32C3-AP2-10"),
    ],
    ids=["mnist-mlp", "mnist-conv", "relu-mlp", "relu-conv"],
)
def test_a_quota_of_neurons_closes_the_weakest_for_good(
    made: Callable[[], SpikingNetwork | ReluNetwork], recipe_name: str
) -> None:
    torch.manual_seed(0)
    config = TrainConfig(recipe=recipe_name, connectivity=0.5, hidden=0.25, alpha=0.0)
    network = made()
    recipe = KINDS[recipe_name](network, config)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    recipe.attach(optimizer)
    weights = [layer.weight.detach() for layer in recipe.synapses]
    recipe.after_step(150, 150)
    for (layer, following), (inward, outward) in zip(pairwise(recipe.synapses), pairwise(weights), strict=True):
        neurons = len(inward)
        alive = layer.weight.detach().flatten(1).any(dim=1)
        assert int(alive.sum()) == neurons // 4
        heard = following.weight.detach().reshape(len(outward), neurons, -1).abs().sum(dim=(0, 2)) > 0
        assert torch.equal(heard, alive)
    first, second = weights[0].flatten(1), weights[1].reshape(len(weights[1]), len(weights[0]), -1)
    strength = first.abs().sum(dim=1) * second.abs().sum(dim=(0, 2))
    alive = recipe.synapses[0].weight.detach().flatten(1).any(dim=1)
    assert strength[alive].min() > strength[~alive].max()
    for _ in range(20):  # all gradients ask for more of everything
        optimizer.zero_grad()
        sum(-(layer.weight * layer.weight.detach().sign().add(0.5)).sum() for layer in recipe.synapses).backward()
        optimizer.step()
        recipe.after_step(1, 150)
    assert torch.equal(recipe.synapses[0].weight.detach().flatten(1).any(dim=1), alive)


def test_the_quota_of_connections_holds_beside_that_of_neurons() -> None:
    torch.manual_seed(0)
    network = relu_chain("784-80-10")
    recipe = KINDS["magnitude"](network, TrainConfig(recipe="magnitude", connectivity=0.1, hidden=0.5, spread=0.0))
    sizes = [layer.weight.detach().abs() for layer in recipe.synapses]
    recipe.after_step(150, 150)
    assert recipe.connectivity == pytest.approx(0.1, abs=1e-3)
    alive = recipe.synapses[0].weight.detach().any(dim=1)
    kept = recipe.synapses[0].weight.detach() != 0
    assert sizes[0][alive][~kept[alive]].max() < sizes[0][kept].min(), "the largest of the neurons that are left"


def test_only_two_recipes_have_a_quota_of_neurons() -> None:
    for name in ("gradr", "gradr-alpha", "dense"):
        wanted = 0.05 if name == "gradr-alpha" else None
        with pytest.raises(UserError, match=f"hidden is 0.5, expected 1 for the recipe {name}"):
            TrainConfig(recipe=name, connectivity=wanted, hidden=0.5)
    with pytest.raises(UserError, match="hidden"):
        TrainConfig(hidden=0.0)


def test_what_the_quota_prunes_starts_again_below_zero() -> None:
    torch.manual_seed(0)
    config = TrainConfig(network="30-20-5", connectivity=0.2, alpha=0.0, margin=10.0, lr=0.01)
    network = SpikingNetwork(config.description((1, 5, 6)))
    recipe = KINDS["gradr-quota"](network, config)
    recipe.attach(torch.optim.Adam(network.parameters()))
    recipe.after_step(150, 150)
    for layer in recipe.synapses:
        theta = theta_of(layer).detach()
        assert theta[theta <= 0].unique().tolist() == [pytest.approx(-0.1)]


def test_magnitude_pruning_masks_the_smallest() -> None:
    torch.manual_seed(0)
    config = TrainConfig(network="30-20-5", recipe="magnitude", connectivity=0.2)
    network = SpikingNetwork(config.description((1, 5, 6)))
    recipe = KINDS["magnitude"](network, config)
    before = [layer.weight.detach().abs() for layer in recipe.synapses]
    recipe.after_step(149, 200)
    assert recipe.connectivity == 1
    recipe.after_step(200, 200)
    assert recipe.connectivity == pytest.approx(0.2, abs=0.01)
    for layer, size in zip(recipe.synapses, before, strict=True):
        alive = layer.weight.detach() != 0
        assert size[alive].min() > size[~alive].max()


def test_the_last_layer_has_a_weaker_prior() -> None:
    torch.manual_seed(0)
    config = TrainConfig(network="30-20-5", recipe="gradr", connectivity=None, alpha=0.5, output_alpha=0.1)
    network = SpikingNetwork(config.description((1, 5, 6)))
    recipe = KINDS["gradr"](network, config)
    recipe.attach(torch.optim.Adam(network.parameters(), lr=0.01))
    before = [theta_of(layer).detach().clone() for layer in recipe.synapses]
    recipe.after_step(1, 10)
    moved = [(old - theta_of(layer).detach()).abs() for old, layer in zip(before, recipe.synapses, strict=True)]
    assert moved[0].max() == pytest.approx(0.005, abs=1e-6)
    assert moved[1].max() == pytest.approx(0.0005, abs=1e-6)


def test_alpha_is_part_of_the_state() -> None:
    config = TrainConfig(network="30-20-5", recipe="gradr-alpha", alpha=0.01)
    recipes = []
    for _ in range(2):
        network = SpikingNetwork(config.description((1, 5, 6)))
        recipes.append(KINDS["gradr-alpha"](network, config))
        recipes[-1].attach(torch.optim.Adam(network.parameters()))
    recipes[0].after_step(20, 20)
    assert recipes[0].state()["alpha"] > 0.01
    recipes[1].load_state(recipes[0].state())
    assert recipes[1].state() == recipes[0].state()
