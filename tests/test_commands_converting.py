"""`gradrtl convert`: from a folder of images to a spiking checkpoint for `gradrtl quantize`; mistakes in a line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_commands_training import gradrtl, write
from torch import nn

from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import load, split
from gradrtl.model.held_out import usually_held_out
from gradrtl.model.relu import network_from
from gradrtl.model.relu_modules import of_module
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.steps.convert import ACCURACY, ERRORS, RATES, teacher_from
from gradrtl.steps.quantise import accuracy

SMALL = ("--layers", "4C3-AP2-4", "--batch", "20", "--steps", "3")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "own", shape=(6, 6))


@pytest.fixture(scope="module")
def converted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("convert") / "out"
    words = ("--epochs", 3, "--recipe", "magnitude", "--connectivity", 0.5, "--weight-bits", 4, "--data", data)
    result = gradrtl("convert", *SMALL, *words, "--out", out)
    assert "accuracy, %" in result.output
    assert "error of layer0" in result.output
    assert "connectivity" in result.output
    return out


def test_a_conversion_is_a_checkpoint_with_its_command_and_plots(converted: Path) -> None:
    made = Checkpoint.load(converted / "checkpoint.npz")
    assert made.command.startswith("gradrtl convert --layers 4C3-AP2-4 ")
    assert made.network.steps == 3
    assert made.figures["conversion"]["weight_bits"] == 4
    assert len(made.history) == 3
    for plot in (ACCURACY, ERRORS, RATES):
        assert "<svg" in (converted / plot).read_text()


def test_a_network_that_training_has_killed_gets_a_note(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", shape=(6, 6), images=400)
    words = ("--epochs", 2, "--lr", 100, "--data", folder, "--out", tmp_path / "out")
    found = gradrtl("convert", *SMALL, *words)
    (note,) = json.loads(gradrtl("convert", *SMALL, *words, "--json").stdout)["notes"]
    assert f"note: {note}\n" in found.stdout
    assert note.endswith("for 100.0 % of 40 images, the label of 25.0 %")


def test_it_is_quantised_without_loss_of_its_weights(converted: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "network.npz"
    gradrtl("quantize", converted / "checkpoint.npz", "--bits", 4, "--per-channel", "--data", data, "-o", output)
    integers, made = QuantizedNetwork.load(output), Checkpoint.load(converted / "checkpoint.npz")
    for population, weight in zip(integers.populations, made.weights, strict=True):
        assert ((population.inputs[0].synapses.weight == 0) == (weight == 0)).all()
    assert integers.steps == 3


def test_start_values_are_calibrated(converted: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "network.npz"
    words = ("--bits", 8, "--calibrate", 40, "--data", data, "-o", output)
    report = tmp_path / "report.html"
    result = gradrtl("quantize", converted / "checkpoint.npz", "--json", "--report", report, *words)
    assert "held-out accuracy, calibration" in report.read_text()
    told = json.loads(result.stdout)["calibration"]
    assert told["images"] == 40
    made = QuantizedNetwork.load(output)
    assert made.notes["calibration"] == {"images": 40, "start": 0.5}
    training, _ = load(data)
    assert told["after"] == accuracy(made, split(training, usually_held_out(len(training)))[1])
    line = f"held-out accuracy {100 * told['before']:.2f} -> {100 * told['after']:.2f} %"
    assert f"calibrated on 40 training images: {line}" in result.stderr
    refused = gradrtl("quantize", converted / "checkpoint.npz", "--method", "qat", *words, code=2)
    assert "method is qat, expected weights or search, beside --calibrate" in refused.stderr


def test_too_many_images_are_refused_before_quantising(
    converted: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradrtl.steps.quantise.quantise", None)
    words = ("--method", "search", "--calibrate", 91, "--data", data, "-o", tmp_path / "network.npz")
    refused = gradrtl("quantize", converted / "checkpoint.npz", *words, code=2)
    assert "calibrate is 91, expected 1 to 90, the images that were trained on" in refused.stderr


def test_figures_are_json_and_a_second_stage_starts_from_the_first(converted: Path, data: Path, tmp_path: Path) -> None:
    first = converted / "checkpoint.npz"
    words = ("--start", first, "--teacher", first, "--distil", 0.5, "--epochs", 0, "--rewire", 0, "--tune", 1)
    words = (*words, "--weight-bits", 4, "--longest", 11, "--data", data, "--out", tmp_path)
    words = (*words, "--teacher", first, "--mirror-teacher")
    result = gradrtl("convert", *SMALL, *words, "--json", "-q")
    found = json.loads(result.stdout)
    assert found["steps"] == [1, 2, 4, 8]
    assert len(found["accuracy"]) == 4
    assert set(found["errors"]) == {"layer0"}
    made, before = Checkpoint.load(tmp_path / "checkpoint.npz"), Checkpoint.load(first)
    assert found["connectivity"] <= before.census.connectivity
    assert made.origin["start"] == before.origin
    assert made.origin["teachers"] == [before.origin] * 2
    assert made.command.count(f"--teacher {first}") == 2


def test_training_goes_on_from_an_integer_network(converted: Path, data: Path, tmp_path: Path) -> None:
    integers = tmp_path / "network.npz"
    gradrtl("quantize", converted / "checkpoint.npz", "--bits", 4, "--per-channel", "--data", data, "-o", integers)
    words = ("--from", integers, "--rewire", 0, "--batch", 20, "--data", data, "--longest", 1)
    result = gradrtl("convert", *words, "--epochs", 0, "--out", tmp_path / "kept", "--json")
    kept = Checkpoint.load(tmp_path / "kept/checkpoint.npz")
    told = f"starts from {integers}, held-out accuracy {100 * kept.figures['validation']:.2f} %"
    assert told in result.output
    assert [spec.batch_norm for spec in kept.network.populations] == [True, False]
    words = (*words, "--layers", "4C3-AP2-4", "--weight-bits", 4)
    gradrtl("convert", *words, "--epochs", 1, "--out", tmp_path / "further")
    further = Checkpoint.load(tmp_path / "further/checkpoint.npz")
    for ours, given in zip(further.weights, kept.weights, strict=True):
        assert not (ours[given == 0] != 0).any()


def test_an_integer_network_teaches_what_its_checkpoint_does(converted: Path, data: Path, tmp_path: Path) -> None:
    before, integers = Checkpoint.load(converted / "checkpoint.npz"), tmp_path / "network.npz"
    gradrtl("quantize", converted / "checkpoint.npz", "--bits", 8, "--per-channel", "--data", data, "-o", integers)
    teacher = teacher_from(integers)
    assert teacher.conversion == ("shift", before.network.steps)
    images = torch.from_numpy(load(data)[0].images[:50])
    answers, wanted = (network_from(one, *teacher.conversion).eval()(images) for one in (teacher, before))
    assert (answers - wanted).abs().max() < 0.02 * wanted.abs().max()
    words = ("--teacher", integers, "--distil", 0.5, "--epochs", 1, "--longest", 1, "--data", data, "--out", tmp_path)
    gradrtl("convert", "--layers", "36-8-4", "--batch", 20, *words)
    assert Checkpoint.load(tmp_path / "checkpoint.npz").origin["teachers"] == [teacher.origin]
    without = tmp_path / "without.npz"
    replace(QuantizedNetwork.load(integers), notes={}).save(without)
    with pytest.raises(UserError, match=f"teacher {without}: read-out is without what its sums are worth, expected"):
        teacher_from(without)


def test_epochs_of_all_stages_are_told_where_a_run_goes_on(data: Path, tmp_path: Path) -> None:
    words = ("--layers", "4C3-AP2-4", "--method", "rate-norm", "--epochs", 1, "--threshold-epochs", 1, "--batch", 20)
    words = (*words, "--longest", 1, "--data", data, "--out", tmp_path)
    gradrtl("convert", *words)
    assert "resumes after epoch 2 of 2" in gradrtl("convert", *words).stderr
    assert gradrtl("convert", *words, "--quiet").stderr == ""


def relu_module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 4)
    ).eval()  # fmt: skip


def test_a_state_dict_is_converted_without_training(data: Path, tmp_path: Path) -> None:
    torch.save(relu_module().state_dict(), tmp_path / "weights.pt")
    words = ("--from", tmp_path / "weights.pt", "--layers", "4C3-AP2-4", "--method", "plain", "--data", data)
    result = gradrtl("convert", *words, "--out", tmp_path / "out", "--json", "-q")
    made = Checkpoint.load(tmp_path / "out/checkpoint.npz")
    figures = json.loads(result.stdout)
    held_out = split(load(data)[0])[1]
    with torch.no_grad():
        classes = relu_module()(torch.from_numpy(held_out.images).float() / 255).numpy().argmax(axis=1)
    assert figures["activations_accuracy"] == float((classes == held_out.labels).mean())
    assert made.history == []
    (hidden, _) = made.network.populations
    assert (hidden.neuron.threshold, hidden.batch_norm) != (1.0, True)


def test_a_module_goes_on_training_from_its_checkpoint(data: Path, tmp_path: Path) -> None:
    of_module(relu_module(), (1, 6, 6)).save(tmp_path / "module.npz")
    words = ("--from", tmp_path / "module.npz", "--epochs", 1, "--batch", 20, "--data", data)
    result = gradrtl("convert", *words, "--out", tmp_path / "out")
    assert f"starts from {tmp_path / 'module.npz'}, held-out accuracy" in result.output
    assert len(Checkpoint.load(tmp_path / "out/checkpoint.npz").history) == 1
    again = gradrtl("convert", *words, "--out", tmp_path / "out")
    assert "resumes after epoch 1 of 1" in again.output
    other = gradrtl("convert", *words[2:], "--layers", "4C3-AP2-4", "--out", tmp_path / "out", code=2)
    assert "expected" in other.output


def test_a_nir_file_of_neurons_that_integrate_and_fire(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    import nir_files

    rng = np.random.default_rng(0)
    first, last = rng.normal(0, 0.3, (8, 36)), rng.normal(0, 0.5, (4, 8))

    nodes = {
        "image": nir_files.given(36), "a": nir_files.node("Linear", weight=first),
        "if": nir_files.integrate(np.full(8, 2.0)), "b": nir_files.node("Linear", weight=last),
        "last": nir_files.integrate(np.full(4, 1.0)), "out": nir_files.taken(4),
    }  # fmt: skip
    path = nir_files.write(tmp_path / "if.nir", nir_files.graph(nodes, "image -> a -> if -> b -> last -> out"))
    words = ("convert", "--method", "plain", "--data", data, "--out", tmp_path / "out", "--from", path)
    result = gradrtl(*words, "--reset", "subtract", "--json", "-q")
    held_out = split(load(data)[0])[1]
    classes = (np.maximum(held_out.frames / 255 @ first.T, 0) / 2 @ last.T).argmax(axis=1)
    assert json.loads(result.stdout)["activations_accuracy"] == float((classes == held_out.labels).mean())
    hard = gradrtl(*words, code=2)
    assert "population if reset is hard, expected soft" in hard.output


def test_a_network_without_hidden_layers_has_no_rates_to_draw(data: Path, tmp_path: Path) -> None:
    words = ("--layers", "36-4", "--batch", 20, "--epochs", 1, "--data", data, "--out", tmp_path)
    result = gradrtl("convert", *words, "--report", tmp_path / "report.html")
    assert "accuracy, %" in result.output
    assert "error of" not in result.output
    assert {path.name for path in tmp_path.glob("*.svg")} == {ACCURACY}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--layers", "4C3-P2-4"), "pool is max, expected average"),
        (("--layers", "4C3-4", "--method", "plain", "--tune", "1"), "tune is 1, expected 0 for the method plain"),
        (("--layers", "4C3-4", "--threshold-epochs", "1"), "threshold_epochs is 1, expected 0 for the method shift"),
        (("--layers", "4C3-4", "--distil", "0.5"), "distil is 0.5, expected 0 without a teacher"),
        (("--layers", "4C3-4", "--network", "mnist-mlp"), "layers is 4C3-4, expected not given beside --network"),
        (("--layers", "4C3-4", "--recipe", "magnitude"), "connectivity is None, expected a fraction"),
        (("--layers", "4C3-4", "--reset", "subtract"), "reset is subtract, expected with --from, a NIR file"),
        (("--layers", "4C3-4", "--longest", "65"), "longest is 65, expected 1 to 64"),
        (("--layers", "4C3-4", "--weight-bits", "4"), "weight_bits is 4, expected None, or an epoch after rewire"),
        (("--layers", "4C3-4", "--tune", "1", "--steps", "65"), "steps is 65, expected at most 64 with tune"),
        (("--layers", "4C3-4", "--seed", "4294967296"), "seed is 4294967296, expected 0 to 4294967295"),
        (("--layers", "4C3-4", "--lr", "1e308"), "lr is 1e+308, expected above 0, at most 1000000"),
        (("--from", "no.pt", "--framework", "norse"), "framework is norse, expected with a NIR file alone"),
        (("--from", "networks/cifar10-50k.npz"), "image shape of the training set is (1, 6, 6), expected (3, 32, 32)"),
        (("--from", "no.pt"), "network is None, expected --network or --layers beside no.pt"),
        (("--from", "no.pt", "--layers", "4C3-4"), "weights is no.pt, expected a file"),
        (("--from", "no.npz"), "checkpoint file no.npz: no such file"),
        (("--from", "no.npz", "--layers", "4C3-4"), "network is 4C3-4, expected not given beside no.npz"),
        (("--from", "no.pt", "--start", "no.npz", "--layers", "4C3-4"), "no.npz"),
    ],
)
def test_mistakes_are_told_in_a_line(words: tuple[str, ...], message: str, data: Path, tmp_path: Path) -> None:
    result = gradrtl("convert", *words, "--batch", 20, "--epochs", 1, "--data", data, "--out", tmp_path, code=2)
    assert message in result.output
    assert result.output.count("\n") == 1


def test_a_network_that_only_teaches_is_trained_and_taught_by(data: Path, tmp_path: Path) -> None:
    large = write(tmp_path / "data", shape=(9, 9))
    words = (
        "teacher",
        "--widths",
        "4-4-4",
        "--epochs",
        2,
        "--batch",
        20,
        "--data",
        large,
        "--out",
        tmp_path / "teacher",
    )
    result = gradrtl(*words)
    assert "held-out accuracy" in result.stdout
    assert "epoch   2" in result.stderr
    assert "resumes after epoch 2 of 2" in gradrtl(*words).stderr
    found = json.loads(gradrtl(*words, "--json").stdout)
    assert len(found["history"]) == 2
    path = tmp_path / "teacher" / "teacher.npz"
    words = ("--layers", "4C3-AP3-4", "--batch", 20, "--epochs", 1, "--teacher", path, "--distil", 0.5, "--data", large)
    gradrtl("convert", *words, "--out", tmp_path / "out")
    made = Checkpoint.load(tmp_path / "out" / "checkpoint.npz")
    assert made.made_from["teachers"][0]["command"].startswith("gradrtl teacher --widths 4-4-4 ")
    refused = gradrtl("teacher", "--data", data, "--out", tmp_path / "small", code=2)
    assert "image shape is (1, 6, 6), expected 9 pixels or more a side" in refused.stderr
    refused = gradrtl("convert", "--from", path, "--data", large, "--out", tmp_path / "from", code=2)
    assert "teacher" in refused.stderr
