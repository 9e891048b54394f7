"""Frames of a data set, for inputs that see images whole or in strips."""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from graphs import population, weights

from gradrtl import cli
from gradrtl.errors import UserError
from gradrtl.model.data import Dataset
from gradrtl.model.sequences import latencies
from gradrtl.quantize.network import Connection, Input, QuantizedNetwork
from gradrtl.steps.events import Counting
from gradrtl.steps.frames import Chosen, frames_for, labelled_frames, load_labels
from gradrtl.steps.place import training_frames, with_rates

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 1, 6, 5)).astype(np.uint8)
DATA = Dataset(PIXELS, (np.arange(20) % 3).astype(np.uint8))
ROWS = Input((1, 2, 5), bits=3, kind="graded", name="rows")
IMAGE = Input((1, 6, 5), bits=4, name="image")


def network(*inputs: Input, steps: int = 3) -> QuantizedNetwork:
    """Five neurons that hear all `inputs`, and three that hear them."""
    heard = (Connection(one.name, weights(5, int(np.prod(one.shape)), seed), 4) for seed, one in enumerate(inputs))
    hidden = population("hidden", 5, *heard)
    return QuantizedNetwork(inputs, (hidden, population("out", 3, Connection("hidden", weights(3, 5, 9), 4))), steps)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`DATA` as a training and as a test set."""
    for part in ("train", "t10k"):
        header = struct.pack(">4I", 0x0803, 20, 6, 5)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + PIXELS.tobytes())
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 20) + DATA.labels.tobytes())
    return tmp_path


def test_strips_of_rows_are_graded_counts() -> None:
    found = frames_for(network(ROWS), DATA)
    assert (found.shape, found.dtype) == ((20, 3, 10), np.uint8)
    assert np.array_equal(found[4, 1], PIXELS[4, 0, 2:4].ravel() // 32)


def test_an_image_is_whole() -> None:
    assert np.array_equal(frames_for(network(IMAGE), DATA), PIXELS.reshape(20, 30))


def test_spikes_are_a_latency_code_where_the_network_says_so(folder: Path) -> None:
    plain = network(Input((1, 6, 5), kind="spikes", name="pixels"))
    with pytest.raises(UserError, match=r"input.kind is spikes, expected static or graded"):
        frames_for(plain, DATA)
    coded = replace(plain, notes={"latency": ["pixels"]})
    found = frames_for(coded, DATA)
    assert np.array_equal(found, latencies(PIXELS, 3).reshape(20, 3, 30))
    coded.save(folder / "network.npz")
    kept = QuantizedNetwork.load(folder / "network.npz")
    assert np.array_equal(labelled_frames(kept, Chosen(folder, images=7))[0], found[:7])


def test_several_inputs_see_the_same_images(folder: Path) -> None:
    both = network(ROWS, IMAGE)
    (rows, image), labels = labelled_frames(both, Chosen(folder, images=7))
    assert np.array_equal(rows, frames_for(network(ROWS), DATA)[:7])
    assert np.array_equal(image, PIXELS.reshape(20, 30)[:7])
    assert np.array_equal(labels, DATA.labels[:7])
    rates = with_rates(both, training_frames(both, folder)).rates
    assert rates is not None
    assert [len(values) for values in rates] == [10, 30, 5]
    both.save(folder / "network.npz")
    words = ["simulate", str(folder / "network.npz"), "--data", str(folder), "--images", "9", "--threads", "1"]
    found = CliRunner().invoke(cli.main, words)
    assert found.exit_code == 0, found.output
    assert "9 images, accuracy" in found.output


@pytest.mark.parametrize(
    ("given", "steps", "message"),
    [
        (ROWS, 2, r"image shape is \(1, 6, 5\), expected \(1, 4, 5\), read in 2 strips"),
        (Input((1, 2, 5), kind="spikes"), 3, "input.kind is spikes, expected static or graded"),
        (Input((10,), kind="graded"), 3, r"input.shape is \(10,\), expected \(channels, rows, width\)"),
        (Input((1, 5, 5)), 3, "image pixels is 30, expected 25"),
    ],
)
def test_images_that_do_not_fit(given: Input, steps: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        frames_for(network(given, steps=steps), DATA)


EVENTS = Input((2, 2, 3), kind="spikes", name="events")
TRAINS = np.random.default_rng(1).integers(0, 2, (7, 3, 2, 2, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("given", "array", "expected"),
    [
        (IMAGE, PIXELS, PIXELS.reshape(20, 30)),
        (IMAGE, PIXELS[:, 0], PIXELS.reshape(20, 30)),
        (IMAGE, PIXELS.reshape(20, 30).astype(np.int64), PIXELS.reshape(20, 30)),
        (EVENTS, TRAINS, TRAINS.reshape(7, 3, 12)),
        (EVENTS, TRAINS.reshape(7, 3, 12).astype(bool), TRAINS.reshape(7, 3, 12)),
    ],
)
def test_arrays_of_every_shape(given: Input, array: np.ndarray, expected: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", array)
    found, labels = labelled_frames(network(given), Chosen(frames=tmp_path / "frames.npy", images=6))
    assert np.array_equal(found, expected[:6])
    assert (found.dtype, labels) == (np.uint8, None)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_images_and_labels(packed: bool, folder: Path) -> None:
    frames, labels = folder / "t10k-images-idx3-ubyte", folder / "t10k-labels-idx1-ubyte"
    if packed:
        for path in (frames, labels):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        frames, labels = (path.with_name(f"{path.name}.gz") for path in (frames, labels))
    found, classes = labelled_frames(network(ROWS), Chosen(frames=frames, labels=labels))
    assert np.array_equal(found, frames_for(network(ROWS), DATA))
    some = labelled_frames(network(ROWS), Chosen(frames=frames, labels=labels, images=4))
    assert [len(values) for values in some if values is not None] == [4, 4]
    assert classes is not None
    assert np.array_equal(classes, DATA.labels)
    rows, image = labelled_frames(network(ROWS, IMAGE), Chosen(frames=frames, images=3))[0]
    assert (len(rows), len(image)) == (3, 3)


def test_a_folder_of_frames_is_a_data_set(folder: Path) -> None:
    found, labels = labelled_frames(network(IMAGE), Chosen(frames=folder, usual=5))
    assert np.array_equal(found, PIXELS.reshape(20, 30)[:5])
    assert labels is not None
    assert np.array_equal(labels, DATA.labels[:5])
    assert len(labelled_frames(network(IMAGE), Chosen(folder, usual=99))[0]) == 20


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (TRAINS[:, :2], r"frames shape is \(7, 2, 2, 2, 3\), expected \[n, 3, 12\] or \[n, 3, 2, 2, 3\]"),
        (np.moveaxis(TRAINS, 2, 4), r"frames shape is \(7, 3, 2, 3, 2\), expected"),
        (np.uint8(3), r"frames shape is \(\), expected"),
        (TRAINS * 1.0, "frames dtype is float64, expected uint8"),
        (TRAINS.astype(np.int16) * -1, "frames smallest value is -1, expected 0 to 255"),
        (TRAINS.astype(np.int16) * 256, "frames largest value is 256, expected 0 to 255"),
        (TRAINS * 2, "frames largest spike is 2, expected 0 or 1"),
        (TRAINS[:0], "frames is 0, expected at least 1"),
    ],
)
def test_arrays_that_do_not_fit(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", array)
    with pytest.raises(UserError, match=message):
        labelled_frames(network(EVENTS), Chosen(frames=tmp_path / "frames.npy"))


def test_one_array_for_several_inputs_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", PIXELS)
    with pytest.raises(UserError, match=r"frames file is .*, expected a .npz file, with an array for each of 2 inputs"):
        labelled_frames(network(ROWS, IMAGE), Chosen(frames=tmp_path / "frames.npy"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 2), int), r"labels shape is \(2, 2\), expected \[n\]"),
        (np.zeros(2), "labels dtype is float64, expected integers"),
        (np.array([0, -1]), "smallest label is -1, expected 0 or above"),
        (np.array([1 << 40]), "largest label is 1099511627776, expected at most 65535"),
    ],
)
def test_labels_that_are_none(values: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", values)
    with pytest.raises(UserError, match=message):
        load_labels(tmp_path / "labels.npy")


def test_labels_need_frames_and_as_many(folder: Path) -> None:
    np.save(folder / "labels.npy", np.zeros(19, np.uint8))
    images, labels = folder / "t10k-images-idx3-ubyte", folder / "labels.npy"
    with pytest.raises(UserError, match="labels is 19, expected 20, one for each frame"):
        labelled_frames(network(IMAGE), Chosen(frames=images, labels=labels))
    with pytest.raises(UserError, match=r"labels is .*, expected given together with --frames"):
        Chosen(labels=labels)
    with pytest.raises(UserError, match=r"expected not given beside .*, which has its own"):
        labelled_frames(network(IMAGE), Chosen(frames=folder, labels=labels))
    with pytest.raises(UserError, match=r"data is .*, expected not given together with --frames"):
        Chosen(folder, frames=images)
    with pytest.raises(UserError, match="images is 21, expected 1 to 20, the frames"):
        labelled_frames(network(IMAGE), Chosen(frames=images, images=21))


def test_options_of_events_are_not_for_images(folder: Path) -> None:
    for where in ({"folder": folder}, {"frames": folder}, {"frames": folder / "t10k-images-idx3-ubyte"}, {}):
        with pytest.raises(UserError, match=r"step_ms is 5, expected left out: .* is neither a file nor a folder of"):
            labelled_frames(network(IMAGE), Chosen(**where, counting=Counting(step_ms=5)))


def test_simulate_takes_frames_with_and_without_labels(folder: Path) -> None:
    network(ROWS).save(folder / "network.npz")
    words = ["simulate", str(folder / "network.npz"), "--threads", "1", "--json"]
    words += ["--frames", str(folder / "t10k-images-idx3-ubyte")]
    alone = CliRunner().invoke(cli.main, words)
    assert "20 images\n" in alone.stderr
    assert json.loads(alone.stdout)["accuracy"] is None
    labelled = CliRunner().invoke(cli.main, [*words, "--labels", str(folder / "t10k-labels-idx1-ubyte")])
    assert "20 images, accuracy" in labelled.stderr
