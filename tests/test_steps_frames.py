"""Frames of a data set, for inputs that see images whole or in strips."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from graphs import population, weights

from gradrtl import cli
from gradrtl.errors import UserError
from gradrtl.model.data import Dataset
from gradrtl.quantize.network import Connection, Input, QuantizedNetwork
from gradrtl.steps.frames import frames_for, labelled_frames
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


def test_several_inputs_see_the_same_images(folder: Path) -> None:
    both = network(ROWS, IMAGE)
    (rows, image), labels = labelled_frames(both, folder, 7)
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
