"""The committed networks are what `docs/quantisation.md` says they are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gradrtl.model.data import Dataset, load
from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.sim import engine

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/quantisation.md").read_text()
STATED = dict(re.findall(r"\| `networks/(mnist-\dpct)\.npz` \| ([^\n]*) \|", TEXT))


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
