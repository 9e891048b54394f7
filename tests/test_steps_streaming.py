"""Steps of a stream from files and frames, and the commands that take them."""

from __future__ import annotations

import json
from dataclasses import replace

import event_files
import numpy as np
import pytest
from click.testing import CliRunner
from graphs import recurrent

from gradrtl.cli import main
from gradrtl.errors import UserError
from gradrtl.model import recordings
from gradrtl.model.recordings import Recordings
from gradrtl.quantize.network import Input
from gradrtl.rtl.c_header import c_header
from gradrtl.rtl.outputs import Outputs
from gradrtl.sim import engine
from gradrtl.steps.events import Counting
from gradrtl.steps.frames import Chosen
from gradrtl.steps.streaming import steps_of

STEPS = np.random.default_rng(0).integers(0, 4, (24, 6), dtype=np.uint8)


def test_arrays_of_any_number_of_steps(tmp_path):
    file, named = tmp_path / "steps.npy", tmp_path / "steps.npz"
    for values in (STEPS, STEPS.reshape(3, 8, 6), STEPS.reshape(2, 12, 6)):
        np.save(file, values)
        assert (steps_of(recurrent(), Chosen(frames=file)) == STEPS[:, None]).all()
    np.savez(named, input=STEPS)
    assert (steps_of(recurrent(), Chosen(frames=named, images=5)) == STEPS[:5, None]).all()


def test_what_does_not_fit(tmp_path):
    file = tmp_path / "steps.npy"
    for values, message in (
        (STEPS[:, :5], r"steps of input shape is \(24, 5\), expected \[steps, 6\] or \[frames, steps, 6\]"),
        (STEPS[:0], "steps is 0, expected at least 1"),
        (STEPS + 2, "largest count is 5, expected 0 to 3"),
    ):
        np.save(file, values)
        with pytest.raises(UserError, match=message):
            steps_of(recurrent(), Chosen(frames=file))
    np.save(tmp_path / "labels.npy", np.zeros(24, np.int64))
    np.save(file, STEPS)
    with pytest.raises(UserError, match="none: the steps of a stream have no labels"):
        steps_of(recurrent(), Chosen(frames=file, labels=tmp_path / "labels.npy"))


def test_as_many_as_there_are(tmp_path):
    file = tmp_path / "steps.npy"
    for values, what in ((STEPS, "24, the steps"), (STEPS.reshape(3, 8, 6), "3, the frames")):
        np.save(file, values)
        for images in (-1, 0, len(values) + 1):
            with pytest.raises(UserError, match=f"images is {images}, expected 1 to {what}"):
                steps_of(recurrent(), Chosen(frames=file, images=images))
    assert (steps_of(recurrent(), Chosen(frames=file, images=2)) == STEPS[:16, None]).all()


def test_recordings_follow_each_other(tmp_path):
    """Those of a file of our own, and events in an array with fields; both begin as arrays of steps do."""
    network = replace(recurrent(), inputs=(Input((1, 1, 6), bits=2, kind="graded"),))
    counts = STEPS.reshape(3, 8, 1, 1, 6)
    recordings.save(tmp_path / "own.npz", *[Recordings(counts, np.zeros(3, np.int32))] * 2)
    assert (steps_of(network, Chosen(frames=tmp_path / "own.npz")) == STEPS[:, None]).all()
    events = np.arange(0, 8000, 1000), np.zeros(8, int), np.zeros(8, int), np.arange(8) % 6
    file = event_files.array(tmp_path / "events.npy", events)
    counting = Counting(step_ms=1, sensor="1x1x6")
    found = steps_of(network, Chosen(frames=file, counting=counting))
    assert found[:, 0].argmax(axis=1).tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert found.sum() == 8


def test_options_of_events_are_not_for_steps(tmp_path):
    np.save(tmp_path / "steps.npy", STEPS)
    with pytest.raises(UserError, match=r"pool is 2, expected left out: .*steps.npy is neither a file nor a folder"):
        steps_of(recurrent(), Chosen(frames=tmp_path / "steps.npy", counting=Counting(pool=2)))


def test_simulate_and_place(tmp_path):
    network, file, output = tmp_path / "network.npz", tmp_path / "steps.npy", tmp_path / "sums.npz"
    recurrent().save(network)
    np.save(file, STEPS)
    words = ["simulate", str(network), "--stream", "--frames", str(file), "-o", str(output), "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["images"] == 24
    expected = engine.run(recurrent().streamed, STEPS[:, None])
    with np.load(output) as found:
        assert (found["sums"] == expected.counts).all()
    result = CliRunner().invoke(main, ["place", str(network), "--stream", "--data", str(tmp_path)])
    assert result.exit_code != 0


def test_words_in_the_header():
    text = c_header(2, Outputs((3,), numbered=True))
    assert "#define GRADRTL_PACKET_WORDS 5u" in text
    assert "#define GRADRTL_STEP_NUMBER 0u" in text
    assert "#define GRADRTL_READOUT0_CLASS 1u" in text
    assert "STEP_NUMBER" not in c_header(2, Outputs((3,)))
