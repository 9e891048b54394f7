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
    assert conversion.operations(graph, 5) == 5 * (2 * 2 * 4 * 3 * 9 * 64 + 2 * 3 * 10 * 4 * 16)


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
