"""Packages for other tools: what they hold is built and run by those tools where they are installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from cocotb_networks import graded_network, placed, spike_network, static_network
from icarus import needs_icarus
from map_graphs import GRAPHS, read
from random_networks import frames

from gradrtl import cli
from gradrtl.errors import UserError
from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork, Readout
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import reference, toolchain
from gradrtl.steps.kit import Kit, vectors
from gradrtl.steps.package import package

BIN = Path(sys.executable).parent
NEURON = IntNeuron("none", "hard", 4, membrane_bits=8)
NETWORKS = {"static": static_network, "spikes": spike_network, "graded": graded_network}


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


def kit(kind: str = "static", memories: str = "inline", count: int = 3) -> Kit:
    if kind == "both":
        return Kit(placed(GRAPHS["ahead"]), "gradrtl package", frames(GRAPHS["ahead"], count, 5), memories)
    network = NETWORKS[kind]()
    given = network.inputs[0]
    shape = (count, given.shape[0]) if kind == "static" else (count, network.steps, given.shape[0])
    largest = {"static": 256, "spikes": 2, "graded": given.largest + 1}[kind]
    values = np.random.default_rng(5).integers(0, largest, shape).astype(np.uint8)
    return Kit(placed(network), "gradrtl package", values, memories)


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = toolchain.environment()
    environment["MAKEFLAGS"] = environment["MAKEFLAGS"].replace("gnu++17", "gnu++20")  # coroutines, for --timing
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_expected_packets_have_every_read_out():
    network = read("count", "membrane")
    values = np.random.default_rng(5).integers(0, 2, (3, network.steps, network.inputs[0].shape[0])).astype(np.uint8)
    made = vectors(Kit(placed(network), "gradrtl package", values))
    outcome = reference.run(network, values)
    first, second = network.classes_of
    for frame, sums in zip(made, outcome.counts.tolist(), strict=True):
        parts = sums[:first], sums[first:]
        assert [len(part) for part in parts] == [first, second]
        assert frame["packet"] == [word for part in parts for word in (part.index(max(part)), *part)]


def edge(kind: str) -> Kit:
    """What a malformed frame is to the bench: one after which a stream goes on, one that has its answer, one beat."""
    size = 1 if kind == "pixel" else 3
    rng = np.random.default_rng(1)
    layer = Layer("out", (size,), Dense(rng.integers(-7, 8, (3, size)).astype(np.int8), np.full(3, 2)), NEURON, 4)
    given = Input((size,)) if kind == "pixel" else Input((size,), 2, "graded")
    steps, readout = {"silent step": (1, "count"), "stream": (2, "count"), "pixel": (2, "count")}.get(
        kind, (4, "first")
    )
    network = QuantizedNetwork.chain(given, (layer,), steps, Readout(readout))
    placement = Placement((1,), stream=kind == "stream", cancel=kind == "cancel")
    shape = (3, 1) if kind == "pixel" else (6, 1, 3) if kind == "stream" else (3, steps, 3)
    values = np.zeros(shape, np.uint8) if kind == "silent step" else rng.integers(1, 4, shape).astype(np.uint8)
    return Kit(map_network(network, placement), "gradrtl package", values)


@needs("cocotbext")
@needs_icarus
@pytest.mark.parametrize("kind", ["stream", "first", "cancel", "pixel", "silent step"])
def test_cocotb_bench_knows_what_a_malformed_frame_leaves(kind, tmp_path):
    package(edge(kind), "cocotb", tmp_path)
    done = run([sys.executable, "run.py"], tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@needs("cocotbext")
@needs_icarus
@pytest.mark.parametrize(("kind", "memories"), [("static", "hex"), ("graded", "inline")])
def test_cocotb_bench_passes_in_icarus(kind, memories, tmp_path):
    package(kit(kind, memories), "cocotb", tmp_path)
    done = run([sys.executable, "run.py"], tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "6 of 6 tests passed" in done.stdout
    vectors = json.loads((tmp_path / "vectors.json").read_text())
    vectors["frames"][1]["packet"][2] += 1
    (tmp_path / "vectors.json").write_text(json.dumps(vectors))
    done = run([sys.executable, "run.py"], tmp_path)
    assert done.returncode == 1
    assert "frame 1: [" in done.stdout


@pytest.mark.rtl
@needs("cocotbext")
def test_cocotb_bench_passes_in_verilator(tmp_path):
    package(kit("spikes", count=1), "cocotb", tmp_path)
    done = run([sys.executable, "run.py", "--sim", "verilator"], tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "6 of 6 tests passed" in done.stdout


@needs("fusesoc")
@needs_icarus
@pytest.mark.parametrize("kind", ["static", "both"])
def test_fusesoc_runs_the_bench_in_icarus(kind, tmp_path):
    package(kit(kind, "hex"), "fusesoc", tmp_path)
    words = ["fusesoc", "--cores-root", ".", "run", "--target", "sim", "gradrtl:accelerators:gradrtl_axi"]
    done = run(words, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 3 packets as expected" in done.stdout + done.stderr
    expected = tmp_path / "bench" / "expected.hex"
    lines = expected.read_text().splitlines()
    lines[-1] = f"{int(lines[-1], 16) ^ 1:x}"
    expected.write_text("\n".join(lines) + "\n")
    done = run(words, tmp_path)
    assert done.returncode != 0
    assert f"FAIL: word {len(lines) - 1} is" in done.stdout + done.stderr


@pytest.mark.rtl
@needs("fusesoc")
def test_fusesoc_lints_and_runs_in_verilator(tmp_path):
    package(kit("spikes", "hex"), "fusesoc", tmp_path)
    name = "gradrtl:accelerators:gradrtl_axi"
    linted = run(["fusesoc", "--cores-root", ".", "run", "--target", "lint", name], tmp_path)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    done = run(["fusesoc", "--cores-root", ".", "run", "--target", "sim", "--tool", "verilator", name], tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "PASS: 3 packets as expected" in done.stdout + done.stderr


def test_a_folder_has_one_package(tmp_path):
    package(kit(), "cocotb", tmp_path)
    package(kit(), "cocotb", tmp_path)
    for target in ("fusesoc", "litex", "vivado"):
        with pytest.raises(UserError, match=r"output is .*, expected another folder: it has the package for cocotb"):
            package(kit(), target, tmp_path)
        package(kit(), target, tmp_path / target)
        with pytest.raises(UserError, match=f"expected another folder: it has the package for {target}"):
            package(kit(), "cocotb", tmp_path / target)


def test_the_command_writes_a_package(tmp_path):
    made = CliRunner().invoke(cli.main, ["package", "sample", "--for", "cocotb", "-o", str(tmp_path), "--json"])
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout)
    assert {Path(path).relative_to(tmp_path).as_posix() for path in told["files"]} == {
        "rtl/gradrtl.v", "rtl/gradrtl_axi.v", "gradrtl.json", "vectors.json", "test_gradrtl.py", "run.py",
    }  # fmt: skip
    assert len(json.loads((tmp_path / "vectors.json").read_text())["frames"]) == 5
    assert "gradrtl package sample --for cocotb" in (tmp_path / "rtl" / "gradrtl.v").read_text()[:1000]


def test_what_cannot_be_packaged(tmp_path):
    with pytest.raises(UserError, match="for is quartus, expected cocotb"):
        package(kit(), "quartus", tmp_path)
    with pytest.raises(UserError, match="memories is ram, expected inline or hex"):
        kit(memories="ram")
