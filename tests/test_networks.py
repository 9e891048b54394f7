"""The committed networks are what `docs/quantisation.md` says they are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.data import Dataset, load
from gradrtl.model.events.moving import Camera
from gradrtl.model.events.sets import counted
from gradrtl.quantize.frontend import FrontEnd
from gradrtl.quantize.graph_ptq import quantize_graph
from gradrtl.quantize.graph_rounding import GraphFormats, fold_graph
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.sim import engine
from gradrtl.steps.events import Counting
from gradrtl.steps.frames import frames_for
from gradrtl.steps.quantise import formats_for

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/quantisation.md").read_text()
ROWS = re.search(r"\| `networks/(mnist-rows-20pct)\.npz` \| ([^\n]*) \|", TEXT)
RESIDUAL = re.search(r"\| `networks/(mnist-residual-20pct)\.npz` \| ([^\n]*) \|", TEXT)
NARROW = re.search(r"\| `networks/(mnist-residual20-40pct)\.npz` \| ([^\n]*) \|", TEXT)
CONVERTED = dict(
    re.findall(
        r"\| `networks/(mnist-mlp-\dpct-converted)\.npz` \| ([^\n]*) \|", (ROOT / "docs/conversion.md").read_text()
    )
)
STATED = dict(re.findall(r"\| `networks/(mnist-\dpct)\.npz` \| ([^\n]*) \|", TEXT))


SPOKEN = re.search(r"\| `networks/(spoken-10pct)\.npz` \| ([^\n]*) \|", (ROOT / "docs/sound.md").read_text())


@pytest.fixture(scope="module")
def test_set() -> Dataset:
    return load(ROOT / "data/mnist")[1]


@pytest.mark.parametrize("path", sorted((ROOT / "networks").glob("mnist-?pct.npz")), ids=lambda path: path.stem)
def test_connectivity_and_accuracy_are_those_stated(path: Path, test_set: Dataset) -> None:
    network = QuantizedNetwork.load(path)
    places = sum(layer.synapses.weight.size for layer in network.layers)
    kept = sum(int(np.count_nonzero(layer.synapses.weight)) for layer in network.layers)
    accuracy = (engine.run(network, test_set.frames, threads=1).classes == test_set.labels).mean()
    cells = [cell.strip() for cell in STATED[path.stem].split("|")]
    assert cells == [f"{100 * kept / places:.2f} %", f"{kept:,}", f"{100 * accuracy:.2f} %", network.digest[:16]]
    assert {layer.weight_bits for layer in network.layers} == {4}


@pytest.mark.parametrize("percent", [2, 1])
def test_a_converted_network_is_as_stated(percent: int, test_set: Dataset) -> None:
    """It also has at most the connectivity that it was pruned to, and beats what was trained directly."""
    network = QuantizedNetwork.load(ROOT / f"networks/mnist-mlp-{percent}pct-converted.npz")
    direct = QuantizedNetwork.load(ROOT / f"networks/mnist-{percent}pct.npz")
    classes, directly = (engine.run(n, frames_for(n, test_set), threads=1).classes for n in (network, direct))
    accuracy = (classes == test_set.labels).mean()
    cells = [cell.strip() for cell in CONVERTED[f"mnist-mlp-{percent}pct-converted"].split("|")]
    connectivity = network.connected / network.possible
    assert cells == [
        f"{100 * connectivity:.2f} %", f"{network.connected:,}", f"{100 * accuracy:.2f} %", network.digest[:16]
    ]  # fmt: skip
    assert {edge.connection.weight_bits for edge in network.edges} == {4}
    assert connectivity <= {2: 0.0225, 1: 0.01}[percent]
    assert accuracy > (directly == test_set.labels).mean()


def test_the_network_that_reads_row_by_row_is_as_stated(test_set: Dataset) -> None:
    network = QuantizedNetwork.load(ROOT / "networks/mnist-rows-20pct.npz")
    accuracy = (engine.run(network, frames_for(network, test_set), threads=1).classes == test_set.labels).mean()
    connectivity = network.connected / network.possible
    assert ROWS is not None
    cells = [cell.strip() for cell in ROWS[2].split("|")]
    assert cells == [
        f"{100 * connectivity:.2f} %", f"{network.connected:,}", f"{100 * accuracy:.2f} %", network.digest[:16]
    ]  # fmt: skip
    assert accuracy >= 0.975
    assert connectivity <= 0.2
    assert {edge.connection.weight_bits for edge in network.edges} == {6}
    again = fold_graph(Checkpoint.load(ROOT / "checkpoints/mnist-rows-20-s0.npz"))
    formats = GraphFormats(6, input_bits=4, membrane_fraction=2)
    assert quantize_graph(again, formats).digest == network.digest


def test_the_wide_residual_network_is_as_stated() -> None:
    """Its accuracy on all test images is stated from `gradrtl quantize`; here some are enough for the time it takes."""
    network = QuantizedNetwork.load(ROOT / "networks/mnist-residual-20pct.npz")
    assert RESIDUAL is not None
    connectivity, synapses, _, digest = (cell.strip() for cell in RESIDUAL[2].split("|"))
    assert connectivity == f"{100 * network.connected / network.possible:.2f} %"
    assert synapses == f"{network.connected:,}"
    assert digest == network.digest[:16]
    assert {edge.connection.weight_bits for edge in network.edges} == {5}
    again = fold_graph(Checkpoint.load(ROOT / "checkpoints/mnist-residual12-20-s0.npz"))
    assert quantize_graph(again, GraphFormats(5)).digest == network.digest


def test_the_narrow_residual_network_is_as_stated(test_set: Dataset) -> None:
    network = QuantizedNetwork.load(ROOT / "networks/mnist-residual20-40pct.npz")
    assert NARROW is not None
    accuracy = (engine.run(network, frames_for(network, test_set), threads=1).classes == test_set.labels).mean()
    cells = [cell.strip() for cell in NARROW[2].split("|")]
    connectivity = f"{100 * network.connected / network.possible:.2f} %"
    assert cells == [connectivity, f"{network.connected:,}", f"{100 * accuracy:.2f} %", network.digest[:16]]
    assert {edge.connection.weight_bits for edge in network.edges} == {5}
    trained = fold_graph(Checkpoint.load(ROOT / "checkpoints/mnist-residual20-40-s0.npz"))
    told = {"data": trained.notes["checkpoint"]["data"], "unseen": 5000}  # which the network's file is too old for
    assert network.notes["checkpoint"] | told == trained.notes["checkpoint"]


def test_the_network_that_hears_digits_is_as_stated() -> None:
    """Its recordings are not part of the project: its accuracy is stated from `gradrtl quantize`."""
    network = QuantizedNetwork.load(ROOT / "networks/spoken-10pct.npz")
    assert SPOKEN is not None
    connectivity, synapses, *_, digest = (cell.strip() for cell in SPOKEN[2].split("|"))
    assert connectivity == f"{100 * network.connected / network.possible:.2f} %"
    assert (synapses, digest) == (f"{network.connected:,}", network.digest[:16])
    assert {edge.connection.weight_bits for edge in network.edges} == {8}
    assert network.connected <= 0.1 * network.possible
    checkpoint = Checkpoint.load(ROOT / "checkpoints/spoken-10-s0.npz")
    again = quantize_graph(fold_graph(checkpoint), formats_for(checkpoint, weight_bits=8, per_channel=False))
    assert again.digest == network.digest
    assert FrontEnd.from_json(checkpoint.made_from["recordings"]["front end"]) == FrontEnd.mel()


def test_the_network_of_moving_digits_is_as_stated(test_set: Dataset) -> None:
    """Its accuracy on all test digits is stated from `gradrtl simulate`; here are some, as the camera sees them."""
    network = QuantizedNetwork.load(ROOT / "networks/moving-digits/network.npz")
    row = re.search(
        r"\| `networks/moving-digits/network\.npz` \| ([^\n]*) \|", (ROOT / "docs/recordings.md").read_text()
    )
    assert row is not None
    connectivity, synapses, bits, _, digest = (cell.strip() for cell in row[1].split("|"))
    assert connectivity == f"{100 * network.connectivity:.2f} %"
    assert synapses == f"{network.connected:,}"
    assert {edge.connection.weight_bits for edge in network.edges} == {int(bits)}
    assert digest == network.digest[:16]
    assert network.connectivity <= 0.1
    trained = Checkpoint.load(ROOT / "networks/moving-digits/floats.npz")
    formats = GraphFormats(**network.notes["formats"])
    assert quantize_graph(fold_graph(trained), formats).digest == network.digest
    reading = Counting().for_network(network)
    assert reading is not None
    camera, images = Camera(), test_set[:200]
    every = enumerate(zip(images.images[:, 0], images.labels, strict=True))
    recorded = ((camera.record(image, 2 * number + 1), int(label), None) for number, (image, label) in every)
    seen = counted(recorded, reading)
    found = engine.run(network, frames_for(network, seen), threads=1).classes
    assert (found == seen.labels).mean() >= 0.975
