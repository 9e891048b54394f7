"""First weights from the principal components of patches."""

from __future__ import annotations

import pytest
import torch
from test_model_relu_train import data
from torch import Tensor
from torch.nn import functional

from gradrtl.errors import UserError
from gradrtl.model import whitening
from gradrtl.model.relu import ReluNetwork
from gradrtl.model.relu_config import ReluConfig
from gradrtl.model.relu_train import train_relu
from gradrtl.model.whitening import components, whiten


def images(count: int = 40, channels: int = 2) -> Tensor:
    """Smooth images: neighbours are alike."""
    noise = torch.rand((count, channels, 10, 10), generator=torch.Generator().manual_seed(0))
    return (255 * functional.avg_pool2d(noise, 3, stride=1)).to(torch.uint8)


def network(layers: str, shape: tuple[int, ...] = (2, 8, 8)) -> ReluNetwork:
    torch.manual_seed(0)
    return ReluNetwork(ReluConfig(network=layers).description(shape), "shift")


def test_components_decorrelate_patches_and_the_largest_is_first() -> None:
    pixels = images().float()
    found, told = components(pixels, (3, 3))
    torch.testing.assert_close(found @ found.T, torch.eye(18), rtol=0, atol=1e-5)
    patches = functional.unfold(pixels, 3).transpose(1, 2).flatten(0, 1)
    seen = torch.cov((patches @ found.T).T)
    variances = seen.diagonal()
    assert bool((variances.diff() <= 1e-2).all())
    torch.testing.assert_close(told, variances, rtol=1e-3, atol=1e-2)
    assert float((seen - variances.diag()).abs().max()) < 1e-3 * float(variances[0])


def test_channels_take_both_signs_and_keep_their_norm() -> None:
    made = network("40C3-10")
    before = made.all[0].synapses[0].weight.detach().clone()
    whiten(made, images())
    after = made.all[0].synapses[0].weight.detach()
    torch.testing.assert_close(after[:18], -after[18:36])
    torch.testing.assert_close(after[36:], before[36:])
    torch.testing.assert_close(after[0] / after[0].norm(), components(images().float(), (3, 3))[0][0].reshape(2, 3, 3))
    norms = after[:36].flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, before.flatten(1).norm(dim=1).mean().expand(36))


def test_fewer_channels_take_the_largest_components() -> None:
    made = network("5C3-10")
    whiten(made, images())
    after = made.all[0].synapses[0].weight.detach().flatten(1)
    directions = after / after.norm(dim=1, keepdim=True)
    torch.testing.assert_close(directions, components(images().float(), (3, 3))[0][:5])


def test_a_kernel_has_to_fit_into_the_images() -> None:
    with pytest.raises(UserError, match=r"whiten is True, expected a first kernel within the images of \(2, 8\)"):
        whiten(network("4C3-3", (1, 2, 8)), torch.zeros((5, 1, 2, 8), dtype=torch.uint8))


def test_patches_are_taken_from_some_images_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = images().float()
    expected = components(pixels, (2, 3))
    monkeypatch.setattr(whitening, "AT_ONCE", 7)
    for found, wanted in zip(components(pixels, (2, 3)), expected, strict=True):
        assert torch.allclose(found.abs(), wanted.abs(), atol=1e-5)


def test_needs_a_convolution_of_the_pixels() -> None:
    with pytest.raises(UserError, match="whiten is True, expected a network whose first layer is a convolution"):
        whiten(network("128-10"), images())


def test_a_training_starts_from_it() -> None:
    config = ReluConfig(network="6C3-3", whiten=True, epochs=0, batch=20, held_out=20)
    weight = train_relu(config, data()).network.all[0].synapses[0].weight.detach().flatten(1)
    wanted, _ = components(torch.from_numpy(data().images[:-20]).float(), (3, 3))
    torch.testing.assert_close(weight / weight.norm(dim=1, keepdim=True), wanted[:6], rtol=1e-4, atol=1e-4)
