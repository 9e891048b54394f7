"""A network that only teaches: its training, its file, and what a network learns from it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gradrtl import archive
from gradrtl.errors import UserError
from gradrtl.model import relu_train, teacher_train
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import Dataset
from gradrtl.model.float_teacher import KIND, LOGITS, FloatTeacher, TeacherNetwork
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.teacher_config import TeacherConfig
from gradrtl.model.teacher_train import DRAWN_EVERY, STATE, accuracies, begin, draw_together, train_teacher, triangle

SMALL = TeacherConfig(widths="4-6-8", epochs=3, batch=20, lr=0.2, held_out=20, shift=1, flip=True)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def images(count: int = 200, side: int = 9, channels: int = 2) -> Dataset:
    """Noise, brighter in a half that the class tells."""
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, count).astype(np.uint8)
    pixels = generator.integers(0, 120, (count, channels, side, side))
    for image, label in zip(pixels, labels, strict=True):
        image[:, label * side // 2 : label * side // 2 + side // 2] += 100
    return Dataset(pixels.astype(np.uint8), labels)


@pytest.fixture(scope="module")
def trained() -> FloatTeacher:
    torch.set_num_threads(1)
    return train_teacher(SMALL, images(), command="gradrtl teacher")


def test_it_learns(trained):
    assert [row["epoch"] for row in trained.history] == [1, 2, 3]
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    assert trained.history[-1]["validation"] >= 0.9
    assert trained.made_from["data"] == images().digest


def test_the_first_kernels_make_components_equally_large():
    some = torch.from_numpy(images(300).images)
    network = TeacherNetwork((2, 9, 9), 2, (4, 6, 8))
    begin(network, some)
    pixels = (some.float() / 255 - network.mean) / network.deviation
    assert pixels.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert (pixels.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3
    found = network.patches(pixels).transpose(0, 1).flatten(1)
    assert (found[:8] + found[8:]).abs().max() < 1e-5
    covariance = torch.cov(found[:8])
    assert (covariance - torch.eye(8)).abs().max() < 0.05
    assert not network.patches.weight.requires_grad


def test_no_more_images_than_there_are():
    with pytest.raises(UserError, match="images is 181, expected 1 to 180, the training images that are not held out"):
        train_teacher(replace(SMALL, images=181), images())


def test_a_constant_channel_is_no_division_by_zero():
    some = images()
    some.images[:, 1] = 7
    made = train_teacher(replace(SMALL, epochs=1), some)
    assert all(np.isfinite(array).all() for array in made.arrays.values())


def test_convolutions_begin_as_the_identity():
    network = TeacherNetwork((2, 9, 9), 2, (16, 20, 8))
    weight = network.groups[0][0].weight
    assert torch.equal(weight[:16, :, 1, 1], torch.eye(16))
    assert network.groups[0][2].weight.requires_grad is False
    assert not torch.equal(network.groups[2][0].weight[:8, :8, 1, 1], torch.eye(8)), "fewer maps than before"


def test_the_rate_rises_and_falls_in_straight_lines():
    rates = [triangle(step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == pytest.approx(1) == rates[230]
    assert rates[1000] == pytest.approx(0.07)
    assert rates[115] == pytest.approx(0.6)
    assert rates[615] == pytest.approx((1 + 0.07) / 2)


def test_weights_are_drawn_to_their_mean():
    values, mean = {"a": torch.tensor([4.0])}, {"a": torch.tensor([0.0])}
    draw_together(values, mean, 0.25)
    assert mean["a"].item() == values["a"].item() == 3.0
    assert values["a"] is not mean["a"]


def test_the_weights_are_drawn_every_few_steps(monkeypatch):
    decays = []
    monkeypatch.setattr(teacher_train, "draw_together", lambda values, mean, decay: decays.append(decay))
    train_teacher(replace(SMALL, epochs=5), images(100))  # 4 steps in an epoch
    assert decays == pytest.approx([0.95**DRAWN_EVERY * (step / 20) ** 3 for step in (5, 10, 15, 20)])


def test_biases_of_the_patches_are_trained_at_first_alone(monkeypatch):
    kept = []
    monkeypatch.setattr(
        teacher_train, "accuracies", lambda network, *_: kept.append(network.patches.bias.detach().clone()) or (0, 0)
    )
    train_teacher(replace(SMALL, epochs=5), images())
    changes = [float((after - before).abs().max()) for before, after in itertools.pairwise(kept)]
    assert min(changes[:2]) > 0
    assert max(changes[3:]) == 0


def test_biases_learn_faster_and_decay_as_much(trained):
    network = trained.network
    network.patches.weight.requires_grad_(False)
    biases, weights = teacher_train._optimizer(network, SMALL).param_groups
    assert biases["largest"] == 64 * weights["largest"] == 64 * SMALL.lr
    assert biases["weight_decay"] * biases["largest"] == pytest.approx(weights["weight_decay"] * weights["largest"])
    assert all(parameter.dim() == 1 for parameter in biases["params"])
    assert network.patches.weight not in set(weights["params"])


def test_mirrored_accuracy_is_that_of_the_mean_over_both_images():
    class Left(nn.Module):
        def forward(self, some):
            return torch.stack([some[:, 0, 0, 0].float(), torch.full((len(some),), 3.0)], dim=1)

    pixels = np.zeros((3, 1, 9, 9), np.uint8)
    pixels[0, 0, 0, 0], pixels[0, 0, 0, 8] = 2, 5  # 2 against 3; with its mirror image 7 against 6
    pixels[1, 0, 0, 0] = 4
    pixels[2, 0, 0, 8] = 7
    found = accuracies(Left(), Dataset(pixels, np.array([0, 0, 0], np.uint8)), torch.device("cpu"))
    assert found == (1 / 3, 2 / 3)


def test_channels_are_normalised():
    network = TeacherNetwork((2, 9, 9), 2, (4, 6, 8)).eval()
    some = torch.from_numpy(images(4).images)
    with torch.no_grad():
        before = network(some)
        network.mean.fill_(0.5)
        network.deviation.fill_(0.5)
        network.patches.weight *= 0.5
        network.patches.bias += network.patches.weight.sum(dim=(1, 2, 3))
        assert torch.allclose(network(some), before, atol=1e-5)


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path, trained):
    class Interrupted(Exception):
        pass

    def interrupt(row):
        if row["epoch"] == 2:
            raise Interrupted

    for _ in range(2):
        with pytest.raises(Interrupted):
            train_teacher(SMALL, images(), tmp_path, interrupt)
        assert torch.load(tmp_path / teacher_train.RESUME_FILE, weights_only=True)["state"].keys() == set(STATE)
    resumed = []
    made = train_teacher(SMALL, images(), tmp_path, on_resume=resumed.append)
    assert resumed == [1]
    assert made.history == trained.history
    assert made.function_digest == trained.function_digest


@pytest.mark.parametrize("fault", ["rows", "fields", "more rows", "mean"])
def test_a_damaged_state_is_refused(tmp_path, fault):
    train_teacher(replace(SMALL, epochs=2), images(), tmp_path)
    path = tmp_path / teacher_train.RESUME_FILE
    kept = torch.load(path, weights_only=True)
    if fault == "mean":
        kept["state"]["mean"]["mean"] = torch.zeros(())
    else:
        rows = kept["state"]["history"]
        kept["state"]["history"] = {"rows": [1, 2], "fields": [{}], "more rows": rows + rows}[fault]
    torch.save(kept, path)
    with pytest.raises(
        UserError, match=r"teacher.pt(: its state does not fit this run| epochs is 4, expected at most 2)"
    ):
        train_teacher(replace(SMALL, epochs=2), images(), tmp_path)


def test_several_processes_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="processes is 2, expected 1: a teacher is trained in one"):
        train_teacher(SMALL, images(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_state_of_another_run_is_refused(tmp_path):
    train_teacher(replace(SMALL, epochs=1), images(), tmp_path)
    with pytest.raises(UserError, match="epochs is 1, expected 2"):
        train_teacher(replace(SMALL, epochs=2), images(), tmp_path)


@pytest.mark.parametrize("changes", [{"cutmix": 0.5}, {"precision": "bfloat16"}, {"rotation": 5.0}, {"images": 40}])
def test_other_ways_to_train_give_other_networks(trained, changes):
    made = train_teacher(replace(SMALL, **changes), images())
    assert made.function_digest != trained.function_digest
    assert np.isfinite(made.history[-1]["loss"])


@pytest.mark.parametrize(
    ("config", "data", "expected"),
    [
        (SMALL, images(side=8), r"image shape is \(2, 8, 8\), expected 9 pixels or more a side"),
        (replace(SMALL, batch=181), images(), "batch is 181, expected at most the 180 training images"),
        (replace(SMALL, lr=1e6), images(), "loss is .*expected a finite number: training diverged in epoch 1"),
        (
            replace(SMALL, widths="2048-2048-2048"),
            images(),
            "widths is 2048-2048-2048, expected such that weights take",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(config, data, expected):
    with pytest.raises(UserError, match=expected):
        train_teacher(config, data)


def test_statistics_that_overflow_end_a_training_before_its_state_is_kept(tmp_path, monkeypatch):
    def overflow(values, mean, decay):
        values["groups.0.2.running_var"].fill_(np.inf)  # batches are normalised by their own

    monkeypatch.setattr(teacher_train, "draw_together", overflow)
    with pytest.raises(
        UserError, match=r"running_var is not finite, expected a finite number: training diverged in epoch 1"
    ):
        train_teacher(SMALL, images(), tmp_path)
    assert not (tmp_path / teacher_train.RESUME_FILE).exists()


@pytest.mark.parametrize("widths", ["64-256", "64-256-256-1", "0-1-1", "2049-1-1", "a-b-c", "-1-2-3", "١-1-1"])
def test_widths_are_three_numbers(widths):
    with pytest.raises(UserError, match=r"widths is .*, expected 3 numbers of 1 to 2048, such as 64-256-256"):
        TeacherConfig(widths=widths)


def test_a_file_is_read_as_it_was_written(tmp_path, trained):
    digest = trained.save(tmp_path / "teacher.npz")
    found = FloatTeacher.load(tmp_path / "teacher.npz")
    assert found.save(tmp_path / "again.npz") == digest
    assert (found.origin, found.history) == (trained.origin, trained.history)
    some = torch.from_numpy(images(10).images)
    with torch.no_grad():
        assert torch.equal(found.network(some), trained.network(some))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"classes": 3}, r"output.weight shape is \(2, 8\), expected \(3, 8\)"),
        ({"classes": 0}, "classes is 0"),
        ({"input_shape": [2, 9]}, r"input_shape is \(2, 9\), expected \(channels, height, width\)"),
        ({"input_shape": [2, 9, 8]}, "expected 9 pixels or more a side"),
        ({"config": {**SMALL.to_json(), "widths": "4-6-9"}}, "shape is"),
        ({"config": {**SMALL.to_json(), "widths": 5}}, "config: widths is 5"),
        ({"config": {**SMALL.to_json(), "lr": -1}}, "config: lr is -1"),
        ({"config": {"widths": "4-6-8"}}, "config: config is incomplete: epochs is missing"),
        ({"config": {**SMALL.to_json(), "colour": 1}}, "config: config field is .*colour"),
        ({"config": []}, "config"),
        ({"more": 1}, "more"),
        ({"command": 5}, "command is 5, expected a str"),
        ({"command": "a" * 70000}, "command is 70000, expected 65536 characters"),
        ({"history": "abc"}, "history is abc, expected a list"),
        ({"history": [1]}, "history is .*, expected dicts"),
        ({"made_from": None}, "made_from is None, expected a dict"),
    ],
)
def test_a_file_with_another_header_is_refused(tmp_path, trained, changes, expected):
    names = ("input_shape", "classes", "config", "history", "command", "made_from")
    header = {name: getattr(trained, name) for name in names} | changes
    archive.save(tmp_path / "teacher.npz", KIND, header, trained.arrays)
    with pytest.raises(UserError, match=expected) as refused:
        FloatTeacher.load(tmp_path / "teacher.npz")
    assert "\n" not in str(refused.value)


def test_an_older_file_is_read_as_it_was_trained(tmp_path, trained):
    """Each field that is added needs a value for files without it: those of the first version had these."""
    first = (
        "widths", "epochs", "batch", "lr", "weight_decay", "smoothing", "shift", "rotation", "scaling", "elastic",
        "flip", "cutout", "cutmix", "precision", "images", "held_out", "seed",
    )  # fmt: skip
    older = {name: trained.config[name] for name in first}
    replace(trained, config=older).save(tmp_path / "teacher.npz")
    found = FloatTeacher.load(tmp_path / "teacher.npz")
    assert found.config == trained.config | {"border": "black"}
    assert (trained.config["border"], found.function_digest) == ("mirrored", trained.function_digest)


@pytest.mark.parametrize("fault", ["missing", "another", "float64", "infinite", "deviation", "variance"])
def test_a_file_with_other_arrays_is_refused(tmp_path, trained, fault):
    arrays = dict(trained.arrays)
    if fault == "missing":
        del arrays["mean"]
    elif fault == "another":
        arrays["more"] = arrays["mean"]
    elif fault == "float64":
        arrays["mean"] = arrays["mean"].astype(np.float64)
    elif fault == "infinite":
        arrays["mean"] = arrays["mean"] + np.float32(np.inf)
    elif fault == "deviation":
        arrays["deviation"] = arrays["deviation"] * np.array([1, 0], np.float32)[:, None, None]
    else:
        arrays["groups.0.2.running_var"] = -arrays["groups.0.2.running_var"]
    names = ("input_shape", "classes", "config", "history", "command", "made_from")
    archive.save(tmp_path / "teacher.npz", KIND, {name: getattr(trained, name) for name in names}, arrays)
    told = {
        "missing": "arrays is",
        "another": "arrays is",
        "float64": "mean dtype is float64",
        "infinite": "mean is not finite",
        "deviation": r"deviation is 0\.0, expected above 0",
        "variance": r"groups.0.2.running_var is -.*, expected 0 or above",
    }
    with pytest.raises(UserError, match=f"teacher file .*: {told[fault]}"):
        FloatTeacher.load(tmp_path / "teacher.npz")


def test_a_network_learns_what_it_answers(trained):
    config = ReluConfig(
        network="4C3-AP2-2", epochs=1, batch=20, held_out=20, distil=1.0, mirror_teacher=True, smoothing=0.0
    )
    made = relu_train._Run(config, images(), None, "cpu", None, [trained])
    some = torch.from_numpy(images(10).images)
    answers = made._answers(some)
    with torch.no_grad():
        one, other = (trained.network(each) for each in (some, some.flip(3)))
    mean = (torch.softmax(one / 3, dim=1) + torch.softmax(other / 3, dim=1)) / 2
    assert torch.allclose(torch.softmax(answers / 3, dim=1), mean, atol=1e-6)
    found = relu_train.train_relu(config, images(), teachers=[trained])
    assert found.made_from["teachers"] == [trained.origin]
    assert float(one.abs().max()) < 100 / LOGITS


def test_a_teacher_of_other_images_is_refused(trained):
    config = ReluConfig(network="4C3-AP2-2", epochs=1, batch=20, held_out=20, distil=0.5)
    with pytest.raises(UserError, match=r"image shape of the teacher is \(2, 9, 9\), expected \(2, 10, 10\)"):
        relu_train.train_relu(config, images(side=10), teachers=[trained])


def test_a_teacher_is_no_checkpoint(tmp_path: Path, trained):
    trained.save(tmp_path / "teacher.npz")
    with pytest.raises(UserError, match=r"teacher.npz: .*checkpoint"):
        Checkpoint.load(tmp_path / "teacher.npz")
