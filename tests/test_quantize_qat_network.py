"""Fine-tuning of any integer network from the reals behind it: graphs, recordings, both losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from graphs import population, weights
from test_quantize_graph_ptq import RECURRENT, task, trained
from test_quantize_qat import CONFIG

from gradrtl.errors import UserError
from gradrtl.model.data import Dataset, split
from gradrtl.quantize.config import QatConfig
from gradrtl.quantize.graph_ptq import weight_units
from gradrtl.quantize.graph_rounding import GraphFormats, at_units, fold_graph, reals_of
from gradrtl.quantize.integer_graph import IntegerGraph
from gradrtl.quantize.labelled_frames import LabelledFrames
from gradrtl.quantize.network import Connection, Input, QuantizedNetwork
from gradrtl.quantize.qat import fine_tune_network
from gradrtl.quantize.reals import Reals, of_integers
from gradrtl.sim import engine
from gradrtl.steps.frames import frames_for

SHORT = replace(CONFIG, epochs=3, batch=40, held_out=80, lr=0.02, scale_lr=0.01)


@pytest.fixture(scope="module")
def data() -> Dataset:
    images, labels = task(600, 0)
    return Dataset(images, labels.astype(np.uint8))


@pytest.fixture(scope="module")
def start() -> tuple[QuantizedNetwork, tuple[Reals, ...]]:
    """`RECURRENT` with random weights, in 4 bits."""
    folded, formats = fold_graph(trained()), GraphFormats(4)
    units = weight_units(folded, formats)
    return at_units(folded, formats, units), reals_of(folded, formats, units)


Start = tuple[QuantizedNetwork, tuple[Reals, ...]]


def test_it_learns_and_its_accuracy_is_the_integer_networks(start: Start, data: Dataset) -> None:
    rows: list[dict] = []
    found = fine_tune_network(*start, data, replace(SHORT, epochs=12, lr=0.03), on_epoch=rows.append)
    held_out = split(data, SHORT.held_out)[1]
    outcome = engine.run(found, frames_for(found, held_out), threads=1)
    best = min(rows, key=lambda row: row["validation_loss"])["validation"]
    assert float((outcome.classes == held_out.labels).mean()) == best == found.notes["qat"]["validation"]
    assert best >= 0.7 > 0.5 > rows[0]["validation"]
    assert rows[-1]["loss"] < rows[1]["loss"]
    assert rows[-1]["synapses"] == [int(np.count_nonzero(edge.synapses.weight)) for edge in found.edges]
    assert found.notes["units"]["a"] != start[0].notes["units"]["a"]


def test_no_epochs_give_the_network_itself(start: Start, data: Dataset) -> None:
    assert fine_tune_network(*start, data, replace(SHORT, epochs=0)).digest == start[0].digest


def test_a_resumed_run_equals_an_uninterrupted_one(start: Start, data: Dataset, tmp_path: Path) -> None:
    class PullThePlug(Exception):
        pass

    def in_the_second(row: dict) -> None:
        if row["epoch"] == 2:
            raise PullThePlug

    state = tmp_path / "state.pt"
    with pytest.raises(PullThePlug):
        fine_tune_network(*start, data, SHORT, resume=state, on_epoch=in_the_second)
    rows: list[dict] = []
    resumed = fine_tune_network(*start, data, SHORT, resume=state, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [2, 3]
    assert resumed.digest == fine_tune_network(*start, data, SHORT).digest != start[0].digest
    own = start[1][1]
    others = (start[1][0], replace(own, weights=(own.weights[0] * (1 + 1e-9),)))
    with pytest.raises(UserError, match="network is"):
        fine_tune_network(start[0], others, data, SHORT, resume=state)
    first, second = start[0].populations
    changed = replace(first, neuron=replace(first.neuron, refractory=1)), second
    with pytest.raises(UserError, match="integers is"):
        fine_tune_network(replace(start[0], populations=changed), start[1], data, SHORT, resume=state)


def test_the_loss_is_chosen(start: Start, data: Dataset) -> None:
    with pytest.raises(UserError, match="loss is rate, expected cross-entropy"):
        fine_tune_network(*start, data, replace(SHORT, loss="rate"))
    network, reals = counting()
    recorded = recordings(network)
    rows: dict[str, list[dict]] = {"rate": [], "cross-entropy": []}
    for loss, found in rows.items():
        fine_tune_network(network, reals, recorded, replace(RECORDED, epochs=1, loss=loss), on_epoch=found.append)
    assert rows["rate"][0]["validation_loss"] < 0.5 < rows["cross-entropy"][0]["validation_loss"]


def test_the_loss_has_the_sharpness_and_smoothing_of_the_training(start: Start, data: Dataset) -> None:
    held_out = split(data, SHORT.held_out)[1]
    with torch.no_grad():
        outputs = IntegerGraph(*start)(torch.from_numpy(held_out.images))
    labels = torch.from_numpy(held_out.labels).long()
    for changes in ({}, {"sharpness": 3.0}, {"smoothing": 0.3}, {"sharpness": 0.5, "smoothing": 0.1}):
        rows: list[dict] = []
        fine_tune_network(*start, data, replace(SHORT, epochs=0, **changes), on_epoch=rows.append)
        factor, smoothing = changes.get("sharpness", 1.0), changes.get("smoothing", 0.0)
        loss = torch.nn.functional.cross_entropy(factor * outputs, labels, label_smoothing=smoothing)
        assert rows[0]["validation_loss"] == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("rates", [{"scale_lr": 5.0}, {"scale_lr": 1e6}, {"lr": 1e6, "scale_lr": 1e6}])
def test_a_training_that_diverges_says_so(rates: dict[str, float]) -> None:
    network, reals = counting()
    with pytest.raises(UserError, match=r"^training diverged in epoch \d: .*; a lower --lr or --scale-lr may help$"):
        fine_tune_network(network, reals, recordings(network), replace(RECORDED, **rates))


def counting() -> tuple[QuantizedNetwork, tuple[Reals, ...]]:
    """Spikes of one input and counts of another into recurrent neurons, whose spikes are counted."""
    inputs = Input((6,), 1, "spikes", "left"), Input((4,), 3, "graded", "right")
    hidden = population(
        "hidden", 12, Connection("left", weights(12, 6, 1), 4), Connection("right", weights(12, 4, 2), 4, 1),
        Connection("hidden", weights(12, 12, 3), 4, 1),
    )  # fmt: skip
    network = QuantizedNetwork(inputs, (hidden, population("out", 3, Connection("hidden", weights(3, 12, 4), 4))), 7)
    return network, of_integers(network, [1 / 8, 1 / 8], [[1.0, 1.0, 1.0], [1.0]])


def recordings(network: QuantizedNetwork) -> LabelledFrames:
    """The class is where the counts are, or how many spikes there are."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200).astype(np.int32)
    spikes = (rng.random((200, 7, 6)) < np.array([0.1, 0.5, 0.2])[labels][:, None, None]).astype(np.uint8)
    counts = (
        rng.integers(0, 3, (200, 7, 4)).astype(np.uint8) + np.where(labels == 0, 5, 0).astype(np.uint8)[:, None, None]
    )
    return LabelledFrames((spikes, counts), labels)


RECORDED = QatConfig(epochs=6, batch=20, lr=0.05, scale_lr=0.01, rotation=0, shift=0, held_out=60)


def test_a_network_of_integers_alone_learns_from_recordings() -> None:
    network, reals = counting()
    data, rows = recordings(network), []
    found = fine_tune_network(network, reals, data, RECORDED, on_epoch=rows.append)  # type: ignore[arg-type]
    held_out = data[140:]
    outcome = engine.run(found, held_out.frames, threads=1)
    assert float((outcome.classes == held_out.labels).mean()) == found.notes["qat"]["validation"]
    assert found.notes["qat"]["validation"] > rows[0]["validation"] + 0.2
    assert found.notes["qat"]["data"] == data.digest != data[1:].digest


def refusals() -> list[tuple[str, dict[str, Any], QatConfig]]:
    whole = recordings(counting()[0])
    spikes, counts = whole.frames
    return [
        ("rotation is 3.0, expected 0 or False: frames are not augmented", {}, replace(RECORDED, rotation=3)),
        ("flip is True, expected 0 or False", {}, replace(RECORDED, flip=True)),
        ("recordings is 1, expected 2 inputs", {"frames": (spikes,)}, RECORDED),
        ("recordings of left shape is", {"frames": (spikes[:, 1:], counts)}, RECORDED),
        ("recordings of left largest spike is 2", {"frames": (spikes * 2, counts)}, RECORDED),
        ("recordings of right largest count is", {"frames": (spikes, counts + 8)}, RECORDED),
        ("classes in the training set is 4, expected at most 3", {"labels": whole.labels + 1}, RECORDED),
    ]


@pytest.mark.parametrize(("message", "changes", "config"), refusals(), ids=[row[0] for row in refusals()])
def test_recordings_that_do_not_fit(message: str, changes: dict[str, Any], config: QatConfig) -> None:
    network, reals = counting()
    with pytest.raises(UserError, match=message):
        fine_tune_network(network, reals, replace(recordings(network), **changes), config)


def test_recordings_are_checked() -> None:
    frames = np.zeros((3, 4), np.uint8)
    labels = np.zeros(3, np.int32)
    for message, given in (
        ("recordings is 0, expected frames", ((), labels)),
        ("recordings dtype is int64", ((frames.astype(np.int64),), labels)),
        ("recordings shape is", ((frames[:, 0],), labels)),
        ("recordings is 2, expected 3, one for each label", ((frames[:2],), labels)),
        ("labels is negative", ((frames,), labels - 1)),
    ):
        with pytest.raises(UserError, match=message):
            LabelledFrames(*given)


def test_images_of_another_shape_are_refused(start: Start, data: Dataset) -> None:
    with pytest.raises(UserError, match="image shape is"):
        fine_tune_network(*start, Dataset(data.images[:, :, :3], data.labels), SHORT)
    assert RECURRENT.input_shape == data.shape
