"""Training of networks of activations: phases, rounding, distillation, resumption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from gradrtl.errors import UserError
from gradrtl.model import recipes, relu_train
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.model.conversion import convert
from gradrtl.model.data import Dataset
from gradrtl.model.description import ConvSpec, DenseSpec, FloatNeuron, LayerSpec, Network
from gradrtl.model.distillation import TEMPERATURE
from gradrtl.model.graph import ConnectionSpec, Graph, InputSpec, PopulationSpec, ReadoutSpec
from gradrtl.model.relu import ReluNetwork, network_from
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.relu_graph import INTEGRATES, READS
from gradrtl.model.relu_train import (
    SECOND_ODDS,
    Trained,
    _Run,
    distilled,
    one_cycle,
    rate_inference_loss,
    train_relu,
)

CONFIG = ReluConfig(
    network="4C3-AP2-3", recipe="magnitude", connectivity=0.5, epochs=5, dense=0.2, rewire=0.6, batch=20, lr=0.05,
    weight_bits=3, held_out=20,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def data(count: int = 140, seed: int = 0) -> Dataset:
    """Three classes: which third of the image is bright."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 3).astype(np.uint8)
    images = rng.integers(0, 60, (count, 1, 6, 6)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 120
    return Dataset(images, labels)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_relu(CONFIG, data())


def weights(trained: Trained) -> list[np.ndarray]:
    return [synapses.weight.detach().numpy() for _, synapses, _ in trained.network.weighted]


def test_the_task_is_learnt_sparsely(trained: Trained) -> None:
    assert trained.validation > 0.8
    assert [row["epoch"] for row in trained.history] == [1, 2, 3, 4, 5]
    found = [row["connectivity"] for row in trained.history]
    assert found[0] == 1.0, "dense at the start"
    assert found[-1] <= 0.5 + 0.01
    assert found[2] == pytest.approx(0.5, abs=0.02)


def test_weights_are_whole_multiples_of_the_scale_of_a_channel(trained: Trained) -> None:
    first, last = weights(trained)
    for channel in first:
        assert len(np.unique(np.abs(channel).round(6))) <= 4, "0 and 3 magnitudes of 3 bits"
    assert len(np.unique(np.abs(last).round(6))) <= 4, "one scale for the read-out"


def interrupt(config: ReluConfig, folder: Path, last: int) -> None:
    """Train until the state of epoch `last` is saved, and stop in the next one."""

    class Stop(Exception):
        pass

    def stop(row: dict) -> None:
        if row["epoch"] > last:
            raise Stop

    with pytest.raises(Stop):
        train_relu(config, data(), folder, stop)


@pytest.mark.parametrize("recipe", ["magnitude", "gradr-quota"])
def test_a_run_goes_on_where_it_ended(recipe: str, tmp_path: Path) -> None:
    config = replace(CONFIG, recipe=recipe, tune=1, steps=2)
    whole = train_relu(config, data())

    for last in (1, 2, 4, 5):
        interrupt(config, tmp_path, last)
    resumed: list[int] = []
    found = train_relu(config, data(), tmp_path, on_resume=resumed.append)
    assert resumed == [5]
    assert found.history == whole.history
    for a, b in zip(weights(whole), weights(found), strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(UserError, match=r"relu\.pt seed is 0, expected 1"):
        train_relu(replace(config, seed=1), data(), tmp_path)


def test_thresholds_of_the_second_stage_go_on_where_they_ended(tmp_path: Path) -> None:
    config = replace(CONFIG, method="rate-norm", epochs=1, dense=0.0, rewire=1.0, weight_bits=None, threshold_epochs=3)
    whole = train_relu(config, data())
    assert [row["epoch"] for row in whole.history] == [1, 2, 3, 4]

    interrupt(config, tmp_path, 2)
    resumed: list[int] = []
    found = train_relu(config, data(), tmp_path, on_resume=resumed.append)
    assert resumed == [2]
    assert found.history == whole.history
    assert found.network.activation_of("layer0").threshold == whole.network.activation_of("layer0").threshold
    one = train_relu(replace(config, threshold_epochs=1), data())
    moved = [SECOND_ODDS - made.network.activation_of("layer0").log_odds.item() for made in (one, whole)]
    assert moved[1] > 2 * moved[0] > 0, "each epoch goes on from the one before"


def test_a_state_with_a_changed_bit_is_damaged(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1, recipe="dense", connectivity=None, weight_bits=None)
    train_relu(config, data(), tmp_path)
    file = tmp_path / "relu.pt"
    content = bytearray(file.read_bytes())
    weight = torch.load(file, weights_only=True)["state"]["network"]["populations.0.synapses.0.weight"]
    content[content.index(weight.numpy().tobytes())] ^= 64
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"relu\.pt: not the state of a run, or damaged"):
        train_relu(config, data(), tmp_path)


def test_a_training_that_diverges_is_told(tmp_path: Path) -> None:
    config = replace(CONFIG, recipe="dense", connectivity=None, weight_bits=None, lr=1e6, weight_decay=1.0)
    with pytest.raises(
        UserError, match=r"running_var is not finite, expected a finite number: training diverged in epoch 1;"
    ):
        train_relu(config, data(), tmp_path)


def test_a_state_belongs_to_what_the_teachers_answer(trained: Trained, tmp_path: Path) -> None:
    """Their weights are not all: levels of the activation decide, too."""
    config = replace(CONFIG, distil=0.5, epochs=2, rewire=0.5)
    made = convert(trained, CONFIG)
    train_relu(config, data(), tmp_path, teachers=[made])
    other = replace(made, figures=made.figures | {"conversion": made.figures["conversion"] | {"levels": 9}})
    for changed in (other, replace(other, figures=made.figures, network=replace(made.network, steps=5))):
        with pytest.raises(UserError, match=r"relu\.pt teachers"):
            train_relu(config, data(), tmp_path, teachers=[changed])
    nonsense = replace(made, figures={"conversion": made.figures["conversion"] | {"levels": "many"}})
    with pytest.raises(UserError, match="teacher is 4C3-AP2-3, expected one that gradrtl convert has written"):
        train_relu(config, data(), teachers=[nonsense])


def test_connections_of_a_start_can_be_kept(trained: Trained) -> None:
    start = convert(trained, CONFIG)
    config = replace(CONFIG, recipe="dense", connectivity=None, weight_bits=None, epochs=2)
    kept = train_relu(replace(config, rewire=0.0), data(), start=start)
    for before, after in zip(start.weights, weights(kept), strict=True):
        assert np.array_equal(before != 0, after != 0)
        assert not np.array_equal(before, after)
    assert train_relu(config, data(), start=start).history[-1]["connectivity"] > 0.9


def test_the_quota_and_not_the_prior_decides_how_many_connections_are_left() -> None:
    """A step of the prior is small against those of this optimiser, unlike with the strength that Adam takes."""
    config = ReluConfig(network="36-12-3", recipe="gradr-quota", connectivity=0.9, epochs=40, rewire=0.8, batch=20)
    own, of_adam = (train_relu(replace(config, alpha=a), data()) for a in (config.alpha, TrainConfig.alpha))
    assert own.history[-1]["connectivity"] > 0.88
    assert of_adam.history[-1]["connectivity"] < 0.75


@pytest.mark.parametrize("recipe", ["magnitude", "gradr-quota"])
def test_neurons_that_a_quota_closes_stay_closed_under_weight_decay(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "QUOTA_INTERVAL", 2)  # so that steps follow
    config = replace(CONFIG, network="36-12-3", recipe=recipe, hidden=0.25, connectivity=0.2, weight_decay=0.01)
    first, last = weights(train_relu(config, data()))
    assert np.isfinite(first).all()
    assert np.isfinite(last).all()
    heard = first.any(axis=1)
    assert heard.sum() == 3
    assert not last[:, ~heard].any()


def test_tuning_keeps_the_mask_and_its_statistics(trained: Trained) -> None:
    start = convert(trained, CONFIG)
    config = ReluConfig(network="4C3-AP2-3", epochs=0, rewire=0, tune=2, steps=2, batch=20, weight_bits=3, held_out=20)
    tuned = train_relu(config, data(), start=start)
    for before, after in zip(weights(trained), weights(tuned), strict=True):
        assert not after[before == 0].any()
        assert not np.array_equal(before, after)
    norm, same = trained.network.all[0].norm, tuned.network.all[0].norm
    assert norm is not None
    assert same is not None
    assert norm.running_mean is not None
    assert same.running_mean is not None
    assert torch.equal(norm.running_mean, same.running_mean)
    assert not torch.equal(norm.weight, same.weight)


def test_a_start_gives_the_weights_and_thresholds_of_the_trained_network(trained: Trained) -> None:
    start = convert(trained, CONFIG)
    config = ReluConfig(network="4C3-AP2-3", epochs=1, lr=1e-30, weight_decay=0, batch=20, held_out=20)
    found = train_relu(config, data(), start=start)
    assert convert(found, config).origin["start"] == start.origin
    for before, after in zip(weights(trained), weights(found), strict=True):
        assert np.allclose(before, after, rtol=1e-6)
    assert found.network.activation_of("layer0").threshold.item() == pytest.approx(
        trained.network.activation_of("layer0").threshold.item()
    )


def test_distillation_needs_a_teacher_and_a_weight(trained: Trained) -> None:
    teacher = convert(trained, CONFIG)
    with pytest.raises(UserError, match=r"distil is 0\.5, expected 0 without a teacher"):
        train_relu(replace(CONFIG, distil=0.5), data())
    with pytest.raises(UserError, match=r"distil is 0\.0, expected 0 without a teacher, above 0 with one"):
        train_relu(CONFIG, data(), teachers=[teacher])
    taught = train_relu(replace(CONFIG, distil=1.0), data(), teachers=[teacher])
    assert taught.history != trained.history
    assert convert(taught, CONFIG).origin["teachers"] == [teacher.origin]


def test_weights_to_start_from_are_not_whitened(trained: Trained) -> None:
    with pytest.raises(UserError, match="whiten is True, expected False with a network to start from"):
        train_relu(replace(CONFIG, whiten=True), data(), start=convert(trained, CONFIG))


def test_a_start_has_thresholds_of_its_own(trained: Trained) -> None:
    with pytest.raises(UserError, match=r"threshold is 1\.5, expected not given with a network to start from"):
        train_relu(replace(CONFIG, threshold=1.5), data(), start=convert(trained, CONFIG))


def test_a_start_has_the_same_populations_of_neurons_that_integrate_and_fire(trained: Trained) -> None:
    start = convert(trained, CONFIG)
    assert isinstance(start.network, Graph)
    hidden, output = start.network.populations

    def with_hidden(**changes: Any) -> Checkpoint:
        return replace(start, network=replace(start.network, populations=(replace(hidden, **changes), output)))

    for changes in ({"threshold": -1.0}, {"decay": 0.5}, {"reset": "hard"}):
        other = with_hidden(neuron=replace(hidden.neuron, **changes))
        with pytest.raises(UserError, match=r"population layer0 neuron is .* expected that it integrates and fires"):
            train_relu(CONFIG, data(), start=other)
    heard = replace(output.inputs[0], sources=("first",))
    renamed = replace(start.network, populations=(replace(hidden, name="first"), replace(output, inputs=(heard,))))
    with pytest.raises(UserError, match="expected one with the populations, normalisation and connections of 4C3"):
        train_relu(CONFIG, data(), start=replace(start, network=renamed))


def test_a_batch_of_one_has_no_statistics() -> None:
    shape = DenseSpec(5)
    layers = (LayerSpec(shape, FloatNeuron("if"), batch_norm=True), LayerSpec(DenseSpec(3), FloatNeuron("if")))
    description = Network("small", (1, 6, 6), layers)
    with pytest.raises(UserError, match="batch is 1, expected 2 or above for each process"):
        train_relu(ReluConfig(network=description, batch=1, epochs=1), data())


def test_a_recipe_needs_an_epoch() -> None:
    with pytest.raises(UserError, match="epochs is 0, expected 1 or above for the recipe magnitude"):
        replace(CONFIG, epochs=0, tune=1, weight_bits=None)


def test_thresholds_of_the_rate_norm_are_measured_where_nothing_is_trained() -> None:
    config = ReluConfig(network="4C3-AP2-3", method="rate-norm", epochs=0, batch=20, held_out=20)
    found = train_relu(config, data()).network.activation_of("layer0")
    assert found.threshold > 0.01


def test_a_converted_checkpoint_tells_how_images_were_changed(trained: Trained) -> None:
    config = replace(CONFIG, shift=3, rotation=4.0, flip=True, smoothing=0.2)
    told = convert(trained, config).config
    assert {name: told[name] for name in ("shift", "rotation", "flip", "smoothing")} == {
        "shift": 0.5, "rotation": 4.0, "flip": True, "smoothing": 0.2,
    }  # fmt: skip


def test_a_teacher_is_a_conversion_for_the_same_images_and_classes(trained: Trained) -> None:
    config = replace(CONFIG, distil=0.5)
    teacher = convert(trained, CONFIG)
    with pytest.raises(UserError, match=r"teacher is 4C3-AP2-3, expected one that gradrtl convert has written"):
        train_relu(config, data(), teachers=[replace(teacher, figures={})])
    with pytest.raises(UserError, match="classes of the teacher is 3, expected 1, as the network has"):
        train_relu(replace(config, network="4C3-AP2-1"), Dataset(data().images, 0 * data().labels), teachers=[teacher])
    wider = Dataset(np.pad(data().images, ((0, 0), (0, 0), (0, 2), (0, 2))), data().labels)
    with pytest.raises(UserError, match=r"image shape of the teacher is \(1, 6, 6\), expected \(1, 8, 8\)"):
        train_relu(config, wider, teachers=[teacher])


def test_a_start_of_relus_gets_fitted_thresholds() -> None:
    plain = replace(CONFIG, method="plain", recipe="dense", connectivity=None, weight_bits=None, epochs=2)
    start = convert(train_relu(plain, data()), plain)
    largest = [spec.neuron.threshold for spec in start.network.populations[:-1]]
    config = replace(plain, method="shift", epochs=0)
    fitted = train_relu(config, data(), start=start).network
    found = [float(fitted.activation_of(spec.name).threshold.detach()) for spec in start.network.populations[:-1]]
    assert all(one < 0.9 * other for one, other in zip(found, largest, strict=True))
    again = convert(train_relu(config, data(), start=start), config)
    kept = train_relu(config, data(), start=again).network
    assert [float(kept.activation_of(spec.name).threshold.detach()) for spec in start.network.populations[:-1]] == found


def test_an_image_alone_in_its_batch_has_no_other_for_cutmix() -> None:
    with pytest.raises(UserError, match="batch is 1, expected 2 or above with cutmix"):
        ReluConfig(network="36-3", cutmix=0.5, batch=1)


def test_a_teacher_answers_with_the_activations_that_it_was_trained_with(trained: Trained) -> None:
    """Its thresholds are largest activations: with the four levels of the network it would answer something else."""
    plain = replace(CONFIG, method="plain", weight_bits=None)
    teacher = convert(train_relu(plain, data()), plain)
    run = relu_train._Run(replace(CONFIG, distil=0.5), data(), None, "cpu", None, [teacher])
    images = torch.from_numpy(data().images)
    answers = run._answers(images)
    assert answers is not None
    assert torch.allclose(answers, network_from(teacher, "plain", 1).eval()(images))
    assert not torch.allclose(answers, network_from(teacher, "shift", 4).eval()(images))


def test_several_teachers_answer_with_the_mean_of_their_probabilities(trained: Trained) -> None:
    plain = replace(CONFIG, method="plain", weight_bits=None, epochs=1)
    teachers = [convert(trained, CONFIG), convert(train_relu(plain, data()), plain)]
    images = torch.from_numpy(data().images[:40])
    apart = [_Run(replace(CONFIG, distil=0.5), data(), None, "cpu", None, [one])._answers(images) for one in teachers]
    together = _Run(replace(CONFIG, distil=0.5), data(), None, "cpu", None, teachers)._answers(images)
    assert together is not None
    mean = torch.stack([torch.softmax(one / TEMPERATURE, dim=1) for one in apart if one is not None]).mean(dim=0)
    assert torch.allclose(torch.softmax(together / TEMPERATURE, dim=1), mean, atol=1e-6)
    assert torch.allclose(torch.logsumexp(together / TEMPERATURE, dim=1), torch.zeros(40), atol=1e-5)


def test_a_mirrored_teacher_answers_alike_for_an_image_and_its_mirror_image(trained: Trained) -> None:
    teacher, images = convert(trained, CONFIG), torch.from_numpy(data().images[:40])
    assert _answers(teacher, images, mirror_teacher=True) == _answers(teacher, images.flip(3), mirror_teacher=True)
    assert _answers(teacher, images) != _answers(teacher, images.flip(3))
    assert _answers(teacher, images, mirror_teacher=True) != _answers(teacher, images)
    with pytest.raises(UserError, match="mirror_teacher is True, expected False without a teacher"):
        train_relu(replace(CONFIG, mirror_teacher=True), data())


def _answers(teacher: Checkpoint, images: torch.Tensor, **settings: bool) -> list[list[float]]:
    found = _Run(replace(CONFIG, distil=0.5, **settings), data(), None, "cpu", None, [teacher])._answers(images)
    assert found is not None
    return found.tolist()


def test_images_with_pieces_of_others_are_learnt_with_their_shares() -> None:
    config = replace(CONFIG, cutmix=1.0, epochs=1, recipe="dense", connectivity=None, weight_bits=None)
    run = relu_train._Run(config, data(), None, "cpu", None)
    for images, labels in relu_train.batches(run.images, run.labels, config, 0):
        assert labels.shape == (len(images), 3)
        assert torch.allclose(labels.sum(dim=1), torch.ones(len(images)))
        assert (labels.max(dim=1).values < 1).any()
    assert train_relu(config, data()).history[0]["loss"] > 0


def test_copies_are_made_once_and_seen_in_turn(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = convert(trained, CONFIG)
    asked: list[int] = []
    seen: list[list[bytes]] = [[]]
    forward = ReluNetwork.forward

    def watched(self: ReluNetwork, images: torch.Tensor, *more: bool) -> torch.Tensor:
        if self.training:
            seen[-1] += [image.numpy().tobytes() for image in images]
        elif not torch.is_grad_enabled() and images.shape[0] == CONFIG.batch:
            asked.append(len(images))
        return forward(self, images, *more)

    monkeypatch.setattr(ReluNetwork, "forward", watched)
    config = replace(CONFIG, shift=1, rotation=10.0, copies=2, distil=0.5, held_out=19, images=120)
    found = train_relu(config, data(), teachers=[teacher], on_epoch=lambda row: seen.append([]))
    assert len(asked) == 2 * 6, "the teacher answers for each copy once"
    epochs = [set(one) for one in seen[:5]]
    assert epochs[0] == epochs[2] == epochs[4]
    assert epochs[1] == epochs[3]
    assert not epochs[0] & epochs[1]
    assert seen[0] != seen[2], "each epoch has its own order"
    monkeypatch.undo()
    assert train_relu(replace(config, copies=5), data(), teachers=[teacher]).history != found.history


def test_answers_for_a_copy_are_those_for_its_images(trained: Trained) -> None:
    teacher = convert(trained, CONFIG)
    run = _Run(replace(CONFIG, copies=1, distil=0.5), data(), None, "cpu", None, [teacher])
    for images, labels, taught in run._drawn(3):
        assert taught is not None
        assert torch.allclose(taught, run.teachers[0](images))
        bright = images.float().mean(dim=(1, 3)).unflatten(1, (3, 2)).mean(dim=2).argmax(dim=1)
        assert torch.equal(bright, labels)


@pytest.mark.parametrize(("taught_by", "mirror"), [(0, False), (1, False), (1, True)])
def test_copies_are_mirrored_anew_where_the_answers_stay_right(trained: Trained, taught_by: int, mirror: bool) -> None:
    """In each epoch an image of a copy is as it was made, or its mirror image if no teacher answers differently."""
    config = replace(CONFIG, copies=1, distil=0.5 * taught_by, flip=True, mirror_teacher=mirror)
    run = _Run(config, data(), None, "cpu", None, [convert(trained, CONFIG)] * taught_by)
    list(run._drawn(0))
    made = {image.numpy().tobytes() for image in run.copies[0][0]}
    for epoch in (1, 2, 3):
        turned = epoch != 2 and (mirror or not taught_by)
        for images, _, taught in run._drawn(epoch):
            as_made = images.flip(3) if turned else images
            assert all(image.numpy().tobytes() in made for image in as_made)
            answers = run._answers(images)
            assert (taught is None) == (answers is None) == (taught_by == 0)
            if taught is not None:
                assert torch.allclose(taught, answers, atol=1e-5)


@pytest.mark.parametrize(("count", "batch"), [(100, 64), (61, 20)])
def test_copies_have_all_images_also_those_that_no_whole_batch_has(count: int, batch: int) -> None:
    config = replace(CONFIG, copies=1, batch=batch, cutmix=0.0, held_out=20)
    run = _Run(config, data(20 + count), None, "cpu", None)
    seen: set[bytes] = set()
    for epoch in range(8):
        drawn = [images for images, *_ in run._drawn(epoch)]
        assert [len(images) for images in drawn] == [batch] * run.per_epoch
        seen |= {image.numpy().tobytes() for images in drawn for image in images}
    assert seen == {image.numpy().tobytes() for image in run.images}


def test_each_pass_over_several_copies_mirrors_them(trained: Trained) -> None:
    """Each copy is seen from both sides, also where as many copies as two are seen in turn."""
    run = _Run(replace(CONFIG, copies=2, flip=True), data(), None, "cpu", None)
    seen = [{image.numpy().tobytes() for images, *_ in run._drawn(epoch) for image in images} for epoch in range(6)]
    for number in (0, 1):
        assert seen[number] == seen[number + 4] != seen[number + 2]
        assert seen[number + 2] == {image.flip(2).numpy().tobytes() for image in run.copies[number][0]}


def test_all_images_are_mirrored_every_other_epoch() -> None:
    config = replace(CONFIG, flip=True)
    run = _Run(config, data(), None, "cpu", None)
    seen = [
        {
            image.numpy().tobytes()
            for images, _ in relu_train.batches(run.images, run.labels, config, epoch)
            for image in images
        }
        for epoch in range(3)
    ]
    images = {image.numpy().tobytes() for image in run.images}
    assert len(seen[0] | seen[1]) == 2 * len(images)
    assert 30 < len(seen[0] & images) < len(images) - 30
    assert seen[0] == seen[2]


@pytest.mark.parametrize("changes", [{"shift": 3}, {"shift": 3, "rotation": 5.0}])
def test_images_that_are_moved_have_the_border_that_is_asked_for(changes: dict[str, Any]) -> None:
    config = replace(CONFIG, **changes)
    run = _Run(config, data(), None, "cpu", None)
    black, found = (
        next(relu_train.batches(run.images, run.labels, one, 0))[0]
        for one in (config, replace(config, border="mirrored"))
    )
    assert (black == 0).sum() > 100 > (found == 0).sum()


def test_without_momentum_there_is_none_of_nesterov() -> None:
    found = train_relu(
        replace(CONFIG, momentum=0.0, epochs=2, recipe="dense", connectivity=None, weight_bits=None), data()
    )
    assert found.history[1]["loss"] < found.history[0]["loss"]


@pytest.mark.parametrize("changes", [{"rewire": 0.0, "weight_bits": 4}, {"weight_bits": None}])
def test_weights_that_overflow_end_a_training_before_its_state_is_kept(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The loss of a normalised network is finite all the while."""
    config = replace(
        CONFIG, recipe="dense", connectivity=None, batch=120, epochs=12, lr=1e6, weight_decay=1.0, **changes
    )
    with pytest.raises(
        UserError, match=r"running_var is not finite, expected a finite number: training diverged in epoch 5;"
    ):
        train_relu(config, data(), tmp_path)
    state = tmp_path / relu_train.RESUME_FILE
    if state.exists():
        kept = torch.load(state, weights_only=True)["state"]["network"]
        assert all(value.isfinite().all() for value in kept.values())


def test_no_network_is_judged_by_images_that_it_was_trained_on(trained: Trained) -> None:
    start = convert(trained, CONFIG)
    assert start.made_from["unseen"] == 20
    config = replace(CONFIG, epochs=0, recipe="dense", connectivity=None, weight_bits=None)
    train_relu(replace(config, held_out=20), data(), start=start)
    told = "held_out is 21, expected at most 20: the network to start from was trained on the images before"
    with pytest.raises(UserError, match=told):
        train_relu(replace(config, held_out=21), data(), start=start)
    train_relu(replace(config, held_out=21), data(seed=1), start=start)  # other images
    again = convert(train_relu(replace(config, held_out=10), data(), start=start), config)
    with pytest.raises(UserError, match="held_out is 11, expected at most 10"):
        train_relu(replace(config, held_out=11), data(), start=again)
    few = train_relu(replace(CONFIG, images=60), data())
    assert few.made_from["unseen"] == 80


def test_no_more_images_than_there_are() -> None:
    with pytest.raises(UserError, match="images is 121, expected 1 to 120, the training images that are not held out"):
        train_relu(replace(CONFIG, held_out=20, images=121), data())


def test_what_is_distilled_is_the_divergence_from_the_teacher() -> None:
    rng = torch.Generator().manual_seed(0)
    outputs, taught = torch.randn((2, 4, 3), generator=rng)
    labels = torch.tensor([0, 1, 2, 0])
    config = replace(CONFIG, smoothing=0.0)
    own = functional.cross_entropy(outputs, labels)
    assert distilled(outputs, labels, None, config) == own
    p, q = torch.softmax(taught / 3, 1), torch.softmax(outputs / 3, 1)
    divergence = (p * (p / q).log()).sum(1).mean()
    expected = 0.25 * own + 0.75 * 9 * divergence
    assert float(distilled(outputs, labels, taught, replace(config, distil=0.75))) == pytest.approx(float(expected))
    assert float(distilled(taught, labels, taught, replace(config, distil=1.0))) == pytest.approx(0, abs=1e-6)


def test_the_learning_rate_rises_and_falls_once() -> None:
    rates = [one_cycle(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[25] == 1
    assert rates[100] == pytest.approx(0)
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)


def test_thresholds_of_the_rate_norm_are_trained_in_a_second_stage() -> None:
    config = replace(CONFIG, method="rate-norm", weight_bits=None, threshold_epochs=1)
    rows: list[dict] = []
    found = train_relu(config, data(), on_epoch=rows.append)
    activation = found.network.activation_of("layer0")
    assert activation.log_odds is not None
    assert 2.0 < activation.log_odds.item() < 3.0
    assert activation.threshold.item() < activation.largest.item()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(0 <= row["validation"] <= 1 for row in rows)
    outputs = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert float(rate_inference_loss(outputs, 2 * outputs, [torch.zeros(2, 3)])) == pytest.approx(0)
    loss = rate_inference_loss(outputs, -outputs, [torch.full((2, 4), 0.5)])
    assert float(loss) == pytest.approx(2 + 0.1 * 2.0, rel=1e-3)


def sums() -> Graph:
    """A population that hears pixels and another, and a read-out of both."""
    conv = ConvSpec(4)
    heard = {"a": ("image",), "b": ("image", "a")}
    populations = [
        PopulationSpec(name, tuple(ConnectionSpec((one,), conv) for one in sources), INTEGRATES, batch_norm=True)
        for name, sources in heard.items()
    ]
    read = PopulationSpec("output", tuple(ConnectionSpec((one,), DenseSpec(3)) for one in "ab"), READS, bias=True)
    parts = (InputSpec("image", (1, 6, 6)),)
    return Graph("sums", parts, (*populations, read), ReadoutSpec("output", "membrane"), 3)


def test_spikes_and_pixels_are_added_at_every_step() -> None:
    config = replace(CONFIG, network=sums(), recipe="dense", connectivity=None, epochs=1, tune=1, steps=3)
    found = train_relu(config, data())
    assert len(found.history) == 2
    images = torch.from_numpy(data().images[:5])
    alone = torch.cat([found.network.spiking(image[None], 3) for image in images])
    torch.testing.assert_close(found.network.spiking(images, 3), alone)


@pytest.mark.parametrize("method", ["plain", "rate-norm"])
def test_weights_are_as_large_where_thresholds_follow_the_images(method: str) -> None:
    """They are rounded from the first batch on, before any image has been seen."""
    whole = replace(CONFIG, network=sums(), method=method, recipe="dense", connectivity=None, epochs=1, rewire=0.0)
    rounded, plain = (train_relu(replace(whole, weight_bits=bits), data()).network for bits in (8, None))
    for (_, ours, _), (_, theirs, _) in zip(rounded.weighted, plain.weighted, strict=True):
        assert 0.7 < float((ours.weight.norm() / theirs.weight.norm()).detach()) < 1.4
