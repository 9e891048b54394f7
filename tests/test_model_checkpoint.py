"""A checkpoint counts its connections, and keeps what it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradrtl.errors import UserError
from gradrtl.model.checkpoint import NORM, Checkpoint
from gradrtl.model.description import DenseSpec, LayerSpec, Network


def checkpoint(bias: bool = False, norm: bool = False) -> Checkpoint:
    """Two inputs, two hidden neurons, one output. The second hidden neuron has no input."""
    layers = (LayerSpec(DenseSpec(2, bias=bias), batch_norm=norm), LayerSpec(DenseSpec(1)))
    arrays = {"layer0.weight": np.array([[1.0, 2.0], [0.0, 0.0]]), "layer1.weight": np.ones((1, 2))}
    if bias:
        arrays["layer0.bias"] = np.ones(2)
    if norm:
        arrays |= {f"layer0.norm.{name}": np.ones(2) for name in NORM}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    return Checkpoint(Network("small", (1, 1, 2), layers), arrays, {}, [], {}, "a test", {"data": "0" * 64})


@pytest.mark.parametrize(("bias", "norm", "useful"), [(0, 0, 3), (1, 0, 4), (0, 1, 4)])
def test_a_neuron_with_a_bias_or_a_norm_may_fire_without_input(bias: int, norm: int, useful: int) -> None:
    counted = checkpoint(bool(bias), bool(norm)).census
    assert (sum(counted.living), sum(counted.useful), counted.total) == (4, useful, 6)


def test_it_keeps_what_it_was_made_from(tmp_path: Path) -> None:
    made = checkpoint()
    made.save(tmp_path / "checkpoint.npz")
    assert Checkpoint.load(tmp_path / "checkpoint.npz").made_from == {"data": "0" * 64}


def test_older_files_do_not_say(tmp_path: Path) -> None:
    found = Checkpoint.load(Path(__file__).parents[1] / "checkpoints/mnist-mlp-1-s0.npz")
    assert found.made_from == {}


def test_weights_are_finite() -> None:
    made = checkpoint()
    with pytest.raises(UserError, match="not finite"):
        Checkpoint(made.network, made.arrays | {"layer1.weight": np.full((1, 2), np.inf, np.float32)})
