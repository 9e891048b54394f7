"""The programme behind the committed networks, on a toy data set."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import float_networks
import numpy as np
import pytest
from click.testing import CliRunner

from gradrtl.model.data import Dataset
from gradrtl.model.description import DenseSpec, LayerSpec, Network
from gradrtl.quantize.network import QuantizedNetwork


@pytest.fixture
def programme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module, in an empty folder with a checkpoint and 5,100 random images of which 5,000 are held out."""
    spec = importlib.util.spec_from_file_location("quantise_mnist", Path("examples/quantise_mnist.py").resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rng = np.random.default_rng(0)

    def images(count: int) -> Dataset:
        return Dataset(
            rng.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8), rng.integers(0, 3, count).astype(np.uint8)
        )

    data = images(5300), images(40)
    monkeypatch.setattr(module, "load", lambda _: data)
    monkeypatch.setattr(module, "SEARCH_FRAMES", 20)
    monkeypatch.chdir(tmp_path)
    network = Network("toy", (1, 4, 4), (LayerSpec(DenseSpec(12)), LayerSpec(DenseSpec(3))), steps=3)
    float_networks.checkpoint(network, 1).save("checkpoints/mnist-mlp-5-s0.npz")
    return module


def test_networks(programme: ModuleType) -> None:
    for _ in range(2):  # the second time everything is there
        done = CliRunner().invoke(
            programme.main, ["networks", "--percent", "5", "--seed", "0", "--epochs", "1"], catch_exceptions=False
        )
        assert done.exit_code == 0
        assert "| `mnist-5pct` |" in done.output
    made = QuantizedNetwork.load("networks/mnist-5pct.npz")
    assert made.layers[0].weight_bits == 4
    assert made.rates is not None
    assert [rates.size for rates in made.rates] == [16, 12]
    (tuned,) = Path("build/quantise/mnist-5pct").rglob("fine-tuned-4bit.npz")
    assert QuantizedNetwork.load(tuned).notes["qat"]["seed"] == 0
    assert not list(Path().rglob("*.pt"))


def test_sweep(programme: ModuleType) -> None:
    arguments = ["sweep", "checkpoints/mnist-mlp-5-s0.npz", "--bits", "2", "--bits", "5", "--epochs", "1"]
    done = CliRunner().invoke(programme.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "| 5 |" in done.output
    folder = Path("build/quantise/sweep-mnist-mlp-5-s0")
    assert {path.name for path in folder.iterdir()} >= {"table.md", "rows.csv", "plot.svg", "fine-tuned-2bit.npz"}


def test_curve(programme: ModuleType) -> None:
    names = ["checkpoints/mnist-mlp-5-s0.npz", "checkpoints/sparser.npz"]
    network = Network("toy", (1, 4, 4), (LayerSpec(DenseSpec(12)), LayerSpec(DenseSpec(3))), steps=3)
    float_networks.checkpoint(network, 1, connectivity=0.3).save(names[1])
    done = CliRunner().invoke(programme.main, ["curve", *names, "--epochs", "1"], catch_exceptions=False)
    assert done.exit_code == 0
    lines = Path("build/quantise/curve/table.md").read_text().splitlines()
    connectivity = [float(line.split()[1]) for line in lines[2:]]
    assert len(connectivity) == 2
    assert connectivity[0] > connectivity[1]
    assert Path("build/quantise/curve/plot.svg").exists()
    float_networks.checkpoint(network, 2, connectivity=0.6).save(names[1])  # trained anew: the integers are too
    CliRunner().invoke(programme.main, ["curve", *names, "--epochs", "1"], catch_exceptions=False)
    assert Path("build/quantise/curve/table.md").read_text().splitlines() != lines
