"""`gradrtl convert`: from a folder of images to a spiking checkpoint for `gradrtl quantize`; mistakes in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_commands_training import gradrtl, write

from gradrtl.model.checkpoint import Checkpoint
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.steps.convert import ACCURACY, ERRORS, RATES

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


def test_it_is_quantised_without_loss_of_its_weights(converted: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "network.npz"
    gradrtl("quantize", converted / "checkpoint.npz", "--bits", 4, "--per-channel", "--data", data, "-o", output)
    integers, made = QuantizedNetwork.load(output), Checkpoint.load(converted / "checkpoint.npz")
    for population, weight in zip(integers.populations, made.weights, strict=True):
        assert ((population.inputs[0].synapses.weight == 0) == (weight == 0)).all()
    assert integers.steps == 3


def test_figures_are_json_and_a_second_stage_starts_from_the_first(converted: Path, data: Path, tmp_path: Path) -> None:
    first = converted / "checkpoint.npz"
    words = ("--start", first, "--teacher", first, "--distil", 0.5, "--epochs", 0, "--rewire", 0, "--tune", 1)
    result = gradrtl("convert", *SMALL, *words, "--weight-bits", 4, "--data", data, "--out", tmp_path, "--json", "-q")
    found = json.loads(result.stdout)
    assert found["steps"] == [1, 2, 4, 8, 16, 32, 64]
    assert len(found["accuracy"]) == 7
    assert set(found["errors"]) == {"layer0"}
    assert found["connectivity"] <= Checkpoint.load(first).census.connectivity


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--layers", "4C3-P2-4"), "pool is max, expected average"),
        (("--layers", "4C3-4", "--method", "plain", "--tune", "1"), "tune is 1, expected 0 for the method plain"),
        (("--layers", "4C3-4", "--threshold-epochs", "1"), "threshold_epochs is 1, expected 0 for the method shift"),
        (("--layers", "4C3-4", "--distil", "0.5"), "distil is 0.5, expected 0 without a teacher"),
        (("--layers", "4C3-4", "--network", "mnist-mlp"), "layers is 4C3-4, expected not given beside --network"),
        (("--layers", "4C3-4", "--recipe", "magnitude"), "connectivity is None, expected a fraction"),
    ],
)
def test_mistakes_are_told_in_a_line(words: tuple[str, ...], message: str, data: Path, tmp_path: Path) -> None:
    result = gradrtl("convert", *words, "--batch", 20, "--epochs", 1, "--data", data, "--out", tmp_path, code=2)
    assert message in result.output
    assert result.output.count("\n") == 1
