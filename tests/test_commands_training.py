"""`gradrtl train` and `gradrtl quantize` on data and networks of one's own; what is wrong is told before training."""

from __future__ import annotations

import json
import shlex
import struct
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import gradrtl

from gradrtl import cli
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.quantize.config import QatConfig
from gradrtl.quantize.network import QuantizedNetwork

SMALL = ["--layers", "30-8-4", "--batch", "20", "--connectivity", "0.5"]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write(folder: Path, shape: tuple[int, ...] = (5, 6), classes: int = 4, images: int = 100, only: int = 0) -> Path:
    """A folder of IDX files; `only`: a class that the test set alone has."""
    folder.mkdir()
    rng = np.random.default_rng(classes)
    for part, count in (("train", images), ("t10k", 30)):
        labels = (np.arange(count) % classes).astype(np.uint8)
        if only and part == "t10k":
            labels[3] = only
        header = struct.pack(f">{2 + len(shape)}I", 0x0801 + len(shape), count, *shape)
        pixels = rng.integers(0, 256, (count, *shape), np.uint8).tobytes()
        (folder / f"{part}-images-idx{1 + len(shape)}-ubyte").write_bytes(header + pixels)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels.tobytes())
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "own")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "out"
    gradrtl("train", *SMALL, "--data", data, "--epochs", 2, "--out", out)
    return out


def test_few_images_of_another_size_and_number_of_classes(trained: Path) -> None:
    made = Checkpoint.load(trained / "checkpoint.npz")
    assert (made.network.input_shape, made.network.classes) == ((1, 5, 6), 4)
    assert (made.config["network"], made.config["held_out"]) == ("30-8-4", 10)


def test_a_complete_folder_is_said_to_be(data: Path, trained: Path) -> None:
    before = Checkpoint.load(trained / "checkpoint.npz")
    found = gradrtl("train", *SMALL, "--data", data, "--epochs", 2, "--out", trained)
    assert "already complete: 2 of 2 epochs" in found.stderr
    assert "loss" not in found.stderr
    assert gradrtl("train", *SMALL, "--data", data, "--epochs", 2, "--out", trained, "-q").output == ""
    after = Checkpoint.load(trained / "checkpoint.npz")
    assert all(np.array_equal(before.arrays[name], after.arrays[name]) for name in before.arrays)


def test_a_network_that_training_has_killed_gets_a_note(data: Path, tmp_path: Path) -> None:
    words = ("--data", data, "--epochs", 1, "--lr", 1e6, "--out", tmp_path)
    found = gradrtl("train", *SMALL, *words)
    note = "the network answers class 0 for 100.0 % of 30 images, the label of 26.7 %"
    assert f"note: {note}\n" in found.stdout
    assert json.loads(gradrtl("train", *SMALL, *words, "--json").stdout)["notes"] == [note]


def test_another_data_set_in_the_same_folder_is_refused(data: Path, trained: Path, tmp_path: Path) -> None:
    """Same images, other labels."""
    other = tmp_path / "other"
    other.mkdir()
    for path in data.iterdir():
        content = path.read_bytes()
        if "labels" in path.name:
            content = content[:8] + bytes(3 - label for label in content[8:])
        (other / path.name).write_bytes(content)
    found = gradrtl("train", *SMALL, "--data", other, "--epochs", 2, "--out", trained, code=2)
    assert f"{trained / 'resume.pt'} data is" in found.stderr
    assert "delete resume.pt, or choose another output" in found.stderr


def test_the_command_recorded_is_the_whole_command(data: Path, trained: Path, tmp_path: Path) -> None:
    command = Checkpoint.load(trained / "checkpoint.npz").command
    words = shlex.split(command)
    assert words[:2] == ["gradrtl", "train"]
    assert "already complete" in gradrtl(*words[1:]).stderr
    out = tmp_path / "a folder"
    gradrtl("train", *SMALL, "--data", data, "--epochs", 1, "--recipe", "magnitude", "--no-flip", "--out", out)
    recorded = Checkpoint.load(out / "checkpoint.npz").command
    given = "--layers 30-8-4 --recipe magnitude --connectivity 0.5 --epochs 1 --batch 20 --no-flip"
    assert recorded == f"gradrtl train {given} --data {data} --out '{out}'"


@pytest.mark.parametrize(("command", "config"), [("train", TrainConfig), ("quantize", QatConfig)])
def test_every_field_is_an_option(command: str, config: type) -> None:
    made = cli.main.get_command(None, command)  # type: ignore[arg-type]
    assert made is not None
    options = {parameter.name: parameter for parameter in made.params}
    assert {field.name for field in fields(config)} <= set(options)
    assert options["held_out"].opts == ["--held-out"]


def test_every_field_reaches_the_training(data: Path, tmp_path: Path) -> None:
    wanted = {
        "epochs": 2, "dense": 0.5, "rewire": 1.0, "constant": 0.5, "batch": 30, "lr": 0.002, "alpha": 0.02, "p": 0.9,
        "output_alpha": 0.2, "margin": 40.0, "hidden": 0.5, "spike_cost": 0.1, "spread": 0.5, "rotation": 3.0,
        "shift": 0.1, "precision": "bfloat16", "steps": 3, "images": 60, "held_out": 15, "seed": 5,
        "recipe": "gradr-quota", "connectivity": 0.4, "loss": "cross-entropy", "drop": 0.1, "jitter": 1, "lag": 2,
        "clip": 1.5, "sharpness": 2.0, "stretch": 0.1, "mask": 0.2, "smoothing": 0.1, "slope": 5.0, "anytime": 1.5,
    }  # fmt: skip
    options = [word for name, value in wanted.items() for word in (f"--{name.replace('_', '-')}", value)]
    gradrtl("train", "--layers", "30-8-4", "--flip", *options, "--data", data, "--out", tmp_path)
    made = Checkpoint.load(tmp_path / "checkpoint.npz")
    rest = {"network": "30-8-4", "flip": True, "held_out_group": None, "distil": 0.0, "surrogate": "atan"}
    assert made.config == wanted | rest
    assert made.network.steps == 3
    said = gradrtl("train", *SMALL, "--surrogate", "membrane", "--data", data, "--out", tmp_path / "other", code=2)
    assert "surrogate is membrane, expected atan for a chain of layers" in said.output


def test_a_teacher_is_named_and_kept(data: Path, trained: Path, tmp_path: Path) -> None:
    teacher = trained / "checkpoint.npz"
    words = ("train", *SMALL, "--epochs", 1, "--data", data, "--out", tmp_path, "--teacher", teacher)
    gradrtl(*words, "--distil", 0.5)
    made = Checkpoint.load(tmp_path / "checkpoint.npz")
    assert made.made_from["teacher"]["weights"] == Checkpoint.load(teacher).weights_digest
    assert made.origin["teacher"] == made.made_from["teacher"]
    assert "distil is 0.0, expected 0 without a teacher, above 0 with one" in gradrtl(*words, code=2).output


def test_a_graph_is_trained(data: Path, tmp_path: Path) -> None:
    line = ["train", "--layers", "6-R8c-4", "--epochs", 1, "--batch", 30, "--rewire", 1.0, "--connectivity", 0.5]
    line += ["--data", data, "--out"]
    gradrtl(*line, tmp_path)
    made = Checkpoint.load(tmp_path / "checkpoint.npz")
    assert (made.network.steps, len(made.weights)) == (5, 3)
    assert "already complete" in gradrtl(*line, tmp_path).output
    gradrtl(*line, tmp_path / "tuned", "--surrogate", "fast-sigmoid", "--slope", 2)
    tuned = Checkpoint.load(tmp_path / "tuned" / "checkpoint.npz")
    assert (tuned.config["surrogate"], tuned.config["slope"]) == ("fast-sigmoid", 2.0)
    assert tuned.weights_digest != made.weights_digest
    assert "loss is rate, expected cross-entropy" in gradrtl(*line, tmp_path / "other", "--loss", "rate", code=2).output


def test_a_graph_is_quantised(data: Path, tmp_path: Path) -> None:
    line = ["--layers", "6-R8c-4", "--epochs", 1, "--batch", 30, "--rewire", 1.0, "--connectivity", 0.5]
    gradrtl("train", *line, "--data", data, "--out", tmp_path)
    words = ("quantize", tmp_path / "checkpoint.npz", "--data", data, "-o", tmp_path / "network.npz")
    assert "8-bit weights, test accuracy" in gradrtl(*words).output
    made = QuantizedNetwork.load(tmp_path / "network.npz")
    assert (made.steps, made.inputs[0].kind, made.inputs[0].bits) == (5, "graded", 8)
    assert made.connected == sum(made.notes["synapses"]["kept"])
    assert made.notes["formats"]["decay_bits"] == 12
    assert [len(rates) for rates in made.rates or ()] == [6, 8, 8]
    assert made.notes["command"] == f"gradrtl quantize {tmp_path / 'checkpoint.npz'} --data {data}"
    gradrtl(*words, "--bits", 5, "--input-bits", 6, "--membrane-fraction", 2, "--decay-bits", 9)
    made = QuantizedNetwork.load(tmp_path / "network.npz")
    hidden = made.populations[0]
    assert (made.inputs[0].bits, hidden.inputs[1].weight_bits, hidden.neuron.fraction) == (6, 5, 2)
    assert hidden.neuron.shift == 9
    plain = made.notes["units"]
    gradrtl(*words, "--bits", 5, "--method", "search")
    assert QuantizedNetwork.load(tmp_path / "network.npz").notes["units"].keys() == plain.keys()
    for option, message in ((["--bits", 9], "weight_bits is 9, expected 2 to 8"),):
        assert message in gradrtl(*words, *option, code=2).output
    gradrtl(*words, "--bits", 4, "--method", "qat", "--epochs", 2, "--per-channel", "--connectivity", 0.5)
    made = QuantizedNetwork.load(tmp_path / "network.npz")
    assert made.connectivity <= 0.5
    assert (made.notes["qat"]["epochs"], made.notes["qat"]["loss"]) == (2, None)
    hidden, output = made.notes["units"].values()
    assert (len(hidden), type(output)) == (8, float)  # membranes are compared in one unit


def test_every_field_reaches_the_fine_tuning(data: Path, trained: Path, tmp_path: Path) -> None:
    wanted = {
        "epochs": 1, "lr": 0.002, "scale_lr": 0.003, "spike_cost": 0.1, "batch": 25, "rotation": 2.0, "shift": 0.1,
        "held_out": 8, "seed": 3, "drop": 0.1, "jitter": 1, "lag": 2, "stretch": 0.1, "mask": 0.2,
        "anytime": 0.0, "sharpness": 2.0, "smoothing": 0.1,
    }  # fmt: skip
    options = [word for name, value in wanted.items() for word in (f"--{name.replace('_', '-')}", value)]
    path = tmp_path / "network.npz"
    gradrtl("quantize", trained / "checkpoint.npz", "--flip", *options, "--data", data, "-o", path)
    notes = QuantizedNetwork.load(path).notes["qat"]
    assert {name: notes[name] for name in (*wanted, "flip")} == wanted | {"flip": True}
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.npz"], "the state is removed at the end"


def test_fine_tuning_is_as_trained_unless_told(data: Path, trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    gradrtl("quantize", trained / "checkpoint.npz", "--epochs", 0, "--data", data, "-o", path)
    notes = QuantizedNetwork.load(path).notes["qat"]
    assert (notes["batch"], notes["held_out"], notes["flip"]) == (20, 10, False)


def test_a_description_file(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    layers = [
        {"synapses": {"kind": "conv", "channels": 2}, "pool": {"size": 2}},
        {"synapses": {"kind": "dense", "outputs": 4}},
    ]
    path.write_text(json.dumps({"steps": 2, "layers": layers}))
    gradrtl("train", "--network", path, "--data", data, "--epochs", 1, "--batch", 20, "--out", tmp_path)
    made = Checkpoint.load(tmp_path / "checkpoint.npz")
    assert [layer.pool is not None for layer in made.network.layers] == [True, False]
    assert TrainConfig.from_json(made.config).network == made.network


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layers", "31-8-4"], "layers 31-8-4, input is 31, expected 30 first"),
        (["--layers", "30-8-3"], "classes in the training set is 4, expected at most 3"),
        (["--network", "mnist-mlp"], "image shape of the training set is (1, 5, 6), expected (1, 28, 28)"),
        (["--network", "mnist-mlp", "--layers", "30-4"], "layers is 30-4, expected not given beside --network"),
        (["--network", "missing.json"], "network description is missing.json, expected a JSON file"),
        (["--layers", "30-4", "--recipe", "gradr", "--connectivity", "0.1"], "connectivity is 0.1, expected None"),
        (["--layers", "30-4", "--epochs", "0"], "epochs is 0, expected 1 or above"),
        (["--layers", "30-4", "--steps", "70000"], "steps is 70000, expected 1 to 65535"),
        (["--layers", "30-4", "--held-out", "100"], "held_out is 100, expected 1 to 99, of 100 training images"),
        (["--layers", "30-4"], "batch is 128, expected at most the 90 training images"),
        (["--layers", "30-4", "--distil", "0.5", "--batch", "20"], "distil is 0.5, expected 0 without a teacher"),
        (["--layers", "30-4", "--anytime", "-1"], "anytime is -1.0, expected 0 or above, or None"),
        (["--layers", "30-4", "--spike-cost", "nan"], "spike_cost is nan, expected a number: 0 to 1000000"),
    ],
)
def test_what_is_refused_before_training(words: list[str], message: str, data: Path, tmp_path: Path) -> None:
    found = gradrtl("train", *words, "--data", data, "--out", tmp_path, code=2)
    assert message in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert not (tmp_path / "checkpoint.npz").exists()


def test_a_class_in_the_test_set_alone_is_refused_before_training(tmp_path: Path) -> None:
    data = write(tmp_path / "data", only=4)
    found = gradrtl("train", *SMALL, "--data", data, "--out", tmp_path / "out", code=2)
    assert found.stderr == "error: classes in the test set is 5, expected at most 4, those of the network\n"
    assert not (tmp_path / "out" / "resume.pt").exists()


def test_an_output_that_cannot_be_written_is_found_before_training(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = gradrtl("train", *SMALL, "--data", data, "--out", tmp_path / "file", code=2)
    assert "cannot be written" in found.stderr
    assert "epoch" not in found.stderr


def test_options_of_fine_tuning_belong_to_it(data: Path, trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    words = ("quantize", trained / "checkpoint.npz", "--data", data, "-o", path)
    found = gradrtl(*words, "--method", "weights", "--epochs", "3", code=2)
    assert "method is weights, expected qat, for epochs" in found.stderr
    found = gradrtl(*words, "--method", "weights", "--calibrate", "5", code=2)
    assert "calibrate is 5, expected not given: gradrtl convert has not written this" in found.stderr
    gradrtl(*words, "--method", "search")  # on what training was not validated on, few images as they are


def test_labels_outside_the_network_are_refused(trained: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "data", classes=5)
    found = gradrtl("quantize", trained / "checkpoint.npz", "--data", data, "-o", tmp_path / "n.npz", code=2)
    assert "classes in the test set is 5, expected at most 4" in found.stderr
