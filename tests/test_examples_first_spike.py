"""The threshold of a network that answers with its first spike, chosen on a toy data set, and what it saves."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from graphs import population, weights

from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import Dataset, load, split
from gradrtl.quantize.network import Connection, Input, QuantizedNetwork, Readout
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.sim import engine
from gradrtl.sim.events import events_of
from gradrtl.sim.timing.predict import predict
from gradrtl.steps.frames import frames_for

ROOT = Path(__file__).parents[1]
STEPS = 4


@pytest.fixture
def programme(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module("first_spike")


def call(programme: ModuleType, *words: object) -> str:
    done = CliRunner().invoke(programme.main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("leak", ["none", "shift"])
def test_a_threshold_is_chosen_and_compared(programme, monkeypatch, tmp_path, leak):
    silent = {"spiking": False, "reset": "none", "threshold": 0, "leak": leak, "fraction": 3}
    plain = QuantizedNetwork(
        (Input((1, 5, 6), kind="spikes", name="pixels"),),
        (
            population("hidden", 12, Connection("pixels", weights(12, 30, 1), 4)),
            population("output", 4, Connection("hidden", weights(4, 12, 2), 4), **silent),
        ),
        STEPS,
        (Readout("sum", 1, "output"),),
        {"latency": ["pixels"]},
    )
    images = np.random.default_rng(0).integers(0, 256, (400, 1, 5, 6)).astype(np.uint8)
    answers = engine.run(plain, frames_for(plain, Dataset(images, np.zeros(400, np.uint8)))).classes.astype(np.uint8)
    data = Dataset(images, answers)  # what the outputs say in the end: an early answer is right now and then
    monkeypatch.setattr(programme, "load", lambda _: (data, data[:50]))
    plain.save(tmp_path / "plain.npz")
    told = call(programme, "choose", tmp_path / "plain.npz", "-o", tmp_path / "first.npz", "--loss", 0.1)
    rows = re.findall(r"^ *(\d+) +(\d+) +([\d.]+) % +([\d.]+) +([\d.]+) %$", told, re.MULTILINE)
    assert len({steps for *_, steps, _ in rows}) > 3
    threshold, ramp = map(int, re.search(r"^threshold (\d+), ramp (\d+):", told, re.MULTILINE).groups())
    made = QuantizedNetwork.load(tmp_path / "first.npz")
    assert made.readouts[0].kind == "first"
    assert made.populations[1].neuron.threshold.tolist() == [threshold]
    assert (made.populations[1].bias == plain.populations[1].bias + ramp).all()
    held_out = split(data)[1]
    outcome = engine.run(made, frames_for(made, held_out))
    (row,) = [row for row in rows if int(row[0]) == threshold]
    assert row[2] == f"{100 * (outcome.classes == held_out.labels).mean():.2f}"
    best = max(float(accuracy) for _, _, accuracy, _, _ in rows)
    assert float(row[2]) >= best - 10
    assert float(row[3]) == min(float(steps) for _, _, accuracy, steps, _ in rows if float(accuracy) >= best - 10)

    told = call(programme, "compare", tmp_path / "first.npz", tmp_path / "plain.npz", "--pe", "2,1", "--images", 50)
    first, rate = (line.split() for line in told.splitlines()[1:])
    right = (engine.run(made, frames_for(made, data[:50])).classes == data.labels[:50]).mean()
    assert first[0] == f"{100 * right:.2f}"
    assert rate[0] == "100.00"
    assert float(rate[3]) == STEPS > float(first[3])
    assert rate[4] == rate[5]
    assert int(first[5]) < int(first[4])
    assert int(first[6]) < int(rate[6])
    placements = [Placement((2, 1), cancel=cancel) for cancel in (False, True)]
    given = frames_for(made, data[:50])
    outcome = engine.run(made, given, trace="spikes")
    mappings = [map_network(made, placement) for placement in placements]
    times = [predict(mapping, events_of(mapping, given, outcome.trace)) for mapping in mappings]
    assert first[7:9] == [f"{found.interval.mean():,.0f}" for found in times]
    assert rate[8] == "-"


def test_the_committed_network_is_as_stated():
    """Its row in the page; it is the one that `choose` made: the outputs' threshold and ramp are told there too."""
    page = (ROOT / "docs/first-spike.md").read_text()
    network, rate = (QuantizedNetwork.load(ROOT / f"networks/mnist-{name}.npz") for name in ("first-spike", "5pct"))
    _, test = load(ROOT / "data/mnist")
    outcome = engine.run(network, frames_for(network, test), threads=1)
    accuracy = (outcome.classes == test.labels).mean()
    largest = outcome.counts.max(axis=1)
    step = np.where(largest > 0, network.steps + 1 - largest, network.steps).mean()
    row = f"| `networks/mnist-first-spike.npz` | {100 * accuracy:.2f} % | {network.connected:,} | {step:.2f} |"
    assert row in page
    assert accuracy >= 0.98
    assert network.connectivity <= 0.05
    assert [population.shape for population in network.populations] == [one.shape for one in rate.populations]
    checkpoint = Checkpoint.load(ROOT / "checkpoints/mnist-first-spike-s0.npz")
    assert network.notes["checkpoint"]["weights"] == checkpoint.weights_digest
    threshold = network.populations[1].neuron.threshold.item()
    assert f"threshold {threshold}, ramp {network.populations[1].bias[0]}" in page
