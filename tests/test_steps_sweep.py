"""The sweep of quantisation settings: by the held-out images, nothing made twice, the same on any workers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import float_networks
import pytest
from click.testing import CliRunner
from kills import images_and_checkpoint
from test_commands_training import write as images

from gradrtl import cli
from gradrtl.errors import UserError
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import load, split
from gradrtl.model.description import DenseSpec, FloatNeuron, LayerSpec, Network
from gradrtl.quantize.fold import fold
from gradrtl.quantize.ptq import quantize
from gradrtl.quantize.rounding import Formats
from gradrtl.sim import engine
from gradrtl.steps import sweep as steps
from gradrtl.steps.sweep import Row, Setting, front, settings

WORDS = ("--bits", "2,4", "--per-channel", "no,yes", "--membrane-fraction", "0,2", "--data", "data")


def sweep(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.main, ["sweep", *words])
    assert result.exit_code == code, result.output
    return result.output


def table(folder: str) -> list[dict[str, str]]:
    with Path(folder, "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    images_and_checkpoint(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_combination_by_the_held_out_images(here):
    told = sweep("checkpoint.npz", *WORDS, "--jobs", "1", "--out", "one")
    rows = json.loads(Path("one/results.json").read_text())
    assert len(rows) == len(table("one")) == told.count("checkpoint, bits") == 8
    checkpoint = Checkpoint.load("checkpoint.npz")
    _, held_out = split(load("data")[0])
    for row in rows:
        formats = {name: row[name] for name in ("per_channel", "membrane_fraction")}
        network = quantize(fold(checkpoint), Formats(weight_bits=row["bits"], **formats))
        right = engine.run(network, held_out.frames).classes == held_out.labels
        assert (row["accuracy"], row["digest"]) == (right.mean(), network.digest)
        synapses = sum(int((layer.synapses.weight != 0).sum()) for layer in network.layers)
        assert (row["synapses"], row["weight_memory"]) == (synapses, synapses * row["bits"])
    labels = Path("data/t10k-labels-idx1-ubyte")
    labels.write_bytes(labels.read_bytes()[:8] + bytes(30))
    sweep("checkpoint.npz", *WORDS, "--jobs", "1", "--out", "two")
    assert table("two") == table("one"), "the test images have no say"


def test_the_limit_of_connectivity_stands_beside_what_came_of_it(here):
    sweep(
        "checkpoint.npz", "--data", "data", "--bits", "4", "--connectivity", "0.05,0.5", "--jobs", "1", "--out", "one"
    )
    limited, free = json.loads(Path("one/results.json").read_text())
    assert [row["connectivity_limit"] for row in (limited, free)] == [0.05, 0.5]
    assert 0 < limited["connectivity"] <= 0.05 < free["connectivity"] < 0.5
    assert [row["connectivity_limit"] for row in table("one")] == ["0.05", "0.5"]
    assert [float(row["connectivity"]) for row in table("one")] == [limited["connectivity"], free["connectivity"]]


def test_a_sweep_resumes(here, monkeypatch):
    begun = []
    whole = steps.quantised

    def quantised(task):
        if len(begun) == 3:
            raise KeyboardInterrupt
        begun.append(task)
        return whole(task)

    monkeypatch.setattr(steps, "quantised", quantised)
    assert "interrupted" in sweep("checkpoint.npz", *WORDS, "--jobs", "1", "--out", "one", code=130)
    assert len(Path("one/results.jsonl").read_text().splitlines()) == 3
    begun.clear()
    monkeypatch.setattr(steps, "quantised", lambda task: begun.append(task) or whole(task))
    sweep("checkpoint.npz", *WORDS, "--jobs", "1", "--out", "one")
    assert len(begun) == 5
    sweep("checkpoint.npz", *WORDS, "--jobs", "1", "--out", "two")
    assert table("one") == table("two")


def test_a_combination_without_a_network_ends_nothing(here, monkeypatch):
    """A reset value does not fit into 4 bits; the second run quantises nothing."""
    low = FloatNeuron("lif", reset="hard", v_reset=-3.0)
    network = Network("low", (1, 5, 6), (LayerSpec(DenseSpec(8), neuron=low), LayerSpec(DenseSpec(4))))
    float_networks.checkpoint(network, 1).save("checkpoint.npz")
    words = ["checkpoint.npz", "--data", "data", "--bits", "8", "--membrane-bits", "4,30", "--jobs", "1"]
    words += ["--out", "one", "--json"]
    told = json.loads(CliRunner().invoke(cli.main, ["sweep", *words]).stdout)
    [row], [refused] = told["results"], told["refused"]
    assert told["front"] == [row]
    assert (row["membrane_bits"], refused["membrane_bits"]) == (30, 4)
    reason = refused["reason"]
    assert reason == "neuron.reset_value is -62686, expected -8 to 7, the membrane's 4 bits"
    kept = json.loads(Path("one/results.json").read_text())
    assert [(line["membrane_bits"], line["refused"]) for line in kept] == [(4, reason), (30, None)]
    assert kept[0]["accuracy"] is None
    assert kept[1] == {**row, "refused": None}
    assert [(line["accuracy"] == "", line["refused"]) for line in table("one")] == [(True, reason), (False, "")]
    line = f"note: not quantised: checkpoint.npz, bits 8, membrane-bits 4: {reason}"
    monkeypatch.setattr(steps, "quantised", None)
    again = sweep(*words[:-1])
    assert line in again
    assert "checkpoint, bits 8, membrane-bits 30" in again
    words[words.index("4,30")] = "4"
    last = sweep(*words[:-1], code=2).splitlines()
    assert last[-2:] == [
        line,
        f"error: none of 1 combinations can be quantised; the first: checkpoint.npz, bits 8, membrane-bits 4: {reason}",
    ]
    assert [line["refused"] for line in table("one")] == [reason]


def test_data_that_does_not_fit_is_no_matter_of_a_setting(here):
    images(Path("other"), shape=(7, 7))
    told = sweep("checkpoint.npz", "--data", "other", "--bits", "4", "--jobs", "1", "--out", "one", code=2)
    assert told.splitlines()[-1].startswith("error: image shape of the training set is (1, 7, 7), expected (1, 5, 6)")
    assert Path("one/results.jsonl").read_text() == ""


@pytest.mark.slow
def test_two_workers_find_what_one_process_finds(here):
    words = (*WORDS, "--method", "weights,qat", "--epochs", "1")
    sweep("checkpoint.npz", *words, "--jobs", "1", "--out", "one")
    sweep("checkpoint.npz", *words, "--jobs", "2", "--out", "two")
    assert table("one") == table("two")
    assert sorted((row["method"], row["epochs"]) for row in table("two")) == [("qat", "1")] * 8 + [("weights", "")] * 8


def test_combinations():
    found = settings(bits=[3, 4], method=["weights", "qat"], epochs=[1, 2])
    assert [(one.bits, one.method, one.epochs) for one in found] == [
        (3, "weights", None), (3, "qat", 1), (3, "qat", 2), (4, "weights", None), (4, "qat", 1), (4, "qat", 2),
    ]  # fmt: skip
    assert str(Setting(3, "qat", per_channel=True, epochs=2)) == "bits 3, method qat, per-channel, epochs 2"


def test_front_has_fewest_bits_for_its_accuracy():
    def row(weight_memory: int, accuracy: float) -> Row:
        return Row("a", Setting(4), accuracy, 0.1, 1, weight_memory, "")

    rows = [row(30, 0.9), row(10, 0.8), row(20, 0.8), row(10, 0.7), row(40, 0.95)]
    assert front(rows) == [rows[1], rows[0], rows[4]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--bits", "9"), "bits is 9, expected numbers 2 to 8"),
        (("--method", "luck"), "method is luck, expected weights, search, qat"),
        (("--per-channel", "maybe"), "per-channel is maybe, expected no, yes"),
        (("--decay-bits", "a"), "decay-bits is a, expected numbers"),
        (("--input-bits", "9"), "input_bits is 9"),
        (("--epochs", "3,4"), "epochs is 3, 4, expected left out without the method qat"),
        (("--epochs", "3", "--method", "weights,search"), "epochs is 3, expected left out without the method qat"),
        (("--steps", "4,0"), "steps is 0, expected 1 to 65535"),
        (("--connectivity", "0"), "connectivity is 0.0, expected above 0, at most 1"),
        (("--method", "qat", "--epochs", "-1"), "epochs is -1, expected 0 or above"),
        (("--jobs", "0"), "jobs is 0, expected at least 1"),
    ],
)
def test_mistakes_are_one_line(words, message, here):
    output = sweep("checkpoint.npz", "--data", "data", *words, code=2)
    assert output.startswith(f"error: {message}")
    assert output.count("\n") == 1


def test_epochs_are_of_fine_tuning():
    with pytest.raises(UserError, match="epochs is 3, expected left out for the method search"):
        Setting(4, "search", epochs=3)
