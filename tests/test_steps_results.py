"""What frames came to: confusion, wrong frames, work of the cores, and where the frames are from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.samples import IMAGES, NETWORK
from gradrtl.steps import results, simulate
from gradrtl.steps.frames import Chosen
from gradrtl.steps.place import place

ROWS = Path(__file__).parents[1] / "networks" / "mnist-rows-20pct.npz"


def test_confusion_counts_labels_by_rows_and_answers_by_columns() -> None:
    found = results.judgement(np.array([0, 2, 2, 1]), np.array([0, 2, 1, 1, 2], np.uint8), 3)
    assert found["confusion"] == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert found["wrong"] == [{"frame": 2, "label": 1, "answer": 2}]
    assert results.judgement(np.array([0]), None, 3) == {}


def test_wrong_frames_are_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FIRST_WRONG", 2)
    found = results.judgement(np.array([0, 1, 0, 0]), np.array([0, 0, 1, 1]), 2)
    assert [one["frame"] for one in found["wrong"]] == [1, 2]


def test_work_is_plain_and_that_of_frames_evenly_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = place(QuantizedNetwork.load(NETWORK))
    with np.load(IMAGES) as arrays:
        frames = arrays["images"].reshape(-1, 784)
    monkeypatch.setattr(simulate, "COUNTED_IMAGES", 3)
    some = frames[: len(frames) // 3 * 3]
    assert results.work_of(mapping, some) == results.work_of(mapping, some[:: len(some) // 3])
    assert results.work_of(mapping, frames[:2]) != results.work_of(mapping, frames[:3])
    first = results.work_of(mapping, frames)[0]
    assert first["population"] == "layer0"
    assert first["utilisation"] == first["mean"] / first["cycles"]
    assert first["waiting"] == first["cycles"] - first["busiest"]


def test_operations_are_those_of_frames_evenly_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    network = QuantizedNetwork.load(NETWORK)
    frames = np.repeat(np.arange(10, dtype=np.uint8), 784).reshape(10, 784)
    monkeypatch.setattr(simulate, "COUNTED_IMAGES", 4)
    (some,) = simulate.some_of(network, frames)
    assert some[:, 0].tolist() == [0, 2, 5, 7]
    assert len(simulate.some_of(network, frames[:4])[0]) == 4
    made = simulate.simulate(network, frames)
    assert (made.counted, made.events[0]) == (4, 0.75 * 784)
    rows = QuantizedNetwork.load(ROWS).streamed
    (first,) = simulate.some_of(rows, np.repeat(np.arange(10, dtype=np.uint8), 28).reshape(10, 1, 28))
    assert first[:, 0, 0].tolist() == [0, 1, 2, 3], "the state of a stream goes on from step to step"


def test_data_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert results.data_text(Chosen(), 7) == "images of the package, the first 7 test images"
    assert results.data_text(Chosen(folder=Path("a")), 7) == "a, the first 7 test images"
    assert results.data_text(Chosen(frames=Path("b.npy")), 7) == "b.npy, the first 7 frames"
    (tmp_path / "data/mnist").mkdir(parents=True)
    assert results.data_text(Chosen(), 7) == "data/mnist, the first 7 test images"
