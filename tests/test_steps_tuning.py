"""`gradrtl import --finetune`: what it learns, what it prints, that it resumes, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import nir_files
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from command_line import run
from nir_files import given, graph, leaky, node, taken

from gradrtl import cli
from gradrtl.commands import importing
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.sim import engine, reference

STEPS, FRAMES = 8, 240
SMALL = ("--bits", 3, "--epochs", 6, "--batch", 20, "--lr", 0.02, "--held-out", 60)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def record():
    """A network with random weights: two layers, the first of which hears itself."""
    rng = np.random.default_rng(3)
    nodes = {
        "input": given(6),
        "fc1": node("Linear", weight=rng.normal(0.2, 0.5, (12, 6))),
        "lif1": leaky(),
        "rec": node("Linear", weight=rng.normal(0, 0.2, (12, 12))),
        "fc2": node("Linear", weight=rng.normal(0, 0.5, (3, 12))),
        "lif2": leaky(),
        "output": taken(3),
    }
    return graph(nodes, "input -> fc1 -> lif1 -> fc2 -> lif2 -> output", "lif1 -> rec -> lif1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The network, frames whose class is the busiest third of the sources, and their labels."""
    here = tmp_path_factory.mktemp("tuning")
    nir_files.write(here / "model.nir", record())
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, FRAMES)
    often = np.where(np.arange(6) // 2 == labels[:, None], 0.7, 0.3)
    np.save(here / "frames.npy", (rng.random((FRAMES, STEPS, 6)) < often[:, None]).astype(np.uint8))
    np.save(here / "labels.npy", labels)
    return here


def words(folder, *more: object) -> tuple[object, ...]:
    frames = ("--calibrate", folder / "frames.npy", "--labels", folder / "labels.npy")
    return ("import", folder / "model.nir", "--framework", "snntorch", *frames, *more)


def test_it_learns_and_says_how_well_before_and_after(folder, tmp_path) -> None:
    told = run(*words(folder, "--finetune", "-o", tmp_path / "n.npz", *SMALL))
    line = next(line for line in told.splitlines() if line.startswith("accuracy"))
    found = re.fullmatch(
        r"accuracy on the 60 frames held out: floats \S+ %, integers (\S+) %, fine-tuned (\S+) %", line
    )
    assert found is not None, line
    before, after = map(float, found.groups())
    assert after > before + 20
    network = QuantizedNetwork.load(tmp_path / "n.npz")
    frames, labels = np.load(folder / "frames.npy")[-60:], np.load(folder / "labels.npy")[-60:]
    made = engine.run(network, frames)
    assert round(100 * float((made.classes == labels).mean()), 2) == after
    assert network.notes["qat"]["epoch"] >= 1
    assert network.notes["qat"]["loss"] == "cross-entropy"
    assert network.notes["import"]["convention"]["framework"] == "snntorch"
    assert network.rates is not None
    np.testing.assert_array_equal(reference.run(network, frames[:4]).counts, made.counts[:4])
    assert not list(tmp_path.glob("*.resume.pt*"))


def test_json_has_the_accuracies(folder, tmp_path) -> None:
    result = CliRunner().invoke(
        cli.main, [str(word) for word in words(folder, "--finetune", "--json", "-o", tmp_path / "n.npz", *SMALL)]
    )
    found = json.loads(result.stdout)
    assert found["accuracy"].keys() == {"floats", "integers", "fine-tuned"}
    assert found["held_out"] == 60
    assert found["digest"] == QuantizedNetwork.load(tmp_path / "n.npz").digest


def test_an_interrupted_run_resumes(folder, tmp_path, monkeypatch) -> None:
    class PullThePlug(Exception):
        pass

    def in_the_third(row) -> None:
        if row["epoch"] == 3:
            raise PullThePlug

    out, whole = tmp_path / "n.npz", tmp_path / "whole.npz"
    with monkeypatch.context() as patch:
        patch.setattr(importing, "show_epoch", in_the_third)
        assert isinstance(CliRunner().invoke(cli.main, [str(w) for w in words(
            folder, "--finetune", "-o", out, *SMALL)]).exception, PullThePlug)  # fmt: skip
    assert (tmp_path / "n.resume.pt").exists()
    assert "resumes after epoch 2 of fine-tuning" in run(*words(folder, "--finetune", "-o", out, *SMALL))
    run(*words(folder, "--finetune", "-o", whole, *SMALL))
    assert QuantizedNetwork.load(out).digest == QuantizedNetwork.load(whole).digest


def test_an_export_is_fine_tuned_under_its_own_convention(folder, tmp_path) -> None:
    """In the formats that are asked for; its populations may stand in another order than those of the file."""
    run(*words(folder, "--bits", 3, "--input", "graded", "--input-bits", 1, "-o", tmp_path / "n.npz"))
    run("export", tmp_path / "n.npz", "-o", tmp_path / "n.nir")
    frames = words(folder)[4:]
    told = run("import", tmp_path / "n.nir", *frames, "--finetune", "-o", tmp_path / "again.npz", *SMALL)
    assert "exported by gradrtl: its own convention\n" in told
    before, after = (QuantizedNetwork.load(tmp_path / name) for name in ("n.npz", "again.npz"))
    assert {c.weight_bits for one in after.populations for c in one.inputs} == {3}
    assert before.digest != after.digest


def test_units_are_searched_on_what_is_trained_on(folder, tmp_path) -> None:
    run(*words(folder, "--finetune", "--search", "-o", tmp_path / "n.npz", *SMALL, "--epochs", 1))
    assert QuantizedNetwork.load(tmp_path / "n.npz").notes["qat"]["epochs"] == 1


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--epochs", 2), "finetune is False, expected True, for epochs"),
        (("--finetune", "--check"), "finetune is True, expected False with --check"),
        (("--finetune", "--held-out", FRAMES), f"held_out is {FRAMES}, expected 1 to {FRAMES - 1}, of {FRAMES} frames"),
        (("--finetune", "--batch", 300), "batch is 300, expected at most the 216 training images"),
        (("--finetune", "--lr", 0), "lr is 0.0, expected above 0"),
        (("--finetune", "--loss", "hinge"), "'hinge' is not one of 'rate', 'cross-entropy'"),
        (("--finetune", "--labels", "many.npy"), "largest label is 7, expected less than 3"),
        (("--finetune", "--labels", "below.npy"), "smallest label is -"),
        (("--finetune", "--labels", "few.npy"), f"labels file few.npy is (2,), expected {FRAMES} whole numbers"),
    ],
)
def test_what_is_asked_for_wrongly(folder, tmp_path, monkeypatch, more, expected) -> None:
    monkeypatch.chdir(tmp_path)
    labels = np.load(folder / "labels.npy")
    np.save("many.npy", labels + 5)
    np.save("below.npy", labels - 1)
    np.save("few.npy", labels[:2])
    told = run(*words(folder, "-o", tmp_path / "n.npz", *more), code=2)
    assert expected in told
    assert "Traceback" not in told
    assert not (tmp_path / "n.npz").exists()


def test_what_it_needs(folder, tmp_path) -> None:
    start = ("import", folder / "model.nir", "--finetune", "-o", tmp_path / "n.npz")
    assert "calibrate is without frames, expected frames to fine-tune on" in run(*start, "--steps", 3, code=2)
    frames = ("--calibrate", folder / "frames.npy")
    assert "labels is not given, expected --labels, to fine-tune by" in run(*start, *frames, code=2)


def test_two_outputs_are_refused(folder, tmp_path) -> None:
    whole = record()
    two = replace(whole, nodes={**whole.nodes, "other": taken(12)}, edges=(*whole.edges, ("lif1", "other")))
    model = nir_files.write(tmp_path / "two.nir", two)
    told = run("import", model, *words(folder)[2:], "--finetune", "-o", tmp_path / "n.npz", code=2)
    assert re.search(r"outputs is \S+, \S+, expected one to fine-tune", told)
