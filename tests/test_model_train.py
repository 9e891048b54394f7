"""Training runs on a few hundred images: repeatable, resumable, at the connectivity that was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradrtl.errors import UserError
from gradrtl.model import data
from gradrtl.model.augment import Augment
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import RECIPES, TrainConfig
from gradrtl.model.description import ConvSpec, DenseSpec, LayerSpec, Network
from gradrtl.model.networks import SpikingNetwork, network_of
from gradrtl.model.train import (
    activity,
    batches,
    evaluate,
    first_largest,
    learning_rate,
    loss_for,
    objective,
    over_steps,
    rate_loss,
    train,
)

CONFIG = TrainConfig(epochs=4, batch=50, held_out=100, images=300, connectivity=0.1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images() -> data.Dataset:
    return data.load_idx(Path(__file__).parent.parent / "data" / "mnist")[0][:1000]


def config_of(recipe: str, **changes: Any) -> TrainConfig:
    wanted = None if recipe in ("gradr", "dense") else 0.1
    return replace(CONFIG, recipe=recipe, connectivity=wanted, **changes)


def same(a: Checkpoint, b: Checkpoint) -> bool:
    return a.arrays.keys() == b.arrays.keys() and all(np.array_equal(a.arrays[k], b.arrays[k]) for k in a.arrays)


@pytest.mark.parametrize("dense", [0.0, 0.25])
@pytest.mark.parametrize("recipe", RECIPES)
def test_resumed_is_uninterrupted(recipe: str, dense: float, images: data.Dataset, tmp_path: Path) -> None:
    config = config_of(recipe, dense=dense)
    whole = train(config, images)

    def stop_after(epoch: int) -> Any:
        def on_epoch(row: dict[str, Any]) -> None:
            if row["epoch"] == epoch:
                raise KeyboardInterrupt

        return on_epoch

    for epoch in (1, 2, 3, 4):  # before the freeze, which is at 2; at it; after it
        with pytest.raises(KeyboardInterrupt):
            train(config, images, tmp_path, on_epoch=stop_after(epoch))
    resumed = train(config, images, tmp_path)
    assert same(whole, resumed)
    assert whole.history == resumed.history
    assert whole.figures["connectivity"] == resumed.figures["connectivity"]


def test_seeds(images: data.Dataset) -> None:
    config = replace(CONFIG, epochs=1, images=100)
    assert same(train(config, images), train(config, images))
    assert not same(train(config, images), train(replace(config, seed=1), images))


@pytest.mark.parametrize("dense", [0.0, 0.25])
@pytest.mark.parametrize("recipe", ["gradr-quota", "magnitude"])
def test_reaches_the_connectivity_and_learns(recipe: str, dense: float, images: data.Dataset, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    config = config_of(recipe, epochs=12, images=600, dense=dense)
    made = train(config, images, on_epoch=rows.append, command="a test")
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert 0.09 < made.census.connectivity < 0.1001
    assert sum(rows[-1]["pruned"]) == sum(rows[-1]["regrown"]) == 0, "the mask is frozen"
    assert made.figures["validation"] > 0.6
    made.save(tmp_path / "checkpoint.npz")
    read = Checkpoint.load(tmp_path / "checkpoint.npz")
    assert same(made, read)
    assert (read.network, read.config, read.command) == (made.network, made.config, "a test")
    held_out = data.split(images, CONFIG.held_out)[1]
    evaluation = evaluate(network_of(read), held_out)
    assert evaluation.accuracy == made.figures["validation"]
    assert [rate.shape for rate in evaluation.rates] == [(800,), (10,)]
    assert evaluation.silent == made.figures["silent"]


@pytest.mark.parametrize("recipe", ["gradr", "gradr-quota"])
def test_dense_epochs_come_first(recipe: str, images: data.Dataset) -> None:
    """They are those of a dense training; then Grad R keeps the signs that they found."""
    settings = {"alpha": 1.0, "lr": 3e-3}
    at_first = train(config_of("dense", epochs=3, constant=1.0, **settings), images)
    made = train(config_of(recipe, epochs=6, dense=0.5, rewire=1.0, **settings), images)
    assert [row["connectivity"] for row in made.history[:3]] == [1, 1, 1]
    assert [row["loss"] for row in made.history[:3]] == [row["loss"] for row in at_first.history]
    assert made.history[3]["connectivity"] < 1
    assert (at_first.arrays["layer0.weight"] * made.arrays["layer0.weight"] >= 0).all()


def test_a_price_on_spikes_makes_them_fewer(images: data.Dataset) -> None:
    config = config_of("gradr-quota", epochs=4, images=600)
    free, priced = (train(replace(config, spike_cost=cost), images) for cost in (0.0, 0.5))
    assert priced.figures["spikes_a_frame"][0] < free.figures["spikes_a_frame"][0] / 2


def test_a_gradient_of_no_length_changes_nothing(images: data.Dataset) -> None:
    """Adam takes steps of one size whatever the gradient is, until it is far below its epsilon."""
    config = replace(config_of("dense"), epochs=1)
    start = network_of(train(replace(config, lr=1e-12), images))
    clipped = network_of(train(replace(config, clip=1e-15), images))
    free = network_of(train(replace(config, clip=1e9), images))
    for (name, a), b, c in zip(start.named_parameters(), clipped.parameters(), free.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name
        assert not torch.allclose(a, c, atol=1e-3), name
    assert same(train(config, images), train(replace(config, clip=1e9), images))


def test_sharpness_is_a_factor_on_membranes() -> None:
    outputs, labels = torch.tensor([[0.0, 0.1], [0.3, 0.0]]), torch.tensor([1, 1])
    sharp = loss_for(None, counts=False, steps=4, sharpness=10)
    assert sharp(outputs, labels) == loss_for(None, counts=False, steps=4)(10 * outputs, labels)
    assert loss_for("cross-entropy", True, 4, 10)(outputs, labels) == sharp(0.4 * outputs, labels)


def test_smoothing_spreads_a_part_of_the_label() -> None:
    outputs, labels = torch.tensor([[0.5, 0.1, 0.0], [0.3, 0.0, 0.7]]), torch.tensor([1, 2])
    plain = loss_for(None, counts=False, steps=4)
    every = sum(plain(outputs, torch.full_like(labels, which)) for which in range(3)) / 3
    smooth = loss_for(None, counts=False, steps=4, smoothing=0.2)(outputs, labels)
    assert torch.allclose(smooth, 0.8 * plain(outputs, labels) + 0.2 * every)


def test_activity_is_that_of_all_hidden_neurons_together() -> None:
    rates = [torch.tensor([[1.0, 0.5, 0.0], [0.5, 0.5, 0.5]]), torch.tensor([[[1.0]], [[1.0]]]), torch.ones((2, 10))]
    assert float(activity(rates)) == 4 / 8
    assert float(activity(rates[-1:])) == 0


def test_prunes_and_regrowths_add_up(images: data.Dataset) -> None:
    made = train(config_of("gradr", alpha=1.0, p=0.95, lr=3e-3), images)
    living = 635_200
    for row in made.history:
        living += sum(row["regrown"]) - sum(row["pruned"])
        assert row["connectivity"] == living / 635_200
    assert sum(sum(row["regrown"]) for row in made.history) > 0


def test_another_configuration_does_not_resume(images: data.Dataset, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1, images=100)
    train(config, images, tmp_path)
    with pytest.raises(UserError, match=r"lr is 0\.004"):
        train(replace(config, lr=0.01), images, tmp_path)
    (tmp_path / "resume.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        train(config, images, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "luck"}, "recipe is luck"),
        ({"connectivity": None}, "connectivity is None"),
        ({"connectivity": 1.5}, "connectivity is 1.5"),
        ({"recipe": "dense"}, "connectivity is 0.1"),
        ({"network": "mnist"}, "network is mnist"),
        ({"epochs": 0}, "epochs is 0"),
        ({"p": 0.2}, "p is 0.2"),
        ({"dense": 0.75}, "dense is 0.75, expected at most rewire = 0.6"),
        ({"dense": 1.0}, "dense is 1.0"),
        ({"dense": 0.6}, "dense is 0.6, expected at most rewire = 0.6, with an epoch between them"),
        ({"rewire": 0.1}, "dense is 0.0, expected at most rewire = 0.1, with an epoch between them"),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(CONFIG, **changes)


def test_refuses_data(images: data.Dataset) -> None:
    with pytest.raises(UserError, match="image shape"):
        train(CONFIG, data.Dataset(images.images[:, :, :20], images.labels))
    with pytest.raises(UserError, match="classes in the training set is 11, expected at most 10"):
        train(CONFIG, data.Dataset(images.images, images.labels + np.uint8(1)))
    with pytest.raises(UserError, match="batch is 500"):
        train(replace(CONFIG, batch=500), images)


def test_learning_rate() -> None:
    assert [learning_rate(step, 2, 6) for step in (0, 1, 2, 4)] == [1, 1, 1, pytest.approx(0.5)]
    assert learning_rate(9, 10, 10) == 1


def test_ties_go_to_the_lowest() -> None:
    assert first_largest(torch.tensor([[0.0, 1.0, 1.0], [0.5, 0.5, 0.5]])).tolist() == [1, 0]


def test_batches_and_augmentation(images: data.Dataset) -> None:
    part = images[:130]
    plain = list(batches(part, 50, Augment(0, 0), seed=0, epoch=0))
    assert [len(labels) for _, labels in plain] == [50, 50]
    seen = {image.numpy().tobytes() for batch, _ in plain for image in batch}
    assert seen <= {image.tobytes() for image in part.images}
    assert len(seen) == 100
    moved = Augment(10, 0.05)(torch.from_numpy(part.images), torch.Generator().manual_seed(0))
    again = Augment(10, 0.05)(torch.from_numpy(part.images), torch.Generator().manual_seed(0))
    assert torch.equal(moved, again)
    assert moved.dtype == torch.uint8
    assert not torch.equal(moved, torch.from_numpy(part.images))
    mirrored = Augment(0, 0, flip=True)(torch.from_numpy(part.images), torch.Generator().manual_seed(0)).numpy()
    straight = [np.array_equal(a, b) for a, b in zip(mirrored, part.images, strict=True)]
    turned = [np.array_equal(a, b[..., ::-1]) for a, b in zip(mirrored, part.images, strict=True)]
    assert all(a or b for a, b in zip(straight, turned, strict=True))
    assert 30 < sum(turned) < 100


def test_every_epoch_has_an_order_of_its_own(images: data.Dataset) -> None:
    orders = {
        (seed, epoch): tuple(
            int(label) for _, labels in batches(images[:100], 50, Augment(0, 0), seed, epoch) for label in labels
        )
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4


def test_evaluation_changes_nothing() -> None:
    """Neither running statistics nor dropout, nor whether the network is in training."""
    rng = np.random.default_rng(0)
    some = data.Dataset(rng.integers(0, 256, (20, 1, 4, 4), np.uint8), (np.arange(20) % 3).astype(np.uint8))
    torch.manual_seed(0)
    layers = LayerSpec(ConvSpec(3), batch_norm=True), LayerSpec(DenseSpec(3), dropout=0.5)
    network = SpikingNetwork(Network("small", (1, 4, 4), layers)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second = evaluate(network, some), evaluate(network, some, batch=7)
    assert network.training
    assert first.accuracy == second.accuracy
    assert first.loss == pytest.approx(second.loss)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_no_more_images_than_there_are(images: data.Dataset) -> None:
    with pytest.raises(UserError, match="images is 201, expected 1 to 200, the training images that are not held out"):
        train(replace(CONFIG, epochs=1, images=201), images[:300])
    train(replace(CONFIG, epochs=1, images=200), images[:300])


def test_a_checkpoint_says_what_it_was_made_from(images: data.Dataset) -> None:
    made = train(replace(CONFIG, epochs=1, images=100), images[:300]).made_from
    assert made["data"] == images[:300].digest
    assert len(made["sources"]) == 64
    assert made["torch"] == torch.__version__


def test_answers_after_every_step_are_weighted() -> None:
    outputs = torch.rand((4, 5, 3), generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 1, 0])
    losses = [float(rate_loss(answer, labels)) for answer in outputs]
    for anytime in (0.0, 1.0, 2.5):
        weights = np.arange(1, 5) ** anytime
        expected = float(np.average(losses, weights=weights))
        assert float(over_steps(rate_loss, anytime)(outputs, labels)) == pytest.approx(expected)


def test_the_loss_is_that_of_every_step(images: data.Dataset) -> None:
    """Of training, with and without a price on spikes, and of the evaluation; the accuracy is that of the last."""
    network = SpikingNetwork(Network("small", (1, 28, 28), (LayerSpec(DenseSpec(20)), LayerSpec(DenseSpec(10))), 4))
    some = images[:60]
    inputs, labels = torch.from_numpy(some.images), torch.from_numpy(some.labels).long()
    network.eval()
    every, rates = network(inputs, layer_rates=True, every_step=True)
    assert every.shape == (4, 60, 10)
    assert torch.equal(every[-1], network(inputs))
    assert (every.diff(dim=0) >= 0).all()
    last, whole = rate_loss(every[-1], labels), over_steps(rate_loss, 1.0)(every, labels)
    assert objective(network, inputs, labels, 0.0) == last
    assert objective(network, inputs, labels, 0.0, anytime=1.0) == whole != last
    assert objective(network, inputs, labels, 0.5, anytime=1.0) == whole + 0.5 * activity(rates)
    plain, found = evaluate(network, some), evaluate(network, some, anytime=1.0)
    assert (plain.loss, found.loss) == (last.item(), whole.item())
    assert plain.accuracy == found.accuracy


def test_early_answers_can_be_trained(images: data.Dataset) -> None:
    early, late = (
        network_of(train(config_of("dense", epochs=3, images=600, anytime=anytime), images)) for anytime in (0.0, None)
    )
    held_out = images[-100:]
    inputs = torch.from_numpy(held_out.images)
    right = []
    for network in (early, late):
        answers = network(inputs, every_step=True).detach()
        steps = [(first_largest(answer) == torch.from_numpy(held_out.labels)).float().mean() for answer in answers]
        right.append(float(torch.stack(steps[: len(steps) // 2]).mean()))
    assert right[0] > right[1]
