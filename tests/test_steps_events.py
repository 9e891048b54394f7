"""Commands on files of events: counted as asked in training, and alike from then on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import event_files
import numpy as np
import pytest
import torch
from command_line import gradrtl

from gradrtl.errors import UserError
from gradrtl.model import recordings
from gradrtl.model.events.binning import Binning
from gradrtl.model.events.sets import Reading, load_file, load_part
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.steps.events import Counting, kept_of, load
from gradrtl.steps.frames import Chosen, labelled_frames
from gradrtl.steps.place import training_frames

COUNTED = ["--step-ms", 10, "--steps", 6, "--pool", 2, "--largest-count", 3]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return event_files.by_class(tmp_path_factory.mktemp("events") / "set")


@pytest.fixture(scope="module")
def network(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run")
    words = ["--layers", "578-16-3", "--connectivity", "0.3", "--epochs", 2, "--batch", 10, "--held-out", 10]
    gradrtl("train", "--data", folder, *COUNTED, *words, "--out", out)
    gradrtl("quantize", out / "checkpoint.npz", "--data", folder, "-o", out / "network.npz")
    return out / "network.npz"


READING = Reading(Binning(10, 6, pool=2, largest=3))


def test_a_network_keeps_how_its_recordings_were_made(folder: Path, network: Path) -> None:
    found = QuantizedNetwork.load(network)
    assert kept_of(found) == json.loads(json.dumps(READING.to_json()))
    assert Counting().for_network(found) == READING
    assert (found.inputs[0].bits, found.steps) == (2, 6)
    frames, labels = labelled_frames(found, Chosen(folder))
    wanted = load_part(folder, "test", READING)
    assert np.array_equal(frames, wanted.frames)
    assert np.array_equal(labels, wanted.labels)
    assert np.array_equal(labelled_frames(found, Chosen(folder, images=5))[0], wanted.frames[:5])
    assert np.array_equal(labelled_frames(found, Chosen(frames=folder, usual=3))[0], wanted.frames[:3])
    assert np.array_equal(training_frames(found, folder), load_part(folder, "train", READING).frames)


def test_a_network_counts_otherwise_if_asked(folder: Path, network: Path) -> None:
    found = QuantizedNetwork.load(network)
    asked = Chosen(folder, counting=Counting(step_ms=5, largest_count=2))
    reading = Reading(replace(READING.binning, milliseconds=5, largest=2))
    assert np.array_equal(labelled_frames(found, asked)[0], load_part(folder, "test", reading).frames)
    with pytest.raises(UserError, match=r"recordings shape is \(2, 8, 8\), expected \(2, 17, 17\)"):
        labelled_frames(found, Chosen(folder, counting=Counting(pool=4)))


@pytest.mark.parametrize("layout", ["nmnist", "aedat", "evt2", "evt3", "dat", "array"])
def test_single_files_as_frames(layout: str, network: Path, tmp_path: Path) -> None:
    suffix = {"nmnist": "bin", "aedat": "aedat", "dat": "dat", "array": "npy"}.get(layout, "raw")
    file = getattr(event_files, layout)(tmp_path / f"one.{suffix}", event_files.some(200))
    found = QuantizedNetwork.load(network)
    frames, labels = labelled_frames(found, Chosen(frames=file, counting=Counting(sensor="2x34x34")))
    assert labels is None
    assert np.array_equal(frames, load_file(file, replace(READING, sensor=(2, 34, 34))).frames)
    np.save(tmp_path / "labels.npy", np.array([2]))
    _, labels = labelled_frames(
        found, Chosen(frames=file, labels=tmp_path / "labels.npy", counting=Counting(sensor="2x34x34"))
    )
    assert labels is not None
    assert labels.tolist() == [2]
    told = gradrtl("simulate", network, "--frames", file, "--sensor", "2x34x34").output
    assert told.startswith("1 images\n")


def test_labels_of_files(network: Path, tmp_path: Path) -> None:
    file = event_files.spoken(tmp_path / "a.h5", [(np.array([0.01]), np.array([5]), 1, 0)] * 3)
    found = QuantizedNetwork.load(network)
    with pytest.raises(UserError, match=r"recordings shape is \(1, 1, 350\), expected \(2, 17, 17\)"):
        labelled_frames(found, Chosen(frames=file))
    with pytest.raises(UserError, match="labels is x, expected not given beside"):
        labelled_frames(found, Chosen(frames=file, labels=Path("x")))
    np.save(tmp_path / "labels.npy", np.array([2, 1]))
    one = event_files.nmnist(tmp_path / "one.bin", event_files.some())
    with pytest.raises(UserError, match="labels is 2, expected 1, one for each recording"):
        labelled_frames(found, Chosen(frames=one, labels=tmp_path / "labels.npy"))


def test_plain_arrays_are_frames_as_before(network: Path, tmp_path: Path) -> None:
    found = QuantizedNetwork.load(network)
    np.save(tmp_path / "frames.npy", np.ones((4, 6, 578), np.uint8))
    assert labelled_frames(found, Chosen(frames=tmp_path / "frames.npy"))[0].shape == (4, 6, 578)


def test_a_network_that_saw_no_recordings(folder: Path, network: Path) -> None:
    found = replace(QuantizedNetwork.load(network), notes={})
    with pytest.raises(UserError, match="step_ms is not given, expected the milliseconds of a step, and their number"):
        labelled_frames(found, Chosen(folder))
    counting = Counting(step_ms=10, pool=2, largest_count=3)
    frames = labelled_frames(found, Chosen(folder, counting=counting))[0]
    assert np.array_equal(frames, load_part(folder, "test", READING).frames)


def test_nothing_is_counted_where_there_are_no_events(folder: Path, network: Path, tmp_path: Path) -> None:
    """Images, recordings that have been counted, and arrays: options that would change nothing are refused."""
    digits, words, frames = Path(__file__).parents[1] / "data/mnist", tmp_path / "words.npz", tmp_path / "frames.npy"
    found = load_part(folder, "test", READING)
    recordings.save(words, found, found)
    np.save(frames, np.ones((4, 6, 578), np.uint8))
    trained = network.with_name("checkpoint.npz")
    given = ["--step-ms", 5, "--crop", "0,0,8,8"]
    for data in (digits, words):
        expected = (
            f"error: step_ms, crop is 5.0, 0,0,8,8, expected left out: {data} is neither a file nor a folder of events"
        )
        for line in (
            ["train", "--out", tmp_path / "run"],
            ["quantize", trained, "-o", tmp_path / "network.npz"],
            ["simulate", network],
        ):
            assert gradrtl(*line, "--data", data, *given, code=2).stderr == f"{expected}\n"
    for option, value in (("--pool", 2), ("--largest-count", 2), ("--sensor", "2x17x17"), ("--step-ms", 10)):
        told = gradrtl("simulate", network, "--frames", frames, option, value, code=2).stderr
        name = option.strip("-").replace("-", "_")
        assert told.startswith(f"error: {name} is ")
        assert "neither a file nor a folder of events" in told
    assert gradrtl("simulate", network, "--frames", words).stdout.startswith(f"{len(found)} images")
    assert len(load(words, Counting(), None)[1]) == len(found)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"pool": 2}, "pool is given, expected step_ms beside it, the milliseconds of a step"),
        ({"sensor": "2x3x4"}, "sensor is given, expected step_ms beside it"),
        ({"step_ms": 5, "sensor": "2x3"}, "sensor is 2x3, expected CHANNELSxHEIGHTxWIDTH, whole numbers"),
        ({"step_ms": 5, "crop": "1,2,3"}, "crop is 1,2,3, expected TOP,LEFT,HEIGHT,WIDTH, whole numbers"),
        ({"step_ms": 5, "sensor": "2x0x4"}, "sensor is (2, 0, 4), expected numbers from 1 to 65536"),
        ({"step_ms": 0}, "step_ms is 0.0, expected 0.001 to 1000000 milliseconds"),
    ],
)
def test_wrong_options(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        Counting(**asked).reading(4)
    assert message in str(error.value)


def test_how_recordings_are_counted() -> None:
    assert Counting().reading(4) is None
    assert Counting().reading(4, {"by": "something else"}) is None
    with pytest.raises(UserError, match="steps is not given, expected the number of steps of a recording"):
        Counting(step_ms=5).reading(None)
    found = Counting(step_ms=5, crop="1,2,8,8", sensor="2x34x34").reading(4)
    assert found == Reading(Binning(5, 4, crop=(1, 2, 8, 8)), (2, 34, 34))
    assert Counting().reading(None, found.to_json()) == found
    assert Counting(step_ms=8, pool=2).reading(9, found.to_json()) == Reading(
        Binning(8, 9, crop=(1, 2, 8, 8), pool=2), (2, 34, 34)
    )


def test_moving_digits_are_made_by_a_command(tmp_path: Path) -> None:
    told = gradrtl("moving", tmp_path / "digits", "--images", 3, "--noise", 0.5, "--seed", 2).output
    assert f"6 recordings of a simulated camera in {tmp_path / 'digits'}" in told
    assert len(list((tmp_path / "digits").glob("*/*/*.bin"))) == 6
    (tmp_path / "file").write_text("")
    assert "out is" in gradrtl("moving", tmp_path / "file", code=2).output
    assert "contrast is 0.0, expected above 0" in gradrtl("moving", tmp_path / "x", "--contrast", 0, code=2).output
