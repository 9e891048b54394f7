"""A teacher's answers are a part of the loss, in the units of the outputs; another kind of network teaches nothing."""

from __future__ import annotations

from dataclasses import replace

import float_networks
import numpy as np
import pytest
import torch
from torch import Tensor

from gradrtl.errors import UserError
from gradrtl.model.architecture import described
from gradrtl.model.checkpoint import Checkpoint
from gradrtl.model.config import TrainConfig
from gradrtl.model.data import Dataset
from gradrtl.model.description import DenseSpec, FloatNeuron, LayerSpec, Network
from gradrtl.model.distillation import TEMPERATURE, Teacher, soft_loss, together
from gradrtl.model.networks import arrays_of, module_of, network_of
from gradrtl.model.train import rate_loss, train

SHAPE = (1, 4, 4)
FIRES = FloatNeuron("if", reset="soft")
CHAIN = Network("own", SHAPE, (LayerSpec(DenseSpec(8), FIRES), LayerSpec(DenseSpec(3), FIRES)), steps=4)
CPU = torch.device("cpu")


def images(count: int = 6) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8))


def test_rates_are_compared_by_their_squared_difference() -> None:
    taught = float_networks.checkpoint(CHAIN, 1)
    labels, outputs = torch.tensor([0, 1, 2, 0, 1, 2]), torch.rand((6, 3))
    found = Teacher(taught, replace(CHAIN, steps=8), CPU).beside(rate_loss, images(), 0.25)(outputs, labels)
    with torch.no_grad():
        answers = network_of(taught)(images())
    assert float(answers.std()) > 0
    wanted = 0.75 * rate_loss(outputs, labels) + 0.25 * (outputs - answers).square().mean()
    torch.testing.assert_close(found, wanted)


def test_membranes_are_compared_as_probabilities_at_a_temperature() -> None:
    outputs, answers = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[0.0, 3.0, 1.0]])
    p, q = (torch.softmax(x.double() / TEMPERATURE, dim=1) for x in (answers, outputs))
    wanted = TEMPERATURE**2 * (p * (p / q).log()).sum()
    torch.testing.assert_close(soft_loss(outputs, answers), wanted.float())
    graph = described("16-R4-3")(SHAPE)
    torch.manual_seed(0)
    teacher = Teacher(Checkpoint(graph, arrays_of(module_of(graph))), graph, CPU)
    with torch.no_grad():
        same = teacher.network(images())
    assert float(teacher.beside(rate_loss, images(), 1.0)(same, torch.zeros(6).long())) == pytest.approx(0, abs=1e-6)
    teacher = Teacher(Checkpoint(graph, arrays_of(teacher.network)), graph, CPU, sharpness=5.0)
    found = teacher.beside(rate_loss, images(), 1.0)(2 * same, torch.zeros(6).long())
    torch.testing.assert_close(found, soft_loss(10 * same, 5 * same))


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (replace(CHAIN, input_shape=(1, 2, 8)), r"image shape of the teacher is \(1, 2, 8\)"),
        (replace(CHAIN, layers=(LayerSpec(DenseSpec(4)),)), "classes of the teacher is 4, expected 3"),
    ],
)
def test_a_teacher_fits(network: Network, told: str) -> None:
    with pytest.raises(UserError, match=told):
        Teacher(float_networks.checkpoint(network, 1), CHAIN, CPU)
    with pytest.raises(UserError, match="read-out of the teacher is of another kind, expected membranes"):
        Teacher(float_networks.checkpoint(CHAIN, 1), described("16-R4-3")(SHAPE), CPU)


def test_a_network_learns_from_a_teacher_what_no_label_says() -> None:
    """All labels are 0, and the teacher tells three classes apart."""
    taught = float_networks.checkpoint(CHAIN, 1, connectivity=1.0)
    data = Dataset(images(1100).numpy(), np.zeros(1100, np.uint8))
    config = TrainConfig(
        network=CHAIN,
        recipe="dense",
        connectivity=None,
        epochs=4,
        batch=50,
        rotation=0.0,
        shift=0.0,
        distil=1.0,
        lr=0.02,
    )
    made = train(config, data, teacher=taught)
    with torch.no_grad():
        given, wanted = (network_of(one)(images(200)).argmax(dim=1) for one in (made, taught))
    assert len(wanted.unique()) > 1
    assert float((given == wanted).float().mean()) > 0.7
    alone = train(replace(config, distil=0.0), data)
    with torch.no_grad():
        assert (network_of(alone)(images(200)).argmax(dim=1) == 0).all()


@pytest.mark.parametrize("count", [1, 2])
def test_answers_are_compared_in_full_precision(count: int) -> None:
    """A teacher that only teaches answers in bfloat16 with `--precision bfloat16`."""
    some = torch.randn((5, 3), generator=torch.Generator().manual_seed(0)).bfloat16()
    found = together([some] * count)
    assert found.dtype == torch.float32
    assert float(soft_loss(some.float(), found)) == pytest.approx(0, abs=1e-6)
