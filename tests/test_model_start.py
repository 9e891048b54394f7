"""`gradrtl train --from`: Grad R goes on from a trained network, our own or imported, and makes it sparse."""

from __future__ import annotations

import struct
from pathlib import Path

import nir_files
import numpy as np
import pytest
import torch
from command_line import run
from nir_files import given, graph, leaky, node, taken

from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import load
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.steps import train as steps

SMALL = ("--batch", 20, "--epochs", 4, "--lr", 0.01, "--rotation", 0, "--shift", 0)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def record():
    """Three classes by the brightest third of 2 x 6 pixels: weights that tell them apart, and small ones."""
    rng = np.random.default_rng(0)
    third = np.arange(12) % 6 // 2
    first = np.repeat(np.eye(3), 4, axis=0)[:, third] + rng.normal(0, 0.1, (12, 12))
    nodes = {
        "input": given(12),
        "fc1": node("Linear", weight=first * 0.5),
        "lif1": leaky(0.5, np.linspace(0.8, 1.2, 12)),
        "fc2": node("Linear", weight=np.repeat(np.eye(3), 4, axis=1) + rng.normal(0, 0.1, (3, 12))),
        "lif2": leaky(0.5),
        "output": taken(3),
    }
    return graph(nodes, "input -> fc1 -> lif1 -> fc2 -> lif2 -> output")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network, and IDX files of images that it classifies."""
    here = tmp_path_factory.mktemp("start")
    nir_files.write(here / "model.nir", record())
    rng = np.random.default_rng(1)
    for part, count in (("train", 300), ("t10k", 100)):
        labels = rng.integers(0, 3, count).astype(np.uint8)
        bright = np.arange(6) // 2 == labels[:, None, None]
        pixels = np.where(bright, rng.integers(90, 256, (count, 2, 6)), rng.integers(0, 120, (count, 2, 6)))
        header = struct.pack(">4I", 0x803, count, 2, 6)
        (here / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.astype(np.uint8).tobytes())
        (here / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels.tobytes())
    return here


def words(folder: Path, out: Path, *more: object) -> tuple[object, ...]:
    nir = ("--framework", "snntorch", "--steps", 6)
    return ("train", "--from", folder / "model.nir", *nir, "--data", folder, "--out", out, *SMALL, *more)


def percent(told: str, what: str) -> float:
    line = next(line for line in told.splitlines() if what in line)
    return float(line.rpartition("test accuracy ")[2].split()[0])


def test_an_import_becomes_sparse(folder: Path, tmp_path: Path) -> None:
    told = run(*words(folder, tmp_path, "--recipe", "gradr-quota", "--connectivity", 0.4))
    before, after = percent(told, "starts from"), percent(told, "connectivity")
    assert before >= 90
    assert after >= before - 5
    found = Checkpoint.load(tmp_path / "checkpoint.npz")
    assert found.census.connectivity == pytest.approx(0.4, abs=0.03)
    assert found.config["recipe"] == "gradr-quota"
    start = found.made_from["start"]
    assert start["kind"] == "import"
    assert start["convention"]["framework"] == "snntorch"
    assert len(start["weights"]) == 64
    assert found.network.steps == 6
    run("quantize", tmp_path / "checkpoint.npz", "--data", folder, "-o", tmp_path / "n.npz")
    origin = QuantizedNetwork.load(tmp_path / "n.npz").notes["checkpoint"]
    assert origin["recipe"] == "gradr-quota"
    assert origin["start"] == start


def test_training_starts_from_the_numbers_of_the_file(folder: Path, tmp_path: Path) -> None:
    """Without a learning rate to speak of nothing but the prior and the quota moves them."""
    run(*words(folder, tmp_path, "--recipe", "dense", "--lr", 1e-9, "--epochs", 1))
    found = Checkpoint.load(tmp_path / "checkpoint.npz")
    weight = record().nodes["fc1"].fields["weight"] / np.linspace(0.8, 1.2, 12)[:, None]
    np.testing.assert_allclose(found.arrays["population0.connection0.weight"], weight, atol=1e-5)
    assert found.network["lif1"].neuron.threshold == 1.0
    assert found.network["lif1"].neuron.reset_amount == 2.0  # a step later half of it is left


def test_a_checkpoint_goes_on(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "dense", tmp_path / "sparse"
    chain = ("train", "--layers", "12-8-3", "--data", folder, *SMALL)
    run(*chain, "--recipe", "dense", "--out", first)
    dense = Checkpoint.load(first / "checkpoint.npz")
    told = run(
        "train", "--from", first / "checkpoint.npz", "--data", folder, *SMALL, "--connectivity", 0.5, "--out", second
    )
    sparse = Checkpoint.load(second / "checkpoint.npz")
    assert sparse.census.connectivity == pytest.approx(0.5, abs=0.05)
    assert sparse.network == dense.network
    start = sparse.made_from["start"]
    assert (start["kind"], start["recipe"]) == ("checkpoint", "dense")
    assert percent(told, "starts from") == round(
        100 * steps.accuracy_of(steps.Start.of_checkpoint(dense), load(folder)[1]), 2
    )
    grown = (sparse.weights[0] * dense.weights[0])[sparse.weights[0] != 0]
    assert (grown >= 0).all()  # Grad R keeps signs


def test_a_state_belongs_to_its_start(folder: Path, tmp_path: Path) -> None:
    more = ("--connectivity", 0.4, "--epochs", 2)
    run(*words(folder, tmp_path, *more))
    assert "already complete" in run(*words(folder, tmp_path, *more))
    other = record()
    other.nodes["fc1"].fields["weight"][0, 0] += 0.1
    nir_files.write(tmp_path / "other.nir", other)
    told = run("train", "--from", tmp_path / "other.nir", *words(folder, tmp_path, *more)[3:], code=2)
    assert "resume.pt start is" in told


def test_an_export_of_ours_goes_on_under_its_own_convention(folder: Path, tmp_path: Path) -> None:
    run(
        "import",
        folder / "model.nir",
        "--framework",
        "snntorch",
        "--reset",
        "value",
        "--input",
        "static",
        "--steps",
        6,
        "-o",
        tmp_path / "n.npz",
    )
    run("export", tmp_path / "n.npz", "-o", tmp_path / "n.nir")
    told = run("train", "--from", tmp_path / "n.nir", "--data", folder, *SMALL, "--recipe", "dense", "--out", tmp_path)
    assert percent(told, "starts from") >= 90
    assert Checkpoint.load(tmp_path / "checkpoint.npz").network.steps == 6


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--framework", "snntorch"), "framework is snntorch, expected with --from, a NIR file"),
        (("--dt", 1.0, "--readout", "sum"), "readout, dt is sum, 1.0, expected with --from"),
        (("--from", "model.nir"), "steps is not given, expected --steps"),
        (("--from", "model.nir", "--steps", 3, "--layers", "12-3"), "layers is 12-3, expected not given beside --from"),
        (("--from", "model.nir", "--steps", 3, "--network", "mnist-mlp"), "network is mnist-mlp, expected not given"),
        (("--from", "model.nir", "--steps", 3, "--readout", "sum"), "readout is sum, expected count: what lif2 has"),
        (("--from", "none.nir", "--steps", 3), "none.nir"),
        (("--from", "t10k-labels-idx1-ubyte", "--steps", 3), "t10k-labels-idx1-ubyte"),
        (("--from", "c.npz", "--framework", "nir"), "framework is nir, expected left out: a checkpoint says it"),
        (("--from", "c.npz", "--reset", "value"), "reset is value, expected left out"),
        (("--from", "none.npz"), "none.npz"),
    ],
)
def test_what_is_asked_for_wrongly(folder: Path, monkeypatch: pytest.MonkeyPatch, words, expected: str) -> None:
    monkeypatch.chdir(folder)
    told = run("train", "--data", folder, *words, code=2)
    assert expected in told
    assert len(told.strip().splitlines()) == 1
