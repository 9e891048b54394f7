"""`gradrtl listen`: what it writes can be trained on; mistakes are one line."""

from __future__ import annotations

import json

import pytest
from command_line import run
from test_steps_sound import folder  # noqa: F401

from gradrtl.model import recordings


def test_recordings_are_written_and_trained_on(folder, tmp_path):  # noqa: F811
    out = tmp_path / "words.npz"
    words = ["--steps", 4, "--step", 64, "--bands", 8, "--test-takes", 1, "--held-takes", 1, "--speeds", "100,90"]
    told = json.loads(run("listen", folder, "--out", out, *words, "--json", "--quiet"))
    training, test = recordings.load(out)
    assert (told["training"], told["test"]) == (len(training), len(test)) == (20, 4)
    assert training.shape == (2, 1, 8)
    assert training.made["front end"]["step"] == 64
    done = run(
        "train", "--data", out, "--layers", "16-R8c-2", "--epochs", 2, "--batch", 8, "--held-out", 4, "--recipe",
        "dense", "--out", tmp_path / "run",
    )  # fmt: skip
    assert "wrote" in done


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--speeds", "1,a"], "error: speeds is 1,a, expected whole numbers with commas between them"),
        (["--speaker", "otto"], "error: speaker is otto, expected one of ada, kurt_g"),
        (["--bands", 2], "error: front end: bands is 2, expected 4 to 128"),
    ],
)
def test_mistakes_are_one_line(folder, tmp_path, words, message):  # noqa: F811
    done = run("listen", folder, "--out", tmp_path / "words.npz", *words, code=2)
    assert done.startswith(message)
    assert done.count("\n") == 1
