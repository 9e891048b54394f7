"""`gradrtl listen`: what it writes can be trained on; `gradrtl hear`: decisions. Mistakes are one line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import run
from sounds import WORDS, hearing
from test_steps_hearing import files  # noqa: F401
from test_steps_sound import folder, write  # noqa: F401

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
        (["--rate", 0], "error: front end: rate is 0, expected 1 to 1000000"),
        (["--speaker", "ada", "--test-takes", 1], "error: test-takes is 1, expected not given together with --speaker"),
    ],
)
def test_mistakes_are_one_line(folder, tmp_path, words, message):  # noqa: F811
    done = run("listen", folder, "--out", tmp_path / "words.npz", *words, code=2)
    assert done.startswith(message)
    assert done.count("\n") == 1


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "hearing.npz"
    made = hearing()
    replace(made, rates=tuple(np.ones(edge.sources) for edge in made.edges)).save(path)
    return path


PES = ("--pe", "2,1", "--queue-depth", 2)


def test_files_are_heard(network, files):  # noqa: F811
    told = json.loads(run("hear", network, *files, *PES, "--simulator", "--clock", 12, "--json", "--quiet"))
    assert [one["word"] in WORDS for one in told["files"]] == [True] * 4
    assert [len(one["decisions"]) for one in told["files"]] == [6, 8, 6, 6]
    assert (told["known"], told["files"][2]["right"], told["window"]) == (3, None, 6)
    assert told["latency_us"]["most"] == told["latency_cycles"]["most"] / 12
    assert told["real_time_factor"] == pytest.approx(12_000 / told["step_cycles"])
    one = run("hear", network, files[1], *PES, "--simulator", "--window", 2, "--pause", 3)
    assert "right (" in one
    assert "0.001 s" in one
    alone = ("hear", network, files[2], *PES, "--simulator", "--window", 1, "--clock", 12)
    single = json.loads(run(*alone, "--json", "--quiet"))
    assert single["steps"] == 1
    assert single["real_time_factor"] == pytest.approx(12_000 / single["step_cycles"])
    assert f"a step takes {single['step_cycles']} cycles: real time from " in run(*alone)


@pytest.mark.rtl
def test_generated_verilog_is_heard(network, files, tmp_path):  # noqa: F811
    """`generate --front-end` writes what `hear` compiles; `verify`, which sends events, refuses it."""
    text = tmp_path / "microphone.v"
    run("generate", network, "--front-end", "-o", text, *PES)
    told = json.loads(run("hear", network, *files, "--verilog", text, "--stalls", 0.5, "--json", "--quiet"))
    assert told["compared"]["predicted"] == told["compared"]["frames"] == 26
    refused = run("verify", network, text, "--images", 1, code=2)
    assert "it takes samples, which gradrtl hear sends" in refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--window", 0], "error: window is 0, expected"),
        (["--clock", 0], "error: clock is 0.0, expected MHz, above 0"),
        (["--simulator", "--verilog", "x.v"], "error: verilog is x.v, expected not given together with --simulator"),
        (["--simulator", "--stalls", 0.5], "error: stalls is 0.5, expected 0 with --simulator"),
        (["--verilog", "none.v"], "error: verilog is none.v, expected a file"),
    ],
)
def test_what_cannot_be_heard_is_one_line(network, files, words, message):  # noqa: F811
    done = run("hear", network, files[0], *words, code=2)
    assert done.startswith(message)
    assert done.count("\n") == 1


def test_networks_and_sounds_that_do_not_fit(network, files, tmp_path):  # noqa: F811
    done = run("hear", "networks/mnist-rows-20pct.npz", files[0], code=2)
    assert done.startswith("error: front end in the notes of the network is None, expected that of gradrtl listen")
    done = run("generate", "networks/mnist-rows-20pct.npz", "--front-end", "-o", tmp_path / "x.v", code=2)
    assert done.startswith("error: front end in the notes of the network is None")
    write(tmp_path / "fast.wav", np.zeros(9), rate=16000)
    done = run("hear", network, tmp_path / "fast.wav", "--simulator", code=2)
    assert done.endswith("fast.wav: rate is 16000, expected 8000, which the front end takes\n")
    done = run("hear", network, tmp_path / "none.wav", "--simulator", code=2)
    assert done.endswith("none.wav: file is missing, expected a WAV file\n")
    assert run("hear", network, code=2).startswith("error: Missing argument 'SOUND...'")
