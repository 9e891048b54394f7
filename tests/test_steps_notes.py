"""Results that are right but hardly useful are said to be, by every command that meets them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import gradrtl
from graphs import population, weights

from gradrtl.quantize.network import Connection, Input, QuantizedNetwork
from gradrtl.samples import NETWORK
from gradrtl.steps import frames, notes, quantise
from gradrtl.steps.frames import images_in
from gradrtl.steps.place import with_rates
from gradrtl.steps.quantise import judged
from gradrtl.steps.simulate import Simulation

SAMPLE = QuantizedNetwork.load(NETWORK)
SILENT = "no event reaches layer layer1: layer layer0 has gone silent"
OUTPUT = "the output layer has gone silent: all sums of 100 images are 0"


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The images of the package, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return images_in(None)


@pytest.fixture
def silent(packed) -> QuantizedNetwork:
    """The sample, its first layer's threshold out of reach, with rates measured."""
    first = SAMPLE.layers[0]
    neuron = replace(first.neuron, threshold=np.array([100_000]))
    made = SAMPLE.changed(layers=(replace(first, neuron=neuron), *SAMPLE.layers[1:]), rates=None)
    return with_rates(made, packed.frames)


def test_a_silent_network(silent: QuantizedNetwork, packed, tmp_path: Path) -> None:
    path = tmp_path / "silent.npz"
    silent.save(path)
    simulated = gradrtl("simulate", path, "--threads", 1).output
    assert f"note: {SILENT}\n" in simulated
    assert f"note: {OUTPUT}\n" in simulated
    assert f"note: {SILENT}\n" in gradrtl("info", path, "--device", "ecp5-85", "--pe", "4,4").output
    assert judged(silent, packed).notes == [SILENT, OUTPUT]


def test_quantize_says_so(packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[1]
    monkeypatch.setattr(quantise, "judged", lambda *_: quantise.Judged(0.1, np.zeros(1, int), [SILENT]))
    words = ("--method", "weights", "--data", root / "data/mnist", "-o", tmp_path / "network.npz")
    found = gradrtl("quantize", root / "checkpoints/mnist-mlp-1-s0.npz", *words).output
    assert "test accuracy 10.00 %, digest" in found
    assert f"note: {SILENT}\n" in found


def test_a_sound_network_has_no_notes(packed) -> None:
    assert "note" not in gradrtl("simulate", "sample", "--threads", 1).output
    assert "note" not in gradrtl("info", "sample", "--device", "ecp5-85", "--pe", "4,4").output
    assert judged(SAMPLE, packed).notes == []


def test_a_network_without_rates_has_none() -> None:
    assert notes.on_rates(replace(SAMPLE, rates=None)) == []


def test_black_images() -> None:
    assert notes.on_events(SAMPLE, [0.0, 0.0]) == ["no event reaches layer layer0: all pixels are 0"]


def delayed(delay: int) -> QuantizedNetwork:
    """`b` is reached by `a` and the input, by both late."""
    return QuantizedNetwork(
        (Input((4,), kind="spikes"),),
        (
            population("a", 3, Connection("input", weights(3, 4))),
            population(
                "b", 3, Connection("a", weights(3, 3), delay=delay), Connection("input", weights(3, 4), delay=delay)
            ),
        ),
        2,
    )


@pytest.mark.parametrize(
    ("network", "events", "note"),
    [
        (delayed(1), [0, 0, 0], "population a: input input has no events"),
        (delayed(1), [1, 0, 0], "population b from a: population a has gone silent"),
        (delayed(2), [1, 0, 1], "population b from a: the delay of 2 is not below the steps of a frame, 2"),
        (delayed(2), [1, 1, 0], "population b from input: the delay of 2 is not below the steps of a frame, 2"),
        (
            delayed(2).streamed,
            [1, 0, 1],
            "population b from a: a has gone silent, or the stream is not longer than the delay of 2",
        ),
    ],
)
def test_why_no_event_reaches_a_population(network: QuantizedNetwork, events: list[float], note: str) -> None:
    assert notes.on_events(network, events) == [f"no event reaches {note}"]


def test_one_class_for_nearly_everything() -> None:
    labels, sums = np.arange(100) % 10, np.ones((100, 10), np.int64)
    classes = np.where(np.arange(100) < 95, 3, labels)
    told = "the network answers class 3 for 95.0 % of 100 images"
    assert notes.on_answers(classes, sums, labels) == [f"{told}, the label of 10.0 %"]
    assert notes.on_answers(classes, sums) == notes.on_answers(classes, None) == [told]
    assert notes.on_answers(np.where(np.arange(100) < 94, 3, 4), sums, labels) == []
    assert notes.on_answers(classes, sums, np.full(100, 3)) == [], "all images are of that class"
    assert notes.on_answers(classes[:19], sums[:19], labels[:19]) == [], "too few images to say"


def test_energy_above_the_dense_network() -> None:
    sums = np.ones((2, 10), np.int64)
    made = Simulation(np.array([[1], [2]]), sums, (5.0, 4.0), (9.0, 9.0), 2, energy=30.0, dense_energy=20.0)
    (note,) = made.notes(SAMPLE)
    assert note.startswith("the energy estimate is 1.5 times the dense network's")
    assert replace(made, energy=20.0).notes(SAMPLE) == []


def test_labels_that_are_no_classes_are_refused_before_work(packed, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = packed.labels.copy()
    labels[7] = 10
    monkeypatch.setattr(frames, "images_in", lambda *_: replace(packed, labels=labels))
    found = gradrtl("simulate", "sample", code=2)
    assert found.stdout == ""
    assert "largest label is 10, expected less than 10, the classes of the network" in found.stderr
    assert found.stderr.count("\n") == 1
