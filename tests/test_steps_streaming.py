"""Steps of a stream from files and frames, and the commands that take them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from graphs import recurrent

from gradrtl.cli import main
from gradrtl.errors import UserError
from gradrtl.rtl.c_header import c_header
from gradrtl.rtl.outputs import Outputs
from gradrtl.sim import engine
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
