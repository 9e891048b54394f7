"""A torch module becomes a network of activations that puts out the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradrtl.errors import UserError
from gradrtl.model.graph import Graph
from gradrtl.model.relu import network_from
from gradrtl.model.relu_modules import of_module

SHAPE = (2, 8, 8)


class Block(nn.Module):
    """A residual block before its ReLU: two convolutions, and a shortcut with other maps and sides."""

    def __init__(self, inward: int, outward: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outward)
        self.conv2 = nn.Conv2d(outward, outward, 3, 1, 1)
        self.norm2 = nn.BatchNorm2d(outward)
        other = stride > 1 or inward != outward
        self.short = (
            nn.Sequential(nn.Conv2d(inward, outward, 1, stride), nn.BatchNorm2d(outward)) if other else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        found = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        found += self.short(x)
        return functional.relu(found)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Block(4, 4, 1), Block(4, 6, 2))
        self.pool = nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1))
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.blocks(self.stem(x)))
        return self.out(x.view(x.size(0), -1))


class Added(nn.Module):
    """Activations that are added, pooled, and heard twice; a sum that hears flattened activations as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 5, padding=2)
        self.c = nn.Linear(48, 48)
        self.out = nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        both = functional.avg_pool2d(torch.relu(self.a(x)) + self.b(x).relu(), 2)
        flat = torch.flatten(both, 1)
        return self.out(functional.dropout(torch.relu(self.c(flat) + flat), training=False))


def chain() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Dropout(0.5), nn.Conv2d(4, 5, 3, padding=1, bias=False),
        nn.BatchNorm2d(5, affine=False), nn.ReLU(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(5, 6), nn.BatchNorm1d(6),
        nn.ReLU(), nn.Linear(6, 3),
    )  # fmt: skip


def with_statistics(module: nn.Module) -> nn.Module:
    """`module` with random statistics, gains of both signs among them."""
    torch.manual_seed(0)
    for one in module.modules():
        if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d):
            one.running_mean.normal_()
            one.running_var.uniform_(0.3, 2.0)[0] = 1e-5  # as small as the epsilon
            if one.affine:
                nn.init.normal_(one.weight)
                nn.init.normal_(one.bias)
    return module.eval()


@pytest.mark.parametrize("make", [chain, Residual, Added])
def test_outputs_are_those_of_the_module(make: type[nn.Module]) -> None:
    module = with_statistics(make()).double()
    found = of_module(module.float(), SHAPE)
    network = network_from(found, "plain", 4).eval()
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (5, *SHAPE), dtype=np.uint8))
    with torch.no_grad():
        wanted, got = module(images.float() / 255), network(images)
    assert float(wanted.abs().max()) > 0.1
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


class Before(nn.Module):
    """A block that rectifies its input first: what passes by is rectified only if that happens in place."""

    def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.relu = relu
        self.stem, self.inner = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.last, self.same = nn.Linear(3 * 64, 4), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        kept = self.same(x)
        y = self.inner(self.relu(x)) + kept
        y += x
        return self.last(functional.relu(y).flatten(1))


RELUS = [
    nn.ReLU(inplace=True), nn.ReLU(), functional.relu_, torch.relu_, functional.relu, lambda x: x.relu_(),
    lambda x: x.relu(), lambda x: functional.relu(x, inplace=True), lambda x: functional.relu(x, True),
]  # fmt: skip


@pytest.mark.parametrize("relu", RELUS)
def test_what_is_computed_in_place_changes_for_later_users(relu: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    module = Before(relu).eval()
    images = torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8)
    with torch.no_grad():
        expected = module(images / 255)
        found = network_from(of_module(module, SHAPE), "plain", 4).eval()(images)
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("behind", [[nn.ReLU(), nn.Linear(108, 4)], []])
def test_a_sum_may_be_flattened_before_its_relu(behind: list[nn.Module]) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), *behind).eval()
    images = torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8)
    with torch.no_grad():
        expected = module(images / 255)
        found = network_from(of_module(module, SHAPE), "plain", 4).eval()(images)
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("module", [nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), nn.Linear(8, 4).double()])
def test_torch_prints_no_traceback_of_its_own(module: nn.Module, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"module does not take images of shape \(2, 8, 8\)"):
        of_module(module.eval(), SHAPE)
    assert capsys.readouterr().err == ""


def test_shortcuts_are_connections_and_added_activations_share_one() -> None:
    residual = of_module(with_statistics(Residual()), SHAPE).network
    assert isinstance(residual, Graph)
    assert [len(spec.inputs) for spec in residual.populations] == [1, 1, 2, 1, 2, 1]
    assert [spec.name for spec in residual.populations][::5] == ["stem.2", "output"]
    assert residual.populations[-1].inputs[0].pool is not None
    added = of_module(with_statistics(Added()), SHAPE).network
    assert isinstance(added, Graph)
    assert [len(c.sources) for spec in added.populations for c in spec.inputs] == [1, 1, 2, 2, 1]


class Calls(nn.Module):
    """Runs a function between two layers."""

    def __init__(self, call: object, last: bool = True) -> None:
        super().__init__()
        self.first, self.out, self.call, self.last = nn.Conv2d(2, 2, 3), nn.Linear(72, 3), call, last

    def forward(self, x: Tensor) -> Tensor:
        found = self.call(self.first(x))  # type: ignore[operator]
        return self.out(torch.flatten(found, 1)) if self.last else torch.relu(found)


def renamed(x: Tensor) -> Tensor:
    other = x
    x += x  # torch.fx does not tell that this changes `other`
    return torch.relu(other)


torch.manual_seed(0)  # the modules below get their weights where pytest collects them


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.MaxPool2d(2)), "node _2: module is MaxPool2d"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.Sigmoid()), "module is Sigmoid"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.ReLU()), "convolution is Conv2d"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.AvgPool2d(2), nn.ReLU()), "pool is of a sum"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.AvgPool2d(3, 1)), r"pool is \(3, 3\), stride \(1, 1\)"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.AvgPool2d(4)), "expected a divisor of the sides"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)), "input is a sum without a ReLU"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU()), "node output: output is behind a ReLU"),
        (nn.Sequential(nn.Flatten(), nn.Linear(10, 2)), r"module does not take images of shape \(2, 8, 8\)"),
        (nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 2)), "pool is of the image"),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.BatchNorm1d(108)), "normalisation is of 108 channels"),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Linear(6, 4)), r"input of a Linear is \(3, 6, 6\)"),
        (Calls(renamed), "difference between module and network is"),
        (Calls(lambda x: torch.relu(x).view(1, -1)), r"module does not take 16 images at once|difference between"),
        (Calls(lambda x: functional.dropout(torch.relu(x))), "dropout training is True, expected False"),
        (Calls(lambda x: functional.relu(x) + x[:, :, :1, :1]), "expected"),
        (Calls(torch.tanh), "operation is tanh"),
        (Calls(lambda x: torch.relu(x) + 1), "argument is 1"),
        (Calls(lambda x: torch.relu(x) if x.sum() > 0 else x), "cannot be traced"),
        (Calls(lambda x: (lambda y: y + y)(torch.relu(x))), "addition is of relu twice"),
    ],
    ids=str,
)  # fmt: skip
def test_what_no_rates_can_do_is_refused_in_one_line(module: nn.Module, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        of_module(module.eval(), SHAPE)
    assert "\n" not in str(error.value)


def test_a_difference_is_found_where_grey_noise_leaves_the_relus_at_zero() -> None:
    module = Calls(renamed).eval()
    with torch.no_grad():
        module.first.weight.fill_(-0.2)[:, 0, 1, 1] = 1.0  # a white pixel among black ones
        module.first.bias.fill_(-0.5)
        assert float(module.first(torch.rand(100, *SHAPE)).max()) < 0
    with pytest.raises(UserError, match="difference between module and network is"):
        of_module(module, SHAPE)


def test_a_module_in_training_mode_is_refused() -> None:
    with pytest.raises(UserError, match="call its eval"):
        of_module(chain(), SHAPE)
