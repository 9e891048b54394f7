"""What a step of the training before a conversion costs: operations are counted, shares add up."""

from __future__ import annotations

import pytest
import torch

from bench import conversion
from gradrtl.model.architecture import described
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.relu_graph import relu_graph


def test_operations_are_those_of_convolutions_and_products() -> None:
    """4 maps of 3 x 3 kernels on 8 x 8 pixels of 3 colours, then 10 outputs of their pools: two passes and three."""
    graph = relu_graph(described("4C3-AP2-10")((3, 8, 8)))
    assert conversion.operations(graph, 5, [4 * 3 * 9, 10 * 4 * 16]) == 5 * (
        2 * 2 * 4 * 3 * 9 * 64 + 2 * 3 * 10 * 4 * 16
    )
    assert conversion.operations(graph, 1, [7, 0]) == 2 * 2 * 7 * 64


@pytest.mark.filterwarnings("ignore")  # the profiler's own
def test_a_step_is_timed_and_its_shares_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(conversion.SIDES, "cpu", 64)
    torch.set_num_threads(1)
    config = ReluConfig(network="4C3-AP2-10", epochs=3, batch=10, held_out=10)
    cost = conversion.measure(config, (3, 8, 8), 10, 2, "cpu")
    assert cost.seconds > 0
    assert cost.peak > 0
    assert sum(cost.shares.values()) == pytest.approx(1)
    assert cost.shares["convolutions and products"] > 0
    assert cost.shares["pools"] > 0


@pytest.mark.filterwarnings("ignore")
def test_sparse_convolutions_are_a_kind_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(conversion.SIDES, "cpu", 64)
    torch.set_num_threads(1)
    config = ReluConfig(
        network="8C3-AP2-8C3-10", recipe="magnitude", connectivity=0.1, spread=0.0, dense=0.0,
        rewire=1 / 3, epochs=3, batch=16, held_out=16,
    )  # fmt: skip
    cost = conversion.measure(config, (3, 8, 8), 10, 2, "cpu")
    assert cost.shares["sparse convolutions with all that follows"] > 0.1
